/* needs: engine actors gateways */
/* deliver_test.c - an agent gets to a far end that is one of this machine's shells, with a home of its own, and starts there. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/base/proc.h"
#include "engine/base/text.h"
#include "engine/wire.h"
#include "gateways/agent_files.h"
#include "gateways/deliver.h"
#include "tests/unit/often.h"

#define STEP_MS 20000
#define ALL_BYTES 4000000

static char     home[64]; /* of the far end; everything it writes is below */
static xd_error err;

/* ---- the far end ------------------------------------------------------------------------------------------- */

typedef struct far {
    int     in, out; /* ours */
    xd_proc proc;
    size_t  written;
    size_t  stop_at; /* the pipe breaks after so many bytes; 0 = it does not */
} far;

static void setup(void)
{
    snprintf(home, sizeof(home), "/tmp/xd-deliver-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(home));
    err = (xd_error){ 0 };
    (void)signal(SIGPIPE, SIG_IGN);
}

static void teardown(void)
{
    ck_assert_int_eq(xd_path_remove_tree(home), 0);
}

static char *below(const char *name)
{
    char *path = xd_path_join(home, name);
    ck_assert_ptr_nonnull(path);
    return path;
}

static void put_file(const char *name, const char *text, mode_t mode)
{
    xd_autofree char *path = below(name), *dir = xd_path_dir(path);
    ck_assert_int_eq(xd_path_mkdirs(dir, 0700, NULL), 0);
    ck_assert_int_eq(xd_path_write_file(path, xd_bytes_str(text), mode, NULL), 0);
}

/* A folder with links to these programs of this machine: all that the far end has. */
static void only_programs(const char *names, char *path, size_t size)
{
    char **word = NULL;
    ck_assert_int_eq(xd_text_shell_split(names, &word), 0);
    snprintf(path, size, "PATH=%s/bin", home);
    ck_assert_int_eq(mkdir(path + 5, 0700), 0);
    for (size_t i = 0; word[i]; i++) {
        xd_autofree char *program = NULL, *link = NULL, *name = xd_path_join(path + 5, word[i]);
        ck_assert_msg(xd_path_find_program(word[i], "/usr/bin:/bin", &program) == 0, "%s", word[i]);
        ck_assert_int_eq(symlink(program, name), 0);
        (void)link;
    }
    free(word);
}

/* `path` is PATH=... or NULL; `more` another entry. */
static far start(const char *command, const char *path, const char *more)
{
    far         f = { .proc = XD_PROC_NONE };
    int         to[2], from[2];
    char        home_is[96], **argv = NULL;
    const char *envp[] = { home_is, path ? path : "PATH=/usr/sbin:/usr/bin:/sbin:/bin", more ? more : "XD=1",
                           NULL };
    snprintf(home_is, sizeof(home_is), "HOME=%s", home);
    ck_assert_int_eq(xd_text_shell_split(command, &argv), 0);
    ck_assert_int_eq(xd_os_pipe(to, 1, 0), 0);
    ck_assert_int_eq(xd_os_pipe(from, 0, 0), 0);
    const xd_proc_fd fds[] = { { to[0], 0 }, { from[1], 1 }, { 2, 2 } };
    xd_proc_args     args = { .argv = (const char *const *)argv,
                              .envp = envp,
                              .fds = fds,
                              .nfds = 3,
                              .chdir = home,
                              .new_group = true };
    ck_assert_msg(xd_proc_spawn(&args, &f.proc, &err) == 0, "%s", err.text);
    close(to[0]);
    close(from[1]);
    f.in = from[0];
    f.out = to[1];
    free(argv);
    return f;
}

static ssize_t far_read(void *arg, void *to, size_t room)
{
    return xd_os_read_some(((far *)arg)->in, to, room);
}

static ssize_t far_write(void *arg, const void *from, size_t len)
{
    far *f = arg;
    if (f->stop_at && f->written + len > f->stop_at)
        return -EPIPE;
    ssize_t n = xd_os_write_some(f->out, from, len);
    if (n > 0)
        f->written += (size_t)n;
    return n;
}

/* As a transport would: what step returned at last. */
static int carry(xd_deliver *d, far *f)
{
    const xd_deliver_io io = { f, far_read, far_write };
    const uint64_t      end = xd_clock_ns() + STEP_MS * XD_MS_NS;
    for (;;) {
        int r = xd_deliver_step(d, &io, &err);
        if (r != 0)
            return r;
        ck_assert_msg(xd_clock_ns() < end, "it does not get on");
        struct pollfd p[] = { { .fd = f->in, .events = POLLIN },
                              { .fd = f->out, .events = xd_deliver_wants(d) & XD_PIPE_WRITE ? POLLOUT : 0 } };
        (void)poll(p, p[1].events ? 2 : 1, 1000);
    }
}

/* The next bytes of the agent. */
static void far_bytes(xd_deliver *d, far *f, void *to, size_t n)
{
    size_t have = 0;
    for (int turn = 0; have < n && turn < 100; turn++) {
        have += xd_deliver_rest(d, (uint8_t *)to + have, n - have);
        ssize_t got = have < n ? far_read(f, (uint8_t *)to + have, n - have) : 0;
        have += got > 0 ? (size_t)got : 0;
        struct pollfd p = { .fd = f->in, .events = POLLIN };
        if (have < n)
            (void)poll(&p, 1, 100);
    }
    ck_assert_uint_eq(have, n);
}

static void hang_up(far *f)
{
    xd_proc_status status;
    if (f->out >= 0)
        close(f->out);
    if (f->in >= 0)
        close(f->in);
    (void)xd_proc_kill(&f->proc, SIGKILL); /* its agent, if there is one, hears of that */
    ck_assert_int_eq(xd_proc_wait(&f->proc, true, &status), 1);
    xd_proc_close(&f->proc);
}

static xd_deliver *new_deliver(const char *agent)
{
    xd_xspec    spec = { .text = (char *)(uintptr_t) "command=sh" };
    xd_target   target = { .spec = &spec, .agent = agent, .output_limit = XD_OUTPUT_DEFAULT };
    xd_deliver *d = NULL;
    ck_assert_msg(xd_deliver_new(&d, &target, &err) == 0, "%s", err.text);
    return d;
}

/* An agent starts over it and says HELLO. Returns how much was sent. */
static size_t delivers(const char *command, const char *path, const char *more)
{
    far         f = start(command, path, more);
    xd_deliver *d = new_deliver(NULL);
    uint8_t     first[XD_WIRE_PREAMBLE_LEN];
    int         r = carry(d, &f);
    ck_assert_msg(r == 1, "%s: %s", command, err.text);
    far_bytes(d, &f, first, sizeof(first));
    ck_assert_mem_eq(first, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN);
    hang_up(&f);
    xd_deliver_free(d);
    return f.written;
}

static void fails(const char *command, const char *path, const char *agent, int code, const char *words)
{
    far         f = start(command, path, NULL);
    xd_deliver *d = new_deliver(agent);
    err = (xd_error){ 0 };
    ck_assert_int_eq(carry(d, &f), code);
    ck_assert_msg(strstr(err.text, words) != NULL, "%s: %s", words, err.text);
    hang_up(&f);
    xd_deliver_free(d);
}

static size_t size_of(xd_agent_packing packing)
{
    xd_agent_files files;
    ck_assert_msg(xd_agent_files_find(&files, &err) == 0, "%s", err.text);
    size_t size = files.at[0].size[packing];
    xd_agent_files_release(&files);
    return size;
}

/* Output of a shell command, which sees the far end's home as $H. */
static void expect_sh(const char *command, const char *want)
{
    char text[4096];
    snprintf(text, sizeof(text), "H=%s; %s", home, command);
    const char *argv[] = { "sh", "-c", text, NULL };
    int         out[2];
    char        got[1024] = "";
    xd_proc     p;
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    const xd_proc_fd fds[] = { { out[1], 1 }, { 2, 2 } };
    xd_proc_args     args = { .argv = argv, .fds = fds, .nfds = 2 };
    ck_assert_int_eq(xd_proc_spawn(&args, &p, &err), 0);
    close(out[1]);
    size_t n = 0;
    for (ssize_t r; (r = read(out[0], got + n, sizeof(got) - 1 - n)) > 0;)
        n += (size_t)r;
    close(out[0]);
    xd_proc_status status;
    ck_assert_int_eq(xd_proc_wait(&p, true, &status), 1);
    xd_proc_close(&p);
    ck_assert_str_eq(got, want);
}

/* ---- shells ------------------------------------------------------------------------------------------------ */

static const char *const shells[] = { "sh",
                                      "dash",
                                      "bash",
                                      "bash -l",
                                      "busybox sh",
                                      "ksh",
                                      "mksh",
                                      "zsh",
                                      "csh -f",
                                      "tcsh",
                                      "fish",
                                      "csh -c 'exec /bin/sh'",
                                      "fish -c 'exec /bin/sh'",
                                      "bash -c 'exec /bin/sh'" };

START_TEST(every_shell)
{
    char              name[32];
    xd_autofree char *program = NULL;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(shells[_i], " "), shells[_i]);
    if (xd_path_find_program(name, NULL, &program) != 0) {
        printf("SKIPPED: %s is not installed\n", name);
        return;
    }
    if (strstr(shells[_i], "csh") || strstr(shells[_i], "fish"))
        if (!strstr(shells[_i], "-c")) { /* not POSIX shells: they are asked for one */
            char command[128];
            snprintf(command, sizeof(command), "%s -c 'exec /bin/sh'", shells[_i]);
            ck_assert_uint_gt(delivers(command, NULL, NULL), size_of(XD_AGENT_XZ));
            return;
        }
    ck_assert_uint_gt(delivers(shells[_i], NULL, NULL), size_of(XD_AGENT_XZ));
    ck_assert_uint_lt(delivers(shells[_i], NULL, NULL), 32768); /* now it is there */
}
END_TEST

