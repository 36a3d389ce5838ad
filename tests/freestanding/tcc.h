/* What the suites' helpers ask of gcc and clang, for tcc, where one thread runs. The loader does without. */
#define __atomic_load_n(p, order)         (*(p))
#define __atomic_store_n(p, value, order) ((void)(*(p) = (value)))
#define __atomic_add_fetch(p, n, order)   (*(p) += (n))
#define __atomic_sub_fetch(p, n, order)   (*(p) -= (n))

/* C11's, which its <float.h> lacks. */
#include <float.h>
#ifndef DBL_TRUE_MIN
#define FLT_TRUE_MIN 1.40129846432481707e-45F
#define DBL_TRUE_MIN 4.94065645841246544e-324
#endif
