/* A file system for SQLite that fails when a test says so: the n-th call of a kind, once or from then on. The calls
 * themselves go to the default one, but for syncs. One thread. */
#ifndef DLOAD_TESTS_SQLITE_VFS_H
#define DLOAD_TESTS_SQLITE_VFS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>

enum fault_kind {
    FAULT_OPEN,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_FULL, /* a write too, but the disk is full */
    FAULT_SYNC,
    FAULT_TRUNCATE,
    FAULT_SIZE,
    FAULT_LOCK, /* of the file, and of the memory that processes share */
    FAULT_SHARE,
    FAULT_DELETE,
    FAULT_MEMORY, /* of SQLite's own */
    N_FAULTS
};

static struct faults {
    enum fault_kind kind;
    size_t at; /* the how-manieth call fails; 1 = the next; 0 = none */
    bool for_good;
    bool no_sharing; /* files opened from now on have no memory to share: no write-ahead log */
    size_t n_calls, n_failed;
} faults;

static const int fault_says[N_FAULTS] = {
    SQLITE_CANTOPEN,     SQLITE_IOERR_READ,     SQLITE_IOERR_WRITE, SQLITE_FULL,
    SQLITE_IOERR_FSYNC,  SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_FSTAT, SQLITE_IOERR_LOCK,
    SQLITE_IOERR_SHMMAP, SQLITE_IOERR_DELETE,   SQLITE_NOMEM};

static bool fault_now(enum fault_kind kind)
{
    if (faults.at == 0 || kind != faults.kind)
        return false;
    size_t nth = ++faults.n_calls;
    if (nth < faults.at || (nth > faults.at && !faults.for_good))
        return false;
    faults.n_failed++;
    return true;
}

#define FAULT(kind)                  \
    do {                             \
        if (fault_now(kind))         \
            return fault_says[kind]; \
    } while (0)

struct fault_file {
    sqlite3_file base;
    sqlite3_io_methods own; /* what of the real one's there is, ours */
    sqlite3_file *real;     /* behind this struct */
};

static sqlite3_file *fault_real(sqlite3_file *f)
{
    return ((struct fault_file *)(void *)f)->real;
}

static int fault_close(sqlite3_file *f)
{
    return fault_real(f)->pMethods->xClose(fault_real(f));
}

static int fault_read(sqlite3_file *f, void *to, int n_bytes, sqlite3_int64 at)
{
    if (fault_now(FAULT_READ)) {
        (void)fault_real(f)->pMethods->xRead(fault_real(f), to, n_bytes / 2, at);
        return SQLITE_IOERR_READ;
    }
    return fault_real(f)->pMethods->xRead(fault_real(f), to, n_bytes, at);
}

/* Half of what was to be written is there, as after a crash. */
static int fault_write(sqlite3_file *f, const void *from, int n_bytes, sqlite3_int64 at)
{
    const bool fails = fault_now(FAULT_WRITE), full = fault_now(FAULT_FULL);
    if (!fails && !full)
        return fault_real(f)->pMethods->xWrite(fault_real(f), from, n_bytes, at);
    (void)fault_real(f)->pMethods->xWrite(fault_real(f), from, n_bytes / 2, at);
    return fails ? SQLITE_IOERR_WRITE : SQLITE_FULL;
}

static int fault_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    FAULT(FAULT_TRUNCATE);
    return fault_real(f)->pMethods->xTruncate(fault_real(f), size);
}

static int fault_sync(sqlite3_file *f, int flags)
{
    (void)f;
    (void)flags;
    FAULT(FAULT_SYNC);
    return SQLITE_OK; /* no test cuts the power, and disks are slow */
}

static int fault_size(sqlite3_file *f, sqlite3_int64 *size)
{
    FAULT(FAULT_SIZE);
    return fault_real(f)->pMethods->xFileSize(fault_real(f), size);
}

static int fault_lock(sqlite3_file *f, int level)
{
    FAULT(FAULT_LOCK);
    return fault_real(f)->pMethods->xLock(fault_real(f), level);
}

static int fault_unlock(sqlite3_file *f, int level)
{
    return fault_real(f)->pMethods->xUnlock(fault_real(f), level);
}

static int fault_reserved(sqlite3_file *f, int *is)
{
    return fault_real(f)->pMethods->xCheckReservedLock(fault_real(f), is);
}

