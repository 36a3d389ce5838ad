/* Every way to own a value: plain structs, references, copies, blobs. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct point {
    double x, y;
    char label[16];
};
#define DLOAD_NAME  points
#define DLOAD_KEY   int
#define DLOAD_VALUE struct point
#include "dataloader.h"
#define USE_NAME points
#include "use.h"

struct shared {
    int n_refs;
};
static void shared_ref(struct shared *s)
{
    s->n_refs++;
}
static void shared_unref(struct shared *s)
{
    s->n_refs--;
}
#define DLOAD_NAME            shareds
#define DLOAD_KEY             int
#define DLOAD_VALUE           struct shared *
#define DLOAD_VALUE_REF(pv)   shared_ref(*(pv))
#define DLOAD_VALUE_UNREF(pv) shared_unref(*(pv))
#define DLOAD_LOCK            DLOAD_LOCK_PTHREAD
#include "dataloader.h"
#define USE_NAME shareds
#include "use.h"

static size_t n_copies;
static bool copy_text(char **to, char *const *from)
{
    size_t n_bytes = strlen(*from) + 1;
    char *p = (char *)malloc(n_bytes);
    if (p == NULL)
        return false;
    memcpy(p, *from, n_bytes);
    *to = p;
    n_copies++;
    return true;
}
static void free_text(char **v)
{
    n_copies--;
    free(*v);
}
#define DLOAD_NAME                 texts
#define DLOAD_KEY                  DLOAD_STRING
#define DLOAD_VALUE                char *
#define DLOAD_VALUE_COPY(to, from) copy_text((to), (from))
#define DLOAD_VALUE_FREE(pv)       free_text(pv)
#include "dataloader.h"
#define USE_NAME texts
#include "use.h"

#define DLOAD_NAME  blobs
#define DLOAD_KEY   uint64_t
#define DLOAD_VALUE DLOAD_BLOB
#define DLOAD_LOCK  DLOAD_LOCK_SPIN
#include "dataloader.h"
#define USE_NAME blobs
#include "use.h"

int main(void)
{
    struct point p;
    struct shared s;
    dload_blob blob;
    int failed = 0;
    char text[] = "a text";
    memset(&p, 0, sizeof p);
    s.n_refs = 1;
    failed |= points_use(1, p);
    failed |= shareds_use(1, &s);
    failed |= texts_use(dload_str_from("key"), text);
    if (dload_blob_make(dload_env_default(), "bytes", 5, &blob) != DLOAD_OK)
        return 1;
    failed |= blobs_use(1, blob);
    dload_blob_release(&blob);
    return failed;
}
