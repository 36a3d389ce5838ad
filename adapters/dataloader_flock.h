/* dataloader_flock.h -- named locks between the processes of one machine: flock(2) on files of a private folder.
 *
 * SPDX-License-Identifier: MIT
 *
 *     #define DLOAD_NAME  quotes
 *     #define DLOAD_KEY   DLOAD_STRING
 *     #define DLOAD_VALUE double
 *     #define DLOAD_LOCK  DLOAD_LOCK_PTHREAD
 *     #define DLOAD_STORE 1
 *     #include "dataloader.h"
 *     #include "dataloader_flock.h"
 *
 *     dload_flock f;
 *     dload_status st = dload_flock_init(&f, "/var/lib/quotes/locks", NULL);
 *     quotes_config cfg = quotes_config_default();
 *     cfg.locks = &f.locks;                        // one process at a time fetches
 *     ...
 *     quotes_destroy(&l);
 *     dload_flock_destroy(&f);
 *
 * or by hand, with the three functions of dload_locks:
 *
 *     dload_held held;
 *     st = f.locks.take(&f.locks, dload_str_from("reindex"), 5 * DLOAD_SECOND, &held);
 *     if (st == DLOAD_OK) {
 *         ...
 *         (void)f.locks.give(&f.locks, &held);
 *     }
 *
 * THE FOLDER  It is made when it is not there, with mode 0700, and refused when it belongs to somebody else, when
 * others may enter it, or when it is a symbolic link: whoever can write there can take what is locked there. The
 * folders above it are the caller's business. Use a local file system: what flock means on a network
 * one depends on that.
 *
 * NAMES  Any bytes. A file is called by its name's bytes in hexadecimal, so that nothing in a name reaches the file
 * system; names over 96 bytes by the first 64 in hexadecimal, length and a hash of 128 bits: two of them may, once in
 * 2^128 pairs of chance names, be one lock. Each name leaves an empty file of mode 0600 behind. It is never
 * removed: who waits for a file that is no longer there does not exclude who makes it anew. Removed by hand, the
 * next one makes it again, and who held it finds its lock lost.
 *
 * WAITING  The kernel has no wait with a deadline. So that a stopped holder does not stop everybody for ever, a lock
 * is tried again and again, at first after 0.5 ms, then after pauses that double up to 25 ms: nobody is next,
 * who comes at the right moment is. Threads of one process exclude each other like processes. One
 * caller does not take a name twice: it would wait for itself until its time is over.
 *
 * WHO DIES  The kernel gives the lock of a process that ended to the next, however it ended. A stopped one keeps it.
 *
 * FORK, EXEC  A child has none of its parent's locks: in it check and give are DLOAD_ELOCK and leave the parent's lock
 * alone, and it may take locks of its own. Its copies of the parent's files are closed as it starts, so that
 * it does not keep them locked when the parent dies; where fork handlers do not run (vfork, clone), exec closes them.
 *
 * THREADS  Everything but _init and _destroy, any thread. Costs six system calls for a lock that is free.
 *
 * WHAT CAN FAIL  DLOAD_ELOCK: the folder or the file cannot be opened or is not as said above, or too many files are
 * open (errno says which); a loader then goes on without the lock.
 */
#ifndef DLOAD_I_NAMED_H
#error "dataloader_flock.h: include dataloader.h with DLOAD_STORE 1 before this header"
#endif

#ifndef DATALOADER_FLOCK_H
#define DATALOADER_FLOCK_H

#if DLOAD_FREESTANDING
#error "dataloader_flock.h: files need a host; it does not go with DLOAD_FREESTANDING 1"
#endif

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#if !defined(O_CLOEXEC) || !defined(O_NOFOLLOW) || !defined(O_DIRECTORY) || !defined(AT_FDCWD)
#error \
    "dataloader_flock.h: include dataloader.h, or define _POSIX_C_SOURCE 200809L, before any system header"
#endif

