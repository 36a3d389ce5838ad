/* The input: the file's bytes, its lines and names, and the choice among alternatives. */
#define STB_DS_IMPLEMENTATION
#include "depgraph_stb.h"
#include "depgraph_source.h"
#include "depgraph_progress.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Larger than any package database; reached by a device that never ends, such as /dev/zero. */
#define MAX_FILE_BYTES ((size_t)1 << 30)
#define READ_BYTES     ((size_t)1 << 16)

void *depgraph_realloc(void *ptr, size_t n_bytes)
{
    void *grown = realloc(ptr, n_bytes);

    if (grown == NULL) {
        fprintf(stderr, "depgraph: out of memory (%zu bytes asked for)\n", n_bytes);
        exit(2);
    }
    return grown;
}

bool source_fail(const struct source *s, size_t line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%zu: ", s->path, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return false;
}

struct quoted text_quote(struct text t)
{
    struct quoted q;
    size_t cut = sizeof q.text - 4;
    size_t n = t.len < cut ? t.len : cut;

    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)t.ptr[i];
        q.text[i] = (char)(byte >= 0x20 && byte < 0x7f ? byte : '?');
    }
    memcpy(q.text + n, t.len > cut ? "..." : "", t.len > cut ? 4 : 1);
    return q;
}

struct text text_trim(struct text t)
{
    while (t.len > 0 && strchr(" \t\r\n", t.ptr[0]) != NULL) {
        t.ptr++;
        t.len--;
    }
    while (t.len > 0 && strchr(" \t\r\n", t.ptr[t.len - 1]) != NULL) {
        t.len--;
    }
    return t;
}

bool reader_line(struct reader *r, struct text *line, bool *failed)
{
    const char *newline;

    if (r->at == r->end) {
        return false;
    }
    newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
    line->ptr = r->at;
    line->len = (size_t)((newline != NULL ? newline : r->end) - r->at);
    r->at = newline != NULL ? newline + 1 : r->end;
    r->line++;
    if (line->len > 0 && line->ptr[line->len - 1] == '\r') {
        line->len--;
    }
    if (memchr(line->ptr, '\0', line->len) != NULL) {
        *failed = true;
        return source_fail(r->source, r->line, "not a text file: the line holds a NUL byte");
    }
    progress_step(r->progress, (size_t)(r->at - r->source->bytes), arrlenu(r->source->bytes));
    return true;
}

uint32_t source_intern(struct source *s, struct text name)
{
    char key[MAX_NAME_BYTES + 1];
    ptrdiff_t at;

    memcpy(key, name.ptr, name.len);
    key[name.len] = '\0';
    at = shgeti(s->names, key);
    if (at < 0) {
        shput(s->names, key, NO_PACKAGE);
        at = shlen(s->names) - 1;
    }
    return (uint32_t)at;
}

uint32_t source_find(struct source *s, const char *name)
{
    ptrdiff_t at = shgeti(s->names, stb_key(name));

    return at < 0 ? NO_PACKAGE : s->names[at].value;
}

/* Edits (insert, delete, replace) that turn a into b; both at most MAX_NAME_BYTES long. */
static size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t row[MAX_NAME_BYTES + 1];

    for (size_t j = 0; j <= n_b; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            size_t gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < gap ? replace : gap;
        }
    }
    return row[n_b];
}

const char *source_nearest(const struct source *s, const char *name)
{
    size_t len = strlen(name);
    size_t best = len / 3 + 2; /* further away than that is another word */
    const char *nearest = NULL;

    if (len > MAX_NAME_BYTES) {
        return NULL;
    }
    for (ptrdiff_t i = 0; i < shlen(s->names); i++) {
        const char *known = s->names[i].key;
        size_t n_known = strlen(known);
        size_t apart = n_known > len ? n_known - len : len - n_known;
        if (s->names[i].value != NO_PACKAGE && apart < best) {
            size_t distance = edit_distance(name, len, known, n_known);
            if (distance < best) {
                best = distance;
                nearest = known;
            }
        }
    }
    return nearest;
}

/* A virtual name belongs to the first package in the file that provides it; a real one to itself. */
static void settle_names(struct source *s)
{
    for (uint32_t i = 0; i < arrlenu(s->packages); i++) {
        const uint32_t *provides = s->packages[i].provides;
        for (size_t k = 0; k < arrlenu(s->packages[i].provides); k++) {
            if (s->names[provides[k]].value == NO_PACKAGE) {
                s->names[provides[k]].value = i;
            }
        }
    }
}

