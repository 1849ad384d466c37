/* gateways/ssh_state.h - private to the ssh gateway's files.
 *   ssh.c          the gateway's side: what transport.h asks for, and deliver.h's steps
 *   ssh_thread.c   the connection's thread: its life, and the bytes both ways
 *   ssh_dial.c     the name is resolved, the address connected, keys are exchanged
 *   ssh_hostkey.c  is it the host that it is meant to be (known_hosts)
 *   ssh_auth.c     is it the user
 *   ssh_keys.c     the user's key files
 *   ssh_tty.c      passwords and passphrases, asked for on the terminal
 *   ssh_config.c, ssh_words.c, ssh_expand.c   ssh_config(5)
 *
 * The session belongs to its thread; the gateway's thread and it share two rings of bytes, one of text, and what stands below
 * `lock`. Each wakes the other with an eventfd. The thread waits in xd_ssh_wait() only, for its socket and for that eventfd,
 * so it ends within milliseconds once `cut` is set, whatever it waits for; what libssh waits for by itself (the key agent) ends when
 * its socket is shut down. A name is resolved in a thread that nobody waits for. */
#pragma once
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <pthread.h>

#include "gateways/deliver.h"
#include "gateways/ssh.h"
#include "gateways/ssh_config.h"

#define XD_SSH_MAGIC 0x55e11a9eu
#define XD_SSH_RING (256u * 1024u)

typedef struct xd_ssh_ring {
    uint8_t *at; /* XD_SSH_RING bytes */
    size_t   first, len;
    int      error; /* once ended: 0 = in order */
    bool     ended;
} xd_ssh_ring;

typedef enum xd_ssh_phase {
    XD_SSH_DIALS,
    XD_SSH_OPEN,   /* XD_DELIVER_COMMAND runs at the far end */
    XD_SSH_FAILED, /* `error` says why */
    XD_SSH_ENDED,
} xd_ssh_phase;

/* What the user has typed in and the host has taken: a connection that is made again does not ask again. */
typedef struct xd_ssh_secret {
    struct xd_ssh_secret *next;
    char                 *what; /* the prompt; owned */
    char                  text[256];
} xd_ssh_secret;

typedef struct xd_ssh_hosts xd_ssh_hosts;

typedef struct xd_ssh {
    xd_pipe  pipe;
    uint32_t magic;

    /* the gateway's thread */
    xd_deliver *deliver;
    bool        delivered; /* the agent runs */
    bool        rest;      /* deliver may have bytes of the agent */
    xd_error    failed;    /* no agent could be started; the last words of what ran there are awaited */
    uint64_t    words_ns;  /* until then its last words are awaited; 0 = it has not failed */
    uint64_t
        parts_ns; /* the pipe was cut: until then, its end may tell how the agent ended. 0 = another one is dialled */
    char      how[64]; /* the agent has ended */
    pthread_t thread;
    bool      running;

    /* set before the thread starts */
    xd_ssh_conf *conf; /* owned */
    bool         accept_new;
    bool         again; /* it was connected before */
    uint32_t     timeout_ms;
    int          to_gateway, to_thread; /* eventfds */

    pthread_mutex_t lock;
    pthread_cond_t  news; /* of `done`; CLOCK_MONOTONIC */
    xd_ssh_phase    phase;
    xd_error        error;
    xd_ssh_ring     up, down, text;
    bool            text_told;
    bool            closed;      /* the agent's input ends once `down` is empty */
    bool            parting;     /* then the connection does, too: the agent ends by itself */
    bool            cut;         /* all ends at once */
    bool            asks;        /* the user is being asked, or was since this was looked at */
    bool            done;        /* the thread is about to return */
    int             agent_end;   /* of the socket to the key agent, for shutdown(); -1 = none */
    int             exit_status; /* of what ran at the far end; -1 = not known */
    char            exit_signal[24];

    /* the thread's alone */
    int                                 fd; /* connected, and not the session's yet; -1 = none */
    ssh_session                         session;
    ssh_channel                         channel;
    struct ssh_channel_callbacks_struct calls;
    xd_ssh_hosts                       *hosts;
    uint64_t                            deadline_ns; /* of the dial */
    char                                address[80]; /* that was connected: "10.0.0.1 port 22" */
    xd_buf                              tried;       /* to authenticate: for the error */
    xd_ssh_secret                      *secrets;
    bool                                keys_begun;  /* the first key files have been refused */
    bool                                no_terminal; /* something would have been asked */
    const char                         *left; /* what was missing, and the ssh program could do; static */
} xd_ssh;

