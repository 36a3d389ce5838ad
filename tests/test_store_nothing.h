/* A store that never has anything, and finds every request done before it returns: whoever includes this file
 * before the cases of a table runs them through the second level, and nothing may come out otherwise. */
#ifndef DLOAD_TESTS_STORE_NOTHING_H
#define DLOAD_TESTS_STORE_NOTHING_H

#define DLOAD_STORE 1
#include "dataloader.h"

static dload_status nothing_run(dload_store *s, dload_store_op *op)
{
    (void)s;
    for (size_t i = 0; i < op->n; i++)
        op->items[i].status = op->kind == DLOAD_STORE_GET ? DLOAD_MISSING : DLOAD_OK;
    if (op->done == NULL)
        return DLOAD_OK;
    op->done(op, DLOAD_OK);
    return DLOAD_PENDING;
}

static dload_store *nothing_store(void)
{
    static dload_store s;
    s.name = "nothing";
    s.flags = DLOAD_STORE_ASYNC;
    s.env = dload_env_default();
    s.run = nothing_run;
    return &s;
}

#define DLOAD_STORE 1 /* of the loader that the cases use */
#define TEST_STORE  nothing_store()

#endif /* DLOAD_TESTS_STORE_NOTHING_H */