/* Leaves one dependency of each group "a | b | c": the first that some package answers to, or else
 * the first; and of dependencies on one name ("a (>= 1), a (<< 3)") only one: an edge joins two
 * packages, whatever versions it asks for. */
static void settle_dependencies(struct source *s)
{
    uint32_t *seen_by = NULL; /* by name: the last package found to depend on it, plus one */

    arrsetlen(seen_by, shlenu(s->names));
    if (seen_by == NULL) {
        return;
    }
    memset(seen_by, 0, arrlenu(seen_by) * sizeof *seen_by);
    for (uint32_t i = 0; i < arrlenu(s->packages); i++) {
        struct dependency *all = s->packages[i].depends;
        size_t kept = 0;
        for (size_t k = 0, next; k < arrlenu(all); k = next) {
            uint32_t choice = all[k].name;
            for (next = k + 1; next < arrlenu(all) && all[next].alternative; next++) {
                if (s->names[choice].value == NO_PACKAGE) {
                    choice = s->names[all[next].name].value != NO_PACKAGE ? all[next].name : choice;
                }
            }
            if (seen_by[choice] == i + 1) {
                continue;
            }
            seen_by[choice] = i + 1;
            all[kept++] = (struct dependency){.name = choice};
            if (s->names[choice].value == NO_PACKAGE) {
                s->n_missing++;
            } else {
                s->packages[s->names[choice].value].wanted = true;
            }
        }
        if (all != NULL) {
            arrsetlen(s->packages[i].depends, kept);
        }
        s->n_edges += kept;
    }
    arrfree(seen_by);
}

/* The whole file, into s->bytes. */
static bool read_bytes(struct source *s)
{
    FILE *file = fopen(s->path, "rb");
    size_t n = 0;
    size_t got;
    int error;

    if (file == NULL) {
        fprintf(stderr, "%s: cannot be opened: %s\n", s->path, strerror(errno));
        return false;
    }
    do {
        arrsetlen(s->bytes, n + READ_BYTES);
        errno = 0;
        got = fread(s->bytes + n, 1, READ_BYTES, file);
        n += got;
        /* A NUL byte will be refused, so there is no need to read on: a device may never end. */
    } while (got == READ_BYTES && n <= MAX_FILE_BYTES &&
             memchr(s->bytes + n - got, 0, got) == NULL);
    error = ferror(file) ? errno : 0;
    fclose(file);
    arrsetlen(s->bytes, n);
    if (error != 0) {
        fprintf(stderr, "%s: cannot be read: %s\n", s->path, strerror(error));
        return false;
    }
    if (n > MAX_FILE_BYTES) {
        fprintf(stderr, "%s: larger than %zu MiB: not a package database\n", s->path,
                MAX_FILE_BYTES >> 20);
        return false;
    }
    return true;
}

bool source_read(struct source *s, const char *path, struct progress *progress)
{
    static const size_t n_magic = sizeof BORDERS_MAGIC - 1;
    struct reader r = {.source = s, .progress = progress};
    bool ok;

    *s = (struct source){.path = path, .nouns = "packages"};
    sh_new_arena(s->names);
    if (!read_bytes(s)) {
        return false;
    }
    r.at = s->bytes;
    r.end = s->bytes + arrlenu(s->bytes);
    progress_begin(progress, "reading", "bytes");
    if (arrlenu(s->bytes) >= n_magic && memcmp(s->bytes, BORDERS_MAGIC, n_magic) == 0) {
        s->nouns = "countries";
        ok = borders_read(&r);
    } else {
        ok = status_read(&r);
    }
    progress_end(progress);
    if (ok && arrlenu(s->packages) == 0) {
        ok = source_fail(s, r.line > 0 ? r.line : 1, "%s",
                         arrlenu(s->bytes) == 0   ? "the file is empty"
                         : s->n_not_installed > 0 ? "no package in it is installed"
                                                  : "the file describes nothing");
    }
    if (ok) {
        settle_names(s);
        settle_dependencies(s);
    }
    return ok;
}

void source_free(struct source *s)
{
    for (size_t i = 0; i < arrlenu(s->packages); i++) {
        arrfree(s->packages[i].depends);
        arrfree(s->packages[i].provides);
    }
    arrfree(s->packages);
    shfree(s->names);
    arrfree(s->bytes);
}
