# make install: the header, the adapters beside it, mkloader with what it reads, and the files by which
# pkg-config and CMake find the headers. Nothing here is machine-dependent, so it all goes to include,
# bin and share.

INSTALL  ?= install
SHARE    := $(PREFIX)/share
PRIVATE  := $(SHARE)/dataloader
# mkloader looks for its parts beside itself: share/dataloader is laid out as this tree is.
CARRIED  := $(sort gen/amalgamate gen/measure gen/mkloader $(wildcard gen/mkloader_lib/*.py templates/*.in \
    templates/*/*.h templates/wrapper/*))
ADAPTERS := $(sort $(wildcard adapters/*.h adapters/*/*.h))
ADAPTER_PARTS := $(patsubst adapters/%/,%,$(sort $(dir $(wildcard adapters/*/*.h))))
AT_BUILD := build/install

$(AT_BUILD)/%: %.in dataloader.h
	@mkdir -p $(@D)
	@sed -e 's|@VERSION@|$(VERSION)|g' -e 's|@PREFIX@|$(PREFIX)|g' $< >$@

# The prefix of the last installation may have been another one.
.PHONY: fresh-templates
fresh-templates:
	@rm -rf $(AT_BUILD)

install: fresh-templates
	@$(MAKE) --no-print-directory -s $(AT_BUILD)/dataloader.pc \
	    $(AT_BUILD)/cmake/dataloader-config.cmake $(AT_BUILD)/cmake/dataloader-config-version.cmake
	$(INSTALL) -d '$(DESTDIR)$(PREFIX)/include' '$(DESTDIR)$(PREFIX)/bin' \
	    '$(DESTDIR)$(SHARE)/pkgconfig' '$(DESTDIR)$(SHARE)/cmake/dataloader'
	$(INSTALL) -m 644 dataloader.h '$(DESTDIR)$(PREFIX)/include/'
	for f in $(ADAPTERS:adapters/%=%); do \
	    $(INSTALL) -d "$(DESTDIR)$(PREFIX)/include/$$(dirname "$$f")" && \
	    $(INSTALL) -m 644 "adapters/$$f" "$(DESTDIR)$(PREFIX)/include/$$f" || exit 1; \
	done
	$(INSTALL) -m 644 $(AT_BUILD)/dataloader.pc '$(DESTDIR)$(SHARE)/pkgconfig/dataloader.pc'
	$(INSTALL) -m 644 $(AT_BUILD)/cmake/dataloader-config.cmake \
	    $(AT_BUILD)/cmake/dataloader-config-version.cmake '$(DESTDIR)$(SHARE)/cmake/dataloader/'
	for f in $(CARRIED); do \
	    mode=644; [ -x "$$f" ] && mode=755; \
	    $(INSTALL) -d "$(DESTDIR)$(PRIVATE)/$$(dirname "$$f")" && \
	    $(INSTALL) -m $$mode "$$f" "$(DESTDIR)$(PRIVATE)/$$f" || exit 1; \
	done
	ln -sf ../share/dataloader/gen/mkloader '$(DESTDIR)$(PREFIX)/bin/mkloader'

uninstall:
	rm -f '$(DESTDIR)$(PREFIX)/include/dataloader.h' '$(DESTDIR)$(PREFIX)/bin/mkloader' \
	    '$(DESTDIR)$(SHARE)/pkgconfig/dataloader.pc' \
	    $(ADAPTERS:adapters/%='$(DESTDIR)$(PREFIX)/include/%')
	rm -rf '$(DESTDIR)$(PRIVATE)' '$(DESTDIR)$(SHARE)/cmake/dataloader' \
	    $(ADAPTER_PARTS:%='$(DESTDIR)$(PREFIX)/include/%')
