# Benchmarks: `make bench` runs all, `make bench-<name>` one; see bench/README.md. Those of a single
# cache each have a file of rules in bench/rules/, which adds its name to BENCH_TARGETS.
#   QUICK=1                 smaller, within 45 s each; the page stays in the build folder
#   RESULTS=folder          where pages and plots go (default bench/results)
#   CC=clang                the other compiler, for every C and C++ contender
#   OPT="-O3 -march=native" other flags, for every C and C++ contender (default -O2)
#   ORDER=sequential        keys 0, 1, 2 ... for bench-hit (default random)
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
BENCH_COMMON := bench/harness.h bench/harness.c
BENCH_HIT := bench/hit.h bench/hit_loops.h $(BENCH_OUT)/hit.o $(BENCH_OUT)/harness.o

# Ours in its variants: file name = parameters.
BENCH_HIT_OURS := none pthread spin fifo no_ttl no_ttl_fifo
BENCH_PARAMS_none :=
BENCH_PARAMS_pthread := -DHIT_LOCK=DLOAD_LOCK_PTHREAD -pthread
BENCH_PARAMS_spin := -DHIT_LOCK=DLOAD_LOCK_SPIN -pthread
BENCH_PARAMS_fifo := -DHIT_EVICT=DLOAD_EVICT_FIFO
BENCH_PARAMS_no_ttl := -DHIT_TTL=0
BENCH_PARAMS_no_ttl_fifo := -DHIT_TTL=0 -DHIT_EVICT=DLOAD_EVICT_FIFO
BENCH_LOAD_PARAMS_none := -DLOAD_LOCK=DLOAD_LOCK_NONE
BENCH_LOAD_PARAMS_pthread := -DLOAD_LOCK=DLOAD_LOCK_PTHREAD -pthread

BENCH_THREADS_PARAMS_pthread := -DTHREADS_LOCK=DLOAD_LOCK_PTHREAD
BENCH_THREADS_PARAMS_spin := -DTHREADS_LOCK=DLOAD_LOCK_SPIN
BENCH_PLAIN_PARAMS_shared := -DPLAIN_SHARED=1
BENCH_PLAIN_PARAMS_parallel := -DPLAIN_SHARED=0

BENCH_HIT_PEERS := hit_stb hit_uthash hit_glib hit_boost hit_absl
BENCH_HIT_ALL := $(addprefix $(BENCH_OUT)/hit_ours_,$(BENCH_HIT_OURS)) $(addprefix $(BENCH_OUT)/,$(BENCH_HIT_PEERS))
BENCH_LOAD_ALL := $(BENCH_OUT)/load_ours_none $(BENCH_OUT)/load_ours_pthread $(BENCH_OUT)/node/.done

BENCH_THREADS_OURS := $(addprefix $(BENCH_OUT)/threads_ours_,pthread spin)
BENCH_THREADS_PLAIN := $(addprefix $(BENCH_OUT)/threads_plain_,shared parallel)
BENCH_THREADS_ALL := $(BENCH_THREADS_OURS) $(BENCH_THREADS_PLAIN) $(BENCH_OUT)/load_byhand $(BENCH_OUT)/call_server $(BENCH_OUT)/node/.done

BENCH_TARGETS := bench-hit bench-load
BENCH_RUN = QUICK=$(QUICK) RESULTS=$(RESULTS) bench/run

