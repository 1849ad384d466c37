/* tools/shared/tool.c - see tool.h. */
#include "tools/shared/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

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

int tool_hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd) /* the lowest free number */
            return -1;
    return 0;
}
