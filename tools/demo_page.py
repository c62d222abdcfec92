#!/usr/bin/env python3
"""The results of the demo: a table on the terminal, and one self-contained HTML page.

  demo_page.py DATASET_DIR DEMO_DIR PAGE

Reads what tools/demo.sh left in DEMO_DIR: input/ (tools/demo_data.py) and results/ (replies of the
server: show.jsonl, show-exact.jsonl, by-id.jsonl, hybrid-*.txt and .jsonl, exact.bin, and for each run of run-*.json its
answers in run-*.bin).
"""
import base64
import glob
import html
import json
import os
import struct
import sys
import zlib

import demo_data

SIDE = 28  # pixels of an image
K = 10

STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1c1f24; --soft: #616975;
  --edge: #dcdfe4; --good: #12876f; --bad: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --card: #1b1e24; --ink: #eceef1;
  --soft: #a1a8b4; --edge: #343943; --good: #3fc9a9; --bad: #ff9d4d; } }
body { margin: 0 auto; max-width: 1080px; padding: 32px 20px 64px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 27px; margin: 0 0 6px; } h2 { font-size: 20px; margin: 38px 0 4px; }
p { color: var(--soft); margin: 0 0 14px; max-width: 760px; }
.card { background: var(--card); border: 1px solid var(--edge); border-radius: 10px;
  padding: 14px 16px; margin: 12px 0; }
.row { display: flex; gap: 10px; align-items: flex-start; overflow-x: auto; }
.row + .row, details .row { margin-top: 10px; }
figure { margin: 0; width: 72px; flex: none; } figure img { width: 68px; height: 68px;
  border-radius: 7px; border: 2px solid transparent; background: #000; display: block; }
figure.query { width: 104px; } figure.query img { width: 98px; height: 98px; }
figure.same img { border-color: var(--good); } figure.other img { border-color: var(--bad); }
figcaption { font-size: 11.5px; line-height: 1.3; color: var(--soft); margin-top: 3px; }
figure.query figcaption { font-size: 13px; color: var(--ink); font-weight: 600; }
.name { width: 104px; flex: none; color: var(--soft); font-size: 13px; padding-top: 22px; }
.missing { outline: 2px dashed var(--bad); outline-offset: 2px; border-radius: 8px; }
summary { cursor: pointer; color: var(--soft); font-size: 13px; margin-top: 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--edge); }
th { font-weight: 500; color: var(--soft); } th:first-child, td:first-child { text-align: left; }
.scroll { overflow-x: auto; } code { font-size: 13px; }
"""


def png(image):
    """A greyscale image as a data URI."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    rows = b"".join(b"\0" + image[y * SIDE:(y + 1) * SIDE] for y in range(SIDE))
    data = (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))
    return "data:image/png;base64," + base64.b64encode(data).decode()


def read_lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def read_answers(path):
    """[queries][k] (id, distance) of a file in the ground-truth layout."""
    with open(path, "rb") as file:
        data = file.read()
    queries, k = struct.unpack_from("<II", data)
    ids = struct.unpack_from(f"<{queries * k}I", data, 8)
    distances = struct.unpack_from(f"<{queries * k}f", data, 8 + 4 * queries * k)
    return [list(zip(ids[q * k:(q + 1) * k], distances[q * k:(q + 1) * k]))
            for q in range(queries)]


def recall(answers, exact):
    """Share of the K nearest found; of images equally far any one counts."""
    found = 0
    for answer, truth in zip(answers, exact, strict=True):
        farthest = truth[K - 1][1] * (1 + 1e-6)
        found += sum(1 for _, distance in answer[:K] if distance <= farthest)
    return found / (K * len(exact))


def read_runs(results):
    exact = read_answers(os.path.join(results, "exact.bin"))
    runs = []
    for path in sorted(glob.glob(os.path.join(results, "run-*.json"))):
        with open(path) as file:
            run = json.load(file)
        answers = path.removesuffix(".json") + ".bin"
        run["recall"] = recall(read_answers(answers), exact)
        runs.append(run)
    return runs


COLUMNS = [("setting", "<32", "{name}"), ("threads", ">8", "{threads}"),
           ("recall@10", ">10", "{recall:.4f}"), ("QPS", ">9", "{qps:,.0f}"),
           ("p50 ms", ">9", "{p50:.2f}"), ("p99 ms", ">9", "{p99:.2f}"),
           ("memory MB", ">11", "{memory:,.0f}")]


def cells(run):
    values = dict(run, p50=run["p50_us"] / 1e3, p99=run["p99_us"] / 1e3,
                  memory=run["memory_bytes"] / 1e6)
    return [form.format(**values) for _, _, form in COLUMNS]


def print_table(runs):
    print("  " + "".join(format(name, width) for name, width, _ in COLUMNS))
    for run in runs:
        print("  " + "".join(format(cell, width)
                             for cell, (_, width, _) in zip(cells(run), COLUMNS)))


def html_table(runs):
    head = "".join(f"<th>{name}</th>" for name, _, _ in COLUMNS)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(run))
                   + "</tr>\n" for run in runs)
    return f'<div class="card scroll"><table><tr>{head}</tr>\n{body}</table></div>\n'


