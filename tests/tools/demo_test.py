"""The data preparation and the page of the demo, on two tiny images."""
import base64
import gzip
import html.parser
import json
import os
import struct
import tempfile
import unittest
import zlib

import demo_data
import demo_page


def write_idx(path, sizes, data):
    with gzip.open(path, "wb") as file:
        file.write(bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + data)


def decode_png(uri):
    """The pixels of a greyscale PNG without filters; checks every checksum."""
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, at + 8 + size)[0]
        chunks[kind] = body
        at += 12 + size
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    rows = zlib.decompress(chunks[b"IDAT"])
    assert chunks[b"IEND"] == b"" and len(rows) == height * (width + 1)
    return b"".join(rows[y * (width + 1) + 1:(y + 1) * (width + 1)] for y in range(height))


class DataTest(unittest.TestCase):
    def test_items_of_an_idx_file(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "x.gz")
            write_idx(path, [3, 2, 2], bytes(range(12)))
            self.assertEqual(demo_data.read_idx(path), [bytes(range(i, i + 4)) for i in (0, 4, 8)])
            write_idx(path, [3, 2, 2], bytes(range(11)))
            with self.assertRaisesRegex(ValueError, "27 bytes, the header says 28"):
                demo_data.read_idx(path)
            with gzip.open(path, "wb") as file:
                file.write(b"not an idx file")
            with self.assertRaises(ValueError):
                demo_data.read_idx(path)

    def test_payload_of_an_image(self):
        self.assertEqual(demo_data.describe(bytes([0, 255, 51, 0]), 9),
                         {"label": 9, "category": "Ankle boot", "brightness": 0.3, "ink": 0.5})


class RecallTest(unittest.TestCase):
    def test_rows_equally_far_are_equally_good(self):
        truth = [[(i, float(min(i, 8))) for i in range(10)]]
        answer = [[(i, float(i)) for i in range(8)] + [(70, 8.0), (71, 9.0)]]
        self.assertEqual(demo_page.recall(truth, truth), 1)
        self.assertEqual(demo_page.recall(answer, truth), 0.9)


class PageTest(unittest.TestCase):
    def test_images_survive_as_png(self):
        image = bytes(i % 251 for i in range(28 * 28))
        self.assertEqual(decode_png(demo_page.png(image)), image)

    def test_a_card_marks_what_the_exact_search_found_besides(self):
        images = [bytes(784)] * 3

        def hit(number, category):
            return {"id": number, "distance": 1e6, "payload": {
                "category": category, "brightness": 0.5, "ink": 0.25}}

        card = demo_page.query_card({"row": 5, "category": "Bag"}, images[0],
                                    [hit(0, "Bag"), hit(1, "Co<at")],
                                    [hit(0, "Bag"), hit(2, "Bag")], images)
        self.assertIn("1 of 2 neighbours are of the same category", card)
        self.assertIn("1 of 2 images differ", card)
        self.assertEqual(card.count("missing"), 1)
        self.assertEqual(card.count('class="other"'), 1)
        self.assertIn("Co&lt;at", card)
        self.assertNotIn("Co<at", card)

    def test_the_whole_page_is_balanced_and_self_contained(self):
        with tempfile.TemporaryDirectory() as demo:
            results = os.path.join(demo, "results")
            os.makedirs(results)
            os.makedirs(os.path.join(demo, "input"))
            for name in ("train", "t10k"):
                write_idx(os.path.join(demo, f"{name}-images-idx3-ubyte.gz"), [2, 28, 28],
                          bytes(2 * 784))
            payload = demo_data.describe(bytes(784), 3)
            near = {"id": 1, "score": -4.0, "distance": 4.0, "payload": payload}
            answers = {"query": 0, "hits": [near]}
            for name, value in (("input/show.json", [{"row": 0, "category": "Dress"}]),
                                ("results/show.jsonl", answers),
                                ("results/show-exact.jsonl", answers),
                                ("results/by-id.jsonl", near),
                                ("results/point.jsonl", {"id": 0, "payload": payload})):
                with open(os.path.join(demo, name), "w") as file:
                    json.dump(value, file)
            run = {"name": "a <b>", "threads": 1, "recall": 0.5, "qps": 1, "count": 1,
                   "p50_us": 1, "p99_us": 2, "memory_bytes": 3}
            stats = {"points": 2, "vectors": [{"disk_bytes": 2e6}]}
            page = demo_page.render(demo, demo, [run], stats)
        open_tags = []

        class Balance(html.parser.HTMLParser):
            def handle_starttag(self, tag, attrs):
                if tag not in ("img", "meta", "br"):
                    open_tags.append(tag)

            def handle_endtag(self, tag):
                assert open_tags.pop() == tag, (tag, self.getpos())

        Balance().feed(page)
        self.assertEqual(open_tags, [])
        self.assertEqual(page.count("<img "), 2 + 1 + 2)
        for outside in ("http:", "https:", "<script", "<link", "url("):
            self.assertNotIn(outside, page)


if __name__ == "__main__":
    unittest.main()
