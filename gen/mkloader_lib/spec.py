"""loaders.ini and command-line flags: reading, the table of keys, validation.

Both ways in meet in the same table, so that a flag --max-batch and a line `max_batch =` accept the
same words and fail with the same sentences. All problems of a spec are collected, not only the
first, each as `file:line: error: ...`.
"""

import difflib
import os
import re

from . import names, profile

MAX_SPEC_BYTES = 1 << 20
MAX_PROBLEMS = 20

# key: (how it is read, word for --help, help). Config fields are added from typed/types.h.
KEYS = {
    "key": ("key", "TYPE", "key type: a scalar (uint64_t, int ...), string (dload_str) or id128; "
                           "a typedef or enum together with key_as"),
    "key_as": ("key_as", "TYPE", "the scalar type behind a typedef or an enum"),
    "value": ("value", "TYPE", "value type: any copyable one, or blob (dload_blob)"),
    "include": ("includes", "HEADERS", "headers that define these types: \"x.h\" <y.h> ..."),
    "profile": ("profile", "WORD", "embedded: for microcontrollers: no libc, a compact cache, lock none, clock manual, "
                                   "evict clock, no stats, unless other keys say otherwise; default hosted"),
    "lock": ("lock", "WORD", "default none; custom: a critical section that an include defines"),
    "evict": ("evict", "WORD", "default auto"),
    "clock": ("clock", "WORD", "default env"),
    "hash": ("hash", "WORD", "sip: with a secret, for keys that somebody may choose to do harm; default "
                             "fast"),
    "ttl": ("switch", "yes|no", "entries may expire; no saves 4 bytes an entry; default yes"),
    "refresh": ("switch", "yes|no", "values past their TTL, early refreshes, idle TTLs (stale_ns, stale_error_ns, "
                                    "refresh_ahead_pct, idle_ttl_ns); default no"),
    "compact": ("switch", "yes|no", "a cache that is small rather than fast: at most 65,534 entries, one thread or lock "
                                    "custom; default no"),
    "group": ("switch", "yes|no", "a key is known by its group, too (dload_call.group); default no"),
    "stats": ("switch", "yes|no", "count loads, hits ...; default yes"),
    "async": ("switch", "yes|no", "no: one caller, and nothing waits; for microcontrollers; default yes"),
    "snapshot": ("switch", "yes|no", "the cache can be saved and restored (NAME_save_file ...); default no"),
    "store": ("switch", "yes|no", "the configuration has store and locks: a second level; default no"),
    "ref": ("function", "FUNCTION", "void f(VALUE *): takes a reference; needs unref"),
    "unref": ("function", "FUNCTION", "void f(VALUE *): gives a reference back; needs ref"),
    "copy": ("function", "FUNCTION", "bool f(VALUE *to, const VALUE *from): deep copy, false when "
                                   "there is no memory; needs free"),
    "free": ("function", "FUNCTION", "void f(VALUE *): releases a deep copy; needs copy"),
    "weight": ("function", "FUNCTION", "uint32_t f(const VALUE *): what a value weighs; for max_weight"),
    "on_remove": ("switch", "yes|no", "the configuration has on_remove, which is told what leaves the "
                                      "cache; default no"),
    "xxhash": ("switch", "yes|no", "hash string keys with XXH3 from xxhash.h; default no, so that "
                                   "nothing but dataloader.h is needed"),
    "strict": ("switch", "yes|no", "a single key of another scalar type does not compile, not even a "
                                   "literal: UINT64_C(42) for uint64_t; default no"),
    "emit": ("emit", "h|h c", "h: one header, functions static; h c: the header declares, NAME.c "
                              "defines; default h"),
}
TIME_UNITS = {"ns": ("", 1), "us": ("DLOAD_MICROSECOND", 1), "ms": ("DLOAD_MILLISECOND", 1),
              "s": ("DLOAD_SECOND", 1), "m": ("DLOAD_SECOND", 60), "h": ("DLOAD_SECOND", 3600),
              "d": ("DLOAD_SECOND", 86400)}
UNIT_NS = {"": 1, "DLOAD_MICROSECOND": 10**3, "DLOAD_MILLISECOND": 10**6, "DLOAD_SECOND": 10**9}
TOOL_KEYS = ("requires", "include_format", "include_prefix")


