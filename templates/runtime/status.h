/* >>status -- one list gives the enum and the texts.
 *
 * A status is a value, never an exception: st >= 0 exactly when the out-parameter was written.
 * A text names the knob to turn, so that a log line is enough to mend the cause.
 */
#ifndef DLOAD_I_STATUS_H
#define DLOAD_I_STATUS_H

/* clang-format off */
#define DLOAD_I_STATUS_MAP(X)                                                                      \
    X(OK, 0, "ok")                                                                                 \
    X(STALE, 1, "ok, but the value is past its TTL (config.stale_ns allows it)")                   \
    X(PENDING, -1, "not yet: the answer comes later (fetch functions and _start only)")            \
    X(MISSING, -2, "the source has no value for this key")                                         \
    X(EINVAL, -3, "invalid argument or configuration (see the range beside each config field; "    \
                  "DLOAD_HASH_SIP: no hash_key, and no env->random to draw one from)")             \
    X(ENOMEM, -4, "out of memory (config.env->alloc returned NULL)")                               \
    X(EFULL, -5, "no room: raise config.capacity or choose a policy that evicts")                  \
    X(ETOOBIG, -6, "key or value over its limit (config.max_key_bytes, config.max_weight / shards)") \
    X(EKEY, -7, "this key can never be one: NaN, or a string without bytes behind its length")     \
    X(EFETCH, -8, "the fetch function failed")                                                     \
    X(EBATCH, -9, "the fetch function answered a key index outside its batch")                     \
    X(EBACKEND, -10, "the second-level store failed (the load itself goes on from the source)")    \
    X(EDECODE, -11, "a stored value could not be decoded")                                         \
    X(EAGAIN, -12, "would have to wait: set env->wait, or raise config.max_queue")                 \
    X(ETIMEDOUT, -13, "deadline passed (config.timeout_ns, dload_call.deadline_ns)")               \
    X(ECANCELED, -14, "cancelled, or cleared since the token was taken")                           \
    X(EDEADLK, -15, "this load would wait for the batch it is called from")                        \
    X(ECLOSED, -16, "the loader is closed")                                                        \
    X(EBUSY, -17, "a batch is out or the waiter is already being completed: try again later")      \
    X(EFORK, -18, "the loader belongs to the parent process: initialise one after fork()")         \
    X(ELOCK, -19, "a named lock was lost or could not be taken")                                   \
    X(ELAYOUT, -20, "made with other DLOAD_ parameters: caller and implementation, or a snapshot") \
    X(ECORRUPT, -21, "damaged: a snapshot's checksum is wrong, or memory was overwritten")         \
    X(EIO, -22, "a file could not be written, read or replaced (errno says why)")
/* clang-format on */

#define DLOAD_I_STATUS_ENUM(name, value, text) DLOAD_##name = (value),
typedef enum dload_status {
    DLOAD_I_STATUS_MAP(DLOAD_I_STATUS_ENUM)
    /* Codes of your own go from here down: (dload_status)(DLOAD_EUSER - n). */
    DLOAD_EUSER = -1000,
    DLOAD_I_STATUS_WIDTH = -2147483647 /* keeps the enum a signed 32-bit type everywhere */
} dload_status;
#undef DLOAD_I_STATUS_ENUM

/* The text of a status: constant, never NULL, nothing to free. Any thread; O(number of codes). */
static inline const char *dload_strerror(dload_status status)
{
#define DLOAD_I_STATUS_TEXT(name, value, text) \
    case DLOAD_##name:                         \
        return text;
    switch ((int)status) {
        DLOAD_I_STATUS_MAP(DLOAD_I_STATUS_TEXT)
    default:
        break;
    }
#undef DLOAD_I_STATUS_TEXT
    return (int)status <= (int)DLOAD_EUSER ? "a code of the fetch function's own"
                                           : "unknown status";
}

/* The name of a status ("EAGAIN"), for logs and metrics; "EUSER" for codes of the user's own. */
static inline const char *dload_status_name(dload_status status)
{
#define DLOAD_I_STATUS_NAME(name, value, text) \
    case DLOAD_##name:                         \
        return #name;
    switch ((int)status) {
        DLOAD_I_STATUS_MAP(DLOAD_I_STATUS_NAME)
    default:
        break;
    }
#undef DLOAD_I_STATUS_NAME
    return (int)status <= (int)DLOAD_EUSER ? "EUSER" : "unknown";
}

#endif /* DLOAD_I_STATUS_H */
