"""Checks the sources as text: which layer may include which, where third-party headers may appear,
length of files, that what a mutex guards is annotated, and that nothing is left to be done.

    python3 tests/tidy/sources_test.py
"""

import pathlib
import re
import statistics
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Layer -> what it may include beside itself. api knows no index, query or storage type: what it
# needs of them is part of db/database.h.
MAY_INCLUDE = {
    "base": [],
    "storage": ["base"],
    "index": ["base"],
    "query": ["base", "storage", "index"],
    "version": ["base", "storage", "index", "query"],
    "db": ["base", "storage", "index", "query", "version"],
    "api": ["base", "db"],
}
LAYERS = list(MAY_INCLUDE)
ALL_FOLDERS = LAYERS + ["bench", "tests"]
LINES_MAX = 500
FOLDER_FILES_MAX = 35
LINES_MEDIAN_MAX = 90

# Beginning of an included header -> where it may be included.
THIRD_PARTY = {
    "rocksdb/": ["storage"],
    "liburing": ["storage"],
    "jemalloc/": ["base", "api", "bench"],
    "faiss/": ["bench"],
    "cblas": ["index", "bench"],
    "lapacke": ["index"],
    "omp.h": ["index", "bench"],
    "simdjson": ["base"],
    "grpc": ["api", "tests/api", "bench"],
    "google/protobuf": ["api", "tests/api", "tests/fuzz"],
    "nlohmann/": ["api", "bench", "tests"],
    "zlib": ["api/formats", "bench", "tests"],
    "CLI/": ["api/cli", "bench"],
    "hnswlib/": ["bench"],
    "gtest/": ["tests"],
    "gmock/": ["tests"],
}
# Never in a header of the product, whatever its layer.
NOT_IN_HEADERS = ("rocksdb/", "cblas", "lapacke", "omp.h", "jemalloc/")

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def include_problems(path, header):
    folder = path.split("/")[0]
    top = header.split("/")[0]
    if folder in LAYERS and top in ALL_FOLDERS and "/" in header:
        if top != folder and top not in MAY_INCLUDE[folder]:
            yield f"{path}: {folder}/ must not include {header}"
    for beginning, places in THIRD_PARTY.items():
        if not header.startswith(beginning):
            continue
        if not any(path.startswith(place + "/") for place in places):
            yield f"{path}: {header} belongs to {', '.join(places)}"
        if path.endswith(".h") and folder in LAYERS and header.startswith(NOT_IN_HEADERS):
            yield f"{path}: {header} in a header of the product"


def problems_of(path, text):
    """Everything that is wrong with the source file of that name (relative to the root)."""
    folder = path.split("/")[0]
    lines = text.split("\n")
    if len(lines) - 1 > LINES_MAX:
        yield f"{path}: {len(lines) - 1} lines, at most {LINES_MAX} are allowed"
    for number, line in enumerate(lines, 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            yield f"{path}:{number}: something is left to be done"
        if re.search(r"//.*\bguarded by \w*mu_\b", line, re.IGNORECASE):
            yield f"{path}:{number}: guarded by a mutex in words, must be ABSL_GUARDED_BY"
    for header in INCLUDE.findall(text):
        yield from include_problems(path, header)
    if folder in LAYERS and path.endswith(".h") and "#pragma once" not in text:
        yield f"{path}: no #pragma once"


def sources(root):
    for folder in ALL_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".h", ".cc"):
                yield path.relative_to(root).as_posix(), path.read_text()


class SourcesTest(unittest.TestCase):
    def test_sources_keep_the_rules(self):
        all_sources = dict(sources(ROOT))
        found = []
        for path, text in all_sources.items():
            found += problems_of(path, text)
        self.assertGreater(len(all_sources), 200)
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_files_and_folders_are_short(self):
        all_sources = dict(sources(ROOT))
        lengths = [text.count("\n") for text in all_sources.values()]
        self.assertLessEqual(statistics.median(lengths), LINES_MEDIAN_MAX)
        counts = {}
        for path in all_sources:
            folder = path.rpartition("/")[0]
            counts[folder] = counts.get(folder, 0) + 1
        full = {folder: count for folder, count in counts.items() if count > FOLDER_FILES_MAX}
        self.assertEqual(full, {})

    def test_library_code_is_not_compiled_for_one_machine(self):
        for path in ROOT.rglob("CMakeLists.txt"):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(("bench/peers/", "build/")):
                continue
            self.assertNotRegex(path.read_text(), r"-m(arch|avx|tune)", name)

    def test_breaches_are_noticed(self):
        def breaches(path, text):
            return list(problems_of(path, text))

        self.assertTrue(breaches("index/a.cc", '#include "query/searcher.h"\n'))
        self.assertTrue(breaches("index/a.cc", '#include "storage/page_cache.h"\n'))
        self.assertTrue(breaches("api/a.cc", '#include "query/searcher.h"\n'))
        self.assertTrue(breaches("storage/a.h", "#pragma once\n#include <rocksdb/db.h>\n"))
        self.assertTrue(breaches("storage/a.h", "// no guard\n"))
        self.assertTrue(breaches("db/a.cc", "#include <faiss/IndexPQ.h>\n"))
        self.assertTrue(breaches("base/a.cc", "// TO" + "DO\n"))
        self.assertTrue(breaches("base/a.cc", "\n" * 600))
        self.assertTrue(breaches("api/a.cc", "int a_ = 0;  // guarded by mu_\n"))
        self.assertFalse(breaches("db/a.cc", '#include "storage/row_store.h"\n'))
        self.assertFalse(breaches("storage/a.cc", "#include <rocksdb/db.h>\n"))


if __name__ == "__main__":
    unittest.main()
