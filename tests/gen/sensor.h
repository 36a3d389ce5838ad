/* The value of specs/embedded.ini, in a header that needs no libc. */
#ifndef TESTS_GEN_SENSOR_H
#define TESTS_GEN_SENSOR_H

#include <stdint.h>

struct sample {
    int32_t milli;
    uint32_t number;
};

#endif
