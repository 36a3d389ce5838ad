/* >>snapshot -- the form in which entries leave the process: blocks that say what they are and can be checked.
 *
 * A snapshot is a row of blocks: one that opens it, any number with entries, one that ends it. A block is a
 * frame of 48 bytes and a body. The frame has a mark, which reads differently on a machine of another byte
 * order, a version, the layout of what is inside, the length, and two checksums: of the body, and of the
 * frame itself, begun with the checksum of the block before. So a flipped bit, a missing, doubled or moved
 * block and the blocks of another snapshot are all found, and a length is known to be right before it is
 * used. A single value with a frame of its own (the chain begins at 0) is the same thing with one block.
 *
 * Nothing here knows a key or a value, or where the bytes go. Included by the first loader that has
 * DLOAD_SNAPSHOT, so that nobody else compiles it.
 */
#include "carry.h"

#if DLOAD_SNAPSHOT && !defined(DLOAD_I_SNAPSHOT_H)
#define DLOAD_I_SNAPSHOT_H

#define DLOAD_I_FRAME_MARK    UINT32_C(0x31534c44) /* "DLS1" where the lowest byte comes first */
#define DLOAD_I_FRAME_SWAPPED UINT32_C(0x444c5331)
#define DLOAD_I_FRAME_VERSION 1u
#define DLOAD_I_FRAME_OPENS   1u
#define DLOAD_I_FRAME_ENTRIES 2u
#define DLOAD_I_FRAME_ENDS    3u
#define DLOAD_I_FRAME_MAX     (UINT32_C(1) << 30) /* bytes of a body at most */
#define DLOAD_I_SNAP_BYTES    32768u /* of a block, as long as one entry is no longer */

typedef struct dload_i_frame {
    uint32_t mark;
    uint16_t version;
    uint16_t kind;
    uint64_t layout;
    uint64_t n_bytes;   /* of the body */
    uint32_t n_entries; /* in it */
    uint32_t index;     /* of the block, from 0 */
    uint64_t body_sum;
    uint64_t frame_sum; /* of all above, begun with the frame_sum of the block before */
} dload_i_frame;

DLOAD_I_STATIC_ASSERT(sizeof(dload_i_frame) == 48, "dataloader.h: a frame has no padding");

/* ---- the frame ---- */

DLOAD_I_LOCAL void dload_i_frame_seal(dload_i_frame *f, const void *body, uint64_t chain)
{
    f->mark = DLOAD_I_FRAME_MARK;
    f->version = DLOAD_I_FRAME_VERSION;
    f->body_sum = dload_i_sum(0, body, (size_t)f->n_bytes);
    f->frame_sum = dload_i_sum(chain, f, offsetof(dload_i_frame, frame_sum));
}

/* Is this frame one that we can read, and whole? Its body is not looked at. DLOAD_OK; DLOAD_ELAYOUT of
 * another version, byte order or layout; DLOAD_ECORRUPT. */
DLOAD_I_LOCAL dload_status dload_i_frame_check(const dload_i_frame *f, uint64_t layout,
                                               uint64_t chain)
{
    if (f->mark == DLOAD_I_FRAME_SWAPPED)
        return DLOAD_ELAYOUT;
    if (f->mark != DLOAD_I_FRAME_MARK)
        return DLOAD_ECORRUPT;
    if (f->version != DLOAD_I_FRAME_VERSION)
        return DLOAD_ELAYOUT; /* what its other fields mean is not ours to say */
    if (f->frame_sum != dload_i_sum(chain, f, offsetof(dload_i_frame, frame_sum)) ||
        f->n_bytes > DLOAD_I_FRAME_MAX)
        return DLOAD_ECORRUPT;
    return f->layout == layout ? DLOAD_OK : DLOAD_ELAYOUT;
}

/* ---- a row of blocks, written or read ---- */

typedef struct dload_i_snap {
    const dload_env *env;
    dload_status (*write)(void *ctx, const void *bytes, size_t n_bytes);
    dload_status (*read)(void *ctx, void *bytes, size_t n_bytes, size_t *n_read);
    void *ctx;
    char *buf; /* a block: its frame, its body */
    size_t cap_bytes;
    size_t n_bytes; /* of the body: written so far, or there to be read */
    size_t at;      /* reading: how much of it was taken */
    uint64_t layout;
    uint64_t chain;   /* frame_sum of the block before */
    uint64_t n_total; /* entries in all blocks before */
    uint32_t n_entries;
    uint32_t index;
    uint16_t kind; /* reading: of the block in buf */
} dload_i_snap;

/* What the first block says. */
typedef struct dload_i_snap_info {
    uint64_t wall_ns; /* when the save began, by a clock that goes on; DLOAD_NEVER = not known */
    uint64_t spare;
} dload_i_snap_info;

