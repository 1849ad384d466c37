/* engine/front_listen.c - see front_listen.h. */
#include "engine/front_listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/text.h"

#define BACKLOG 1024

void front_name_address(const struct sockaddr_storage *from, char ret[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)from;
    const struct sockaddr_in  *four = (const struct sockaddr_in *)(const void *)from;
    const void *at = from->ss_family == AF_INET6 ? (const void *)&six->sin6_addr : &four->sin_addr;
    int         family = from->ss_family;
    if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
        at = six->sin6_addr.s6_addr + 12;
        family = AF_INET;
    }
    if (!inet_ntop(family, at, ret, INET6_ADDRSTRLEN))
        snprintf(ret, INET6_ADDRSTRLEN, "?");
}

/* "HOST:PORT" as a numeric host, or NULL for all addresses, and a port. */
static int split(const char *text, char *host, size_t size, const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t      len = colon ? (size_t)(colon - text) : 0;
    uint64_t    number;
    if (!colon || xd_text_u64(colon + 1, 0, 65535, &number) < 0)
        return -EINVAL;
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len)) {
        return -EINVAL;
    }
    if (len >= size)
        return -EINVAL;
    memcpy(host, text, len);
    host[len] = 0;
    *ret_port = colon + 1;
    return 0;
}

static int open_listener(const struct addrinfo *a)
{
    xd_autoclose int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 0 }, sizeof(int));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
        bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    const int ret = fd;
    fd = -1;
    return ret;
}

static void name_listener(int fd, char *name, size_t name_size)
{
    struct sockaddr_storage at = { 0 };
    socklen_t               size = sizeof(at);
    char                    host[INET6_ADDRSTRLEN] = "", port[8] = "";
    (void)getsockname(fd, (struct sockaddr *)&at, &size);
    (void)getnameinfo((const struct sockaddr *)&at, size, NULL, 0, port, sizeof(port), NI_NUMERICSERV);
    front_name_address(&at, host);
    snprintf(name, name_size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int front_listen(const char *option, const char *text, char *name, size_t size, xd_error *err)
{
    char                  host[64];
    const char           *port;
    struct addrinfo      *found = NULL;
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                    .ai_socktype = SOCK_STREAM };
    if (split(text, host, sizeof(host), &port) < 0)
        return xd_error_set(err, -EINVAL, "%s '%s': ADDRESS:PORT, [ADDRESS]:PORT or :PORT is expected",
                            option, text);
    const bool all = host[0] == 0 || strcmp(host, "*") == 0;
    if (getaddrinfo(all ? NULL : host, port, &hints, &found) != 0)
        return xd_error_set(err, -EINVAL, "%s '%s': it is no numeric address and port", option, text);
    int fd = -EAFNOSUPPORT;
    for (int family = AF_INET6; fd < 0 && family; family = family == AF_INET6 ? AF_INET : 0)
        for (const struct addrinfo *a = found; a && fd < 0 && fd != -EADDRINUSE; a = a->ai_next)
            if (a->ai_family == family)
                fd = open_listener(a);
    freeaddrinfo(found);
    if (fd < 0)
        return xd_error_set(err, fd, "cannot listen at %s: %s", text, xd_error_name(fd));
    name_listener(fd, name, size);
    return fd;
}
