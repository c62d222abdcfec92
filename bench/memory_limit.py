#!/usr/bin/env python3
"""Loads and searches a set through bin/tessera under a memory limit and reports what it took.

  bench/memory_limit.py SET --metric l2|ip|cosine --limit 768MiB [--data DIR] [--keep]

SET is a directory with base.*, query.* and gt100_<cos|l2|ip>.bin. Every command runs inside a memory
cgroup of the limit plus 10 % where one can be made (version 1 or 2, needs root): going over it is
death. The peak is sampled from RssAnon: the anonymous memory of the process, its own caches included.
Prints one JSON line; the exit code is 0 when every command went well, the peak stayed within the
limit, and recall is at least --recall.
"""
import argparse
import glob
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SAMPLE_SECONDS = 0.005
K = 10


def parse_size(text):
    digits = text.rstrip("BKMGi")
    return int(float(digits) * UNITS[text[len(digits):] or "B"])


class Cgroup:
    """A memory cgroup of our own below the one that this process is in, or none."""

    def __init__(self, limit):
        self.path = None
        for root, own, limit_file in self._candidates():
            path = os.path.join(root, own.lstrip("/"), f"tessera_limit_{os.getpid()}")
            try:
                os.mkdir(path)
                with open(os.path.join(path, limit_file), "w") as file:
                    file.write(str(limit))
            except OSError:
                if os.path.isdir(path):
                    os.rmdir(path)
                continue
            self.path = path
            return

    @staticmethod
    def _candidates():
        with open("/proc/self/cgroup") as file:
            for line in file:
                _, controllers, own = line.strip().split(":", 2)
                if "memory" in controllers.split(","):
                    yield "/sys/fs/cgroup/memory", own, "memory.limit_in_bytes"
                    yield "/sys/fs/cgroup/memory", "", "memory.limit_in_bytes"
                elif not controllers:
                    yield "/sys/fs/cgroup", own, "memory.max"
                    yield "/sys/fs/cgroup", "", "memory.max"

    def enter(self):
        """In the child, before it becomes the command."""
        if self.path is not None:
            with open(os.path.join(self.path, "cgroup.procs"), "w") as file:
                file.write(str(os.getpid()))

    def failures(self):
        """How often the kernel killed something in it."""
        for name in ("memory.oom_control", "memory.events"):
            try:
                with open(os.path.join(self.path or "/nonexistent", name)) as file:
                    counts = dict(line.split() for line in file if len(line.split()) == 2)
                    return int(counts.get("oom_kill", 0))
            except OSError:
                continue
        return 0

    def remove(self):
        if self.path is not None:
            os.rmdir(self.path)


def anonymous_bytes(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Runner:
    def __init__(self, arguments, cgroup):
        self.arguments = arguments
        self.cgroup = cgroup
        self.peaks = {}
        self.seconds = {}

    def run(self, step, *words):
        """Runs `tessera` with these words; keeps peak and time under `step`; returns its output."""
        command = [self.arguments.tessera, *words, "--memory-limit", self.arguments.limit]
        begin = time.monotonic()
        peak = 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                              preexec_fn=self.cgroup.enter) as process:
            while process.poll() is None:
                peak = max(peak, anonymous_bytes(process.pid))
                time.sleep(SAMPLE_SECONDS)
            output = process.stdout.read()
        self.peaks[step] = peak
        self.seconds[step] = round(time.monotonic() - begin, 3)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}: ended with {process.returncode}, "
                     f"peak {peak / 2**20:.1f} MiB, killed {self.cgroup.failures()} times")
        return output


def read_answers(path):
    """(queries, k, ids, distances) of a file in the ground-truth layout."""
    with open(path, "rb") as file:
        data = file.read()
    queries, k = struct.unpack_from("<II", data)
    ids = struct.unpack_from(f"<{queries * k}I", data, 8)
    distances = struct.unpack_from(f"<{queries * k}f", data, 8 + 4 * queries * k)
    return queries, k, ids, distances


