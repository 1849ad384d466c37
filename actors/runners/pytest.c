#include "actors/runners/pytest.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "actors/runners/embedded.h"
#include "engine/base/mem.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/interp.h"

#define ADAPTER "xd_pytest"
#define FOLDER "adapter-"     /* then the build id */
#define ROOM_BYTES (1u << 20) /* for the files and their byte code */
#define DAY_S (24 * 60 * 60)
#define UNUSED_S (time_t)(30 * DAY_S) /* then the folder of another build goes */

/* ---- the unpacked adapter ---------------------------------------------------------------------- */

static bool same_content(const char *path, xd_bytes want)
{
    xd_autobuf have = XD_BUF_INIT;
    return xd_path_read_file(path, want.len + 1, &have, NULL) == 0 && xd_bytes_eq(xd_buf_view(&have), want);
}

/* Python takes byte code that the disk had no room for all of as written, and cannot start from it later. */
static bool has_room(const char *dir, uint64_t bytes)
{
    struct statvfs st;
    return statvfs(dir, &st) != 0 || (uint64_t)st.f_bavail * st.f_frsize >= bytes;
}

static int put_file(const char *dir, const char *name, xd_bytes data, uint64_t *room, xd_error *err)
{
    xd_autofree char *path = xd_path_join(dir, name);
    if (!path)
        return xd_error_set(err, -ENOMEM, "out of memory");
    if (same_content(path, data))
        return 0;
    if (!has_room(dir, *room))
        return xd_error_set(err, -ENOSPC, "no room for the adapter in %s", dir);
    *room = 0;
    return xd_path_write_file(path, data, 0600,
                              err); /* renamed into place: other agents may start from this folder now */
}

/* A folder that somebody else could write to would let him run code as us. */
static bool dir_is_ours(const char *dir)
{
    struct stat st;
    return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 022) == 0;
}

/* Before the first file that is missing, so many bytes have to be free. */
static int put_files(const char *dir, uint64_t room, xd_error *err)
{
    xd_autofree char *package = xd_path_join(dir, ADAPTER);
    if (!package)
        return xd_error_set(err, -ENOMEM, "out of memory");
    XD_TRY(xd_path_mkdirs(package, 0700, err));
    if (!dir_is_ours(package))
        return xd_error_set(err, -EPERM, "%s can be changed by other users; remove it", package);
    for (size_t i = 0; i < xd_embedded_count; i++) {
        const xd_embedded *f = &xd_embedded_files[i];
        XD_TRY(put_file(dir, f->name, (xd_bytes){ f->data, f->len }, &room, err));
    }
    return 0;
}

static int unpack_temp(xd_pytest *p, xd_error *err)
{
    const char *tmp = getenv("TMPDIR");
    p->dir = xd_path_join(tmp && *tmp == '/' ? tmp : "/tmp", "xd-adapter-XXXXXX");
    if (!p->dir)
        return xd_error_set(err, -ENOMEM, "out of memory");
    if (!mkdtemp(p->dir)) {
        int r = -errno;
        return xd_error_set(err, r, "cannot make a folder for the adapter at %s: %s", p->dir,
                            xd_error_name(r));
    }
    p->dir_temp = true;
    return put_files(p->dir, 0, err);
}

/* Folders of other builds that no run has used for long. */
static void drop_unused(const char *cache)
{
    DIR *d = opendir(cache);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        xd_autofree char *path = NULL;
        struct stat       st;
        if (strncmp(e->d_name, FOLDER, strlen(FOLDER)) != 0 ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode) ||
            st.st_uid != geteuid() || time(NULL) - st.st_mtime < UNUSED_S)
            continue;
        if ((path = xd_path_join(cache, e->d_name)))
            (void)xd_path_remove_tree(path);
    }
    closedir(d);
}

/* The time of modification tells when the folder was used last, to the day. */
static void note_use(const char *dir)
{
    struct stat st;
    if (stat(dir, &st) == 0 && time(NULL) - st.st_mtime > DAY_S)
        (void)utimensat(AT_FDCWD, dir, NULL, 0);
}

