/* tools/xdagent/place.h - what an environment needs to know of this host: its working folder, the folder for what is kept
 * between runs and the one for scratch files. ENV_START has only wishes; nothing comes from the controller's host, except
 * where agent and controller share one and the gateway says so on the command line (--cache-dir, --scratch-dir). */
#pragma once
#include <stdbool.h>

#include "engine/base/buf.h"

/* Of the command line; NULL = none. One that cannot be fulfilled is passed over. */
typedef struct agent_wishes {
    const char *cache_dir, *scratch_dir; /* borrowed */
    uint32_t    max_workers;             /* 0 = as many as are asked for */
} agent_wishes;

typedef struct agent_place {
    char *folder; /* where the tests run; absolute */
    char   *
        copied; /* the same without links in it, if it is the folder for copies of the project; NULL = it is not known to hold one */
    char *base,
        *base_real;  /* the folder that a tree was brought to, and the same without links; NULL = none was */
    bool  empty;     /* nothing was in it */
    bool  made;      /* folder was not there before */
    bool  elsewhere; /* the controller is on another host */
    char *cache;     /* for what is kept between runs; not made yet; "" = there is none */
    char *
        scratch; /* of this environment alone, 0700, removed by agent_place_release; "" = none could be made */
    bool wished; /* scratch is as wished: beside the journal */
    int  lock;   /* of scratch, if it is not; -1 = none */
} agent_place;
#define AGENT_PLACE_INIT ((agent_place){ .lock = -1 })

/* What ENV_START says of the working folder, with the folder that a tree was brought to (NULL = none was). */
typedef struct agent_place_wish {
    xd_bytes    chdir, project, synced;
    const char *tree;
} agent_place_wish;
/* With a tree: the folder `synced` in it. Else `chdir` counts from the current folder, ~/ from the home folder, and is made if it is missing; empty = the folder work/PROJECT below that of the caches, where
 * the controller names its project, else the current folder. *p is set up even on
 * failure: release it either way. no_scratch: why there is no folder for scratch files, which is not a failure. */
int agent_place_find(agent_place *p, const agent_place_wish *where, const agent_wishes *wishes,
                     xd_error *no_scratch, xd_error *err) XD_MUST;
/* Can it be the name of a project's folder: one component of a path, and no hidden one. */
bool agent_place_is_project(xd_bytes name);
void agent_place_release(agent_place *p);
