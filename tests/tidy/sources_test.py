"""Checks the sources as text: layering, where third-party headers may appear, length of files, and
that nothing is left to be done.

    python3 tests/tidy/sources_test.py
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS = ["base", "storage", "index", "query", "version", "db", "api"]
ALL_FOLDERS = LAYERS + ["bench", "tests"]
LINES_MAX = 800

# Beginning of an included header -> where it may be included.
THIRD_PARTY = {
    "rocksdb/": ["storage"],
    "liburing": ["storage"],
    "faiss/": ["bench"],
    "cblas": ["index", "bench"],
    "lapacke": ["index"],
    "omp.h": ["index", "bench"],
    "grpc": ["api", "tests/api", "bench"],
    "google/protobuf": ["api", "tests/api", "tests/fuzz"],
    "CLI/": ["api/cli", "bench"],
    "hnswlib/": ["bench"],
    "gtest/": ["tests"],
    "gmock/": ["tests"],
}
# Never in a header of the product, whatever its layer.
NOT_IN_HEADERS = ("rocksdb/", "cblas", "lapacke", "omp.h")

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def problems_of(path, text):
    """Everything that is wrong with the source file of that name (relative to the root)."""
    folder = path.split("/")[0]
    found = []
    lines = text.split("\n")
    if len(lines) > LINES_MAX:
        found.append(f"{path}: {len(lines)} lines, at most {LINES_MAX} are allowed")
    for number, line in enumerate(lines, 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            found.append(f"{path}:{number}: something is left to be done")
    for header in INCLUDE.findall(text):
        top = header.split("/")[0]
        if folder in LAYERS and top in ALL_FOLDERS and "/" in header:
            allowed = LAYERS[: LAYERS.index(folder) + 1]
            if top not in allowed:
                found.append(f"{path}: {folder}/ must not include {header}")
        for beginning, places in THIRD_PARTY.items():
            if not header.startswith(beginning):
                continue
            if not any(path.startswith(place + "/") for place in places):
                found.append(f"{path}: {header} belongs to {', '.join(places)}")
            if path.endswith(".h") and folder in LAYERS and header.startswith(NOT_IN_HEADERS):
                found.append(f"{path}: {header} in a header of the product")
    return found


def sources(root):
    for folder in ALL_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".h", ".cc"):
                yield path.relative_to(root).as_posix(), path.read_text()


class SourcesTest(unittest.TestCase):
    def test_sources_keep_the_rules(self):
        seen = 0
        found = []
        for path, text in sources(ROOT):
            seen += 1
            found += problems_of(path, text)
        self.assertGreater(seen, 200)
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_library_code_is_not_compiled_for_one_machine(self):
        for path in ROOT.rglob("CMakeLists.txt"):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(("bench/peers/", "build/")):
                continue
            self.assertNotRegex(path.read_text(), r"-m(arch|avx|tune)", name)

    def test_breaches_are_noticed(self):
        self.assertTrue(problems_of("index/a.cc", '#include "query/searcher.h"\n'))
        self.assertTrue(problems_of("storage/a.h", "#include <rocksdb/db.h>\n"))
        self.assertTrue(problems_of("db/a.cc", "#include <faiss/IndexPQ.h>\n"))
        self.assertTrue(problems_of("base/a.cc", "// TO" + "DO\n"))
        self.assertTrue(problems_of("base/a.cc", "\n" * 900))
        self.assertFalse(problems_of("db/a.cc", '#include "storage/row_store.h"\n'))
        self.assertFalse(problems_of("storage/a.cc", "#include <rocksdb/db.h>\n"))


if __name__ == "__main__":
    unittest.main()