/* Everything but write, read and ctx. */
DLOAD_I_LOCAL dload_status dload_i_snap_begin(dload_i_snap *s, const dload_env *env,
                                              uint64_t layout)
{
    memset(s, 0, sizeof *s);
    s->env = env;
    s->layout = layout;
    s->buf = (char *)dload_i_alloc(env, DLOAD_I_SNAP_BYTES);
    if (s->buf == NULL)
        return DLOAD_ENOMEM;
    s->cap_bytes = DLOAD_I_SNAP_BYTES;
    return DLOAD_OK;
}

DLOAD_I_LOCAL void dload_i_snap_end(dload_i_snap *s)
{
    dload_i_free(s->env, s->buf, s->cap_bytes);
    s->buf = NULL;
}

/* Makes the buffer larger; the first n_keep bytes stay. */
DLOAD_I_LOCAL dload_status dload_i_snap_grow(dload_i_snap *s, size_t cap_bytes, size_t n_keep)
{
    char *buf = (char *)dload_i_alloc(s->env, cap_bytes);
    if (buf == NULL)
        return DLOAD_ENOMEM;
    memcpy(buf, s->buf, n_keep);
    dload_i_free(s->env, s->buf, s->cap_bytes);
    s->buf = buf;
    s->cap_bytes = cap_bytes;
    return DLOAD_OK;
}

/* What a callback returns when it does not work is what the call returns; none of them may say PENDING. */
DLOAD_I_LOCAL dload_status dload_i_snap_said(dload_status st)
{
    if (st >= 0)
        return DLOAD_OK;
    return st == DLOAD_PENDING ? DLOAD_EINVAL : st;
}

/* Sends the block off, even an empty one, and begins the next. */
DLOAD_I_LOCAL dload_status dload_i_snap_flush(dload_i_snap *s, uint16_t kind)
{
    dload_i_frame f;
    memset(&f, 0, sizeof f);
    f.kind = kind;
    f.layout = s->layout;
    f.n_bytes = s->n_bytes;
    f.n_entries = s->n_entries;
    f.index = s->index++;
    dload_i_frame_seal(&f, s->buf + sizeof f, s->chain);
    memcpy(s->buf, &f, sizeof f);
    dload_status st = s->write(s->ctx, s->buf, sizeof f + s->n_bytes);
    s->chain = f.frame_sum;
    s->n_total += s->n_entries;
    s->n_entries = 0;
    s->n_bytes = 0;
    return dload_i_snap_said(st);
}

/* Room for one more entry of n bytes, in this block or in the next. DLOAD_ETOOBIG when no block is so
 * large. */
DLOAD_I_LOCAL dload_status dload_i_snap_room(dload_i_snap *s, size_t n)
{
    dload_status st = DLOAD_OK;
    if (n > DLOAD_I_FRAME_MAX)
        return DLOAD_ETOOBIG;
    if (s->n_bytes != 0 && n > s->cap_bytes - sizeof(dload_i_frame) - s->n_bytes)
        st = dload_i_snap_flush(s, DLOAD_I_FRAME_ENTRIES);
    if (st >= 0 && n > s->cap_bytes - sizeof(dload_i_frame))
        st = dload_i_snap_grow(s, n + sizeof(dload_i_frame), sizeof(dload_i_frame));
    return st;
}

/* Where the next byte of the body goes. */
DLOAD_I_LOCAL char *dload_i_snap_tail(const dload_i_snap *s)
{
    return s->buf + sizeof(dload_i_frame) + s->n_bytes;
}

/* There is room. */
DLOAD_I_LOCAL void dload_i_snap_put(dload_i_snap *s, const void *bytes, size_t n)
{
    if (n != 0)
        memcpy(dload_i_snap_tail(s), bytes, n);
    s->n_bytes += n;
}

/* ---- reading ---- */

DLOAD_I_LOCAL dload_status dload_i_snap_read(dload_i_snap *s, size_t at, size_t n)
{
    while (n != 0) {
        size_t n_read = 0;
        dload_status st = dload_i_snap_said(s->read(s->ctx, s->buf + at, n, &n_read));
        if (st < 0)
            return st;
        if (n_read == 0 || n_read > n)
            return n_read == 0 ? DLOAD_ECORRUPT : DLOAD_EINVAL;
        at += n_read;
        n -= n_read;
    }
    return DLOAD_OK;
}

/* Reads a body of n bytes. The buffer never grows beyond twice of what really came: a length is not
 * believed before. */
DLOAD_I_LOCAL dload_status dload_i_snap_body(dload_i_snap *s, size_t n)
{
    size_t at = sizeof(dload_i_frame);
    size_t end = at + n;
    for (;;) {
        size_t step = end - at < s->cap_bytes - at ? end - at : s->cap_bytes - at;
        dload_status st = dload_i_snap_read(s, at, step);
        at += step;
        if (st < 0 || at == end)
            return st;
        st = dload_i_snap_grow(s, end - at < at ? end : at * 2, at);
        if (st < 0)
            return st;
    }
}

