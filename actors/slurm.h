/* actors/slurm.h - the job array of a run (--slurm): submits it, follows it, and cancels it. Slurm's own programs do that: sbatch, squeue, scancel.
 *
 * A guard, a shell, submits the job, and cancels it when the pipe that it reads ends: at the end of the run, and also when this process is killed, whatever with.
 * So there is no moment at which there is a job and nobody who would cancel it.
 *
 * The token by which tasks join goes to them in the environment of sbatch (XD_TOKEN), which Slurm passes on. It stands in no command line and in no script, so that
 * neither `ps` nor `scontrol show job` nor `squeue` show it to others; Slurm keeps the environment where its own user alone can read it. A file with mode
 * 0600 would have to lie in a folder that all nodes share, and nobody knows one.
 *
 * Own thread, from the submission on. */
#pragma once
#include <stdatomic.h>

#include "actors/slurm_job.h"
#include "engine/base/log.h"

typedef struct xd_slurm xd_slurm;

typedef struct xd_slurm_args {
    const xd_slurm_job *job;    /* looked at during the start */
    const char         *script; /* of a task */
    const char         *token;  /* as text */
    const atomic_bool  *came; /* a task has joined: squeue is asked less often from then on. Outlives this */
    /* On the thread of xd_slurm; must not block. Something is to be told of the job; over: no task of it will join any more. */
    void (*say)(void *arg, bool over, const char *line);
    void *arg;
} xd_slurm_args;

/* Blocks until Slurm has taken the job. -ENOENT: Slurm's programs are not there; other -errno: it refused the job, or does not answer; err says it. */
int xd_slurm_start(xd_slurm **ret, const xd_slurm_args *args, xd_error *err) XD_MUST;
/* Its number, as Slurm names it. */
const char *xd_slurm_id(const xd_slurm *s);
/* Cancels what there is of the job, and waits for it, for some seconds. `trouble` (XD_ERROR_TEXT bytes): why it could not; "" = it could. NULL ok; returns NULL. */
xd_slurm *xd_slurm_free(xd_slurm *s, char *trouble);
