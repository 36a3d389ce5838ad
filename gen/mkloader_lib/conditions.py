"""The #if lines of a C file, resolved as far as what is known allows.

A condition is parsed, the names that are known are put in, and what can be decided is decided:
`1 && X` becomes X, `0 && X` becomes 0. What is left is printed again, so that a line about the
compiler or about C++ survives while a line about this loader's choices goes.
"""

import re

TOKEN = re.compile(r"\s*(?:([A-Za-z_]\w*)|(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*|(&&|\|\||[=!<>]=|<<|>>|[-+*/%<>!~()?:,&|^]))")
BINARY = [("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("<<", ">>"),
          ("+", "-"), ("*", "/", "%")]


class Unknown(Exception):
    """The text is not a condition that this parser knows."""


def tokens_of(text):
    text = re.sub(r"/\*.*?\*/", " ", text).strip()
    out, at = [], 0
    while at < len(text):
        found = TOKEN.match(text, at)
        if not found:
            raise Unknown(text)
        out.append(found.group(1) or found.group(2) or found.group(3))
        at = found.end()
    return out


class Parser:
    """Text to a tree of tuples: ('num', n), ('name', s), ('defined', s), ('call', text), (op, ...)."""

    def __init__(self, tokens):
        self.tokens, self.at = tokens, 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, wanted=None):
        token = self.peek()
        if token is None or (wanted and token != wanted):
            raise Unknown("expected %s" % (wanted or "a token"))
        self.at += 1
        return token

    def expression(self, level=0):
        if level == len(BINARY):
            return self.unary()
        left = self.expression(level + 1)
        while self.peek() in BINARY[level]:
            left = (self.take(), left, self.expression(level + 1))
        if level == 0 and self.peek() == "?":
            self.take()
            yes = self.expression()
            self.take(":")
            return ("?", left, yes, self.expression())
        return left

    def unary(self):
        token = self.take()
        if token in ("!", "-", "+", "~"):
            return ("unary" + token, self.unary())
        if token == "(":
            inner = self.expression()
            self.take(")")
            return inner
        if token == "defined":
            if self.peek() == "(":
                self.take()
                name = self.take()
                self.take(")")
                return ("defined", name)
            return ("defined", self.take())
        if token[0].isdigit():
            return ("num", int(token, 0))
        if not re.match(r"[A-Za-z_]", token):
            raise Unknown(token)
        if self.peek() != "(":
            return ("name", token)
        depth, start = 0, self.at  # a function-like macro of someone else: kept as it is
        while True:
            inner = self.take()
            depth += (inner == "(") - (inner == ")")
            if depth == 0:
                return ("call", token + " ".join(self.tokens[start:self.at]).replace("( ", "(").replace(" )", ")"))


def parsed(text):
    parser = Parser(tokens_of(text))
    tree = parser.expression()
    if parser.peek() is not None:
        raise Unknown(text)
    return tree


def number(op, a, b):
    if op in ("/", "%") and b == 0:
        raise Unknown("division by zero")
    return {
        "||": lambda: int(bool(a or b)), "&&": lambda: int(bool(a and b)), "|": lambda: a | b,
        "^": lambda: a ^ b, "&": lambda: a & b, "==": lambda: int(a == b), "!=": lambda: int(a != b),
        "<": lambda: int(a < b), ">": lambda: int(a > b), "<=": lambda: int(a <= b),
        ">=": lambda: int(a >= b), "<<": lambda: a << b, ">>": lambda: a >> b, "+": lambda: a + b,
        "-": lambda: a - b, "*": lambda: a * b, "/": lambda: int(a / b), "%": lambda: a - b * int(a / b),
    }[op]()


def simplified(tree, known):
    """known(kind, name) -> a number, a tree to use instead, or None; kind is 'name', 'defined', 'call'."""
    kind = tree[0]
    if kind == "num":
        return tree
    if kind in ("name", "defined", "call"):
        value = known(kind, tree[1])
        if value is None:
            return tree
        return ("num", value) if isinstance(value, int) else simplified(value, known)
    if kind.startswith("unary"):
        inner = simplified(tree[1], known)
        if inner[0] != "num":
            return (kind, inner)
        n = inner[1]
        return ("num", {"!": int(not n), "-": -n, "+": n, "~": ~n}[kind[5:]])
    if kind == "?":
        return choice(*(simplified(t, known) for t in tree[1:]))
    a, b = simplified(tree[1], known), simplified(tree[2], known)
    if a[0] == "num" and b[0] == "num":
        return ("num", number(kind, a[1], b[1]))
    if kind in ("&&", "||"):
        for one, other in ((a, b), (b, a)):
            if one[0] == "num":
                decides = bool(one[1]) == (kind == "||")
                return ("num", int(bool(one[1]))) if decides else other
    # (X ? 3 : 2) != 2 is X: a comparison goes into the arms when both are numbers.
    for one, other, swapped in ((a, b, False), (b, a, True)):
        if one[0] == "?" and one[2][0] == one[3][0] == other[0] == "num":
            arms = [number(kind, other[1], arm[1]) if swapped else number(kind, arm[1], other[1])
                    for arm in one[2:]]
            return choice(one[1], ("num", arms[0]), ("num", arms[1]))
    return (kind, a, b)


def choice(test, yes, no):
    if test[0] == "num":
        return yes if test[1] else no
    if yes == no:
        return yes
    if yes == ("num", 1) and no == ("num", 0):
        return test
    if yes == ("num", 0) and no == ("num", 1):
        return ("unary!", test)
    return ("?", test, yes, no)


def printed(tree, outer=-1):
    kind = tree[0]
    if kind == "num":
        return str(tree[1])
    if kind in ("name", "call"):
        return tree[1]
    if kind == "defined":
        return "defined(%s)" % tree[1]
    if kind.startswith("unary"):
        return kind[5:] + printed(tree[1], len(BINARY))
    if kind == "?":
        return "(%s ? %s : %s)" % tuple(printed(t) for t in tree[1:])
    level = next(i for i, ops in enumerate(BINARY) if kind in ops)
    text = "%s %s %s" % (printed(tree[1], level), kind, printed(tree[2], level + 1))
    # && inside || is clearer with parentheses, and some compilers ask for them.
    return "(%s)" % text if level < outer or (outer == 0 and level == 1) else text


def resolve(text, known):
    """True, False, or the text of what remains to be decided by the compiler: None when all of it."""
    tree = parsed(text)
    result = simplified(tree, known)
    if result[0] == "num":
        return bool(result[1])
    return None if result == tree else printed(result)