#define DLOAD_FLOCK_I_FIRST_NS (500 * DLOAD_MICROSECOND) /* the first pause between two tries */
#define DLOAD_FLOCK_I_LAST_NS  (25 * DLOAD_MILLISECOND)  /* and the longest */
#define DLOAD_FLOCK_I_PLAIN    96u  /* bytes of a name that are all in its file's name */
#define DLOAD_FLOCK_I_PREFIX   64u  /* ... of a longer one that are */
#define DLOAD_FLOCK_I_NAME_MAX 224u /* bytes of a file's name, with its NUL */

/* A lock that is held or waited for, in the list of its process. Private. */
typedef struct dload_flock_i_file {
    struct dload_flock_i_file *next, *before;
    const dload_env *env;
    int fd; /* -1 = not open; under the list's mutex */
    pid_t pid;
    char name[DLOAD_FLOCK_I_NAME_MAX];
} dload_flock_i_file;

/* Named locks in a folder. Must not move between _init and _destroy. */
typedef struct dload_flock {
    dload_locks locks; /* hand &f.locks to a configuration, or call its functions */
    /* private */
    const dload_env *env;
    char *folder; /* with its NUL */
    size_t folder_bytes;
} dload_flock;

/* ---- what a child closes ---- */

/* All locks that this process holds or waits for: a file that is open when the process forks is one with the
 * child's, and locked later it is locked by both. So files are opened and closed under the mutex, which a fork
 * waits for. */
typedef struct dload_flock_i_list {
    pthread_mutex_t mutex;
    dload_flock_i_file *first;
} dload_flock_i_list;

DLOAD_I_LOCAL dload_flock_i_list *dload_flock_i_all(void)
{
    static dload_flock_i_list all = {PTHREAD_MUTEX_INITIALIZER, NULL};
    return &all;
}

DLOAD_I_LOCAL void dload_flock_i_before_fork(void)
{
    (void)pthread_mutex_lock(&dload_flock_i_all()->mutex);
}

DLOAD_I_LOCAL void dload_flock_i_in_parent(void)
{
    (void)pthread_mutex_unlock(&dload_flock_i_all()->mutex);
}

/* Closing leaves the parent's lock alone; unlocking, which is for the file as both have it, would end it. */
DLOAD_I_LOCAL void dload_flock_i_in_child(void)
{
    dload_flock_i_list *all = dload_flock_i_all();
    for (dload_flock_i_file *at = all->first; at != NULL; at = at->next) {
        (void)close(at->fd);
        at->fd = -1;
    }
    all->first = NULL;
    (void)pthread_mutex_unlock(&all->mutex);
}

DLOAD_I_LOCAL void dload_flock_i_watch_once(void)
{
    (void)pthread_atfork(dload_flock_i_before_fork, dload_flock_i_in_parent,
                         dload_flock_i_in_child);
}

DLOAD_I_LOCAL void dload_flock_i_enlist(dload_flock_i_file *file)
{
    dload_flock_i_list *all = dload_flock_i_all();
    file->before = NULL;
    (void)pthread_mutex_lock(&all->mutex);
    file->next = all->first;
    if (file->next != NULL)
        file->next->before = file;
    all->first = file;
    (void)pthread_mutex_unlock(&all->mutex);
}

/* ---- names ---- */

DLOAD_I_LOCAL char *dload_flock_i_hex(char *to, const char *bytes, size_t n_bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n_bytes; i++) {
        *to++ = digits[(unsigned char)bytes[i] >> 4];
        *to++ = digits[(unsigned char)bytes[i] & 15];
    }
    return to;
}

/* One of two hashes of a name, the same in every program on this machine, whatever it hashes keys by. */
DLOAD_I_LOCAL uint64_t dload_flock_i_hash(dload_str name, uint64_t h)
{
    for (size_t i = 0; i < name.len; i++)
        h = dload_i_mix64(h ^ (unsigned char)name.ptr[i]) + UINT64_C(0x9e3779b97f4a7c15);
    return dload_i_mix64(h ^ name.len);
}

