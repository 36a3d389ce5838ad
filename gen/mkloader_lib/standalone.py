"""The self-contained header of an embedded loader: one file that an auditor reads from top to bottom."""

import re

from . import constants, names
from .alone import Alone
from .declarations import Splitter, words_of
from .expand import Expanded, collapsed, has_code, joined
from .reach import pruned, text_of
from .render import filled
from .spec import Problems
from .tidy import tidied

BANNER = re.compile(r"^/\* ==== (?:(\w+)/)?(\w+)\.h ==== \*/$", re.MULTILINE)
PASTED = re.compile(r"\bNAME##(\w+)")
TITLE = re.compile(r"^/\* ==== ([A-Z ]+): (\w+) ==== \*/$", re.MULTILINE)
# What the lines that stay for the preprocessor are for; whatever is none of these is "other".
KINDS = (
    (re.compile(r"#ifndef DLOAD_WRAPPER_|#define DLOAD_WRAPPER_"), "the guard of this file"),
    (re.compile(r"#ifdef DLOAD_VERSION\b|#error"), "the check that no other dataloader is in the translation unit"),
    (re.compile(r"#include"), "what is included"),
    (re.compile(r"#if.*__cplusplus|#define DLOAD_I_STATIC_ASSERT"), "what C++ spells differently"),
    (re.compile(r"#define DLOAD_I_(?:UNUSED|INLINE|NOINLINE|COLD|LOCAL)\b"), "attributes of functions, as gcc and clang spell them"),
    (re.compile(r"#ifndef DLOAD_ASSERT\b|#define DLOAD_ASSERT\("), "the loader's checks of itself, for the user to define"),
    (re.compile(r"#define DLOAD_\w+\("), "sizes of memory as constants, for static arrays: C has no functions for such"),
    (re.compile(r"#define DLOAD_(?!I_)\w+\s+\S"), "numbers of the public face"),
    (re.compile(r"#define DLOAD_I_\w+\s+\S"), "private numbers that C wants as such (lengths of arrays, narrow types)"),
    (re.compile(r"#if.*\bDLOAD_CUSTOM_"), "the critical section, which is the user's"),
    (re.compile(r"#if.*__(?:ARM_ARCH|BYTE_ORDER|GCC_ATOMIC)"), "what depends on the core"),
    (re.compile(r"#pragma|#ifdef __clang__"), "what the compiler is to warn of"),
)
# What a part is about, in an auditor's words: its heading, and its line in the contents.
ABOUT = {
    "port": "COMPILER", "status": "PUBLIC TYPES", "key": "PUBLIC TYPES", "env": "PUBLIC TYPES",
    "stats": "PUBLIC TYPES", "types": "PUBLIC TYPES", "api": "PUBLIC FUNCTIONS", "block": "MEMORY", "bytes": "MEMORY", "pool": "MEMORY",
    "ticks": "TIME", "chance": "TIME", "lock": "LOCK", "lock_pthread": "LOCK", "custom": "LOCK", "hash": "TABLE", "words": "TABLE",
    "entry": "TABLE", "ident": "TABLE", "table": "TABLE", "remove": "TABLE", "stale": "TABLE",
    "removed": "TABLE", "read": "TABLE", "reach": "TABLE", "store": "TABLE", "cache": "TABLE", "shards": "TABLE",
    "chains": "TABLE", "slots": "TABLE", "busy": "LOCK", "solo": "BATCHES", "loader": "PUBLIC TYPES", "many": "TABLE", "pin": "TABLE", "evict": "TABLE", "policy": "TABLE", "compact": "TABLE", "flight": "BATCHES",
    "batch": "BATCHES", "nest": "BATCHES", "pace": "BATCHES", "run": "BATCHES", "crew": "BATCHES", "drive": "BATCHES",
    "registry": "BATCHES", "answer": "BATCHES", "ops": "BATCHES",
}
OTHERWISE = {"runtime": "RUNTIME", "typed": "LOADER", None: "COMPILER"}


