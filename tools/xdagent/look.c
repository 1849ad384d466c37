/* CHECK: what an environment would find on this host. It goes the way of ENV_START as far as a process that imports the test
 * framework, whose lines ("interpreter 3.12.1", "framework pytest 9.2.0", "failed TEXT") are the answer; nothing of the
 * project runs. Behind those come, where they are asked for, its packages ("package FLAGS NAME VERSION", "packages COUNT", "unlisted TEXT"). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "tools/xdagent/agent.h"

#define ROOM_LEAST (1u << 20) /* bytes: a run writes its code, byte code and what tests write */
#define OUTPUT_MOST 16384u
#define LIST_MOST (960u << 10) /* of its lines: the answer stays below 1 MiB */
#define PACKAGES_MOST 10000u

static void set_text(agent_look *l, uint8_t failed, const char *text)
{
    l->failed = failed;
    xd_buf_clear(&l->text);
    (void)!xd_buf_add_str(&l->text, text); /* without memory it is only shorter */
}

/* The value of the next line that begins with this word, and *output is what follows it; empty = there is none. */
static xd_bytes next_line(xd_bytes *output, const char *word)
{
    const size_t len = strlen(word);
    while (output->len) {
        const uint8_t *line = output->ptr, *end = memchr(line, '\n', output->len);
        const size_t   n = end ? (size_t)(end - line) : output->len;
        *output = (xd_bytes){ line + n + (end ? 1 : 0), output->len - n - (end ? 1 : 0) };
        if (n > len && memcmp(line, word, len) == 0 && line[len] == ' ')
            return (xd_bytes){ line + len + 1, n - len - 1 };
    }
    return (xd_bytes){ 0 };
}

/* The value of the line that begins with this word; empty = there is none. */
static xd_bytes line_of(xd_bytes output, const char *word)
{
    return next_line(&output, word);
}

/* What stands in front of the first blank, which goes, too. */
static xd_bytes first_word(xd_bytes *line)
{
    const uint8_t *blank = line->len ? memchr(line->ptr, ' ', line->len) : NULL;
    xd_bytes       word = { line->ptr, blank ? (size_t)(blank - line->ptr) : line->len };
    const size_t   used = word.len + (blank ? 1 : 0);
    *line = (xd_bytes){ line->ptr + used, line->len - used };
    return word;
}

/* As many as the last line says; else, or where that is too much, there is no list: half of one would name the rest as missing. */
static int list_packages(xd_bytes output, xd_buf *room, xd_wire_HOST_CHECKED *m)
{
    xd_bytes       rest = output, line;
    uint32_t       n = 0;
    char           count[16];
    const xd_bytes all = line_of(output, "packages");
    for (; n < PACKAGES_MOST && (line = next_line(&rest, "package")).len; n++) {
        xd_wire_PACKAGE p = { 0 };
        const xd_bytes  flags = first_word(&line);
        if (flags.len == 1 && *flags.ptr >= '0' && *flags.ptr <= '9')
            p.flags = (uint8_t)(*flags.ptr - '0');
        p.name = first_word(&line);
        p.version = line;
        XD_TRY(xd_wire_PACKAGE_append(room, &p));
    }
    snprintf(count, sizeof(count), "%u", n);
    m->listed = xd_bytes_eq_str(all, count) && room->len < LIST_MOST;
    if (m->listed) {
        m->packages = (xd_wire_list){ .ptr = room->data, .len = room->len, .count = n };
        return 0;
    }
    m->unlisted = line_of(output, "unlisted");
    if (!m->unlisted.len)
        m->unlisted = XD_BYTES_LIT("the list of its packages is not complete");
    return 0;
}

/* Of a disk that may be written and tells its size; UINT64_MAX = this one does not, and tests may lie on it all the same. */
static uint64_t free_bytes(const char *folder)
{
    struct statvfs st;
    if (statvfs(folder, &st) != 0)
        return 0;
    return st.f_flag & ST_RDONLY || st.f_blocks == 0 ? UINT64_MAX : (uint64_t)st.f_bavail * st.f_frsize;
}

