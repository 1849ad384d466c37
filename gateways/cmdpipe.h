/* gateways/cmdpipe.h - the adapter for transports that start a program of this host for its pipe: standard input and output lead to
 * a POSIX shell, which the agent is delivered to (deliver.h), or to an agent. Such a transport has an `open` of its own; the
 * rest is XD_CMDPIPE_OPS.
 *
 * What the program writes on its standard error while it opens is kept for the message that says why it did not; later, it is
 * the pipe's text. Another pipe after a cut is another start of it, which takes itself to the same agent (xdagent --attach). */
#pragma once
#include "gateways/transport.h"

/* Starts `argv` (its words are copied). direct: it leads to an agent, not to a shell. Begins the pipe as `open` does. */
int xd_cmdpipe_open(xd_pipe **ret, const xd_transport *transport, const char *const *argv, bool direct,
                    const xd_target *target, xd_error *err) XD_MUST;

int     xd_cmdpipe_opened(xd_pipe *p, xd_error *err);
int     xd_cmdpipe_reopen(xd_pipe *p, xd_error *err);
void    xd_cmdpipe_wait(xd_pipe *p, uint32_t want, xd_pipe_wait *ret);
ssize_t xd_cmdpipe_read(xd_pipe *p, void *to, size_t room);
ssize_t xd_cmdpipe_write(xd_pipe *p, const void *from, size_t len);
ssize_t xd_cmdpipe_text(xd_pipe *p, void *to, size_t room);
void    xd_cmdpipe_close(xd_pipe *p);
void    xd_cmdpipe_hang_up(xd_pipe **p, uint32_t grace_ms, char *how, size_t how_size);

#define XD_CMDPIPE_OPS                                                                                      \
    .opened = xd_cmdpipe_opened, .reopen = xd_cmdpipe_reopen, .wait = xd_cmdpipe_wait,                      \
    .read = xd_cmdpipe_read, .write = xd_cmdpipe_write, .text = xd_cmdpipe_text, .close = xd_cmdpipe_close, \
    .hang_up = xd_cmdpipe_hang_up
