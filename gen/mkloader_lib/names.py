"""Which words may become C identifiers, types and include lines.

Everything that a spec says ends up in C text, so nothing is passed on because it looks harmless: a
word is taken apart into tokens, each token must be one that the grammar below has, and the text is
put together again from the tokens. A comment end, a quote, a backslash, a line end, a trigraph, `#`
or `;` has no token and so cannot get through.
"""

import re

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
TYPE_TOKEN = re.compile(r"[ \t]*([A-Za-z_][A-Za-z0-9_]*|\*)")
HEADER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*\Z")
MAX_TYPE_CHARS = 200

C_KEYWORDS = frozenset("""
    auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union unsigned
    void volatile while alignas alignof bool constexpr false nullptr static_assert thread_local true
    typeof typeof_unqual asm fortran near far
    """.split())

CXX_KEYWORDS = frozenset("""
    and and_eq asm bitand bitor bool catch char8_t char16_t char32_t class compl concept consteval
    constexpr constinit const_cast co_await co_return co_yield decltype delete dynamic_cast explicit
    export false final friend import module mutable namespace new noexcept not not_eq nullptr
    operator or or_eq override private protected public reinterpret_cast requires static_assert
    static_cast template this thread_local throw true try typeid typename using virtual wchar_t xor
    xor_eq
    """.split())

# Words that compilers define as macros outside strict modes, and that the header's own includes use:
# a loader of that name would not compile, or only on one machine.
PLATFORM_WORDS = frozenset("""
    linux unix i386 arm mips sparc sun vax hpux NULL EOF errno stdin stdout stderr assert offsetof
    va_list va_start va_arg va_end va_copy main environ noreturn complex imaginary I
    int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t intptr_t uintptr_t intmax_t
    uintmax_t size_t ssize_t ptrdiff_t max_align_t wint_t off_t pid_t time_t clock_t clockid_t
    timespec timeval tm FILE DIR pthread pthread_t sched
    """.split())

# Functions and types of the C library, and those of POSIX that the same headers bring in.
LIBRARY_WORDS = frozenset("""
    abort abs accept access acct acos alarm alloca asctime asin asprintf atan atan2 atexit atof atoi
    atol atoll basename bcmp bcopy bind brk bsearch bzero calloc cbrt ceil chdir chmod chown chroot
    clearerr clock clone close confstr connect cos cosh creat crypt ctime daemon difftime dirname
    div drand48 dup dup2 eaccess erf execl execv execve exit exp exp2 fabs fclose fdopen feof ferror
    fflush ffs ffsl fgetc fgets fileno floor fma fmax fmin fmod fopen fork fprintf fputc fputs fread
    free freopen frexp fscanf fseek fstat fsync ftell ftruncate fwrite gamma getc getchar getcwd
    getdate getdelim getenv getgid getline getopt getpass getpid gets getuid gmtime hypot index
    initstate ioctl isalnum isalpha isascii isatty isblank iscntrl isdigit isgraph islower isprint
    ispunct isspace isupper isxdigit j0 j1 jn kill killpg labs lchown ldexp ldiv lgamma link listen
    llabs lldiv localtime lockf log log10 log2 logb longjmp lrand48 lseek malloc memccpy memchr
    memcmp memcpy memfrob memmem memmove mempcpy memrchr memset mkdir mkdtemp mkstemp mktemp mktime
    mmap modf mrand48 munmap nan nanosleep nearbyint nice open pause pclose perror pipe poll popen
    pow pread printf profil psignal putc putchar putenv puts pwrite qsort raise rand random
    rawmemchr read readlink realloc reallocarray realpath recv remainder remove rename revoke rewind
    rindex rint rmdir round sbrk scanf select send setbuf setenv setjmp setns setsid setstate setuid
    setvbuf sigaction signal sigpause sigset sin sinh sleep snprintf socket sprintf sqrt srand
    srandom sscanf stat stpcpy strcasecmp strcat strchr strcmp strcoll strcpy strcspn strdup
    strerror strfry strftime strlen strncat strncmp strncpy strndup strnlen strpbrk strrchr strsep
    strsignal strspn strstr strtod strtof strtok strtol strtoll strtoul strtoull strxfrm swab
    symlink sync syscall sysconf system tan tanh tempnam tgamma time timegm times tmpfile tmpnam
    toascii tolower toupper trunc truncate ttyname tzset ualarm uint ulong ungetc unlink unsetenv
    unshare ushort usleep valloc vasprintf vfork vfprintf vprintf vscanf vsnprintf vsprintf wait
    wcslen write y0 y1 yn
    """.split())

