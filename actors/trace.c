/* actors/trace.c - see trace.h. */
#include "actors/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/buf.h"

int xd_trace_open(int *ret_fd, xd_error *err)
{
    const char *path = getenv("XD_TRACE");
    if (!path || !*path) {
        *ret_fd = -1;
        return 0;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return xd_error_set(err, -EINVAL, "XD_TRACE: cannot write %s: %s", path, xd_error_name(-errno));
    *ret_fd = fd;
    return 0;
}

void xd_trace_line(int fd, xd_log_level level, const char *line)
{
    static const char *const names[] = { "debug", "info", "warning", "error" };
    xd_autobuf               out = XD_BUF_INIT;
    struct timespec          now;
    struct tm                utc;
    if (fd < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0 || !gmtime_r(&now.tv_sec, &utc))
        return;
    if (xd_buf_printf(&out, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ %d %s %s\n", utc.tm_year + 1900,
                      utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000,
                      (int)getpid(), names[level], line) == 0)
        (void)!write(fd, out.data, out.len);
}
