"""The templates as one loader sees them: a preprocessor that knows this loader's parameters.

Lines whose condition is decided by the parameters go or stay; every other line stays as it is, for
the compiler. Macros that belong to one instance (the ones that typed/undef.h takes back) are put in
where they are used; macros of the runtime stay macros.
"""

import os
import re

from . import conditions
from .contract import ends_in_comment

CONSTANT = re.compile(r"^#define (DLOAD_(?:LOCK|EVICT|CLOCK|LINKAGE|I_KIND|I_VKIND)_\w+)\s+([0-9]+)\s*$",
                      re.MULTILINE)
UNDEF = re.compile(r"^[ \t]*#[ \t]*undef[ \t]+(\w+)", re.MULTILINE)
DIRECTIVE = re.compile(r"[ \t]*#[ \t]*(\w+)[ \t]*(.*)\Z", re.DOTALL)
DEFINE = re.compile(r"(\w+)(\(([^()]*)\))?[ \t]*(.*)\Z", re.DOTALL)
LEXEME = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|[A-Za-z_]\w*|[0-9][\w.]*|\s+|.',
                    re.DOTALL)
PASTE = "\x00"  # stands for ## while a macro is put in
LIKE_MULTIPLICATION = re.compile(r"(DLOAD_I_FN\(\w+\)) \* (?=\w)")


class Cannot(Exception):
    """The templates use something that this module does not know; str() is a complete message."""


class Macro:
    def __init__(self, parameters, body):
        self.parameters, self.body = parameters, body


class Frame:
    """One #if ... #endif that is being read."""

    def __init__(self, live, certain):
        self.outer_live, self.outer_certain = live, certain
        self.decided = False  # a branch was certainly taken: all later ones are dead
        self.shown = False    # an #if line went out, so #endif must
        self.live, self.certain = live, certain


