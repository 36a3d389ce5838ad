"""The mistakes that tests/mutants/run.py plants: what somebody might really get wrong, each of
which would lose an answer, serve a stale one, leak, crash, hang or grow slow."""

MUTANTS = []


def mutant(name, part, old, new, *suites):
    MUTANTS.append(dict(name=name, part=part, old=old, new=new, suites=suites))


# ---- the table ----
mutant("overflow_not_decremented", "runtime/group.h",
       "            DLOAD_I_STORE_RELAXED(&groups[at].over[class_], (uint8_t)(groups[at].over[class_] - 1));",
       "            (void)0;",
       "test_table")
mutant("overflow_saturated_decremented", "runtime/group.h",
       "        if (groups[at].over[class_] < DLOAD_I_OVER_MAX)\n",
       "        if (groups[at].over[class_] > 0)\n",
       "test_table")
mutant("overflow_not_counted", "runtime/group.h",
       "            DLOAD_I_STORE_RELAXED(&g->over[class_], (uint8_t)(g->over[class_] + 1));",
       "            (void)0;",
       "test_table")
mutant("tags_compared_with_borrow", "runtime/group.h",
       "    uint64_t zero = ~(((x & low7) + low7) | x | low7);\n",
       "    uint64_t zero = (x - UINT64_C(0x0101010101010101)) & ~x & ~low7;\n",
       "test_table:NONE,DLOAD_NO_SIMD=1")
mutant("tags_of_the_last_word_lost", "runtime/group.h",
       "dload_i_tag_word_shared(g, 3)",
       "dload_i_tag_word_shared(g, 2)",
       "test_table:NONE,DLOAD_NO_SIMD=1")
mutant("tag_may_be_zero", "runtime/group.h",
       "    return (uint8_t)(tag + (tag == 0));",
       "    return tag;",
       "test_table")

# ---- keys ----
mutant("minus_zero_kept", "typed/entry.h",
       "        *key = 0; /* -0.0 */",
       "        (void)0;",
       "test_keys")
mutant("nan_accepted", "typed/entry.h",
       "        return DLOAD_EKEY; /* NaN is not even equal to itself */",
       "        return DLOAD_OK;",
       "test_keys")
mutant("hash_tail_ignored", "runtime/hash.h",
       "        memcpy(tail, p, left);\n",
       "        (void)p;\n",
       "test_hash")
mutant("string_compare_short", "typed/table.h",
       "(key->len == 0 || memcmp(e->key.ptr, key->ptr, key->len) == 0)",
       "(key->len == 0 || memcmp(e->key.ptr, key->ptr, (key->len - 1) / 8 * 8) == 0)",
       "test_hash")
mutant("string_key_not_copied", "runtime/arena.h",
       "    dload_i_arena_write(piece, ptr, len);\n"
       "    *out = piece;",
       "    *out = ptr;",
       "test_keys")
mutant("arena_piece_leaks", "runtime/arena.h",
       "    dload_i_arena_write(p, &a->free_[class_], sizeof(void *));\n"
       "    a->free_[class_] = p;",
       "    (void)p;",
       "test_alloc")

# ---- eviction ----
mutant("s3fifo_promotes_at_one", "runtime/evict.h",
       "        if ((meta & DLOAD_I_META_USES) < 2) {",
       "        if ((meta & DLOAD_I_META_USES) < 1) {",
       "test_evict")
mutant("ghost_kept_on_hit", "runtime/ghost.h",
       "            g->n_live--;\n"
       "            *time = 0;\n",
       "            *time = 0;\n",
       "test_evict")
mutant("ghost_overflow_not_noted", "runtime/ghost.h",
       "        b->passed = b->passed > time ? b->passed : time;\n",
       "",
       "test_ghost")
mutant("ghost_overflow_of_the_last", "runtime/ghost.h",
       "        b->passed = b->passed > time ? b->passed : time;\n",
       "        b->passed = time;\n",
       "test_ghost")
mutant("ghost_time_not_checked", "runtime/ghost.h",
       "            if (dload_i_ghost_gone(g, *time))\n"
       "                continue;\n",
       "",
       "test_ghost")
mutant("ghost_oldest_stays", "runtime/ghost.h",
       "    if (DLOAD_I_LIKELY(g->n_live == g->limit))\n",
       "    if (g->n_live > g->limit)\n",
       "test_ghost")
mutant("ghost_hole_not_noted", "runtime/ghost.h",
       "            g->there[at / 64] &= ~(UINT64_C(1) << (at % 64));\n",
       "            (void)at;\n",
       "test_ghost")
mutant("ghost_recount_keeps_holes", "runtime/ghost.h",
       "1 + dload_i_ghost_rank(g, time);",
       "1 + time - g->first;",
       "test_ghost")
mutant("ghost_times_never_end", "runtime/ghost.h",
       " || g->next > (uint32_t)INT32_MAX",
       "",
       "test_ghost")
mutant("sieve_hand_dangles", "runtime/evict.h",
       "        if (e->hand == slot)\n"
       "            e->hand = e->links[slot].newer;\n",
       "",
       "test_evict")
mutant("adaptive_learns_backwards", "runtime/adaptive.h",
       "    if (more)\n",
       "    if (!more)\n",
       "test_adaptive")
mutant("adaptive_ties_admitted", "runtime/adaptive.h",
       "    return now - e->adaptive->since[slot] > now - used;",
       "    return now - e->adaptive->since[slot] >= now - used;",
       "test_adaptive")
mutant("adaptive_never_lucky", "runtime/adaptive.h",
       "        if (uses < 2 && ++a->leaving < DLOAD_I_ADAPTIVE_LUCK) {",
       "        if (uses < 2) {",
       "test_adaptive")
mutant("adaptive_place_not_counted", "runtime/adaptive.h",
       "dload_i_adaptive_main_gives(e, a->comes_back ? 0 : 1)",
       "dload_i_adaptive_main_gives(e, 0)",
       "test_adaptive")
mutant("past_chain_runs_on", "runtime/past.h",
       "        if (age <= newer || age > p->span)\n",
       "        if (age > p->span)\n",
       "test_past")
mutant("past_hole_counted", "runtime/past.h",
       "    p->n_live += gone->print == 0;",
       "    p->n_live++;",
       "test_past")
mutant("clock_without_mercy", "runtime/evict.h",
       "        dload_i_meta_set(e, slot, meta & ~DLOAD_I_META_USES);\n"
       "        dload_i_fifo_pop(&e->queues, DLOAD_I_SMALL);\n"
       "        dload_i_fifo_push(&e->queues, DLOAD_I_SMALL, slot);",
       "        return slot;",
       "test_evict")
mutant("fifo_place_inherited", "runtime/fifo.h",
       "    if (dload_i_fifo_oldest(qs, which) != slot)\n"
       "        dload_i_stale_add(qs, which, slot);\n",
       "    if (dload_i_fifo_oldest(qs, which) != slot)\n"
       "        (void)0;\n",
       "test_evict_model")
mutant("fifo_counts_one_stale", "runtime/fifo.h",
       "    if (qs->n_more != 0) {",
       "    if (qs->n_more > 1) {",
       "test_evict_model")
mutant("fifo_pack_forgets_newest", "runtime/fifo.h",
       "            dload_i_fifos_pack(qs);\n"
       "            *mask |= bit;",
       "            dload_i_fifos_pack(qs);",
       "test_evict_model")
mutant("fifo_packs_too_often", "runtime/fifo.h",
       "    return cap / DLOAD_I_MORE_SHARE + 4;",
       "    return cap / 4096 + 4;",
       "test_fifo")
mutant("cleared_entry_keeps_its_place", "typed/store.h",
       "    if (cleared)\n"
       "        dload_i_evict_insert(&s->evict, DLOAD_EVICT, slot, false);",
       "    if (cleared)\n"
       "        s->evict.kind = s->evict.kind;",
       "test_evict_model")

# ---- time ----
mutant("wheel_cascade_dropped", "runtime/wheel.h",
       "            dload_i_wheel_link(w, block, b->tick);\n"
       "            continue;",
       "            continue;",
       "test_wheel")
mutant("wheel_earlier_end_stays", "runtime/wheel.h",
       "w->blocks[block].tick) >= 0))",
       "w->blocks[block].tick) >= 0 || true))",
       "test_wheel")
mutant("wheel_rest_of_block_forgotten", "runtime/wheel.h",
       "        if (ahead != 0)\n"
       "            dload_i_wheel_link(w, block, now + ahead);",
       "        (void)ahead;",
       "test_wheel")
mutant("wheel_far_loses_low_bits", "runtime/wheel.h",
       "& ~low) | (end & low);",
       "& ~low);",
       "test_wheel")
mutant("wheel_unlink_keeps_used", "runtime/wheel.h",
       "        else if (bucket < DLOAD_I_WHEEL_TODO)\n"
       "            w->used[bucket / 64] &= ~(UINT64_C(1) << (bucket % 64));\n",
       "",
       "test_wheel")
mutant("wheel_block_moved_when_later", "runtime/wheel.h",
       "w->blocks[block].tick) >= 0))",
       "w->blocks[block].tick) == 0))",
       "test_wheel")
mutant("wheel_due_at_next_tick", "runtime/wheel.h",
       "_mm_cmpgt_epi32(gap, _mm_setzero_si128())",
       "_mm_cmpgt_epi32(gap, _mm_set1_epi32(-1))",
       "test_wheel")
mutant("wheel_due_at_next_tick_plain", "runtime/wheel.h",
       "bool later = (int32_t)gap > 0 &&",
       "bool later = (int32_t)gap >= 0 &&",
       "test_wheel:NONE,DLOAD_NO_SIMD=1")
mutant("wheel_free_slot_expires", "typed/remove.h",
       " == 0 ||\n"
       "                (DLOAD_I_META(e) & DLOAD_I_META_EXPIRES) == 0) {\n"
       "                dload_i_wheel_forget",
       " == 0) {\n"
       "                dload_i_wheel_forget",
       "test_cache_model")
mutant("expiry_comparison_flipped", "typed/table.h",
       "(int32_t)((uint32_t)tick - e->expiry) < 0",
       "(int32_t)((uint32_t)tick - e->expiry) >= 0",
       "test_kept")
mutant("expiry_late_by_a_tick", "typed/table.h",
       "(int32_t)((uint32_t)tick - e->expiry) < 0",
       "(int32_t)((uint32_t)tick - e->expiry) <= 0",
       "test_cache_model", "test_kept")
mutant("jitter_lengthens", "typed/entry.h",
       "    return ttl_ns - (span_ns / 65536",
       "    return ttl_ns + (span_ns / 65536",
       "test_kept")

# ---- clears ----
mutant("epoch_not_compared", "typed/table.h",
       "    if ((DLOAD_I_META(e) & DLOAD_I_EPOCH_MASK) != s->epoch)\n"
       "        return DLOAD_PENDING;\n",
       "",
       "test_clears")
mutant("epochs_never_swept", "typed/cache.h",
       "        n_full += s->since_reap >= 0xff00;",
       "        n_full += 0;",
       "test_cache", "test_values")
mutant("flight_not_detached_on_clear", "typed/outside.h",
       "        dload_i_detach(&l->core, ref); /* one that is queued will be fetched after"
       " this: it stays */",
       "        (void)0;",
       "test_clears")
mutant("clear_all_is_joined", "runtime/flight.h",
       "    return b->state < DLOAD_I_RUNNING || b->token >= c->clear_all_seq;",
       "    return true;",
       "test_clears")
mutant("clear_all_in_flight_stored", "runtime/run.h",
       "    if (f->detached || b->token < c->clear_all_seq)",
       "    if (f->detached)",
       "test_clears")
mutant("token_check_removed", "runtime/flight.h",
       "    return c->clear_all_seq > token || c->last_clear",
       "    return c->last_clear",
       "test_clears")
mutant("token_of_all_only", "runtime/flight.h",
       "c->clear_all_seq > token || c->last_clear[(hash >> 20) % DLOAD_I_CLEAR_SLOTS] >"
       " token;",
       "c->clear_all_seq > token;",
       "test_clears")
mutant("clear_of_queued_detaches", "typed/outside.h",
       "    if (ref != NULL && ref->batch->state >= DLOAD_I_RUNNING)\n"
       "        dload_i_detach(&l->core, ref); /*",
       "    if (ref != NULL)\n"
       "        dload_i_detach(&l->core, ref); /*",
       "test_dedupe")

# ---- batches ----
mutant("size_trigger_off_by_one", "runtime/batch.h",
       "    if (b->n - b->n_dead >= c->max_batch)\n",
       "    if (b->n - b->n_dead > c->max_batch)\n",
       "test_dispatch")
mutant("settle_not_restarted", "runtime/batch.h",
       "    else if (c->settle_ns != 0)\n"
       "        b->last_key_ns = dload_i_now(c->env);\n",
       "",
       "test_dispatch")
mutant("age_not_bounded", "runtime/pace.h",
       "    return settle_ns <= age_ns ? settle_ns : age_ns;",
       "    return settle_ns;",
       "test_dispatch")
mutant("expect_for_ever", "runtime/batch.h",
       "    if (c->open == NULL)\n"
       "        c->expect = 0;\n",
       "",
       "test_dispatch")
mutant("first_answer_loses", "runtime/run.h",
       "    return b->flights[i].answered ? DLOAD_EBUSY : DLOAD_OK;",
       "    return DLOAD_OK;",
       "test_robust")
mutant("index_not_checked", "runtime/run.h",
       "    if (i >= b->n)\n"
       "        return DLOAD_EBATCH;",
       "    if (i > b->n)\n"
       "        return DLOAD_EBATCH;",
       "test_robust")
mutant("waiter_not_unlinked_on_cancel", "runtime/batch.h",
       "        dload_i_unlink(w);\n",
       "        w->batch = NULL;\n"
       "        if (b->flights[place].head == w && w->next == NULL)\n"
       "            b->flights[place].head = NULL;\n",
       "test_reentry")
mutant("many_status_misplaced", "runtime/run.h",
       "statuses[w->position + f->at] = (dload_status)status;",
       "statuses[f->at] = (dload_status)status;",
       "test_many_waits")