def title(folder, part):
    for key in (part, part.split("_")[0]):
        if key in ABOUT:
            return ABOUT[key]
    return OTHERWISE.get(folder, "LOADER")


def kind_of(line):
    """What a line for the preprocessor is for, in the words of the header's head."""
    for pattern, kind in KINDS:
        if pattern.match(line):
            return kind
    return "other"


def directives(text):
    """[(kind, how many)] of the lines for the preprocessor, in the order of KINDS."""
    counts, stack = {}, []
    for line in re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.DOTALL).split("\n"):
        found = re.match(r"[ \t]*#[ \t]*(\w+)", line)
        if not found:
            continue
        word, kind = found.group(1), kind_of(line.strip())
        if word in ("else", "elif", "endif"):
            kind = stack[-1]
        if word.startswith("if"):
            stack.append(kind)
        elif word == "endif":
            stack.pop()
        elif stack[1:] and word in ("define", "error"):
            kind = stack[-1]
        counts[kind] = counts.get(kind, 0) + 1
    return [(kind, counts[kind]) for kind in list(dict.fromkeys(k for _, k in KINDS)) + ["other"] if kind in counts]


class Standalone(Expanded):
    """NAME.h without a dataloader.h beside it, and without what the loader does not reach."""

    def __init__(self, contract, loader, provenance, command):
        super().__init__(contract, loader, provenance, command)
        self.instance = Alone(contract, self.parameters(), None)
        self.sizes = ["not measured: gen/measure does, and mkloader --sizes puts the figures here"]
        for key, why in (("strict", "is made of macros, of which this header has none"),
                         ("emit", "divides what this header keeps together")):
            if loader.settings.get(key) not in (None, False, ["h"]):
                raise Problems(["%s:%d: error: with --expand and profile = embedded '%s' has no place: it %s"
                                % (names.path(loader.source), loader.at(key), key, why)])

    def preset_size(self):
        """The capacity and max_batch of the section, in words."""
        preset = {field.name: text for field, _, text in self.loader.presets}
        return ", ".join("%s = %s" % (key, preset[key]) for key in ("capacity", "max_batch") if key in preset)

    def parts(self):
        lines = []
        for piece, path in joined(self.contract):
            made = self.instance.process(piece, path)
            if has_code(made):
                lines += made
        lines = [line for line in lines if not re.match(r"\s*/\* clang-format o(?:n|ff) \*/\Z", line)]
        called = self.instance.called_macros()
        if called:
            lines += ["", "/* ==== runtime/bytes.h ==== */", ""] + called
        roots = words_of(self.preset()) | {self.name + end for end in PASTED.findall("\n".join(called))}
        items = pruned(Splitter("\n".join(collapsed(lines))).split(), self.name, roots)
        for item in items:
            tidied(item)
        constants.named(items, self.instance.values)
        text = re.sub(r"^( +DLOAD_\w+ = )\((-?[0-9]+)\),$", r"\1\2,", text_of(items), flags=re.MULTILINE)
        return BANNER.sub(lambda m: "/* ==== %s: %s ==== */" % (title(m.group(1), m.group(2)), m.group(2)), text)

    def header(self):
        values = self.values()
        values["PARTS"] = self.parts()
        values["SIZES"] = "\n * ".join(self.sizes)
        values["MACROS"] = values["CONTENTS"] = ""
        counts = directives(filled(self.template(), values))
        values["MACROS"] = "\n * ".join("%4d  %s" % (n, kind) for kind, n in counts)
        places = TITLE.findall(values["PARTS"])
        values["CONTENTS"] = "\n * ".join("x" for _ in places)
        # Now that every line has its place, the contents can say where.
        numbers = [n for n, line in enumerate(filled(self.template(), values).split("\n"), 1) if TITLE.match(line)]
        values["CONTENTS"] = "\n * ".join("%5d  %-16s  %s" % (n, what, part) for n, (what, part) in zip(numbers, places))
        return filled(self.template(), values)

    def template(self):
        return self.contract.read("wrapper/standalone.h.in")
