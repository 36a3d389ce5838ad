/* dataloader_tiered/channel.h -- a tiered store that is told what others change below.
 *
 * SPDX-License-Identifier: MIT
 * Included by dataloader_tiered.h.
 */
#ifndef DLOAD_TIERED_CHANNEL_H
#define DLOAD_TIERED_CHANNEL_H

#ifndef DLOAD_TIERED_H
#error "dataloader_tiered/channel.h: include dataloader_tiered.h"
#endif

DLOAD_I_LOCAL void dload_tiered_i_hear_key(void *ctx, const char *key, size_t key_bytes)
{
    dload_tiered *t = (dload_tiered *)ctx;
    dload_store_item item;
    memset(&item, 0, sizeof item);
    item.key = key;
    item.key_bytes = key_bytes;
    if (dload_tiered_i_changed(&t->guard, dload_tiered_i_stripes(&item, 1)))
        dload_tiered_i_remove(t, DLOAD_STORE_DELETE, &item, 1);
}

DLOAD_I_LOCAL void dload_tiered_i_clear_above(dload_tiered *t)
{
    dload_store_item all;
    memset(&all, 0, sizeof all);
    all.key = "";
    (void)dload_tiered_i_changed(&t->guard, DLOAD_TIERED_I_ALL);
    dload_tiered_i_remove(t, DLOAD_STORE_CLEAR, &all, 1);
}

DLOAD_I_LOCAL void dload_tiered_i_hear_all(void *ctx)
{
    dload_tiered_i_clear_above((dload_tiered *)ctx);
}

DLOAD_I_LOCAL void dload_tiered_i_hear_down(void *ctx)
{
    dload_tiered_i_set_deaf(&((dload_tiered *)ctx)->guard, true);
}

/* What was read meanwhile may be old: it is cleared while nothing new can come. */
DLOAD_I_LOCAL void dload_tiered_i_hear_up(void *ctx)
{
    dload_tiered *t = (dload_tiered *)ctx;
    dload_tiered_i_clear_above(t);
    dload_tiered_i_set_deaf(&t->guard, false);
}

/* What a channel of the lower tier is to be given, so that what others change there is forgotten here at once. From this
 * call on the upper tier is passed by until the channel is up, and whenever it is down. Its keys are those that
 * requests name. The sink is t's, and must leave the channel before t is destroyed. */
DLOAD_I_LOCAL dload_sink *dload_tiered_sink(dload_tiered *t)
{
    t->sink.key = dload_tiered_i_hear_key;
    t->sink.all = dload_tiered_i_hear_all;
    t->sink.down = dload_tiered_i_hear_down;
    t->sink.up = dload_tiered_i_hear_up;
    t->sink.ctx = t;
    dload_tiered_i_set_deaf(&t->guard, true);
    return &t->sink;
}

#endif /* DLOAD_TIERED_CHANNEL_H */
