/* engine/base/clock.c - see clock.h. */
#include "engine/base/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

uint64_t xd_clock_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t xd_clock_wall_us(void)
{
    return read_clock(CLOCK_REALTIME) / 1000;
}

uint64_t xd_clock_cpu_us(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID) / 1000;
}

struct timespec xd_clock_timespec(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / XD_S_NS), .tv_nsec = (long)(ns % XD_S_NS) };
}