static int unpack_below(xd_pytest *p, const char *cache, const char *build_id)
{
    char name[128];
    snprintf(name, sizeof(name), FOLDER "%s", build_id);
    p->dir = xd_path_join(cache, name);
    bool new = p->dir && !xd_path_is_dir(p->dir);
    if (p->dir && xd_path_mkdirs(p->dir, 0700, NULL) == 0 && dir_is_ours(p->dir) &&
        put_files(p->dir, ROOM_BYTES, NULL) == 0) {
        note_use(p->dir);
        if (new)
            drop_unused(cache);
        return 0;
    }
    free(p->dir);
    p->dir = NULL;
    return -EACCES;
}

/* Where it can stay, as its byte code does; at last where it goes with us. */
static int unpack(xd_pytest *p, xd_bytes cache_dir, const char *build_id, xd_error *err)
{
    xd_autofree char *cache = xd_bytes_dup(cache_dir), *here = NULL;
    if (cache && *cache && unpack_below(p, cache, build_id) == 0)
        return 0;
    if (xd_path_cache(&here, NULL) == 0 && unpack_below(p, here, build_id) == 0)
        return 0;
    free(here);
    here = NULL;
    if (xd_path_private(&here, NULL) == 0 && unpack_below(p, here, build_id) == 0)
        return 0;
    return unpack_temp(p, err);
}

/* ---- the interpreter ------------------------------------------------------------------------------- */

/* The program that the first word of a command line names. A word with a slash counts from where the agent runs, not from
 * chdir=: it is made absolute here. */
static int find_program(const xd_pytest *p, const char *word, const char *text, char **ret, xd_error *err)
{
    const char *path = xd_runner_environ_get(p->env, "PATH");
    if (!strchr(word, '/')) {
        const int r = xd_path_find_program(word, path, ret);
        long      major = 0, minor = 0;
        if (r < 0 && xd_interp_is_too_old(word, &major, &minor))
            return xd_error_set(
                err, r,
                "python %s does not exist, and would be too old: no pytest that xd knows runs with "
                "Python %ld.%ld (" XD_INTERP_OLDEST "); tried PATH=%s",
                text, major, minor, path ? path : "");
        if (r < 0)
            return xd_error_set(err, r, "python %s does not exist: tried PATH=%s", text, path ? path : "");
        return xd_interp_check_shim(*ret, xd_runner_environ_get(p->env, "PYENV_VERSION"), p->chdir, err);
    }
    xd_autofree char *program = NULL;
    int               r = xd_path_absolute_home(word, &program);
    if (r == 0 && xd_path_is_dir(program))
        r = -EISDIR;
    if (r == 0 && access(program, X_OK) != 0)
        r = -errno;
    if (r < 0)
        return xd_error_set(err, r, "python %s cannot be started: tried %s: %s", text,
                            program ? program : word, xd_error_name(r));
    *ret = xd_take(&program);
    return 0;
}

/* The vector of one command line, with "nice -n N" in front where `nice` says so. */
static int read_command(xd_pytest *p, const char *text, const char *nice, xd_error *err)
{
    xd_autofree char **words = NULL;
    xd_autofree char  *program = NULL, *front = NULL;
    int                r = xd_text_shell_split(text, &words);
    if (r < 0 || !words[0])
        return xd_error_set(err, -EINVAL, "python %s cannot be read as a command line: %s", text,
                            r < 0 ? "a quote is left open" : "it is empty");
    XD_TRY(find_program(p, words[0], text, &program, err));
    if (*nice && xd_path_find_program("nice", xd_runner_environ_get(p->env, "PATH"), &front) < 0 &&
        (r = xd_path_find_program("nice", NULL, &front)) < 0) /* env:PATH= may have the interpreter alone */
        return xd_error_set(err, r, "nice=%s: there is no program nice on PATH", nice);
    const xd_words    rest = xd_words_of((const char *const *)words + 1);
    const char *const niced[] = { front, "-n", nice }, *const interpreter[] = { program };
    const xd_words parts[] = { { niced, *nice ? XD_ARRAY_LEN(niced) : 0 }, { interpreter, 1 }, rest };
    r = xd_text_words_join(parts, XD_ARRAY_LEN(parts), &p->python);
    return r < 0 ? xd_error_set(err, r, "out of memory") : 0;
}

