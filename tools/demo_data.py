#!/usr/bin/env python3
"""Prepares Fashion-MNIST for the demo: what `tessera ingest` and `tessera search` read.

  demo_data.py DATASET_DIR OUT_DIR

DATASET_DIR holds the four IDX files of Debian's dataset-fashion-mnist. OUT_DIR gets
  payload.jsonl    one object per training image: label, category, brightness, ink
  test.u8bin       the first 1,000 test images, to measure with
  show.u8bin       two test images of each category, to look at
  show.json        their numbers among the test images and their categories
The training images themselves are loaded from the IDX file as it is.
"""
import gzip
import json
import os
import struct
import sys

CATEGORIES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
              "Bag", "Ankle boot"]
TEST_COUNT = 1000
SHOWN_PER_CATEGORY = 2


def read_idx(path):
    """The items of an IDX file of unsigned bytes, each as `bytes`."""
    with gzip.open(path, "rb") as file:
        data = file.read()
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    sizes = struct.unpack(f">{data[3]}I", data[4:4 + 4 * data[3]])
    item = 1
    for size in sizes[1:]:
        item *= size
    begin = 4 + 4 * data[3]
    if len(data) != begin + sizes[0] * item:
        raise ValueError(f"{path}: {len(data)} bytes, the header says {begin + sizes[0] * item}")
    return [data[begin + i * item:begin + (i + 1) * item] for i in range(sizes[0])]


def describe(image, label):
    """What is stored beside an image and can be read back with every search."""
    return {
        "label": label,
        "category": CATEGORIES[label],
        "brightness": round(sum(image) / (255 * len(image)), 4),  # 0 black .. 1 white
        "ink": round(1 - image.count(0) / len(image), 4),         # share of pixels that are not black
    }


def write_u8bin(path, rows):
    with open(path, "wb") as file:
        file.write(struct.pack("<II", len(rows), len(rows[0])))
        file.write(b"".join(rows))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    dataset, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    images = read_idx(os.path.join(dataset, "train-images-idx3-ubyte.gz"))
    labels = read_idx(os.path.join(dataset, "train-labels-idx1-ubyte.gz"))
    with open(os.path.join(out, "payload.jsonl"), "w") as file:
        for image, label in zip(images, labels, strict=True):
            file.write(json.dumps(describe(image, label[0])) + "\n")

    tests = read_idx(os.path.join(dataset, "t10k-images-idx3-ubyte.gz"))
    test_labels = [label[0] for label in
                   read_idx(os.path.join(dataset, "t10k-labels-idx1-ubyte.gz"))]
    write_u8bin(os.path.join(out, "test.u8bin"), tests[:TEST_COUNT])
    shown = []
    for label in range(len(CATEGORIES)):
        of_label = [row for row, other in enumerate(test_labels) if other == label]
        shown += of_label[:SHOWN_PER_CATEGORY]
    write_u8bin(os.path.join(out, "show.u8bin"), [tests[row] for row in shown])
    with open(os.path.join(out, "show.json"), "w") as file:
        json.dump([{"row": row, "category": CATEGORIES[test_labels[row]]} for row in shown], file)
    print(f"{len(images):,} images with label, category, brightness and ink; "
          f"{TEST_COUNT:,} test images to search with")


if __name__ == "__main__":
    main()
