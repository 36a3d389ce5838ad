"""Specs that must be refused: (what is tried, what the message must contain).

Each list is put into an otherwise good spec at the place that its name says; SPECS are whole files,
with the line that the message must name.
"""

GOOD = "[quotes]\nkey = uint64_t\nvalue = int\n"

NAMES = [
    ("", "not an identifier"), ("9lives", "not an identifier"), ("a-b", "not an identifier"),
    ("a b", "not an identifier"), ("a.b", "not an identifier"), ("a/b", "not an identifier"),
    ("../quotes", "not an identifier"), ("quotes;", "not an identifier"), ("quotes*/", "not an identifier"),
    ("quotes\\", "not an identifier"), ("qu\"otes", "not an identifier"), ("quotes#", "not an identifier"),
    ("quotes??/", "not an identifier"), ("caf\u00e9", "not an identifier"), ("a" * 64, "not an identifier"),
    ("quotes\u202e", "not an identifier"), ("$quotes", "not an identifier"), ("quotes(", "not an identifier"),
    ("int", "keyword of C"), ("while", "keyword of C"), ("typeof", "keyword of C"), ("bool", "keyword of C"),
    ("class", "keyword of C++"), ("xor", "keyword of C++"), ("co_await", "keyword of C++"),
    ("this", "keyword of C++"), ("_quotes", "reserved"), ("_Quotes", "reserved"), ("__quotes", "reserved"),
    ("quo__tes", "reserved"), ("quotes_", "double underscore"), ("dload", "collides"), ("dload_x", "collides"),
    ("DLOAD_NAME", "collides"), ("Dload_x", "collides"), ("malloc", "hides a header"), ("index", "C library"),
    ("uint64_t", "C library"), ("size_t", "C library"), ("linux", "hides a header"), ("NULL", "platform"),
    ("errno", "hides a header"), ("con", "Windows"), ("LPT1", "Windows"), ("main", "platform"),
    ("random", "C library"), ("SIZE_MAX", "platform"), ("dataloader", "hides a header"), ("string", "hides a header"),
    ("Time", "hides a header"), ("xxhash", "hides a header"),
]

KEYS = [
    ("int64", "did you mean 'int64_t'"), ("uint46_t", "did you mean 'uint64_t'"), ("struct user", "a pointer, a struct"),
    ("char *", "a pointer, a struct"), ("const int", "const itself"), ("void", "nothing to cache"),
    ("user_id", "key_as"), ("int64_t # id", "unexpected '#'"), ("int;", "unexpected ';'"), ("int[2]", "typedef"),
    ("int*/", "unexpected '/'"), ("std::string", "unexpected ':'"), ("\"int\"", "unexpected '\"'"),
    ("int int", "not one type"), ("unsigned unsigned", "not one type"), ("class", "keyword"), ("DLOAD_BLOB", "private"),
]

VALUES = [
    ("int */ evil(); /*", "unexpected '/'"), ("int //", "unexpected '/'"), ("int \\", "unexpected '\\'"),
    ("int ??/", "unexpected '?'"), ("int'", "unexpected '''"), ("\"x\"", "unexpected '\"'"),
    ("#define int", "unexpected '#'"), ("%: define", "unexpected '%'"), ("int; int", "unexpected ';'"),
    ("int x = 1", "unexpected '='"), ("int (*)(void)", "typedef"), ("int[4]", "typedef"), ("int, int", "unexpected ','"),
    ("struct {int a}", "unexpected '{'"), ("struct", "struct and one name"), ("struct a b", "struct and one name"),
    ("struct int", "keyword"), ("const", "no type's name"), ("*", "no type's name"), ("int * x", "unexpected 'x'"),
    ("int *const", "const itself"), ("const struct user", "const itself"), ("int const const *", "one const"),
    ("volatile int", "not one type"), ("static int", "not one type"), ("typedef int", "not one type"),
    ("restrict", "keyword"), ("void", "nothing to cache"), ("_Atomic", "keyword of the compiler"),
    ("__attribute__", "keyword of the compiler"), ("__asm", "keyword of the compiler"), ("_Pragma", "keyword of the compiler"),
    ("user<int>", "unexpected '<'"), ("a" * 300, "longer than"), ("a" * 64, "not an identifier"), ("caf\u00e9", "unexpected"),
    ("int\u00a0", "unexpected"), ("9", "unexpected '9'"), ("a.b", "unexpected '.'"), ("DLOAD_NAME", "private"),
    ("dload_i_core", "private"), ("struct quotes", "uses the name quotes"), ("quotes_batch *", "uses the name quotes_batch"),
    ("int @PARAMETERS@", "unexpected '@'"), ("int `id`", "unexpected '`'"), ("$(id)", "unexpected '$'"),
]

