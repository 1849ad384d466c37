/* needs: engine actors gateways */
/* What `xdctl sync` is asked for. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/sync_request.h"
#include "engine/base/path.h"

static char               top[64];
static xd_error           err;
static xd_sync_job        job;
static const char *const *ignore;

static void make(const char *name)
{
    xd_autofree char *path = xd_path_join(top, name), *dir = xd_path_dir(path);
    ck_assert_int_eq(xd_path_mkdirs(dir, 0700, NULL), 0);
    if (name[strlen(name) - 1] != '/')
        ck_assert_int_eq(xd_path_write_file(path, XD_BYTES_LIT("x"), 0600, NULL), 0);
}

static void setup(void)
{
    snprintf(top, sizeof(top), "/tmp/xd-request-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    ignore = NULL;
    job = XD_SYNC_JOB_INIT;
    make("w/src/a");
    make("w/tests/b");
    make("w/x/src/c");
    make("w/f1");
    make("w/f2");
    make("w/x/f3");
    xd_autofree char *link = xd_path_join(top, "w/link");
    ck_assert_int_eq(symlink("src", link), 0);
}

static void teardown(void)
{
    xd_sync_job_release(&job);
    (void)xd_path_remove_tree(top);
}

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

static int ask(const char *const *sources, const char *const *targets)
{
    xd_autofree char *work = xd_path_join(top, "w");
    xd_folders        where = { .work = work };
    xd_sync_job_release(&job);
    err = (xd_error){ 0 };
    return xd_sync_job_make(&job, sources, targets, ignore, &where, &err);
}

static void brings(int r, const char *base, const char *roots)
{
    char all[256] = "";
    ck_assert_msg(r == 0, "%s", err.text);
    ck_assert_uint_ge(job.n_parts, 1);
    ck_assert_str_eq(job.parts[0].base + strlen(top), base);
    for (size_t n = 0; n < job.n_parts; n++)
        for (size_t i = 0; i < job.parts[n].roots.count; i++)
            snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
                     i   ? " "
                     : n ? " | "
                         : "",
                     job.parts[n].roots.at[i]);
    ck_assert_str_eq(all, roots);
}

static void refused(int r, const char *words)
{
    ck_assert_int_eq(r, -EINVAL);
    ck_assert_msg(strstr(err.text, words) && !strchr(err.text, '\n'), "'%s' is not in: %s", words, err.text);
    ck_assert(!job.n_parts && !job.n_places);
}

START_TEST(sources)
{
    const char *const *to = LIST("ssh=h:/p");
    brings(ask(LIST("src", "tests"), to), "/w", "src tests");
    brings(ask(LIST("src/"), to), "/w/src", ".");
    brings(ask(LIST("link/"), to), "/w/src", ".");
    brings(ask(LIST("."), to), "/w", ".");
    brings(ask(LIST("x/.."), to), "/w", ".");
    brings(ask(LIST("f1", "src", "./f2", "x/../tests"), to), "/w", "f1 src f2 tests");
    brings(ask(LIST("link/a"), to), "/w/src", "a");
    brings(ask(LIST("src/a", "f1", "x/f3", "tests"), to), "/w/src", "a | f1 tests | f3");
}
END_TEST

START_TEST(wrong_sources)
{
    const char *const *to = LIST("ssh=h:/p");
    refused(ask(LIST("src", "nix"), to), "source 'nix' is not there");
    refused(ask(LIST("f1/x"), to), "source 'f1/x' is not there");
    refused(ask(LIST("f1/"), to), "is no folder, and has a slash at its end");
    refused(ask(LIST("link"), to), "source 'link' is a symbolic link");
    refused(ask(LIST(""), to), "a source without a name");
    refused(ask(LIST("/"), to), "is the whole file system");
    refused(ask(LIST("/dev/null"), to), "is neither a folder nor a file");
    refused(ask(LIST("src", "x/src"), to), "source 'x/src' would get the place of another one of that name");
    refused(ask(LIST("src", "./src"), to), "source './src' is named twice");
    refused(ask(LIST("src/", "f1"), to), "source 'f1' cannot be brought with the others");
    refused(ask(LIST("f1", "src/"), to), "source 'src/' cannot be brought with the others");
    refused(ask((const char *const[]){ NULL }, to), "no source is named");
    refused(ask(LIST("src"), (const char *const[]){ NULL }), "no destination is named");
}
END_TEST

static const struct {
    const char *text, *spec, *path;
} good[] = {
    { "ssh=host:/path", "ssh=host", "/path" },
    { "ssh=user@host:/p", "ssh=user@host", "/p" },
    { "ssh=host:backup", "ssh=host", "backup" },
    { "ssh=host:backup/a b", "ssh=host", "backup/a b" },
    { "ssh=host:.", "ssh=host", "." },
    { "ssh=host:~", "ssh=host", "." },
    { "ssh=host:~/x", "ssh=host", "x" },
    { "ssh=-p 5000 host//ssh_config=f:~/app", "ssh=-p 5000 host//ssh_config=f", "app" },
    { "ssh=[::1]:/p", "ssh=[::1]", "/p" },
    { "ssh=h:/data/x=1", "ssh=h", "/data/x=1" },
    { "ssh=h//python=python3:/p", "ssh=h//python=python3", "/p" },
    { "socket=h:8888:/p", "socket=h:8888", "/p" },
    { "socket=[::1]:8888:x", "socket=[::1]:8888", "x" },
    { "command=docker exec -i box:/srv", "command=docker exec -i box", "/srv" },
    { "popen:/other/dir", "popen", "/other/dir" },
    { "popen:/other/../dir/", "popen", "/dir" },
};

START_TEST(targets)
{
    ck_assert_int_eq(ask(LIST("src"), LIST(good[_i].text)), 0);
    ck_assert_uint_eq(job.n_places, 1);
    ck_assert_str_eq(job.places[0].text, good[_i].text);
    ck_assert_str_eq(job.places[0].spec.text, good[_i].spec);
    ck_assert_str_eq(job.places[0].path, good[_i].path);
}
END_TEST

START_TEST(several_targets)
{
    ck_assert_int_eq(ask(LIST("src"), LIST("ssh=h1:/p", "ssh=h2:/p", "popen:../other")), 0);
    ck_assert_uint_eq(job.n_places, 3);
    ck_assert_str_eq(job.places[2].path + strlen(top), "/other");
    refused(ask(LIST("src"), LIST("ssh=h1:/p", "ssh=h1:/p")), "it is named twice");
}
END_TEST

static const struct {
    const char *text, *said;
} bad[] = {
    { "ssh=host", "it is SPEC:PATH, as ssh=host:/path" },
    { "/p", "it is SPEC:PATH" },
    { "host:/p", "bad spec 'host'" },
    { "ssh=host:", "no folder stands behind the colon" },
    { "ssh=:/p", "ssh, socket and command need a value" },
    { "ssh=h//env:A=b", "it is SPEC:PATH" },
    { "2*ssh=h:/p", "a number in front is of workers" },
    { "1*popen:/p", "a number in front is of workers" },
    { "ssh=h//cpus=auto:/p", "cpus= says how many workers" },
    { "ssh=h//chdir=x:/p", "not in chdir=" },
    { "ssh=h//via=g:/p", "via= is of xdctl run" },
    { "ssh=h//nix=1:/p", "nix" },
    { "ssh=h:~me/x", "~/ is the only short name" },
    { "socket=h:0:/p", "spec 'socket=h:0': 'h:0': the port is no number" },
    { "socket=h//via=g:/p", "via" },
    { "popen:.", "it is, or lies in or above, what is to be brought there" },
    { "popen:src", "it is, or lies in or above" },
    { "popen:src/new/deep", "it is, or lies in or above" },
    { "popen:link/new", "it is, or lies in or above" },
};

START_TEST(wrong_targets)
{
    refused(ask(LIST("src"), LIST(bad[_i].text)), bad[_i].said);
}
END_TEST

START_TEST(places_of_this_host)
{
    ck_assert_int_eq(ask(LIST("src"), LIST("popen:x/new")), 0);
    refused(ask(LIST("src/"), LIST("popen:src")), "it is, or lies in or above");
    refused(ask(LIST("src/"), LIST("popen:..")), "it is, or lies in or above");
    refused(ask(LIST("f1"), LIST("popen:.")), "it is, or lies in or above");
    ck_assert_int_eq(ask(LIST("f1"), LIST("popen:src")), 0);
}
END_TEST

START_TEST(globs)
{
    make("w*[/a");
    ignore = LIST("*.dat", "./data/*", "/abs/x");
    xd_autofree char *work = xd_path_join(top, "w*[");
    xd_folders        where = { .work = work };
    ck_assert_int_eq(xd_sync_job_make(&job, LIST("."), LIST("ssh=h:/p"), ignore, &where, &err), 0);
    ck_assert_uint_eq(job.globs.count, 4);
    ck_assert_str_eq(job.globs.at[0], "*.dat");
    ck_assert_str_eq(job.globs.at[1], "./data/*");
    ck_assert_str_eq(job.globs.at[2] + strlen(top), "/w[*][[]/data/*");
    ck_assert_str_eq(job.globs.at[3], "/abs/x");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sync_request");
    TCase *t = tcase_create("sync_request");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, sources);
    tcase_add_test(t, wrong_sources);
    tcase_add_loop_test(t, targets, 0, (int)XD_ARRAY_LEN(good));
    tcase_add_test(t, several_targets);
    tcase_add_loop_test(t, wrong_targets, 0, (int)XD_ARRAY_LEN(bad));
    tcase_add_test(t, places_of_this_host);
    tcase_add_test(t, globs);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