def figure(image, kind, title, caption):
    return (f'<figure class="{kind}" title="{html.escape(title)}"><img src="{png(image)}" '
            f'alt="{html.escape(title)}"><figcaption>{caption}</figcaption></figure>')


def neighbours(hits, category, images, marked=frozenset()):
    figures = []
    for hit in hits:
        payload = hit["payload"]
        kind = "same" if payload["category"] == category else "other"
        title = (f'image {hit["id"]}: {payload["category"]}, distance {hit["distance"]:,.0f}, '
                 f'brightness {payload["brightness"]:.2f}, ink {payload["ink"]:.2f}')
        caption = f'{html.escape(payload["category"])}<br>{hit["distance"] / 1e6:.2f} M'
        if hit["id"] in marked:
            kind += " missing"
        figures.append(figure(images[hit["id"]], kind, title, caption))
    return "".join(figures)


def query_card(shown, image, hits, exact, images):
    category = shown["category"]
    missed = {hit["id"] for hit in exact} - {hit["id"] for hit in hits}
    same = sum(hit["payload"]["category"] == category for hit in hits)
    query = figure(image, "query", f'test image {shown["row"]}: {category}',
                   html.escape(category))
    note = (f"exact search: the same {len(exact)} images" if not missed else
            f"exact search: {len(missed)} of {len(exact)} images differ (dashed)")
    return (f'<div class="card"><div class="row">{query}{neighbours(hits, category, images)}</div>'
            f'<details{" open" if missed else ""}><summary>{same} of {len(hits)} neighbours are of '
            f'the same category; {note}</summary><div class="row"><div class="name">exact</div>'
            f'{neighbours(exact, category, images, missed)}</div></details></div>\n')


def by_id_card(point, hits, images):
    category = point["payload"]["category"]
    query = figure(images[point["id"]], "query", f'image {point["id"]}: {category}',
                   f'{html.escape(category)}<br>id {point["id"]}')
    return f'<div class="card"><div class="row">{query}{neighbours(hits, category, images)}</div></div>'


def hybrid_cards(point, results, images):
    cards = ""
    for path in sorted(glob.glob(os.path.join(results, "hybrid-*.txt"))):
        with open(path, encoding="utf-8") as file:
            filter_text = file.read()
        hits = read_lines(path.removesuffix(".txt") + ".jsonl")
        cards += (f"<p><code>{html.escape(filter_text)}</code></p>"
                  + by_id_card(point, hits, images))
    return cards


def render(dataset, demo, runs, stats):
    images = demo_data.read_idx(os.path.join(dataset, "train-images-idx3-ubyte.gz"))
    tests = demo_data.read_idx(os.path.join(dataset, "t10k-images-idx3-ubyte.gz"))
    results = os.path.join(demo, "results")
    with open(os.path.join(demo, "input", "show.json")) as file:
        shown = json.load(file)
    approximate = read_lines(os.path.join(results, "show.jsonl"))
    exact = read_lines(os.path.join(results, "show-exact.jsonl"))
    cards = "".join(
        query_card(item, tests[item["row"]], near["hits"], best["hits"], images)
        for item, near, best in zip(shown, approximate, exact, strict=True))
    point = read_lines(os.path.join(results, "point.jsonl"))[0]
    by_id = read_lines(os.path.join(results, "by-id.jsonl"))
    disk = sum(field["disk_bytes"] for field in stats["vectors"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tessera: neighbours in Fashion-MNIST</title>
<style>{STYLE}</style></head><body>
<h1>Neighbours in Fashion-MNIST</h1>
<p>{stats["points"]:,} images of 28 x 28 pixels, each a vector of 784 bytes with its label, category,
brightness and ink share as payload, searched over gRPC by squared L2 distance of the raw pixels.
{disk / 1e6:,.0f} MB of lists on disk.</p>
<h2>Recall, throughput and memory</h2>
<p>{runs[0]["count"]:,} test images, one search each; recall is measured against the exact search.
Latencies include the gRPC round trip. Memory is what the server's process holds.</p>
{html_table(runs)}
<h2>Search by id</h2>
<p>The neighbours of a stored image, asked for by its id alone.</p>
{by_id_card(point, by_id, images)}
<h2>Hybrid search</h2>
<p>The neighbours of the same image for which a filter holds. Nothing was declared beforehand.</p>
{hybrid_cards(point, results, images)}
<h2>Search by image</h2>
<p>Test images that the database has never seen and their ten nearest neighbours at default
settings. Green frames: same category as the query; orange: another one. The payload shown comes
with the reply.</p>
{cards}</body></html>
"""


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    dataset, demo, page = sys.argv[1:]
    runs = read_runs(os.path.join(demo, "results"))
    stats = read_lines(os.path.join(demo, "results", "stats.json"))[0]
    text = render(dataset, demo, runs, stats)
    with open(page, "w", encoding="utf-8") as file:
        file.write(text)
    print_table(runs)


if __name__ == "__main__":
    main()
