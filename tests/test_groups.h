/* What the tests of groups share: a loader with groups and a fetch function that records them. A program
 * defines DLOAD_GROUP 1 and includes test_loader.h before. */
#ifndef DLOAD_TESTS_GROUPS_H
#define DLOAD_TESTS_GROUPS_H

/* "7:B(1,2)" is a call for keys 1 and 2 of group 7, answered by 7001 and 7002, and 100 more a version. */
static inline uint64_t value_in(const struct recorder *r, uint64_t group, uint64_t key)
{
    return group * 1000 + key + r->version * 100;
}

static inline void answer_all(struct recorder *r, tl_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint64_t value = value_in(r, b->group, b->keys[i]);
        must_ok(tl_batch_set(b, i, &value));
    }
}

static inline dload_status group_fetch(tl_batch *b)
{
    struct recorder *r = b->ctx;
    r->n_calls++;
    r->n_keys += b->n;
    if (r->calls.len < 1024) { /* the record has an end */
        text_add(&r->calls, "%s%" PRIu64 ":B(", r->calls.len ? " " : "", b->group);
        for (size_t i = 0; i < b->n; i++) {
            text_add(&r->calls, "%s%" PRIu64, i ? "," : "", b->keys[i]);
        }
        text_add(&r->calls, ")");
    }
    if (r->act) {
        r->act(r, b);
    }
    if (r->result == DLOAD_PENDING) {
        assert_true(r->n_pending < COUNT(r->pending));
        r->pending[r->n_pending++] = b;
    } else {
        answer_all(r, b);
    }
    return r->result;
}

static inline void group_finish(struct recorder *r)
{
    tl_batch *b = rec_take(r, 0);
    answer_all(r, b);
    must_ok(tl_batch_done(b, DLOAD_OK));
}

static inline void open_groups(struct fixture *x)
{
    x->cfg.fetch = group_fetch;
    fixture_open(x);
}

static inline dload_status ask(struct fixture *x, struct request *req, uint64_t group, uint64_t key)
{
    dload_call call = {.group = group};
    memset(req, 0, sizeof *req);
    req->key = key;
    req->w.done = request_done;
    req->w.ctx = req;
    return tl_start_with(&x->l, key, &call, &req->w);
}

static inline dload_status load_in(struct fixture *x, uint64_t group, uint64_t key, uint64_t *out)
{
    dload_call call = {.group = group};
    return tl_load_with(&x->l, key, &call, out);
}

static inline void load_in_must(struct fixture *x, uint64_t group, uint64_t key, uint64_t want)
{
    uint64_t got = 0;
    must_ok(load_in(x, group, key, &got));
    equal(got, want);
}

static inline dload_state state_in(struct fixture *x, uint64_t group, uint64_t key)
{
    dload_state state = DLOAD_STATE_ERROR;
    (void)tl_peek_in(&x->l, key, group, &state, NULL);
    return state;
}

#endif /* DLOAD_TESTS_GROUPS_H */
