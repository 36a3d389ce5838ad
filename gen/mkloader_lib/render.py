"""The thin wrapper: NAME.h with parameters, include, handshake and prototypes, and its NAME.c.

The texts around what is computed here are in templates/wrapper/, with @PLACES@ to fill in. A place
on a line of its own may hold several lines or none.
"""

import re

from .contract import Function, prototypes
from .instance import Instance
from .profile import is_embedded

WIDTH = 100
PLACE = re.compile(r"@([A-Z][A-Z_]*)@")
C_NAME = {"DLOAD_STRING": "dload_str", "DLOAD_ID128": "dload_id128", "DLOAD_BLOB": "dload_blob"}
FREESTANDING = """\
#ifndef DLOAD_FREESTANDING
#define DLOAD_FREESTANDING 1
#elif !DLOAD_FREESTANDING
#error "profile = embedded: dataloader.h came first, as for a hosted program: include this before"
#endif"""


def filled(template, values):
    """The template with its places filled in; runs of blank lines become one."""
    out = []
    for line in template.split("\n"):
        alone = PLACE.fullmatch(line)
        text = values[alone.group(1)] if alone else PLACE.sub(lambda m: values[m.group(1)], line)
        if alone and not text:
            continue
        for one in text.split("\n"):
            one = one.rstrip()
            if one or (out and out[-1]):
                out.append(one)
    while out and not out[-1]:
        out.pop()
    return "\n".join(out) + "\n"