/* A virtual environment that env: names is asked for as python= is: no other interpreter takes its place. */
static int check_named_environment(const xd_wire_ENV_START *start, const char *venv, xd_error *err)
{
    xd_wire_list it = start->env;
    xd_wire_PAIR pair;
    while (xd_wire_PAIR_next(&it, &pair) > 0) {
        if (!xd_bytes_eq_str(pair.name, "VIRTUAL_ENV") || !pair.value.len)
            continue;
        xd_autofree char *python = xd_path_join(venv, "bin/python");
        if (!python)
            return xd_error_set(err, -ENOMEM, "out of memory");
        if (access(python, X_OK) != 0)
            return xd_error_set(
                err, -ENOENT,
                "env:VIRTUAL_ENV=%s is no virtual environment here: tried %s: %s (python3 -m venv %s "
                "makes one; python= names another interpreter)",
                venv, python, xd_error_name(-errno), venv);
    }
    return 0;
}

/* The search looks at the environment that the interpreter will have. */
static int find_python(xd_pytest *p, const xd_wire_ENV_START *start, xd_error *err)
{
    xd_autofree char *wish = xd_bytes_dup(start->python), *nice = xd_bytes_dup(start->nice), *found = NULL;
    const char       *venv = xd_runner_environ_get(p->env, "VIRTUAL_ENV");
    const char       *path = xd_runner_environ_get(p->env, "PATH");
    if (!wish || !nice)
        return xd_error_set(err, -ENOMEM, "out of memory");
    if (!*wish)
        XD_TRY(check_named_environment(start, venv, err));
    XD_TRY(xd_interp_find(wish, venv, path, &found, &p->how, err));
    return read_command(p, found, nice, err);
}

/* ---- prepare, spawn ---------------------------------------------------------------------------------- */

/* By the name of its file: Python 2 hashes alike in all processes as long as it has no seed, and with one unlike plain pytest. */
static bool is_python2(const xd_pytest *p)
{
    for (char *const *word = p->python; *word; word++) {
        xd_autofree char *real = realpath(*word, NULL);
        const char       *name = real ? strrchr(real, '/') : NULL;
        if (name && strncmp(name, "/python2", 8) == 0)
            return true;
    }
    return false;
}

/* Unless it is the user's. */
static void forget_seed(const xd_pytest *p)
{
    const char *ours = xd_runner_environ_get(p->env, "XD_HASHSEED"),
               *set = xd_runner_environ_get(p->env, "PYTHONHASHSEED");
    if (!ours || !set || strcmp(ours, set) != 0)
        return;
    char **to = p->env;
    for (char **e = p->env; *e; e++)
        if (strncmp(*e, "PYTHONHASHSEED=", 15) == 0)
            free(*e);
        else
            *to++ = *e;
    *to = NULL;
}

static int prepare_parts(xd_pytest *p, const xd_wire_ENV_START *start, const char *build_id, xd_error *err)
{
    int r = xd_os_pipe(p->leash, 1, 0);
    if (r < 0)
        return xd_error_set(err, r, "no descriptors for Python: %s", xd_error_name(r));
    /* All processes of a run, wherever they are, hash alike: a set has the same order in each, and so have the tests that are made of
     * one. The adapter takes it away again, unless the user has set it: what tests start hashes as it would. */
    char seed[16];
    snprintf(seed, sizeof(seed), "%u",
             (unsigned)XD_MAX(XXH32(start->run_uid.ptr, start->run_uid.len, 0), 1u));
    const char *const unless[] = { "PYTHONHASHSEED", seed, "XD_HASHSEED", seed, NULL };
    XD_TRY(xd_runner_environ(start, unless, &p->env, err));
    if (start->chdir.len && !(p->chdir = xd_bytes_dup(start->chdir)))
        return xd_error_set(err, -ENOMEM, "out of memory");
    XD_TRY(find_python(p, start, err));
    if (is_python2(p))
        forget_seed(p);
    return unpack(p, start->cache_dir, build_id, err);
}

