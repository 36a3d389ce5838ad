/* >>snapshot_file -- a snapshot in a file: written beside it, synced, and put in its place in one step.
 *
 * Whoever crashes, at whatever point, leaves the file as it was or the new one. What was written beside it
 * has the file's name and ".tmp", and a lock: two savers exclude each other, and what a crash has left
 * there is used again by the next save. Hosted programs only.
 */
#include "snapshot.h"

#if DLOAD_SNAPSHOT && !DLOAD_FREESTANDING && !defined(DLOAD_I_SNAPSHOT_FILE_H)
#define DLOAD_I_SNAPSHOT_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A strict -std=c11 with a header of the C library included before us hides some of these. */
#ifdef O_CLOEXEC
#define DLOAD_I_O_CLOEXEC O_CLOEXEC
#else
#define DLOAD_I_O_CLOEXEC 0
#endif
#ifdef O_NOFOLLOW
#define DLOAD_I_O_NOFOLLOW O_NOFOLLOW
#else
#define DLOAD_I_O_NOFOLLOW 0
#endif
#ifndef _POSIX_C_SOURCE
#ifdef __cplusplus
extern "C" {
#endif
int fsync(int fd);
#ifdef __cplusplus
}
#endif
#endif

typedef struct dload_i_file {
    const dload_env *env;
    char *names; /* the file's, what is written beside it, and their folder's, each with its NUL */
    size_t n_names;
    const char *path, *beside, *folder;
    int fd;
} dload_i_file;

DLOAD_I_LOCAL int dload_i_file_open(const char *path, int flags)
{
    int fd = -1;
    do
        fd = open(path, flags | DLOAD_I_O_CLOEXEC, 0600);
    while (fd < 0 && errno == EINTR);
    return fd;
}

DLOAD_I_LOCAL void dload_i_file_close(dload_i_file *f)
{
    int kept = errno; /* what is said of the failure, not of the cleaning up */
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
    dload_i_free(f->env, f->names, f->n_names);
    f->names = NULL;
    errno = kept;
}

/* ---- writing ---- */

DLOAD_I_LOCAL dload_status dload_i_file_write(void *ctx, const void *bytes, size_t n_bytes)
{
    const dload_i_file *f = (const dload_i_file *)ctx;
    const char *p = (const char *)bytes;
    while (n_bytes != 0) {
        ssize_t n = write(f->fd, p, n_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return DLOAD_EIO;
        p += n;
        n_bytes -= (size_t)n;
    }
    return DLOAD_OK;
}

/* Is what we have open still what has the name beside? Another saver may have put it in the file's place
 * after we opened it and before we had the lock. */
DLOAD_I_LOCAL bool dload_i_file_is_beside(const dload_i_file *f)
{
    struct stat ours, there;
    return fstat(f->fd, &ours) == 0 && stat(f->beside, &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* What a crash has left there goes. (ftruncate() is one of the hidden ones, with a type that is hidden, too.) */
DLOAD_I_LOCAL dload_status dload_i_file_empty(const dload_i_file *f)
{
    int fd = dload_i_file_open(f->beside, O_WRONLY | O_TRUNC | DLOAD_I_O_NOFOLLOW);
    if (fd < 0)
        return DLOAD_EIO;
    (void)close(fd);
    return DLOAD_OK;
}

/* Opens what will be the file. DLOAD_EBUSY while another save to it goes on. */
DLOAD_I_LOCAL dload_status dload_i_file_create(dload_i_file *f, const dload_env *env,
                                               const char *path)
{
    size_t len = strlen(path);
    size_t folder = len;
    while (folder > 0 && path[folder - 1] != '/')
        folder--;
    memset(f, 0, sizeof *f);
    f->env = env;
    f->fd = -1;
    f->n_names = 3 * len + 16;
    f->names = (char *)dload_i_alloc(env, f->n_names);
    if (f->names == NULL)
        return DLOAD_ENOMEM;
    char *beside = f->names + len + 1, *in = beside + len + 5;
    memcpy(f->names, path, len + 1);
    memcpy(beside, path, len);
    memcpy(beside + len, ".tmp", 5);
    memcpy(in, folder != 0 ? path : ".", folder != 0 ? folder : 1);
    in[folder != 0 ? folder : 1] = '\0';
    f->path = f->names;
    f->beside = beside;
    f->folder = in;
    for (int i = 0; i < 100; i++) {
        f->fd = dload_i_file_open(f->beside, O_WRONLY | O_CREAT | DLOAD_I_O_NOFOLLOW);
        if (f->fd < 0)
            return DLOAD_EIO;
        if (flock(f->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
            return DLOAD_EBUSY; /* where there are no locks, there is nothing to wait for */
        if (dload_i_file_is_beside(f))
            return dload_i_file_empty(f);
        (void)close(f->fd);
        f->fd = -1;
    }
    return DLOAD_EBUSY;
}

/* Makes the folder remember its new entry. */
DLOAD_I_LOCAL dload_status dload_i_file_sync_folder(const dload_i_file *f)
{
    int fd = dload_i_file_open(f->folder, O_RDONLY);
    if (fd < 0)
        return DLOAD_EIO;
    bool done =
        fsync(fd) == 0 || errno == EINVAL; /* some file systems have nothing to sync there */
    int kept = errno;
    (void)close(fd);
    errno = kept;
    return done ? DLOAD_OK : DLOAD_EIO;
}

/* The end of a save that went as st says: the file is replaced, or what was written is removed. */
DLOAD_I_LOCAL dload_status dload_i_file_commit(dload_i_file *f, dload_status st)
{
    if (st >= 0 && fsync(f->fd) != 0)
        st = DLOAD_EIO;
    if (st >= 0 && rename(f->beside, f->path) != 0)
        st = DLOAD_EIO;
    if (st >= 0) {
        st = dload_i_file_sync_folder(f);
    } else {
        int kept = errno;
        (void)unlink(f->beside); /* before the lock goes: nobody else's */
        errno = kept;
    }
    dload_i_file_close(f);
    return st;
}

/* ---- reading ---- */

DLOAD_I_LOCAL dload_status dload_i_file_read(void *ctx, void *bytes, size_t n_bytes, size_t *n_read)
{
    const dload_i_file *f = (const dload_i_file *)ctx;
    ssize_t n = -1;
    do
        n = read(f->fd, bytes, n_bytes);
    while (n < 0 && errno == EINTR);
    *n_read = n > 0 ? (size_t)n : 0;
    return n < 0 ? DLOAD_EIO : DLOAD_OK;
}

/* DLOAD_MISSING when there is no such file. */
DLOAD_I_LOCAL dload_status dload_i_file_find(dload_i_file *f, const dload_env *env,
                                             const char *path)
{
    memset(f, 0, sizeof *f);
    f->env = env;
    f->fd = dload_i_file_open(path, O_RDONLY);
    if (f->fd >= 0)
        return DLOAD_OK;
    return errno == ENOENT ? DLOAD_MISSING : DLOAD_EIO;
}

/* Back to the first byte. */
DLOAD_I_LOCAL dload_status dload_i_file_rewind(const dload_i_file *f)
{
    return lseek(f->fd, 0, SEEK_SET) == 0 ? DLOAD_OK : DLOAD_EIO;
}

#endif /* DLOAD_I_SNAPSHOT_FILE_H */
