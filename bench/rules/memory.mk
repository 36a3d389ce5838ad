# bench-memory: bytes an entry, for every lock, policy, kind of key, with and without TTL, beside hash maps.
BENCH_TARGETS += bench-memory

BENCH_MEMORY_LOCKS := none pthread
BENCH_MEMORY_KINDS := plain plain_ttl text text_ttl
BENCH_MEMORY_PARAMS_none := -DMEMORY_LOCK=DLOAD_LOCK_NONE
BENCH_MEMORY_PARAMS_pthread := -DMEMORY_LOCK=DLOAD_LOCK_PTHREAD -pthread
BENCH_MEMORY_PARAMS_plain := -DMEMORY_TEXT=0 -DMEMORY_TTL=0
BENCH_MEMORY_PARAMS_plain_ttl := -DMEMORY_TEXT=0 -DMEMORY_TTL=1
BENCH_MEMORY_PARAMS_text := -DMEMORY_TEXT=1 -DMEMORY_TTL=0
BENCH_MEMORY_PARAMS_text_ttl := -DMEMORY_TEXT=1 -DMEMORY_TTL=1
BENCH_MEMORY_NAMES := $(foreach l,$(BENCH_MEMORY_LOCKS),$(addprefix $(l)_,$(BENCH_MEMORY_KINDS)))
BENCH_MEMORY_OURS := $(addprefix $(BENCH_OUT)/memory_,$(BENCH_MEMORY_NAMES))

BENCH_MEMORY_PEERS := $(foreach p,stb uthash glib boost absl std,$(addprefix $(BENCH_OUT)/hit_$(p),_text) $(BENCH_OUT)/hit_$(p))

bench-memory: $(BENCH_MEMORY_OURS) $(BENCH_MEMORY_PEERS)
	@$(BENCH_RUN) memory --build $(BENCH_OUT)

BENCH_PROGRAMS += $(BENCH_MEMORY_OURS)

# memory_none_text_ttl -> the lock none and the kind text_ttl. What is counted does not depend on -O.
$(BENCH_MEMORY_OURS): $(BENCH_OUT)/memory_%: bench/memory.c dataloader.h $(BENCH_OUT)/harness.o
	$(BENCH_C) -I. $(BENCH_MEMORY_PARAMS_$(firstword $(subst _, ,$*))) \
	    $(BENCH_MEMORY_PARAMS_$(patsubst pthread_%,%,$(patsubst none_%,%,$*))) \
	    -DMEMORY_VARIANT='"ours-$(subst _,-,$*)"' $< $(BENCH_OUT)/harness.o -o $@
