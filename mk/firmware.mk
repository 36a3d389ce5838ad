# The firmware example: an image for a BBC micro:bit, run in QEMU. ARM is the toolchain's prefix. With EXPAND=--expand
# FWDIR=build/firmware-expanded it is made from the header without macros, and is the same image.

ARM     ?= arm-none-eabi-
FWDIR   ?= build/firmware
FWFLAGS := -mcpu=cortex-m0 -mthumb -std=c11 -ffreestanding -Os -g1 $(WARN) -Werror -ffunction-sections \
    -fdata-sections -nostdlib -I$(FWDIR) -Iexamples/firmware -I.
FW_MAX_BYTES := 16384

.PHONY: demo-firmware firmware

firmware: $(FWDIR)/hub.elf

$(FWDIR)/readings.h: examples/firmware/readings.ini gen/mkloader $(wildcard gen/mkloader_lib/*) $(wildcard templates/wrapper/*)
	@mkdir -p $(@D)
	gen/mkloader $< $(EXPAND) -o $(@D)

$(FWDIR)/hub.elf: $(wildcard examples/firmware/*.[ch] examples/firmware/board/*) $(FWDIR)/readings.h dataloader.h
	$(ARM)gcc $(FWFLAGS) -T examples/firmware/board/nrf51.ld -Wl,--gc-sections,-Map,$@.map -o $@ \
	    $(filter %.c,$^) -lgcc
	@n=$$($(ARM)size $@ | awk 'NR == 2 { print $$1 + $$2 }'); \
	    echo "image: $$n bytes of flash, of $(FW_MAX_BYTES) that it may have"; [ $$n -le $(FW_MAX_BYTES) ]

# Semihosting is for the end of the run: its status is qemu's. A run takes a few seconds.
demo-firmware: setup-firmware
	@$(MAKE) --no-print-directory -s firmware
	@timeout -k 5 120 qemu-system-arm -M microbit -display none -monitor none -serial stdio \
	    -semihosting-config enable=on,target=native -kernel $(FWDIR)/hub.elf

# What a loader costs on a microcontroller, and each switch: bench/results/size-arm-none-eabi-gcc-Os.md.
.PHONY: size
size: setup-firmware setup-freestanding
	@ARM=$(ARM) $(PYTHON) bench/size.py
