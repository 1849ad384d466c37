/* engine/xspec.h - specs of places to run workers, as execnet writes them:
 * `NUM*key=value//key//env:NAME=value`.
 * Keys: popen ssh socket command ssh_config via python chdir env:NAME id nice cpus dont_write_bytecode execmodel (read, without
 * effect: the main thread runs the tests).  Pure. */
#pragma once
#include "engine/base/buf.h"

typedef enum xd_xspec_kind {
    XD_SPEC_POPEN,
    XD_SPEC_SSH,
    XD_SPEC_SOCKET,
    XD_SPEC_COMMAND,
    XD_SPEC_JOIN /* an agent that joins the run: no spec names it (xd_xspec_join) */
} xd_xspec_kind;

typedef struct xd_xspec {
    xd_xspec_kind    kind;
    uint32_t         count;  /* NUM, 1 without; 0 = as many as that host has processors (cpus=auto) */
    char            *text;   /* the spec without NUM*; all owned */
    char            *target; /* of ssh=, socket= or command=; NULL for popen */
    char            *python; /* NULL = found */
    char            *chdir;  /* NULL = stay */
    char            *id;     /* name of the one worker; NULL = gwN */
    char            *nice;
    bool             dont_write_bytecode;
    char            *ssh_config; /* file of ssh= */
    char            *via;        /* id of the spec whose host this one is reached from */
    char           **env;        /* NAME=value, n_env of them, in order */
    size_t           n_env;
    struct xd_xspec *jump; /* what `via` names, once it is looked up; owned; NULL = reached from here */
} xd_xspec;

#define XD_XSPEC_MAX_COUNT 1024u

/* -EINVAL: err names the spec, the key, and what is allowed.  *ret is untouched on failure. */
int xd_xspec_parse(xd_xspec *ret, const char *text, xd_error *err) XD_MUST;
/* Of an agent that joins: `host` is its name. -ENOMEM. */
int xd_xspec_join(xd_xspec *ret, const char *host) XD_MUST;
/* A copy with texts of its own.  -ENOMEM. */
int  xd_xspec_copy(xd_xspec *ret, const xd_xspec *from) XD_MUST;
void xd_xspec_release(xd_xspec *s);
/* Takes `id` away, from the text as well. -ENOMEM. */
int xd_xspec_anonymous(xd_xspec *s) XD_MUST;
/* Same host, interpreter, folder and environment: their workers can share one agent. */
bool xd_xspec_same_env(const xd_xspec *a, const xd_xspec *b);
/* -EINVAL: two of them have the same id; err names both. */
int xd_xspec_distinct(const xd_xspec *all, size_t count, xd_error *err) XD_MUST;
/* Looks up the via= of `s` among `all`, and theirs: fills `jump`. A popen by way of a host of ssh= becomes that ssh=; by way of a
 * popen, `s` is reached from here. -EINVAL: there is none of that id, or they lead in a circle; err names it. -ENOMEM. */
int xd_xspec_route(xd_xspec *s, const xd_xspec *all, size_t count, xd_error *err) XD_MUST;
