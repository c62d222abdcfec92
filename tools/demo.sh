#!/usr/bin/env bash
# The demo behind `make demo`: loads Fashion-MNIST, serves it, searches it over gRPC and draws what
# comes back. Wants bin/tessera (`make build`) and Debian's dataset-fashion-mnist.
#
#   tools/demo.sh [DIRECTORY]    data, results and page go there; default: demo-data
#
# Running it again begins anew. TESSERA names another program than bin/tessera.
set -euo pipefail
cd "$(dirname "$0")/.."

dataset=/usr/share/datasets/fashion-mnist
demo=${1:-demo-data}
tessera=${TESSERA:-bin/tessera}
db=$demo/db
results=$demo/results
page=$demo/index.html
log=$demo/server.log
collection=fashion
shown_id=4242
server=

fail() { echo "demo: $*" >&2; exit 1; }
step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
stop_server() {
  if [ -z "$server" ]; then return; fi
  local pid=$server
  server=
  kill -TERM "$pid" 2>/dev/null || true
  wait "$pid"
}
trap 'stop_server || true' EXIT

# --- Load ---

load() {
  rm -rf "$db" "$demo/input" "$results" "$page" "$log"
  mkdir -p "$demo/input" "$results"
  step "Preparing Fashion-MNIST ($dataset)"
  python3 -B tools/demo_data.py "$dataset" "$demo/input"
  step "Bulk-loading 60,000 images of 784 bytes with their payload into $db"
  "$tessera" create --data "$db" "$collection" --dim 784 --metric l2 --type u8
  "$tessera" ingest --data "$db" "$collection" "$dataset/train-images-idx3-ubyte.gz" \
    --payload "$demo/input/payload.jsonl" --progress
}

# --- Serve ---

start_server() {
  step "Starting tessera serve"
  "$tessera" serve --data "$db" --listen 127.0.0.1:0 >"$log" 2>&1 &
  server=$!
  for _ in $(seq 600); do
    address=$(sed -n 's/^tessera ready on \([^ ]*\).*/\1/p' "$log")
    if [ -n "$address" ]; then
      cat "$log"
      return
    fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  cat "$log" >&2
  fail "the server did not start"
}

# --- Search ---

search() { "$tessera" search --server "$address" "$collection" "$@"; }

look() {
  step "Searching over gRPC: the neighbours of test images, default settings, then exact"
  search --queries "$demo/input/show.u8bin" --limit 10 --with-payload --output "$results/show.jsonl"
  search --queries "$demo/input/show.u8bin" --limit 10 --with-payload --exact \
    --output "$results/show-exact.jsonl"
  step "Searching by id: image $shown_id and its neighbours"
  "$tessera" get --server "$address" "$collection" "$shown_id" | tee "$results/point.jsonl"
  search --id "$shown_id" --limit 10 --with-payload >"$results/by-id.jsonl"
  head -n 3 "$results/by-id.jsonl"
}

# The images nearest to a stored one that also satisfy a condition.
hybrid() {
  local filters=(
    'category = "Bag"'
    'category IN ("Sandal", "Sneaker") AND brightness > 0.3'
    'ink < 0.2 AND NOT (category = "Sandal")'
    'category = "Dress" AND brightness BETWEEN 0.1 AND 0.11'
  )
  step "Hybrid questions: the images nearest to $shown_id for which a filter holds"
  rm -f "$results"/hybrid-*
  local at=0
  for filter in "${filters[@]}"; do
    at=$((at + 1))
    printf '%s: ' "$filter"
    "$tessera" count --server "$address" "$collection" --filter "$filter"
    printf '%s' "$filter" >"$results/hybrid-$at.txt"
    search --id "$shown_id" --limit 10 --with-payload --filter "$filter" \
      >"$results/hybrid-$at.jsonl"
  done
  step "What the last one did"
  search --id "$shown_id" --limit 3 --filter "${filters[-1]}" --explain
  step "Facet: the categories of dark images"
  "$tessera" facet --server "$address" "$collection" category --filter 'brightness < 0.1'
}

# run NUMBER THREADS NAME [OPTION..]: times the test images with these options.
run() {
  local at=$1 threads=$2 name=$3
  shift 3
  local reply
  reply=$(search --queries "$demo/input/test.u8bin" --limit 10 --threads "$threads" \
    --output "$results/run-$at.bin" "$@")
  printf '{"name":"%s","threads":%d,%s\n' "$name" "$threads" "${reply#\{}" >"$results/run-$at.json"
}

measure() {
  step "Measuring recall and throughput on 1,000 test images over gRPC"
  run 5 2 "exact" --exact
  cp "$results/run-5.bin" "$results/exact.bin"
  search --queries "$demo/input/test.u8bin" --limit 10 >/dev/null  # fills the server's cache
  run 1 1 "recall target 0.80" --recall-target 0.8
  run 2 1 "default"
  run 3 2 "default"
  run 4 1 "recall target 0.99" --recall-target 0.99
  "$tessera" stats --server "$address" "$collection" --output json >"$results/stats.json"
  python3 -B tools/demo_page.py "$dataset" "$demo" "$page"
}

[ -x "$tessera" ] || fail "no $tessera; run make build first"
[ -d "$dataset" ] || fail "no $dataset; run tools/install-deps.sh first"
load
start_server
look
hybrid
measure
step "Shutting down"
stop_server || fail "the server did not end cleanly; see $log"
tail -n 1 "$log"

cat <<END

The data is in    $db
The page is at    $(realpath "$page")

Try next:
  bin/tessera serve --data $db
  bin/tessera search --server 127.0.0.1:6334 $collection --id 7 --limit 5 --with-payload
  bin/tessera search --server 127.0.0.1:6334 $collection --queries $demo/input/test.u8bin --threads 2
  bin/tessera stats --data $db $collection
  bin/tessera --help
  make bench      # Tessera beside hnswlib and FAISS on the same images
END
