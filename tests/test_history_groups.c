/* test_history with keys of four groups, and groups that are cleared. */
/* locks: PTHREAD SPIN */
/* tsan */
#define HISTORY_GROUPS 4
#include "test_history.c"
