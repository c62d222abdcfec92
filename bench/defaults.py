#!/usr/bin/env python3
"""Loads sets through bin/tessera and prints the recall that its defaults reach.

  bench/defaults.py SET:METRIC ... [--payload] [--targets 0.9,0.99] [--memory-limit 1GiB]

SET is a directory with base.*, query.* and gt100_<cos|l2|ip>.bin, or one file of rows, of which every
so many are the queries. Where there is no truth an exact search gives it. Each set is loaded by
`tessera ingest` and searched without parameters, once in the command's process and once through
`tessera serve`; the answers of both must be the same. Prints one Markdown row per set; the exit code
is 0 when every recall reaches 0.95 and its targets.
"""
import argparse
import glob
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile

from memory_limit import K, only, read_answers, recall

ELEMENTS = {"fbin": ("f32", 4), "f16bin": ("f16", 2), "u8bin": ("u8", 1), "i8bin": ("i8", 1)}
QUERIES_MOST = 1000


def sample_queries(base, directory):
    """Every so many rows of `base` as a query file."""
    suffix = base.rsplit(".", 1)[1]
    size = ELEMENTS[suffix][1]
    with open(base, "rb") as file:
        rows, dim = struct.unpack("<II", file.read(8))
        count = min(rows, QUERIES_MOST)
        path = os.path.join(directory, "query." + suffix)
        with open(path, "wb") as out:
            out.write(struct.pack("<II", count, dim))
            for i in range(count):
                file.seek(8 + i * rows // count * dim * size)
                out.write(file.read(dim * size))
    return path


class Server:
    def __init__(self, tessera, data, options):
        self.process = subprocess.Popen([tessera, "serve", "--data", data, "--listen", "127.0.0.1:0",
                                         *options], stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        self.address = next(word for word in ready.split() if word.count(":") == 1
                            and word.rsplit(":", 1)[1].strip(".,").isdigit()).strip(".,")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


def measure(arguments, source, metric, directory):
    def tessera(*words):
        done = subprocess.run([arguments.tessera, *words], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"tessera {' '.join(words)}: ended with {done.returncode}")
        return json.loads(done.stdout.splitlines()[-1])

    limit = ["--memory-limit", arguments.memory_limit]
    data = os.path.join(directory, "db")
    answers = os.path.join(directory, "answers.bin")
    single = os.path.isfile(source)
    base = source if single else only(os.path.join(source, "base.*bin"))
    query = sample_queries(base, directory) if single else only(os.path.join(source, "query.*bin"))
    with open(base, "rb") as file:
        rows, dim = struct.unpack("<II", file.read(8))
    element = ELEMENTS[base.rsplit(".", 1)[1]][0]
    tessera("create", "--data", data, "c", "--dim", str(dim), "--metric", metric, "--type", element,
            *limit)
    payload = glob.glob(os.path.join(source, "payload.*")) if arguments.payload else []
    loaded = tessera("ingest", "--data", data, "c", base,
                     *[word for path in payload for word in ("--payload", path)], *limit)

    def search(where, *words):
        line = tessera("search", *where, "c", "--queries", query, "--limit", str(K), *words,
                       "--output", answers)
        return line, read_answers(answers)

    here = ["--data", data, *limit]
    truth_path = os.path.join(source, f"gt100_{'cos' if metric == 'cosine' else metric}.bin")
    truth = (read_answers(truth_path) if os.path.exists(truth_path)
             else search(here, "--exact")[1])
    line, embedded = search(here)
    server = Server(arguments.tessera, data, limit)
    try:
        _, remote = search(["--server", server.address])
    finally:
        status = server.stop()
    if status != 0:
        sys.exit(f"the server ended with {status}")
    recalls = [recall(embedded, truth), recall(remote, truth)]
    good = min(recalls) >= 0.95
    targets = [float(target) for target in arguments.targets.split(",") if target]
    for target in targets:
        recalls.append(recall(search(here, "--recall-target", str(target))[1], truth))
        good = good and recalls[-1] >= target
    name = os.path.basename(os.path.normpath(source))
    cells = [name, f"{rows} x {dim}, {element}", metric, f"{loaded['seconds']:.1f}",
             *[f"{value:.4f}" for value in recalls], f"{line['qps']:.0f}"]
    print("| " + " | ".join(cells) + " |" + ("" if good else "  <- below"), flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET:METRIC")
    parser.add_argument("--payload", action="store_true", help="load payload.* as well")
    parser.add_argument("--targets", default="", help="other recall targets to try, with commas")
    parser.add_argument("--memory-limit", default="1GiB")
    parser.add_argument("--tessera", default=os.path.join(os.path.dirname(__file__), "../bin/tessera"))
    arguments = parser.parse_args()
    names = ["set", "rows x dims, type", "metric", "load s", "embedded", "over gRPC",
             *[f"at {target}" for target in arguments.targets.split(",") if target], "QPS, cold"]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names), flush=True)
    good = True
    for item in arguments.sets:
        source, metric = item.rsplit(":", 1)
        with tempfile.TemporaryDirectory(prefix="tessera_defaults_") as directory:
            good = measure(arguments, source, metric, directory) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