include $(sort $(wildcard bench/rules/*.mk))

# One after the other, whatever -j says: two at a time would measure each other.
.PHONY: $(sort $(BENCH_TARGETS) bench-threads) bench bench-clean bench-setup
bench: bench-setup
	@for t in $(BENCH_TARGETS); do $(MAKE) --no-print-directory -j1 $$t || exit 1; echo; done

# A peer that cannot be installed is left out; only a missing compiler ends the benchmark.
bench-setup:
	@if [ -x mk/setup ]; then DLOAD_PACKAGES=bench/packages.txt mk/setup bench || true; fi

$(BENCH_HIT_ALL) $(BENCH_LOAD_ALL) $(BENCH_THREADS_ALL): | bench-setup

bench-hit: $(BENCH_HIT_ALL)
	@$(BENCH_RUN) hit --build $(BENCH_OUT) $(if $(filter sequential,$(ORDER)),--sequential)

bench-load: $(BENCH_LOAD_ALL) $(BENCH_THREADS_ALL)
	@$(BENCH_RUN) load --build $(BENCH_OUT)
	@echo
	@$(BENCH_RUN) threads --build $(BENCH_OUT)

bench-threads: $(BENCH_THREADS_ALL)
	@$(BENCH_RUN) threads --build $(BENCH_OUT)

# The programs alone: to try one by hand, see threads.h.
.PHONY: bench-threads-build
bench-threads-build: $(BENCH_THREADS_ALL)

bench-clean:
	rm -rf $(BENCH_BUILD)

$(BENCH_OUT)/harness.o: bench/harness.c bench/harness.h
	@mkdir -p $(BENCH_OUT)
	$(BENCH_C) -c bench/harness.c -o $@

$(BENCH_OUT)/hit.o: bench/hit.c bench/hit.h bench/harness.h
	@mkdir -p $(BENCH_OUT)
	$(BENCH_C) -c bench/hit.c -o $@

$(addprefix $(BENCH_OUT)/hit_ours_,$(BENCH_HIT_OURS)): $(BENCH_OUT)/hit_ours_%: bench/hit_ours.c dataloader.h $(BENCH_HIT)
	$(BENCH_C) -I. $(BENCH_PARAMS_$*) -DHIT_VARIANT='"ours-$(subst _,-,$*)"' bench/hit_ours.c $(BENCH_OUT)/hit.o $(BENCH_OUT)/harness.o -o $@

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

# A peer whose package is missing is left out with a line that says how to get it; a peer that does
# not compile although its header is there is an error. $(1) its header, $(2) flags, $(3) package.
define BENCH_PEER_C
@if printf '#include <$(1)>\n' | $(BENCH_CC) $(2) -E - >/dev/null 2>&1; then set -x; $(BENCH_C) $(2) $< $(BENCH_OUT)/hit.o $(BENCH_OUT)/harness.o $(4) -o $@; else echo "$(@F) left out: apt-get install $(3)" >&2; fi
endef

$(BENCH_OUT)/hit_stb: bench/hit_stb.c $(BENCH_HIT)
	$(call BENCH_PEER_C,stb/stb_ds.h,,libstb-dev)

$(BENCH_OUT)/hit_uthash: bench/hit_uthash.c $(BENCH_HIT)
	$(call BENCH_PEER_C,uthash.h,,uthash-dev)

$(BENCH_OUT)/hit_glib: bench/hit_glib.c $(BENCH_HIT)
	$(call BENCH_PEER_C,glib.h,$$(pkg-config --cflags glib-2.0 2>/dev/null | sed 's/-I/-isystem /g'),libglib2.0-dev pkg-config,$$(pkg-config --libs glib-2.0))

$(BENCH_OUT)/hit_boost: bench/hit_boost.cc bench/hit_cxx.h $(BENCH_HIT)
	@if flags=$$(bench/boost-headers $(BENCH_CXX) $(BENCH_BUILD)/boost); then set -x; $(BENCH_CXXC) $$flags $< $(BENCH_OUT)/hit.o $(BENCH_OUT)/harness.o -o $@; fi

$(BENCH_OUT)/hit_absl: bench/hit_absl.cc bench/hit_cxx.h $(BENCH_HIT)
	@if printf '#include <absl/container/flat_hash_map.h>\n' | $(BENCH_CXX) -x c++ -std=c++17 -E - >/dev/null 2>&1; then set -x; $(BENCH_CXXC) $< $(BENCH_OUT)/hit.o $(BENCH_OUT)/harness.o $$(pkg-config --libs absl_hash absl_raw_hash_set) -o $@; else echo "hit_absl left out: apt-get install libabsl-dev" >&2; fi

# The one npm package of the peer, at the version of the lock file, outside the sources. Without npm
# or a network the benchmark runs without the peer, and says so.
$(BENCH_OUT)/node/.done: bench/node/package.json bench/node/package-lock.json
	@mkdir -p $(BENCH_OUT)/node
	@cp bench/node/package.json bench/node/package-lock.json $(BENCH_OUT)/node/
	@if command -v npm >/dev/null && npm ci --prefix $(BENCH_OUT)/node --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null; then touch $@; else echo "graphql/dataloader left out: apt-get install nodejs npm, and a network" >&2; fi
