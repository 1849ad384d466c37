/* actors/slurm_job.c - see slurm_job.h. */
#include "actors/slurm_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

/* Slurm sends SIGTERM so many seconds before the time limit, to what the task runs alone (B:): `xdctl join`, into which the shell of the script turns. It leaves,
 * and its tests, which it has started, go on to their ends. Without B: the signal would go to the steps of the job, of which there are none. */
#define BEFORE_LIMIT "--signal=B:TERM@60"

#define CPUS_MOST 1024u
#define ANYWHERE "0.0.0.0:0" /* all addresses, and a port that is free */

/* ---- options of sbatch --------------------------------------------------------------------------------------------------- */

/* Letters that have no value; those that have one. -s has none of its own. */
static const char letter_flags[] = "hHIkOQsuvVW", letter_values[] = "AabBcCdDeFGiJLmMnNopPqStwx";

/* Long options without a value, or with one behind = alone. Of others the next word is the value. */
static const char *const long_flags[] = {
    "contiguous", "exclusive",  "get-user-env", "hold",          "ignore-pbs", "nice",
    "no-kill",    "no-requeue", "overcommit",   "oversubscribe", "propagate",  "quiet",
    "reboot",     "share",      "spread-job",   "use-min-nodes", "verbose",    NULL
};

typedef struct refusal {
    const char *name;
    char        letter;
    const char *why;
} refusal;

#define ONE_TASK \
    "a task of the job array is one process on one node: xd sets it (-c says how many workers it has)"
#define PRINTS "it would submit nothing"
static const refusal refused[] = {
    { "array", 'a', "xd sets it: -n says how many workers there are to be" },
    { "wrap", 0, "xd has a script of its own (--slurm-join says what it starts)" },
    { "wait", 'W', "xd itself waits for the tasks" },
    { "parsable", 0, "xd sets it" },
    { "export", 0, "xd sets it: the tasks have the environment of xdctl" },
    { "export-file", 0, "xd sets it: the tasks have the environment of xdctl" },
    { "input", 'i', "xd has a script of its own (--slurm-join says what it starts)" },
    { "requeue", 0, "a task that is started again joins in a run that has gone on without it" },
    { "nodes", 'N', ONE_TASK },
    { "ntasks", 'n', ONE_TASK },
    { "ntasks-per-node", 0, ONE_TASK },
    { "ntasks-per-core", 0, ONE_TASK },
    { "ntasks-per-socket", 0, ONE_TASK },
    { "ntasks-per-gpu", 0, ONE_TASK },
    { "test-only", 0, PRINTS },
    { "help", 'h', PRINTS },
    { "usage", 'u', PRINTS },
    { "version", 'V', PRINTS },
};

static const char cpus_name[] = "cpus-per-task";

/* sbatch takes a beginning of a long name for it where no other begins so. */
static bool begins(const char *name, const char *word, size_t len)
{
    return len > 0 && strncmp(name, word, len) == 0;
}

static int refuse(const refusal *r, const char *word, xd_error *err)
{
    return xd_error_set(err, -EINVAL, "option --slurm: %.100s: %s", word, r->why);
}

static int read_cpus(xd_slurm_job *job, const char *word, const char *value, xd_error *err)
{
    uint64_t n;
    if (!value)
        return xd_error_set(err, -EINVAL, "option --slurm: %.100s needs a value", word);
    if (xd_text_u64(value, 1, CPUS_MOST, &n) < 0)
        return xd_error_set(err, -EINVAL, "option --slurm: -c %.60s: a number from 1 to %u is expected",
                            value, CPUS_MOST);
    job->per_task = (uint32_t)n;
    return 0;
}

/* One long option. 1 = the next word is its value. */
static int read_long(xd_slurm_job *job, const char *word, const char *next, xd_error *err)
{
    const char  *name = word + 2, *equals = strchr(name, '=');
    const size_t len = equals ? (size_t)(equals - name) : strlen(name);
    for (size_t i = 0; i < XD_ARRAY_LEN(refused);
         i++) /* whole names first: --export-file begins with another */
        if (strlen(refused[i].name) == len && begins(refused[i].name, name, len))
            return refuse(&refused[i], word, err);
    for (const char *const *f = long_flags; *f; f++)
        if (begins(*f, name, len))
            return 0;
    /* --cpus-per is the beginning of --cpus-per-gpu, too: sbatch refuses it */
    if (begins(cpus_name, name, len) && len > sizeof("cpus-per-") - 1) {
        XD_TRY(read_cpus(job, word, equals ? equals + 1 : next, err));
        return !equals;
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(refused); i++)
        if (begins(refused[i].name, name, len))
            return refuse(&refused[i], word, err);
    return !equals;
}

