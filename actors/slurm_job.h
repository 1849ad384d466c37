/* actors/slurm_job.h - what a run asks of Slurm (--slurm): one job array, each task of which brings its workers to the run (xdctl join). Reads the options, makes the
 * command line of sbatch and the script of a task, and understands what squeue says. Pure.
 *
 * A task is one process on one node. Its processors (-c among the options) are its workers, so that the array has as many tasks as it takes to come to -n. */
#pragma once
#include <stdbool.h>

#include "engine/config.h"

#define XD_SLURM_TEXT 400u

typedef struct xd_slurm_job {
    char   **words;    /* the user's options for sbatch, NULL-terminated; one block, owned */
    uint32_t per_task; /* workers */
    uint32_t tasks;
} xd_slurm_job;

/* Of --slurm's value and of -n. -EINVAL: err names the option that xd sets itself, or that cannot be. */
int  xd_slurm_job_read(xd_slurm_job *ret, const char *options, uint32_t workers, xd_error *err) XD_MUST;
void xd_slurm_job_release(xd_slurm_job *job);
/* A command line; its words are those of `job`. The caller frees it. `array`: a buffer for one of the words, which must live as long. */
int xd_slurm_job_command(const xd_slurm_job *job, char array[32], char ***ret) XD_MUST;
/* What each task runs: `join` is the command line up to the address, for a shell. */
int xd_slurm_job_script(const xd_slurm_job *job, const char *join, const char *address, xd_buf *out) XD_MUST;

/* With --slurm, -n says how many workers are asked of it, and none is meant for this machine; others options of it are checked. */
int xd_slurm_settle(xd_config *c, xd_error *err) XD_MUST;

/* The tasks, in the words of squeue. */
typedef struct xd_slurm_queue {
    uint32_t waiting, running, ended;
    bool     known;              /* there is such a job */
    char     why[XD_SLURM_TEXT]; /* of the first that waits: its reason */
    char     how
        [XD_SLURM_TEXT]; /* of the first that has ended badly, else of the first: its state, and the reason */
} xd_slurm_queue;
#define XD_SLURM_QUEUE_FORMAT "%T %r" /* what squeue is asked for */
/* said: a line for each task, or for several that wait. */
void xd_slurm_queue_read(xd_slurm_queue *ret, xd_bytes said);
/* A line for the user about it: "" = there is nothing to say. 1 = nothing comes of it any more; 0 = something may. */
int xd_slurm_queue_words(const xd_slurm_queue *q, const char *job, char ret[XD_SLURM_TEXT]);