static int prepare(xd_runner **ret, const xd_wire_ENV_START *start, const char *build_id, xd_error *err)
{
    xd_pytest *p = malloc(sizeof(*p));
    *ret = NULL;
    if (!p)
        return xd_error_set(err, -ENOMEM, "out of memory");
    *p = (xd_pytest){ .runner.ops = &xd_pytest_ops, .leash = { -1, -1 }, .output = { -1, -1 } };
    *ret = &p->runner;
    return prepare_parts(p, start, build_id, err);
}

static xd_pytest *of(xd_runner *r)
{
    return (xd_pytest *)(void *)r; /* its first member */
}

static const xd_pytest *of_const(const xd_runner *r)
{
    return (const xd_pytest *)(const void *)r;
}

static int facts(const xd_runner *r, xd_buf *program, xd_wire_ENV_FACTS *ret)
{
    const xd_pytest *p = of_const(r);
    for (char *const *word = p->python; *word; word++) {
        XD_TRY(program->len ? xd_buf_add_byte(program, ' ') : 0);
        XD_TRY(xd_text_shell_quote(program, *word));
    }
    ret->program = xd_buf_view(program);
    ret->found = xd_bytes_str(p->how);
    ret->cache_dir = xd_bytes_str(p->dir);
    return 0;
}

static xd_runner *release(xd_runner *r)
{
    xd_pytest *p = of(r);
    if (!p)
        return NULL;
    if (p->dir && p->dir_temp)
        (void)xd_path_remove_tree(p->dir);
    free(p->dir);
    free(p->python);
    free(p->chdir);
    xd_runner_environ_free(p->env);
    const int fds[] = { p->leash[0], p->leash[1], p->output[0], p->output[1] };
    for (size_t i = 0; i < XD_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(p);
    return NULL;
}

static const char *temporary(const xd_runner *r)
{
    return of_const(r)->dir_temp ? of_const(r)->dir : NULL;
}

/* A path as the text of a Python string: bytes that are not plain ASCII with this in front of their two digits. */
static int add_string(xd_buf *out, const char *path, const char *beyond_ascii)
{
    XD_TRY(xd_buf_add_byte(out, '\''));
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        if (*p >= 0x80)
            XD_TRY(xd_buf_printf(out, "%s%02x", beyond_ascii, *p));
        else if (*p < 0x20 || *p == '\'' || *p == '\\')
            XD_TRY(xd_buf_printf(out, "\\x%02x", *p));
        else
            XD_TRY(xd_buf_add_byte(out, *p));
    }
    return xd_buf_add_byte(out, '\'');
}

/* The same as an expression: surrogate escapes are what a path's bytes are in Python 3, in Python 2 it is bytes. */
static int python_string(xd_buf *out, const char *path)
{
    XD_TRY(xd_buf_add_byte(out, '('));
    XD_TRY(add_string(out, path, "\\x"));
    XD_TRY(xd_buf_add_str(out, " if str is bytes else "));
    XD_TRY(add_string(out, path, "\\udc"));
    return xd_buf_add_byte(out, ')');
}

/* Number of the leash in the Python process; what else it gets has the numbers before. */
enum { CHILD_LEASH = 8 };

/* The adapter is imported, not run as a script: only what is imported is kept as bytecode. Its folder takes
 * the place of '' in front of sys.path, which stands for the current folder with -c (but not with python -P):
 * modules of the user's there must not come before those of Python. startup.py puts in what pytest has. */
