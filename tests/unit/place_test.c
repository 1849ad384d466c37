/* needs: agent runners */
/* tools/xdagent/place.c: folders of an environment, found on the agent's own host. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "tests/unit/entries.h"
#include "tools/xdagent/agent.h"

static char               dir[64], base[96];
static xd_error           err, no_scratch;
static const agent_wishes no_wish;

/* What is main.c in the agent. */
void agent_fault(agent *a, int error)
{
    (void)a;
    (void)error;
}

void agent_frame(agent *a, const xd_frame *f)
{
    (void)a;
    (void)f;
}

void agent_mute(agent *a, bool on)
{
    (void)a;
    (void)on;
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/xd-place-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(base, sizeof(base), "%s/xd-%u", dir, (unsigned)geteuid());
    ck_assert_int_eq(setenv("TMPDIR", dir, 1), 0);
    ck_assert_int_eq(setenv("XDG_CACHE_HOME", dir, 1), 0);
    ck_assert_int_eq(chdir(dir), 0);
    err = no_scratch = (xd_error){ 0 };
}

static void teardown(void)
{
    (void)!chdir("/");
    (void)xd_path_remove_tree(dir);
}

static void find(agent_place *p, const char *folder, const agent_wishes *wishes)
{
    ck_assert_msg(agent_place_find(p, &(agent_place_wish){ .chdir = xd_bytes_str(folder) }, wishes,
                                   &no_scratch, &err) == 0,
                  "%s", err.text);
}

