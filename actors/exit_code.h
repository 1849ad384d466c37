/* actors/exit_code.h - computes the exit code of a run from its facts: pytest's rules, plus 6 and 7.
 * It is 0 only if every collected item has an outcome, or if a test or an option explicitly asked for 0. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct xd_exit_facts {
    int forced; /* what the run was ended with; -1 = it came to its end */
    bool
        zero_asked; /* forced is 0, and pytest.exit(returncode=0) of a test, or --help and the like, wants it so */
    /* An agent said what it must not, or an environment was lost before it could run a test, and without it there are fewer
     * workers than --min-workers wants. */
    bool     missing;
    bool     agreed;              /* there is a collection */
    uint32_t collected, recorded; /* items; those with an outcome (not-run is none) */
    uint32_t failures, collect_errors;
    bool     bad_end; /* a worker or an environment ended badly, outside of any test */
    bool     too_many_warnings;
} xd_exit_facts;

int xd_exit_code(const xd_exit_facts *f);
/* --dist each: the worse of the exit codes of two environments. From the worst: 3 internal error, 6 infrastructure, 7 incomplete,
 * 4 usage, 2 interrupted, codes that are nobody's (pytest.exit), 1 failed, 0; and 5, no tests, where no environment has any. */
int xd_exit_worse(int a, int b);
