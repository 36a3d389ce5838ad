"""What is left to make of text into which macros were put: conditions that are decided, comments in their columns."""

import re

LEXEME = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|[A-Za-z_]\w*|\.?[0-9][\w.]*|\s+|'
                    r'&&|\|\||[=!<>]=|<<|>>|->|.', re.DOTALL)
BEFORE = {"(", "[", "{", ",", ";", "=", "return", "?", ":", "&&", "||"}
AFTER_AND = {")", "]", ",", ";", "?", ":", "&&", "||"}
TRAILING = re.compile(r"(.*?[^\s/])( +)(/\*.*)\Z")
MARK = re.compile(r"[ \t]*/\* mutant \w+ \*/")


class Code:
    """Lexemes with a view of those that are not space or comment."""

    def __init__(self, text):
        self.lexemes = LEXEME.findall(text)
        self.at = [i for i, x in enumerate(self.lexemes) if not x.isspace() and not x.startswith("/*")]

    def word(self, n):
        return self.lexemes[self.at[n]] if 0 <= n < len(self.at) else ""

    def end_of(self, n, stops):
        """The first place from n on, outside brackets, that has one of stops or closes what is around."""
        depth = 0
        while n < len(self.at):
            word = self.word(n)
            if depth == 0 and (word in stops or word in ")]}"):
                return n
            depth += (word in "([{" and word != "") - (word in ")]}" and word != "")
            n += 1
        return n

    def cut(self, first, last, with_space=False):
        """Without the lexemes from place first up to last, or with the space before them instead of that behind."""
        begin = self.at[first]
        while with_space and begin > 0 and self.lexemes[begin - 1].isspace():
            begin -= 1
        end = self.at[last] if last < len(self.at) else len(self.lexemes)
        while with_space and end > begin and self.lexemes[end - 1].isspace():
            end -= 1
        return "".join(self.lexemes[:begin] + self.lexemes[end:])


def decided_once(text):
    """The text with one decided condition less, or None. Only what has no name in it goes: nothing becomes unused."""
    code = Code(text)
    for n in range(len(code.at)):
        word, after = code.word(n), code.word(n + 1)
        if word == "!" and after in ("0", "1") and code.word(n - 1) in BEFORE:
            joined = code.lexemes[:]
            joined[code.at[n]], joined[code.at[n + 1]] = "", str(1 - int(after))
            return "".join(joined)
        if word not in ("0", "1") or code.word(n - 1) not in BEFORE:
            continue
        if word == "1" and after == "&&" or word == "0" and after == "||":
            return code.cut(n, n + 2)
        if after == "?" and code.word(n - 1) not in ("&&", "||"):
            colon = code.end_of(n + 2, (":", "?"))
            end = code.end_of(colon + 1, (",", ";", ":", "?"))
            if code.word(colon) != ":" or code.word(end) == "?":
                continue
            # Places of what goes: behind the colon for 1, between ? and : for 0.
            first, last = (colon, end) if word == "1" else (n + 2, colon + 1)
            gone = [code.word(i) for i in range(first, last)]
            if any(re.match(r"[A-Za-z_]", x) for x in gone):
                continue
            if word == "1":
                return Code(code.cut(colon, end, True)).cut(n, n + 2)
            return code.cut(n, colon + 1)
    return None


def decided(text):
    if not re.search(r"\b[01]\s*(?:\?|&&|\|\|)|![01]\b", text):
        return text
    for _ in range(100):
        shorter = decided_once(text)
        if shorter is None:
            break
        text = shorter
    return text


def aligned(text):
    """Comments behind code begin in one column again, from line to line."""
    lines, out, at = text.split("\n"), [], 0
    while at < len(lines):
        group, n = [], at
        while n < len(lines):
            found = TRAILING.match(lines[n])
            if not found or lines[n].endswith("\\"):
                break
            size = 1
            while "*/" not in lines[n + size - 1][found.start(3) if size == 1 else 0:]:
                size += 1
            group.append((found, lines[n + 1:n + size]))
            n += size
        if not group:
            out.append(lines[at])
            at += 1
            continue
        column = max(len(found.group(1)) for found, _ in group) + 1
        for found, more in group:
            moved = column - found.start(3)
            out.append(found.group(1).ljust(column) + found.group(3))
            out += [" " * max(len(line) - len(line.lstrip()) + moved, 0) + line.lstrip() for line in more]
        at = n
    return "\n".join(out)


def tidied(item):
    """Changes an item of declarations.py."""
    item.text = MARK.sub("", item.text)
    if item.kind == "code":
        item.text = aligned(decided(item.text))