static int spawn(const xd_pytest *p, const char *role, const char *const *rest, const xd_proc_fd *fds,
                 size_t nfds, xd_proc *ret, xd_error *err)
{
    xd_autobuf code = XD_BUF_INIT;
    char       leash[32];
    xd_proc_fd all[8];
    /* Our own folder keeps the byte code of our own file, also where the user wants none written for theirs:
     * compiling costs 50 ms a start. */
    XD_TRY(xd_buf_add_str(&code,
                          "import sys; keep = sys.dont_write_bytecode; sys.dont_write_bytecode = False; "
                          "first = sys.path[:1] == ['']; sys.path[:first] = ["));
    XD_TRY(python_string(&code, p->dir));
    XD_TRY(xd_buf_add_str(&code,
                          "]; import " ADAPTER ".main; sys.dont_write_bytecode = keep; del keep; " ADAPTER
                          ".main.main(sys.argv[1:], first)"));
    snprintf(leash, sizeof(leash), "--leash=%d", CHILD_LEASH);
    const char *const  own[] = { "-c", xd_buf_cstr(&code), role, leash };
    const xd_words     words[] = { xd_words_of((const char *const *)p->python),
                                   { own, XD_ARRAY_LEN(own) },
                                   xd_words_of(rest) };
    xd_autofree char **argv = NULL;
    if (nfds + 1 > XD_ARRAY_LEN(all) || xd_text_words_join(words, XD_ARRAY_LEN(words), &argv) < 0)
        return xd_error_set(err, -ENOMEM, "out of memory");
    memcpy(all, fds, nfds * sizeof(*fds));
    all[nfds] = (xd_proc_fd){ p->leash[0], CHILD_LEASH };
    xd_proc_args args = { .argv = (const char *const *)argv,
                          .envp = (const char *const *)p->env,
                          .chdir = p->chdir,
                          .fds = all,
                          .nfds = nfds + 1,
                          .new_group = true };
    return xd_proc_spawn(&args, ret, err);
}

/* Numbers of the descriptors in the Python process. */
enum { CHILD_A = 3, CHILD_B, CHILD_C, CHILD_D };

static int open_output(xd_runner *r, int ret[2], xd_error *err)
{
    return xd_runner_open_output(of(r)->output, ret, "Python", err);
}

static int spawn_parent(const xd_runner *r, xd_runner_parent which, int page_fd, xd_proc *ret,
                        int *ret_control, xd_error *err)
{
    static const char *const numbers[] = { "3", "4", NULL }; /* CHILD_A, CHILD_B */
    const xd_pytest         *p = of_const(r);
    int                      pair[2];
    int                      done = xd_os_socketpair(pair, true);
    if (done < 0)
        return xd_error_set(err, done, "no descriptors for Python: %s", xd_error_name(done));
    const xd_proc_fd fds[] = {
        { p->output[0], 1 }, { p->output[1], 2 }, { pair[1], CHILD_A }, { page_fd, CHILD_B }
    };
    done =
        spawn(p, which == XD_RUNNER_HOST ? "host" : "collector", numbers, fds, XD_ARRAY_LEN(fds), ret, err);
    close(pair[1]);
    if (done == 0)
        *ret_control = pair[0];
    else
        close(pair[0]);
    return done;
}

static int spawn_worker(const xd_runner *r, const xd_runner_fds *w, xd_proc *ret, xd_error *err)
{
    static const char *const numbers[] = { "3", "4", "5", "6", NULL }; /* CHILD_A to CHILD_D */
    const xd_proc_fd         fds[] = { { w->out, 1 },           { w->err, 2 },
                                       { w->control, CHILD_A }, { w->commands, CHILD_B },
                                       { w->results, CHILD_C }, { w->page, CHILD_D } };
    return spawn(of_const(r), "fresh", numbers, fds, XD_ARRAY_LEN(fds), ret, err);
}

static int spawn_check(const xd_runner *r, const char *const *args, const int output[2], xd_proc *ret,
                       xd_error *err)
{
    const xd_proc_fd fds[] = { { output[0], 1 }, { output[1], 2 } };
    return spawn(of_const(r), "check", args, fds, XD_ARRAY_LEN(fds), ret, err);
}

/* xd_pytest/page.py has the numbers. */
static const char *const endings[] = { "",
                                       " (pytest_sessionfinish)",
                                       " (pytest_unconfigure)",
                                       " (threads that are no daemons)",
                                       " (exit handlers)",
                                       NULL };

const xd_runner_ops xd_pytest_ops = {
    .name = "pytest",
    .program = "python with pytest",
    .without_collector =
        "workers go on, further ones are started another way; pytest's cache (--lf) is not written",
    .endings = endings,
    .pause_signal = SIGSTOP,
    .prepare = prepare,
    .release = release,
    .facts = facts,
    .temporary = temporary,
    .open_output = open_output,
    .spawn_parent = spawn_parent,
    .spawn_worker = spawn_worker,
    .spawn_check = spawn_check,
};