/* What the file of a lock is called: "n" and the name, or "h", a part, its length and its hash. */
DLOAD_I_LOCAL void dload_flock_i_file_name(dload_str name, char to[DLOAD_FLOCK_I_NAME_MAX])
{
    char *at = to;
    if (name.len <= DLOAD_FLOCK_I_PLAIN) {
        *at++ = 'n';
        at = dload_flock_i_hex(at, name.ptr, name.len);
    } else {
        uint64_t numbers[3];
        char bytes[sizeof numbers];
        numbers[0] = name.len;
        numbers[1] = dload_flock_i_hash(name, UINT64_C(0x2545f4914f6cdd1d));
        numbers[2] = dload_flock_i_hash(name, UINT64_C(0xd6e8feb86659fd93));
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)(unsigned char)(numbers[i / 8] >> (56 - 8 * (i % 8)) & 0xff);
        *at++ = 'h';
        at = dload_flock_i_hex(at, name.ptr, DLOAD_FLOCK_I_PREFIX);
        at = dload_flock_i_hex(at, bytes, sizeof bytes);
    }
    *at = '\0';
}

/* ---- files ---- */

DLOAD_I_LOCAL int dload_flock_i_openat(int folder, const char *name, int flags)
{
    int fd = -1;
    do
        fd = openat(folder, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Opens the folder, which must be ours alone; -1 and errno. Each time anew, so that a folder that was put in its
 * place is the one that everybody uses. */
DLOAD_I_LOCAL int dload_flock_i_open_folder(const dload_flock *f)
{
    int fd = dload_flock_i_openat(AT_FDCWD, f->folder, O_RDONLY | O_DIRECTORY);
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 077) != 0)) {
        (void)close(fd);
        fd = -1;
        errno = EPERM;
    }
    return fd;
}

/* Does this name still mean the file that fd is? Somebody may have removed it, or put another in its place: then
 * whoever comes next locks that one, and not ours. */
DLOAD_I_LOCAL bool dload_flock_i_is_there(const dload_flock *f, const char *name, int fd)
{
    struct stat ours, there;
    int folder = dload_flock_i_open_folder(f);
    if (folder < 0)
        return false;
    bool same = fstat(fd, &ours) == 0 && fstatat(folder, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
                ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
    (void)close(folder);
    return same;
}

/* Opens a lock's file, and makes it when it is not there; -1 and errno. A symbolic link, a pipe or a
 * device in its place is not followed, not waited for and not used. */
DLOAD_I_LOCAL int dload_flock_i_open(const dload_flock *f, const char *name)
{
    struct stat st;
    int folder = dload_flock_i_open_folder(f);
    if (folder < 0)
        return -1;
    int fd = dload_flock_i_openat(folder, name, O_RDWR | O_CREAT | O_NONBLOCK | O_NOCTTY);
    int error = errno;
    (void)close(folder);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())) {
        (void)close(fd);
        fd = -1;
        error = EPERM;
    }
    errno = error;
    return fd;
}

/* One try, under the list's mutex: DLOAD_OK and the file; DLOAD_EBUSY, somebody has it; DLOAD_EAGAIN, the file was
 * another by the time it was locked; DLOAD_ELOCK. *fd stays open between tries, -1 = not yet. */
DLOAD_I_LOCAL dload_status dload_flock_i_try_held(const dload_flock *f, const char *name, int *fd)
{
    if (*fd < 0)
        *fd = dload_flock_i_open(f, name);
    if (*fd < 0)
        return DLOAD_ELOCK;
    int rc = 0;
    do
        rc = flock(*fd, LOCK_EX | LOCK_NB);
    while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno != EWOULDBLOCK)
        return DLOAD_ELOCK;
    if (rc == 0 && dload_flock_i_is_there(f, name, *fd))
        return DLOAD_OK;
    if (rc != 0 && dload_flock_i_is_there(f, name, *fd))
        return DLOAD_EBUSY;
    (void)close(*fd); /* the lock with it */
    *fd = -1;
    return DLOAD_EAGAIN;
}