class Wrapper:
    """Everything that the texts in templates/wrapper/ ask for, for one loader."""

    def __init__(self, contract, loader, provenance, command):
        self.contract, self.loader = contract, loader
        self.provenance, self.command = provenance, command
        s = loader.settings
        self.name = loader.name
        self.split = s.get("emit", ["h"]) == ["h", "c"]
        self.guard = "DLOAD_WRAPPER_%s_H" % self.name
        self.define = "DLOAD_WRAPPER_%s_DEFINE" % self.name
        self.key = C_NAME.get(s["key"], s["key"])
        self.value = C_NAME.get(s["value"], s["value"])
        self.instance = Instance(contract, self.parameters(), self.define if self.split else None)
        self.strict_type = self.key if s.get("strict") and self.key not in C_NAME.values() else None

    def parameters(self):
        """The DLOAD_ macros of this loader in the order of the manual, only those that were set."""
        s, out = self.loader.settings, {"DLOAD_NAME": self.name, "DLOAD_KEY": self.loader.settings["key"]}
        if "key_as" in s:
            out["DLOAD_KEY_AS"] = s["key_as"]
        out["DLOAD_VALUE"] = s["value"]
        for key in ("ref", "unref", "copy", "free"):
            if key in s:
                out["DLOAD_VALUE_" + key.upper()] = s[key]
        for key in ("lock", "evict", "clock", "hash"):
            if key in s:
                out["DLOAD_" + key.upper()] = "DLOAD_%s_%s" % (key.upper(), s[key].upper())
        for key in ("compact", "ttl", "refresh", "group", "stats", "async", "snapshot", "store"):
            if key in s:
                out["DLOAD_" + key.upper()] = str(int(s[key]))
        if "weight" in s:
            out["DLOAD_WEIGHT"] = s["weight"]
        if "on_remove" in s:
            out["DLOAD_ON_REMOVE"] = str(int(s["on_remove"]))
        return out

    # ---- pieces ----

    def values(self):
        s = self.loader.settings
        xxhash = s.get("xxhash", False)
        return {
            "NAME": self.name,
            "SHOWN_KEY": self.key + (" (%s)" % s["key_as"] if "key_as" in s else ""),
            "SHOWN_VALUE": self.value,
            "VERSION": self.contract.version,
            "VERSION_NUMBER": str(self.contract.version_number),
            "TEMPLATE": self.contract.template_version,
            "SOURCE": self.provenance,
            "COMMAND": self.command,
            "CONFIG": "config_preset" if self.loader.presets else "config_default",
            "SETTINGS": self.settings_comment(),
            "GUARD": self.guard,
            "DEFINE": self.define,
            "INCLUDES": "\n".join("#include " + i for i in s.get("include", [])),
            "LINKAGE": self.linkage(),
            "UNIT": FREESTANDING if is_embedded(s) else "",
            "XXHASH": "#ifndef DLOAD_XXHASH\n#define DLOAD_XXHASH 1\n#endif" if xxhash else "",
            "PARAMETERS": defines(self.parameters()),
            "DATALOADER": self.dataloader(),
            "XXHASH_CHECK":
                "#if !DLOAD_XXHASH\n#error \"dataloader.h came first without XXH3: define DLOAD_XXHASH 1 "
                "before it\"\n#endif" if xxhash else "",
            "EXTERN_BEGIN": "\n#ifdef __cplusplus\nextern \"C\" {\n#endif" if self.split else "",
            "EXTERN_END": "#ifdef __cplusplus\n}\n#endif" if self.split else "",
            "PRESET": self.preset(),
            "STRICT": self.strict(),
        }

    def settings_comment(self):
        """key = value pairs, as many a line as fit."""
        pairs = ["%s = %s" % (key, self.loader.words[key][0].replace('"', ""))
                 for key in self.loader.words if key not in ("key", "value", "include", "emit", "key_as")]
        pairs += ["%s = %s" % pair for pair in self.loader.implied]
        pairs.append("linkage = %s" % ("extern (%s.c)" % self.name if self.split else "static"))
        lines, line = [], ""
        for pair in pairs:
            pair = re.sub(r"\s+", " ", pair)
            if line and len(line) + len(pair) + 6 > WIDTH:
                lines.append(line)
                line = ""
            line += ("   " if line else "") + pair
        return "\n * ".join(lines + [line])

    def dataloader(self):
        name = self.loader.include_prefix + "dataloader.h"
        return '"%s"' % name if self.loader.include_format == "quote" else "<%s>" % name

    def linkage(self):
        if not self.split:
            return ""
        return ("#ifdef %s /* %s.c alone */\n#define DLOAD_LINKAGE DLOAD_LINKAGE_DEFINE\n#else\n"
                "#define DLOAD_LINKAGE DLOAD_LINKAGE_DECLARE\n#endif" % (self.define, self.name))

    def functions(self):
        """Section titles and Functions that this loader has."""
        for part in ("params", "types"):
            self.instance.process(self.contract.lines("typed/%s.h" % part),
                                  self.contract.path("typed/%s.h" % part), substitute=False)
        api = self.instance.process(self.contract.lines("typed/api.h"),
                                    self.contract.path("typed/api.h"), substitute=False)
        return list(prototypes("\n".join(api)))

    def typed(self, pattern):
        """A type of api.h with this loader's types in it, and whether a space comes after it."""
        stars = len(pattern) - len(pattern.rstrip("*"))
        base = pattern[:len(pattern) - stars]
        const = base.startswith("const ")
        word = base[6:] if const else base
        if word in ("DLOAD_I_K", "DLOAD_I_V"):
            word = self.key if word == "DLOAD_I_K" else self.value
            if const and word.endswith("*"):
                return word + "const " + "*" * stars  # the pointer is const, not what it points at
            if word.endswith("*"):
                return ("const " if const else "") + word + "*" * stars
        else:
            word = re.sub(r"DLOAD_I_FN\((\w+)\)", lambda m: "%s_%s" % (self.name, m.group(1)),
                          word.replace("DLOAD_NAME", self.name))
        return ("const " if const else "") + word + (" " if stars else "") + "*" * stars

    def prototype(self, function):
        head = self.typed(function.result) + ("" if function.result.endswith("*") else " ")
        if function.is_inline:
            head = "static inline " + head
        elif not self.split:
            head = "static " + head
        head += "%s_%s(" % (self.name, function.word)
        parameters = []
        for c_type, name in function.parameters:
            c_type = self.typed(c_type)
            parameters.append(c_type + ("" if c_type.endswith("*") else " ") + name)
        return wrapped(head, parameters or ["void"])

    def prototype_text(self, functions):
        out = []
        for item in functions:
            if isinstance(item, Function):
                out.append(self.prototype(item))
            else:
                out += ["", "/* ---- %s ---- */" % item]
        return "\n".join(out).strip("\n")

    def preset(self):
        if not self.loader.presets:
            return ""
        lines = ["/* %s_config_default() with what the spec sets; set fetch, change what you like. */" % self.name,
                 "static inline %s_config %s_config_preset(void)" % (self.name, self.name), "{",
                 "    %s_config config = %s_config_default();" % (self.name, self.name)]
        lines += ["    config.%s = %s;" % (field.name, c) for field, c, _ in self.loader.presets]
        return "\n".join(lines + ["    return config;", "}"])

    def strict(self):
        """Macros in C, deleted overloads in C++: both say key_must_be_exactly_<type>."""
        if self.strict_type is None:
            return ""
        wrong = "key_must_be_exactly_" + re.sub(r"\W+", "_", self.strict_type)
        functions = [f for f in self.functions_cached() if isinstance(f, Function) and f.key_index() == 1]
        lines = ["/* strict = yes: a single key of another scalar type does not compile, not even one whose",
                 " * value would fit. A literal has its own type too: UINT64_C(42) is a uint64_t, 42 an int. */",
                 "#ifdef __cplusplus", 'extern "C++" {']
        for f in functions:
            rest = []
            for c_type, name in f.parameters[2:]:
                c_type = self.typed(c_type)
                rest.append(c_type + ("" if c_type.endswith("*") else " ") + name)
            first = self.typed(f.parameters[0][0])
            first += ("" if first.endswith("*") else " ") + f.parameters[0][1]
            lines.append("template <typename %s>" % wrong)
            lines.append(wrapped("%s %s_%s(" % (self.typed(f.result), self.name, f.word),
                                 [first, "%s key" % wrong] + rest, ") = delete;"))
        lines += ["}", "#else",
                  "struct %s_%s {" % (self.name, wrong), "    char unused;", "};",
                  "/* clang-format off */",
                  "#define %s_strict(key) \\" % self.name,
                  "    _Generic((key), %s: (key), default: (struct %s_%s){0})" % (
                      self.strict_type, self.name, wrong)]
        for f in functions:
            dots, rest = (", ...", ", __VA_ARGS__") if len(f.parameters) > 2 else ("", "")
            name = "%s_%s" % (self.name, f.word)
            lines.append("#define %s(l, key%s) %s((l), %s_strict(key)%s)" % (name, dots, name, self.name, rest))
        return "\n".join(lines + ["/* clang-format on */", "#endif"])

    def functions_cached(self):
        if not hasattr(self, "_functions"):
            self._functions = self.functions()
        return self._functions

    # ---- files ----

    def header(self):
        values = self.values()
        values["PROTOTYPES"] = self.prototype_text(self.functions_cached())
        return filled(self.contract.read("wrapper/wrapper.h.in"), values)

    def source(self):
        return filled(self.contract.read("wrapper/wrapper.c.in"), self.values())


def defines(macros):
    width = max(len(name) for name in macros)
    return "\n".join("#define %-*s %s" % (width, name, text) for name, text in macros.items())


def wrapped(head, parameters, tail=");"):
    """A declaration, its parameters aligned behind the bracket and as many a line as fit."""
    lines, line = [], head
    for i, parameter in enumerate(parameters):
        last = i == len(parameters) - 1
        piece = parameter + (tail if last else ",")
        if i and len(line) + 1 + len(piece) > WIDTH:
            lines.append(line)
            line = " " * len(head) + piece
        else:
            line += (" " if i else "") + piece
    return "\n".join(lines + [line])
