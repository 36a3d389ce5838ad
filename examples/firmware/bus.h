/* bus.h -- the sensors' bus: a simulated I2C at 100 kHz with three devices on it, and the board's time.
 *
 * Time passes only here: while the bus is busy, and when the program waits. So a run is the same on every
 * machine, and what a read costs is what it would cost on the wire.
 */
#ifndef BUS_H
#define BUS_H

#include <stddef.h>
#include <stdint.h>

#include "reading.h"

/* Devices by address, with registers 0 .. n - 1 of two bytes; a read goes on in the next one by itself. */
#define BUS_THERMO  0x48u /* 8 thermometers: 0.01 degrees Celsius */
#define BUS_WEATHER 0x76u /* 6 registers: humidity, pressure ... */
#define BUS_MOTION  0x1du /* 8 registers: acceleration and turning, three axes each, and two more */

/* A register's name: the loader's key. */
#define BUS_REG(device, reg) ((uint16_t)((device) << 8 | (reg)))

/* What the bus has done since bus_reset. */
struct bus_count {
    uint32_t n_transactions;
    uint32_t n_bytes; /* on the wire, addresses included */
    uint32_t busy_us;
};

void bus_reset(void);
const struct bus_count *bus_counted(void);

/* Reads n registers from first on into values, in one transaction; their time is when it ended. Returns 0, or -1
 * when nobody answers to the address or there are not so many registers: then values are as they were. */
int bus_read(uint16_t first, size_t n, struct reading *values);

/* What a register holds at a time: the world, as the sensors would see it. For checks. */
int32_t bus_truth(uint16_t reg, uint32_t at_us);

uint32_t bus_now_us(void); /* wraps after 71 minutes, as a timer of 32 bits does */
void bus_wait_until(uint32_t at_us);

#endif /* BUS_H */
