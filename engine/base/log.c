/* engine/base/log.c - see log.h. */
#include "engine/base/log.h"

#include <stdarg.h>
#include <stdio.h>

void xd_log_write(const xd_log *log, xd_log_level level, const char *fmt, ...)
{
    if (!log || !log->fn || level < log->min)
        return;
    char    line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    log->fn(log->arg, level, line);
}
