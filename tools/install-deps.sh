#!/usr/bin/env bash
# Installs every Debian 12 package that building, testing and the demo need. The one list of
# packages. Does nothing (and needs no root) when all are there.
#
#   tools/install-deps.sh            what `make build`, `make demo` and `make test` need
#   tools/install-deps.sh --lint     also clang-format and clang-tidy
#   tools/install-deps.sh --all      also what `make test-all` needs
set -euo pipefail

packages=(
  g++ make cmake ninja-build pkg-config ccache git ca-certificates python3
  libabsl-dev librocksdb-dev libgrpc++-dev libprotobuf-dev protobuf-compiler
  protobuf-compiler-grpc libc-ares-dev libre2-dev libssl-dev zlib1g-dev libsnappy-dev liblz4-dev
  libzstd-dev libbz2-dev libgflags-dev libfaiss-dev libopenblas-pthread-dev libsimdjson-dev
  libjemalloc-dev
  nlohmann-json3-dev libcli11-dev
  libhnswlib-dev dataset-fashion-mnist
  libgtest-dev libgmock-dev
)
case "${1:-}" in
  "") ;;
  --lint) packages+=(clang-format-19 clang-tidy-19) ;;
  --all) packages+=(clang-format-19 clang-tidy-19 clang-19 libclang-rt-19-dev libomp-19-dev
                   llvm-19) ;;
  *) echo "usage: $0 [--lint|--all]" >&2; exit 2 ;;
esac

missing=()
for package in "${packages[@]}"; do
  if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
    missing+=("$package")
  fi
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

echo "installing: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq \
  --no-install-recommends "${missing[@]}" >/dev/null
