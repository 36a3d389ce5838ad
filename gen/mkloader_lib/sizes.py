"""--sizes FILE: what gen/measure, or `make size`, has measured, for the head of an expanded header.

A line a target: its name, bytes of code, constants and variables, and, when they were measured, of the
loader's struct, of an entry, and of the block that a loader of the preset size needs.
"""

import re

from . import names
from .spec import Problems

HEAD = "# target .text .rodata .bss struct entry block"
COLUMNS = "target, bytes of .text, .rodata, .bss, of the struct, of an entry, of the block"
TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9+-]{0,30}\Z")
FIGURE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,2})?\Z")
MAX_BYTES = 1 << 16


def read(path):
    """[[target, figure ...]] of the file. Raises Problems."""
    def wrong(line, message):
        return Problems(["%s:%d: error: %s" % (names.path(path), line, message)])
    try:
        with open(path, "rb") as f:
            raw = f.read(MAX_BYTES + 1)
    except (OSError, ValueError) as e:
        raise wrong(1, "cannot read: %s" % (getattr(e, "strerror", None) or "not a file's name")) from None
    if len(raw) > MAX_BYTES:
        raise wrong(1, "larger than %d bytes: not a list of sizes" % MAX_BYTES)
    rows = []
    for number, line in enumerate(raw.decode("utf-8", "replace").split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if not TARGET.match(words[0]) or not 3 <= len(words) - 1 <= 6 or not all(map(FIGURE.match, words[1:])):
            raise wrong(number, "expected a target and 3 to 6 numbers (%s), got '%s'" % (COLUMNS, names.visible(line)))
        if any(words[0] == row[0] for row in rows):
            raise wrong(number, "second line for %s" % words[0])
        rows.append(words)
    if not rows:
        raise wrong(1, "no sizes in it")
    return rows


def table(rows, settings):
    """Lines for the head of a header. settings: capacity and max_batch as the preset has them, or None."""
    heads = [["target", ".text", ".rodata", ".bss", "struct", "an entry", "block"][:max(map(len, rows))]]
    cells = heads + [row + [""] * (len(heads[0]) - len(row)) for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads[0]))]
    lines = ["Bytes, gcc -Os, with every function of the loader in the program; what is not called the linker",
             "can leave out. struct: the loader itself, or a cache of it."]
    if len(heads[0]) == 7:
        lines[-1] += " block: all memory for %s." % settings
    lines.append("")
    for row in cells:
        lines.append("  ".join(text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths))).rstrip())
    return lines
