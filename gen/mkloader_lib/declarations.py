"""C text as its declarations at the outermost level: what each declares, what it uses, its comment.

Enough of C for the templates' own code, whose form clang-format keeps: no K&R functions, one declarator
a declaration.
"""

import re

LEXEME = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|[A-Za-z_]\w*|\.?[0-9][\w.]*|\n|[ \t]+|.', re.DOTALL)
WORD = re.compile(r"[A-Za-z_]\w*\Z")
OPENS = re.compile(r"[ \t]*#[ \t]*if")
CLOSES = re.compile(r"[ \t]*#[ \t]*endif")
DEFINES = re.compile(r"[ \t]*#[ \t]*define[ \t]+(\w+)")
BANNER = re.compile(r"/\* ==== (.*?) ==== \*/\Z", re.DOTALL)
HEADING = re.compile(r"/\* ---- (.*?) ---- \*/\Z", re.DOTALL)
LITERAL = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
ASSERTION = "DLOAD_I_STATIC_ASSERT"
INITIALISER = re.compile(r"=\s*\Z")


class Item:
    """kind: 'banner', 'heading', 'note' (a comment by itself), 'line' (a directive), 'block' (#if to
    #endif), 'code'."""

    def __init__(self, kind, text):
        self.kind, self.text = kind, text
        self.comment = ""  # above it, without a blank line between
        self.apart = True  # a blank line stood before it
        self.declares = set()
        self.uses = set()

    def full(self):
        return self.comment + self.text


def words_of(text):
    """Identifiers outside comments and literals."""
    return set(re.findall(r"[A-Za-z_]\w*", LITERAL.sub(" ", text)))


def without_attributes(tokens):
    out, i = [], 0
    while i < len(tokens):
        if tokens[i] == "__attribute__":
            depth, i = 0, i + 1
            while i < len(tokens):
                depth += (tokens[i] == "(") - (tokens[i] == ")")
                i += 1
                if depth == 0:
                    break
            continue
        out.append(tokens[i])
        i += 1
    return out


def outline(tokens):
    """The declaration with what stands in braces and brackets left out: struct x { } name ;"""
    out, depth = [], 0
    for token in tokens:
        if token in "{[":
            depth += 1
            if depth == 1:
                out.append(token)
        elif token in "}]":
            depth -= 1
            if depth == 0:
                out.append(token)
        elif depth == 0:
            out.append(token)
    return out


def enumerators(tokens):
    """Names of enum constants."""
    names, depth, expected, inside = set(), 0, False, False
    for i, token in enumerate(tokens):
        if token == "enum":
            inside = True
        if token == "{":
            depth += 1
            expected = inside and depth == 1
        elif token == "}":
            depth -= 1
            inside = inside and depth > 0
        elif token == "," and depth == 1:
            expected = inside
        elif expected and WORD.match(token):
            names.add(token)
            expected = False
    return names


def declared_by(text):
    """Names that one declaration or definition introduces."""
    tokens = [t for t in LEXEME.findall(LITERAL.sub(" ", text)) if not t.isspace()]
    tokens = without_attributes(tokens)
    if tokens[:1] == [ASSERTION]:
        return set()
    names = enumerators(tokens)
    short = outline(tokens)
    for i, token in enumerate(short[:-1]):
        if token in ("struct", "union", "enum") and WORD.match(short[i + 1]):
            if short[i + 2:i + 3] in (["{"], [";"]) or (short[0] == "typedef" and i == 1):
                names.add(short[i + 1])
    if short and short[0] == "typedef":
        pointer = re.search(r"\( \* (\w+) \)", " ".join(short))
        plain = [t for t in short if WORD.match(t)]
        names.add(pointer.group(1) if pointer else plain[-1])
        return names
    if "(" in short and ("=" not in short or short.index("(") < short.index("=")):
        names.add(short[short.index("(") - 1])
    elif short and not (short[0] in ("struct", "union", "enum") and short[-2:] == ["}", ";"]):
        ends = [i for i, t in enumerate(short) if t in ("=", "[", ";")]
        if ends and WORD.match(short[ends[0] - 1]):
            names.add(short[ends[0] - 1])
    return names


class Splitter:
    """Text to Items."""

    def __init__(self, text):
        self.lines = text.split("\n")
        self.at = 0
        self.items = []

    def split(self):
        comment, apart = "", True
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip():
                if comment:
                    self.note(comment)
                comment, apart = "", True
                self.at += 1
                continue
            if line.lstrip().startswith("/*"):
                text = self.comment()
                if text is not None:
                    if BANNER.match(text.strip()) or HEADING.match(text.strip()):
                        self.note(comment)
                        self.items.append(Item("banner" if BANNER.match(text.strip()) else "heading", text))
                        comment = ""
                    else:
                        comment += text + "\n"
                    continue
            item = self.directive() if line.lstrip().startswith("#") else self.code()
            item.comment, item.apart = comment, apart or bool(comment)
            self.items.append(item)
            comment, apart = "", False
        self.note(comment)
        return self.items

    def note(self, comment):
        if comment:
            self.items.append(Item("note", comment.rstrip("\n")))

    def comment(self):
        """A comment that has its lines to itself, or None."""
        end = self.at
        while "*/" not in self.lines[end]:
            end += 1
        if self.lines[end].split("*/", 1)[1].strip():
            return None
        text = "\n".join(self.lines[self.at:end + 1])
        self.at = end + 1
        return text

    def directive(self):
        start = self.at
        if OPENS.match(self.lines[start]):
            depth = 0
            while True:
                line = self.lines[self.at]
                depth += bool(OPENS.match(line)) - bool(CLOSES.match(line))
                self.at += 1
                if depth == 0:
                    break
            item = Item("block", "\n".join(self.lines[start:self.at]))
            inner = "\n".join("" if re.match(r"\s*#\s*(?:if|el|end)", l) else l for l in self.lines[start + 1:self.at - 1])
            if "extern" not in inner and not re.fullmatch(r"[\s}]*", inner):
                for one in Splitter(inner).split():
                    item.declares |= one.declares
        else:
            while self.lines[self.at].endswith("\\"):
                self.at += 1
            self.at += 1
            item = Item("line", "\n".join(self.lines[start:self.at]))
            found = DEFINES.match(item.text)
            if found:
                item.declares = {found.group(1)}
        item.uses = words_of(item.text) - {"if", "ifdef", "ifndef", "define", "endif", "else", "elif", "defined"}
        return item

    def code(self):
        """One declaration or definition, to its last line."""
        start, depth, before, body = self.at, 0, "", False
        text = ""
        done = False
        while not done and self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            text += ("\n" if text else "") + line
            while text.count("/*") > text.count("*/"):
                text += "\n" + self.lines[self.at]
                line += "\n" + self.lines[self.at]
                self.at += 1
            if re.match(r"\s*#", line):
                continue
            for token in LEXEME.findall(LITERAL.sub(" ", line)):
                if token in "({[":
                    if depth == 0 and token == "{":
                        body = before.rstrip().endswith(")") and not INITIALISER.search(before)
                    depth += 1
                elif token in ")}]":
                    depth -= 1
                    done = done or (depth == 0 and token == "}" and body)
                elif token == ";" and depth == 0:
                    done = True
                if depth == 0 or (depth == 1 and token in "("):
                    before += token
                elif token == ")":
                    before += token
            before += "\n"
        item = Item("code", text)
        item.declares = declared_by(text)
        item.uses = words_of("\n".join(self.lines[start:self.at]))
        return item