DLOAD_I_LOCAL dload_status dload_flock_i_try(const dload_flock *f, dload_flock_i_file *file)
{
    dload_flock_i_list *all = dload_flock_i_all();
    (void)pthread_mutex_lock(&all->mutex);
    dload_status st = dload_flock_i_try_held(f, file->name, &file->fd);
    int error = errno;
    (void)pthread_mutex_unlock(&all->mutex);
    errno = error;
    return st;
}

/* The end of a file that the list has, and of its lock. */
DLOAD_I_LOCAL void dload_flock_i_end(dload_flock_i_file *file)
{
    dload_flock_i_list *all = dload_flock_i_all();
    (void)pthread_mutex_lock(&all->mutex);
    *(file->before != NULL ? &file->before->next : &all->first) = file->next;
    if (file->next != NULL)
        file->next->before = file->before;
    if (file->fd >= 0) {
        /* Not left to close: a child that was made without fork handlers has the file open, too. */
        (void)flock(file->fd, LOCK_UN);
        (void)close(file->fd);
    }
    (void)pthread_mutex_unlock(&all->mutex);
    dload_i_free(file->env, file, sizeof *file);
}

/* ---- the interface ---- */

/* Between two tries: a little more or less than the pause, so that those who wait do not march in step. */
DLOAD_I_LOCAL void dload_flock_i_pause(uint64_t pause_ns, uint64_t left_ns)
{
    uint64_t clock_ns = dload_i_clock_precise(NULL);
    pause_ns += dload_i_mix64(clock_ns ^ (uint64_t)(uintptr_t)&clock_ns) % (pause_ns / 2);
    dload_i_nap(pause_ns < left_ns ? pause_ns : left_ns);
}

DLOAD_I_LOCAL dload_status dload_flock_i_wait(const dload_flock *f, dload_flock_i_file *file,
                                              uint64_t timeout_ns)
{
    const uint64_t until_ns = dload_i_add_ns(dload_i_clock_precise(NULL), timeout_ns);
    uint64_t pause_ns = DLOAD_FLOCK_I_FIRST_NS;
    for (uint32_t n_gone = 0;;) {
        dload_status st = dload_flock_i_try(f, file);
        if (st == DLOAD_EAGAIN && n_gone++ < 16)
            continue; /* once more at once: each time somebody removed the file */
        if (st != DLOAD_EBUSY && st != DLOAD_EAGAIN)
            return st;
        uint64_t now_ns = dload_i_clock_precise(NULL);
        if (now_ns >= until_ns)
            return DLOAD_ETIMEDOUT;
        dload_flock_i_pause(pause_ns, until_ns - now_ns);
        pause_ns = pause_ns * 2 < DLOAD_FLOCK_I_LAST_NS ? pause_ns * 2 : DLOAD_FLOCK_I_LAST_NS;
    }
}

DLOAD_I_LOCAL dload_status dload_flock_i_take(dload_locks *p, dload_str name, uint64_t timeout_ns,
                                              dload_held *held)
{
    const dload_flock *f = (const dload_flock *)(void *)p;
    if (held == NULL || (name.ptr == NULL && name.len != 0))
        return DLOAD_EINVAL;
    memset(held, 0, sizeof *held);
    dload_flock_i_file *file =
        (dload_flock_i_file *)dload_i_alloc(f->env, sizeof(dload_flock_i_file));
    if (file == NULL)
        return DLOAD_ENOMEM;
    int before = 0;
    file->env = f->env;
    file->pid = getpid();
    file->fd = -1;
    dload_flock_i_file_name(name, file->name);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    dload_flock_i_enlist(file);
    dload_status st = dload_flock_i_wait(f, file, timeout_ns);
    if (st == DLOAD_OK) {
        held->impl = file;
    } else {
        int error = errno;
        dload_flock_i_end(file);
        errno = error;
    }
    (void)pthread_setcancelstate(before, &before);
    return st;
}