class Problems(Exception):
    """Everything that is wrong with the input, as gcc-style lines."""

    def __init__(self, lines):
        super().__init__("\n".join(lines))
        self.lines = lines


class Loader:
    """One loader as asked for: the words of its section, then what they mean."""

    def __init__(self, name, source, line):
        self.name, self.source, self.line = name, source, line
        self.words = {}   # key -> (text, line), in the order of the spec
        self.settings = {}  # key -> what render needs
        self.implied = []   # (key, text) that its profile set
        self.presets = []   # (Field, C expression, text in the spec)
        self.include_format, self.include_prefix = "quote", ""
        self.format_line = line

    def at(self, key=None):
        return self.words[key][1] if key in self.words else self.line

    def choice(self, key, default):
        return self.settings.get(key, default)


def suggestion(word, known):
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return " (did you mean '%s'?)" % close[0] if close else ""


class Reader:
    """Collects loaders and problems from specs and flags."""

    def __init__(self, contract):
        self.contract = contract
        self.fields = {f.name: f for f in contract.fields}
        self.known = list(KEYS) + list(self.fields)
        self.problems = []
        self.loaders = []

    def problem(self, source, line, message):
        self.problems.append("%s:%d: error: %s" % (names.path(source), line, message))

    # ---- spec files ----

    def read_file(self, path):
        try:
            with open(path, "rb") as f:
                raw = f.read(MAX_SPEC_BYTES + 1)
        except OSError as e:
            self.problem(path, 1, "cannot read: %s" % e.strerror)
            return
        except ValueError:
            self.problem(path, 1, "cannot read: not a file's name")
            return
        base = os.path.basename(path)
        if not re.match(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z", base):
            self.problem(path, 1, "the spec's own name goes into the headers: letters, digits, '_.+-'")
            return
        if len(raw) > MAX_SPEC_BYTES:
            self.problem(path, 1, "larger than %d bytes: not a spec" % MAX_SPEC_BYTES)
            return
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as e:
            self.problem(path, raw.count(b"\n", 0, e.start) + 1, "not UTF-8")
            return
        if text.startswith("\ufeff"):
            text = text[1:]
        self.read_text(path, text)

    def read_text(self, path, text):
        lines = text.split("\n")
        section, tool, first = None, None, len(self.loaders)
        for number, line in enumerate(lines, 1):
            line = line[:-1] if line.endswith("\r") else line
            bad = next((c for c in line if c != "\t" and (ord(c) < 32 or ord(c) == 127)), None)
            if bad is not None:
                self.problem(path, number, "control character \\x%02x" % ord(bad))
                continue
            line = line.strip(" \t")
            if not line or line.startswith("#"):
                continue
            if line.startswith("["):
                section = self.section(path, number, line, first, tool)
                if section == "mkloader":
                    tool = Loader("mkloader", path, number)
                    section = tool
                continue
            self.assignment(path, number, line, section)
        loaders = self.loaders[first:]
        if not loaders:
            self.problem(path, 1, "no loader: a section [name] with at least key and value")
        for loader in loaders:
            if tool is not None:
                self.tool_settings(loader, tool)
        if tool is not None:
            self.check_requires(tool)

    def section(self, path, number, line, first, tool):
        """Opens a section; returns a Loader, 'mkloader', or False when the line is no good."""
        found = re.match(r"\[([^\[\]]*)\]\Z", line)
        if not found:
            self.problem(path, number, "a section is [name] on a line of its own")
            return False
        name = found.group(1).strip(" \t")
        if name == "mkloader":
            if tool is not None:
                self.problem(path, number, "second [mkloader] section (first in line %d)" % tool.line)
                return False
            if len(self.loaders) > first:
                self.problem(path, number, "[mkloader] comes before the loaders")
                return False
            return "mkloader"
        return self.add_loader(name, path, number) or False

    def assignment(self, path, number, line, section):
        key, equals, value = line.partition("=")
        key, value = key.strip(" \t"), value.strip(" \t")
        if not equals:
            self.problem(path, number, "expected 'key = value', '[name]' or '# comment', got '%s'"
                         % names.visible(line))
            return
        if section is None:
            self.problem(path, number, "'%s' stands before the first [name]" % names.visible(key))
            return
        if section is False:
            return  # its header was wrong and has been reported
        known = TOOL_KEYS if section.name == "mkloader" else self.known
        if key not in known:
            self.problem(path, number, "unknown key '%s' in [%s]%s" % (
                names.visible(key), section.name, suggestion(key, known)))
        elif key in section.words:
            self.problem(path, number, "second '%s' in [%s] (first in line %d)" % (
                key, section.name, section.words[key][1]))
        elif not value:
            self.problem(path, number, "'%s' has no value" % key)
        else:
            section.words[key] = (value, number)

    def check_requires(self, tool):
        if "requires" not in tool.words:
            return
        text, line = tool.words["requires"]
        if not re.match(r"[0-9]{1,6}(\.[0-9]{1,6}){0,2}\Z", text):
            self.problem(tool.source, line, "requires '%s' is not a version like 1.2" % names.visible(text))
            return
        wanted = [int(n) for n in text.split(".")]
        have = [int(n) for n in re.findall(r"[0-9]+", self.contract.version)[:3]]
        if wanted + [0] * (3 - len(wanted)) > have:
            self.problem(tool.source, line, "this spec needs mkloader %s, and this is %s"
                         % (text, self.contract.version))

    def tool_settings(self, loader, tool):
        if "include_format" in tool.words:
            loader.include_format, loader.format_line = tool.words["include_format"]
        if "include_prefix" in tool.words:
            loader.include_prefix, loader.format_line = tool.words["include_prefix"]

    # ---- one loader ----

    def add_loader(self, name, source, line):
        try:
            names.identifier(name, "loader name")
        except names.Bad as e:
            self.problem(source, line, str(e))
            return None
        for other in self.loaders:
            if other.name == name:
                where = "" if other.source == source else names.path(other.source) + " "
                self.problem(source, line, "second [%s] (first in %sline %d)" % (name, where, other.line))
                return None
            if other.name.lower() == name.lower():
                self.problem(source, line, "[%s] and [%s] are one file where names ignore case"
                             % (other.name, name))
                return None
        loader = Loader(name, source, line)
        self.loaders.append(loader)
        return loader

    def finish(self):
        """Gives every word its meaning. Raises Problems when anything was wrong."""
        for loader in self.loaders:
            for key, (text, line) in loader.words.items():
                try:
                    self.interpret(loader, key, text)
                except names.Bad as e:
                    self.problem(loader.source, line, str(e))
            profile.applied(loader)
            before = len(self.problems)
            for required in ("key", "value"):
                if required not in loader.words:
                    self.problem(loader.source, loader.line, "[%s] has no '%s'" % (loader.name, required))
            if len(self.problems) == before:
                self.check_together(loader)
            self.check_include_path(loader)
        self.check_collisions()
        self.check_own_files()
        if self.problems:
            more = len(self.problems) - MAX_PROBLEMS
            raise Problems(self.problems[:MAX_PROBLEMS] + (["(and %d more)" % more] if more > 0 else []))
        return self.loaders

    def interpret(self, loader, key, text):
        if key in self.fields:
            loader.presets.append((self.fields[key], self.preset(self.fields[key], text), text))
            return
        how = KEYS[key][0]
        if how in self.contract.choices:
            known = self.contract.choices[how]
            if text not in known:
                raise names.Bad("%s '%s' is not one of %s%s" % (
                    key, names.visible(text), ", ".join(known), suggestion(text, known)))
            loader.settings[key] = text
        elif how == "switch":
            if text not in ("yes", "no"):
                raise names.Bad("%s is yes or no, not '%s'" % (key, names.visible(text)))
            loader.settings[key] = text == "yes"
        elif how == "emit":
            if text.split() not in (["h"], ["h", "c"]):
                raise names.Bad("emit is 'h' or 'h c', not '%s'" % names.visible(text))
            loader.settings[key] = text.split()
        elif how == "function":
            loader.settings[key] = names.reference(text, key)
        elif how == "includes":
            loader.settings[key] = [names.include(word) for word in text.split()]
        else:
            loader.settings[key] = getattr(self, "read_" + how)(loader, text)

    def read_key(self, loader, text):
        short = {"string": "DLOAD_STRING", "dload_str": "DLOAD_STRING", "id128": "DLOAD_ID128",
                 "dload_id128": "DLOAD_ID128", "DLOAD_STRING": "DLOAD_STRING",
                 "DLOAD_ID128": "DLOAD_ID128"}
        if text in short:
            return short[text]
        allowed = self.contract.scalar_types()
        sentence = "a key is one of %s, string or id128" % ", ".join(a for a in allowed if a != "_Bool")
        c_type = names.type_name(text, "key")
        if "*" in c_type or c_type.split()[0] in ("struct", "union", "void", "const"):
            raise names.Bad("key '%s' is a pointer, a struct or void: %s (dload_key_enc makes one "
                            "string of several fields)" % (c_type, sentence))
        if c_type not in allowed and "key_as" not in loader.words:
            raise names.Bad("key '%s': %s; for a typedef or an enum name the type behind it in "
                            "key_as%s" % (c_type, sentence, suggestion(c_type, allowed + ["string"])))
        return c_type

    def read_key_as(self, loader, text):
        allowed = self.contract.scalar_types()
        if text not in allowed:
            raise names.Bad("key_as '%s' is not one of %s%s" % (
                names.visible(text), ", ".join(allowed), suggestion(text, allowed)))
        return text

    def read_value(self, loader, text):
        if text in ("blob", "dload_blob", "DLOAD_BLOB"):
            return "DLOAD_BLOB"
        return names.type_name(text, "value")

    def preset(self, field, text):
        """The C expression of a field in the configuration."""
        if field.c_type == "bool":
            if text not in ("yes", "no"):
                raise names.Bad("%s is yes or no, not '%s': %s" % (field.name, names.visible(text), field.text))
            return "true" if text == "yes" else "false"
        for word, constant in (("unbounded", "DLOAD_UNBOUNDED"), ("none", "DLOAD_NO_CACHE"),
                               ("never", "DLOAD_NEVER")):
            if text == word and constant in field.text:
                return constant
        unit, n = "", None
        found = re.match(r"([0-9]{1,20})[ \t]*([a-z]{0,2})\Z", text)
        if found and (not found.group(2) or field.is_time) and (found.group(2) or "ns") in TIME_UNITS:
            unit, times = TIME_UNITS[found.group(2) or "ns"]
            n = int(found.group(1)) * times
        if n is None:
            raise names.Bad("%s '%s' is not a number%s: %s" % (
                field.name, names.visible(text),
                " of ns, or with a unit (ns us ms s m h d)" if field.is_time else "", field.text))
        low, high = 1, (1 << 64) - 2 if field.c_type == "uint64_t" else (1 << 32) - 1
        if re.search(r"\bdefault 0\b", field.text):
            low = 0
        found = re.search(r"<= (?:(2)\^)?([0-9]+)", field.text)
        if found:
            high = 1 << int(found.group(2)) if found.group(1) else int(found.group(2))
        found = re.search(r"\b([0-9]+) \.\. ([0-9]+)\b", field.text)
        if found:
            low, high = int(found.group(1)), int(found.group(2))
        if n * UNIT_NS[unit] < low and n == 0:
            raise names.Bad("%s is 0, which means the default: leave the line out (%s)"
                            % (field.name, field.text))
        if not low <= n * UNIT_NS[unit] <= high:
            raise names.Bad("%s '%s' is out of its range %d .. %d (%s)" % (
                field.name, names.visible(text), low, high, field.text))
        if unit:
            return "%d * %s" % (n, unit) if n != 1 else unit
        return "UINT64_C(%d)" % n if field.c_type == "uint64_t" and n > 2**31 - 1 else \
            "%du" % n if n > 2**31 - 1 else str(n)

    def check_together(self, loader):
        """What no single line can have wrong."""
        s = loader.settings

        def bad(key, message):
            self.problem(loader.source, loader.at(key), message)

        if any(key not in s for key in ("key", "value")):
            return  # reported where it stands
        bytes_key = s["key"] in ("DLOAD_STRING", "DLOAD_ID128")
        if "key_as" in s and bytes_key:
            bad("key_as", "key_as is for typedefs and enums of scalars: leave it out for a string or id128 key")
        for one, other in (("ref", "unref"), ("copy", "free")):
            if (one in s) != (other in s):
                bad(one if one in s else other, "'%s' and '%s' come together" % (one, other))
        if "ref" in s and "copy" in s:
            bad("copy", "'ref'/'unref' and 'copy'/'free' exclude each other")
        if s["value"] == "DLOAD_BLOB":
            for key in ("ref", "unref", "copy", "free"):
                if key in s:
                    bad(key, "a blob brings its own ownership: leave '%s' out" % key)
        if s.get("xxhash") and s["key"] != "DLOAD_STRING":
            bad("xxhash", "xxhash is for string keys: a key of type %s has a hash of its own" % s["key"])
        for field, _, _ in loader.presets:
            if field.name == "max_key_bytes" and s["key"] != "DLOAD_STRING":
                bad(field.name, "max_key_bytes is for string keys")
            if field.name == "max_weight" and "weight" not in s:
                bad(field.name, "max_weight needs 'weight', a function that weighs a value")
            if s.get("ttl") is False and "ttl" in field.name.split("_"):
                bad(field.name, "'%s' has no effect with ttl = no" % field.name)
            if not s.get("refresh") and field.name in ("stale_ns", "stale_error_ns", "refresh_ahead_pct", "idle_ttl_ns"):
                bad(field.name, "'%s' needs refresh = yes" % field.name)
            if s.get("async") is False and field.name in ("settle_ns", "max_age_ns", "max_in_flight", "queue_wait",
                                                          "timeout_ns", "run_limit_ns"):
                bad(field.name, "'%s' needs async = yes: nothing waits without" % field.name)
        if s.get("async") is False:
            for key in ("ref", "copy", "on_remove", "refresh", "group", "snapshot", "store"):
                if s.get(key):
                    bad(key, "'%s' needs async = yes" % key)
            if s.get("lock", "none") != "none":
                bad("lock", "a loader with async = no has one caller, and no lock")
            if s["key"] == "DLOAD_STRING" or s["value"] == "DLOAD_BLOB":
                bad("async", "async = no is for scalar keys, id128 and plain values")
        for key, message in profile.conflicts(loader):
            bad(key, message)
        if s.get("lock") == "custom" and not s.get("include"):
            bad("lock", "lock = custom needs 'include', a header that defines DLOAD_CUSTOM_TYPE and its macros")
        if s.get("refresh") and s.get("ttl") is False:
            bad("refresh", "refresh needs ttl = yes: what never expires is never old")

    def check_include_path(self, loader):
        if loader.include_format not in ("quote", "bracket"):
            self.problem(loader.source, loader.format_line, "include_format is quote or bracket, not '%s'"
                         % names.visible(loader.include_format))
        prefix = loader.include_prefix
        if prefix:
            if not prefix.endswith("/"):
                prefix += "/"
            try:
                names.include('"%sdataloader.h"' % prefix, "include_prefix")
            except names.Bad as e:
                self.problem(loader.source, loader.format_line, str(e))
            loader.include_prefix = prefix

    def check_collisions(self):
        """No two loaders may define one name, and none may define a name that its types use."""
        words = self.contract.pasted_words() + ["config_preset"]
        owner, fields = {}, self.contract.field_words()
        for loader in self.loaders:
            if loader.name in fields:
                self.problem(loader.source, loader.line, "loader name '%s' is that of a field in dataloader.h, which "
                             "C++ would not accept" % loader.name)
            own = [loader.name] + ["%s_%s" % (loader.name, w) for w in words]
            for name in own:
                if name in owner:
                    self.problem(loader.source, loader.line, "[%s] and [%s] would both define %s"
                                 % (owner[name].name, loader.name, name))
                    break
            owner.update((name, loader) for name in own if name not in owner)
        for loader in self.loaders:
            for key in ("key", "value", "ref", "unref", "copy", "free"):
                for word in names.words_of(str(loader.settings.get(key, ""))):
                    if word in owner:
                        self.problem(loader.source, loader.at(key), "%s uses the name %s, which "
                                     "loader [%s] defines" % (key, word, owner[word].name))

    def check_own_files(self):
        """A loader must not include, and thereby replace, a header that is written for a loader."""
        files = {loader.name.lower() + ".h": loader for loader in self.loaders}
        for loader in self.loaders:
            for header in loader.settings.get("include", []):
                other = files.get(header[1:-1].rpartition("/")[2].lower())
                if other is not None:
                    self.problem(loader.source, loader.at("include"), "include %s has the name of the file that is "
                                 "written for [%s]: rename one of them" % (header, other.name))