static int fault_control(sqlite3_file *f, int what, void *arg)
{
    return fault_real(f)->pMethods->xFileControl(fault_real(f), what, arg);
}

static int fault_sector(sqlite3_file *f)
{
    return fault_real(f)->pMethods->xSectorSize(fault_real(f));
}

static int fault_traits(sqlite3_file *f)
{
    return fault_real(f)->pMethods->xDeviceCharacteristics(fault_real(f));
}

static int fault_shm_map(sqlite3_file *f, int page, int n_bytes, int extend, void volatile **to)
{
    FAULT(FAULT_SHARE);
    return fault_real(f)->pMethods->xShmMap(fault_real(f), page, n_bytes, extend, to);
}

static int fault_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    if ((flags & SQLITE_SHM_LOCK) != 0)
        FAULT(FAULT_LOCK);
    return fault_real(f)->pMethods->xShmLock(fault_real(f), at, n, flags);
}

static void fault_shm_barrier(sqlite3_file *f)
{
    fault_real(f)->pMethods->xShmBarrier(fault_real(f));
}

static int fault_shm_unmap(sqlite3_file *f, int remove)
{
    return fault_real(f)->pMethods->xShmUnmap(fault_real(f), remove);
}

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    sqlite3_vfs *real = vfs->pAppData;
    struct fault_file *f = (void *)file;
    memset(f, 0, sizeof *f);
    FAULT(FAULT_OPEN);
    f->real = (sqlite3_file *)(void *)(f + 1);
    int rc = real->xOpen(real, name, f->real, flags, out);
    if (f->real->pMethods == NULL)
        return rc;
    f->own = (sqlite3_io_methods){2,
                                  fault_close,
                                  fault_read,
                                  fault_write,
                                  fault_truncate,
                                  fault_sync,
                                  fault_size,
                                  fault_lock,
                                  fault_unlock,
                                  fault_reserved,
                                  fault_control,
                                  fault_sector,
                                  fault_traits,
                                  fault_shm_map,
                                  fault_shm_lock,
                                  fault_shm_barrier,
                                  fault_shm_unmap,
                                  NULL,
                                  NULL};
    f->own.iVersion = faults.no_sharing ? 1 : 2;
    f->base.pMethods = &f->own;
    return rc;
}

static int fault_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    sqlite3_vfs *real = vfs->pAppData;
    FAULT(FAULT_DELETE);
    return real->xDelete(real, name, sync);
}

static int fault_access(sqlite3_vfs *vfs, const char *name, int flags, int *is)
{
    sqlite3_vfs *real = vfs->pAppData;
    return real->xAccess(real, name, flags, is);
}

static int fault_full_name(sqlite3_vfs *vfs, const char *name, int n_bytes, char *to)
{
    sqlite3_vfs *real = vfs->pAppData;
    return real->xFullPathname(real, name, n_bytes, to);
}

/* ---- SQLite's memory ---- */

static sqlite3_mem_methods fault_memory;

static void *fault_malloc(int n_bytes)
{
    return fault_now(FAULT_MEMORY) ? NULL : fault_memory.xMalloc(n_bytes);
}

static void *fault_realloc(void *p, int n_bytes)
{
    return fault_now(FAULT_MEMORY) ? NULL : fault_memory.xRealloc(p, n_bytes);
}

/* Before SQLite is used for the first time. */
static int faults_in_memory(void)
{
    int rc = sqlite3_config(SQLITE_CONFIG_GETMALLOC, &fault_memory);
    sqlite3_mem_methods ours = fault_memory;
    ours.xMalloc = fault_malloc;
    ours.xRealloc = fault_realloc;
    return rc == SQLITE_OK ? sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) : rc;
}

/* Registers it as "faults". */
static int faults_register(void)
{
    static sqlite3_vfs vfs;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    vfs = *real;
    vfs.pNext = NULL;
    vfs.zName = "faults";
    vfs.pAppData = real;
    vfs.szOsFile = (int)sizeof(struct fault_file) + real->szOsFile;
    vfs.xOpen = fault_open;
    vfs.xDelete = fault_delete;
    vfs.xAccess = fault_access;
    vfs.xFullPathname = fault_full_name;
    return sqlite3_vfs_register(&vfs, 0);
}

#endif /* DLOAD_TESTS_SQLITE_VFS_H */
