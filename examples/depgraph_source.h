/* What the input says: packages and what they depend on, before any database.
 *
 * Two formats are read. A package database is what dpkg keeps in its status file and apt in its
 * Packages files: stanzas of "Field: value" lines. A borders file (data/borders.txt explains itself)
 * holds countries and their land borders, for machines that have no package database.
 */
#ifndef DEPGRAPH_SOURCE_H
#define DEPGRAPH_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NO_PACKAGE     UINT32_MAX
#define MAX_NAME_BYTES 255

struct progress;

/* Bytes inside the file's text, not NUL-terminated. */
struct text {
    const char *ptr;
    size_t len;
};

/* Every name that the file mentions, in an stb_ds string map: its index is the name's number. */
struct name {
    char *key;
    uint32_t value; /* the package that answers to it, by itself or as a provider; or NO_PACKAGE */
};

struct dependency {
    uint32_t name;    /* index into source.names */
    bool alternative; /* the "b" of "a | b": belongs to the dependency before it */
};

struct package {
    uint32_t name;
    struct text detail; /* its version, or a country's code */
    struct text architecture;
    uint64_t size_kib;          /* installed size; 0 = not stated */
    size_t line;                /* where its description begins */
    struct dependency *depends; /* stb_ds array; after source_read one entry per edge */
    uint32_t *provides;         /* stb_ds array of names */
    bool wanted;                /* some package depends on it */
};

struct source {
    const char *path;
    const char *nouns; /* "packages" or "countries" */
    char *bytes;       /* the file, stb_ds array; the texts above point into it */
    struct name *names;
    struct package *packages;
    size_t n_edges;         /* dependencies, after alternatives were chosen */
    size_t n_missing;       /* ... of them to a name that no package answers to */
    size_t n_not_installed; /* stanzas left out: removed packages that dpkg still remembers */
    size_t n_other;         /* stanzas left out: a further version or architecture of a package */
};

/* Reads the file at path, whichever of the two formats it is in. On failure says on stderr
 * "path:line: what is wrong" and returns false. source_free is due in both cases. */
bool source_read(struct source *s, const char *path, struct progress *progress);
void source_free(struct source *s);

/* The package that answers to a name, or NO_PACKAGE. */
uint32_t source_find(struct source *s, const char *name);

/* The known name that looks most like the one given, or NULL when none looks like it. */
const char *source_nearest(const struct source *s, const char *name);

/* ---- between the readers of the two formats ---- */

struct reader {
    struct source *source;
    struct progress *progress;
    const char *at;
    const char *end;
    size_t line; /* number of the line that reader_line returned last */
};

/* The next line without its end (LF or CR LF). False at the end of the file, or, with *failed set,
 * after saying that the line holds a NUL byte. */
bool reader_line(struct reader *r, struct text *line, bool *failed);

/* Says "path:line: ..." on stderr; returns false, so that a reader can return it. */
bool source_fail(const struct source *s, size_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The number of a name, new or known. The caller has checked that it is 1 .. MAX_NAME_BYTES long. */
uint32_t source_intern(struct source *s, struct text name);

struct text text_trim(struct text t);

/* Room for a piece of the input in a message: what a terminal could misread becomes '?'. */
struct quoted {
    char text[48];
};
struct quoted text_quote(struct text t);

bool status_read(struct reader *r);
bool borders_read(struct reader *r);

/* The first line of every borders file. */
#define BORDERS_MAGIC "# depgraph borders 1"

#endif
