/* Runs the loaders of specs/bytes.ini: byte strings to blobs, 16-byte identifiers to int; both in
 * one translation unit. */
#include <stdio.h>

#include "files.h"
#include "by_uuid.h"

static dload_status fetch_file(files_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        printf("fetch %.*s\n", (int)b->keys[i].len, b->keys[i].ptr);
        if (b->keys[i].len != 0)
            (void)files_batch_set_bytes(b, i, b->keys[i].ptr, b->keys[i].len);
    }
    return DLOAD_OK;
}

static dload_status fetch_uuid(by_uuid_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        int n = b->keys[i].bytes[15];
        (void)by_uuid_batch_set(b, i, &n);
    }
    return DLOAD_OK;
}

static int run_files(void)
{
    files l;
    files_config config = files_config_preset();
    config.fetch = fetch_file;
    if (config.max_key_bytes != 64 || files_init(&l, &config) != DLOAD_OK)
        return 2;
    char key[80] = "etc/passwd";
    for (int round = 0; round < 2; round++) {
        dload_blob blob;
        dload_status st = files_load(&l, dload_str_from(key), &blob);
        printf("%s %.*s\n", dload_status_name(st), (int)blob.len, (const char *)blob.ptr);
        dload_blob_release(&blob);
    }
    dload_blob none;
    printf("empty %s\n", dload_status_name(files_load(&l, dload_str_from(""), &none)));
    memset(key, 'x', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    printf("long %s\n", dload_status_name(files_load(&l, dload_str_from(key), &none)));
    (void)files_close(&l, DLOAD_DRAIN, 0);
    return files_destroy(&l) == DLOAD_OK ? 0 : 4;
}

static int run_uuids(void)
{
    by_uuid l;
    by_uuid_config config = by_uuid_config_default();
    config.fetch = fetch_uuid;
    if (by_uuid_init(&l, &config) != DLOAD_OK)
        return 2;
    dload_id128 id;
    memset(&id, 0, sizeof id);
    id.bytes[15] = 42;
    int n = 0;
    printf("%s", dload_status_name(by_uuid_load(&l, id, &n)));
    printf(" %d\n", n);
    (void)by_uuid_close(&l, DLOAD_DRAIN, 0);
    return by_uuid_destroy(&l) == DLOAD_OK ? 0 : 4;
}

int main(void)
{
    int failed = run_files();
    return failed != 0 ? failed : run_uuids();
}