START_TEST(it_is_small)
{
    ck_assert_uint_gt(size_of(XD_AGENT_XZ), 0);
    ck_assert_uint_le(size_of(XD_AGENT_XZ), 400 * 1024);
}
END_TEST

/* Another program is packed here, with the sums that the script at the far end looks at. */
START_TEST(another_program)
{
    xd_agent_files    files, again;
    xd_agent_reader  *reader = NULL;
    char              text[160], want[200];
    uint8_t           byte;
    xd_autofree char *path = below("program"), *packed = below("program.gz");
    xd_autofree char *self = NULL;
    ck_assert_int_eq(xd_path_self(&self), 0);
    snprintf(text, sizeof(text), "cp '%s' $H/program; echo done", self);
    expect_sh(text, "done\n");
    ck_assert_msg(xd_agent_files_pack(&files, path, &err) == 0, "%s", err.text);
    const xd_agent_file *f = &files.at[0];
    snprintf(want, sizeof(want), "%s %u %u\n", f->sha256, (unsigned)f->cksum,
             (unsigned)f->size[XD_AGENT_RAW]);
    expect_sh("cd $H; echo $(sha256sum <program | cut -c 1-64) $(cksum <program)", want);
    ck_assert_int_eq(xd_agent_file_open(&reader, f, XD_AGENT_GZ), 0);
    FILE *to = fopen(packed, "we");
    for (uint64_t n = 0; n < f->size[XD_AGENT_GZ]; n++) {
        often_assert_int_eq(xd_agent_file_read(reader, &byte, 1), 1);
        often_assert(fputc(byte, to) != EOF);
    }
    ck_assert_int_eq(xd_agent_file_read(reader, &byte, 1), 0);
    reader = xd_agent_file_close(reader);
    ck_assert_int_eq(fclose(to), 0);
    snprintf(want, sizeof(want), "%s\n", f->arch);
    expect_sh("cd $H; gzip -dc program.gz | cmp - program && uname -m", want);
    xd_agent_files_release(&files);
    put_file("text", "#!/bin/sh\n", 0700);
    xd_autofree char *script = below("text"), *none = below("none");
    ck_assert_int_eq(xd_agent_files_pack(&again, script, &err), -ENOEXEC);
    ck_assert_int_eq(xd_agent_files_pack(&again, none, &err), -ENOENT);
}
END_TEST

