/* needs: engine actors */
/* --slurm: what is asked of sbatch, and what squeue's words mean. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/slurm_job.h"
#include "engine/base/mem.h"

static xd_slurm_job job;
static xd_error     err;

static void setup(void)
{
    job = (xd_slurm_job){ 0 };
    err = (xd_error){ 0 };
}

static void teardown(void)
{
    xd_slurm_job_release(&job);
}

static int reads(const char *options, uint32_t workers)
{
    xd_slurm_job_release(&job);
    err = (xd_error){ 0 };
    return xd_slurm_job_read(&job, options, workers, &err);
}

START_TEST(tasks)
{
    static const struct {
        const char *options;
        uint32_t    workers, per_task, tasks;
    } table[] = {
        { "", 64, 1, 64 },
        { "-p test --time 30", 64, 1, 64 },
        { "-c 4", 64, 4, 16 },
        { "-c4", 65, 4, 17 },
        { "--cpus-per-task 4", 1, 4, 1 },
        { "--cpus-per-task=8 -p x", 64, 8, 8 },
        { "--cpus-per-t=8", 64, 8, 8 },  /* as sbatch takes it */
        { "--cpus-per-gpu=8", 4, 1, 4 }, /* another one */
        { "-p -c3", 4, 1, 4 },           /* the value of -p */
        { "-Hc2", 4, 2, 2 },             /* behind a flag */
        { "-c 2 -c 4", 8, 4, 2 },        /* the last one counts */
        { "--partition=a --exclusive -c 2", 8, 2, 4 },
        { "--comment 'a b; c' -J \"n 1\"", 2, 1, 2 },
        { "--export-no 3", 2, 1, 2 }, /* none of ours: sbatch refuses it */
        { "--signal=B:USR1@10 -o out-%a -D /tmp", 2, 1, 2 },
        { "--no-requeue --mem 4G -w n1", 2, 1, 2 },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        ck_assert_msg(reads(table[i].options, table[i].workers) == 0, "row %zu: %s", i, err.text);
        ck_assert_msg(job.per_task == table[i].per_task && job.tasks == table[i].tasks, "row %zu: %u, %u", i,
                      (unsigned)job.per_task, (unsigned)job.tasks);
    }
}
END_TEST

START_TEST(refusals)
{
    static const struct {
        const char *options, *words;
    } table[] = {
        { "--array=0-3", "--array=0-3: xd sets it" },
        { "--arr 0-3", "--arr: xd sets it" },
        { "-a0-3", "-a0-3: xd sets it" },
        { "-p x -a 1", "-a: xd sets it" },
        { "-Ha 1", "-Ha: xd sets it" },
        { "--wrap ls", "a script of its own" },
        { "-N 2", "one process on one node" },
        { "--nodes=1", "one process on one node" },
        { "-n4", "one process on one node" },
        { "--ntasks-per-node 4", "one process on one node" },
        { "-W", "waits for the tasks" },
        { "--wait", "waits for the tasks" },
        { "--export=NONE", "the environment of xdctl" },
        { "--export-file=x", "the environment of xdctl" },
        { "--parsable", "xd sets it" },
        { "--requeue", "a task that is started again" },
        { "--test-only", "submit nothing" },
        { "-h", "submit nothing" },
        { "job.sh", "'job.sh' is no option of sbatch" },
        { "-p x job.sh", "'job.sh' is no option" },
        { "--exclusive job.sh", "'job.sh' is no option" },
        { "-H job.sh", "'job.sh' is no option" },
        { "-- -p", "'--' is no option" },
        { "-", "'-' is no option" },
        { "''", "'' is no option" },
        { "-p x : -p y", "':' is no option" },
        { "-c", "-c needs a value" },
        { "-p", "-p needs a value" },
        { "--partition", "--partition needs a value" },
        { "-c 0", "-c 0: a number from 1 to 1024" },
        { "-c4x", "-c 4x: a number" },
        { "--cpus-per-task=", "a number" },
        { "-c 1025", "a number" },
        { "-p 'x", "a quote is not closed" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        ck_assert_msg(reads(table[i].options, 4) == -EINVAL, "row %zu", i);
        ck_assert_msg(strncmp(err.text, "option --slurm: ", 16) == 0 && strstr(err.text, table[i].words),
                      "row %zu: %s", i, err.text);
    }
}
END_TEST

START_TEST(submitted)
{
    char   array[32];
    char **words = NULL;
    size_t n = 0;
    ck_assert_int_eq(reads("-p 'a b' -c2", 7), 0);
    ck_assert_int_eq(xd_slurm_job_command(&job, array, &words), 0);
    ck_assert_str_eq(words[0], "sbatch");
    ck_assert_str_eq(words[1], "--parsable");
    ck_assert_str_eq(words[2], "--array=0-3");
    while (words[n])
        n++;
    ck_assert_str_eq(words[n - 3], "-p"); /* the user's come last: they win */
    ck_assert_str_eq(words[n - 2], "a b");
    ck_assert_str_eq(words[n - 1], "-c2");
    free(words);

    xd_autobuf out = XD_BUF_INIT;
    ck_assert_int_eq(xd_slurm_job_script(&job, "'/o p/xdctl' join", "tcp://[fe80::1%eth0]:7400", &out), 0);
    ck_assert_str_eq(xd_buf_cstr(&out),
                     "#!/bin/sh\nexec '/o p/xdctl' join --workers 2 --tag slurm --tag "
                     "\"job=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}\" --tag \"node=$SLURMD_NODENAME\" "
                     "'tcp://[fe80::1%eth0]:7400'\n");
}
END_TEST

static void set(xd_config *c, const char *name, const char *value)
{
    char text[XD_TEXT];
    ck_assert_msg(xd_config_set(c, name, value, text) == 0, "%s", text);
}

static int settles(const char *const *options, xd_config **ret)
{
    ck_assert_int_eq(xd_config_new(ret), 0);
    for (; *options; options += 2)
        set(*ret, options[0], options[1]);
    err = (xd_error){ 0 };
    return xd_slurm_settle(*ret, &err);
}

START_TEST(settled)
{
    xd_config *c;
    ck_assert_int_eq(settles((const char *const[]){ "slurm", "", "numprocesses", "8", NULL }, &c), 0);
    ck_assert_int_eq(c->slurm_workers, 8);
    ck_assert_int_eq(c->workers, XD_WORKERS_UNSET); /* none of them on this machine */
    ck_assert_uint_eq(c->listen.count, 1);
    ck_assert(c->slurm_alone);
    xd_config_free(c);
    ck_assert_int_eq(settles((const char *const[]){ "slurm", "", "numprocesses", "8", "maxprocesses", "3",
                                                    "listen", "h:1", NULL },
                             &c),
                     0);
    ck_assert_int_eq(c->slurm_workers, 3);
    ck_assert_uint_eq(c->listen.count, 1);
    ck_assert_str_eq(c->listen.at[0], "h:1");
    ck_assert(!c->slurm_alone); /* others may join, too */
    xd_config_free(c);
    ck_assert_int_eq(settles((const char *const[]){ "numprocesses", "8", NULL }, &c), 0);
    ck_assert_int_eq(c->workers, 8);
    ck_assert_uint_eq(c->listen.count, 0);
    xd_config_free(c);
    static const char *const bad[][5] = { { "slurm", "" },
                                          { "slurm", "", "numprocesses", "auto" },
                                          { "slurm", "", "numprocesses", "0" },
                                          { "slurm", "-a 1", "numprocesses", "2" },
                                          { "slurm-address", "h" },
                                          { "slurm-join", "x" } };
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++) {
        ck_assert_msg(settles(bad[i], &c) == -EINVAL && strstr(err.text, "option --slurm"), "row %zu: %s", i,
                      err.text);
        xd_config_free(c);
    }
}
END_TEST

