/* gateways/fdpipe.h - the adapter for transports whose pipe is descriptors, carried by a process of this host: popen, and
 * what runs a command (ssh, docker exec).  Such a transport has an `open` of its own; the rest is XD_FDPIPE_OPS. */
#pragma once
#include "engine/base/proc.h"
#include "gateways/transport.h"

typedef struct xd_fdpipe_parts {
    int in, out; /* non-blocking; the same number when it is one socket */
    int text;    /* non-blocking; -1 = none */
    int redial;  /* non-blocking: a socket to the agent that takes one end of each further pipe; -1 = none */
    xd_proc     proc;  /* pid 0 = none */
    const char *name;  /* of it, for words on its end; static; NULL = the agent */
    bool        group; /* what is left of its process group is killed with it */
} xd_fdpipe_parts;

/* A pipe of these parts, which belong to it from success on.  -ENOMEM. */
int xd_fdpipe_new(xd_pipe **ret, const xd_transport *transport, const xd_fdpipe_parts *parts) XD_MUST;

/* Brings an agent another pipe by way of `redial`: *ret is the end here, a non-blocking socket of the caller's. -ESRCH: there is no such way,
 * or the agent has ended, or is about to; other -errno: err says why. */
int xd_fdpipe_redial(int redial, int *ret, xd_error *err) XD_MUST;

/* 1 = its process has ended, with this status; 0 = not yet. */
int xd_fdpipe_ended(xd_pipe *p, xd_proc_status *ret);
/* To the process, or its group. */
void xd_fdpipe_signal(xd_pipe *p, int sig);

int     xd_fdpipe_opened(xd_pipe *p, xd_error *err);
int     xd_fdpipe_reopen(xd_pipe *p, xd_error *err); /* over `redial` */
void    xd_fdpipe_wait(xd_pipe *p, uint32_t want, xd_pipe_wait *ret);
ssize_t xd_fdpipe_read(xd_pipe *p, void *to, size_t room);
ssize_t xd_fdpipe_write(xd_pipe *p, const void *from, size_t len);
ssize_t xd_fdpipe_text(xd_pipe *p, void *to, size_t room);
void    xd_fdpipe_close(xd_pipe *p);
void    xd_fdpipe_kill_group(xd_pipe *p,
                             int      sig); /* what the process started, too, as far as it stayed in its group */
void    xd_fdpipe_hang_up(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size);

#define XD_FDPIPE_OPS                                                                                       \
    .opened = xd_fdpipe_opened, .reopen = xd_fdpipe_reopen, .wait = xd_fdpipe_wait, .read = xd_fdpipe_read, \
    .write = xd_fdpipe_write, .text = xd_fdpipe_text, .close = xd_fdpipe_close, .hang_up = xd_fdpipe_hang_up
