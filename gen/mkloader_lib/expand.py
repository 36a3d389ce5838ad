"""The self-contained header: all parts of dataloader.h as one loader sees them."""

import re

from .contract import amalgamate
from .instance import Cannot
from .render import Wrapper, filled


def without_comments(lines):
    """The preprocessor lines of dataloader.h.in: its prose is the manual, which is not repeated."""
    text = re.sub(r"/\*.*?\*/", "", "\n".join(lines), flags=re.DOTALL)
    return [line for line in text.split("\n") if line.strip()]


def joined(contract):
    """(lines, path) pieces in the order of dataloader.h.in; its own lines come between the parts."""
    own = []
    for line in without_comments(contract.lines("dataloader.h.in")):
        found = amalgamate.INCLUDE.match(line)
        if not found:
            own.append(line)
            continue
        if own:
            yield own, contract.path("dataloader.h.in")
        own = []
        yield ["/* ==== %s ==== */" % found.group(1), ""] + contract.lines(found.group(1)) + [""], \
            contract.path(found.group(1))
    if own:
        yield own, contract.path("dataloader.h.in")


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
            if any(re.match(r"[ \t]*#[ \t]*(if|else|elif|endif)", line) for line in piece) and \
                    path == self.contract.path("dataloader.h.in"):
                raise Cannot("%s:1: error: --expand expects no conditional lines between the parts" % path)
            made = self.instance.process(piece, path)
            if without_comments(made):  # some parts are about parameters only
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
