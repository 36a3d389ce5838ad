/* A loader for editors and for compiling a typed part alone: -include this file before the part. Not a
 * part of dataloader.h. */
#define DLOAD_NAME     sample
#define DLOAD_KEY      uint64_t
#define DLOAD_VALUE    struct sample_value
#define DLOAD_LOCK     DLOAD_LOCK_PTHREAD
#define DLOAD_SNAPSHOT 1
struct sample_value {
    int a, b;
};
