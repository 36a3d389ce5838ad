# The loader where there is no operating system: tests/freestanding, run by QEMU. See tests/tools/freestanding.

# What is not a host first: it takes longest.
FREESTANDING_TARGETS := m0 rv32imac m3 m4f rv64imac s390x m32 clang tcc gcc
FREESTANDING_STEPS := $(FREESTANDING_TARGETS:%=freestanding-%) freestanding-gate freestanding-interrupts freestanding-selftest \
    freestanding-same firmware

.PHONY: check-freestanding $(FREESTANDING_STEPS:%=step/%)

check-freestanding: setup-core setup-freestanding setup-firmware
	$(call steps,$(FREESTANDING_STEPS))

$(FREESTANDING_TARGETS:%=step/freestanding-%): step/freestanding-%:
	@$(STEP) freestanding-$* tests/tools/freestanding $*
step/freestanding-gate:
	@$(STEP) freestanding-gate tests/tools/freestanding_gate
step/freestanding-interrupts:
	@$(STEP) freestanding-interrupts tests/tools/freestanding_interrupts
step/freestanding-selftest:
	@$(STEP) freestanding-selftest tests/tools/freestanding_selftest
step/firmware:
	@$(STEP) firmware tests/tools/firmware
# After all of them: they must have run the same cases.
step/freestanding-same: $(FREESTANDING_TARGETS:%=step/freestanding-%)
	@$(STEP) freestanding-same tests/tools/freestanding_same $(FREESTANDING_TARGETS)