class Instance:
    """Parameters and instance macros of one loader; process() works a file through."""

    def __init__(self, contract, parameters, define_macro):
        """parameters: DLOAD_ name -> text. define_macro: for a split loader the macro that its .c
        defines; None when the functions are static."""
        self.contract = contract
        self.constants = {}
        for name in ("runtime/port.h", "runtime/key.h"):
            self.constants.update((n, int(v)) for n, v in CONSTANT.findall(contract.read(name)))
        self.own = set(UNDEF.findall(contract.read("typed/undef.h")))
        self.macros = {name: Macro(None, text) for name, text in parameters.items()}
        self.name = parameters["DLOAD_NAME"]
        self.fixed = {
            "DLOAD_I_KEY_KIND": self.constants["DLOAD_I_KIND_" + contract.key_kinds[
                parameters.get("DLOAD_KEY_AS", parameters["DLOAD_KEY"])]],
            "DLOAD_I_VALUE_IS_BLOB": int(parameters["DLOAD_VALUE"] == "DLOAD_BLOB"),
        }
        self.own.update(parameters)
        self.own.update(self.fixed)
        self.macros.update((name, Macro(None, str(value))) for name, value in self.fixed.items())
        if define_macro:
            self.own.add("DLOAD_LINKAGE")
            self.macros["DLOAD_LINKAGE"] = Macro(
                None, "(defined(%s) ? DLOAD_LINKAGE_DEFINE : DLOAD_LINKAGE_DECLARE)" % define_macro)
        self.opaque = set()
        self.bodies = "defined(%s)" % define_macro

    # ---- conditions ----

    def known(self, kind, name):
        if kind == "defined":
            return int(name in self.macros or name in self.fixed) if name in self.own else None
        if kind == "call":
            return self.fixed["DLOAD_I_VALUE_IS_BLOB"] if name.startswith("DLOAD_I_VKIND_OF(") else None
        if name in self.fixed:
            return self.fixed[name]
        if name in self.constants:
            return self.constants[name]
        if name in self.macros and name not in self.opaque:
            return conditions.parsed(self.macros[name].body or "0")
        return 0 if name in self.own and name not in self.opaque else None

    def decide(self, word, text, where):
        """True, False, None (leave the line alone) or the text of a simpler condition."""
        if word in ("ifdef", "ifndef"):
            name = text.split()[0]
            value = self.known("defined", name)
            return None if value is None else bool(value) == (word == "ifdef")
        try:
            return conditions.resolve(text, self.known)
        except conditions.Unknown:
            if any(w in self.own for w in re.findall(r"\w+", text)):
                raise Cannot("%s: error: mkloader --expand cannot decide: %s" % (where, text)) from None
            return None

    # ---- macros in text ----

    def substituted(self, text, hidden=frozenset()):
        lexemes = LEXEME.findall(LIKE_MULTIPLICATION.sub(r"\1 *", text))
        out, i = [], 0
        while i < len(lexemes):
            word = lexemes[i]
            i += 1
            macro = self.macros.get(word)
            if macro is None or word in self.opaque or word in hidden or word not in self.own:
                out.append(word)
                continue
            if macro.parameters is None:
                out.append(self.substituted(macro.body, hidden | {word}))
                if macro.body.endswith("*") and i < len(lexemes) and lexemes[i] == " ":
                    i += 1  # char *name, not char * name
                continue
            after = i
            while after < len(lexemes) and lexemes[after].isspace():
                after += 1
            if after == len(lexemes) or lexemes[after] != "(":
                out.append(word)
                continue
            arguments, i = self.arguments(lexemes, after)
            if macro.parameters == ["X"] and out and "\n" in out[-1]:  # a list: its lines have their own margin
                margin = re.search(r"\n( *)|$", macro.body).group(1) or ""
                out[-1] = out[-1].rpartition("\n")[0] + "\n" + margin
            out.append(self.called(word, macro, arguments, hidden))
        return "".join(out)

    @staticmethod
    def arguments(lexemes, at):
        arguments, depth, current = [], 0, []
        while at < len(lexemes):
            word = lexemes[at]
            at += 1
            if word == "(":
                depth += 1
                if depth == 1:
                    continue
            elif word == ")":
                depth -= 1
                if depth == 0:
                    arguments.append("".join(current).strip())
                    return arguments, at
            elif word == "," and depth == 1:
                arguments.append("".join(current).strip())
                current = []
                continue
            current.append(word)
        raise Cannot("mkloader: error: a macro call does not end: %s" % "".join(lexemes)[:80])

    def called(self, word, macro, arguments, hidden):
        if word == "DLOAD_I_FN":
            return "%s_%s" % (self.name, self.substituted(arguments[0], hidden))
        if macro.parameters == [] and arguments == [""]:
            arguments = []
        if len(arguments) != len(macro.parameters):
            raise Cannot("mkloader: error: --expand does not know how to expand %s" % word)
        return self.substituted(self.pasted(macro, arguments, hidden), hidden | {word})

    def pasted(self, macro, arguments, hidden):
        """The body with its arguments in it: expanded ones, but as they stand beside # and ##."""
        raw = dict(zip(macro.parameters, arguments))
        pieces = LEXEME.findall(re.sub(r"[ \t]*##[ \t]*", PASTE, macro.body))
        out = []
        for i, piece in enumerate(pieces):
            if piece == "#" and pieces[i + 1:i + 2] and pieces[i + 1] in raw:
                continue
            if piece not in raw:
                out.append(piece)
            elif pieces[i - 1:i] == ["#"]:
                out.append('"%s"' % raw[piece].replace("\\", "\\\\").replace('"', '\\"'))
            elif PASTE in (pieces[i - 1:i] + pieces[i + 1:i + 2]):
                out.append(raw[piece])
            else:
                out.append(self.substituted(raw[piece], hidden))
        return "".join(out).replace(PASTE, "")

    # ---- files ----

    def process(self, lines, path, substitute=True):
        """The lines of one file as this loader sees them. Blank runs are the caller's to collapse."""
        self.out, self.pending, self.substitute = [], [], substitute
        stack = [Frame(True, True)]
        number, inside = 0, False
        while number < len(lines):
            first = number
            line = lines[number]
            number += 1
            if inside or not re.match(r"[ \t]*#", line):
                inside = ends_in_comment(line, inside)
                if stack[-1].live:
                    self.pending.append(line)
                continue
            while number < len(lines) and (lines[number - 1].endswith("\\") or
                                           ends_in_comment("\n".join(lines[first:number]), False)):
                number += 1
            raw = lines[first:number]
            joined = " ".join(l[:-1].rstrip() if l.endswith("\\") else l for l in raw)
            found = DIRECTIVE.match(re.sub(r"/\*.*?\*/", " ", joined).rstrip())
            where = "%s:%d" % (path, first + 1)
            if not found:
                raise Cannot("%s: error: not a directive" % where)
            self.directive(stack, found.group(1), found.group(2).strip(), raw, where)
        if len(stack) != 1:
            raise Cannot("%s:%d: error: an #if without #endif" % (path, len(lines)))
        self.flush()
        return self.out

    def flush(self):
        if self.pending:
            text = "\n".join(self.pending)
            if self.substitute:
                self.out += realigned(self.pending, self.substituted(text).split("\n"))
            else:
                self.out += self.pending
            self.pending = []

    def emit(self, *lines):
        self.flush()
        self.out += lines

    def directive(self, stack, word, text, raw, where):
        frame = stack[-1]
        if len(stack) == 1 and word in ("elif", "else", "endif"):
            raise Cannot("%s: error: #%s without #if" % (where, word))
        if word in ("if", "ifdef", "ifndef"):
            stack.append(Frame(frame.live, frame.certain))
            self.branch(stack[-1], word, text, raw, where)
        elif word in ("elif", "else"):
            self.branch(frame, word, text, raw, where)
        elif word == "endif":
            if frame.shown:
                self.emit(*raw)
            stack.pop()
        elif not frame.live:
            return
        elif word == "define":
            self.define(frame, text, raw)
        elif word == "undef":
            if text in self.own and text not in self.opaque:
                self.macros.pop(text, None)
            else:
                self.emit(*raw)
        elif word == "error" and frame.certain:
            raise Cannot("%s: error: mkloader let parameters through that the template refuses: %s"
                         % (where, text))
        elif word == "include" and text.startswith('"') and self.is_part(where, text):
            return
        else:
            self.emit(*raw)

    def is_part(self, where, text):
        folder = os.path.dirname(where.rpartition(":")[0])
        return os.path.isfile(os.path.join(folder, *text.split('"')[1].split("/")))

    def branch(self, frame, word, text, raw, where):
        """Opens a branch: #if when the frame is new, else #elif or #else."""
        if not frame.outer_live or frame.decided:
            frame.live = False
            return
        verdict = True if word == "else" else self.decide("if" if word == "elif" else word, text, where)
        if verdict is False:
            frame.live = False
            return
        frame.live = True
        if verdict is True:
            frame.decided = True
            frame.certain = frame.outer_certain and not frame.shown
            if frame.shown:
                self.emit("#else" if word != "else" else raw[0])
            return
        # What only the defining file sees may be put in: nothing outside that branch uses it.
        frame.certain = frame.outer_certain and word != "elif" and verdict == self.bodies
        if verdict is None and (frame.shown == (word == "elif")):
            self.emit(*raw)
        else:
            self.emit("#%s %s" % ("elif" if frame.shown else "if", verdict or text))
        frame.shown = True

    def define(self, frame, text, raw):
        name, brackets, parameters, body = DEFINE.match(text).groups()
        if name in self.fixed:
            return
        if name in self.own and frame.certain:
            names = None if brackets is None else [p.strip() for p in parameters.split(",") if p.strip()]
            self.macros[name] = Macro(names, body)
        elif name in self.own and name in self.macros and name not in self.opaque:
            raise Cannot("mkloader: error: --expand does not know which %s the compiler chooses" % name)
        elif name in self.own:
            # Decided by the compiler: it must stay a macro, and its #undef with it.
            self.opaque.add(name)
            self.macros[name] = Macro(None, "")
            self.emit(*self.substituted("\n".join(raw), frozenset([name])).split("\n"))
        else:
            self.emit(*raw)


def open_bracket(lines):
    """Column behind the innermost bracket that is still open after these lines, or None."""
    columns = []
    for line in lines:
        for column, character in enumerate(line):
            if character == "(":
                columns.append(column + 1)
            elif character == ")" and columns:
                columns.pop()
    return columns[-1] if columns else None


def realigned(before, after):
    """Lines that stood behind a bracket of the line before stand there again after substitution."""
    if len(before) != len(after):
        return after
    out, start = [], 0
    for i, line in enumerate(after):
        column = open_bracket(before[start:i])
        if column is None:
            start = i
        elif column == len(before[i]) - len(before[i].lstrip(" ")):
            line = " " * (open_bracket(out[start:i]) or 0) + line.lstrip(" ")
        out.append(line)
    return out