mutant("many_value_misplaced", "runtime/run.h",
       "(many ? f->at * typed.value_bytes : 0)",
       "0",
       "test_many_waits")
mutant("many_ends_at_first_answer", "runtime/run.h",
       "            if (--w->place == 0 && dload_i_delist(w))",
       "            if (w->batch != NULL && dload_i_delist(w))",
       "test_many_waits")
mutant("many_keys_stay_unwanted", "runtime/batch.h",
       "        dload_i_unwant(c, b, i);\n",
       "",
       "test_many_waits")
mutant("many_keys_keep_their_caller", "runtime/batch.h",
       "        f->many = NULL;\n",
       "",
       "test_many_waits")
mutant("many_not_wanted", "runtime/batch.h",
       " || f->many != NULL)",
       ")",
       "test_many_waits")
mutant("many_follows_beyond_the_batch", "runtime/batch.h",
       "    uint32_t to_full = c->max_batch - 1 - (b->n - b->n_dead);",
       "    uint32_t to_full = c->max_batch - (b->n - b->n_dead);",
       "test_dispatch")
mutant("many_follows_beyond_the_queue", "runtime/batch.h",
       "    uint32_t to_bound = c->max_queue - c->n_flights;",
       "    uint32_t to_bound = c->max_queue;",
       "test_many_waits")
mutant("many_follows_its_own_key", "runtime/batch.h",
       "        if (c->refs[i].hash == h)\n            return false;\n",
       "        if (c->refs[i].hash == h && c->closed)\n            return false;\n",
       "test_dedupe")
mutant("many_follows_when_expected", "runtime/batch.h",
       " || c->expect != 0 || c->line != NULL ||",
       " || c->line != NULL ||",
       "test_many_waits")
mutant("miss_of_a_reader_believed", "typed/cache.h",
       "    if (quick && st == DLOAD_MISSING)",
       "    if (quick && st != DLOAD_EBUSY)",
       "test_results:PTHREAD")
mutant("many_not_nudged", "runtime/run.h",
       "            woken = dload_i_nudge_sleeper(c, b->flights[i].many->parker, but);\n",
       "            woken = false;\n",
       "test_leader:PTHREAD")
mutant("cancelled_key_still_sent", "runtime/batch.h",
       "    f->dead = 1;\n"
       "    b->n_dead++;",
       "    return;",
       "test_reentry")
mutant("compact_forgets_waiters", "runtime/batch.h",
       "                w->place = to;",
       "                (void)w;",
       "test_drivers")
mutant("late_answer_counts", "runtime/run.h",
       "    b->state = DLOAD_I_LOST; /* mutant",
       "    b->state = DLOAD_I_RUNNING; /* mutant",
       "test_results")
mutant("callback_under_the_lock", "runtime/run.h",
       "    for (dload_i_waiter *w = ready->head; w != NULL;) {\n"
       "        dload_i_waiter *next = w->next;\n"
       "        c->ops->call(w);",
       "    for (dload_i_waiter *w = ready->head; w != NULL;) {\n"
       "        dload_i_waiter *next = w->next;\n"
       "        dload_i_core_lock(c);\n"
       "        c->ops->call(w);\n"
       "        dload_i_core_unlock(c);",
       "test_reentry:SPIN")
mutant("deadlock_not_seen", "typed/load.h",
       "            return DLOAD_EDEADLK;",
       "            return DLOAD_EAGAIN;",
       "test_reentry")
mutant("queue_limit_ignored", "runtime/batch.h",
       "    if (c->n_flights >= c->max_queue)\n"
       "        return DLOAD_EAGAIN;\n",
       "",
       "test_kept")
mutant("look_again_left_out", "typed/load.h",
       "        if (hit != DLOAD_PENDING)\n"
       "            return hit;",
       "        (void)hit;",
       "test_single_flight:PTHREAD")

# ---- ownership and memory ----
mutant("blob_release_forgets", "runtime/blob.h",
       "DLOAD_I_SUB(&head->refs, 1u) == 0",
       "DLOAD_I_SUB(&head->refs, 1u) == 1",
       "test_values_copied")
mutant("evicted_value_leaks", "typed/store.h",
       "    item->garbage = DLOAD_I_FN(i_vacate)(s, slot, hash, why, &item->old);",
       "    (void)DLOAD_I_FN(i_vacate)(s, slot, hash, why, &item->old);",
       "test_values")
mutant("replaced_value_leaks", "typed/store.h",
       "        item->garbage = true;\n"
       "    }\n",
       "    }\n",
       "test_values")
mutant("refused_value_leaks", "typed/cache.h",
       "        DLOAD_I_FN(i_reject)(c, s, item);",
       "        (void)0;",
       "test_oom")
mutant("moved_value_leaks", "typed/answer.h",
       "        DLOAD_I_FN(i_release)(&unwanted);",
       "        (void)unwanted;",
       "test_values")
mutant("oom_arena_not_undone", "typed/store.h",
       "        dload_i_arena_drop(&s->arena, bytes, item->id.key.len);\n",
       "",
       "test_cache")
mutant("oom_shards_leak", "typed/shards.h",
       "            (void)DLOAD_I_FN(cache_destroy)(c);\n"
       "            return st;",
       "            return st;",
       "test_oom:SPIN")

# ---- counters ----
mutant("hits_not_counted", "typed/params.h",
       "((void)(s)->hits++)",
       "((void)(s))",
       "test_stats")
mutant("trigger_counted_as_size", "runtime/run.h",
       "    c->stats.by_trigger[b->why]++;",
       "    c->stats.by_trigger[DLOAD_BY_SIZE]++;",
       "test_stats")

# ---- threads that end, processes that fork ----
mutant("cancelled_stays_in_flight", "runtime/drive.h",
       "        if (w->batch != NULL)\n            dload_i_unwait(c, w, DLOAD_ECANCELED);\n        if (p->pooled)",
       "        if (p->pooled)",
       "test_cancel:PTHREAD")
mutant("cancelled_during_fetch", "runtime/run.h",
       "    int before = c->sync->hold();",
       "    int before = PTHREAD_CANCEL_ENABLE;\n    c->sync->unhold(before);",
       "test_cancel:PTHREAD")
mutant("fork_not_seen", "runtime/fork.h",
       "    DLOAD_I_STORE_RELAXED(&dload_i_fork_epoch, dload_i_fork_epoch + 1);",
       "    (void)dload_i_fork_epoch;",
       "test_fork:PTHREAD")

# ---- circles of fetch functions ----
mutant("nested_wait_not_written_down", "runtime/nest.h",
       "    current->nested = p;\n    bool circle",
       "    bool circle",
       "test_nest:PTHREAD")
mutant("circle_not_closed", "runtime/nest.h",
       "    *circle = *circle || own;",
       "    (void)own;",
       "test_nest:PTHREAD")

# ---- who sends: twins of the model's mutants (tests/models/run.py names them) ----
mutant("deadline_keeps_lead", "runtime/drive.h",
       "    dload_i_nudge(c, p); /* the lead, if it was ours, passes on: mutant NO_HANDOFF */\n",
       "",
       "test_leader:PTHREAD")
mutant("sender_keeps_lead", "runtime/drive.h",
       "            dload_i_nudge(c, p);\n"
       "            (void)dload_i_run(c, b);",
       "            (void)dload_i_run(c, b);",
       "test_leader:PTHREAD")
mutant("dead_leader_stays", "runtime/drive.h",
       "            led->leader = NULL;\n"
       "            led->timed = 0;\n",
       "            (void)0;\n",
       "test_leader:PTHREAD")
mutant("enqueue_wakes_nobody", "runtime/batch.h",
       "        dload_i_wake(c, b->leader); /* it need not linger any more: mutant FULL_NO_WAKE */",
       "        (void)0;",
       "test_leader:PTHREAD")
mutant("custom_max_in_flight_unbounded", "typed/control.h",
       "    c->bounded = DLOAD_I_THREADED;\n",
       "    c->bounded = DLOAD_I_SHARDED;\n",
       "test_custom")
mutant("custom_lingers_alone", "typed/control.h",
       "    c->threaded = c->env->wait != NULL;\n",
       "    c->threaded = true;\n",
       "test_custom")
mutant("custom_waits_inside", "typed/custom.h",
       "NULL, NULL, DLOAD_I_FN(i_custom_lock), DLOAD_I_FN(i_custom_unlock), NULL, NULL, NULL, NULL};",
       "NULL, NULL, dload_i_none_lock, dload_i_none_lock, NULL, NULL, NULL, NULL};",
       "test_leader:CUSTOM")
mutant("custom_hit_without_section", "typed/cache.h",
       "#elif DLOAD_I_THREADED\n",
       "#elif DLOAD_I_SHARDED\n",
       "test_custom")
mutant("finish_wakes_nobody", "runtime/run.h",
       "    dload_i_nudge(c, NULL); /* mutant FINISH_NO_NUDGE */\n",
       "",
       "test_leader:PTHREAD")
mutant("abandon_wakes_nobody", "runtime/run.h",
       "    dload_i_nudge(c, NULL); /* mutant ABANDON_NO_NUDGE */\n",
       "",
       "test_leader:PTHREAD")
mutant("nested_takes_a_place", "runtime/drive.h",
       "    return dload_i_has_place(c) || dload_i_runs_here(c);",
       "    return dload_i_has_place(c);",
       "test_leader:PTHREAD")
mutant("answer_wakes_nobody", "runtime/run.h",
       "    if (c->sync->pay == NULL || c->env->wait != NULL) {\n"
       "        dload_i_wake(c, p);\n",
       "    if (c->sync->pay == NULL || c->env->wait != NULL) {\n",
       "test_leader:PTHREAD")
mutant("token_taken_late", "runtime/run.h",
       "    b->ended_ns = dload_i_now(c->env);\n"
       "    if (status == DLOAD_PENDING && !b->done) {",
       "    b->ended_ns = dload_i_now(c->env);\n"
       "    b->token = c->clear_seq;\n"
       "    if (status == DLOAD_PENDING && !b->done) {",
       "test_leader:PTHREAD")

# ---- who sends, who is woken ----
mutant("dead_batch_stays_queued", "runtime/batch.h",
       "        (void)dload_i_queue_pop(c, before);\n"
       "    }\n"
       "    dload_i_batch_give(c, b);",
       "        (void)before;\n"
       "        return;\n"
       "    }\n"
       "    dload_i_batch_give(c, b);",
       "test_leader:PTHREAD")
mutant("wakes_who_is_awake", "runtime/run.h",
       "    if (p == NULL || p == but || !p->asleep || !(",
       "    if (p == NULL || p == but || !(",
       "test_leader:PTHREAD")
mutant("wakes_at_the_head_only", "runtime/run.h",
       "    for (dload_i_batch *b = c->queue; b != NULL; b = b->next) {\n"
       "        if (dload_i_nudge_one(c, b, but))\n"
       "            return;",
       "    for (dload_i_batch *b = c->queue; b != NULL; b = b->next) {\n"
       "        (void)dload_i_nudge_one(c, b, but);\n"
       "        return;",
       "test_leader:PTHREAD")
mutant("takes_before_abandoning", "runtime/drive.h",
       "        dload_i_abandon_overdue(c, now_ns); /* its place may be ours: mutant TAKE_BEFORE_ABANDON */\n"
       "        if (p->pending == 0)\n"
       "            break;\n"
       "        p->inside = dload_i_runs_here(c);\n"
       "        dload_i_batch *b = dload_i_take_due(c, p, now_ns);\n",
       "        p->inside = dload_i_runs_here(c);\n"
       "        dload_i_batch *b = dload_i_take_due(c, p, now_ns);\n"
       "        if (b == NULL)\n"
       "            dload_i_abandon_overdue(c, now_ns);\n"
       "        if (p->pending == 0)\n"
       "            break;\n",
       "test_leader:PTHREAD")
mutant("nested_load_follows", "runtime/drive.h",
       "    if (other_leads && (place || b->leader->inside || !may_send))\n",
       "    if (other_leads)\n",
       "test_leader:PTHREAD")
mutant("follower_without_limit", "runtime/drive.h",
       "    uint64_t until_ns = dload_i_add_ns(dload_i_add_ns(dload_i_now(c->env), c->run_limit_ns), 1);",
       "    uint64_t until_ns = DLOAD_NEVER;",
       "test_leader:PTHREAD")
mutant("batch_given_while_used", "runtime/run.h",
       "    if (b->n_users != 0)\n        b->unwanted = 1;\n    else\n        dload_i_batch_give(c, b);",
       "    dload_i_batch_give(c, b);",
       "test_recycle:SPIN")

# ---- histories ----
mutant("cleared_flight_stored", "runtime/run.h",
       "    if (f->detached || b->token < c->clear_all_seq)",
       "    if (b->token < c->clear_all_seq)",
       "test_history:PTHREAD")
mutant("put_if_trusts_every_token", "typed/outside.h",
       "    if (token != NULL && DLOAD_I_FN(i_cleared_since)(l, &item.id, *token)) {",
       "    if (token != NULL && DLOAD_I_FN(i_cleared_since)(l, &item.id, l->core.clear_seq)) {",
       "test_history:SPIN")
mutant("joined_after_one_clear_all", "runtime/flight.h",
       "    return b->state < DLOAD_I_RUNNING || b->token >= c->clear_all_seq;",
       "    return b->state < DLOAD_I_RUNNING || b->token + 1 >= c->clear_all_seq;",
       "test_history:PTHREAD")
mutant("token_taken_after_the_fetch", "runtime/run.h",
       "    DLOAD_I_STORE_RELEASE(&b->in_fetch, (uint8_t)0);\n",
       "    DLOAD_I_STORE_RELEASE(&b->in_fetch, (uint8_t)0);\n"
       "    b->token = c->clear_seq;\n",
       "test_history:PTHREAD")
mutant("extra_key_undoes_clear", "typed/answer.h",
       "    if (DLOAD_I_FN(i_cleared_since)(l, &item.id, b->base.token))",
       "    if (DLOAD_I_FN(i_cleared_since)(l, &item.id, l->core.clear_seq))",
       "test_history:PTHREAD")
