# bench-backends: rows through a store against the client library by hand, and stampedes. Stores whose library is not there
# are left out.
BENCH_TARGETS += bench-backends

BENCH_BACKENDS_ALL := $(addprefix $(BENCH_OUT)/backends_,ours stampede hiredis)
BENCH_BACKENDS_NEEDS := bench/backends.h dataloader.h $(wildcard adapters/*.h adapters/*/*.h) $(BENCH_OUT)/harness.o
# Of these libraries, those that can be linked.
BENCH_BACKENDS_LIBS = $(foreach l,sqlite3 hiredis ssl crypto pq,$(shell printf 'int main(void) { return 0; }' | $(BENCH_CC) -x c - -l$(l) -o /dev/null 2>/dev/null && echo -l$(l)))

bench-backends: $(BENCH_BACKENDS_ALL)
	@$(BENCH_RUN) backends --build $(BENCH_OUT)

BENCH_PROGRAMS += $(BENCH_BACKENDS_ALL)

$(BENCH_OUT)/backends_ours $(BENCH_OUT)/backends_stampede: $(BENCH_OUT)/backends_%: bench/backends_%.c $(BENCH_BACKENDS_NEEDS)
	$(BENCH_C) -I. -pthread $< $(BENCH_OUT)/harness.o $(BENCH_BACKENDS_LIBS) -o $@

$(BENCH_OUT)/backends_hiredis: bench/backends_hiredis.c bench/backends.h $(BENCH_OUT)/harness.o
	$(call BENCH_PEER,$(BENCH_C),hiredis/hiredis.h,,$(BENCH_OUT)/harness.o -lhiredis,libhiredis-dev)
