/* A critical section that watches its user, for suites under DLOAD_LOCK_CUSTOM: tests/tools/suite includes this
 * before everything else. Bodies in custom_lock.c.
 *
 * The program ends at once where a section is entered twice by one thread, left by another thread or out of
 * order, where more than two are held, or where one is held at a place that must be outside.
 */
#ifndef DLOAD_TESTS_CUSTOM_LOCK_H
#define DLOAD_TESTS_CUSTOM_LOCK_H

struct test_section;

#define DLOAD_CUSTOM_TYPE       struct test_section *
#define DLOAD_CUSTOM_INIT(p)    test_section_init(p)
#define DLOAD_CUSTOM_ENTER(p)   test_section_enter(*(p))
#define DLOAD_CUSTOM_LEAVE(p)   test_section_leave(*(p))
#define DLOAD_CUSTOM_DESTROY(p) test_section_destroy(*(p))

void test_section_init(struct test_section **p);
void test_section_enter(struct test_section *s);
void test_section_leave(struct test_section *s);
void test_section_destroy(struct test_section *s);

/* This thread is in no section. */
void test_section_outside(const char *where);

#endif /* DLOAD_TESTS_CUSTOM_LOCK_H */
