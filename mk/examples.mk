# Examples: examples/x.c has the main, examples/x_*.c belong to it, examples/loaders.ini describes the
# typed loaders they use. A line /* links: m */ in one of them names its libraries, /* may link: x */ those that
# it does without when they are not there; who includes <sqlite3.h> is linked with SQLite.

LOADERS := examples/loaders.ini
# Elsewhere when a check builds them with other flags at the same time.
GEN     ?= build/gen
EXDIR   ?= build/examples

EXAMPLES := $(patsubst examples/%.c,%,$(shell grep -l '^int main\b' examples/*.c 2>/dev/null))

examples: $(EXAMPLES:%=$(EXDIR)/%)

# One run of mkloader writes every loader of the file; the stamp stands for all of them.
$(GEN)/.made: $(LOADERS) gen/mkloader $(wildcard gen/mkloader_lib/*) $(wildcard templates/wrapper/*)
	@mkdir -p $(GEN)
	gen/mkloader $(LOADERS) -o $(GEN)
	@touch $@

links = $(patsubst %,-l%,$(shell sed -n 's|^/\* links: *\(.*[^ ]\) *\*/.*|\1|p' $(1))) \
    $(if $(shell grep -l '<sqlite3\.h>' $(1) $(1:.c=.h) 2>/dev/null),-lsqlite3)

may_link = $(foreach l,$(shell sed -n 's|^/\* may link: *\(.*[^ ]\) *\*/.*|\1|p' $(1)),$(shell \
    printf 'int main(void) { return 0; }' | $(CC) -x c - -l$(l) -o /dev/null 2>/dev/null && echo -l$(l)))

define example
$(EXDIR)/$(1): $(wildcard examples/$(1).c examples/$(1)_*.c examples/*.h adapters/*.h adapters/*/*.h) dataloader.h $(GEN)/.made
	@mkdir -p $$(@D)
	$$(CC) -std=c11 $$(CFLAGS) $$(WARN) -I. -Iexamples -I$$(GEN) -o $$@ \
	    $$(filter %.c,$$^) $$(call links,$$(filter %.c,$$^)) $$(call may_link,$$(filter %.c,$$^)) -lpthread
endef
$(foreach e,$(EXAMPLES),$(eval $(call example,$(e))))

# INPUT and PACKAGE may be given on the command line or in the environment; the shell reads them from
# there, so that no character in them means anything.
demo: setup-demo
	@$(MAKE) --no-print-directory -s $(EXDIR)/depgraph
	@$(EXDIR)/depgraph $${INPUT:+--input "$$INPUT"} $${PACKAGE:+--package "$$PACKAGE"}
