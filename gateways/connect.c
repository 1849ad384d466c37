/* gateways/connect.c - see connect.h. */
#include "gateways/connect.h"

#include <poll.h>
#include <sys/socket.h>

int xd_connect(int fd, const struct addrinfo *to, xd_wait_fn wait, void *arg, uint64_t until_ns)
{
    int       error = 0, r = 0;
    socklen_t size = sizeof(error);
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    while (r == 0)
        r = wait(arg, fd, POLLOUT, until_ns);
    XD_TRY(r);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
        return error ? -error : -EIO;
    return 0;
}