/* ---- what comes before the answer ---------------------------------------------------------------------------- */

START_TEST(banners)
{
    put_file(
        "profile",
        "for i in 1 2 3 4 5 6 7 8 9 10; do for k in 1 2 3 4 5 6 7 8 9 10; do echo \"xd: line $i $k of the "
        "banner\"; done; done; printf 'xd:xd:0123456789abcdef0123456789abcdef:run no end of line'; exec sh",
        0700);
    ck_assert_uint_gt(delivers("sh profile", NULL, NULL), 0);
    ck_assert_uint_gt(delivers("sh -c \"head -c 300000 /dev/urandom; exec sh\"", NULL, NULL), 0);
    ck_assert_uint_gt(delivers("sh -vx", NULL, NULL), 0);
}
END_TEST

START_TEST(what_is_no_shell)
{
    fails("sh -c \"echo 'This account is currently not available.'; exit 1\"", NULL, NULL, -EPIPE,
          "This account is currently not available.");
    fails("true", NULL, NULL, -EPIPE, "closed before the agent ran");
    fails("yes", NULL, NULL, -EPROTO, "goes on talking");
}
END_TEST

START_TEST(what_the_user_named)
{
    fails("sh", NULL, "/nowhere/xdagent", -ENOENT, "/nowhere/xdagent");
    fails("sh", NULL, "it's not there", -ENOENT, "it's not there");
}
END_TEST