mutant("late_extra_key_stored", "typed/answer.h",
       "    uint32_t place = b->base.state == DLOAD_I_LOST ? 0 :"
       " DLOAD_I_FN(i_place_of)(b, &item.id);\n"
       "    if (b->base.state == DLOAD_I_LOST || place < b->base.n) {",
       "    uint32_t place = DLOAD_I_FN(i_place_of)(b, &item.id);\n"
       "    if (place < b->base.n) {",
       "test_history:PTHREAD")
mutant("abandoned_answers_stored", "runtime/run.h",
       "    if (b->state != DLOAD_I_RUNNING)\n"
       "        return; /* never sent",
       "    if (b->state < DLOAD_I_RUNNING)\n"
       "        return; /* never sent",
       "test_history:SPIN")
mutant("running_flight_not_joined", "runtime/flight.h",
       "    return b->state < DLOAD_I_RUNNING || b->token >= c->clear_all_seq;",
       "    return b->state < DLOAD_I_RUNNING;",
       "test_history:PTHREAD")
mutant("look_again_for_many_only", "typed/load.h",
       "    if (!looked && (flags & DLOAD_FRESH) == 0) {",
       "    if (looked && (flags & DLOAD_FRESH) == 0) {",
       "test_history:PTHREAD")
mutant("fresh_joins_what_runs", "typed/load.h",
       "(flags & DLOAD_FRESH) != 0 && ref->batch->state >= DLOAD_I_RUNNING) {",
       "(flags & DLOAD_FRESH) != 0 && ref->batch->state > DLOAD_I_RUNNING) {",
       "test_history:PTHREAD")
mutant("prime_leaves_the_flight", "typed/outside.h",
       "        DLOAD_I_FN(i_outdate)(l, &item.id);\n"
       "        st =",
       "        dload_i_note_clear(&l->core, item.id.hash);\n"
       "        st =",
       "test_history:PTHREAD")
mutant("dropped_before_outdated", "typed/outside.h",
       "    DLOAD_I_ACQUIRE(&l->mutex);\n"
       "    DLOAD_I_FN(i_outdate)(l, &id);\n"
       "    bool has_old = DLOAD_I_FN(i_drop)(&l->cache, &id, &old);\n"
       "#if DLOAD_STORE\n",
       "    bool has_old = DLOAD_I_FN(i_drop)(&l->cache, &id, &old);\n"
       "    DLOAD_I_ACQUIRE(&l->mutex);\n"
       "    DLOAD_I_FN(i_outdate)(l, &id);\n"
       "#if DLOAD_STORE\n",
       "test_history:PTHREAD")
mutant("cancelled_too_late", "typed/load.h",
       "    dload_status st = DLOAD_EBUSY;\n"
       "    DLOAD_I_ACQUIRE(&l->mutex);\n"
       "    if (w->base.batch != NULL) {",
       "    dload_status st = DLOAD_OK;\n"
       "    DLOAD_I_ACQUIRE(&l->mutex);\n"
       "    if (w->base.batch != NULL) {",
       "test_history:PTHREAD")
mutant("deadline_not_seen", "runtime/drive.h",
       "        if (now_ns >= deadline_ns)\n"
       "            return DLOAD_ETIMEDOUT;\n"
       "        dload_i_abandon_overdue(c, now_ns); /* its",
       "        dload_i_abandon_overdue(c, now_ns); /* its",
       "test_history:PTHREAD")
mutant("group_cleared_in_cache_only", "typed/outside.h",
       "    dload_i_outdate_group(&l->core, group);",
       "    (void)group;",
       "test_history_groups:PTHREAD")
mutant("group_clear_leaves_tokens", "runtime/flight.h",
       "    dload_i_note_clear(c, dload_i_mark(c, group));\n",
       "",
       "test_history_groups:PTHREAD")

# ---- groups ----
mutant("group_not_compared", "typed/table.h",
       "    if (e->group != id->group)\n"
       "        return false;\n",
       "",
       "test_groups")
mutant("flight_of_any_group", "typed/load.h",
       "        if (ref->place == DLOAD_I_OPEN_PLACE || ref->batch->group != id->group)\n",
       "        if (ref->place == DLOAD_I_OPEN_PLACE)\n",
       "test_groups")
mutant("one_open_batch", "runtime/batch.h",
       "    if (!c->grouped || c->open == NULL || c->open->group == group)\n",
       "    if (!c->grouped || c->open == NULL || true)\n",
       "test_groups")
mutant("open_batch_at_the_head_only", "runtime/batch.h",
       "        if (c->refs[i].place == DLOAD_I_OPEN_PLACE && c->refs[i].batch->group == group)\n"
       "            return c->refs[i].batch;",
       "        (void)hash;",
       "test_groups")
mutant("open_batch_by_its_mark", "runtime/batch.h",
       "        if (c->refs[i].place == DLOAD_I_OPEN_PLACE && c->refs[i].batch->group == group)\n",
       "        if (c->refs[i].place == DLOAD_I_OPEN_PLACE && c->refs[i].hash == hash)\n",
       "test_groups")
mutant("group_clear_not_detaching", "runtime/flight.h",
       "                dload_i_detach(c, dload_i_ref_of(c, b, i));\n",
       "                (void)i;\n",
       "test_groups_clear")
mutant("group_clear_detaches_all", "runtime/flight.h",
       "i < b->n && b->group == group; i++) {",
       "i < b->n; i++) {",
       "test_groups_clear")
mutant("group_clear_not_noted", "runtime/flight.h",
       "    dload_i_note_clear(c, dload_i_mark(c, group));\n",
       "",
       "test_groups_clear")
mutant("group_clear_of_every_group", "typed/cache.h",
       "        return e->group == group;\n",
       "        return group == group;\n",
       "test_groups_clear")
mutant("prefix_clear_of_shorter_keys", "typed/cache.h",
       "    return e->key.len >= prefix->len &&",
       "    return prefix->len >= prefix->len &&",
       "test_store_memory")
mutant("prefix_clear_of_every_key", "typed/cache.h",
       "(prefix->len == 0 || memcmp(e->key.ptr, prefix->ptr, prefix->len) == 0);",
       "(prefix->len == 0 || memcmp(prefix->ptr, prefix->ptr, prefix->len) == 0);",
       "test_store_memory")
mutant("group_clear_while_it_grows", "typed/cache.h",
       "                at = 0; /* it grew, and entries moved */",
       "                (void)0;",
       "test_groups_clear")
mutant("group_clear_stops_early", "typed/cache.h",
       "            more = at < n_groups * DLOAD_I_GROUP_SLOTS;\n",
       "            more = false;\n",
       "test_groups_clear")
mutant("put_beside_in_group_0", "typed/answer.h",
       "    item.id = DLOAD_I_FN(i_id)(&l->cache, key, b->base.group);\n",
       "    item.id = DLOAD_I_FN(i_id)(&l->cache, key, 0);\n",
       "test_groups")
mutant("stored_in_group_0", "typed/ops.h",
       "    item.id.group = base->group;\n",
       "    item.id.group = 0;\n",
       "test_groups")
mutant("group_of_slot_not_set", "typed/store.h",
       "    DLOAD_I_STORE_RELEASE(&e->group, id->group);\n",
       "    DLOAD_I_STORE_RELEASE(&e->group, 0);\n",
       "test_groups")
mutant("token_of_key_only", "typed/answer.h",
       "    if (dload_i_cleared_since(&l->core, dload_i_mark(&l->core, id->group), token))\n"
       "        return true;\n",
       "",
       "test_groups_clear")
mutant("open_ref_stays", "runtime/batch.h",
       "    if (c->grouped)\n"
       "        dload_i_ref_remove(c, dload_i_ref_of(c, b, DLOAD_I_OPEN_PLACE));\n",
       "",
       "test_groups")
mutant("group_refused_nowhere", "typed/load.h",
       "    return DLOAD_GROUP || call == NULL || call->group == 0;",
       "    return true;\n    (void)call;",
       "test_groups")
mutant("expect_counts_the_left", "runtime/batch.h",
       "    c->n_open_keys -= b->state == DLOAD_I_OPEN;\n",
       "",
       "test_groups")
mutant("load_many_in_group_0", "typed/load_many.h",
       "    many.group = call != NULL ? call->group : 0;",
       "    many.group = 0;",
       "test_groups")

# ---- room ----
mutant("room_wakes_nobody", "runtime/batch.h",
       "    if (was_full && c->line != NULL)\n",
       "    if (was_full && c->line == NULL && c->closed)\n",
       "test_room:PTHREAD")
mutant("room_not_passed_on", "runtime/batch.h",
       "    if (c->line != NULL && c->n_flights < c->max_queue)\n"
       "        dload_i_wake(c, c->line); /* mutant LINE_NO_NEXT */\n",
       "",
       "test_room:PTHREAD")
mutant("line_is_a_stack", "runtime/batch.h",
       "    p->next_in_line = NULL;\n"
       "    *(c->line == NULL ? &c->line : &c->line_tail->next_in_line) = p;\n"
       "    c->line_tail = p;",
       "    p->next_in_line = c->line;\n"
       "    c->line = p;",
       "test_room:PTHREAD")
mutant("line_is_overtaken", "runtime/drive.h",
       "    while (st >= 0 && !c->closed && (c->line != p || c->n_flights >= c->max_queue)) {",
       "    while (st >= 0 && !c->closed && c->n_flights >= c->max_queue) {",
       "test_room:PTHREAD")
mutant("line_tail_dangles", "runtime/batch.h",
       "    if (c->line_tail == p)\n"
       "        c->line_tail = before;\n",
       "",
       "test_room:PTHREAD")
mutant("line_not_looking", "runtime/drive.h",
       "        uint64_t look_ns = dload_i_next_look(c);\n"
       "        st = dload_i_rest(c, p, look_ns < deadline_ns ? look_ns : deadline_ns);\n"
       "    }\n"
       "    dload_i_uncount(c, p);",
       "        st = dload_i_rest(c, p, deadline_ns);\n"
       "    }\n"
       "    dload_i_uncount(c, p);",
       "test_room:PTHREAD")
mutant("line_without_deadline", "runtime/drive.h",
       "        if (now_ns >= deadline_ns) {\n"
       "            st = DLOAD_ETIMEDOUT;\n"
       "            break;\n"
       "        }\n"
       "        dload_i_abandon_overdue(c, now_ns);\n"
       "        if ((c->line == p",
       "        dload_i_abandon_overdue(c, now_ns);\n"
       "        if ((c->line == p",
       "test_room:PTHREAD")
mutant("close_forgets_the_line", "runtime/drive.h",
       "    for (dload_i_parker *q = c->line; q != NULL; q = q->next_in_line)\n"
       "        dload_i_wake(c, q);\n",
       "",
       "test_room:PTHREAD")
mutant("nested_waits_for_room", "runtime/drive.h",
       "    if (!c->queue_wait || dload_i_nested(c))",
       "    if (!c->queue_wait)",
       "test_room:PTHREAD")
mutant("waits_for_room_unasked", "runtime/drive.h",
       "    if (!c->queue_wait || dload_i_nested(c))",
       "    if (dload_i_nested(c))",
       "test_room:PTHREAD")
mutant("line_of_the_cancelled", "runtime/drive.h",
       "    dload_i_line_leave(c, p);\n"
       "    dload_i_pace_leave(c, p);",
       "    dload_i_pace_leave(c, p);",
       "test_room_threads:PTHREAD")
mutant("room_without_dispatch", "runtime/drive.h",
       "        (void)dload_i_dispatch(c, DLOAD_BY_IDLE); /* nobody else makes room */",
       "        (void)0;",
       "test_room_alone")
mutant("room_again_not_asked", "typed/load_many.h",
       "        st = waited < 0 ? waited : DLOAD_I_FN(i_ask_one)(m, id, position, out, false);\n",
       "        st = waited < 0 ? waited : DLOAD_EAGAIN;\n",
       "test_room_alone")

# ---- pace ----
mutant("pace_lone_caller_lingers", "runtime/pace.h",
       "    if (c->company == 0 && b->n_calls <= 1 && c->expect == 0)\n"
       "        return 0; /* no hope of more */\n",
       "",
       "test_pace:PTHREAD")
mutant("pace_crowd_ignored", "runtime/pace.h",
       "    if (c->n_callers >= c->crowd) {",
       "    if (c->n_callers > c->crowd + 64) {",
       "test_pace:PTHREAD")
mutant("pace_crowd_for_ever", "runtime/pace.h",
       "        c->crowd -= (c->crowd - c->peak + 3) / 4;",
       "        c->crowd -= 0;",
       "test_pace:PTHREAD")
mutant("pace_hope_for_ever", "runtime/pace.h",
       "        c->company -= c->company > 0;",
       "        c->company -= 0;",
       "test_pace:PTHREAD")
mutant("pace_vain_not_noticed", "runtime/pace.h",
       "b->n_calls <= 1 || (found && b->lingered && b->n_calls <= b->n_calls_before);",
       "b->n_calls <= 1;",
       "test_pace:PTHREAD")
mutant("pace_not_capped", "runtime/pace.h",
       "    if (part_ns > DLOAD_I_LINGER_MAX_NS)\n"
       "        part_ns = DLOAD_I_LINGER_MAX_NS;\n",
       "",
       "test_pace:PTHREAD")
mutant("pace_short_fetches_too", "runtime/pace.h",
       "    if (part_ns < DLOAD_I_LINGER_MIN_NS)\n"
       "        return 0;\n",
       "",
       "test_pace:PTHREAD")
mutant("pace_awaits_for_ever", "runtime/pace.h",
       "        if (end_ns < from_ns &&\n"
       "            dload_i_waited(left_ns, b->n_calls) < dload_i_waited(c->fetch_ns - left_ns, r->n_calls))\n",
       "        if (end_ns < from_ns)\n",
       "test_pace:PTHREAD")
mutant("pace_awaits_nobody", "runtime/pace.h",
       "        from_ns = dload_i_worth_awaiting(c, b);\n",
       "        from_ns = DLOAD_NEVER;\n",
       "test_pace:PTHREAD")
