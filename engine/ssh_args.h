/* engine/ssh_args.h - the arguments of ssh(1) in a spec `ssh=-p 5000 myhost`: options and one host. Pure. */
#pragma once
#include "engine/base/buf.h"

typedef struct xd_ssh_args {
    char **words; /* NULL-terminated, one block; owned */
    size_t count;
    size_t host;     /* index of the host, as it is given: USER@HOST or HOST */
    bool   forwards; /* -L, -R or -D: wanted for this connection, not for the user's others */
} xd_ssh_args;

/* Words and quotes are a shell's. Options may stand before and behind the host. -EINVAL: why says what is wrong; -ENOMEM. */
int                xd_ssh_args_parse(xd_ssh_args *ret, const char *text, char *why, size_t size) XD_MUST;
void               xd_ssh_args_release(xd_ssh_args *a);
static inline void xd_ssh_args_autorelease_fn(xd_ssh_args *a)
{
    xd_ssh_args_release(a);
}
#define xd_autossh_args __attribute__((cleanup(xd_ssh_args_autorelease_fn))) xd_ssh_args
