/* gateways/pipe.c - see transport.h: what transports share whose pipe, or text, is a descriptor. */
#include <errno.h>

#include "engine/base/os_linux.h"
#include "gateways/transport.h"

void xd_pipe_wait_on(xd_pipe_wait *w, int fd, uint32_t events, uint32_t uses)
{
    w->on[w->n].fd = fd;
    w->on[w->n].events = events;
    w->on[w->n++].uses = uses;
}

ssize_t xd_pipe_read_text(int *fd, void *to, size_t room)
{
    if (*fd < 0)
        return 0;
    const ssize_t n = xd_os_read_some(*fd, to, room);
    if (n != -EAGAIN && n <= 0)
        xd_os_close(fd);
    return n;
}
