/* URLs of Redis servers: what they say, what is wrong with them, and that their secrets are in no text. */
/* links: hiredis ssl crypto */
/* also plain: NO_TLS=1 */
#define DLOAD_STORE 1
#ifndef NO_TLS
#define DLOAD_REDIS_TLS 1
#endif
#include "dataloader.h"
#include "adapters/dataloader_redis/conn.h"

#include "support.h"

static void test_redis_url_is_read(void **state)
{
    static const struct {
        const char *url, *shown; /* shown with = : refused, and with which words */
    } cases[] = {
        {"redis://", "redis://127.0.0.1:6379/0"},
        {"redis://h", "redis://h:6379/0"},
        {"redis://h:1/", "redis://h:1/0"},
        {"redis://h:65535/15", "redis://h:65535/15"},
        {"redis://h?db=4", "redis://h:6379/4"},
        {"redis://[::1]:7/1", "redis://[::1]:7/1"},
        {"redis://:c4nary@h", "redis://***@h:6379/0"},
        {"redis://user:c4nary@h", "redis://***@h:6379/0"},
        {"redis://us%40er:c4n%00ary%0d%0A@h", "redis://***@h:6379/0"},
        {"unix:///a/b%20c", "unix:///a/b c"},
        {"unix://u:c4nary@/a@b?db=2", "unix://***@/a@b"},
        {"redis://h?socket=/a/b", "unix:///a/b"},
        {"redis://h?connect_ms=1&command_ms=3600000&name=n", "redis://h:6379/0"},
        {"", "=redis: it begins with none of redis:// rediss:// unix://"},
        {"http://u:c4nary@h", "=redis: it begins with none of redis:// rediss:// unix://"},
        {"redis:/", "=redis: it begins with none of redis:// rediss:// unix://"},
        {"redis://:c4nary", "=redis: a port that is not one"},
        {"redis://h:0", "=redis: a port that is not one"},
        {"redis://h:65536", "=redis: a port that is not one"},
        {"redis://h:99999999999999999999", "=redis: a port that is not one"},
        {"redis://h:", "=redis: a port that is not one"},
        {"redis://h:6x", "=redis: a port that is not one"},
        {"redis://[::1", "=redis: an IPv6 address without its ]"},
        {"redis://[::1]x", "=redis: a port that is not one"},
        {"redis://c4nary@h", "=redis: a user without a password"},
        {"redis://:c4n@ary@h",
         "=redis: an @ or / in user or password that is not written as %40 or %2F"},
        {"redis://:c4n/ary@h",
         "=redis: an @ or / in user or password that is not written as %40 or %2F"},
        {"redis://:c4n?ary@h", "=redis: a port that is not one"},
        {"redis://:c4nary%2@h", "=redis: a broken %XX"},
        {"redis://:c4nary%g0@h", "=redis: a broken %XX"},
        {"redis://h%00x", "=redis: a broken %XX"},
        {"redis://h/x", "=redis: a database that is not a number"},
        {"redis://h/-1", "=redis: a database that is not a number"},
        {"redis://h/1/2", "=redis: a database that is not a number"},
        {"redis://h?db=", "=redis: a database that is not a number"},
        {"redis://h?c4nary", "=redis: an option without a value"},
        {"redis://h?password=c4nary", "=redis: an option that nobody knows"},
        {"redis://h?command_ms=0", "=redis: a timeout outside 1 ms to one hour"},
        {"redis://h?command_ms=3600001", "=redis: a timeout outside 1 ms to one hour"},
        {"redis://h?cert=/x", "=redis: a certificate without its key, or a key without its "
                              "certificate"},
        {"unix://c4nary", "=redis: unix:// is followed by a path that begins with /"},
        {"unix:///%00", "=redis: a broken %XX"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char shown[160], cut[8];
        bool refused = cases[i].shown[0] == '=';
        dload_redis_config cfg = {.url = cases[i].url};
        dload_redis_server s;
        must(dload_redis_server_init(&s, &cfg, NULL, 0), refused ? DLOAD_EINVAL : DLOAD_OK);
        if (!refused)
            dload_redis_server_end(&s);
        assert_string_equal(dload_redis_mask_url(cases[i].url, shown, sizeof shown),
                            cases[i].shown + refused);
        assert_true(strlen(dload_redis_mask_url(cases[i].url, cut, sizeof cut)) < sizeof cut);
    }
}

/* Random bytes between the signs of a URL: nothing is read or written beyond its room, and whatever stood
 * before an @ is not repeated. */
static void test_redis_url_of_anything(void **state)
{
    static const char *const signs[] = {"redis://", "unix://", ":",       "@",      "/",
                                        "?",        "&",       "=",       "%",      "[",
                                        "]",        "db=",     "socket=", "c4nary", "name="};
    uint64_t seed = test_seed("test_redis_url_of_anything");
    size_t n_good = 0;
    (void)state;
    for (size_t i = 0; i < scaled(20000); i++) {
        char text[200], shown[200];
        size_t len = (size_t)snprintf(text, sizeof text, "%s", signs[rng_below(&seed, 2)]);
        for (uint64_t k = rng_below(&seed, 12); k != 0; k--) {
            const char *sign = signs[rng_below(&seed, COUNT(signs))];
            if (rng_below(&seed, 2) == 0)
                len += (size_t)snprintf(text + len, sizeof text - len, "%s", sign);
            else
                text[len++] = (char)(1 + rng_below(&seed, 255));
            text[len] = '\0';
        }
        struct fake_env f;
        fake_env_init_real(&f);
        dload_redis_config cfg = {.url = text, .env = &f.env};
        dload_redis_server s;
        if (dload_redis_server_init(&s, &cfg, shown, sizeof shown) == DLOAD_OK) {
            assert_true(s.block_len <= s.block_bytes);
            n_good++;
            dload_redis_server_end(&s);
        }
        fake_env_check(&f);
        /* In a path or an option it is no password, and may be shown. */
        const char *from = strstr(text, "//") + 2, *canary = strstr(from, ":c4nary");
        const char *at = strchr(from, '@');
        if (canary != NULL && at != NULL && canary < at &&
            strcspn(from, "/?") > (size_t)(at - from) && strstr(at, "c4nary") == NULL)
            assert_null(strstr(dload_redis_mask_url(text, shown, sizeof shown), "c4nary"));
    }
    assert_true(n_good > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redis_url_is_read),
        cmocka_unit_test(test_redis_url_of_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
