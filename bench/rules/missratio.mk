# bench-missratio: what the policies miss on real and generated requests, and how fast.
#   DLOAD_TRACES=folder   *.u64.zst and miss-counts.csv (default ../shared/traces); needs zstd
BENCH_TARGETS += bench-missratio

BENCH_MISSRATIO_POLICIES := FIFO CLOCK LRU SIEVE S3FIFO ADAPTIVE
# ADAPTIVE with one of its numbers halved or doubled: <number>_<value>.
BENCH_MISSRATIO_VARIANTS := ROOM_2 ROOM_8 LUCK_32 LUCK_128 LEAP_8 LEAP_32 START_5 START_20 LEAST_50 LEAST_200
BENCH_MISSRATIO_OURS := $(addprefix $(BENCH_OUT)/missratio_,$(BENCH_MISSRATIO_POLICIES))
BENCH_MISSRATIO_OTHERS := $(addprefix $(BENCH_OUT)/missratio_with_,$(BENCH_MISSRATIO_VARIANTS))

bench-missratio: $(BENCH_MISSRATIO_OURS) $(BENCH_MISSRATIO_OTHERS)
	@$(BENCH_RUN) missratio --build $(BENCH_OUT)

BENCH_PROGRAMS += $(BENCH_MISSRATIO_OURS) $(BENCH_MISSRATIO_OTHERS)

$(BENCH_MISSRATIO_OURS): $(BENCH_OUT)/missratio_%: bench/missratio.c dataloader.h $(BENCH_OUT)/harness.o
	$(BENCH_C) -I. -DMISSRATIO_EVICT=DLOAD_EVICT_$* -DMISSRATIO_VARIANT='"$*"' $< $(BENCH_OUT)/harness.o -o $@

# The number is a constant of the header: the variant has a copy in which it differs.
$(BENCH_MISSRATIO_OTHERS): $(BENCH_OUT)/missratio_with_%: bench/missratio.c dataloader.h $(BENCH_OUT)/harness.o
	@mkdir -p $@.d
	@sed 's/^#define DLOAD_I_ADAPTIVE_$(firstword $(subst _, ,$*)) .*/#define DLOAD_I_ADAPTIVE_$(subst _, ,$*)u/' dataloader.h > $@.d/dataloader.h
	@! cmp -s dataloader.h $@.d/dataloader.h
	$(BENCH_C) -I$@.d -DMISSRATIO_EVICT=DLOAD_EVICT_ADAPTIVE -DMISSRATIO_VARIANT='"$*"' $< $(BENCH_OUT)/harness.o -o $@
