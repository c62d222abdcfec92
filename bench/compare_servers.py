#!/usr/bin/env python3
"""Searches over gRPC by two builds of the server, in turn.

    bench/compare_servers.py BEFORE AFTER --base FILE --queries FILE [--rounds 10]

BEFORE and AFTER are tessera binaries. Each loads FILE into a data directory of its own and serves it;
the client, one thread, is AFTER for both, so that only the server differs. Every round searches all
queries on either server, in alternating order. Prints medians over the rounds and the ratios of the
pairs: what disturbs the machine disturbs both of a pair alike.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile


def run(*words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


class Server:
    def __init__(self, binary, base, folder, arguments):
        data = os.path.join(folder, "data")
        self.answers = os.path.join(folder, "answers")
        run(binary, "create", "--data", data, "c", *arguments)
        run(binary, "ingest", "--data", data, "c", base)
        self.process = subprocess.Popen(
            [binary, "serve", "--data", data, "--listen", "127.0.0.1:0", "--memory-limit", "1GiB"],
            stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().split()[3]

    def search(self, client, queries):
        cpu = self.cpu_seconds()
        times = json.loads(run(client, "search", "--server", self.address, "c", "--queries", queries,
                               "--output", self.answers))
        times["cpu_us"] = (self.cpu_seconds() - cpu) / times["count"] * 1e6
        return times

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--base", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--create", default="--dim 784 --metric l2 --type u8")
    parser.add_argument("--rounds", type=int, default=10)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        servers = [Server(binary, flags.base, folder, flags.create.split())
                   for binary, folder in ((flags.before, one), (flags.after, two))]
        try:
            rounds = []
            for number in range(flags.rounds):
                pair = [None, None]
                for which in (0, 1) if number % 2 == 0 else (1, 0):
                    pair[which] = servers[which].search(flags.after, flags.queries)
                rounds.append(pair)
        finally:
            for server in servers:
                server.stop()
    for key in ("p50_us", "qps", "cpu_us"):
        before, after = zip(*((pair[0][key], pair[1][key]) for pair in rounds))
        ratios = sorted(b / a for a, b in zip(before, after))
        print(f"{key:8} before {statistics.median(before):8.1f} after {statistics.median(after):8.1f}"
              f"  ratio {statistics.median(ratios):.3f} ({ratios[0]:.3f} .. {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