def recall(answers, truth):
    """recall@K; an answer no farther than the K-th true one counts (ties), the same id once."""
    queries, k, ids, distances = answers
    _, truth_k, truth_ids, truth_distances = truth
    found = 0
    for query in range(queries):
        nearest = set(truth_ids[query * truth_k:query * truth_k + K])
        last = truth_distances[query * truth_k + K - 1]
        limit = last + 1e-5 * abs(last)
        hits = {ids[query * k + i] for i in range(K)
                if ids[query * k + i] in nearest or distances[query * k + i] <= limit}
        found += min(K, len(hits))
    return found / (queries * K)


def only(pattern):
    paths = glob.glob(pattern)
    if len(paths) != 1:
        sys.exit(f"{pattern}: {len(paths)} files, exactly one is wanted")
    return paths[0]


def measure(arguments, cgroup, directory):
    base = only(os.path.join(arguments.set, "base.*bin"))
    query = only(os.path.join(arguments.set, "query.*bin"))
    metric = "cos" if arguments.metric == "cosine" else arguments.metric
    truth = read_answers(os.path.join(arguments.set, f"gt100_{metric}.bin"))
    with open(base, "rb") as file:
        rows, dim = struct.unpack("<II", file.read(8))
    element = {"fbin": "f32", "f16bin": "f16", "u8bin": "u8", "i8bin": "i8"}[base.rsplit(".", 1)[1]]

    runner = Runner(arguments, cgroup)
    data = os.path.join(directory, "db")
    answers = os.path.join(directory, "answers.bin")
    runner.run("create", "create", "--data", data, "limited", "--dim", str(dim), "--metric",
               arguments.metric, "--type", element)
    payload = ["--payload", arguments.payload] if arguments.payload else []
    runner.run("ingest", "ingest", "--data", data, "limited", base, *payload)
    runner.run("open", "stats", "--data", data, "limited", "--output", "json")
    report = {"set": os.path.basename(os.path.normpath(arguments.set)), "rows": rows, "dim": dim,
              "metric": arguments.metric, "limit_bytes": parse_size(arguments.limit),
              "raw_bytes": os.path.getsize(base), "cgroup": cgroup.path is not None}
    for threads in (1, 2):  # each in a process of its own, which begins with empty caches
        step = f"search_{threads}"
        line = runner.run(step, "search", "--data", data, "limited", "--queries", query, "--limit",
                          str(K), "--threads", str(threads), "--output", answers)
        report[step] = json.loads(line)
    report["recall"] = round(recall(read_answers(answers), truth), 4)
    report["disk_bytes"] = sum(os.path.getsize(os.path.join(folder, name))
                               for folder, _, names in os.walk(data) for name in names)
    report["seconds"] = runner.seconds
    report["peak_anonymous_bytes"] = runner.peaks
    report["peak_bytes"] = max(runner.peaks.values())
    report["killed"] = cgroup.failures()
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("--metric", choices=["l2", "ip", "cosine"], default="l2")
    parser.add_argument("--limit", default="768MiB")
    parser.add_argument("--payload", help="CSV or JSONL to load beside the rows")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--data", help="directory to work in; default: a temporary one")
    parser.add_argument("--keep", action="store_true", help="leave the data directory there")
    parser.add_argument("--tessera", default=os.path.join(os.path.dirname(__file__), "../bin/tessera"))
    arguments = parser.parse_args()
    if arguments.data:
        os.makedirs(arguments.data, exist_ok=True)
    directory = tempfile.mkdtemp(prefix="tessera_limit_", dir=arguments.data)
    cgroup = Cgroup(parse_size(arguments.limit) * 11 // 10)
    try:
        report = measure(arguments, cgroup, directory)
    finally:
        cgroup.remove()
        if not arguments.keep:
            shutil.rmtree(directory)
    print(json.dumps(report))
    good = report["peak_bytes"] <= report["limit_bytes"] and report["recall"] >= arguments.recall
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