/* Reads the next block and checks all of it. DLOAD_OK, and kind, n_entries and the body are there. */
DLOAD_I_LOCAL dload_status dload_i_snap_next(dload_i_snap *s)
{
    dload_i_frame f;
    s->n_total += s->n_entries;
    s->n_entries = 0;
    s->at = s->n_bytes = 0;
    dload_status st = dload_i_snap_read(s, 0, sizeof f);
    if (st < 0)
        return st;
    memcpy(&f, s->buf, sizeof f);
    st = dload_i_frame_check(&f, s->layout, s->chain);
    if (st < 0)
        return st;
    bool first = s->index == 0;
    if (f.index != s->index || first != (f.kind == DLOAD_I_FRAME_OPENS) ||
        f.kind > DLOAD_I_FRAME_ENDS)
        return DLOAD_ECORRUPT;
    st = dload_i_snap_body(s, (size_t)f.n_bytes);
    if (st < 0)
        return st;
    if (f.body_sum != dload_i_sum(0, s->buf + sizeof f, (size_t)f.n_bytes))
        return DLOAD_ECORRUPT;
    s->kind = f.kind;
    s->chain = f.frame_sum;
    s->n_entries = f.n_entries;
    s->n_bytes = (size_t)f.n_bytes;
    s->index++;
    return DLOAD_OK;
}

/* The next n bytes of the body, or NULL when there are fewer. */
DLOAD_I_LOCAL const char *dload_i_snap_take(dload_i_snap *s, uint64_t n)
{
    if (n > s->n_bytes - s->at)
        return NULL;
    const char *p = s->buf + sizeof(dload_i_frame) + s->at;
    s->at += (size_t)n;
    return p;
}

/* The same, copied to where it can be used. */
DLOAD_I_LOCAL bool dload_i_snap_get(dload_i_snap *s, void *to, size_t n)
{
    const char *p = dload_i_snap_take(s, n);
    if (p != NULL)
        memcpy(to, p, n);
    return p != NULL;
}

/* The first block and the last one. */
DLOAD_I_LOCAL dload_status dload_i_snap_put_info(dload_i_snap *s, uint64_t wall_ns)
{
    dload_i_snap_info info;
    info.wall_ns = wall_ns;
    info.spare = 0;
    dload_i_snap_put(s, &info, sizeof info);
    return dload_i_snap_flush(s, DLOAD_I_FRAME_OPENS);
}

DLOAD_I_LOCAL dload_status dload_i_snap_get_info(dload_i_snap *s, uint64_t *wall_ns)
{
    dload_i_snap_info info;
    dload_status st = dload_i_snap_next(s);
    if (st < 0)
        return st;
    if (!dload_i_snap_get(s, &info, sizeof info))
        return DLOAD_ECORRUPT;
    *wall_ns = info.wall_ns;
    return DLOAD_OK;
}

DLOAD_I_LOCAL dload_status dload_i_snap_put_total(dload_i_snap *s)
{
    dload_status st = s->n_bytes != 0 ? dload_i_snap_flush(s, DLOAD_I_FRAME_ENTRIES) : DLOAD_OK;
    if (st < 0)
        return st;
    dload_i_snap_put(s, &s->n_total, sizeof s->n_total);
    return dload_i_snap_flush(s, DLOAD_I_FRAME_ENDS);
}

/* The last block was just read. */
DLOAD_I_LOCAL dload_status dload_i_snap_get_total(dload_i_snap *s)
{
    uint64_t n_total = 0;
    return dload_i_snap_get(s, &n_total, sizeof n_total) && n_total == s->n_total ? DLOAD_OK
                                                                                  : DLOAD_ECORRUPT;
}

/* Reads everything from the first block to the last one, and keeps nothing. */
DLOAD_I_LOCAL dload_status dload_i_snap_verify(dload_i_snap *s)
{
    uint64_t wall_ns = 0;
    dload_status st = dload_i_snap_get_info(s, &wall_ns);
    while (st >= 0) {
        st = dload_i_snap_next(s);
        if (st >= 0 && s->kind == DLOAD_I_FRAME_ENDS)
            return dload_i_snap_get_total(s);
    }
    return st;
}

/* How much of a TTL has passed since the save: nothing when one of the clocks is not known, or the
 * second is behind the first. */
DLOAD_I_LOCAL uint64_t dload_i_snap_age(uint64_t saved_ns, uint64_t wall_ns)
{
    return saved_ns == DLOAD_NEVER || wall_ns == DLOAD_NEVER || wall_ns < saved_ns
               ? 0
               : wall_ns - saved_ns;
}

#endif /* DLOAD_I_SNAPSHOT_H */
