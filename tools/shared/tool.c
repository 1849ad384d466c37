/* tools/shared/tool.c - see tool.h. */
#include "tools/shared/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

void tool_complain(const char *program, bool colored, const char *text)
{
    fprintf(stderr, "%s%s: ", colored ? "\x1b[31m" : "", program);
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            fprintf(stderr, "\\x%02x", (unsigned)*c);
        else
            fputc(*c, stderr);
    }
    fputs(colored ? "\x1b[0m\n" : "\n", stderr);
}

int tool_seconds(const char *text, uint64_t *ret)
{
    char              *end;
    unsigned long long n, unit = 1;
    errno = 0;
    if (*text < '0' || *text > '9' || (n = strtoull(text, &end, 10), errno))
        return -1;
    switch (*end) {
    case 'm':
        unit = 60;
        break;
    case 'h':
        unit = 3600;
        break;
    case 'd':
        unit = 86400;
        break;
    default:
        break;
    }
    if (*end && (end[1] || (unit == 1 && *end != 's')))
        return -1;
    if (n > 10000ull * 86400 / unit)
        return -1;
    *ret = n * unit;
    return 0;
}

int tool_hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd) /* the lowest free number */
            return -1;
    return 0;
}
