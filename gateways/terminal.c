/* gateways/terminal.c - see terminal.h. */
#include "gateways/terminal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "engine/base/mem.h"

#define FIRST_PTS 136u /* majors of /dev/pts, with 256 numbers each */
#define LAST_PTS 143u

/* /dev/tty is one file for all terminals: a lock on it would be a lock on everybody's. */
static int open_itself(int tty)
{
    unsigned    number = 0;
    struct stat st;
    char        path[32];
    if (ioctl(tty, TIOCGDEV, &number) < 0)
        return -errno;
    const dev_t dev = makedev((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    if (major(dev) < FIRST_PTS || major(dev) > LAST_PTS)
        return -ENODEV;
    snprintf(path, sizeof(path), "/dev/pts/%u", (major(dev) - FIRST_PTS) * 256 + minor(dev));
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_rdev == dev)
        return fd;
    if (fd >= 0)
        close(fd);
    return -ENODEV;
}

int xd_terminal_take(int *ret)
{
    xd_autoclose int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (tty < 0 || tcgetpgrp(tty) != getpgrp())
        return -ENOTTY;
    xd_autoclose int itself = open_itself(tty);
    int             *fd = itself >= 0 ? &itself : &tty;
    if (flock(*fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? 0 : -errno;
    *ret = *fd;
    *fd = -1;
    return 1;
}

bool xd_terminal_asks(void)
{
    xd_autoclose int fd = -1;
    return xd_terminal_take(&fd) == 0;
}
