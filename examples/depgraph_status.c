/* Reads dpkg's status file, and apt's Packages files: stanzas of "Field: value" lines.
 *
 * What counts: packages that are installed (or, in a file without Status fields, all of them), their
 * Pre-Depends and Depends without version ranges and architectures, and the names they Provide. Of
 * several stanzas about one package (another architecture, another version) the first one counts.
 */
#include "depgraph_stb.h"
#include "depgraph_source.h"

#include <string.h>
#include <strings.h>

enum field {
    PACKAGE,
    STATUS,
    ARCHITECTURE,
    VERSION,
    INSTALLED_SIZE,
    PRE_DEPENDS,
    DEPENDS,
    PROVIDES,
    N_FIELDS
};

static const char *const field_names[N_FIELDS] = {
    [PACKAGE] = "Package",
    [STATUS] = "Status",
    [ARCHITECTURE] = "Architecture",
    [VERSION] = "Version",
    [INSTALLED_SIZE] = "Installed-Size",
    [PRE_DEPENDS] = "Pre-Depends",
    [DEPENDS] = "Depends",
    [PROVIDES] = "Provides",
};

struct stanza {
    struct text value[N_FIELDS]; /* trimmed only at its ends; continuation lines are inside */
    size_t line[N_FIELDS];       /* 0 = the stanza does not have this field */
    size_t first_line;           /* 0 = between stanzas */
    int open;                    /* the field that a continuation line belongs to, or N_FIELDS */
};

static bool text_is(struct text t, const char *word)
{
    size_t len = strlen(word);

    return t.len == len && strncasecmp(t.ptr, word, len) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("+-._", c) != NULL);
}

static size_t name_length(struct text t)
{
    size_t n = 0;

    while (n < t.len && is_name_byte(t.ptr[n])) {
        n++;
    }
    return n;
}

/* Where the value of a field has come to, for messages: fields may be folded over several lines. */
static size_t line_at(size_t first_line, const char *from, const char *at)
{
    for (const char *p = from; p < at; p++) {
        first_line += *p == '\n';
    }
    return first_line;
}

static struct text skip(struct text t, size_t n)
{
    return (struct text){t.ptr + n, t.len - n};
}

static struct text skip_spaces(struct text t)
{
    while (t.len > 0 && is_space(*t.ptr)) {
        t = skip(t, 1);
    }
    return t;
}

/* Skips what may follow a name: ":any", "(>= 1.2)", "[amd64]", "<!nocheck>". NULL text = it never
 * ends. */
static struct text skip_qualifiers(struct text t)
{
    static const char open[] = "([<";
    static const char close[] = ")]>";

    if (t.len > 0 && *t.ptr == ':') {
        t = skip(t, 1);
        t = skip(t, name_length(t));
    }
    for (t = skip_spaces(t); t.len > 0; t = skip_spaces(t)) {
        const char *which = *t.ptr != '\0' ? strchr(open, *t.ptr) : NULL;
        const char *end;
        if (which == NULL) {
            break;
        }
        end = memchr(t.ptr, close[which - open], t.len);
        if (end == NULL) {
            return (struct text){NULL, 0};
        }
        t = skip(t, (size_t)(end - t.ptr) + 1);
    }
    return t;
}

/* Reads "a (>= 1) | b:any, c" into package->depends, or the same of Provides into ->provides. */
static bool read_relations(struct source *s, struct package *package, const struct stanza *z,
                           enum field field)
{
    struct text rest = skip_spaces(z->value[field]);
    bool alternative = false;

    while (rest.len > 0) {
        struct text name = {rest.ptr, name_length(rest)};
        size_t line = line_at(z->line[field], z->value[field].ptr, rest.ptr);
        uint32_t number;
        if (name.len == 0 || name.len > MAX_NAME_BYTES) {
            return source_fail(s, line, "%s: expected a package name%s, found '%s'",
                               field_names[field], name.len > 0 ? " of at most 255 bytes" : "",
                               text_quote(rest).text);
        }
        number = source_intern(s, name);
        rest = skip_qualifiers(skip(rest, name.len));
        if (rest.ptr == NULL) {
            return source_fail(s, line, "%s: the bracket after '%s' is never closed",
                               field_names[field], text_quote(name).text);
        }
        if (field == PROVIDES) {
            arrput(package->provides, number);
        } else {
            struct dependency d = {.name = number, .alternative = alternative};
            arrput(package->depends, d);
        }
        alternative = rest.len > 0 && *rest.ptr == '|' && field != PROVIDES;
        if (rest.len > 0 && *rest.ptr != ',' && !alternative) {
            return source_fail(s, line_at(z->line[field], z->value[field].ptr, rest.ptr),
                               "%s: expected ',' or '|' after '%s', found '%s'", field_names[field],
                               text_quote(name).text, text_quote(rest).text);
        }
        rest = skip_spaces(rest.len > 0 ? skip(rest, 1) : rest);
    }
    if (alternative) {
        return source_fail(s, z->line[field], "%s: no package name after the last '|'",
                           field_names[field]);
    }
    return true;
}

/* "install ok installed": the last word is the state. Triggers that are due do not make a package
 * any less installed. */
static bool is_installed(struct text status)
{
    size_t at = status.len;

    while (at > 0 && !is_space(status.ptr[at - 1])) {
        at--;
    }
    status = skip(status, at);
    return text_is(status, "installed") || text_is(status, "triggers-pending") ||
           text_is(status, "triggers-awaited");
}