/* What is kept between runs, and the folder that tests run in: the one with less room counts. */
static int look_at_disks(agent_look *l, const char *cache, uint64_t *ret)
{
    const char    *folder = l->place.folder, *least;
    const uint64_t here = free_bytes(folder), kept = *cache ? free_bytes(cache) : UINT64_MAX;
    least = here <= kept ? folder : cache;
    *ret = XD_MIN(here, kept);
    if (*ret == UINT64_MAX) /* nothing is written anywhere */
        *ret = 0;
    else if (!l->failed && *ret < ROOM_LEAST) {
        set_text(l, XD_LOOK_DISK, "");
        return xd_buf_printf(&l->text, "there is no room on the disk of %s: less than 1 MiB is free", least);
    }
    return 0;
}

/* packages: the same output, with the lines of the list. */
static int answer(agent *a, xd_bytes output, xd_bytes packages)
{
    agent_look          *l = &a->look;
    xd_autobuf           program = XD_BUF_INIT, body = XD_BUF_INIT, room = XD_BUF_INIT;
    xd_wire_ENV_FACTS    facts = { 0 };
    xd_wire_HOST_CHECKED m = { .build_id = xd_bytes_str(XD_BUILD_ID), .memory_bytes = xd_os_memory_bytes() };
    if (l->place.folder)
        m.folder = xd_bytes_str(l->place.folder);
    if (l->prepared && l->runner->ops->facts)
        XD_TRY(l->runner->ops->facts(l->runner, &program, &facts));
    m.program = facts.program;
    m.found = facts.found;
    m.version = line_of(output, "interpreter");
    m.framework = line_of(output, "framework");
    const xd_bytes failed = line_of(output, "failed");
    if (!l->failed && failed.len) {
        l->failed = XD_LOOK_FRAMEWORK;
        XD_TRY(xd_buf_add_bytes(&l->text, failed));
    }
    if (l->place.folder)
        XD_TRY(look_at_disks(l, facts.cache_dir.len ? (const char *)facts.cache_dir.ptr : "", &m.free_bytes));
    if (l->packages && m.version.len)
        XD_TRY(list_packages(packages, &room, &m));
    m.failed = l->failed;
    m.text = xd_buf_view(&l->text);
    XD_TRY(xd_wire_HOST_CHECKED_encode(&body, &m));
    return agent_link_send(a, XD_MSG_HOST_CHECKED, xd_buf_view(&body));
}

/* The last line that says something: of a traceback, what it comes to. */
static xd_bytes last_line(xd_bytes output)
{
    while (output.len && (output.ptr[output.len - 1] == '\n' || output.ptr[output.len - 1] == ' '))
        output.len--;
    const uint8_t *newline = output.len ? memrchr(output.ptr, '\n', output.len) : NULL;
    const size_t   from = newline ? (size_t)(newline - output.ptr) + 1 : 0;
    return (xd_bytes){ output.ptr + from, output.len - from };
}

/* It should have named itself and ended with 0. */
static int does_not_run(agent *a, const xd_proc_status *status, xd_bytes output)
{
    agent_look       *l = &a->look;
    xd_autobuf        program = XD_BUF_INIT;
    xd_wire_ENV_FACTS facts = { 0 };
    char              name[32];
    const xd_bytes    last = last_line(output);
    set_text(l, XD_LOOK_INTERPRETER, "");
    if (l->runner->ops->facts)
        XD_TRY(l->runner->ops->facts(l->runner, &program, &facts));
    XD_TRY(xd_buf_add_bytes(&l->text, facts.program));
    if (status->signal)
        XD_TRY(xd_buf_printf(&l->text, " was killed by %s",
                             xd_os_signal_name(status->signal, name, sizeof(name))));
    else
        XD_TRY(xd_buf_printf(&l->text, " does not run as a Python does: it ended with status %d",
                             status->exit_status));
    XD_TRY(last.len ? xd_buf_add_str(&l->text, "; its last output: ") : 0);
    return xd_buf_add_bytes(&l->text, last);
}

