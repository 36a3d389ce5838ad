/* >>blob -- DLOAD_BLOB values: byte strings with a reference count.
 *
 * A blob is two words; the count and the allocator stand in front of the bytes, so that a blob may
 * outlive the loader it came from, and its bytes never move or change.
 */
#ifndef DLOAD_I_BLOB_H
#define DLOAD_I_BLOB_H

#include "env.h"

typedef struct dload_blob {
    const uint8_t *ptr; /* NULL = no blob; the bytes are 8-byte aligned and immutable */
    size_t len;         /* bytes */
} dload_blob;

/* What stands before the bytes. The allocator is copied: the env may be gone before the blob. */
typedef struct dload_i_blob_head {
    void (*free)(void *ctx, void *p, size_t n_bytes);
    void *ctx;
    size_t len;
    uint32_t refs; /* atomic */
    uint32_t pad;
} dload_i_blob_head;

DLOAD_I_INLINE dload_i_blob_head *dload_i_blob_head_of(dload_blob blob)
{
    return (dload_i_blob_head *)(uintptr_t)(blob.ptr - sizeof(dload_i_blob_head));
}

/* Makes a blob with a copy of n_bytes bytes, which the caller releases. env NULL = the host's, and its
 * allocator must live as long as the blob. bytes may be NULL: then they are zero.
 * Returns DLOAD_OK, DLOAD_ENOMEM, DLOAD_ETOOBIG. */
DLOAD_I_LOCAL dload_status dload_blob_make(const dload_env *env, const void *bytes, size_t n_bytes,
                                           dload_blob *out)
{
    if (env == NULL)
        env = dload_env_default();
    if (n_bytes > SIZE_MAX - sizeof(dload_i_blob_head))
        return DLOAD_ETOOBIG;
    char *block = (char *)dload_i_alloc(env, sizeof(dload_i_blob_head) + n_bytes);
    if (block == NULL)
        return DLOAD_ENOMEM;
    dload_i_blob_head *head = (dload_i_blob_head *)(void *)block;
    head->free = env->free;
    head->ctx = env->ctx;
    head->len = n_bytes;
    head->refs = 1;
    head->pad = 0;
    if (bytes == NULL)
        memset(block + sizeof *head, 0, n_bytes);
    else if (n_bytes != 0)
        memcpy(block + sizeof *head, bytes, n_bytes);
    out->ptr = (const uint8_t *)block + sizeof *head;
    out->len = n_bytes;
    return DLOAD_OK;
}

/* One more owner of the same bytes. Any thread; no allocation. */
DLOAD_I_LOCAL dload_blob dload_blob_retain(dload_blob blob)
{
    if (blob.ptr != NULL)
        (void)DLOAD_I_ADD(&dload_i_blob_head_of(blob)->refs, 1u);
    return blob;
}

/* One owner less; the last one frees the bytes. Clears *blob. Any thread. */
DLOAD_I_LOCAL void dload_blob_release(dload_blob *blob)
{
    if (blob->ptr != NULL) {
        dload_i_blob_head *head = dload_i_blob_head_of(*blob);
        if (DLOAD_I_SUB(&head->refs, 1u) == 0)
            head->free(head->ctx, head, sizeof *head + head->len);
    }
    blob->ptr = NULL;
    blob->len = 0;
}

#endif /* DLOAD_I_BLOB_H */
