"""The templates as one loader sees them that has its translation unit to itself.

Beside the loader's parameters the unit's switches are decided, too, and what the compiler says of its
target: code for a microcontroller, which is what a profile fixes. Macros are put in but for what
reads better by its name: integer constants, attributes, and what the user may define.
"""

import re

from . import conditions
from .contract import ends_in_comment
from .declarations import LITERAL, words_of
from .instance import Instance, Macro, realigned

DEFINED = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.MULTILINE)
CONDITION = re.compile(r"^[ \t]*#[ \t]*(?:if|elif|ifdef|ifndef)\b((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
DEFINE = re.compile(r"(\w+)(\(([^()]*)\))?[ \t]*(.*)\Z", re.DOTALL)
SIZED = re.compile(r"\bU?INT(?:8|16|32|64)_C\((\w+)\)")
LARGEST = {"UINT8_MAX": 0xff, "UINT16_MAX": 0xffff, "INT32_MAX": 2**31 - 1, "UINT32_MAX": 2**32 - 1,
           "UINT64_MAX": 2**64 - 1}
INTEGER = re.compile(r"(?:[0-9]\w*|U?INT\d+_C|U?INT\d*_MAX|SIZE_MAX|size_t|uint\d+_t|sizeof|DLOAD_\w+|<<|>>|[-+*/%|&~()\s])+\Z")

# Of the unit: no libc, no vector instructions, a wrong fetch function does not compile.
UNIT = {"DLOAD_FREESTANDING": "1", "DLOAD_XXHASH": "0", "DLOAD_NO_SIMD": "1", "DLOAD_LARGE_PAGES": "0",
        "DLOAD_LOOSE_POINTERS": "0"}
# What the compiler would say: gcc or clang, for a core of which nothing special is known, where size counts.
TARGET = {"__GNUC__": 1, "__TINYC__": 0, "_WIN32": 0, "__linux__": 0, "__APPLE__": 0, "__x86_64__": 0, "__i386__": 0,
          "__aarch64__": 0, "__SSE2__": 0, "__ARM_NEON": 0, "__OPTIMIZE__": 1, "__OPTIMIZE_SIZE__": 1,
          "__GCC_ATOMIC_LLONG_LOCK_FREE": 0}
# Stay macros: C and C++ spell an assertion differently, and the checks are the user's to define.
KEPT = {"DLOAD_I_STATIC_ASSERT", "DLOAD_ASSERT"}
# The user calls these with numbers, to have a constant: they and what they use stay as they are.
CALLED = {"DLOAD_BYTES", "DLOAD_BYTES_QUEUED"}
ATTRIBUTES = {"DLOAD_I_UNUSED", "static", "inline"}
USERS = "DLOAD_CUSTOM_"


class Alone(Instance):
    """process() works a file through, as Instance's does."""

    def __init__(self, contract, parameters, define_macro):
        super().__init__(contract, dict(parameters, **UNIT), define_macro)
        self.values = {}   # constants that stay names: their values, for conditions
        self.named = set(KEPT)
        self.attributes = set(ATTRIBUTES)
        self.written = {}  # macro with parameters -> its lines, with the comment above
        self.apart = {}  # Frame -> the comment above its #if, while no branch of it was alive
        self.instance_own = set(self.own)
        texts = [contract.read(name) for name in contract.part_names()]
        defined = {name for text in texts for name in DEFINED.findall(text)}
        self.flags = {word for text in texts for line in CONDITION.findall(text) for word in re.findall(r"\w+", line)}
        self.own |= {name for name in defined if name not in KEPT and not name.startswith(USERS)}
        self.own |= {name for name in self.flags if name.startswith("DLOAD_") and not name.startswith(USERS)} - KEPT

    def known(self, kind, name):
        if name in TARGET and kind in ("defined", "name"):
            return TARGET[name]
        if name in self.named:
            if kind == "defined":
                return None if name in KEPT else 1
            return self.values.get(name)
        return super().known(kind, name)

    def stays(self, name, brackets, body):
        """Whether a macro reads better by its name than as what it stands for."""
        if name in KEPT:
            return True
        if brackets is not None or name in self.fixed or not body:
            return False
        if name not in self.instance_own and self.is_attribute(body):
            return True
        if name in self.flags and body in ("0", "1"):
            return False
        return bool(INTEGER.match(body)) and not body.startswith("sizeof") and self.integral(body)

    def is_attribute(self, body):
        return body.startswith("__attribute__") or set(body.split()) <= self.attributes

    def integral(self, body):
        """Made of numbers, and of names of such."""
        return all(word in self.named for word in re.findall(r"DLOAD_\w+", body)) and bool(re.search(r"\d|_MAX|DLOAD_", body))

    # ---- text ----

    def flush(self):
        """A statement at a time, so that what stood behind a bracket stands there again."""
        group, depth, inside = [], 0, False
        for line in self.pending:
            group.append(line)
            inside = ends_in_comment(line, inside)
            if not inside:
                code = LITERAL.sub(" ", line)
                depth += code.count("(") - code.count(")")
            if depth <= 0 and not inside:
                self.out += realigned(group, self.substituted("\n".join(group)).split("\n"))
                group, depth = [], 0
        if group:
            self.out += self.substituted("\n".join(group)).split("\n")
        self.pending = []

    # ---- comments go with what they are about ----

    def comment_above(self):
        """Takes the comment that ends in the last line so far, with lines of its own, and returns its lines."""
        start = len(self.pending) - 1
        if start < 0 or not self.pending[start].rstrip().endswith("*/"):
            return []
        while start > 0 and "/*" not in self.pending[start]:
            start -= 1
        if not self.pending[start].lstrip().startswith("/*"):
            return []
        lines = self.pending[start:]
        del self.pending[start:]
        return lines

    def branch(self, frame, word, text, raw, where):
        first = word not in ("elif", "else")
        if frame.outer_live and not frame.decided:
            verdict = True if word == "else" else self.decide("if" if word == "elif" else word, text, where)
            if first and verdict is False:
                self.apart[frame] = self.comment_above()
            elif not first and verdict is not False:
                self.pending += self.apart.pop(frame, [])
        super().branch(frame, word, text, raw, where)

    # ---- macros ----

    def define(self, frame, text, raw):
        name, brackets, parameters, body = DEFINE.match(text).groups()
        if name in self.macros and name in UNIT:
            return
        if body and frame.certain and not self.stays(name, brackets, body):
            above = self.comment_above()
            if brackets is not None:
                self.written[name] = above + raw
        if self.stays(name, brackets, body):
            self.remember(name, brackets, body)
            self.emit(*raw)
            return
        if name in self.own and frame.certain and len(raw) > 1:
            # A list, or statements: its lines stay lines where it is put in.
            lines = [line[:-1].rstrip() if line.endswith("\\") else line for line in raw]
            body = DEFINE.match(re.sub(r"^\s*#\s*define\s+", "", "\n".join(lines))).group(4).lstrip("\n").strip()
            names = None if brackets is None else [p.strip() for p in parameters.split(",") if p.strip()]
            self.macros[name] = Macro(names, body)
            return
        super().define(frame, text, raw)

    def directive(self, stack, word, text, raw, where):
        if word in ("define", "undef") and stack[-1].live:
            above = self.comment_above() if word == "define" else []
            self.flush()  # what stands above is to be read with the macros as they are there
            self.pending = above
        if word == "undef" and text in self.named:
            return  # the file has no other loader
        super().directive(stack, word, text, raw, where)

    def called_macros(self):
        """The lines of the macros that the user calls, and of those behind them, in their order."""
        wanted, todo = set(), [name for name in CALLED if name in self.written]
        while todo:
            name = todo.pop()
            wanted.add(name)
            todo += [w for w in words_of("\n".join(self.written[name])) if w in self.written and w not in wanted]
        lines = []
        for name in self.written:
            if name in wanted:
                lines += [""] * (self.written[name][0].lstrip().startswith("/*") or not lines)
                lines += [self.substituted("\n".join(self.written[name]), frozenset(wanted))]
        return "\n".join(lines).split("\n") if lines else []

    def remember(self, name, brackets, body):
        self.own.discard(name)
        self.macros.pop(name, None)
        self.named.add(name)
        if self.is_attribute(body):
            self.attributes.add(name)
        value = self.number(body)
        if value is not None:
            self.values[name] = value

    def number(self, body):
        """What an integer constant is, or None when that is the target's business."""
        body = re.sub(r"\((?:size_t|uint\d+_t)\)", "", SIZED.sub(r"\1", body))
        body = re.sub(r"\b[A-Z]\w*_MAX\b", lambda m: str(LARGEST.get(m.group(), m.group())), body)
        try:
            value = conditions.simplified(conditions.parsed(body), self.known)
        except conditions.Unknown:
            return None
        return value[1] if value[0] == "num" else None
