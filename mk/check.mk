# Tests. Every step runs through tests/tools/step, which keeps its log and its counts in build/log;
# tests/tools/tally adds them up. Steps are independent of each other: make runs JOBS at a time.

STEP    := tests/tools/step
SUITES  := $(sort $(patsubst tests/%.c,%,$(wildcard tests/test_*.c)))
# What runs threads runs under the thread sanitizer too.
THREADS := $(if $(SUITES),$(shell grep -lE 'pthread_create|run_threads|/\* tsan \*/' $(SUITES:%=tests/%.c)))
THREADS := $(patsubst tests/%.c,%,$(THREADS))

# What needs a server or its client library is for `make check`.
FOREIGN := $(if $(SUITES),$(shell grep -lE '/\* links:.*\b(uv|hiredis|pq)\b' $(SUITES:%=tests/%.c)))
FOREIGN := $(patsubst tests/%.c,%,$(FOREIGN))

CORE_STEPS := header compile-fail-$(CC) $(patsubst %,plain-%,$(filter-out $(FOREIGN),$(SUITES)))
# The long ones first, so that none of them is the last to run alone.
CHECK_STEPS := $(if $(wildcard tests/mutants/run.py),mutants) models \
    $(FREESTANDING_STEPS) matrix-clang++ matrix-g++ matrix-clang matrix-gcc $(SUITES:%=asan-%) $(THREADS:%=tsan-%) \
    compile-fail-g++ compile-fail-clang++ compile-fail-gcc compile-fail-clang \
    depgraph make-demo selftest setup install bench mkloader readme examples-gcc examples-clang \
    adapters-gcc adapters-clang adapters-g++ adapters-clang++ parts-gcc parts-clang symbols-gcc symbols-clang everything misra m32-gcc m32-clang names shape format parameters version amalgamate golden \
    $(SUITES:%=plain-%)
# A figure, not a verdict on code: measured by itself, before the others use the machine.
ALONE_STEPS := compile-time

# $(call steps,list,alone): runs them, those of the second list one at a time and first, then sums up. A
# step never fails make: tally does, at the end.
define steps
	@rm -rf build/log/*.log build/log/*.result build/log/summary; mkdir -p build/log
	@for s in $(2); do $(MAKE) --no-print-directory -s -k -j1 step/$$s || true; done
	@$(MAKE) --no-print-directory -s -k $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS)) \
	    $(addprefix step/,$(1)) || true
	@tests/tools/tally $(2) $(1)
endef

check: setup-check setup-core setup-freestanding
	$(call steps,$(CHECK_STEPS),$(ALONE_STEPS))

check-core: setup-core
	$(call steps,$(CORE_STEPS))

# Every mutant: a quarter of an hour. `make check` runs a sixth of them, another one each commit.
mutants: setup-core
	$(PYTHON) tests/mutants/run.py

# One suite by hand, with its whole output.
MODE ?= plain
test:
	@tests/tools/suite $(MODE) tests/test_$(T).c

# Phony targets are not made by pattern rules: these name their targets.
COMPILERS := $(sort gcc g++ clang clang++ $(CC))
.PHONY: $(addprefix step/,$(sort $(CORE_STEPS) $(CHECK_STEPS) $(ALONE_STEPS)))

$(SUITES:%=step/plain-%): step/plain-%:
	@$(STEP) plain-$* tests/tools/suite plain tests/$*.c
$(SUITES:%=step/asan-%): step/asan-%:
	@$(STEP) asan-$* tests/tools/suite asan tests/$*.c
$(SUITES:%=step/tsan-%): step/tsan-%:
	@$(STEP) tsan-$* tests/tools/suite tsan tests/$*.c

step/header:
	@$(STEP) header $(CC) -std=c11 $(WARN) -Werror -I. -fsyntax-only tests/compile/first.c
$(COMPILERS:%=step/compile-fail-%): step/compile-fail-%:
	@$(STEP) compile-fail-$* tests/tools/compile_fail $*
$(COMPILERS:%=step/matrix-%): step/matrix-%:
	@$(STEP) matrix-$* tests/tools/matrix $*
$(COMPILERS:%=step/parts-%): step/parts-%:
	@$(STEP) parts-$* tests/tools/parts $*
$(COMPILERS:%=step/adapters-%): step/adapters-%:
	@$(STEP) adapters-$* tests/tools/adapters $*
$(COMPILERS:%=step/symbols-%): step/symbols-%:
	@$(STEP) symbols-$* tests/tools/symbols $*
step/amalgamate:
	@$(STEP) amalgamate gen/amalgamate --check
step/mkloader:
	@$(STEP) mkloader $(PYTHON) tests/gen/run.py
step/golden:
	@$(STEP) golden $(PYTHON) tests/golden/make.py --check
step/mutants:
	@$(STEP) mutants $(PYTHON) tests/mutants/run.py --share 6
step/models:
	@$(STEP) models $(PYTHON) tests/models/run.py
step/format step/shape step/names step/parameters step/readme step/install step/bench step/selftest step/setup: step/%:
	@$(STEP) $* tests/tools/$*
step/everything step/misra: step/%:
	@$(STEP) $* tests/tools/$*
step/m32-gcc step/m32-clang: step/m32-%:
	@$(STEP) m32-$* tests/tools/m32 $*
step/version:
	@$(STEP) version tests/tools/version --check
step/compile-time:
	@$(STEP) compile-time tests/tools/compile_time
$(COMPILERS:%=step/examples-%): step/examples-%:
	@$(STEP) examples-$* tests/tools/examples $*
step/make-demo:
	@$(STEP) make-demo tests/tools/demo
step/depgraph:
	@$(STEP) depgraph $(PYTHON) tests/demo/run.py
