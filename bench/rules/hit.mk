# bench-hit: hits, misses and replacements, against hash maps; bench-many: hits by many keys a call.
#   ALL=1    of the smaller tables of bench-hit, every contender at the largest size too
#
# Each contender is built for three kinds of entry: <program> is uint64 -> 32 bytes, <program>_v8 is uint64 ->
# 8 bytes, <program>_text is a string -> 32 bytes.
BENCH_TARGETS += bench-hit bench-many

BENCH_HIT_FLAGS_v8 := -DHIT_WORDS=1
BENCH_HIT_FLAGS_text := -DHIT_TEXT=1
# hit_boost_v8 -> -DHIT_WORDS=1 and _v8.
BENCH_HIT_FLAGS = $(strip $(foreach k,v8 text,$(if $(filter %_$(k),$(1)),$(BENCH_HIT_FLAGS_$(k)))))
BENCH_HIT_SUFFIX = $(strip $(foreach k,v8 text,$(if $(filter %_$(k),$(1)),_$(k))))

# Ours in its variants: file name = parameters.
BENCH_HIT_OURS := none pthread spin none_v8 pthread_v8 spin_v8 none_text pthread_text spin_text
BENCH_HIT_OURS += fifo no_ttl no_ttl_fifo load load_pthread
BENCH_PARAMS_none :=
BENCH_PARAMS_pthread := -DHIT_LOCK=DLOAD_LOCK_PTHREAD -pthread
BENCH_PARAMS_spin := -DHIT_LOCK=DLOAD_LOCK_SPIN -pthread
BENCH_PARAMS_fifo := -DHIT_EVICT=DLOAD_EVICT_FIFO
BENCH_PARAMS_no_ttl := -DHIT_TTL=0
BENCH_PARAMS_no_ttl_fifo := -DHIT_TTL=0 -DHIT_EVICT=DLOAD_EVICT_FIFO
BENCH_PARAMS_load := -DHIT_LOADER=1
BENCH_PARAMS_load_pthread := -DHIT_LOADER=1 $(BENCH_PARAMS_pthread)

BENCH_HIT_OURS_ALL := $(addprefix $(BENCH_OUT)/hit_ours_,$(BENCH_HIT_OURS))
# The programs of a peer for all kinds: $(call BENCH_HIT_PEER,boost)
BENCH_HIT_PEER = $(BENCH_OUT)/hit_$(1) $(BENCH_OUT)/hit_$(1)_v8 $(BENCH_OUT)/hit_$(1)_text
BENCH_HIT_PEERS_ALL := $(foreach p,stb uthash glib boost absl std,$(call BENCH_HIT_PEER,$(p)))
BENCH_HIT_ALL := $(BENCH_HIT_OURS_ALL) $(BENCH_HIT_PEERS_ALL)
BENCH_HIT_OBJECTS = $(BENCH_OUT)/hit$(call BENCH_HIT_SUFFIX,$(@F)).o $(BENCH_OUT)/harness.o -lm
BENCH_HIT_NEEDS := bench/hit.h bench/hit_loops.h $(foreach s,hit hit_v8 hit_text harness,$(BENCH_OUT)/$(s).o)

bench-hit: $(BENCH_HIT_ALL)
	@ALL=$(ALL) $(BENCH_RUN) hit --build $(BENCH_OUT)

bench-many: $(addprefix $(BENCH_OUT)/hit_,ours_none ours_pthread ours_load ours_load_pthread boost)
	@$(BENCH_RUN) many --build $(BENCH_OUT)

BENCH_PROGRAMS += $(BENCH_HIT_ALL)

$(foreach s,hit hit_v8 hit_text,$(BENCH_OUT)/$(s).o): bench/hit.c bench/hit.h bench/sheet.h bench/zipf.h bench/harness.h
	@mkdir -p $(BENCH_OUT)
	$(BENCH_C) $(call BENCH_HIT_FLAGS,$(basename $(@F))) -c bench/hit.c -o $@

# hit_ours_no_ttl -> the variant no_ttl, shown as ours-no-ttl.
BENCH_HIT_VARIANT = $(patsubst %_text,%,$(patsubst %_v8,%,$(1)))
$(BENCH_HIT_OURS_ALL): $(BENCH_OUT)/hit_ours_%: bench/hit_ours.c dataloader.h $(BENCH_HIT_NEEDS)
	$(BENCH_C) -I. $(BENCH_PARAMS_$(call BENCH_HIT_VARIANT,$*)) $(call BENCH_HIT_FLAGS,$(@F)) \
	    -DHIT_VARIANT='"ours-$(subst _,-,$(call BENCH_HIT_VARIANT,$*))"' $< $(BENCH_HIT_OBJECTS) -o $@

$(call BENCH_HIT_PEER,stb): bench/hit_stb.c $(BENCH_HIT_NEEDS)
	$(call BENCH_PEER,$(BENCH_C),stb/stb_ds.h,$(call BENCH_HIT_FLAGS,$(@F)),$(BENCH_HIT_OBJECTS),libstb-dev)

$(call BENCH_HIT_PEER,uthash): bench/hit_uthash.c $(BENCH_HIT_NEEDS)
	$(call BENCH_PEER,$(BENCH_C),uthash.h,$(call BENCH_HIT_FLAGS,$(@F)),$(BENCH_HIT_OBJECTS),uthash-dev)

$(call BENCH_HIT_PEER,glib): bench/hit_glib.c $(BENCH_HIT_NEEDS)
	$(call BENCH_PEER,$(BENCH_C),glib.h,$(call BENCH_HIT_FLAGS,$(@F)) $$(pkg-config --cflags glib-2.0 2>/dev/null | sed 's/-I/-isystem /g'),$(BENCH_HIT_OBJECTS) $$(pkg-config --libs glib-2.0),libglib2.0-dev pkg-config)

$(call BENCH_HIT_PEER,absl): bench/hit_absl.cc bench/hit_cxx.h $(BENCH_HIT_NEEDS)
	$(call BENCH_PEER,$(BENCH_CXXC),absl/container/flat_hash_map.h,$(call BENCH_HIT_FLAGS,$(@F)),$(BENCH_HIT_OBJECTS) $$(pkg-config --libs absl_hash absl_raw_hash_set),libabsl-dev)

$(call BENCH_HIT_PEER,std): bench/hit_std.cc bench/hit_cxx.h $(BENCH_HIT_NEEDS)
	$(call BENCH_PEER,$(BENCH_CXX20),unordered_map,$(call BENCH_HIT_FLAGS,$(@F)),$(BENCH_HIT_OBJECTS),g++)

$(call BENCH_HIT_PEER,boost): bench/hit_boost.cc bench/hit_cxx.h $(BENCH_HIT_NEEDS)
	@if flags=$$(bench/boost-headers $(BENCH_CXX) $(BENCH_BUILD)/boost); then set -x; $(BENCH_CXXC) $$flags $(call BENCH_HIT_FLAGS,$(@F)) $< $(BENCH_HIT_OBJECTS) -o $@; fi