/* ---- what the host lacks ----------------------------------------------------------------------------------- */

#define NEEDED "sh uname head cat ls id mkdir chmod rm mv tr cut "

START_TEST(another_system)
{
    put_file("other/uname", "#!/bin/sh\necho Linux riscv64\n", 0700);
    char path[128];
    snprintf(path, sizeof(path), "PATH=%s/other:/usr/bin:/bin", home);
    fails("sh", path, NULL, -ENOEXEC, "Linux riscv64");
}
END_TEST

START_TEST(no_xz)
{
    char path[128];
    only_programs(NEEDED "sha256sum mktemp gzip", path, sizeof(path));
    size_t n = delivers("sh", path, NULL);
    ck_assert_uint_gt(n, size_of(XD_AGENT_GZ));
    ck_assert_uint_lt(n, size_of(XD_AGENT_GZ) + 32768);
}
END_TEST

START_TEST(no_decompressor_at_all)
{
    char path[128];
    only_programs(NEEDED "cksum", path, sizeof(path));
    ck_assert_uint_gt(delivers("sh", path, NULL), size_of(XD_AGENT_RAW));
    ck_assert_uint_lt(delivers("sh", path, NULL), 32768);
}
END_TEST

START_TEST(python_decompresses)
{
    char path[128];
    only_programs(NEEDED "sha256sum mktemp python3", path, sizeof(path));
    size_t n = delivers("sh", path, NULL);
    ck_assert_uint_gt(n, size_of(XD_AGENT_XZ));
    ck_assert_uint_lt(n, size_of(XD_AGENT_XZ) + 32768);
}
END_TEST

