/* >>arena -- memory for the bytes of string keys.
 *
 * Pieces come in fixed sizes, are taken from chunks and return to a list of their size; chunks are
 * kept until destroy. So a cache that replaces its content for ever allocates nothing once warm, and a
 * reader that is about to find its slot changed never touches memory that was given away.
 */
#ifndef DLOAD_I_ARENA_H
#define DLOAD_I_ARENA_H

#include "env.h"
#include "key.h"
#include "words.h"

#define DLOAD_I_ARENA_CLASSES 40u   /* 8, 16, 24, 32, then two sizes an octave: up to 8 MiB */
#define DLOAD_I_ARENA_CHUNK   4096u /* bytes of a chunk for small pieces, its header included */
#define DLOAD_I_ARENA_MAX     (UINT32_C(1) << 22)

/* A stored key: its bytes, and what of its hash is needed to find its home again. */
typedef struct dload_i_skey {
    const char *ptr; /* NULL when len is 0 */
    uint32_t len;
    uint32_t hash_hi;
} dload_i_skey;

typedef struct dload_i_chunk {
    struct dload_i_chunk *next;
    size_t n_bytes;
} dload_i_chunk;

typedef struct dload_i_arena {
    const dload_env *env;
    void *free_
        [DLOAD_I_ARENA_CLASSES]; /* pieces given back; each begins with the next one's address */
    dload_i_chunk *chunks;
    char *at; /* unused rest of the newest small chunk */
    size_t left_bytes;
    size_t n_bytes; /* all chunks together */
} dload_i_arena;

/* The class of a piece of n bytes, and that class's size; n is 1 .. DLOAD_I_ARENA_MAX. */
DLOAD_I_LOCAL uint32_t dload_i_arena_class(size_t n, size_t *size)
{
    if (n <= 32) {
        uint32_t class_ = (uint32_t)((n + 7) / 8) - 1;
        *size = (size_t)(class_ + 1) * 8;
        return class_;
    }
    uint32_t class_ = 4;
    size_t octave = 32;
    for (;; octave *= 2, class_ += 2) {
        if (n <= octave + octave / 2) {
            *size = octave + octave / 2;
            return class_;
        }
        if (n <= octave * 2) {
            *size = octave * 2;
            return class_ + 1;
        }
    }
}

DLOAD_I_LOCAL void dload_i_arena_init(dload_i_arena *a, const dload_env *env)
{
    memset(a, 0, sizeof *a);
    a->env = env;
}

DLOAD_I_LOCAL void dload_i_arena_destroy(dload_i_arena *a)
{
    while (a->chunks != NULL) {
        dload_i_chunk *chunk = a->chunks;
        a->chunks = chunk->next;
        dload_i_free(a->env, chunk, chunk->n_bytes);
    }
}

/* n bytes, 8-byte aligned, or NULL. */
DLOAD_I_NOINLINE char *dload_i_arena_take(dload_i_arena *a, size_t n)
{
    size_t size = 0;
    uint32_t class_ = dload_i_arena_class(n, &size);
    if (a->free_[class_] != NULL) {
        char *piece = (char *)a->free_[class_];
        memcpy(&a->free_[class_], piece, sizeof(void *));
        return piece;
    }
    if (size > a->left_bytes) {
        /* A large piece gets a chunk of its own, and the rest of the small one stays in use. */
        bool large = size > DLOAD_I_ARENA_CHUNK / 4;
        size_t n_bytes = large ? size + sizeof(dload_i_chunk) : (size_t)DLOAD_I_ARENA_CHUNK;
        dload_i_chunk *chunk = (dload_i_chunk *)dload_i_alloc(a->env, n_bytes);
        if (chunk == NULL)
            return NULL;
        chunk->next = a->chunks;
        chunk->n_bytes = n_bytes;
        a->chunks = chunk;
        a->n_bytes += n_bytes;
        char *first = (char *)chunk + sizeof *chunk;
        if (large)
            return first;
        a->at = first;
        a->left_bytes = n_bytes - sizeof *chunk;
    }
    char *piece = a->at;
    a->at += size;
    a->left_bytes -= size;
    return piece;
}

/* Pieces are whole words: a reader without the lock may be looking at this one, and finds out later that
 * it was not the key's any more. */
DLOAD_I_LOCAL void dload_i_arena_write(char *piece, const void *from, size_t n)
{
#if DLOAD_I_WIDE_ATOMICS
    dload_i_words_store(piece, from, n, 8);
#else
    memcpy(piece, from, n);
#endif
}

DLOAD_I_LOCAL void dload_i_arena_give(dload_i_arena *a, const char *piece, size_t n)
{
    size_t size = 0;
    uint32_t class_ = dload_i_arena_class(n, &size);
    char *p = (char *)(uintptr_t)piece;
    dload_i_arena_write(p, &a->free_[class_], sizeof(void *));
    a->free_[class_] = p;
}

/* Stores a copy of a key's bytes. False when there is no memory. */
DLOAD_I_LOCAL bool dload_i_arena_put(dload_i_arena *a, const char *ptr, size_t len,
                                     const char **out)
{
    *out = NULL;
    if (len == 0)
        return true;
    char *piece = dload_i_arena_take(a, len);
    if (piece == NULL)
        return false;
    dload_i_arena_write(piece, ptr, len);
    *out = piece;
    return true;
}

DLOAD_I_LOCAL void dload_i_arena_drop(dload_i_arena *a, const char *ptr, size_t len)
{
    if (len != 0)
        dload_i_arena_give(a, ptr, len);
}

#endif /* DLOAD_I_ARENA_H */
