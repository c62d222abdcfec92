# Everything a newcomer, a developer or CI does. `make help` lists it.
JOBS ?= $(shell nproc)
export CTEST_PARALLEL_LEVEL ?= $(JOBS)
# The same draws in every run; test-all draws afresh. A failed test prints its seed.
export TESSERA_TEST_SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help deps demo build bench test test-release test-asan test-asan-all test-tsan test-all lint format clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

deps:
	@tools/install-deps.sh

build: deps  ## release build without tests; leaves bin/tessera and bin/tessera_bench
	cmake --preset release -DTESSERA_TESTS=OFF >/dev/null
	cmake --build --preset release -j $(JOBS)

demo: build  ## loads Fashion-MNIST, serves and searches it, draws a page with what is found
	@tools/demo.sh

bench: build  ## Tessera beside hnswlib and FAISS on Fashion-MNIST; see bench/README.md
	@bench/run.sh

test: test-release test-asan  ## installs, builds and runs the tests (release, then asan+ubsan)

test-release: deps
	cmake --preset release -DTESSERA_TESTS=ON >/dev/null
	cmake --build --preset release -j $(JOBS)
	ctest --preset release -LE slow

# The subset: what handles data and untrusted bytes, without the gRPC code, which takes longest to
# build. test-all sanitises the rest as well.
ASAN_TESTS = base storage index query filter columns version db formats
test-asan: deps
	cmake --preset asan -DTESSERA_TESTS=ON -DTESSERA_BENCH=OFF >/dev/null
	cmake --build --preset asan -j $(JOBS) --target $(ASAN_TESTS:%=%_test)
	ctest --preset asan -R '^($(subst $() ,|,$(ASAN_TESTS)))$$'

test-asan-all: deps
	cmake --preset asan -DTESSERA_TESTS=ON -DTESSERA_BENCH=OFF >/dev/null
	cmake --build --preset asan -j $(JOBS)
	ctest --preset asan -LE 'slow|process'

test-tsan:
	tools/install-deps.sh --all
	cmake --preset tsan -DTESSERA_TESTS=ON -DTESSERA_BENCH=OFF >/dev/null
	cmake --build --preset tsan -j $(JOBS)
	ctest --preset tsan -LE 'slow|process'

test-asan-all test-tsan: export TESSERA_TEST_SEED = $(shell date +%s)

test-all: test test-asan-all test-tsan lint  ## test, then tsan, clang-tidy and the long runs
	TESSERA_TEST_SEED=$$(date +%s) ctest --preset release -L slow

lint:  ## clang-format (check only) and clang-tidy
	tools/install-deps.sh --lint
	git ls-files '*.cc' '*.h' | xargs clang-format-19 --dry-run --Werror
	cmake --preset release -DTESSERA_TESTS=ON >/dev/null
	cmake --build --preset release -j $(JOBS)
	git ls-files '*.cc' | xargs -P $(JOBS) -n 4 clang-tidy-19 -p build/release --quiet

format:  ## rewrites the sources with clang-format
	tools/install-deps.sh --lint
	git ls-files '*.cc' '*.h' | xargs clang-format-19 -i

clean:  ## removes what was built
	rm -rf build bin