/* It has ended, as it should or not. */
static int ended(agent *a)
{
    agent_look    *l = &a->look;
    xd_proc_status status = { 0 };
    xd_autobuf     output = XD_BUF_INIT;
    const size_t   most = OUTPUT_MOST + (l->packages ? LIST_MOST : 0);
    (void)xd_proc_kill_group(&l->proc,
                             SIGKILL); /* what it left behind; before the wait, which frees its number */
    (void)xd_poller_remove(a->poller, l->proc.pidfd);
    XD_TRY(xd_proc_wait(&l->proc, true, &status));
    xd_proc_close(&l->proc);
    XD_TRY(xd_buf_reserve(&output, most));
    const ssize_t n = pread(l->output, output.data, most, 0);
    output.len = n > 0 ? (size_t)n : 0;
    const xd_bytes head = { output.data, XD_MIN(output.len, OUTPUT_MOST) };
    if (status.exit_status != 0 || status.signal || !line_of(head, "interpreter").len)
        XD_TRY(does_not_run(a, &status, head));
    return answer(a, head, xd_buf_view(&output));
}

static void on_ended(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    agent_fault(arg, ended(arg));
}

static int spawn(agent *a, const xd_runner_ops *ops, xd_error *err)
{
    agent_look       *l = &a->look;
    const char *const args[] = { "host", l->packages ? "packages" : NULL, NULL };
    l->output = memfd_create("xd-look", MFD_CLOEXEC);
    if (l->output < 0)
        return xd_error_set(err, -errno, "no memory file: %s", strerror(errno));
    const int output[2] = { l->output, l->output };
    XD_TRY(ops->spawn_check(l->runner, args, output, &l->proc, err));
    return l->proc.pidfd >= 0 ? xd_poller_set(a->poller, l->proc.pidfd, XD_POLL_IN, on_ended, a) : -ENOSYS;
}

/* 1 = a process runs that answers; 0 = the answer is there. */
static int begin(agent *a, xd_wire_ENV_START *m, xd_error *err)
{
    agent_look          *l = &a->look;
    xd_error             no_scratch = { 0 };
    const xd_runner_ops *ops = xd_runner_find(m->runner);
    l->failed = XD_LOOK_FOLDER;
    const agent_place_wish where = { .chdir = m->chdir, .project = m->project };
    XD_TRY(agent_place_find(&l->place, &where, &a->wishes, &no_scratch, err));
    m->chdir = xd_bytes_str(l->place.folder);
    m->cache_dir = xd_bytes_str(l->place.cache);
    m->scratch_dir = xd_bytes_str(l->place.scratch);
    l->failed = XD_LOOK_INTERPRETER;
    if (!ops)
        return xd_error_set(err, -EINVAL, "this agent has no runner named %.*s; it has %s",
                            (int)m->runner.len, (const char *)m->runner.ptr, xd_runner_names());
    XD_TRY(ops->prepare(&l->runner, m, XD_BUILD_ID, err));
    l->prepared = true;
    if (ops->spawn_check)
        XD_TRY(spawn(a, ops, err));
    l->failed = XD_LOOK_GOOD;
    return ops->spawn_check ? 1 : 0;
}

int agent_look_at_host(agent *a, xd_bytes body)
{
    xd_wire_CHECK     check;
    xd_wire_ENV_START start;
    xd_error          err = { 0 };
    XD_TRY(xd_wire_CHECK_decode(body.ptr, body.len, &check));
    XD_TRY(xd_wire_ENV_START_decode(check.start.ptr, check.start.len, &start));
    if (a->look.begun || a->env.started)
        return -EPROTO;
    a->look.begun = true;
    a->look.packages = check.packages;
    int r = begin(a, &start, &err);
    if (r > 0)
        return 0;
    if (r < 0)
        set_text(&a->look, a->look.failed, *err.text ? err.text : xd_error_name(r));
    return answer(a, (xd_bytes){ 0 }, (xd_bytes){ 0 });
}

void agent_look_release(agent *a)
{
    agent_look *l = &a->look;
    if (l->runner)
        l->runner = l->runner->ops->release(l->runner);
    if (l->output >= 0)
        close(l->output);
    xd_proc_close(&l->proc);
    if (l->place.made) /* who looks leaves nothing behind */
        (void)rmdir(l->place.folder);
    agent_place_release(&l->place);
    xd_buf_release(&l->text);
}