/* A word with one dash: letters, of which the last may have a value. 1 = the next word is that. */
static int read_letters(xd_slurm_job *job, const char *word, const char *next, xd_error *err)
{
    for (const char *c = word + 1; *c; c++) {
        for (size_t i = 0; i < XD_ARRAY_LEN(refused); i++)
            if (refused[i].letter == *c)
                return refuse(&refused[i], word, err);
        if (strchr(letter_values, *c)) {
            const char *value = c[1] ? c + 1 : next;
            if (*c == 'c')
                XD_TRY(read_cpus(job, word, value, err));
            return !c[1];
        }
        if (!strchr(letter_flags, *c))
            return 0; /* sbatch says what it thinks of it */
    }
    return 0;
}

static int read_words(xd_slurm_job *job, xd_error *err)
{
    for (char **w = job->words; *w; w++) {
        const char *word = *w;
        if (strcmp(word, "--") == 0 || word[0] != '-' || !word[1])
            return xd_error_set(err, -EINVAL,
                                "option --slurm: '%.100s' is no option of sbatch: xd has a script of its own",
                                word);
        int r = word[1] == '-' ? read_long(job, word, w[1], err) : read_letters(job, word, w[1], err);
        XD_TRY(r);
        if (r == 1 && !w[1])
            return xd_error_set(err, -EINVAL, "option --slurm: %.100s needs a value", word);
        w += r;
    }
    return 0;
}

int xd_slurm_job_read(xd_slurm_job *ret, const char *options, uint32_t workers, xd_error *err)
{
    xd_slurm_job job = { .per_task = 1 };
    int          r = xd_text_shell_split(options, &job.words);
    if (r == -EINVAL)
        return xd_error_set(err, r, "option --slurm: '%.200s': a quote is not closed", options);
    XD_TRY(r);
    r = read_words(&job, err);
    if (r < 0) {
        xd_slurm_job_release(&job);
        return r;
    }
    job.tasks = (workers + job.per_task - 1) / job.per_task;
    *ret = job;
    return 0;
}

void xd_slurm_job_release(xd_slurm_job *job)
{
    free(job->words);
    *job = (xd_slurm_job){ 0 };
}

/* ---- what is submitted ------------------------------------------------------------------------------------------------------ */

int xd_slurm_job_command(const xd_slurm_job *job, char array[32], char ***ret)
{
    /* The user's come behind, so that they win. What environment variables of sbatch could change of the rest is said here. */
    const char *const own[] = { "sbatch",        "--parsable",        array,          "--nodes=1",
                                "--ntasks=1",    "--export=ALL",      "--no-requeue", BEFORE_LIMIT,
                                "--job-name=xd", "--output=/dev/null" };
    const xd_words    parts[] = { { own, XD_ARRAY_LEN(own) }, xd_words_of((const char *const *)job->words) };
    snprintf(array, 32, "--array=0-%u", (unsigned)(job->tasks - 1));
    return xd_text_words_join(parts, XD_ARRAY_LEN(parts), ret);
}

int xd_slurm_job_script(const xd_slurm_job *job, const char *join, const char *address, xd_buf *out)
{
    XD_TRY(xd_buf_printf(out,
                         "#!/bin/sh\nexec %s --workers %u --tag slurm --tag "
                         "\"job=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}\"",
                         join, (unsigned)job->per_task));
    XD_TRY(xd_buf_add_str(out, " --tag \"node=$SLURMD_NODENAME\" "));
    XD_TRY(xd_text_shell_quote(out, address));
    return xd_buf_add_str(out, "\n");
}