# A loader of one of these names would be written to a file that hides a system header, or ours.
HEADER_STEMS = frozenset("""
    aio alloca arpa assert atomic complex cpio ctype curses dataloader dirent dlfcn endian err errno
    error exception fcntl features fenv float fnmatch ftw getopt glob grp iconv inttypes iso646
    langinfo libgen limits link linux locale malloc math memory monetary mqueue ndbm net netdb netinet
    new nl_types poll pthread pty pwd regex resolv sched search semaphore setjmp shadow signal spawn
    stab stdalign stdarg stdatomic stdbool stdckdint stdbit stddef stdint stdio stdlib stdnoreturn
    string strings sys sysexits syslog tar termios tgmath threads time typeinfo uchar ulimit unistd
    utime utmp values version wait wchar wctype windows wordexp xxhash
    """.split())
LIMIT_MACRO = re.compile(r"[A-Z0-9_]+_(?:MAX|MIN|WIDTH|BIT|C)\Z")

WINDOWS_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z", re.IGNORECASE)

# A type is one name, or one of these combinations of keywords (in this order).
BUILTIN_TYPES = frozenset("""
    char|signed char|unsigned char|short|short int|signed short|unsigned short|unsigned short int|int|
    signed|signed int|unsigned|unsigned int|long|long int|signed long|unsigned long|
    unsigned long int|long long|long long int|signed long long|unsigned long long|
    unsigned long long int|float|double|long double|bool|_Bool|void
    """.replace("\n", "").replace("    ", "").split("|"))


class Bad(Exception):
    """A word that cannot be used; str() says why, in words for the user."""


def visible(text, limit=60):
    """Foreign text for a message: one line, printable, not too long."""
    safe = "".join(c if 32 <= ord(c) < 127 else "\\x%02x" % ord(c) for c in text)
    return safe if len(safe) <= limit else safe[:limit - 3] + "..."


def path(text):
    """A path for a message: as it is, so that editors find it, but on one line."""
    return "".join(c if c.isprintable() else "\\x%02x" % ord(c) for c in text)


def identifier(text, what):
    """An identifier that mkloader itself will define."""
    if not IDENTIFIER.match(text):
        raise Bad("%s '%s' is not an identifier: a letter, then at most 62 letters, digits and "
                  "underscores" % (what, visible(text)))
    if text in C_KEYWORDS:
        raise Bad("%s '%s' is a keyword of C" % (what, text))
    if text in CXX_KEYWORDS:
        raise Bad("%s '%s' is a keyword of C++, which may include the same header" % (what, text))
    if text.startswith("_") or "__" in text:
        raise Bad("%s '%s' is reserved for compilers: no leading and no double underscore"
                  % (what, text))
    if text.endswith("_"):
        raise Bad("%s '%s' would give names with a double underscore, which are reserved: drop the "
                  "one at the end" % (what, text))
    if text.lower() == "dload" or text.lower().startswith("dload_"):
        raise Bad("%s '%s' collides with the names of dataloader.h: dload_ is its own prefix"
                  % (what, text))
    if text.lower() in HEADER_STEMS:
        raise Bad("%s '%s' would make a file %s.h, which hides a header of that name" % (what, text, text))
    if text in PLATFORM_WORDS or text in LIBRARY_WORDS or LIMIT_MACRO.match(text):
        raise Bad("%s '%s' is a name of the C library or of a platform" % (what, text))
    if WINDOWS_DEVICES.match(text):
        raise Bad("%s '%s' cannot be a file name on Windows" % (what, text))
    return text


