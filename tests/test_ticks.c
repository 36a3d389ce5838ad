/* A counter of 32 bits that wraps becomes nanoseconds that do not. */
#define DLOAD_FREESTANDING 1
#define DLOAD_NAME         ti
#define DLOAD_KEY          uint32_t
#define DLOAD_VALUE        uint32_t
#include "dataloader.h"

#include "support.h"

static void a_look_tells_ns(void **state)
{
    dload_ticks t = {1000, 0, 0};
    (void)state;
    equal(dload_ticks_ns(&t, 0), 0);
    equal(dload_ticks_ns(&t, 1), 1000);
    equal(dload_ticks_ns(&t, 1), 1000);
    equal(dload_ticks_ns(&t, 5000), 5000000);
}

/* The first look counts from 0, wherever the counter is. */
static void a_first_look_may_come_late(void **state)
{
    dload_ticks t = {1, 0, 0};
    (void)state;
    equal(dload_ticks_ns(&t, UINT32_MAX), UINT32_MAX);
}

static void a_wrap_goes_on(void **state)
{
    dload_ticks t = {1000000, 0, 0};
    (void)state;
    equal(dload_ticks_ns(&t, UINT32_MAX), UINT64_C(1000000) * UINT32_MAX);
    equal(dload_ticks_ns(&t, 0), UINT64_C(1000000) << 32);
    equal(dload_ticks_ns(&t, 7), (UINT64_C(1000000) << 32) + 7000000);
}

/* Many rounds, looked at with strides up to a whole one, against a counter of 64 bits. */
static void many_wraps_are_exact(void **state)
{
    uint64_t x = test_seed("ticks");
    (void)state;
    for (uint32_t tick_ns = 1; tick_ns < UINT32_C(1000000000); tick_ns = tick_ns * 7 + 1) {
        dload_ticks t = {tick_ns, 0, 0};
        uint64_t ticks = 0;
        for (int i = 0; i < 300 && ticks < UINT64_MAX / tick_ns - UINT32_MAX; i++) {
            uint32_t step = (uint32_t)(rng(&x) >> (32 + rng(&x) % 32));
            ticks += i % 50 == 0 ? UINT32_MAX : step;
            equal(dload_ticks_ns(&t, (uint32_t)ticks), ticks * tick_ns);
        }
        assert_true(ticks > UINT64_C(1) << 32);
    }
}

/* The multiplication of cores that have none of this width. */
static void halves_multiply(void **state)
{
    static const uint32_t edges[] = {0,          1,          2,          0x7fff,
                                     0x8000,     0xffff,     0x10000,    0x10001,
                                     0x7fffffff, 0x80000000, 0xffff0000, 0xffffffff};
    uint64_t x = test_seed("ticks");
    (void)state;
    for (size_t i = 0; i < COUNT(edges); i++) {
        for (size_t k = 0; k < COUNT(edges); k++) {
            equal(dload_i_mul_halves(edges[i], edges[k]), (uint64_t)edges[i] * edges[k]);
        }
    }
    for (int i = 0; i < 100000; i++) {
        uint32_t a = (uint32_t)rng(&x);
        uint32_t b = (uint32_t)(rng(&x) >> 32);
        equal(dload_i_mul_halves(a, b), (uint64_t)a * b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_tells_ns), cmocka_unit_test(a_first_look_may_come_late),
        cmocka_unit_test(a_wrap_goes_on),  cmocka_unit_test(many_wraps_are_exact),
        cmocka_unit_test(halves_multiply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
