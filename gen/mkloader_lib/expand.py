"""The self-contained header: all parts of dataloader.h as one loader sees them."""

import re

from .contract import amalgamate
from .render import Wrapper, filled


def has_code(lines):
    return bool(re.sub(r"/\*.*?\*/", "", "\n".join(lines), flags=re.DOTALL).strip())


def joined(contract):
    """(lines, path) pieces in the order of dataloader.h.in; its own lines come between the parts. The
    manual in front of them is not repeated."""
    path = contract.path("dataloader.h.in")
    own, begun = [], False
    for _, line, inside in amalgamate.Source(contract.root, "dataloader.h.in").numbered():
        begun = begun or (not inside and line.lstrip().startswith("#"))
        found = None if inside else amalgamate.INCLUDE.match(line)
        if found:
            if has_code(own):
                yield own + [""], path
            own = []
            yield ["/* ==== %s ==== */" % found.group(1), ""] + contract.lines(found.group(1)) + [""], \
                contract.path(found.group(1))
        elif begun and not line.endswith("/* stores alone */"):  # here there is a loader
            own.append(line)
    if has_code(own):
        yield own, path


def collapsed(lines):
    """At most one blank line in a row, none where a comment or a block only shrank to nothing."""
    out = []
    for line in lines:
        line = line.rstrip()
        if line or (out and out[-1]):
            out.append(line)
    return out


class Expanded(Wrapper):
    """NAME.h without a dataloader.h beside it."""

    def parts(self):
        lines = []
        for piece, path in joined(self.contract):
            made = self.instance.process(piece, path)
            if has_code(made):  # some parts are about parameters only
                lines += made
        return "\n".join(collapsed(lines)).strip("\n")

    def header(self):
        # The prototypes for the strict layer come from an instance of their own: reading the parts
        # changes the macros of this one.
        if self.strict_type:
            self.functions_cached()
            self.instance = Wrapper(self.contract, self.loader, self.provenance, self.command).instance
        values = self.values()
        values["PARTS"] = self.parts()
        return filled(self.contract.read("wrapper/expanded.h.in"), values)