START_TEST(queues)
{
    static const struct {
        const char *said;
        uint32_t    waiting, running, ended;
        int         over;
        const char *words; /* "" = nothing is said */
    } table[] = {
        { "PENDING Resources\n", 1, 0, 0, 0, "slurm job 7 waits: Resources" },
        { "PENDING ReqNodeNotAvail, UnavailableNodes:n1\n", 1, 0, 0, 0,
          "slurm job 7 waits: ReqNodeNotAvail, UnavailableNodes:n1" },
        { "PENDING Priority\nRUNNING None\n", 1, 1, 0, 0, "" },
        { "RUNNING None\nCONFIGURING None\nCOMPLETING None", 0, 3, 0, 0, "" },
        { "PENDING Resources\nFAILED NonZeroExitCode\n", 1, 0, 1, 0,
          "slurm job 7 waits: Resources; tasks of it have ended: FAILED NonZeroExitCode" },
        { "RUNNING None\nTIMEOUT TimeLimit\n", 0, 1, 1, 0,
          "slurm job 7 runs, and tasks of it have ended: TIMEOUT TimeLimit" },
        { "COMPLETED None\nFAILED NonZeroExitCode\nFAILED RaisedSignal:9(Killed)\n", 0, 0, 3, 1,
          "slurm job 7 has ended: FAILED NonZeroExitCode (" },
        { "BOOT_FAIL None \n", 0, 0, 1, 1, "slurm job 7 has ended: BOOT_FAIL (" },
        { "COMPLETED None\n", 0, 0, 1, 1, "slurm job 7 has ended: COMPLETED" },
        { "", 0, 0, 0, 1, "slurm job 7 is in the queue no more" },
        { "\n \n", 0, 0, 0, 1, "slurm job 7 is in the queue no more" },
        { "PENDING", 1, 0, 0, 0, "slurm job 7 waits: " },
        { "PENDING \x1b[31m\n", 1, 0, 0, 0, "slurm job 7 waits: \\x1b[31m" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_slurm_queue q;
        char           line[XD_SLURM_TEXT];
        xd_slurm_queue_read(&q, xd_bytes_str(table[i].said));
        ck_assert_msg(q.waiting == table[i].waiting && q.running == table[i].running &&
                          q.ended == table[i].ended,
                      "row %zu: %u %u %u", i, q.waiting, q.running, q.ended);
        ck_assert_int_eq(xd_slurm_queue_words(&q, "7", line), table[i].over);
        const bool none = !*table[i].words;
        ck_assert_msg(none ? !*line : strncmp(line, table[i].words, strlen(table[i].words)) == 0,
                      "row %zu: %s", i, line);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("slurm_job");
    TCase *t = tcase_create("slurm_job");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, tasks);
    tcase_add_test(t, refusals);
    tcase_add_test(t, submitted);
    tcase_add_test(t, settled);
    tcase_add_test(t, queues);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
