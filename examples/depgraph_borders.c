/* Reads a borders file: one country a line, "CODE Name: neighbour, neighbour". The file explains
 * itself; see data/borders.txt. A country answers to its name and to its code. */
#include "depgraph_stb.h"
#include "depgraph_source.h"

#include <string.h>

/* Reads one name up to a ',' or the end. Control bytes have no place in one. */
static bool read_name(struct reader *r, struct text name, uint32_t *number)
{
    name = text_trim(name);
    for (size_t i = 0; i < name.len; i++) {
        if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7f) {
            return source_fail(r->source, r->line, "byte 0x%02x does not belong in the name '%s'",
                               (unsigned char)name.ptr[i], text_quote(name).text);
        }
    }
    if (name.len == 0 || name.len > MAX_NAME_BYTES) {
        return source_fail(r->source, r->line, "a name must be 1 to 255 bytes long, not %zu",
                           name.len);
    }
    *number = source_intern(r->source, name);
    return true;
}

static bool read_neighbours(struct reader *r, struct package *country, struct text list)
{
    while (text_trim(list).len > 0) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t n = comma != NULL ? (size_t)(comma - list.ptr) : list.len;
        struct dependency d = {0};
        if (!read_name(r, (struct text){list.ptr, n}, &d.name)) {
            return false;
        }
        arrput(country->depends, d);
        n += comma != NULL;
        list = (struct text){list.ptr + n, list.len - n};
    }
    return true;
}

/* "CH Switzerland: Austria, France, ..." */
static bool read_country(struct reader *r, struct text line)
{
    struct source *s = r->source;
    const char *colon = memchr(line.ptr, ':', line.len);
    struct package country = {.line = r->line, .detail = {line.ptr, 2}};
    struct text list;
    uint32_t code;

    if (colon == NULL || colon - line.ptr < 4 || line.ptr[2] != ' ') {
        return source_fail(s, r->line, "expected \"CODE Name: neighbour, ...\", found '%s'",
                           text_quote(line).text);
    }
    for (int i = 0; i < 2; i++) {
        if (line.ptr[i] < 'A' || line.ptr[i] > 'Z') {
            return source_fail(s, r->line, "expected a code of two capital letters, found '%s'",
                               text_quote(country.detail).text);
        }
    }
    list = (struct text){colon + 1, (size_t)(line.ptr + line.len - colon - 1)};
    if (!read_name(r, (struct text){line.ptr + 3, (size_t)(colon - line.ptr) - 3}, &country.name) ||
        !read_name(r, country.detail, &code)) {
        return false;
    }
    if (s->names[country.name].value != NO_PACKAGE) {
        return source_fail(s, r->line, "'%s' is described twice, first in line %zu",
                           s->names[country.name].key,
                           s->packages[s->names[country.name].value].line);
    }
    if (s->names[code].value != NO_PACKAGE) {
        return source_fail(s, r->line, "code %s is taken, first in line %zu", s->names[code].key,
                           s->packages[s->names[code].value].line);
    }
    s->names[country.name].value = (uint32_t)arrlenu(s->packages);
    s->names[code].value = (uint32_t)arrlenu(s->packages);
    if (!read_neighbours(r, &country, list)) {
        arrfree(country.depends);
        return false;
    }
    arrput(s->packages, country);
    return true;
}

static bool has_border(const struct source *s, const struct package *country, uint32_t with)
{
    for (size_t i = 0; i < arrlenu(country->depends); i++) {
        if (s->names[country->depends[i].name].value == with) {
            return true;
        }
    }
    return false;
}

/* A border has two sides, so every typing error in a name or a forgotten neighbour shows. */
static bool check_both_sides(const struct source *s)
{
    for (uint32_t i = 0; i < arrlenu(s->packages); i++) {
        const struct package *country = &s->packages[i];
        const char *name = s->names[country->name].key;
        for (size_t k = 0; k < arrlenu(country->depends); k++) {
            const struct name *neighbour = &s->names[country->depends[k].name];
            if (neighbour->value == NO_PACKAGE) {
                const char *nearest = source_nearest(s, neighbour->key);
                return source_fail(s, country->line, "'%s' borders '%s', which has no line%s%s%s",
                                   name, neighbour->key, nearest != NULL ? " (meant: '" : "",
                                   nearest != NULL ? nearest : "", nearest != NULL ? "'?)" : "");
            }
            if (!has_border(s, &s->packages[neighbour->value], i)) {
                return source_fail(s, country->line,
                                   "'%s' borders '%s', but line %zu does not say"
                                   " so the other way round",
                                   name, neighbour->key, s->packages[neighbour->value].line);
            }
        }
    }
    return true;
}

bool borders_read(struct reader *r)
{
    struct text line;
    bool failed = false;

    while (reader_line(r, &line, &failed)) {
        if (text_trim(line).len > 0 && line.ptr[0] != '#' && !read_country(r, line)) {
            return false;
        }
    }
    return !failed && check_both_sides(r->source);
}