START_TEST(no_home)
{
    char tmp[96], cache[96];
    put_file("file", "", 0600);
    snprintf(cache, sizeof(cache), "XDG_CACHE_HOME=%s/file",
             home); /* not even root can make a folder there */
    snprintf(tmp, sizeof(tmp), "TMPDIR=%s", home);
    char command[256];
    snprintf(command, sizeof(command), "env %s sh", cache);
    ck_assert_uint_gt(delivers(command, NULL, tmp), size_of(XD_AGENT_XZ));
    ck_assert_uint_lt(delivers(command, NULL, tmp), 32768);
    expect_sh("cd $H; ls -d xd-$(id -u)/agent/*/xdagent-* | wc -l; stat -c %a xd-$(id -u)", "1\n700\n");
}
END_TEST

/* A folder that somebody else could write in is not used. */
START_TEST(a_folder_of_others)
{
    char tmp[96];
    snprintf(tmp, sizeof(tmp), "TMPDIR=%s", home);
    (void)delivers("sh", NULL, tmp);
    expect_sh("chmod 777 $H/.cache/xd/agent/*; echo done", "done\n");
    ck_assert_uint_gt(delivers("sh", NULL, tmp), size_of(XD_AGENT_XZ));
    expect_sh("cd $H; ls -d xd-$(id -u)/agent/*/xdagent-* | wc -l", "1\n");
}
END_TEST

/* ---- what lies there --------------------------------------------------------------------------------------- */

START_TEST(one_that_is_damaged_is_replaced)
{
    (void)delivers("sh", NULL, NULL);
    /* In a copy: the first agent may still be ending, and what runs cannot be written. */
    expect_sh(
        "for f in $H/.cache/xd/agent/*/xdagent-*; do cp $f $f.new; printf x | dd of=$f.new bs=1 seek=5000 "
        "conv=notrunc 2>/dev/null; mv $f.new $f; done; echo done",
        "done\n");
    ck_assert_uint_gt(delivers("sh", NULL, NULL), size_of(XD_AGENT_XZ));
    ck_assert_uint_lt(delivers("sh", NULL, NULL), 32768);
}
END_TEST

START_TEST(an_upload_that_breaks_leaves_nothing)
{
    far         f = start("sh", NULL, NULL);
    xd_deliver *d = new_deliver(NULL);
    f.stop_at = size_of(XD_AGENT_XZ) / 2;
    const xd_deliver_io io = { &f, far_read, far_write };
    while (f.written + 65536 < f.stop_at && xd_deliver_step(d, &io, &err) == 0)
        usleep(1000);
    close(f.in);
    close(f.out);
    f.in = f.out = -1;
    xd_proc_status status;
    ck_assert_int_eq(xd_proc_wait(&f.proc, true, &status), 1); /* it ends by itself */
    xd_proc_close(&f.proc);
    xd_deliver_free(d);
    expect_sh("find $H/.cache -type f | wc -l", "0\n");
}
END_TEST

START_TEST(two_at_once)
{
    far         f[3];
    xd_deliver *d[3];
    int         done[3] = { 0 }, all = 0;
    for (int i = 0; i < 3; i++) {
        f[i] = start("sh", NULL, NULL);
        d[i] = new_deliver(NULL);
    }
    for (int turn = 0; all < 3 && turn < 20000; turn++) {
        for (int i = 0; i < 3; i++) {
            const xd_deliver_io io = { &f[i], far_read, far_write };
            if (!done[i] && (done[i] = xd_deliver_step(d[i], &io, &err)) != 0)
                all++;
            ck_assert_msg(done[i] >= 0, "%s", err.text);
        }
        usleep(1000);
    }
    ck_assert_int_eq(all, 3);
    for (int i = 0; i < 3; i++) {
        hang_up(&f[i]);
        xd_deliver_free(d[i]);
    }
    expect_sh("find $H/.cache -name 'xdagent-*' | wc -l; find $H/.cache -name '.new*' | wc -l", "1\n0\n");
}
END_TEST

