"""What the templates say, read from the templates, so that nothing is typed twice.

Versions and choices come from runtime/port.h, key types from runtime/key.h, the configuration's
fields from typed/types.h and the prototypes from typed/api.h.
"""

import importlib.machinery
import importlib.util
import os
import re


def load_amalgamate():
    """gen/amalgamate as a module: it knows the order of the parts."""
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "amalgamate")
    loader = importlib.machinery.SourceFileLoader("amalgamate", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("amalgamate", loader))
    loader.exec_module(module)
    return module


amalgamate = load_amalgamate()
ends_in_comment = amalgamate.ends_in_comment

VERSION = re.compile(r'^#define DLOAD_VERSION_STRING\s+"([0-9][0-9A-Za-z.+-]*)"', re.MULTILINE)
NUMBER = re.compile(r"^#define DLOAD_VERSION\s+([0-9]+)\b", re.MULTILINE)
TEMPLATE = re.compile(r"^#define DLOAD_TEMPLATE_VERSION\s+([0-9]+)\b", re.MULTILINE)
CHOICE = re.compile(r"^#define DLOAD_(LOCK|EVICT|CLOCK|HASH)_([A-Z0-9]+)\s+[0-9]+\s*$", re.MULTILINE)
KEY_TYPE = re.compile(r"^#define DLOAD_I_TYPE_(\w+)\s+~,\s*DLOAD_I_KIND_(\w+)\b", re.MULTILINE)
CONFIG = re.compile(r"typedef struct DLOAD_I_FN\(config\) \{\n(.*?)\n\} DLOAD_I_FN\(config\);", re.DOTALL)
FIELD = re.compile(r"^    (size_t|uint32_t|uint64_t|bool)\s+(\w+);\s*/\* (.*?) \*/", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
STRUCT = re.compile(r"\bstruct\b[^;{}]*\{([^{}]*)\}")
BARE_NAME = re.compile(r"(?<!struct )\bDLOAD_NAME\b")
MEMBER = re.compile(r"\b([A-Za-z_]\w*)\s*(?:\[[^\]]*\])?\s*[;,]")
PASTED = re.compile(r"DLOAD_I_FN\((\w+)\)")


class Missing(Exception):
    """A template is not there or does not have what mkloader needs; str() is a complete message."""


class Field:
    """A number or a switch in NAME_config: its type, its unit by its name, and the words beside it."""

    def __init__(self, c_type, name, text):
        self.c_type, self.name = c_type, name
        self.text = re.sub(r"\s+", " ", text)
        self.is_time = name.endswith("_ns")


class Contract:
    def __init__(self, root):
        self.root = root
        self.used = []
        port = self.read("runtime/port.h")
        key = self.read("runtime/key.h")
        types = self.read("typed/types.h")
        self.version = self.one(VERSION, port, "runtime/port.h", "DLOAD_VERSION_STRING")
        self.version_number = self.one(NUMBER, port, "runtime/port.h", "DLOAD_VERSION")
        self.template_version = self.one(TEMPLATE, port, "runtime/port.h", "DLOAD_TEMPLATE_VERSION")
        self.choices = {}
        for group, choice in CHOICE.findall(port):
            self.choices.setdefault(group.lower(), []).append(choice.lower())
        for group in ("lock", "evict", "clock", "hash"):
            if group not in self.choices:
                raise Missing("%s:1: error: no DLOAD_%s_ choices" % (self.path("runtime/port.h"), group.upper()))
        self.choices["profile"] = ["hosted", "embedded"]
        self.key_kinds = {name: kind for name, kind in KEY_TYPE.findall(key)}
        body = self.one(CONFIG, types, "typed/types.h", "the struct DLOAD_I_FN(config)")
        self.fields = [Field(*f) for f in FIELD.findall(body)]
        self.api = self.read("typed/api.h")

    def path(self, name):
        return os.path.join(self.root, *name.split("/"))

    def read(self, name):
        path = self.path(name)
        if name not in self.used:
            self.used.append(name)
        try:
            with open(path, encoding="utf-8", newline="") as f:
                return f.read()
        except (OSError, UnicodeDecodeError) as e:
            raise Missing("%s:1: error: cannot read this template: %s" % (
                path, getattr(e, "strerror", None) or "not UTF-8")) from None

    def lines(self, name):
        return self.read(name).rstrip("\n").split("\n")

    def part_names(self):
        """All parts, in the order of dataloader.h."""
        return amalgamate.part_names(self.root)

    def one(self, pattern, text, name, what):
        found = pattern.search(text)
        if not found:
            raise Missing("%s:1: error: %s is not there" % (self.path(name), what))
        return found.group(1)

    def scalar_types(self):
        """Names that DLOAD_KEY and DLOAD_KEY_AS know, without strings and 16-byte identifiers."""
        return [n for n, kind in self.key_kinds.items() if kind not in ("STRING", "ID128")]

    def typed_code(self):
        """All of templates/typed without its comments."""
        texts = []
        for file in sorted(os.listdir(os.path.join(self.root, "typed"))):
            if file.endswith(".h"):
                texts.append(COMMENT.sub(" ", self.read("typed/" + file)))
        return "\n".join(texts)

    def pasted_words(self):
        """Every word that one instance puts behind its name: quotes_load, quotes_batch ..."""
        return sorted(set(PASTED.findall(self.typed_code())))

    def field_words(self):
        """Fields beside which a struct uses the loader's type: C++ refuses a loader of such a name."""
        words = set()
        for body in STRUCT.findall(self.typed_code()):
            if BARE_NAME.search(body):
                words.update(MEMBER.findall(body))
        return words


class Function:
    """One prototype of api.h: result, word, parameters as (type pattern, name), inline or not."""

    def __init__(self, result, word, parameters, is_inline):
        self.result, self.word, self.parameters = result, word, parameters
        self.is_inline = is_inline

    def key_index(self):
        """Where the single key by value is among the parameters, or None."""
        for i, (c_type, _) in enumerate(self.parameters):
            if c_type == "DLOAD_I_K":
                return i
        return None


SECTION = re.compile(r"/\* ---- (.*?) ---- \*/\Z", re.DOTALL)
HEAD = re.compile(r"(.*?)\bDLOAD_I_FN\((\w+)\)\s*\(", re.DOTALL)
PARAMETER = re.compile(r"(.*?)(\w+)\Z", re.DOTALL)


def statements(text):
    """Pieces of api.h at the outermost level: ('section', title) and ('code', declaration)."""
    at, code, depth = 0, "", 0
    while at < len(text):
        if text.startswith("/*", at):
            end = text.index("*/", at) + 2
            found = SECTION.match(text[at:end])
            if found and depth == 0:
                yield "section", re.sub(r"\s+", " ", found.group(1))
            at = end
            continue
        if text[at] == "#" and not code.strip():
            while True:  # a directive with its continuation lines
                end = text.find("\n", at)
                end = len(text) if end < 0 else end
                continued = text[at:end].endswith("\\")
                at = end + 1
                if not continued:
                    break
            continue
        character = text[at]
        at += 1
        if character == "{":
            if depth == 0 and re.match(r'\s*extern\s*"C"\s*\Z', code):
                code = ""  # its contents are at the outermost level, and its end has no beginning
                continue
            depth += 1
            if depth == 1:
                yield "code", code
                code = ""
        elif character == "}":
            depth = max(depth - 1, 0)
        elif character == ";" and depth == 0:
            yield "code", code
            code = ""
        elif depth == 0:
            code += character


def prototypes(api_text):
    """('section', title) and Functions of api.h, its #if lines already resolved, in its order."""
    for kind, text in statements(api_text):
        if kind == "section":
            yield text
            continue
        text = re.sub(r"\s+", " ", text).strip()
        found = HEAD.match(text)
        if not found:
            continue  # extern "C", a typedef
        before = [w for w in found.group(1).split() if w not in ("DLOAD_I_API", "DLOAD_I_UNUSED", "static")]
        is_inline = "inline" in before
        result = " ".join(w for w in before if w != "inline")
        inside = text[found.end():text.rindex(")")]
        parameters = []
        depth, start = 0, 0
        for i, c in enumerate(inside + ","):
            depth += (c == "(") - (c == ")")
            if c == "," and depth == 0:
                one = inside[start:i].strip()
                start = i + 1
                if one == "void":
                    continue
                c_type, name = PARAMETER.match(one).groups()
                parameters.append((re.sub(r"\s*\*\s*", "*", c_type.strip()), name))
        yield Function(result, found.group(2), parameters, is_inline)
