/* engine/grammar.h - the grammar of node ids, one for each runner: which part of an id names the unit, which one the
 * scope, how an id is shown. Scheduler and reporters ask here; nothing else knows what a node id is made of. Pure.
 *
 * A run's grammar is that of its runner: option "runner" of CONFIG.options, pytest where there is none. */
#pragma once
#include "engine/base/buf.h"

typedef struct xd_grammar {
    const char *runner;
    /* The unit is a path below the rootdir: reports show it as seen from where the run was started. */
    bool paths;
    /* Bytes at the beginning of an id that name its unit, the file of the test: tests of one unit share what is
     * expensive to set up (--dist loadfile). All of them: the id has no parts. */
    size_t (*unit)(xd_bytes id);
    /* The same of its scope, a module or class (--dist loadscope). */
    size_t (*scope)(xd_bytes id);
    /* The group that the id itself names (--dist loadgroup); empty = none. A view. */
    xd_bytes (*group)(xd_bytes id);
    /* Where the part behind the unit begins; the length of the id where it has no parts. */
    size_t (*rest)(xd_bytes id);
    /* Appends what stands above the text of a failure. */
    int (*headline)(xd_buf *out, xd_bytes id);
    /* Appends what JUnit XML has for a test case. prefix: --junitprefix. brackets_in_path: pytest before 9.2, which takes
     * a bracket in the path for the beginning of parameters. */
    int (*address)(xd_bytes id, const char *prefix, bool brackets_in_path, xd_buf *class_name, xd_buf *name);
} xd_grammar;

/* NULL, empty or unknown: pytest's. */
const xd_grammar *xd_grammar_find(const char *runner);