mutant("pace_keeps_lingering", "runtime/pace.h",
       "    return due_ns < from_ns + 2 * part_ns ? due_ns : from_ns + 2 * part_ns;",
       "    return due_ns;",
       "test_pace:PTHREAD")
mutant("pace_the_gone_count", "runtime/pace.h",
       "    c->n_callers -= p->waits;\n",
       "",
       "test_pace:PTHREAD")
mutant("pace_settle_not_obeyed", "runtime/pace.h",
       "    if (c->settle_ns != 0)\n"
       "        return dload_i_settled_at(c, b, why);\n"
       "    if (c->expect",
       "    if (c->expect",
       "test_pace:PTHREAD")

# ---- crews ----
mutant("crew_counted_too_long", "runtime/run.h",
       "    dload_i_uncount(c, p);\n"
       "    dload_i_pace_leave(c, p);\n"
       "    if (!p->asleep)",
       "    dload_i_pace_leave(c, p);\n"
       "    if (!p->asleep)",
       "test_crew_threads:PTHREAD")
mutant("crew_last_sleeps", "runtime/crew.h",
       "    if (!dload_i_crew_idle(DLOAD_I_ADD_ORDERED(&r->crew, 1u)))\n"
       "        return false;\n",
       "    DLOAD_I_ADD_ORDERED(&r->crew, 1u);\n"
       "    if (true)\n"
       "        return false;\n",
       "test_crew:PTHREAD")
mutant("crew_one_is_enough", "runtime/crew.h",
       "    return crew >> 16 == (crew & 0xffff);",
       "    return (crew & 0xffff) > 1 || crew >> 16 == (crew & 0xffff);",
       "test_crew:PTHREAD")
mutant("crew_leaver_sends_nothing", "runtime/crew.h",
       "        if (crew == 0 || !dload_i_crew_idle(crew))\n",
       "        if (true)\n",
       "test_crew:PTHREAD")
mutant("crew_leaver_stays", "runtime/crew.h",
       "        uint32_t crew = DLOAD_I_SUB_ORDERED(&r->crew, DLOAD_I_CREW_ONE);\n",
       "        uint32_t crew = DLOAD_I_SUB_ORDERED(&r->crew, 0u);\n",
       "test_crew:PTHREAD")
mutant("crew_callbacks_forgotten", "runtime/crew.h",
       "            (void)dload_i_run(c, dload_i_queue_pop(c, before));\n"
       "            before = NULL; /* the queue may be another one now */\n"
       "            b = c->queue;",
       "            before = b;\n"
       "            b = b->next;",
       "test_crew_beside:PTHREAD")
mutant("crew_nested_counts", "runtime/crew.h",
       "    p->in_crew = c->threaded && c->registry != NULL && dload_i_crew_mine == c->registry &&\n"
       "                 !dload_i_nested(c);",
       "    p->in_crew = c->threaded && c->registry != NULL && dload_i_crew_mine == c->registry;",
       "test_crew_beside:PTHREAD")
mutant("crew_of_any_registry", "runtime/crew.h",
       "dload_i_crew_mine == c->registry &&\n",
       "dload_i_crew_mine != NULL &&\n",
       "test_crew_beside:PTHREAD")
mutant("crew_without_age", "runtime/pace.h",
       "        return c->max_age_ns == 0 ? DLOAD_NEVER : dload_i_add_ns(b->opened_ns, c->max_age_ns);",
       "        return DLOAD_NEVER;",
       "test_crew:PTHREAD")
mutant("crew_cancelled_stays", "runtime/drive.h",
       "    dload_i_crew_desert(c, p);\n",
       "",
       "test_crew_threads:PTHREAD")
mutant("crew_line_is_awake", "runtime/drive.h",
       "    dload_i_crew_enter(c, p);\n"
       "    dload_i_line_enter(c, p);\n",
       "    dload_i_line_enter(c, p);\n",
       "test_crew_beside:PTHREAD")
mutant("crew_joins_twice", "runtime/crew.h",
       "    if (r == NULL || dload_i_crew_mine != NULL)\n"
       "        return r == NULL ? DLOAD_EINVAL : DLOAD_EBUSY;\n",
       "",
       "test_crew:PTHREAD")
mutant("crew_follows_the_crew", "runtime/drive.h",
       "b->leader != p && (p->in_crew || !b->leader->in_crew);",
       "b->leader != p;",
       "test_crew_beside:PTHREAD")
mutant("crew_woken_are_counted", "runtime/batch.h",
       "    dload_i_uncount(c, p);\n",
       "",
       "test_crew:PTHREAD", "test_crew_threads:PTHREAD")
mutant("crew_sends_what_comes", "runtime/crew.h",
       "            if (b->goes)\n",
       "            if (true)\n",
       "test_crew_threads:PTHREAD")

# ---- wake-ups without the mutex: the twins of tests/models/wakeup.pml ----
mutant("wakeup_chain_taken_late", "runtime/batch.h",
       "    dload_i_parker *p = c->owed;\n"
       "    c->owed = NULL;\n"
       "    c->sync->unlock(c->mutex);\n",
       "    dload_i_parker *p = c->owed;\n"
       "    c->sync->unlock(c->mutex);\n"
       "    c->owed = NULL;\n",
       "test_wakeup:PTHREAD")
mutant("wakeup_next_after_pay", "runtime/batch.h",
       "        dload_i_parker *next = p->next_owed;\n"
       "        c->sync->pay(p); /* p may be gone */\n",
       "        c->sync->pay(p);\n"
       "        (void)sched_yield();\n"
       "        dload_i_parker *next = p->next_owed;\n",
       "test_wakeup:PTHREAD")
mutant("wakeup_no_collect", "runtime/drive.h",
       "        c->sync->collect(p); /* mutant NO_COLLECT */\n",
       "        (void)0;\n",
       "test_wakeup:PTHREAD")
mutant("wakeup_cancelled_no_collect", "runtime/lock_pthread.h",
       "    dload_i_pthread_collect(p); /* mutant CANCELLED_NO_COLLECT */\n",
       "",
       "test_wakeup:PTHREAD")
mutant("wakeup_collect_without_bed", "runtime/lock_pthread.h",
       "        (void)pthread_mutex_lock(&bed->mutex);\n"
       "        owed = p->owed;\n"
       "        (void)pthread_mutex_unlock(&bed->mutex);\n",
       "        (void)bed;\n"
       "        owed = __atomic_load_n(&p->owed, __ATOMIC_ACQUIRE);\n",
       "test_wakeup:PTHREAD")
mutant("wakeup_seen_late", "runtime/lock_pthread.h",
       "    dload_i_nap_ctx nap = {p, mutex};\n"
       "    dload_i_pthread_unlock(mutex);\n",
       "    dload_i_nap_ctx nap = {p, mutex};\n"
       "    dload_i_pthread_unlock(mutex);\n"
       "    seen = DLOAD_I_LOAD_ACQUIRE(&p->n_notes);\n",
       "test_wakeup:PTHREAD")
mutant("wakeup_signal_first", "runtime/lock_pthread.h",
       "    (void)pthread_mutex_lock(&bed->mutex);\n"
       "    DLOAD_I_STORE_RELEASE(&p->n_notes, p->n_notes + 1);\n"
       "    p->owed = p->owed && !pays;\n"
       "    (void)pthread_cond_signal(&bed->cond);\n"
       "    (void)pthread_mutex_unlock(&bed->mutex);",
       "    (void)pthread_cond_signal(&bed->cond);\n"
       "    (void)pthread_mutex_lock(&bed->mutex);\n"
       "    DLOAD_I_STORE_RELEASE(&p->n_notes, p->n_notes + 1);\n"
       "    p->owed = p->owed && !pays;\n"
       "    (void)pthread_mutex_unlock(&bed->mutex);",
       "test_wakeup:PTHREAD")
mutant("wakeup_note_without_bed", "runtime/lock_pthread.h",
       "    (void)pthread_mutex_lock(&bed->mutex);\n"
       "    DLOAD_I_STORE_RELEASE(&p->n_notes, p->n_notes + 1);\n"
       "    p->owed = p->owed && !pays;\n"
       "    (void)pthread_cond_signal(&bed->cond);\n"
       "    (void)pthread_mutex_unlock(&bed->mutex);",
       "    DLOAD_I_STORE_RELEASE(&p->n_notes, p->n_notes + 1);\n"
       "    (void)pthread_cond_signal(&bed->cond);\n"
       "    __atomic_store_n(&p->owed, p->owed && !pays, __ATOMIC_RELEASE);\n",
       "test_wakeup:PTHREAD")

# ---- hits without the lock ----
mutant("tag_before_open", "runtime/group.h",
       "    dload_i_group_open(g);\n"
       "    DLOAD_I_STORE_RELEASE(&g->tags[i], dload_i_tag(hash));\n",
       "    DLOAD_I_STORE_RELEASE(&g->tags[i], dload_i_tag(hash));\n"
       "    dload_i_spin_yield(DLOAD_I_SPINS);\n"
       "    dload_i_group_open(g);\n",
       "test_read:SPIN")
mutant("odd_seq_read", "typed/read.h",
       "    if (DLOAD_I_UNLIKELY((seq & 1u) != 0))\n"
       "        return DLOAD_EBUSY; /* mutant ODD_SEQ_READ */\n",
       "",
       "test_read:SPIN")
mutant("seq_not_checked", "typed/read.h",
       "        if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&g->seq) != seq ||\n",
       "        if (DLOAD_I_UNLIKELY(seq == SIZE_MAX ||\n",
       "test_read:SPIN")
mutant("replaced_unseen", "typed/store.h",
       "        DLOAD_I_FN(i_reopen)(c, s, slot, item); /* mutant REPLACED_UNSEEN */\n",
       "        size_t seq = s->groups[slot / DLOAD_I_GROUP_SLOTS].seq;\n"
       "        DLOAD_I_FN(i_reopen)(c, s, slot, item);\n"
       "        DLOAD_I_STORE_RELEASE(&s->groups[slot / DLOAD_I_GROUP_SLOTS].seq, seq);\n"
       "        DLOAD_I_FN(i_fill)(c, s, slot, item);\n"
       "        return DLOAD_OK;\n",
       "test_read:SPIN")
mutant("uses_written_at_every_hit", "runtime/evict.h",
       "    if (DLOAD_I_UNLIKELY((seen & DLOAD_I_META_USES) < max))\n",
       "    if (max != 0)\n",
       "test_read:SPIN")
mutant("outgrown_freed", "typed/store.h",
       "    s->outgrown = (char *)s->block + s->block_bytes - sizeof last;\n"
       "    s->outgrown_bytes += s->block_bytes;\n"
       "    (void)env;\n",
       "    dload_i_free(env, s->block, s->block_bytes);\n",
       "test_read:SPIN")
mutant("out_written_early", "typed/read.h",
       "        dload_i_words_load(words, &e->u.value, sizeof(DLOAD_I_V), UNIT);\n",
       "        dload_i_words_load(words, &e->u.value, sizeof(DLOAD_I_V), UNIT);\n"
       "        dload_i_words_give(out, words, sizeof(DLOAD_I_V), UNIT);\n",
       "test_read:SPIN")
mutant("removed_unseen", "typed/remove.h",
       "    dload_i_group_open(g); /* mutant REMOVED_UNSEEN */\n"
       "    dload_i_give_slot(s->groups, s->n_groups, hash, slot);\n"
       "    dload_i_group_shut(g);\n",
       "    dload_i_give_slot(s->groups, s->n_groups, hash, slot);\n"
       "    (void)g;\n",
       "test_read:SPIN")

mutant("opened_late", "typed/store.h",
       "        DLOAD_I_FN(i_reopen)(c, s, slot, item); /* mutant REPLACED_UNSEEN */\n",
       "        size_t seq = s->groups[slot / DLOAD_I_GROUP_SLOTS].seq;\n"
       "        DLOAD_I_FN(i_reopen)(c, s, slot, item);\n"
       "        DLOAD_I_STORE_RELEASE(&s->groups[slot / DLOAD_I_GROUP_SLOTS].seq, seq);\n"
       "        if (item->status >= 0)\n"
       "            memcpy(&e->u.value, item->value, sizeof e->u.value / 2);\n"
       "        dload_i_spin_yield(DLOAD_I_SPINS);\n"
       "        DLOAD_I_FN(i_fill)(c, s, slot, item);\n"
       "        dload_i_group_open(&s->groups[slot / DLOAD_I_GROUP_SLOTS]);\n"
       "        dload_i_group_shut(&s->groups[slot / DLOAD_I_GROUP_SLOTS]);\n"
       "        return DLOAD_OK;\n",
       "test_read:SPIN")
mutant("shut_early", "typed/store.h",
       "        DLOAD_I_FN(i_reopen)(c, s, slot, item); /* mutant REPLACED_UNSEEN */\n",
       "        DLOAD_I_FN(i_reopen)(c, s, slot, item);\n"
       "        dload_i_group_shut(&s->groups[slot / DLOAD_I_GROUP_SLOTS]);\n"
       "        if (item->status >= 0)\n"
       "            memcpy(&e->u.value, item->value, sizeof e->u.value / 2);\n"
       "        dload_i_spin_yield(DLOAD_I_SPINS);\n"
       "        DLOAD_I_FN(i_fill)(c, s, slot, item);\n"
       "        return DLOAD_OK;\n",
       "test_read:SPIN")
mutant("taken_unseen", "typed/store.h",
       "    DLOAD_I_SLOT *e = &s->slots[at];\n"
       "    DLOAD_I_FN(i_write_key)(e, &item->id, bytes);\n"
       "    DLOAD_I_META_WRITE(e, s->epoch);\n",
       "    DLOAD_I_SLOT *e = &s->slots[at];\n"
       "    dload_i_group_shut(&s->groups[at / DLOAD_I_GROUP_SLOTS]);\n"
       "    DLOAD_I_FN(i_write_key)(e, &item->id, bytes);\n"
       "    DLOAD_I_META_WRITE(e, s->epoch);\n"
       "    dload_i_spin_yield(DLOAD_I_SPINS);\n"
       "    DLOAD_I_STORE_RELEASE(&s->groups[at / DLOAD_I_GROUP_SLOTS].seq,\n"
       "                          s->groups[at / DLOAD_I_GROUP_SLOTS].seq + 1);\n",
       "test_read:SPIN")