static inline size_t xd_ssh_room(const xd_ssh_ring *r)
{
    return XD_SSH_RING - r->len;
}
/* As much as fits; as much as there is, at most. */
size_t xd_ssh_put(xd_ssh_ring *r, const void *from, size_t len);
size_t xd_ssh_take(xd_ssh_ring *r, void *to, size_t len);

/* ssh_thread.c */
void *xd_ssh_main(void *arg);
/* Until fd (-1 = none) has one of the poll(2) events, somebody wakes the thread, or until_ns. 1 = fd has, 0 = not; -ECANCELED: all ends;
 * -ETIMEDOUT. */
int xd_ssh_wait(xd_ssh *s, int fd, short events, uint64_t until_ns) XD_MUST;
/* For the next step of something that libssh has begun: 0, or -errno with s->error set; `what` is being waited for. */
int xd_ssh_step(xd_ssh *s, const char *what) XD_MUST;
/* s->error; returns code. */
int xd_ssh_fail(xd_ssh *s, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ssh_dial.c: connected, and keys exchanged; 0, or -errno with s->error set. Tries again where a host has no room just now. */
int  xd_ssh_dial(xd_ssh *s) XD_MUST;
void xd_ssh_drop_session(xd_ssh *s); /* without a word to the host */

/* ssh_hostkey.c */
/* What known_hosts says of this host: read before the dial, since it decides which key is asked for. */
int           xd_ssh_hosts_new(xd_ssh_hosts **ret, xd_ssh *s) XD_MUST;
xd_ssh_hosts *xd_ssh_hosts_free(xd_ssh_hosts *h); /* NULL ok */
/* Host key algorithms, those of known keys first. -ENOMEM. */
int xd_ssh_hosts_algorithms(const xd_ssh_hosts *h, xd_buf *out) XD_MUST;
/* Is the key that the host has shown one of them? 0, or -errno with s->error set. */
int xd_ssh_hosts_check(xd_ssh *s) XD_MUST;

/* ssh_auth.c: 0, or -errno with s->error set. */
int xd_ssh_authenticate(xd_ssh *s) XD_MUST;
/* The host has not said that it takes no keys. */
bool xd_ssh_auth_takes_keys(const xd_ssh *s);
/* Notes what was tried, for the error. */
int xd_ssh_tried(xd_ssh *s, const char *fmt, ...) XD_MUST __attribute__((format(printf, 2, 3)));
/* The outcome of a call of libssh's authentication: SSH_AUTH_*, or -errno with s->error set. */
int xd_ssh_auth_outcome(xd_ssh *s, int rc) XD_MUST;

/* ssh_keys.c: SSH_AUTH_*, or -errno. The files that are named (the usual ones where there is no key agent), then (in `later`) the
 * usual ones and those that need a passphrase. */
int xd_ssh_auth_files(xd_ssh *s, bool later) XD_MUST;
int xd_ssh_auth_agent(xd_ssh *s) XD_MUST;

/* ssh_tty.c */
/* Asks the user, on the terminal of this process, one at a time. 0; -ENOTTY: there is none that could be asked, or BatchMode is on;
 * -ECANCELED. The time that it takes is added to the dial's. The caller wipes `to`. */
int xd_ssh_ask(xd_ssh *s, const char *prompt, bool echo, char *to, size_t size) XD_MUST;
/* What was typed in for this prompt before; NULL = nothing. */
const char *xd_ssh_remembered(const xd_ssh *s, const char *prompt);
int         xd_ssh_remember(xd_ssh *s, const char *prompt, const char *text) XD_MUST;
void        xd_ssh_forget(xd_ssh *s);
