/* engine/base/log.h - the engine's own doings, as lines to a sink.  Tests' results never go here. */
#pragma once
#include <stdint.h>

typedef enum xd_log_level { XD_LOG_DEBUG, XD_LOG_INFO, XD_LOG_WARNING, XD_LOG_ERROR } xd_log_level;

/* Called from any thread, one whole line without newline. */
typedef void (*xd_log_fn)(void *arg, xd_log_level level, const char *line);

typedef struct xd_log {
    xd_log_fn    fn; /* NULL = drop */
    void        *arg;
    xd_log_level min;
} xd_log;

void xd_log_write(const xd_log *log, xd_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