int xd_slurm_settle(xd_config *c, xd_error *err)
{
    xd_slurm_job job = { 0 };
    const char  *alone = c->slurm_address ? "address" : c->slurm_join ? "join" : NULL;
    if (!c->slurm)
        return alone ? xd_error_set(err, -EINVAL, "option --slurm-%s: it is of use with --slurm alone", alone)
                     : 0;
    if (c->workers <= 0)
        return xd_error_set(err, -EINVAL,
                            "option --slurm: -n N says how many workers are asked of Slurm, as a number");
    if (c->max_workers)
        c->workers = XD_MIN(c->workers, c->max_workers);
    XD_TRY(xd_slurm_job_read(&job, c->slurm, (uint32_t)c->workers, err));
    xd_slurm_job_release(&job);
    c->slurm_workers = c->workers;
    c->workers = XD_WORKERS_UNSET;
    c->slurm_alone = !c->listen.count;
    return c->listen.count ? 0 : xd_strings_add(&c->listen, ANYWHERE);
}

/* ---- what squeue says --------------------------------------------------------------------------------------------------------- */

static bool is_one_of(xd_bytes word, const char *const *words)
{
    for (; *words; words++)
        if (xd_bytes_eq_str(word, *words))
            return true;
    return false;
}

static void keep(char ret[XD_SLURM_TEXT], xd_bytes text)
{
    xd_autobuf out = XD_BUF_INIT;
    text.len = XD_MIN(text.len, (size_t)100);
    if (xd_text_harmless(&out, text, false) == 0)
        snprintf(ret, XD_SLURM_TEXT, "%s", xd_buf_cstr(&out));
}

static void read_line(xd_slurm_queue *q, xd_bytes line)
{
    static const char *const waits[] = { "PENDING",      "REQUEUED",     "REQUEUE_FED",
                                         "REQUEUE_HOLD", "SPECIAL_EXIT", NULL };
    static const char *const ended[] = { "BOOT_FAIL", "CANCELLED",     "COMPLETED", "DEADLINE", "FAILED",
                                         "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",  "TIMEOUT",
                                         NULL };
    xd_bytes                 state = line, reason = line;
    while (state.len && state.ptr[state.len - 1] == ' ')
        state.len--;
    line.len = state.len;
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] == ' ') {
            state.len = i;
            break;
        }
    reason.ptr += XD_MIN(state.len + 1, line.len);
    reason.len = line.len - XD_MIN(state.len + 1, line.len);
    if (!state.len)
        return;
    q->known = true;
    if (is_one_of(state, waits)) {
        if (!q->waiting++)
            keep(q->why, reason);
    } else if (is_one_of(state, ended)) {
        const bool good = xd_bytes_eq_str(state, "COMPLETED");
        if (!q->ended++ || (!good && strncmp(q->how, "COMPLETED", 9) == 0))
            keep(q->how, xd_bytes_eq_str(reason, "None") ? state : line);
    } else {
        q->running++;
    }
}

void xd_slurm_queue_read(xd_slurm_queue *ret, xd_bytes said)
{
    xd_slurm_queue q = { 0 };
    while (said.len) {
        const uint8_t *end = memchr(said.ptr, '\n', said.len);
        const size_t   len = end ? (size_t)(end - said.ptr) : said.len;
        read_line(&q, (xd_bytes){ said.ptr, len });
        said.ptr += XD_MIN(len + 1, said.len);
        said.len -= XD_MIN(len + 1, said.len);
    }
    *ret = q;
}

int xd_slurm_queue_words(const xd_slurm_queue *q, const char *job, char ret[XD_SLURM_TEXT])
{
    ret[0] = 0;
    if (!q->known) {
        snprintf(ret, XD_SLURM_TEXT, "slurm job %.40s is in the queue no more", job);
        return 1;
    }
    if (!q->waiting && !q->running) {
        const bool good = strncmp(q->how, "COMPLETED", 9) == 0;
        snprintf(ret, XD_SLURM_TEXT, "slurm job %.40s has ended: %.120s%s", job, q->how,
                 good ? "" : " (--output FILE among its options keeps what its tasks print)");
        return 1;
    }
    if (q->waiting && !q->running && q->ended)
        snprintf(ret, XD_SLURM_TEXT, "slurm job %.40s waits: %.120s; tasks of it have ended: %.120s", job,
                 q->why, q->how);
    else if (q->waiting && !q->running)
        snprintf(ret, XD_SLURM_TEXT, "slurm job %.40s waits: %.120s", job, q->why);
    else if (q->ended)
        snprintf(ret, XD_SLURM_TEXT, "slurm job %.40s runs, and tasks of it have ended: %.120s", job, q->how);
    return 0;
}