mutant("seq_read_late", "typed/read.h",
       "        dload_i_words_load(words, &e->u.value, sizeof(DLOAD_I_V), UNIT);\n",
       "        dload_i_words_load(words, &e->u.value, sizeof(DLOAD_I_V), UNIT);\n"
       "        seq = DLOAD_I_LOAD_ACQUIRE(&g->seq);\n",
       "test_read:SPIN")
mutant("words_read_late", "typed/read.h",
       "        dload_i_words_load(words, &e->u.value, sizeof(DLOAD_I_V), UNIT);\n"
       "        /* The same state from first to last, and of the table that is in use: mutant SEQ_NOT_CHECKED. */\n"
       "        if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&g->seq) != seq ||\n"
       "                             DLOAD_I_LOAD_RELAXED(&s->groups) != groups))\n"
       "            return DLOAD_EBUSY;\n",
       "        /* The same state from first to last, and of the table that is in use: mutant SEQ_NOT_CHECKED. */\n"
       "        if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&g->seq) != seq ||\n"
       "                             DLOAD_I_LOAD_RELAXED(&s->groups) != groups))\n"
       "            return DLOAD_EBUSY;\n"
       "        dload_i_spin_yield(DLOAD_I_SPINS);\n"
       "        dload_i_words_load(words, &e->u.value, sizeof(DLOAD_I_V), UNIT);\n",
       "test_read:SPIN")
mutant("key_read_late", "typed/read.h",
       "        if (DLOAD_I_UNLIKELY(!DLOAD_I_FN(i_reads_as)(e, id)))\n"
       "            continue;\n"
       "        uint32_t meta = DLOAD_I_LOAD_ACQUIRE(&e->meta);\n"
       "        if (DLOAD_I_UNLIKELY(!DLOAD_I_FN(i_surely_fresh)(c, s, e, meta)))\n"
       "            return DLOAD_PENDING;\n"
       "        dload_i_words_load(words, &e->u.value, sizeof(DLOAD_I_V), UNIT);\n"
       "        /* The same state from first to last, and of the table that is in use: mutant SEQ_NOT_CHECKED. */\n"
       "        if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&g->seq) != seq ||\n"
       "                             DLOAD_I_LOAD_RELAXED(&s->groups) != groups))\n"
       "            return DLOAD_EBUSY;\n",
       "        uint32_t meta = DLOAD_I_LOAD_ACQUIRE(&e->meta);\n"
       "        if (DLOAD_I_UNLIKELY(!DLOAD_I_FN(i_surely_fresh)(c, s, e, meta)))\n"
       "            return DLOAD_PENDING;\n"
       "        dload_i_words_load(words, &e->u.value, sizeof(DLOAD_I_V), UNIT);\n"
       "        /* The same state from first to last, and of the table that is in use: mutant SEQ_NOT_CHECKED. */\n"
       "        if (DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&g->seq) != seq ||\n"
       "                             DLOAD_I_LOAD_RELAXED(&s->groups) != groups))\n"
       "            return DLOAD_EBUSY;\n"
       "        dload_i_spin_yield(DLOAD_I_SPINS);\n"
       "        if (DLOAD_I_UNLIKELY(!DLOAD_I_FN(i_reads_as)(e, id)))\n"
       "            continue;\n",
       "test_read:SPIN")
mutant("tags_ignored", "typed/read.h",
       "dload_i_match m = dload_i_find_tag_shared(g, dload_i_tag(id->hash));",
       "dload_i_match m = UINT32_MAX;",
       "test_read:SPIN")
mutant("epoch_ignored", "typed/read.h",
       "    if (DLOAD_I_UNLIKELY(differs >= DLOAD_I_META_ERROR))\n"
       "        return false;\n",
       "    (void)differs;\n",
       "test_cache_model:SPIN", "test_read:SPIN")
mutant("groups_not_checked", "typed/read.h",
       " ||\n"
       "                             DLOAD_I_LOAD_RELAXED(&s->groups) != groups))",
       "))",
       "test_read:SPIN")
mutant("miss_not_confirmed", "typed/cache.h",
       "    return st == DLOAD_OK ? st : DLOAD_I_FN(i_look_locked)(c, &id, out);\n",
       "    return st != DLOAD_EBUSY ? st : DLOAD_I_FN(i_look_locked)(c, &id, out);\n",
       "test_cache_model:SPIN")
mutant("tries_for_ever", "typed/cache.h",
       "    for (uint32_t i = 0; i < DLOAD_I_READ_TRIES && st == DLOAD_EBUSY; i++) {\n"
       "        dload_i_pause();\n",
       "    for (; st == DLOAD_EBUSY;) {\n"
       "        dload_i_pause();\n",
       "test_read:SPIN")
mutant("uses_whole_word", "runtime/evict.h",
       "        DLOAD_I_STORE_RELAXED(dload_i_uses(meta), (uint8_t)((seen & DLOAD_I_META_USES) + 1));\n",
       "        DLOAD_I_STORE_RELAXED(meta, seen + 1);\n",
       "test_read:SPIN")
mutant("grown_backwards", "typed/store.h",
       "    DLOAD_I_STORE_RELEASE(&s->slots, wide->slots);\n"
       "    DLOAD_I_STORE_RELEASE(&s->groups, wide->groups);\n"
       "    DLOAD_I_STORE_RELEASE(&s->n_groups, wide->n_groups);\n",
       "    DLOAD_I_STORE_RELEASE(&s->n_groups, wide->n_groups);\n"
       "    dload_i_spin_yield(DLOAD_I_SPINS);\n"
       "    DLOAD_I_STORE_RELEASE(&s->groups, wide->groups);\n"
       "    dload_i_spin_yield(DLOAD_I_SPINS);\n"
       "    DLOAD_I_STORE_RELEASE(&s->slots, wide->slots);\n",
       "test_read:SPIN")
mutant("slots_not_zeroed", "typed/store.h",
       "    memset(slots, 0, n_slots * sizeof *slots);\n",
       "",
       "test_read:SPIN")

mutant("reason_among_uses", "runtime/evict.h",
       "#define DLOAD_I_META_REASON  12u",
       "#define DLOAD_I_META_REASON  0u",
       "test_weight_threads:SPIN")

# ---- large pages ----
mutant("large_pages_not_asked_for", "runtime/env.h",
       "    if (n_bytes >= 2 * DLOAD_I_LARGE_PAGE)\n",
       "    if (n_bytes >= 200 * DLOAD_I_LARGE_PAGE)\n",
       "test_pages")
mutant("large_pages_for_all", "runtime/env.h",
       "    if (n_bytes >= 2 * DLOAD_I_LARGE_PAGE)\n",
       "    if (n_bytes >= 2048)\n",
       "test_pages")
mutant("large_block_wraps", "runtime/env.h",
       "n_bytes > SIZE_MAX - last",
       "n_bytes == SIZE_MAX",
       "test_pages")

# ---- many keys at once ----
mutant("many_block_runs_over", "typed/many.h",
       "    size_t n_keys = n < DLOAD_I_MANY ? n : DLOAD_I_MANY;\n",
       "    size_t n_keys = n;\n",
       "test_many")
mutant("many_first_of_block_for_all", "typed/many.h",
       "DLOAD_I_FN(i_lookup)(c, &ids[at], &out[i], false);",
       "DLOAD_I_FN(i_lookup)(c, &ids[0], &out[i], false);",
       "test_many")
mutant("many_bad_key_looked_up", "typed/many.h",
       "            if (statuses[i] >= 0) {\n",
       "            if (true) {\n",
       "test_many")
mutant("many_bad_key_asked_for", "typed/load_many.h",
       "        if (st >= 0)\n"
       "            st = DLOAD_I_FN(i_ask_key)(m, &ids[at], i, &out[i]);\n",
       "        st = DLOAD_I_FN(i_ask_key)(m, &ids[at], i, &out[i]);\n",
       "test_many", "test_keys")

# ---- values past their TTL ----
mutant("stale_everybody_refreshes", "typed/refresh.h",
       "    if (ref == NULL)\n        return true;\n",
       "    if (ref == NULL || ref->batch->state == DLOAD_I_OPEN)\n        return true;\n",
       "test_stale")
mutant("stale_hangs_for_ever", "typed/refresh.h",
       "    dload_i_detach(c, ref);\n    return true;",
       "    return false;",
       "test_stale")
mutant("stale_call_has_two_answers", "typed/refresh.h",
       "ref == NULL || !DLOAD_I_FN(i_waits_itself)(ref, w->parker)",
       "ref == NULL || w != NULL",
       "test_stale")
mutant("stale_missing_kept", "typed/refresh.h",
       "(f->status >= 0 || f->status == DLOAD_MISSING)",
       "f->status >= 0",
       "test_stale", "test_stale_model")
mutant("stale_for_a_fresh_load", "runtime/run.h",
       "        if (f->kept != 0 && !w->source_only) {",
       "        if (f->kept != 0) {",
       "test_stale_errors")
mutant("stale_retry_at_once", "typed/refresh.h",
       "        e->retry = (uint32_t)tick + l->cache.retry_ticks;",
       "        e->retry = (uint32_t)tick;",
       "test_stale_errors")
mutant("stale_after_clear", "typed/refresh.h",
       "    return f->kept != 0;",
       "    return false;",
       "test_stale_errors")
mutant("stale_error_leaks", "typed/refresh.h",
       "            f->holds = DLOAD_I_FN(i_owe_value)(DLOAD_I_FN(i_batch)(base), i);",
       "            f->holds = 0;",
       "test_stale_errors")
mutant("stale_horizon_wraps", "typed/stale.h",
       "    if ((int32_t)(e->expiry - now) < 0)\n        DLOAD_I_STORE_RELEASE(&e->expiry, now);\n",
       "",
       "test_stale_errors")
mutant("stale_wrong_logarithm", "runtime/chance.h",
       "(zeros + 1) * 65536 - log2_f",
       "zeros * 65536 + log2_f",
       "test_stale_ahead")
mutant("idle_measured_from_an_old_read", "typed/stale.h",
       "    if (before < gone && before <= tick + c->idle_ticks)\n",
       "    if (before < gone && before <= tick + c->idle_ticks / 2)\n",
       "test_stale_ahead", "test_stale_model")
mutant("idle_lengthens_a_ttl", "typed/stale.h",
       "    return c->idle_ticks != 0 && idle < gone ? idle : gone;",
       "    return c->idle_ticks != 0 ? idle : gone;",
       "test_stale_ahead")
mutant("stale_error_window_ignored", "typed/refresh.h",
       "(age != DLOAD_I_AGE_NONE && tick - e->end < l->cache.error_ticks)",
       "age != DLOAD_I_AGE_NONE",
       "test_stale_errors", "test_stale_model")


# ---- snapshots ----
mutant("snapshot_body_unchecked", "runtime/snapshot.h",
       "    if (f.body_sum != dload_i_sum(0, s->buf + sizeof f, (size_t)f.n_bytes))",
       "    if (false)",
       "test_snapshot_damage")
mutant("snapshot_left_beside", "runtime/snapshot_file.h",
       "        (void)unlink(f->beside); /* before the lock goes: nobody else's */",
       "        (void)0;",
       "test_snapshot_crash")
mutant("snapshot_age_forgotten", "typed/restore.h",
       "    p.left_ns -= expires ? r->age_ns : 0;",
       "    (void)expires;",
       "test_snapshot_time")
mutant("snapshot_undoes_clear", "typed/restore.h",
       "!DLOAD_I_FN(i_cleared_since)(r->l, &item.id, 0) &&",
       "true &&",
       "test_snapshot_time")
mutant("snapshot_comes_back_newest", "runtime/worth.h",
       "        dload_i_list_put_back(e, slot);",
       "        dload_i_list_push(e, slot);",
       "test_snapshot_worth")


# ---- what weighs, what is pinned, and who is told what leaves ----
mutant("removed_expired_not_said", "typed/removed.h",
       "        return DLOAD_REMOVED_EXPIRED;",
       "        return reason;",
       "test_removed")
mutant("removed_answer_rejected_in_silence", "typed/owed.h",
       "        owed->todo = DLOAD_I_OWED_VALUE | DLOAD_I_OWED_REJECTED;",
       "        owed->todo = DLOAD_I_OWED_VALUE;",
       "test_removed")
mutant("removed_key_of_a_live_entry", "typed/store.h",
       "        DLOAD_I_FN(i_leave_key)(&item->old, item); /* the entry keeps its own */\n",
       "",
       "test_removed")
mutant("removed_key_given_back_early", "typed/remove.h",
       "    if (!(DLOAD_ON_REMOVE && leaves)) /* the hook reads them first */\n",
       "",
       "test_removed")
mutant("removed_after_destroy_in_silence", "typed/shards.h",
       "        DLOAD_I_FN(i_leave)(&s->slots[i], DLOAD_REMOVED_DESTROYED, &old);\n"
       "        DLOAD_I_FN(i_end)(c, s, &old);",
       "        DLOAD_I_FN(i_leave)(&s->slots[i], DLOAD_REMOVED_DESTROYED, &old);\n"
       "        DLOAD_I_FN(i_release)(&old.value);",
       "test_removed")
mutant("pinned_and_full_searches", "typed/store.h",
       "    if (s->evict.kind == DLOAD_EVICT_NONE || s->n_pinned == s->n_used)",
       "    if (s->evict.kind == DLOAD_EVICT_NONE)",
       "test_weight")
mutant("pin_lost_by_replacing", "typed/store.h",
       "    uint32_t keep = DLOAD_I_META_USES | DLOAD_I_META_MAIN | DLOAD_I_META_PINNED;",
       "    uint32_t keep = DLOAD_I_META_USES | DLOAD_I_META_MAIN;",
       "test_weight")
