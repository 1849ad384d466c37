/* engine/base/ci_guard.h - text in the log of a CI system that reads commands out of it: none of them is a command.
 * The last character of what would begin one is written as \xNN, as a control character is:
 *   GitHub Actions, and those that read a log as it does ($GITHUB_ACTIONS): `::` as the first characters of a line, blanks
 *     apart, and `##[` anywhere            :\x3aerror file=a.py::   ##\x5berror]
 *   Azure Pipelines ($TF_BUILD): `##vso` and `##[` anywhere          ##vs\x6f[task.setvariable ...]
 *   TeamCity ($TEAMCITY_VERSION): `##teamcity[` anywhere             ##teamcity\x5bbuildStatus ...]
 * Section markers of GitLab and folds of Travis need a carriage return behind them, which text that was made harmless
 * (text.h) does not have.  Text comes in pieces of any size; colours in it count for nothing. */
#pragma once
#include "engine/base/buf.h"

enum { XD_CI_GITHUB = 1u, XD_CI_AZURE = 2u, XD_CI_TEAMCITY = 4u };

typedef struct xd_ci_guard {
    unsigned systems; /* XD_CI_*; 0 = text passes as it is. All else 0: a line begins */
    uint8_t  head;    /* private, as all below: what the line has so far */
    uint8_t  escape;  /* where in a colour */
    uint8_t  token, matched;
} xd_ci_guard;

/* Which systems read what this process writes. env: value of an environment variable, NULL or "" = not set. */
unsigned xd_ci_systems(const char *(*env)(const void *arg, const char *name), const void *arg);
/* The same of the process's own environment. */
unsigned xd_ci_systems_here(void);
/* Appends the text. */
int xd_ci_guard_add(xd_ci_guard *g, xd_buf *out, xd_bytes in) XD_MUST;
/* What comes next is at the beginning of a line, though no newline went through here. */
void xd_ci_guard_line(xd_ci_guard *g);
/* What comes next may begin with `::`: a command that is meant. */
void xd_ci_guard_pass(xd_ci_guard *g);
