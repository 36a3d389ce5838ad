/* liburcu's rculfhash. READERS_QSBR chooses the flavour: 1, threads say when they hold nothing, here every
 * 128 operations, and a look-up pays nothing; 0, the general one, with a section around each look-up. */
#define URCU_INLINE_SMALL_FUNCTIONS
#include "readers.h"

#include <stdlib.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#if READERS_QSBR
#include <urcu/urcu-qsbr.h>
#define RCU(name) urcu_qsbr_##name
#define FLAVOUR   "qsbr"
#define SECTION   "threads announce a quiet state every 128 operations"
#else
#include <urcu/urcu-memb.h>
#define RCU(name) urcu_memb_##name
#define FLAVOUR   "memb"
#define SECTION   "a read section around each operation"
#endif
#include <urcu/rculfhash.h>
#pragma GCC diagnostic pop

const char readers_name[] = "rculfhash-" FLAVOUR;
const char readers_note[] = "liburcu's rculfhash, flavour " FLAVOUR
                            ", hash: a multiply and folds, buckets by its own resizing; value "
                            "copied out of an immutable node (" SECTION
                            "); a write brings a new node (cds_lfht_add_replace), the old "
                            "one is freed by call_rcu; any thread writes";

typedef struct entry {
    struct cds_lfht_node node;
    uint64_t key;
    readers_value value;
    struct rcu_head head;
} entry;

static struct cds_lfht *table;

bool readers_create(size_t capacity)
{
    (void)capacity;
    table = cds_lfht_new_flavor(64, 64, 0, CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING, &RCU(flavor),
                                NULL);
    return table != NULL;
}

static void free_entry(struct rcu_head *head)
{
    free(caa_container_of(head, entry, head));
}

void readers_destroy(void)
{
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;
    RCU(register_thread)();
    RCU(read_lock)();
    cds_lfht_for_each(table, &iter, node)
    {
        if (cds_lfht_del(table, node) == 0) {
            RCU(call_rcu)(&caa_container_of(node, entry, node)->head, free_entry);
        }
    }
    RCU(read_unlock)();
    RCU(unregister_thread)();
    RCU(barrier)();
    cds_lfht_destroy(table, NULL);
}

uint64_t readers_load_pct(void)
{
    return 0;
}

void readers_enter(void)
{
    RCU(register_thread)();
}

void readers_leave(void)
{
    RCU(unregister_thread)();
}

static int matches(struct cds_lfht_node *node, const void *key)
{
    return caa_container_of(node, entry, node)->key == *(const uint64_t *)key;
}

static inline bool find(uint64_t key, readers_value *out)
{
    struct cds_lfht_iter iter;
    RCU(read_lock)();
    cds_lfht_lookup(table, readers_hash(key), matches, &key, &iter);
    struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
    if (node != NULL) {
        *out = caa_container_of(node, entry, node)->value;
    }
    RCU(read_unlock)();
    return node != NULL;
}

static inline void update(uint64_t key, const readers_value *value)
{
    entry *e = malloc(sizeof *e);
    if (e == NULL) {
        abort();
    }
    cds_lfht_node_init(&e->node);
    e->key = key;
    e->value = *value;
    RCU(read_lock)();
    struct cds_lfht_node *old =
        cds_lfht_add_replace(table, readers_hash(key), matches, &key, &e->node);
    RCU(read_unlock)();
    if (old != NULL) {
        RCU(call_rcu)(&caa_container_of(old, entry, node)->head, free_entry);
    }
}

static inline void quiet(void)
{
#if READERS_QSBR
    urcu_qsbr_quiescent_state();
#endif
}

void readers_put(uint64_t oldest, uint64_t key)
{
    if (oldest != 0) {
        struct cds_lfht_iter iter;
        RCU(read_lock)();
        cds_lfht_lookup(table, readers_hash(oldest), matches, &oldest, &iter);
        struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
        if (node != NULL && cds_lfht_del(table, node) == 0) {
            RCU(call_rcu)(&caa_container_of(node, entry, node)->head, free_entry);
        }
        RCU(read_unlock)();
    }
    readers_value v = readers_value_of(key, key);
    update(key, &v);
    if (key % 128 == 0) {
        quiet();
    }
}

/* Until what was erased is freed. */
void readers_settle(void)
{
    RCU(barrier)();
}

#include "readers_loop.h"