DLOAD_I_LOCAL dload_status dload_flock_i_check(dload_locks *p, dload_held *held)
{
    const dload_flock *f = (const dload_flock *)(void *)p;
    const dload_flock_i_file *file = held != NULL ? (const dload_flock_i_file *)held->impl : NULL;
    if (file == NULL || file->pid != getpid())
        return DLOAD_ELOCK;
    return dload_flock_i_is_there(f, file->name, file->fd) ? DLOAD_OK : DLOAD_ELOCK;
}

DLOAD_I_LOCAL dload_status dload_flock_i_give(dload_locks *p, dload_held *held)
{
    const dload_flock *f = (const dload_flock *)(void *)p;
    dload_flock_i_file *file = held != NULL ? (dload_flock_i_file *)held->impl : NULL;
    if (file == NULL)
        return DLOAD_ELOCK;
    held->impl = NULL;
    dload_status st = DLOAD_ELOCK;
    if (file->pid == getpid()) {
        st = dload_flock_i_is_there(f, file->name, file->fd) ? DLOAD_OK : DLOAD_ELOCK;
        dload_flock_i_end(file);
    } else {
        dload_i_free(file->env, file, sizeof *file); /* the child's copy; its file is closed */
    }
    return st;
}

/* Makes the folder when it is not there; true when it can be used. */
DLOAD_I_LOCAL bool dload_flock_i_has_folder(const dload_flock *f)
{
    if (mkdir(f->folder, 0700) != 0 && errno != EEXIST)
        return false;
    int fd = dload_flock_i_open_folder(f);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

/* Prepares named locks in a folder, an absolute path, which is copied; all processes that are to exclude each
 * other say the same one. env, for memory, must outlive them; NULL = the host's. They are waited for by the
 * system's monotonic clock, whatever env's says.
 * Returns DLOAD_OK; DLOAD_EINVAL: f or folder is NULL, the path is not absolute, or an env without alloc or free;
 * DLOAD_ENOMEM; DLOAD_ELOCK: the folder cannot be made, is not a folder, or is not private (errno).
 * Allocates the path; a lock allocates one small block while it is held. */
DLOAD_I_LOCAL dload_status dload_flock_init(dload_flock *f, const char *folder,
                                            const dload_env *env)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    env = env != NULL ? env : dload_env_default();
    if (f == NULL || folder == NULL || folder[0] != '/' || env->alloc == NULL || env->free == NULL)
        return DLOAD_EINVAL;
    memset(f, 0, sizeof *f);
    f->env = env;
    f->folder_bytes = strlen(folder) + 1;
    f->folder = (char *)dload_i_alloc(env, f->folder_bytes);
    if (f->folder == NULL)
        return DLOAD_ENOMEM;
    memcpy(f->folder, folder, f->folder_bytes);
    f->locks.name = "flock";
    f->locks.take = dload_flock_i_take;
    f->locks.check = dload_flock_i_check;
    f->locks.give = dload_flock_i_give;
    (void)pthread_once(&once, dload_flock_i_watch_once);
    if (dload_flock_i_has_folder(f))
        return DLOAD_OK;
    int error = errno;
    dload_i_free(env, f->folder, f->folder_bytes);
    f->folder = NULL;
    errno = error;
    return DLOAD_ELOCK;
}

/* Ends them. Nobody may be in a call, and nobody hold a lock. The folder and the files in it stay. f may be NULL. */
DLOAD_I_LOCAL void dload_flock_destroy(dload_flock *f)
{
    if (f != NULL && f->folder != NULL) {
        dload_i_free(f->env, f->folder, f->folder_bytes);
        f->folder = NULL;
    }
}

#endif /* DATALOADER_FLOCK_H */
