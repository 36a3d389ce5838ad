/* The critical section of specs/critical.ini: it counts. */
#ifndef TESTS_GEN_CRITICAL_H
#define TESTS_GEN_CRITICAL_H

struct critical {
    unsigned inside;
};
static unsigned critical_entered, critical_left;

#define DLOAD_CUSTOM_TYPE     struct critical
#define DLOAD_CUSTOM_INIT(p)  ((p)->inside = 0)
#define DLOAD_CUSTOM_ENTER(p) ((p)->inside++, critical_entered++)
#define DLOAD_CUSTOM_LEAVE(p) ((p)->inside--, critical_left++)

#endif /* TESTS_GEN_CRITICAL_H */
