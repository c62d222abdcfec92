#!/usr/bin/env bash
# Measures data sets and draws the report: what `make bench` runs.
#
#   bench/run.sh [DIR:METRIC ...]      default: Debian's Fashion-MNIST, l2
#
# DIR holds base.* and query.* (and gt100_<cos|l2|ip>.bin, else exact truth is computed and kept).
# Lines go to bench/out/<set>-<metric>.jsonl, the page to bench/out/report.html. The environment's
# BENCH_FLAGS are passed on to `tessera_bench ann`: BENCH_FLAGS="--engines tessera --cold".
set -euo pipefail
cd "$(dirname "$0")/.."

bench=bin/tessera_bench
out=bench/out
read -r -a flags <<<"${BENCH_FLAGS:---passes 3 --pass-seconds 0.3}"
sets=("$@")
if [ ${#sets[@]} -eq 0 ]; then
  sets=(/usr/share/datasets/fashion-mnist:l2)
  flags+=(--query-count 1000)
fi
[ -x "$bench" ] || { echo "bench: no $bench; run make build first" >&2; exit 1; }
mkdir -p "$out"
for set in "${sets[@]}"; do
  directory=${set%:*}
  metric=${set##*:}
  if [ "$directory" = "$set" ] || [ ! -d "$directory" ]; then
    echo "bench: \"$set\" is not DIR:METRIC with an existing directory" >&2
    exit 2
  fi
  lines=$out/$(basename "$directory")-$metric.jsonl
  rm -f "$lines"
  "$bench" ann --set "$directory" --metric "$metric" --cache "$out" --output "$lines" "${flags[@]}"
done
"$bench" report --markdown --output "$out/report.html" "$out"/*.jsonl
