/* uthash under a pthread_rwlock: what one writes who has threads and a hash table. */
#include "readers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#include <uthash.h>

const char readers_name[] = "rwlock+uthash";
const char readers_note[] =
    "uthash, default hash (Jenkins) and load (bucket chains of up to 10), one "
    "pthread_rwlock of default kind; value copied out under the read lock; any "
    "thread writes";

typedef struct node {
    uint64_t key;
    readers_value value;
    UT_hash_handle hh;
} node;

static node *head;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

bool readers_create(size_t capacity)
{
    (void)capacity;
    head = NULL;
    return true;
}

void readers_destroy(void)
{
    node *n = NULL;
    node *next = NULL;
    HASH_ITER(hh, head, n, next)
    {
        HASH_DEL(head, n);
        free(n);
    }
}

uint64_t readers_load_pct(void)
{
    return head == NULL ? 0 : 100 * (uint64_t)HASH_COUNT(head) / head->hh.tbl->num_buckets;
}

void readers_enter(void)
{
}

void readers_leave(void)
{
}

static inline node *find_node(uint64_t key)
{
    node *n = NULL;
    HASH_FIND(hh, head, &key, sizeof key, n);
    return n;
}

static inline bool find(uint64_t key, readers_value *out)
{
    pthread_rwlock_rdlock(&lock);
    node *n = find_node(key);
    if (n != NULL) {
        *out = n->value;
    }
    pthread_rwlock_unlock(&lock);
    return n != NULL;
}

static inline void update(uint64_t key, const readers_value *value)
{
    pthread_rwlock_wrlock(&lock);
    node *n = find_node(key);
    if (n != NULL) {
        n->value = *value;
    }
    pthread_rwlock_unlock(&lock);
}

static inline void quiet(void)
{
}

void readers_put(uint64_t oldest, uint64_t key)
{
    node *n = oldest == 0 ? NULL : find_node(oldest);
    if (n != NULL) {
        HASH_DEL(head, n);
    } else {
        n = malloc(sizeof *n);
        if (n == NULL) {
            abort();
        }
    }
    n->key = key;
    n->value = readers_value_of(key, key);
    HASH_ADD(hh, head, key, sizeof n->key, n);
}

void readers_settle(void)
{
}

#include "readers_loop.h"
