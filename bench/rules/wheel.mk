# bench-wheel: setting and expiring timers, the cache's wheel by itself against lists and a heap.
BENCH_TARGETS += bench-wheel

BENCH_WHEEL_ALL := $(addprefix $(BENCH_OUT)/wheel_,ours lists heap)

bench-wheel: $(BENCH_WHEEL_ALL)
	@$(BENCH_RUN) wheel --build $(BENCH_OUT)

$(BENCH_WHEEL_ALL): $(BENCH_OUT)/wheel_%: bench/wheel_%.c bench/wheel.c bench/wheel.h bench/wheel_loops.h dataloader.h $(BENCH_OUT)/harness.o
	$(BENCH_C) -I. $< bench/wheel.c $(BENCH_OUT)/harness.o -o $@