INCLUDES = [
    ("\"a.h", "not a header's name"), ("a.h\"", "not a header's name"), ("<a.h", "not a header's name"),
    ("a\".h", "not a header's name"), ("a\\.h", "not a header's name"), ("/etc/passwd", "not absolute"),
    ("C:/a.h", "not absolute"), ("./a.h", "without ./"), ("a/../b.h", "not a header's name"), ("a//b.h", "not a header's name"),
    ("a*/b.h", "not a header's name"), ("a/*.h", "not a header's name"), ("\"\"", "not a header's name"),
    ("a.h;", "not a header's name"), ("a.h #x", "not a header's name"), ("caf\u00e9.h", "not a header's name"),
    ("??/.h", "not a header's name"), ("-x.h", "not a header's name"), ("<a\"b.h>", "not a header's name"),
    ("quotes.h", "written for [quotes]"), ("<lib/Quotes.h>", "written for [quotes]"),
]

LINES = [  # a fourth line after the good ones
    ("evcit = lru", "did you mean 'evict'"), ("val = int", "did you mean 'value'"), ("Key = int", "did you mean 'key'"),
    ("evict = slru", "did you mean 'lru'"), ("evict = LRU", "did you mean 'lru'"), ("lock = pthreads", "did you mean 'pthread'"), ("lock = custom", "needs 'include'"),
    ("clock = fast", "not one of"), ("profile = embeded", "did you mean 'embedded'"), ("profile = yes", "not one of"), ("profile =", "has no value"), ("hash = siphash", "did you mean 'sip'"), ("ttl = maybe", "yes or no"), ("ttl = 5m", "yes or no"), ("strict = 1", "yes or no"),
    ("emit = c", "'h' or 'h c'"), ("emit = h c h", "'h' or 'h c'"), ("key = int", "second 'key'"), ("lock =", "has no value"),
    ("= 3", "unknown key ''"), ("lock", "expected 'key = value'"), ("; comment", "expected 'key = value'"),
    ("lock = spin # fast", "not one of"), ("ref = page_ref", "come together"), ("free = f", "come together"),
    ("ref = f(x)", "not an identifier"), ("ref = while", "keyword"), ("xxhash = yes", "for string keys"),
    ("max_key_bytes = 9", "for string keys"), ("key_as = uint65_t", "did you mean 'uint64_t'"), ("key_as = string", "not one of"),
    ("capacity = 0", "means the default"), ("capacity = -1", "not a number"), ("capacity = 1e6", "not a number"),
    ("capacity = never", "not a number"), ("capacity = 4096 entries", "not a number"), ("capacity = 0x10", "not a number"),
    ("capacity = 99999999999", "out of its range"), ("max_batch = 9999999", "out of its range"),
    ("ttl_ns = unbounded", "not a number"), ("ttl_ns = 5 minutes", "not a number"), ("ttl_ns = 99999999999d", "out of its range"),
    ("settle_ns = never", "not a number"), ("queue_wait = 1", "yes or no"), ("group = maybe", "yes or no"), ("on_remove = 1", "yes or no"), ("max_weight = 9", "needs 'weight'"), ("ttl_jitter_pct = 91", "out of its range"), ("max_batch = 4s", "not a number"),
    ("shards = 257", "out of its range"), ("fetch = f", "unknown key"), ("__class__ = x", "unknown key"),
    ("[quotes", "a section is"), ("[quotes]", "second [quotes]"), ("[Quotes]", "ignore case"), ("[]", "not an identifier"),
    ("[mkloader]", "before the loaders"), ("[a] x", "a section is"), ("[a]]", "a section is"), ("lock = \x00", "control character"),
    ("lock = \x1b[31m", "control character"), ("lock\r= x", "control character"), ("lock = \x7f", "control character"),
]

# Lines after a good section with profile = embedded, the fifth.
EMBEDDED = [
    ("lock = pthread", "hosted program"), ("lock = spin", "compact cache"), ("clock = coarse", "hosted program"),
    ("clock = precise", "hosted program"), ("evict = lru", "compact cache"), ("evict = s3fifo", "compact cache"),
    ("evict = adaptive", "compact = no"), ("hash = sip", "compact cache"), ("refresh = yes", "async"), ("group = yes", "async"),
    ("snapshot = yes", "async"), ("store = yes", "async"), ("weight = f", "compact cache"), ("ref = f", "come together"),
    ("on_remove = yes", "async"), ("capacity = unbounded", "does not grow"), ("capacity = 65535", "65534 entries"),
    ("shards = 2", "a compact cache is one"), ("settle_ns = 1ms", "needs async"), ("queue_wait = yes", "needs async"),
    ("compact = maybe", "yes or no"), ("compact = 1", "yes or no"), ("profile = hosted", "second 'profile'"),
]