mutant("weight_zero_not_pinned", "typed/weight.h",
       "pin != 0 || (item->weight == 0 && item->status >= 0)",
       "pin != 0",
       "test_weight")
mutant("weight_of_cleared_kept", "typed/cache.h",
       "        s->weight = s->pinned_weight = 0;",
       "        s->pinned_weight = 0;",
       "test_weight")
mutant("weight_of_replaced_counts", "typed/weight.h",
       "        DLOAD_I_FN(i_unweigh)(s, own, !DLOAD_I_FN(i_outdated)(s, DLOAD_I_META(*at)));",
       "        DLOAD_I_FN(i_unweigh)(s, own, false);",
       "test_weight")
mutant("weight_refused_leaves_the_old", "typed/weight.h",
       "    if (*at != NULL && (st < 0 || itself)) {",
       "    if (*at != NULL && itself) {",
       "test_weight_model")
mutant("weight_pinned_asked_for_nothing", "typed/weight.h",
       "    if (weight > s->max_weight - s->pinned_weight)\n"
       "        return DLOAD_EFULL;\n",
       "",
       "test_weight")
mutant("dead_still_found", "typed/weight.h",
       "    DLOAD_I_STORE_RELEASE(tag, (uint8_t)(*tag == UINT8_MAX ? 1 : *tag + 1));",
       "    (void)tag;",
       "test_removed_inside")
mutant("dead_not_ended", "typed/owed.h",
       "    if (item->dead)\n",
       "    if (false)\n",
       "test_weight")
mutant("dead_taken_for_outdated", "typed/leave.h",
       "    return s->n_used - s->n_live - s->n_dead;",
       "    return s->n_used - s->n_live;",
       "test_removed_inside")


# ---- the hash with a secret ----
mutant("sip_turn", "runtime/siphash.h",
       "        s->v1 = dload_i_turn(s->v1, 17) ^ s->v2;",
       "        s->v1 = dload_i_turn(s->v1, 16) ^ s->v2;",
       "test_siphash")
mutant("sip_length_forgotten", "runtime/siphash.h",
       "    dload_i_sip_word(s, tail | (uint64_t)(n_bytes & 0xff) << 56, c);",
       "    dload_i_sip_word(s, tail, c);",
       "test_siphash")
mutant("sip_group_by_xor", "typed/ident.h",
       "    uint64_t words[3] = {group, 0, 0};",
       "    uint64_t words[3] = {0, 0, 0};",
       "test_siphash")
mutant("sip_one_secret_for_all", "runtime/draw.h",
       "        hash_key[1] = env->random(env->ctx);",
       "        hash_key[1] = 1;",
       "test_siphash")
mutant("sip_no_secret_is_no_error", "runtime/draw.h",
       "#if DLOAD_FREESTANDING\n"
       "    return false;",
       "#if DLOAD_FREESTANDING\n"
       "    return true;",
       "test_siphash_free")

# ---- integer keys as programs make them ----
mutant("mixer_one_multiplication", "runtime/hash.h",
       "    x ^= x >> 33;\n"
       "    x *= UINT64_C(0xd6e8feb86659fd93);\n",
       "    x ^= x >> 33;\n",
       "test_hash_patterns")
mutant("mixer_second_fold_too_far", "runtime/hash.h",
       "    x ^= x >> 33;\n",
       "    x ^= x >> 52;\n",
       "test_hash_patterns")
mutant("mixer_first_fold_forgotten", "runtime/hash.h",
       "    x ^= x >> 31;\n",
       "",
       "test_hash_patterns")
mutant("snapshot_hash_key_from_nowhere", "typed/restore.h",
       "    item.id = DLOAD_I_FN(i_id)(c, p->key, p->group);",
       "    item.id = DLOAD_I_FN(i_id)(c, p->key, p->group);\n"
       "    item.id.hash = dload_i_mix64((uint64_t)p->left_ns + p->group);",
       "test_snapshot_secret")

# ---- how far from home an entry may live ----
mutant("reach_without_end", "typed/reach.h",
       "    if (far < DLOAD_I_REACH)\n",
       "    if (far < UINT32_MAX)\n",
       "test_reach")
mutant("reach_not_counted", "runtime/group.h",
       "            *n_long += tried >= DLOAD_I_LONG_PROBE;\n",
       "",
       "test_reach")
mutant("reach_pinned_goes", "typed/reach.h",
       "(meta & DLOAD_I_META_PINNED) != 0)\n                continue;",
       "false)\n                continue;",
       "test_reach")
mutant("reach_cleared_stays", "typed/reach.h",
       "            if (DLOAD_I_FN(i_outdated)(s, meta))\n                return slot;\n",
       "",
       "test_reach")
mutant("reach_of_a_grown_table", "typed/store.h",
       "        wide.reach = far < wide.reach ? wide.reach : far + 1;\n",
       "        (void)far;\n",
       "test_reach")
mutant("reach_search_stops_early", "typed/table.h",
       "tried < s->n_groups && tried < s->reach; tried++",
       "tried < s->n_groups && tried + 1 < s->reach; tried++",
       "test_reach")
mutant("reach_small_table_refuses", "typed/store.h",
       "        if (st == DLOAD_EFULL && c->unbounded && s->n_used > s->cap / 2)\n",
       "        if (false)\n",
       "test_reach")
mutant("reach_refused_leaves_counts", "runtime/group.h",
       "    dload_i_give_far(groups, n_groups, class_, dload_i_home(hash, n_groups), at);\n",
       "",
       "test_reach")

# ---- what a channel says of a loader's keys ----
mutant("sink_key_keeps_flights", "typed/sink.h",
       "    DLOAD_I_FN(i_outdate)(l, &id);\n",
       "",
       "test_sink")
mutant("sink_down_keeps_cache", "typed/sink.h",
       "    uint32_t full = DLOAD_I_FN(i_new_epoch)(&l->cache);\n",
       "    uint32_t full = deaf ? 0 : DLOAD_I_FN(i_new_epoch)(&l->cache);\n",
       "test_sink")
mutant("sink_up_keeps_flights", "typed/sink.h",
       "    l->core.clear_all_seq = ++l->core.clear_seq;\n",
       "    l->core.clear_all_seq = deaf ? ++l->core.clear_seq : l->core.clear_all_seq;\n",
       "test_sink")
mutant("untracked_is_cached", "typed/ops.h",
       "    if (l->second.only_hits && ",
       "    if (false && ",
       "test_store_write")
mutant("deaf_loader_caches", "typed/store.h",
       "DLOAD_I_UNLIKELY(DLOAD_I_LOAD_RELAXED(&c->deaf))",
       "false",
       "test_sink")
mutant("sink_starts_up", "typed/sink.h",
       "    DLOAD_I_FN(i_sink_down)(l); /* nothing is heard yet: mutant STARTS_UP */\n",
       "",
       "test_sink")
mutant("sink_hears_other_names", "typed/sink.h",
       " || memcmp(text->ptr, l->second.prefix, n) != 0",
       "",
       "test_sink")

# ---- the second level ----
mutant("stored_key_not_summed", "runtime/stored.h",
       "    sum = dload_i_sum(sum, key.ptr, key.len);\n",
       "    (void)key;\n",
       "test_stored")
mutant("stored_expiry_ignored", "runtime/stored.h",
       "    if (wall_ns >= h->expiry_ns)\n",
       "    if (wall_ns - 1 > wall_ns)\n",
       "test_stored")
mutant("stored_clock_set_back", "runtime/stored.h",
       "    return h->expiry_ns - wall_ns < left_ns ? h->expiry_ns - wall_ns : left_ns;",
       "    return h->expiry_ns - wall_ns;",
       "test_stored")
mutant("key_text_without_sign", "typed/keytext.h",
       "        to[n++] = '-';\n",
       "",
       "test_keytext")
mutant("fresh_from_store", "typed/second.h",
       "        bool fresh = (f->second & DLOAD_I_SECOND_FRESH) != 0;",
       "        bool fresh = false;",
       "test_store_read")
mutant("fresh_join_not_noted", "typed/load.h",
       "        DLOAD_I_FN(i_want)(ref->batch, ref->place, flags);\n",
       "",
       "test_store_read")
mutant("places_not_mapped", "typed/second.h",
       "        b->places[n] = i;",
       "        b->places[n] = n;",
       "test_store_read")
mutant("hits_wait_for_the_function", "typed/second.h",
       "    if (n_hits != 0 && n_hits < b->base.n && ",
       "    if (n_hits > b->base.n && ",
       "test_store_read")
mutant("stored_errors_for_nobody", "typed/second.h",
       "                          ? DLOAD_I_FN(i_error_ttl)(l, (dload_status)h->status)\n",
       "                          ? h->ttl_ns\n",
       "test_store_write")
mutant("late_answers_not_kept", "typed/ops.h",
       "    DLOAD_I_FN(i_keep_answer)(l, b, i);\n",
       "",
       "test_store_write")
mutant("unsent_read", "typed/second.h",
       "!dload_i_is_unsent(s, f->hash, group)",
       "s != NULL",
       "test_store_clear")
mutant("unsent_written", "typed/second.h",
       "!dload_i_is_unsent(&l->second, f->hash, DLOAD_I_FN(i_group_of)(b))",
       "l != NULL",
       "test_store_clear")
mutant("cleared_written", "typed/second.h",
       "             DLOAD_I_FN(i_cleared_since)(l, &id, b->base.token)) /*",
       "             id.hash != f->hash) /*",
       "test_store_write")
mutant("unsent_forgotten", "runtime/second.h",
       "    if (u == NULL) {\n"
       "        dload_i_clear_all_later(s);",
       "    if (u == NULL) {",
       "test_store_clear")
mutant("delete_not_retried_later", "runtime/second.h",
       "        if (n_failed != 0)\n",
       "        if (n_failed > t->n + 1)\n",
       "test_store_clear")
mutant("delete_before_write", "runtime/second.h",
       "            if (u->is_group || t->marks[i].hash == u->hash)\n"
       "                return true;\n",
       "            if (u->is_group && t->marks[i].hash == u->hash)\n"
       "                return true;\n",
       "test_store_async")
mutant("clear_beside_write", "runtime/second.h",
       "            s->all_out || s->writing != NULL ? NULL : dload_i_letter_take(s, DLOAD_STORE_CLEAR);",
       "            s->all_out ? NULL : dload_i_letter_take(s, DLOAD_STORE_CLEAR);",
       "test_store_async")
mutant("clear_all_answers_later_ones", "runtime/second.h",
       "                s->all_done = t->all_seq;",
       "                s->all_done = s->all_wanted;",
       "test_store_async")
mutant("clears_dropped_behind_clear_all", "runtime/second.h",
       "        if (dload_i_all_unsent(s) && !s->all_out)\n"
       "            dload_i_unsent_cut(s, NULL);",
       "        if (dload_i_all_unsent(s))\n"
       "            dload_i_unsent_cut(s, NULL);",
       "test_store_async")
mutant("store_done_no_wake", "runtime/second.h",
       "    dload_i_core_unlock(c);\n"
       "    c->wake(c->wake_ctx);\n",
       "    dload_i_core_unlock(c);\n",
       "test_store_async")
mutant("blocked_comes_back", "runtime/second.h",
       "    return call == NULL; /* mutant BLOCKED_COMES_BACK */",
       "    return true;",
       "test_store_drivers_loop")
mutant("early_refresh_from_store", "typed/refresh.h",
       "            *flags |= DLOAD_FRESH; /* the store has what the cache has */\n",
       "            *flags |= 0;\n",
       "test_store_refresh")
mutant("cancelled_inside_the_store", "runtime/second.h",
       "    int before = sync->hold != NULL ? sync->hold() : 0;\n"
       "    s->n_out++;\n",
       "    int before = 0;\n"
       "    s->n_out++;\n",
       "test_store_clear:PTHREAD")
mutant("destroyed_with_letters_out", "typed/control.h",
       "    busy = busy || l->second.n_out != 0;\n",
       "",
       "test_store_async")
# ---- the Redis store, its connections and its locks ----
mutant("redis_delete_keeps_leases", "adapters/dataloader_redis/ops.h",
       "what == DLOAD_REDIS_I_UNLINK || what == DLOAD_REDIS_I_REVOKE);",
       "what == DLOAD_REDIS_I_REVOKE);",
       "test_redis")
mutant("redis_set_keeps_leases", "adapters/dataloader_redis/ops.h",
       "    dload_redis_i_queue_many(j, DLOAD_REDIS_I_REVOKE, false, at, end, wanted);\n",
       "",
       "test_redis")
mutant("redis_clears_values_first", "adapters/dataloader_redis/clear.h",
       "w->pass == 0, &w->pattern_bytes,",
       "w->pass != 0, &w->pattern_bytes,",
       "test_redis")
mutant("redis_clears_what_is_not_its_own", "adapters/dataloader_redis/clear.h",
       "    return dload_redis_key_of_name(r->prefix.ptr, p, n, NULL, &key_bytes);\n",
       "    return (void)p, (void)key_bytes, true;\n",
       "test_redis")
mutant("redis_patterns_match", "adapters/dataloader_redis/names.h",
       "name[i] == '*' || ",
       "",
       "test_redis")
mutant("redis_braces_in_names", "adapters/dataloader_redis/names.h",
       "key[i] == '%' || key[i] == '{' || key[i] == '}'",
       "key[i] == '%' || key[i] == '{'",
       "test_redis")
mutant("redis_scripts_are_known", "adapters/dataloader_redis/run.h",
       "    p->by_text = j->pass % 2 != 0;\n",
       "    p->by_text = false;\n",
       "test_redis")
mutant("redis_counts_no_elements", "adapters/dataloader_redis/ops.h",
       "    if (all->type != REDIS_REPLY_ARRAY || all->elements != n * step)\n",
       "    if (all->type != REDIS_REPLY_ARRAY || all->elements < n * step)\n",
       "test_redis_evil")
mutant("redis_believes_types", "adapters/dataloader_redis/ops.h",
       "        else if (value->type != REDIS_REPLY_STRING ||\n",
       "        else if ((value->type != REDIS_REPLY_STRING && value->type != REDIS_REPLY_STATUS) ||\n",
       "test_redis_evil")