START_TEST(old_builds_go)
{
    expect_sh("cd $H; mkdir -p .cache/xd/agent/0000000000000001 .cache/xd/agent/0000000000000002 "
              ".cache/xd/agent/0000000000000003; cp /bin/sleep .cache/xd/agent/0000000000000002/xdagent-x; "
              "for n in 1 2 3; do touch .cache/xd/agent/000000000000000$n/used; done; "
              "for n in 1 2; do touch -d '10 days ago' .cache/xd/agent/000000000000000$n/*; "
              "touch -d '10 days ago' .cache/xd/agent/000000000000000$n; done; echo done",
              "done\n");
    char        path[128], used[160];
    const char *argv[] = { path, "300", NULL };
    xd_proc     p;
    snprintf(path, sizeof(path), "%s/.cache/xd/agent/0000000000000002/xdagent-x", home);
    snprintf(used, sizeof(used), "cd $H/.cache/xd/agent; ls -d 0000000000000*");
    xd_proc_args args = { .argv = argv };
    ck_assert_int_eq(xd_proc_spawn(&args, &p, &err), 0);
    (void)delivers("sh", NULL, NULL);
    expect_sh(used, "0000000000000002\n0000000000000003\n"); /* one runs, one was used lately */
    xd_proc_status status;
    (void)xd_proc_kill(&p, SIGKILL);
    ck_assert_int_eq(xd_proc_wait(&p, true, &status), 1);
    xd_proc_close(&p);
    expect_sh(
        "cd $H/.cache/xd/agent; for d in *; do case $d in 000000000000000?) ;; *) rm -r $d;; esac; done; "
        "echo done",
        "done\n");
    (void)delivers("sh", NULL, NULL);
    expect_sh(used, "0000000000000003\n");
}
END_TEST

/* ---- another pipe ------------------------------------------------------------------------------------------ */

START_TEST(again)
{
    far         f = start("sh", NULL, NULL), g;
    xd_deliver *d = new_deliver(NULL);
    uint8_t     first[XD_WIRE_PREAMBLE_LEN];
    ck_assert_msg(carry(d, &f) == 1, "%s", err.text);
    far_bytes(d, &f, first, sizeof(first));
    close(f.out); /* cut */
    f.out = -1;
    g = start("bash -l", NULL, NULL);
    ck_assert_int_eq(xd_deliver_again(d, &err), 0);
    ck_assert_msg(carry(d, &g) == 1, "%s", err.text);
    far_bytes(d, &g, first, sizeof(first)); /* nobody has greeted it: it says HELLO again */
    ck_assert_mem_eq(first, XD_WIRE_PREAMBLE, XD_WIRE_PREAMBLE_LEN);
    ck_assert_uint_lt(g.written, 32768);
    hang_up(&f); /* the agent, and its end that of the second pipe */
    xd_proc_status status;
    ck_assert_int_eq(xd_proc_wait(&g.proc, true, &status), 1);
    ck_assert_int_eq(status.exit_status, 0);
    close(g.in);
    close(g.out);
    xd_proc_close(&g.proc);
    g = start("sh", NULL, NULL);
    ck_assert_int_eq(xd_deliver_again(d, &err), 0);
    ck_assert_int_eq(carry(d, &g), -ESRCH);
    hang_up(&g);
    xd_deliver_free(d);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("deliver");
    TCase *t = tcase_create("deliver");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, every_shell, 0, (int)XD_ARRAY_LEN(shells));
    tcase_add_test(t, it_is_small);
    tcase_add_test(t, another_program);
    tcase_add_test(t, banners);
    tcase_add_test(t, what_is_no_shell);
    tcase_add_test(t, what_the_user_named);
    tcase_add_test(t, another_system);
    tcase_add_test(t, no_xz);
    tcase_add_test(t, no_decompressor_at_all);
    tcase_add_test(t, python_decompresses);
    tcase_add_test(t, no_home);
    tcase_add_test(t, a_folder_of_others);
    tcase_add_test(t, one_that_is_damaged_is_replaced);
    tcase_add_test(t, an_upload_that_breaks_leaves_nothing);
    tcase_add_test(t, two_at_once);
    tcase_add_test(t, old_builds_go);
    tcase_add_test(t, again);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