def reference(text, what):
    """An identifier that the user's own headers define (a type, a function)."""
    if not IDENTIFIER.match(text):
        raise Bad("%s '%s' is not an identifier" % (what, visible(text)))
    if text in C_KEYWORDS or text in CXX_KEYWORDS:
        raise Bad("%s '%s' is a keyword" % (what, text))
    if re.match(r"_[A-Z]", text) or re.match(r"__.*__\Z", text) or text in (
            "__asm", "__typeof", "__attribute", "__extension", "__auto_type", "__declspec"):
        raise Bad("%s '%s' is a keyword of the compiler, not a name" % (what, text))
    if text.startswith("DLOAD_") or text.startswith("dload_i_"):
        raise Bad("%s '%s' is private to dataloader.h" % (what, text))
    return text


def type_tokens(text, what):
    if len(text) > MAX_TYPE_CHARS:
        raise Bad("%s is longer than %d characters" % (what, MAX_TYPE_CHARS))
    tokens, at = [], 0
    text = text.rstrip(" \t")
    while at < len(text):
        found = TYPE_TOKEN.match(text, at)
        if not found:
            hint = ""
            bad = text[at:].lstrip(" \t")[:1]
            if bad in "#;" and text[:at].strip():
                hint = " (a comment needs a line of its own)"
            elif bad in "[(":
                hint = " (give an array or a function pointer a typedef, in a struct if need be)"
            raise Bad("%s '%s': unexpected '%s'%s" % (what, visible(text), visible(bad), hint))
        tokens.append(found.group(1))
        at = found.end()
    if not tokens:
        raise Bad("%s is empty" % what)
    return tokens


def type_name(text, what):
    """A type by the grammar [const] base [const] {* [const]}, rebuilt from its tokens."""
    tokens = type_tokens(text, what)
    stars = tokens.index("*") if "*" in tokens else len(tokens)
    base, pointers = tokens[:stars], tokens[stars:]
    const = base.count("const")
    words = [t for t in base if t != "const"]
    if const > 1 or (const and base[0] != "const" and base[-1] != "const"):
        raise Bad("%s '%s': one const, before or after the type's name" % (what, visible(text)))
    if not words:
        raise Bad("%s '%s' has no type's name" % (what, visible(text)))
    if words[0] in ("struct", "union", "enum"):
        if len(words) != 2:
            raise Bad("%s '%s': %s and one name" % (what, visible(text), words[0]))
        reference(words[1], what)
    elif " ".join(words) not in BUILTIN_TYPES:
        if len(words) > 1:
            raise Bad("%s '%s' is not one type" % (what, visible(text)))
        reference(words[0], what)
    levels, after_star = [], False
    for token in pointers:
        if token == "*":
            levels.append("*")
        elif token == "const" and levels and not levels[-1].endswith("const"):
            levels[-1] = "*const"
        else:
            raise Bad("%s '%s': unexpected '%s' after '*'" % (what, visible(text), token))
    if (levels and levels[-1] == "*const") or (const and not levels):
        raise Bad("%s '%s' is const itself: values are copied into the cache" % (what, visible(text)))
    if words == ["void"] and not levels:
        raise Bad("%s is void: there is nothing to cache" % what)
    stars = ""
    for level in levels:
        stars += (" " if stars.endswith("const") else "") + level
    return ("const " if const else "") + " ".join(words) + (" " + stars if stars else "")


def words_of(text):
    """Every identifier in a piece of C."""
    return re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text)


def include(text, what="include"):
    """One include: "x.h", <x.h> or a bare x.h; returned with its quotes or brackets."""
    if len(text) >= 2 and text[0] + text[-1] in ('""', "<>"):
        quote, inner = text[0] + text[-1], text[1:-1]
    else:
        quote, inner = '""', text
    steps = inner
    while steps.startswith("../"):
        steps = steps[3:]
    if steps.startswith("./") or inner.startswith("/") or re.match(r"[A-Za-z]:", inner):
        raise Bad("%s '%s': a path relative to the including file or an include folder, without "
                  "./ and not absolute" % (what, visible(text)))
    if len(inner) > MAX_TYPE_CHARS or not HEADER.match(steps):
        raise Bad("%s '%s' is not a header's name: letters, digits, '_.+-', folders with '/'"
                  % (what, visible(text)))
    return quote[0] + inner + quote[1]
