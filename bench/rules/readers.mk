# bench-readers: hits by threads of a cache that they share, against concurrent maps.
BENCH_TARGETS += bench-readers

BENCH_READERS_PARAMS_pthread := -DREADERS_LOCK=DLOAD_LOCK_PTHREAD
BENCH_READERS_PARAMS_spin := -DREADERS_LOCK=DLOAD_LOCK_SPIN
BENCH_READERS_PARAMS_pthread_no_stats := $(BENCH_READERS_PARAMS_pthread) -DREADERS_STATS=0
BENCH_READERS_PARAMS_spin_no_stats := $(BENCH_READERS_PARAMS_spin) -DREADERS_STATS=0
BENCH_READERS_OURS := $(addprefix $(BENCH_OUT)/readers_ours_,pthread spin pthread_no_stats spin_no_stats)
BENCH_READERS_PEERS := $(addprefix $(BENCH_OUT)/readers_,ck rcu_qsbr rcu_memb tbb cuckoo uthash)
BENCH_READERS_ALL := $(BENCH_READERS_OURS) $(BENCH_READERS_PEERS)
BENCH_READERS_OBJECTS := $(BENCH_OUT)/readers.o $(BENCH_OUT)/harness.o -pthread
BENCH_READERS_NEEDS := bench/readers.h bench/readers_loop.h $(BENCH_OUT)/readers.o $(BENCH_OUT)/harness.o

bench-readers: $(BENCH_READERS_ALL)
	@$(BENCH_RUN) readers --build $(BENCH_OUT)

BENCH_PROGRAMS += $(BENCH_READERS_ALL)

$(BENCH_OUT)/readers.o: bench/readers.c bench/readers.h bench/harness.h
	@mkdir -p $(BENCH_OUT)
	$(BENCH_C) -pthread -c $< -o $@

$(BENCH_READERS_OURS): $(BENCH_OUT)/readers_ours_%: bench/readers_ours.c dataloader.h $(BENCH_READERS_NEEDS)
	$(BENCH_C) -I. $(BENCH_READERS_PARAMS_$*) -DREADERS_VARIANT='"ours-$(subst _,-,$*)"' $< $(BENCH_READERS_OBJECTS) -o $@

$(BENCH_OUT)/readers_ck: bench/readers_ck.c $(BENCH_READERS_NEEDS)
	$(call BENCH_PEER,$(BENCH_C),ck_ht.h,,$(BENCH_READERS_OBJECTS) -lck,libck-dev)

$(BENCH_OUT)/readers_rcu_qsbr: bench/readers_rcu.c $(BENCH_READERS_NEEDS)
	$(call BENCH_PEER,$(BENCH_C),urcu/rculfhash.h,-DREADERS_QSBR=1,$(BENCH_READERS_OBJECTS) $$(pkg-config --libs liburcu-qsbr liburcu-cds),liburcu-dev)

$(BENCH_OUT)/readers_rcu_memb: bench/readers_rcu.c $(BENCH_READERS_NEEDS)
	$(call BENCH_PEER,$(BENCH_C),urcu/rculfhash.h,-DREADERS_QSBR=0,$(BENCH_READERS_OBJECTS) $$(pkg-config --libs liburcu-memb liburcu-cds),liburcu-dev)

$(BENCH_OUT)/readers_uthash: bench/readers_uthash.c $(BENCH_READERS_NEEDS)
	$(call BENCH_PEER,$(BENCH_C),uthash.h,,$(BENCH_READERS_OBJECTS),uthash-dev)

$(BENCH_OUT)/readers_tbb: bench/readers_tbb.cc bench/readers_cxx.h $(BENCH_READERS_NEEDS)
	$(call BENCH_PEER,$(BENCH_CXXC),tbb/concurrent_hash_map.h,,$(BENCH_READERS_OBJECTS) -ltbb,libtbb-dev)

$(BENCH_OUT)/readers_cuckoo: bench/readers_cuckoo.cc bench/readers_cxx.h $(BENCH_READERS_NEEDS)
	$(call BENCH_PEER,$(BENCH_CXXC),libcuckoo/cuckoohash_map.hh,,$(BENCH_READERS_OBJECTS),libcuckoo-dev)
