# Benchmarks: `make bench` runs all, `make bench-<name>` one; see bench/README.md. Those of a single
# cache each have a file of rules in bench/rules/, which adds its name to BENCH_TARGETS.
#   QUICK=1                 smaller, within 45 s each; the page stays in the build folder
#   SIZES="1000 50000"      other numbers of entries, for bench-hit, bench-many and bench-readers
#   RESULTS=folder          where pages and plots go (default bench/results)
#   AS_IS=1                 install nothing
#   CC=clang                the other compiler, for every C and C++ contender
#   OPT="-O3 -march=native" other flags, for every C and C++ contender (default -O2)
# Included by the top Makefile; `make -f bench/bench.mk bench-hit` works too. All names here begin
# with BENCH_, and builds with different compilers or flags do not share a folder.

BENCH_CC := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
BENCH_OPT := $(if $(OPT),$(OPT),-O2)
# The C++ compiler of the same family: gcc -> g++, gcc-12 -> g++-12, clang -> clang++.
BENCH_CXX := $(if $(findstring clang,$(BENCH_CC)),$(subst clang,clang++,$(BENCH_CC)),$(patsubst cc,c++,$(subst gcc,g++,$(BENCH_CC))))
BENCH_BUILD := bench/build
BENCH_EMPTY :=
BENCH_OUT := $(BENCH_BUILD)/$(subst /,_,$(subst $(BENCH_EMPTY) $(BENCH_EMPTY),,$(notdir $(BENCH_CC))$(BENCH_OPT)))
BENCH_WARN := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef
BENCH_FLAGS := $(BENCH_OPT) $(BENCH_WARN) -DBENCH_FLAGS='"$(BENCH_OPT)"' -Ibench
BENCH_C := $(BENCH_CC) -std=gnu11 $(BENCH_FLAGS)
BENCH_CXXC := $(BENCH_CXX) -std=c++17 $(BENCH_FLAGS)
BENCH_CXX20 := $(BENCH_CXX) -std=c++20 $(BENCH_FLAGS)
BENCH_COMMON := bench/harness.h bench/harness.c

BENCH_LOAD_PARAMS_none := -DLOAD_LOCK=DLOAD_LOCK_NONE
BENCH_LOAD_PARAMS_pthread := -DLOAD_LOCK=DLOAD_LOCK_PTHREAD -pthread

BENCH_THREADS_PARAMS_pthread := -DTHREADS_LOCK=DLOAD_LOCK_PTHREAD
BENCH_THREADS_PARAMS_spin := -DTHREADS_LOCK=DLOAD_LOCK_SPIN
BENCH_PLAIN_PARAMS_shared := -DPLAIN_SHARED=1
BENCH_PLAIN_PARAMS_parallel := -DPLAIN_SHARED=0

BENCH_LOAD_ALL := $(BENCH_OUT)/load_ours_none $(BENCH_OUT)/load_ours_pthread $(BENCH_OUT)/node/.done

BENCH_THREADS_OURS := $(addprefix $(BENCH_OUT)/threads_ours_,pthread spin)
BENCH_THREADS_PLAIN := $(addprefix $(BENCH_OUT)/threads_plain_,shared parallel)
BENCH_THREADS_ALL := $(BENCH_THREADS_OURS) $(BENCH_THREADS_PLAIN) $(BENCH_OUT)/load_byhand $(BENCH_OUT)/call_server $(BENCH_OUT)/node/.done

BENCH_TARGETS := bench-load
BENCH_PROGRAMS := $(BENCH_LOAD_ALL) $(BENCH_THREADS_ALL)
BENCH_RUN = QUICK=$(QUICK) SIZES="$(SIZES)" RESULTS=$(RESULTS) bench/run

# A peer whose package is missing is left out with a line that says how to get it; a peer that does not
# compile although its header is there is an error. $(1) compiler and flags, $(2) its header, $(3) flags
# that make it known, $(4) objects and libraries, $(5) package.
define BENCH_PEER
@if printf '#include <$(2)>\n' | $(1) $(3) -x $(if $(findstring ++,$(firstword $(1))),c++,c) -E - >/dev/null 2>&1; then set -x; $(1) $(3) $< $(4) -o $@; else echo "$(@F) left out: apt-get install $(5)" >&2; fi
endef

