/* reading.h -- what a register of a sensor said, and when. */
#ifndef READING_H
#define READING_H

#include <stdint.h>

struct reading {
    int32_t value;     /* in the register's own unit */
    uint32_t taken_us; /* board time when the bus delivered it */
};

#endif /* READING_H */
