"""Private numbers as C has them instead of the preprocessor: enum where they are int, otherwise static const, which
debuggers and analysers know by name and type. A number that C wants at compile time, for an array's length, say, or in a narrower type, stays as it is."""

import re

from .declarations import LITERAL, words_of

DEFINE = re.compile(r"#define[ \t]+(DLOAD_I_\w+)[ \t]+(.*?)[ \t]*(/\*.*\*/)?\Z", re.DOTALL)
BRACKETS = re.compile(r"\[([^\[\]]*)\]")
CASE = re.compile(r"\bcase\b([^:?]*):")
WIDTH = re.compile(r"\w+\s*:\s*([^;:?]*);")
# Alone on its way into a variable or a parameter, which may be narrower than the number's type.
GIVEN = re.compile(r"(?:[=(,]|\breturn)\s*(DLOAD_I_\w+)\s*(?=[;,)])")
STATIC = re.compile(r"\bstatic\b[^;{}()]*=([^;]*);")


def wanted_early(item):
    """Names in places where C wants a constant."""
    text = LITERAL.sub(" ", item.text)
    if item.kind != "code":
        return item.uses
    if not item.declares or text.lstrip().startswith("enum") or "typedef enum" in text:
        return item.uses
    names = set()
    for pattern in (BRACKETS, CASE, STATIC) + ((WIDTH,) if "struct" in text else ()):
        for piece in pattern.findall(text):
            names |= words_of(piece)
    return names


def c_type(body, value):
    """The type that the number has as it is written, so that nothing about it changes."""
    for word in ("size_t", "uint64_t", "uint32_t", "uint16_t"):
        if word in body:
            return word
    found = re.search(r"\bUINT(8|16|32|64)_(?:C|MAX)\b", body)
    if found:
        return "uint%s_t" % found.group(1)
    if re.search(r"\bDLOAD_(?:NEVER|\w*SECOND)\b", body):
        return "uint64_t"
    if "SIZE_MAX" in body:
        return "size_t"
    if value is None or "DLOAD_" in body:
        return None
    return "unsigned" if re.search(r"[0-9a-fA-F][uU]\b", body) else "int"


def named(items, values):
    """Changes those of the items that are private numbers. values: what is known of their values."""
    early, given = set(), set()
    for item in items:
        if not item.kind == "line" or not DEFINE.match(item.text):
            early |= wanted_early(item)
            given |= set(GIVEN.findall(LITERAL.sub(" ", item.text)))
    for item in items:
        found = DEFINE.match(item.text) if item.kind == "line" else None
        if found:
            early |= words_of(found.group(2))
    for item in items:
        found = DEFINE.match(item.text) if item.kind == "line" else None
        if not found or found.group(1) in early or "attribute" in found.group(2):
            continue
        name, body, comment = found.groups()
        type_name = c_type(body, values.get(name))
        if type_name and not (type_name == "unsigned" and name in given and values.get(name, 0) <= 0xffff):
            if body.startswith("(") and body.endswith(")") and body.count("(") == 1:
                body = body[1:-1]
            form = "enum { %s = %s }; %s" if type_name == "int" else "static const " + type_name + " %s = %s; %s"
            item.kind = "code"
            item.text = (form % (name, body, comment or "")).rstrip()