# Whole files: (bytes, line of the message, what it contains).
SPECS = [
    (b"", 1, "no loader"), (b"# nothing\n", 1, "no loader"), (b"key = int\n", 1, "before the first [name]"),
    (b"[quotes]\n", 1, "has no 'key'"), (b"[quotes]\nkey = int\n", 1, "has no 'value'"),
    (b"[quotes]\nkey = int\nvalue = \xff\xfe\n", 3, "not UTF-8"), (b"\xff\xfe[\x00q\x00]\x00\n", 1, "not UTF-8"),
    (b"[mkloader]\nrequires = 99.1\n" + GOOD.encode(), 2, "needs mkloader 99.1"),
    (b"[mkloader]\nrequires = latest\n" + GOOD.encode(), 2, "not a version"),
    (b"[mkloader]\nrequire = 0.1\n" + GOOD.encode(), 2, "did you mean 'requires'"),
    (b"[mkloader]\ninclude_format = both\n" + GOOD.encode(), 2, "quote or bracket"),
    (b"[mkloader]\ninclude_prefix = /usr/include\n" + GOOD.encode(), 2, "not absolute"),
    (b"[mkloader]\ninclude_prefix = a\"b\n" + GOOD.encode(), 2, "not a header's name"),
    (b"[mkloader]\n[mkloader]\n" + GOOD.encode(), 2, "second [mkloader]"),
    (GOOD.encode() + b"[quotes_cache]\nkey = int\nvalue = int\n", 4, "would both define quotes_cache"),
    (GOOD.encode() + b"[other]\nkey = int\nvalue = quotes\n", 6, "uses the name quotes"),
    (b"[quotes]\nkey = string\nkey_as = int\nvalue = int\n", 3, "leave it out"),
    (b"[quotes]\nkey = int\nvalue = blob\nref = f\nunref = g\n", 4, "brings its own ownership"),
    (b"[quotes]\nkey = int\nvalue = a *\nref = f\nunref = g\ncopy = h\nfree = i\n", 6, "exclude each other"),
    (b"[quotes]\nkey = int\nvalue = int\nttl = no\nttl_ns = 5s\n", 5, "no effect with ttl = no"),
    (b"[quotes]\nkey = int\nvalue = int\nstale_ns = 5s\n", 4, "needs refresh = yes"),
    (b"[quotes]\nkey = int\nvalue = int\nrefresh = no\nidle_ttl_ns = 5s\n", 5, "needs refresh = yes"),
    (b"[quotes]\nkey = int\nvalue = int\nasync = no\nsettle_ns = 5s\n", 5, "needs async = yes"),
    (b"[quotes]\nkey = int\nvalue = int\nasync = no\nlock = spin\n", 5, "no lock"),
    (b"[quotes]\nkey = int\nvalue = int\nasync = no\nstore = yes\n", 5, "needs async = yes"),
    (b"[quotes]\nkey = string\nvalue = int\nasync = no\n", 4, "scalar keys"),
    (b"[quotes]\nkey = int\nvalue = int\nttl = no\nrefresh = yes\n", 5, "needs ttl = yes"),
    (b"[quotes]\nkey = int\nvalue = int\nrefresh = yes\nrefresh_ahead_pct = 1001\n", 5, "0 .. 1000"),
    (b"x" * ((1 << 20) + 1), 1, "not a spec"),
]

FLAGS = [  # command lines without a spec
    ([], "what to make?"), (["--name", "q"], "has no 'key'"), (["--key", "int"], "give it a --name"),
    (["--name", "q", "--key", "int", "--value", "int */"], "unexpected '/'"),
    (["--name", "q", "--key", "int", "--value", "int\nint"], "unexpected '\\x0a'"),
    (["--name", "q\n", "--key", "int", "--value", "int"], "not an identifier"),
    (["--name", "q", "--key", "int", "--value", "int", "--include", ""], "has no value"),
    (["--name", "q", "--key", "int", "--value", "int", "--evict", "lruu"], "did you mean 'lru'"),
    (["--name", "q", "--key", "int", "--value", "int", "--max-batch", "x"], "not a number"),
    (["--name", "q", "--key", "int", "--value", "int", "-o", "no/such/folder"], "no such folder"),
    (["--name", "q", "--key", "int", "--value", "int", "--only", "r"], "no such loader"),
    (["--name", "q", "--key", "int", "--value", "int", "--deptarget", "r"], "goes with --depfile"),
    (["--name", "q", "--key", "int", "--value", "int", "--stdout", "--depfile", "d"], "needs --deptarget"),
    (["--name", "q", "--key", "int", "--value", "int", "--check", "--depfile", "d"], "goes with writing"),
    (["--name", "q", "--key", "int", "--value", "int", "--check", "--stdout"], "not allowed with"),
    (["--name", "q", "--key", "int", "--value", "int", "--frobnicate"], "unrecognized arguments"),
    (["--name", "q", "--key", "int", "--val", "int"], "unrecognized arguments"),
    (["no-such-file.ini"], "cannot read"), (["."], "cannot read"),
    (["--name", "q", "--key", "int", "--value", "int", "--include-prefix", "/abs"], "not absolute"),
]