mutant("redis_keeps_a_late_reply", "adapters/dataloader_redis/wire.h",
       "        c->reader->pos != c->reader->len) /* a reply that nobody asked for came with the last one */\n",
       "        false)\n",
       "test_redis_evil")
mutant("redis_timeout_keeps_connection", "adapters/dataloader_redis/run.h",
       "                 : dload_redis_close(c, DLOAD_ETIMEDOUT, \"no reply in time\");\n",
       "                 : (c->n_owed = 0, DLOAD_ETIMEDOUT);\n",
       "test_redis_evil")
mutant("redis_stays_with_a_replica", "adapters/dataloader_redis/ops.h",
       "        j->hang_up = true;\n",
       "        ;\n",
       "test_redis_failover")
mutant("redis_refused_is_well", "adapters/dataloader_redis/run.h",
       "    return n_refused != 0 && n_refused == n_sent ? DLOAD_EBACKEND : DLOAD_OK;\n",
       "    return DLOAD_OK;\n",
       "test_redis_evil")
mutant("redis_attempts_without_pauses", "adapters/dataloader_redis.h",
       "        r->pause_until_ns = now_ns + dload_redis_pause(&r->server, r->n_attempts, r);\n",
       "",
       "test_redis_faults")
mutant("loop_queues_without_end", "adapters/dataloader_loop/queue.h",
       "q->n_waiting >= q->cap",
       "q->n_waiting > q->cap",
       "test_redis_loop")
mutant("redis_loop_believes_idle_connections", "adapters/dataloader_redis/loop.h",
       " && !dload_redis_usable(c)) {",
       " && false) {",
       "test_redis_loop_evil")
mutant("redis_lock_of_nobody", "adapters/dataloader_redis_lock.h",
       "    return st == DLOAD_OK && held_still == 1 ? DLOAD_OK : DLOAD_ELOCK;\n",
       "    return st;\n",
       "test_redis_lock")
mutant("redis_lock_of_the_parent", "adapters/dataloader_redis_lock.h",
       "    if (r->pid != getpid())\n"
       "        return DLOAD_EFORK;\n",
       "",
       "test_redis_lock")

# ---- the PostgreSQL store: its steps, whoever takes them ----
mutant("pg_writes_a_row_twice", "adapters/dataloader_postgres/steps.h",
       "            n--;\n",
       "            (void)0;\n",
       "test_postgres_cases")
mutant("pg_claims_a_key_twice", "adapters/dataloader_postgres/answers.h",
       "        if (j->n_rest == 0 || !dload_postgres_i_same(j->rest[j->n_rest - 1], item))\n",
       "        if (j->n_rest < j->n)\n",
       "test_postgres_cases")
mutant("pg_deadlocks_are_final", "adapters/dataloader_postgres/answers.h",
       "strncmp(sqlstate, \"40\", 2) == 0 && j->n_tries < 3",
       "strncmp(sqlstate, \"40\", 2) == 0 && j->n_tries > 3",
       "test_postgres_loop_refused")
mutant("pg_trusts_a_table_that_went", "adapters/dataloader_postgres/answers.h",
       "        __atomic_store_n(&j->s->usable, 0u, __ATOMIC_RELEASE);",
       "        __atomic_store_n(&j->s->usable, 1u, __ATOMIC_RELEASE);",
       "test_postgres_loop_refused")
mutant("pg_purges_once", "adapters/dataloader_postgres/steps.h",
       "        __atomic_store_n(&j->s->purging, 0u, __ATOMIC_RELEASE);\n",
       "        __atomic_store_n(&j->s->purging, 1u, __ATOMIC_RELEASE);\n",
       "test_postgres_loop_refused")
mutant("pg_repeats_a_fill", "adapters/dataloader_postgres/store.h",
       "op->kind != DLOAD_STORE_FILL,",
       "op->kind != DLOAD_STORE_N_KINDS,",
       "test_postgres_faults")
mutant("pg_sql_null_is_a_value", "adapters/dataloader_postgres/answers.h",
       "    if (PQgetisnull(r, row, 1) == 0) {",
       "    if (PQgetisnull(r, row, 1) <= 1) {",
       "test_postgres_cases")

# ---- the PostgreSQL store in a loop ----
mutant("loop_uv_holds_no_loop", "adapters/dataloader_loop/uv.h",
       "    if (u->pending(u->store) != 0)\n",
       "    if (u->n_polls == 0)\n",
       "test_postgres_loop")
mutant("pg_loop_repeats_a_fill", "adapters/dataloader_postgres/loop_conn.h",
       "job->job.op->kind != DLOAD_STORE_FILL || !job->changes;",
       "true;",
       "test_postgres_loop")
mutant("pg_loop_repeats_for_ever", "adapters/dataloader_postgres/loop_conn.h",
       "twice && !job->again) {",
       "twice) {",
       "test_postgres_loop")
mutant("pg_loop_pipeline_without_end", "adapters/dataloader_postgres/loop_conn.h",
       "slot->n_jobs < DLOAD_POSTGRES_LOOP_I_DEPTH &&",
       "true &&",
       "test_postgres_loop")
mutant("pg_loop_waits_for_no_server", "adapters/dataloader_postgres/loop.h",
       "        dload_postgres_loop_i_fail(p, DLOAD_EBACKEND);\n",
       "        (void)0;\n",
       "test_postgres_loop")
mutant("pg_loop_asks_behind_a_late_one", "adapters/dataloader_postgres/loop_conn.h",
       "    return slot->retires || (slot->n_asks != 0 && first->job == NULL && !first->setting);\n",
       "    return slot->retires || first == NULL;\n",
       "test_postgres_loop_refused")
mutant("pg_loop_keeps_what_nobody_waits_for", "adapters/dataloader_postgres/loop_conn.h",
       "slot->n_asks != 0 && slot->n_jobs == 0) {\n        (void)dload_postgres_i_lose",
       "slot->n_asks != 0 && slot->n_jobs > 99) {\n        (void)dload_postgres_i_lose",
       "test_postgres_loop_refused")
mutant("pg_loop_statements_forgotten_fail", "adapters/dataloader_postgres/loop_conn.h",
       "    } else if (forgot && !job->again) {",
       "    } else if (forgot && st == DLOAD_OK) {",
       "test_postgres_loop_refused")
mutant("pg_loop_watches_the_first_address", "adapters/dataloader_postgres/loop_conn.h",
       "    slot->renewed = true; /* another address",
       "    slot->n_nothing = 0; /* another address",
       "test_postgres_loop_evil")
mutant("pg_loop_hears_what_was_passed_over", "adapters/dataloader_postgres/loop_conn.h",
       "    } else if (slot->answer != DLOAD_PENDING) {",
       "    } else if (slot->answer == DLOAD_OK) {",
       "test_postgres_loop_refused")

# ---- the SQLite store ----
mutant("sqlite_fill_without_lease", "adapters/dataloader_sqlite.h",
       "return rc == SQLITE_OK && was ?",
       "return rc == SQLITE_OK ?",
       "test_sqlite")
mutant("sqlite_delete_keeps_lease", "adapters/dataloader_sqlite.h",
       "return rc == SQLITE_OK && leases\n                   ? dload_sqlite_i_about",
       "return rc == SQLITE_OK && false\n                   ? dload_sqlite_i_about",
       "test_sqlite")
mutant("sqlite_set_keeps_lease", "adapters/dataloader_sqlite.h",
       "        if (leases)\n            rc = dload_sqlite_i_about(c, DLOAD_SQLITE_I_LEASE_DELETE, item);\n",
       "",
       "test_sqlite_ends")
mutant("sqlite_clear_keeps_leases", "adapters/dataloader_sqlite.h",
       "return rc == SQLITE_OK && leases ? dload_sqlite_i_clear(c, item, true) : rc;",
       "return rc;",
       "test_sqlite")
mutant("sqlite_lease_without_second_look", "adapters/dataloader_sqlite.h",
       "    rc = dload_sqlite_i_get(c, op); /* somebody may have filled it in since */\n",
       "",
       "test_sqlite_ends")
mutant("sqlite_child_goes_on", "adapters/dataloader_sqlite.h",
       "    if (getpid() != q->pid)\n        return DLOAD_EFORK;\n    const uint64_t timeout_ns",
       "    const uint64_t timeout_ns",
       "test_sqlite")
mutant("sqlite_late_lease_fills", "adapters/dataloader_sqlite/ops.h",
       "late ? -1 : now_ms)",
       "-1)",
       "test_sqlite")
mutant("sqlite_expired_is_found", "adapters/dataloader_sqlite/ops.h",
       "expires_ms <= now_ms || ",
       "",
       "test_sqlite")
mutant("sqlite_clock_set_back_is_ignored", "adapters/dataloader_sqlite/ops.h",
       " || written_ms - now_ms > DLOAD_SQLITE_I_BACK_MS",
       "",
       "test_sqlite_ends")
mutant("sqlite_prefix_of_ff", "adapters/dataloader_sqlite/ops.h",
       "    while (n_bytes != 0 && (unsigned char)item->key[n_bytes - 1] == 0xff)\n        n_bytes--;\n",
       "",
       "test_sqlite")
mutant("sqlite_nothing_is_taken_back", "adapters/dataloader_sqlite/ops.h",
       "        (void)dload_sqlite_i_do(c, DLOAD_SQLITE_I_ROLLBACK);\n",
       "",
       "test_sqlite_faults")
mutant("sqlite_never_evicts", "adapters/dataloader_sqlite/ops.h",
       "max_bytes != 0 && turn < DLOAD_SQLITE_I_EVICT_TURNS",
       "max_bytes != 0 && turn < 0",
       "test_sqlite_ends")
mutant("sqlite_newest_evicted", "adapters/dataloader_sqlite/conn.h",
       "ORDER BY id LIMIT ?1)",
       "ORDER BY id DESC LIMIT ?1)",
       "test_sqlite_ends")
mutant("sqlite_lease_for_everybody", "adapters/dataloader_sqlite/conn.h",
       "OR l.token=?2",
       "OR 1",
       "test_sqlite")
mutant("sqlite_any_table_is_ours", "adapters/dataloader_sqlite/open.h",
       "if (n_there == 3 && ours == 7)",
       "if (n_there >= 3)",
       "test_sqlite")
mutant("sqlite_log_waits_for_readers_for_ever", "adapters/dataloader_sqlite/open.h",
       "SQLITE_CHECKPOINT_RESTART",
       "SQLITE_CHECKPOINT_PASSIVE",
       "test_sqlite_processes")
mutant("sqlite_spoilt_connection_stays", "adapters/dataloader_sqlite/file.h",
       "        (void)dload_sqlite_i_put_aside(c);\n    dload_sqlite_i_close(c);\n",
       "        (void)dload_sqlite_i_put_aside(c);\n",
       "test_sqlite_faults")
mutant("sqlite_removed_file_is_used", "adapters/dataloader_sqlite/file.h",
       "        if (dload_sqlite_i_moved(c)) {",
       "        if (false) {",
       "test_sqlite_faults")
# ---- named locks around the function ----
mutant("locked_unasked", "typed/run_second.h",
       "        if (DLOAD_I_FN(i_has_second)(l))\n            (void)DLOAD_I_FN(i_ask_store)(l, b, true);",
       "        if (false)\n            (void)DLOAD_I_FN(i_ask_store)(l, b, true);",
       "test_locked")
mutant("lost_lock_stored", "typed/locked.h",
       "    DLOAD_I_FN(i_count_lost)(l, n_lost);\n    return false;\n",
       "    DLOAD_I_FN(i_count_lost)(l, n_lost);\n    return true;\n",
       "test_locked")
mutant("nested_takes_lock", "typed/locked.h",
       "(other != &b->base && other->in_fetch && other->runner == self)",
       "(other == NULL && self == 0)",
       "test_locked")
mutant("lock_kept", "typed/run_second.h",
       "    if (!goes_on) {\n        DLOAD_I_FN(i_unlock_batch)(l, b);\n",
       "    if (!goes_on) {\n",
       "test_locked")

# ---- stores around stores ----
mutant("memory_lease_by_half", "adapters/dataloader_memory.h",
       "lease.id[0] == item->lease[0] && lease.id[1] == item->lease[1];",
       "lease.id[0] == item->lease[0];",
       "test_store_memory")
mutant("memory_delete_keeps_the_lease", "adapters/dataloader_memory.h",
       "        st = dload_memory_i_leases_cache_delete(&m->leases, key);",
       "        if (kind != DLOAD_STORE_DELETE)\n"
       "            st = dload_memory_i_leases_cache_delete(&m->leases, key);",
       "test_store_memory")
mutant("memory_clear_keeps_leases", "adapters/dataloader_memory.h",
       "    (void)dload_memory_i_leases_i_clear_some(&m->leases, 0, &prefix);\n",
       "",
       "test_store_memory")
mutant("memory_keeps_the_older_value", "adapters/dataloader_memory.h",
       "        (void)dload_memory_i_entries_cache_delete(&m->entries, dload_memory_i_key(item));",
       "        (void)0;",
       "test_store_memory")
mutant("memory_weighs_values_only", "adapters/dataloader_memory.h",
       "    head.weight = DLOAD_MEMORY_I_ENTRY_BYTES + item->key_bytes + item->value_bytes;",
       "    head.weight = 1 + item->value_bytes / 2;",
       "test_store_memory")
mutant("worker_queue_without_end", "adapters/dataloader_worker.h",
       "    else if (w->n_queued >= w->queue_cap)\n        st = DLOAD_EAGAIN;\n",
       "",
       "test_store_worker")
mutant("worker_gives_all_of_the_time", "adapters/dataloader_worker.h",
       "job->outer->timeout_ns != 0 ? job->until_ns - now_ns : 0;",
       "job->outer->timeout_ns;",
       "test_store_worker")
mutant("worker_watches_nobody", "adapters/dataloader_worker.h",
       "        if (job->until_ns <= now_ns)\n            return dload_worker_i_take(w, before);\n",
       "",
       "test_store_worker")
