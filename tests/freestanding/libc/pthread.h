/* One thread: what suites for several drivers declare although this one has no threads. */
#ifndef DLOAD_TESTS_PTHREAD_H
#define DLOAD_TESTS_PTHREAD_H

typedef int pthread_t;
typedef int pthread_mutex_t;

#define PTHREAD_MUTEX_INITIALIZER 0

static inline int pthread_mutex_init(pthread_mutex_t *m, const void *attributes)
{
    (void)attributes;
    return *m = 0;
}

static inline int pthread_mutex_destroy(pthread_mutex_t *m)
{
    return *m;
}

static inline int pthread_mutex_lock(pthread_mutex_t *m)
{
    return (*m)++; /* a second lock would wait for ever */
}

static inline int pthread_mutex_unlock(pthread_mutex_t *m)
{
    return --*m;
}

#endif /* DLOAD_TESTS_PTHREAD_H */
