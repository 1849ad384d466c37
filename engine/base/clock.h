/* engine/base/clock.h - time.  Monotonic decides; wall clock is a label. */
#pragma once
#include <stdint.h>
#include <time.h>

uint64_t xd_clock_ns(void);      /* CLOCK_MONOTONIC */
uint64_t xd_clock_wall_us(void); /* microseconds since 1970, UTC */
uint64_t xd_clock_cpu_us(void);  /* CPU time of this process, all threads */
/* As pthread_cond_timedwait and the like take a time. */
struct timespec xd_clock_timespec(uint64_t ns);
#define XD_MS_NS 1000000ull
#define XD_S_NS 1000000000ull