include $(sort $(wildcard bench/rules/*.mk))

# Another make for a part: it would take the CC of the environment, which the top Makefile has set to cc.
BENCH_MAKE = $(MAKE) --no-print-directory CC=$(BENCH_CC)

# Builds go side by side; what is measured goes one after the other, whatever -j says.
.PHONY: $(sort $(BENCH_TARGETS) bench-threads) bench bench-build bench-clean bench-setup
bench-build: $(BENCH_PROGRAMS)
bench: bench-setup
	+@$(BENCH_MAKE) -j$$(nproc) bench-build
	+@for t in $(BENCH_TARGETS); do $(BENCH_MAKE) -j1 $$t || exit 1; echo; done

# A peer that cannot be installed is left out; only a missing compiler ends the benchmark.
bench-setup:
	@if [ -x mk/setup ] && [ -z "$(AS_IS)" ]; then DLOAD_PACKAGES=bench/packages.txt mk/setup bench || true; fi

$(BENCH_PROGRAMS): | bench-setup

bench-load: $(BENCH_LOAD_ALL) $(BENCH_THREADS_ALL)
	@$(BENCH_RUN) load --build $(BENCH_OUT)
	@echo
	@$(BENCH_RUN) threads --build $(BENCH_OUT)

bench-threads: $(BENCH_READERS_ALL) $(BENCH_THREADS_ALL)
	@$(BENCH_RUN) readers --build $(BENCH_OUT)
	@echo
	@$(BENCH_RUN) threads --build $(BENCH_OUT)

# The programs alone: to try one by hand, see threads.h.
.PHONY: bench-threads-build
bench-threads-build: $(BENCH_THREADS_ALL)

bench-clean:
	rm -rf $(BENCH_BUILD)

$(BENCH_OUT)/harness.o: bench/harness.c bench/harness.h
	@mkdir -p $(BENCH_OUT)
	$(BENCH_C) -c bench/harness.c -o $@

$(addprefix $(BENCH_OUT)/load_ours_,none pthread): $(BENCH_OUT)/load_ours_%: bench/load_ours.c dataloader.h $(BENCH_OUT)/harness.o
	$(BENCH_C) -I. $(BENCH_LOAD_PARAMS_$*) -DLOAD_VARIANT='"ours-$*"' bench/load_ours.c $(BENCH_OUT)/harness.o -o $@

BENCH_THREADS := bench/threads.h bench/calls.h $(BENCH_OUT)/threads.o $(BENCH_OUT)/calls.o $(BENCH_OUT)/harness.o
BENCH_THREADS_OBJECTS := $(filter %.o,$(BENCH_THREADS))

$(BENCH_OUT)/threads.o $(BENCH_OUT)/calls.o: $(BENCH_OUT)/%.o: bench/%.c bench/threads.h bench/calls.h bench/harness.h
	@mkdir -p $(BENCH_OUT)
	$(BENCH_C) -pthread -c $< -o $@

$(BENCH_OUT)/call_server: bench/call_server.c bench/calls.h $(BENCH_OUT)/harness.o
	$(BENCH_C) $< $(BENCH_OUT)/harness.o -o $@

$(BENCH_THREADS_OURS): $(BENCH_OUT)/threads_ours_%: bench/threads_ours.c dataloader.h $(BENCH_THREADS)
	$(BENCH_C) -I. -pthread $(BENCH_THREADS_PARAMS_$*) -DTHREADS_VARIANT='"ours-$*"' $< $(BENCH_THREADS_OBJECTS) -o $@

$(BENCH_THREADS_PLAIN): $(BENCH_OUT)/threads_plain_%: bench/threads_plain.c $(BENCH_THREADS)
	$(BENCH_C) -pthread $(BENCH_PLAIN_PARAMS_$*) $< $(BENCH_THREADS_OBJECTS) -o $@

$(BENCH_OUT)/load_byhand: bench/load_byhand.c $(BENCH_THREADS)
	$(BENCH_C) -pthread $< $(BENCH_THREADS_OBJECTS) -o $@

# The one npm package of the peer, at the version of the lock file, outside the sources. Without npm
# or a network the benchmark runs without the peer, and says so.
$(BENCH_OUT)/node/.done: bench/node/package.json bench/node/package-lock.json
	@mkdir -p $(BENCH_OUT)/node
	@cp bench/node/package.json bench/node/package-lock.json $(BENCH_OUT)/node/
	@if command -v npm >/dev/null && npm ci --prefix $(BENCH_OUT)/node --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null; then touch $@; else echo "graphql/dataloader left out: apt-get install nodejs npm, and a network" >&2; fi