static const char *below(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

START_TEST(all_is_found_without_a_wish)
{
    agent_place p;
    struct stat st;
    find(&p, "", &no_wish);
    ck_assert_str_eq(p.folder, dir);
    ck_assert_str_eq(p.cache, below("xd"));
    ck_assert_int_eq(access(p.cache, F_OK), -1); /* whoever keeps something there makes it */
    ck_assert(!p.wished);
    ck_assert_int_eq(strncmp(p.scratch, base, strlen(base)), 0);
    ck_assert_int_eq(lstat(p.scratch, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    agent_place_release(&p);
    ck_assert_int_eq(entries(base), 0);
    agent_place_release(&p); /* twice is nothing */
}
END_TEST

START_TEST(the_working_folder_counts_from_the_agents)
{
    agent_place p;
    find(&p, "made", &no_wish); /* as execnet does */
    ck_assert_str_eq(p.folder, below("made"));
    ck_assert(xd_path_is_dir(p.folder));
    ck_assert(p.empty);
    agent_place_release(&p);
    find(&p, "/", &no_wish);
    ck_assert_str_eq(p.folder, "/");
    ck_assert(!p.empty);
    agent_place_release(&p);
    ck_assert_int_eq(setenv("HOME", below("home"), 1) | mkdir("home", 0700), 0);
    find(&p, "~/made", &no_wish); /* no shell has read it */
    ck_assert_str_eq(p.folder, below("home/made"));
    agent_place_release(&p);
    find(&p, "~", &no_wish);
    ck_assert_str_eq(p.folder, below("home"));
    ck_assert(!p.empty);
    agent_place_release(&p);
    find(&p, "~user", &no_wish); /* other users' are not known to a static program */
    ck_assert_str_eq(p.folder, below("~user"));
    agent_place_release(&p);
    find(&p, "made/with/parents", &no_wish);
    ck_assert_str_eq(p.folder, below("made/with/parents"));
    agent_place_release(&p);
    ck_assert_int_eq(setenv("HOME", below("made"), 1), 0);
    find(&p, "~/a", &no_wish); /* as a shell has it */
    ck_assert_str_eq(p.folder, below("made/a"));
    agent_place_release(&p);
    find(&p, "~", &no_wish);
    ck_assert_str_eq(p.folder, below("made"));
    agent_place_release(&p);
    find(&p, "~other", &no_wish);
    ck_assert_str_eq(p.folder, below("~other"));
    agent_place_release(&p);
    ck_assert_int_eq(xd_path_write_file("file", XD_BYTES_LIT("x"), 0600, &err), 0);
    static const char *const bad[] = { "file", "file/a", "/proc/no/such" };
    static const char *const said[] = { "chdir=file: Not a directory", "chdir=file/a: Not a directory",
                                        "chdir=/proc/no/such: No such file or directory" };
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++) {
        ck_assert_int_lt(agent_place_find(&p, &(agent_place_wish){ .chdir = xd_bytes_str(bad[i]) }, &no_wish,
                                          &no_scratch, &err),
                         0);
        ck_assert_str_eq(err.text, said[i]);
        agent_place_release(&p);
    }
}
END_TEST

/* Of an agent on another host: below its own cache, whatever the controller's project is called. */
START_TEST(a_folder_for_each_project)
{
    static const char *const bad[] = { "..", ".a", "-a", "a/b", "a b", "a\n" };
    agent_place              p;
    ck_assert_int_eq(agent_place_find(&p, &(agent_place_wish){ .project = XD_BYTES_LIT("proj-1a") }, &no_wish,
                                      &no_scratch, &err),
                     0);
    ck_assert_str_eq(p.folder, below("xd/work/proj-1a"));
    ck_assert(xd_path_is_dir(p.folder));
    xd_autofree char *real = realpath(p.folder, NULL);
    ck_assert_str_eq(p.copied, real); /* a copy of the project is known to be there */
    agent_place_release(&p);
    ck_assert(xd_path_is_dir(below("xd/work/proj-1a"))); /* it stays */
    ck_assert_int_eq(agent_place_find(&p,
                                      &(agent_place_wish){ .chdir = XD_BYTES_LIT("other"),
                                                           .project = XD_BYTES_LIT("proj-1a") },
                                      &no_wish, &no_scratch, &err),
                     0);
    ck_assert_str_eq(p.folder, below("other")); /* chdir= says where */
    ck_assert_ptr_null(p.copied);
    agent_place_release(&p);
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(agent_place_find(&p, &(agent_place_wish){ .project = xd_bytes_str(bad[i]) },
                                          &no_wish, &no_scratch, &err),
                         -EINVAL);
        ck_assert_ptr_nonnull(strstr(err.text, "cannot be the name of a project's folder"));
        agent_place_release(&p);
    }
}
END_TEST

START_TEST(a_folder_that_is_gone)
{
    agent_place p;
    ck_assert_int_eq(mkdir("gone", 0700), 0);
    ck_assert_int_eq(chdir("gone"), 0);
    ck_assert_int_eq(rmdir(below("gone")), 0);
    ck_assert_int_eq(agent_place_find(&p, &(agent_place_wish){ 0 }, &no_wish, &no_scratch, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "is gone"));
    agent_place_release(&p);
}
END_TEST

START_TEST(wishes)
{
    agent_place  p;
    char         scratch[512];
    agent_wishes w = { .cache_dir = "/wished", .scratch_dir = scratch };
    snprintf(scratch, sizeof(scratch), "%s", below("env-0"));
    find(&p, "", &w);
    ck_assert(p.wished);
    ck_assert_str_eq(p.scratch, scratch);
    ck_assert_str_eq(p.cache, "/wished");
    ck_assert(xd_path_is_dir(scratch));
    agent_place_release(&p);
    ck_assert_int_eq(access(scratch, F_OK), -1);
    /* Of another host, somebody else's, or no path: passed over. */
    ck_assert_int_eq(mkdir(below("taken"), 0700), 0);
    const char *const cannot[] = { "/no/such/run/env-0", below("taken"), "env-0", "" };
    for (size_t i = 0; i < XD_ARRAY_LEN(cannot); i++) {
        w.scratch_dir = cannot[i];
        find(&p, "", &w);
        ck_assert(!p.wished);
        ck_assert_int_eq(strncmp(p.scratch, base, strlen(base)), 0);
        agent_place_release(&p);
    }
    ck_assert(xd_path_is_dir(below("taken")));
}
END_TEST

/* Both processes of an agent were killed: the next agent removes what they left, and leaves alone what is in use, what
 * is a link and what has another name. */
START_TEST(what_the_killed_left)
{
    agent_place lives, left, next;
    struct stat st;
    char        path[256];
    find(&lives, "", &no_wish);
    find(&left, "", &no_wish);
    close(left.lock); /* as the kernel does it */
    left.lock = -1;
    snprintf(path, sizeof(path), "%s/gw0.out", left.scratch);
    ck_assert_int_eq(xd_path_write_file(path, XD_BYTES_LIT("text"), 0600, &err), 0);
    ck_assert_int_eq(mkdir(below("elsewhere"), 0700), 0);
    snprintf(path, sizeof(path), "%s/scratch-link", base);
    ck_assert_int_eq(symlink(below("elsewhere"), path), 0);
    snprintf(path, sizeof(path), "%s/other", base);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    find(&next, "", &no_wish);
    ck_assert(xd_path_is_dir(lives.scratch) && xd_path_is_dir(path) && xd_path_is_dir(below("elsewhere")));
    ck_assert_int_eq(lstat(left.scratch, &st), -1);
    agent_place_release(&next);
    agent_place_release(&left);
    agent_place_release(&lives);
    ck_assert_int_eq(entries(base), 2);
}
END_TEST

#define AGENTS 6
#define ROUNDS 200

static void *come_and_go(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        agent_place p;
        xd_error    why = { 0 };
        if (agent_place_find(&p, &(agent_place_wish){ .chdir = XD_BYTES_LIT("/") }, &no_wish, &why, &why) <
                0 ||
            !*p.scratch || !xd_path_is_dir(p.scratch))
            *(int *)arg += 1;
        agent_place_release(&p);
    }
    return NULL;
}

/* Each looks for what others left while these make theirs. */
START_TEST(nobody_loses_his_folder)
{
    pthread_t thread[AGENTS];
    int       lost[AGENTS] = { 0 };
    for (size_t i = 0; i < AGENTS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, come_and_go, &lost[i]), 0);
    for (size_t i = 0; i < AGENTS; i++) {
        pthread_join(thread[i], NULL);
        ck_assert_int_eq(lost[i], 0);
    }
    ck_assert_int_eq(entries(base), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("place");
    TCase *c = tcase_create("place");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, all_is_found_without_a_wish);
    tcase_add_test(c, the_working_folder_counts_from_the_agents);
    tcase_add_test(c, a_folder_that_is_gone);
    tcase_add_test(c, a_folder_for_each_project);
    tcase_add_test(c, wishes);
    tcase_add_test(c, what_the_killed_left);
    tcase_add_test(c, nobody_loses_his_folder);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
