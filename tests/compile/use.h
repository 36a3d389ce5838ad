/* Names every public function of the loader USE_NAME once, so that an instance which does not
 * compile, or warns, does so here. The includer defines USE_NAME (a loader that exists), and USE_SOLO in a
 * file of loaders with DLOAD_ASYNC 0; the result
 * is the function <name>_use(), which runs a little too. Included once per loader.
 */
#define USE_CAT_(a, b) a##_##b
#define USE_CAT(a, b)  USE_CAT_(a, b)
#define USE_FN(word)   USE_CAT(USE_NAME, word)

static dload_status USE_FN(use_fetch)(USE_FN(batch) * b)
{
    for (size_t i = 0; i < b->n; i++) {
        dload_status st = USE_FN(batch_fail)(b, i, DLOAD_MISSING);
        if (st != DLOAD_OK)
            return st;
    }
#ifdef USE_SOLO
    return DLOAD_OK;
#else
    return USE_FN(batch_cancelled)(b) ? DLOAD_ECANCELED : DLOAD_OK;
#endif
}

static int USE_FN(use_cache)(USE_FN(cache) * c, USE_FN(key) key, USE_FN(value) value)
{
    USE_FN(cache_config) config;
    memset(&config, 0, sizeof config);
    config.capacity = 16;
    USE_FN(value) out;
    dload_status st = DLOAD_OK;
    size_t n_hits = 0;
    if (USE_FN(cache_init)(c, &config) != DLOAD_OK)
        return 1;
    if (USE_FN(cache_set)(c, key, &value, 0) != DLOAD_OK)
        return 2;
    if (USE_FN(cache_get)(c, key, &out) != DLOAD_OK)
        return 3;
    if (USE_FN(cache_get_many)(c, &key, 1, &out, &st, &n_hits) != DLOAD_OK || n_hits != 1)
        return 4;
    if (USE_FN(cache_len)(c) != 1 || USE_FN(cache_bytes)(c) == 0)
        return 5;
    if (USE_FN(cache_delete)(c, key) != DLOAD_OK || USE_FN(cache_clear)(c) != DLOAD_OK)
        return 6;
    if (USE_FN(cache_advance)(c, DLOAD_SECOND) != DLOAD_OK)
        return 7;
    if (USE_FN(cache_get)(c, key, &out) != DLOAD_MISSING)
        return 8;
    return USE_FN(cache_destroy)(c) == DLOAD_OK ? 0 : 9;
}

static int USE_FN(use_loads)(USE_NAME *l, USE_FN(key) key, USE_FN(value) value)
{
    USE_FN(value) out;
    USE_FN(waiter) w;
    dload_call call;
    dload_state state = DLOAD_STATE_ABSENT;
    dload_status st = DLOAD_OK;
    memset(&w, 0, sizeof w);
    memset(&call, 0, sizeof call);
    if (USE_FN(load)(l, key, &out) != DLOAD_MISSING)
        return 20;
    if (USE_FN(load_with)(l, key, &call, &out) != DLOAD_MISSING)
        return 21;
    if (USE_FN(load_many)(l, &key, 1, &out, &st) != DLOAD_OK || st != DLOAD_MISSING)
        return 22;
    if (USE_FN(load_many_with)(l, &key, 1, &call, &out, NULL) != DLOAD_OK)
        return 23;
    if (USE_FN(start)(l, key, &w) != DLOAD_PENDING || USE_FN(cancel)(l, &w) != DLOAD_OK)
        return 24;
    if (USE_FN(start_with)(l, key, &call, &w) != DLOAD_PENDING)
        return 25;
#ifndef USE_SOLO
    if (USE_FN(expect)(l, 5) != DLOAD_OK)
        return 34;
#endif
    if (USE_FN(dispatch)(l, NULL) != DLOAD_OK)
        return 26;
    if (USE_FN(prime)(l, key, &value, DLOAD_OVERWRITE) != DLOAD_OK)
        return 27;
    if (USE_FN(prime_many)(l, &key, &value, 1, 0, NULL) != DLOAD_OK)
        return 28;
    if (USE_FN(peek)(l, key, &state, NULL) != DLOAD_OK || state != DLOAD_STATE_READY)
        return 29;
    if (USE_FN(load)(l, key, &out) != DLOAD_OK)
        return 30;
    if (USE_FN(clear)(l, key) != DLOAD_OK || USE_FN(clear_many)(l, &key, 1) != DLOAD_OK)
        return 31;
    if (USE_FN(prime_error)(l, key, DLOAD_EFETCH, DLOAD_NEVER) != DLOAD_OK)
        return 32;
    return USE_FN(clear_all)(l) == DLOAD_OK ? 0 : 33;
}

/* 0, or the number of the check that failed. */
static int USE_FN(use)(USE_FN(key) key, USE_FN(value) value)
{
    static USE_FN(cache) c;
    static USE_NAME l;
    USE_FN(config) config = USE_FN(config_default)();
    int failed = USE_FN(use_cache)(&c, key, value);
    if (failed != 0)
        return failed;
    config.fetch = USE_FN(use_fetch);
    if (USE_FN(init)(&l, &config) != DLOAD_OK)
        return 10;
    failed = USE_FN(use_loads)(&l, key, value);
    if (failed != 0)
        return failed;
    if (USE_FN(put_if)(&l, key, &value, USE_FN(token)(&l)) != DLOAD_OK)
        return 11;
    if (USE_FN(process)(&l, USE_FN(now)(&l)) != DLOAD_OK)
        return 12;
#ifndef USE_SOLO
    dload_stats stats;
    if (USE_FN(next_deadline)(&l) == 0 || USE_FN(stats)(&l, &stats) != DLOAD_OK)
        return 13;
#endif
    if (USE_FN(close)(&l, DLOAD_DRAIN, 0) != DLOAD_OK)
        return 14;
    return USE_FN(destroy)(&l) == DLOAD_OK ? 0 : 15;
}

#undef USE_FN
#undef USE_CAT
#undef USE_CAT_
#undef USE_NAME