/* The words that the table, the tree and the database rely on. */
static bool check_words(const struct source *s, const struct stanza *z)
{
    static const enum field words[] = {PACKAGE, ARCHITECTURE, VERSION};

    for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
        struct text value = z->value[words[k]];
        for (size_t i = 0; i < value.len; i++) {
            if (value.ptr[i] <= ' ' || value.ptr[i] > '~' ||
                (words[k] == PACKAGE && !is_name_byte(value.ptr[i]))) {
                return source_fail(s, z->line[words[k]], "%s: byte 0x%02x does not belong in '%s'",
                                   field_names[words[k]], (unsigned char)value.ptr[i],
                                   text_quote(value).text);
            }
        }
        if (value.len > MAX_NAME_BYTES || (value.len == 0 && z->line[words[k]] != 0)) {
            return source_fail(s, z->line[words[k]], "%s: must be 1 to 255 bytes long",
                               field_names[words[k]]);
        }
    }
    return true;
}

static bool read_size(const struct source *s, const struct stanza *z, uint64_t *size_kib)
{
    struct text value = z->value[INSTALLED_SIZE];

    *size_kib = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9' || i >= 15) {
            return source_fail(s, z->line[INSTALLED_SIZE],
                               "Installed-Size: expected a number of KiB, found '%s'",
                               text_quote(value).text);
        }
        *size_kib = *size_kib * 10 + (uint64_t)(value.ptr[i] - '0');
    }
    return true;
}

/* True when the stanza is about a package that an earlier stanza described, and may be left out.
 * Two descriptions of the very same package contradict each other: *failed. */
static bool is_other(const struct source *s, const struct stanza *z, uint32_t name, bool *failed)
{
    const struct package *first;

    if (s->names[name].value == NO_PACKAGE) {
        return false;
    }
    first = &s->packages[s->names[name].value];
    if (first->detail.len == z->value[VERSION].len &&
        first->architecture.len == z->value[ARCHITECTURE].len &&
        memcmp(first->detail.ptr, z->value[VERSION].ptr, first->detail.len) == 0 &&
        memcmp(first->architecture.ptr, z->value[ARCHITECTURE].ptr, first->architecture.len) == 0) {
        *failed = true;
        source_fail(s, z->first_line, "package '%s' is described twice, first in line %zu",
                    s->names[name].key, first->line);
    }
    return true;
}

/* Turns a complete stanza into a package. */
static bool end_stanza(struct reader *r, struct stanza *z)
{
    struct source *s = r->source;
    struct package package = {0};
    bool failed = false;

    if (z->first_line == 0) {
        return true;
    }
    for (int f = 0; f < N_FIELDS; f++) {
        z->value[f] = z->line[f] != 0 ? text_trim(z->value[f]) : (struct text){"", 0};
    }
    if (z->line[PACKAGE] == 0) {
        return source_fail(s, z->first_line, "this stanza has no Package field");
    }
    package.line = z->first_line;
    package.detail = z->value[VERSION];
    package.architecture = z->value[ARCHITECTURE];
    if (!check_words(s, z) || !read_size(s, z, &package.size_kib)) {
        return false;
    }
    package.name = source_intern(s, z->value[PACKAGE]);
    if (z->line[STATUS] != 0 && !is_installed(z->value[STATUS])) {
        s->n_not_installed++;
    } else if (is_other(s, z, package.name, &failed)) {
        s->n_other++;
    } else {
        bool ok = read_relations(s, &package, z, PRE_DEPENDS) &&
                  read_relations(s, &package, z, DEPENDS) &&
                  read_relations(s, &package, z, PROVIDES);
        s->names[package.name].value = (uint32_t)arrlenu(s->packages);
        arrput(s->packages, package);
        failed = !ok;
    }
    *z = (struct stanza){.open = N_FIELDS};
    return !failed;
}

/* One line "Field: value" that begins a field. */
static bool read_field(struct reader *r, struct stanza *z, struct text line)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    struct text name = {line.ptr, 0};

    if (colon == NULL || colon == line.ptr) {
        return source_fail(r->source, r->line, "expected \"Field: value\", found '%s'",
                           text_quote(line).text);
    }
    name.len = (size_t)(colon - line.ptr);
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] <= ' ' || name.ptr[i] > '~') {
            return source_fail(r->source, r->line, "'%s' is not the name of a field",
                               text_quote(name).text);
        }
    }
    z->first_line = z->first_line == 0 ? r->line : z->first_line;
    for (z->open = 0; z->open < N_FIELDS && !text_is(name, field_names[z->open]); z->open++) {
    }
    if (z->open == N_FIELDS) {
        return true;
    }
    if (z->line[z->open] != 0) {
        return source_fail(r->source, r->line, "a second %s field (the first is in line %zu)",
                           field_names[z->open], z->line[z->open]);
    }
    z->line[z->open] = r->line;
    z->value[z->open] = skip(line, name.len + 1);
    return true;
}

bool status_read(struct reader *r)
{
    struct stanza z = {.open = N_FIELDS};
    struct text line;
    bool failed = false;

    while (reader_line(r, &line, &failed)) {
        bool ok = true;
        if (text_trim(line).len == 0) {
            ok = end_stanza(r, &z);
        } else if (!is_space(*line.ptr)) {
            ok = read_field(r, &z, line);
        } else if (z.first_line == 0) {
            ok = source_fail(r->source, r->line, "a continuation line, but no field before it");
        } else if (z.open != N_FIELDS) {
            z.value[z.open].len = (size_t)(line.ptr + line.len - z.value[z.open].ptr);
        }
        if (!ok) {
            return false;
        }
    }
    return !failed && end_stanza(r, &z);
}
