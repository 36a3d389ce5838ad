# dataloader.h is one file to copy; this Makefile is for working on it and for trying it out.
# `make help` lists what there is to say.

CC    ?= cc
GCC   ?= gcc
CLANG ?= clang
PYTHON ?= python3
PREFIX  ?= /usr/local
DESTDIR ?=
JOBS  ?= $(shell n=$$(nproc 2>/dev/null || echo 2); if [ $$n -gt 4 ]; then echo 4; else echo $$n; fi)

CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef
VERSION := $(shell tests/tools/version)

export CC GCC CLANG

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all help examples demo check check-core check-freestanding test setup-% format amalgamate install uninstall clean \
        mutants

all: amalgamate examples

help:
	@echo 'make demo          resolve a real package database, with and without the loader'
	@echo '                   INPUT=file: another dpkg status file; PACKAGE=name: whose tree to print'
	@echo 'make demo-firmware  a sensor hub on an emulated micro:bit, with and without the loader'
	@echo 'make size          bytes of code and memory on Cortex-M0 and M3, a row for each switch'
	@echo 'make check         every test; the last line is "N passed, N failed"'
	@echo 'make check-core    the quick part: a C compiler and cmocka are enough'
	@echo 'make check-freestanding  the part that runs on emulated Cortex-M and RISC-V cores'
	@echo 'make test T=name   one suite, tests/test_<name>.c, plain; MODE=asan or tsan'
	@echo 'make bench-hit     a cached hit against the hash maps it is measured by; QUICK=1 is smaller'
	@echo 'make bench-many    cached hits by many keys a call'
	@echo 'make bench-memory  bytes an entry beyond key and value'
	@echo 'make bench-missratio  what the eviction policies miss, and how fast'
	@echo 'make bench-load    a load against the alternatives; QUICK=1 is smaller'
	@echo 'make bench-readers hits by threads that share a cache, against concurrent maps'
	@echo 'make bench-threads that, and loads by threads, against a database 200 us away'
	@echo 'make bench-backends  rows through SQLite, Redis and PostgreSQL, and stampedes of processes'
	@echo 'make bench         all benchmarks'
	@echo 'make install       header, mkloader, pkg-config and CMake files; PREFIX=, DESTDIR='
	@echo 'make               dataloader.h from templates/, and the examples into build/'
	@echo 'make amalgamate    dataloader.h from templates/'
	@echo 'make format        clang-format over every C file'
	@echo 'make clean         removes build/'

# Installs what a command needs, or prints the line that does (mk/packages.txt).
setup-%:
	@mk/setup $*

amalgamate:
	@gen/amalgamate

include mk/examples.mk
include mk/freestanding.mk
include mk/check.mk
include mk/firmware.mk
include mk/install.mk
-include bench/bench.mk

format:
	@tests/tools/format --write

clean:
	rm -rf build
