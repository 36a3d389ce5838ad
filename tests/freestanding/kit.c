/* Bodies of kit.h. */
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "port.h"

size_t kit_n_checks;

static const char *running; /* the case */
static size_t number;       /* ... and which it is */

void kit_print(const char *format, ...)
{
    static char line[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    port_write(line);
}

void kit_fail(const char *what, const char *file, int line)
{
    if (what) {
        kit_print("# %s:%d: error: %s\n", file, line, what);
    }
    kit_print("not ok %u - %s\n", (unsigned)number, running ? running : "outside of all cases");
    port_exit(1);
}

void kit_check(bool ok, const char *what, const char *file, int line)
{
    kit_n_checks++;
    if (!ok) {
        kit_fail(what, file, line);
    }
}

static void call(int (*fn)(void **state), void **state, const char *what)
{
    if (fn && fn(state) != 0) {
        kit_fail(what, __FILE__, __LINE__);
    }
}

int kit_run(const char *name, const struct CMUnitTest *tests, size_t n, int (*up)(void **state),
            int (*down)(void **state))
{
    void *group_state = NULL;
    kit_print("1..%u\n", (unsigned)n);
    call(up, &group_state, "the group's setup");
    for (size_t i = 0; i < n; i++) {
        const struct CMUnitTest *t = &tests[i];
        void *state = t->initial_state ? t->initial_state : group_state;
        running = t->name;
        number = i + 1;
        call(t->setup_func, &state, "the setup");
        t->test_func(&state);
        call(t->teardown_func, &state, "the teardown");
        kit_print("ok %u - %s\n", (unsigned)number, t->name);
    }
    running = NULL;
    call(down, &group_state, "the group's teardown");
    kit_print("# %s: %u cases, %u checks\n", name, (unsigned)n, (unsigned)kit_n_checks);
    return 0;
}

#ifdef TEST_BARE
/* What support.h takes from an operating system. An instruction is a nanosecond. */
uint64_t real_ns(void);
void sleep_ms(unsigned ms);

uint64_t real_ns(void)
{
    return port_instructions();
}

void sleep_ms(unsigned ms)
{
    (void)ms; /* nobody else would go on meanwhile */
}
#endif
