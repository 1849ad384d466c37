/* gateways/lookup.c - see lookup.h. */
#include "gateways/lookup.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/os_linux.h"

/* Shared by the thread and the one that waits for it: the last one frees. */
struct xd_lookup {
    atomic_int       users;
    int              told; /* eventfd */
    char            *host;
    char             port[8];
    int              family;
    int              result; /* of getaddrinfo */
    struct addrinfo *found;
};

xd_lookup *xd_lookup_drop(xd_lookup *l)
{
    if (!l || atomic_fetch_sub(&l->users, 1) != 1)
        return NULL;
    if (l->found)
        freeaddrinfo(l->found);
    if (l->told >= 0)
        close(l->told);
    free(l->host);
    free(l);
    return NULL;
}

static int look_up(xd_lookup *l, int flags)
{
    const struct addrinfo hints = { .ai_family = l->family, .ai_socktype = SOCK_STREAM, .ai_flags = flags };
    return getaddrinfo(l->host, l->port, &hints, &l->found);
}

static void *lookup_main(void *arg)
{
    xd_lookup *l = arg;
    (void)pthread_setname_np(pthread_self(), "xd-resolver");
    l->result = look_up(l, AI_ADDRCONFIG);
    if (l->result != 0) /* a host without any interface but the loopback has addresses, too */
        l->result = look_up(l, 0);
    xd_os_nudge(l->told);
    (void)xd_lookup_drop(l);
    return NULL;
}

int xd_lookup_begin(xd_lookup **ret, const char *host, uint16_t port, int family)
{
    pthread_t  thread;
    xd_lookup *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    atomic_init(&l->users, 1);
    l->family = family;
    l->told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->host = strdup(host);
    snprintf(l->port, sizeof(l->port), "%u", (unsigned)port);
    int r = l->told < 0 ? -errno : l->host ? 0 : -ENOMEM;
    if (r == 0 && look_up(l, AI_NUMERICHOST) == 0) {
        xd_os_nudge(l->told);
    } else if (r == 0) {
        atomic_fetch_add(&l->users, 1);
        r = -pthread_create(&thread, NULL, lookup_main, l);
        if (r == 0)
            pthread_detach(thread);
        else
            (void)xd_lookup_drop(l);
    }
    if (r < 0) {
        (void)xd_lookup_drop(l);
        return r;
    }
    *ret = l;
    return 0;
}

int xd_lookup_fd(const xd_lookup *l)
{
    return l->told;
}

int xd_lookup_result(const xd_lookup *l)
{
    return l->result;
}

const struct addrinfo *xd_lookup_found(const xd_lookup *l)
{
    return l->found;
}