mutant("worker_takes_signals", "adapters/dataloader_worker.h",
       "    (void)pthread_sigmask(SIG_SETMASK, &all, &before);",
       "    (void)pthread_sigmask(SIG_SETMASK, NULL, &before);",
       "test_store_worker")
mutant("worker_fails_nobody", "adapters/dataloader_worker.h",
       "        if (mode == DLOAD_FAIL) {\n",
       "        if (mode == 0) {\n",
       "test_store_worker_close")
mutant("tiered_refill_unchecked", "adapters/dataloader_tiered/guard.h",
       "        dload_tiered_i_unchanged(g, pass->stripes, pass->gen); /* mutant",
       "        pass->stripes; /*",
       "test_store_tiered_races")
mutant("tiered_write_does_not_wait", "adapters/dataloader_tiered/guard.h",
       "    dload_tiered_i_drain(g);\n    alone &=",
       "    alone &=",
       "test_store_tiered_races")
mutant("tiered_write_counts_before_only", "adapters/dataloader_tiered/guard.h",
       "    pass->gen = dload_tiered_i_change(g, pass->stripes);\n    dload_tiered_i_drain(g);\n",
       "    dload_tiered_i_drain(g);\n",
       "test_store_tiered_races")
mutant("tiered_write_waits_for_later_reads", "adapters/dataloader_tiered/guard.h",
       "    const uint32_t old = g->epoch++ & 1;",
       "    const uint32_t old = g->epoch & 1;",
       "test_store_tiered_races")
mutant("tiered_two_writes_both_fill", "adapters/dataloader_tiered/guard.h",
       "    uint64_t alone = dload_tiered_i_unchanged(g, pass->stripes, pass->gen);",
       "    uint64_t alone = pass->stripes;",
       "test_store_tiered_races")
mutant("tiered_believes_what_stayed", "adapters/dataloader_tiered.h",
       "    if (dload_tiered_i_distrust(&t->guard)) /*",
       "    if (t == NULL) /*",
       "test_store_tiered")
mutant("tiered_clears_beside_a_refill", "adapters/dataloader_tiered.h",
       "    (void)dload_tiered_i_changed(&t->guard, DLOAD_TIERED_I_ALL); /* mutant CLEARS_BESIDE_REFILL */\n",
       "",
       "test_store_tiered_races")
mutant("tiered_failed_write_stays_above", "adapters/dataloader_tiered.h",
       "    dload_tiered_i_remove(t, DLOAD_STORE_DELETE, j->upper_items, n);\n",
       "    if (st >= 0)\n        dload_tiered_i_remove(t, DLOAD_STORE_DELETE, j->upper_items, n);\n",
       "test_store_tiered")
mutant("tiered_refill_lives_on", "adapters/dataloader_tiered.h",
       "        if (from->ttl_ns > t->upper_ttl_ns)\n            j->upper_items[n].ttl_ns = t->upper_ttl_ns;\n",
       "",
       "test_store_tiered")
mutant("tiered_up_without_a_clear", "adapters/dataloader_tiered/channel.h",
       "    dload_tiered_i_clear_above(t);\n",
       "",
       "test_store_tiered_channel")
mutant("tiered_told_and_not_counted", "adapters/dataloader_tiered/guard.h",
       "    (void)dload_tiered_i_change(g, stripes);\n",
       "    (void)stripes;\n",
       "test_store_tiered_channel")
# ---- the Redis Cluster store ----
mutant("slots_overlap", "adapters/dataloader_redis/slots.h",
       "        if (map->of[slot] != DLOAD_REDIS_I_NO_MASTER)\n            return DLOAD_EBACKEND;\n",
       "",
       "test_redis_slots")
mutant("slots_masters_without_end", "adapters/dataloader_redis/slots.h",
       "    if (map->n_masters == DLOAD_REDIS_I_NODES)\n        return DLOAD_EBACKEND;\n",
       "",
       "test_redis_slots")
mutant("slots_tag_may_be_empty", "adapters/dataloader_redis/slots.h",
       "if (shut != NULL && shut != open + 1)",
       "if (shut != NULL)",
       "test_redis_slots")
mutant("cluster_half_moved_lease_stays", "adapters/dataloader_redis/cluster_ops.h",
       "        w->stage = command->what == DLOAD_REDIS_I_SET ? 2 : 1;\n",
       "        w->stage = 2;\n",
       "test_redis_cluster_moves")
mutant("cluster_half_moved_delete_stays", "adapters/dataloader_redis/cluster_ops.h",
       "            w->stage = 1; /* one name is here and one is there */\n",
       "",
       "test_redis_cluster_moves")
mutant("cluster_does_not_say_asking", "adapters/dataloader_redis/cluster_ops.h",
       "    w->asking = !moved;\n",
       "",
       "test_redis_cluster_moves")
mutant("cluster_moved_is_not_told", "adapters/dataloader_redis/cluster_rounds.h",
       "    if (q->moved)\n        dload_redis_cluster_i_topology(q->cl);\n",
       "",
       "test_redis_cluster_moves")
mutant("cluster_other_map_is_not_told", "adapters/dataloader_redis/cluster_map.h",
       "        dload_redis_cluster_i_topology(cl);\n",
       "",
       "test_redis_cluster")
mutant("cluster_moved_is_news_each_time", "adapters/dataloader_redis/cluster_ops.h",
       "        q->moved = dload_redis_i_map_moved(q->map, w->slot, &at) || q->moved;\n",
       "        q->moved = true;\n",
       "test_redis_cluster_loader")
mutant("cluster_asks_for_maps_each_time", "adapters/dataloader_redis/cluster_map.h",
       "forced || ((!cl->renewing || cl->map == NULL)",
       "forced || true || ((!cl->renewing || cl->map == NULL)",
       "test_redis_cluster_evil")
mutant("cluster_redirects_without_end", "adapters/dataloader_redis/cluster_ops.h",
       "w->n_redirects > q->cl->max_redirects || ",
       "",
       "test_redis_cluster_evil")
mutant("cluster_retries_without_end", "adapters/dataloader_redis/cluster_ops.h",
       " || w->n_retries > q->cl->max_retries)\n            dload",
       ")\n            dload",
       "test_redis_cluster_evil")
mutant("cluster_clears_once", "adapters/dataloader_redis/cluster_clear.h",
       "    if (st == DLOAD_OK && moves)\n",
       "    if (st == DLOAD_OK && again)\n",
       "test_redis_cluster_moves")
mutant("cluster_clear_does_not_ask", "adapters/dataloader_redis/clear.h",
       "            (void)dload_redis_text(c, \"ASKING\");\n",
       "            (void)dload_redis_text(c, \"READWRITE\");\n",
       "test_redis_cluster_moves")
mutant("cluster_takes_nobody_over", "adapters/dataloader_redis/cluster_rounds.h",
       "        if (in_time && which",
       "        if (in_time && !in_time && which",
       "test_redis_cluster")
mutant("cluster_one_fails_all", "adapters/dataloader_redis/cluster_rounds.h",
       "is_well) != 0)\n",
       "is_well) > 1)\n",
       "test_redis_cluster")
# ---- leases ----
mutant("refused_keeps_its_lease", "runtime/second.h",
       "            if (t->items[i].status < 0)\n"
       "                f->second &= (uint8_t)~DLOAD_I_SECOND_GIVEN;",
       "            (void)f;",
       "test_leased")
mutant("lost_lease_cached", "runtime/second.h",
       "        f->answered = 1;\n        f->ttl_ns = 0;\n",
       "        f->answered = 1;\n",
       "test_leased")
mutant("lease_kept", "typed/leased.h",
       "        if (bits != DLOAD_I_SECOND_MINE)\n",
       "        if (bits != DLOAD_I_SECOND_MINE || b->n != 0)\n",
       "test_leased")
mutant("unleased_written", "typed/second.h",
       "(l->second.lease_ns == 0 ||\n",
       "(true ||\n",
       "test_leased")
mutant("lease_rest_forgotten", "typed/run_second.h",
       "    if (!left || !DLOAD_I_FN(i_has_rest)(l, b, status, rest_ttl_ns))\n",
       "    if (status != DLOAD_PENDING)\n",
       "test_leased")
mutant("keys_of_the_last_part", "typed/second.h",
       "    b->keys = n_out != 0 ? b->asked : b->own_keys;\n",
       "    b->keys = n_out != 0 ? b->asked : b->keys;\n",
       "test_leased")
mutant("damaged_value_in_the_way", "typed/leased.h",
       "            (st == DLOAD_ECORRUPT || st == DLOAD_ELAYOUT || st == DLOAD_EDECODE))\n",
       "            (st == DLOAD_ECORRUPT && st == DLOAD_ELAYOUT))\n",
       "test_leased")

# ---- compact tables ----
mutant("compact_ticks_of_32_bits", "typed/compact.h",
       "    return tick >= ((uint64_t)(meta & DLOAD_I_END_HIGH) << 32 | e->end);",
       "    return (uint32_t)tick >= e->end;",
       "test_compact:NONE")
mutant("compact_time_goes_back", "typed/compact.h",
       "    return tick > c->one.tick ? tick : c->one.tick;",
       "    return tick;",
       "test_compact:NONE")
mutant("compact_soonest_forgotten", "typed/compact.h",
       "    if (end < c->one.soonest)\n",
       "    if (end > c->one.soonest)\n",
       "test_compact:NONE")
mutant("compact_soonest_not_found_again", "typed/compact.h",
       "        } else if (end < soonest) {",
       "        } else if (soonest == 0) {",
       "test_compact:NONE")
mutant("compact_pins_counted_for_ever", "typed/compact.h",
       "(s->n_pinned - ((e->meta & DLOAD_I_CHAIN_PINNED) != 0));",
       "(s->n_pinned - 0);",
       "test_compact:NONE")
mutant("compact_ended_keeps_its_pin", "typed/compact_cache.h",
       "        e = NULL; /* a new one, with neither use nor pin */",
       "        e->meta |= DLOAD_I_CHAIN_USED;",
       "test_compact:NONE")
mutant("compact_no_second_chance", "typed/compact_cache.h",
       "if ((e->meta & (DLOAD_I_CHAIN_PINNED | DLOAD_I_CHAIN_USED)) == 0)",
       "if ((e->meta & DLOAD_I_CHAIN_PINNED) == 0)",
       "test_compact:NONE")
mutant("compact_pinned_leaves", "typed/compact_cache.h",
       "if ((e->meta & (DLOAD_I_CHAIN_PINNED | DLOAD_I_CHAIN_USED)) == 0)",
       "if ((e->meta & DLOAD_I_CHAIN_USED) == 0)",
       "test_compact:NONE")
mutant("compact_dead_dropped", "typed/compact_cache.h",
       "        item->garbage = DLOAD_I_FN(i_bury)(s, &item->old);",
       "        (void)DLOAD_I_FN(i_bury)(s, &item->old);",
       "test_compact:NONE")
mutant("compact_destroyed_unreleased", "typed/compact_cache.h",
       "    if (DLOAD_I_FN(i_forget)(s, DLOAD_REMOVED_DESTROYED))",
       "    if (false && DLOAD_I_FN(i_forget)(s, DLOAD_REMOVED_DESTROYED))",
       "test_compact_values:NONE", "test_compact_removed:NONE")
mutant("compact_lock_kept", "typed/compact_cache.h",
       "    if (c->n_locks != 0) /*",
       "    if (c->n_shards != 0) /*",
       "test_compact_custom")
mutant("compact_interrupts_read_on", "runtime/busy.h",
       "    bool quiet = busy->is == 0;",
       "    bool quiet = busy->is < 2;",
       "test_compact_interrupt:NONE")
mutant("compact_flights_read_while_changing", "typed/outside.h",
       "    if (*state == DLOAD_STATE_ABSENT && !quiet)",
       "    if (*state == DLOAD_STATE_READY && !quiet)",
       "test_compact_interrupt:NONE")

# ---- nothing waits ----
mutant("solo_clear_forgets_what_runs", "typed/solo.h",
       "    if (b != NULL && b->state == DLOAD_I_RUNNING)\n"
       "        b->seats[place].detached =\n",
       "    if (b == NULL && l->core.closed)\n"
       "        b->seats[place].detached =\n",
       "test_solo")
mutant("solo_detached_is_cached", "typed/solo.h",
       "        if (f->detached)\n",
       "        if (false)\n",
       "test_solo")
mutant("solo_detached_is_joined", "typed/solo.h",
       "            if (!b->seats[i].detached && ",
       "            if (",
       "test_solo")
mutant("solo_request_lost", "typed/solo.h",
       "            if (w != &asker->own) {\n",
       "            if (false) {\n",
       "test_solo")
mutant("solo_batch_freed_late", "typed/solo.h",
       "    b->n_seats = 0;\n    b->state = 0;\n    DLOAD_I_LEAVE(l);\n    while (ready != NULL) {\n",
       "    DLOAD_I_LEAVE(l);\n    b->n_seats = 0;\n    while (ready != NULL) {\n",
       "test_solo")
mutant("solo_dispatch_sends_what_comes", "typed/solo_calls.h",
       " && l->core.queue->state == DLOAD_I_QUEUED)",
       ")",
       "test_solo_model")
mutant("solo_token_from_the_future", "typed/solo.h",
       "    return last - (uint32_t)token - 1u < UINT32_C(1) << 31;",
       "    return last > (uint32_t)token;",
       "test_solo")
mutant("block_keeps_all", "runtime/block.h",
       "    if (--block->n_out == 0)\n",
       "    if (--block->n_out == SIZE_MAX)\n",
       "test_block")
mutant("ticks_wrap_lost", "runtime/ticks.h",
       "dload_i_mul_wide(now_ticks - t->last_ticks, t->tick_ns)",
       "(now_ticks < t->last_ticks ? 0 : dload_i_mul_wide(now_ticks - t->last_ticks, t->tick_ns))",
       "test_ticks")
mutant("compact_fetch_keeps_busy", "runtime/lock_pthread.h",
       "dload_i_sync_busy()",
       "dload_i_sync_none()",
       "test_compact_interrupt:NONE")
