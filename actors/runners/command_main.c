/* The processes of the command runner: the collector, which reads the list and becomes the first worker, and further
 * workers, which get the list from it through shared memory. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "actors/runners/command.h"
#include "actors/runners/command_process.h"
#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/base/text.h"

#define LIST_BYTES_MAX (256u << 20)
#define PART_BYTES (60u * 1024u) /* of the ids in one COLLECT_IDS */
#define FDS 4                    /* that come with FORK */

typedef struct process {
    uint64_t          output_limit;
    xd_stream_in      in; /* the control socket */
    int               fds[FDS];
    size_t            n_fds;
    xd_buf            start_body;
    xd_wire_ENV_START start; /* views into start_body */
    xd_command_args   args;
    xd_command_list   list;
    xd_page           page;
} process;

/* ---- the control socket ----------------------------------------------------------------------------------- */

/* 1 = a frame, 0 = the agent has closed it, -errno. */
static int next_frame(process *p, xd_frame *ret)
{
    for (;;) {
        int r = xd_stream_in_next(&p->in, ret);
        if (r != 0)
            return r;
        uint8_t *room;
        size_t   len, n = FDS - p->n_fds;
        XD_TRY(xd_stream_in_space(&p->in, 65536, &room, &len));
        ssize_t got = xd_os_recv_fds(XD_COMMAND_CONTROL, room, len, p->fds + p->n_fds, &n);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return got == -ECONNRESET ? 0 : (int)got;
        p->n_fds += n;
        xd_stream_in_filled(&p->in, (size_t)got);
    }
}

/* 1 = a frame of this type, 0 = closed, -errno. */
static int wait_for(process *p, uint16_t type, xd_frame *ret)
{
    int r;
    do
        r = next_frame(p, ret);
    while (r > 0 && ret->type != type);
    return r;
}

static int wait_for_start(process *p)
{
    xd_frame f;
    int      r = wait_for(p, XD_MSG_ENV_START, &f);
    if (r <= 0)
        return r;
    XD_TRY(xd_buf_add(&p->start_body, f.body, f.len));
    XD_TRY(xd_wire_ENV_START_decode(p->start_body.data, p->start_body.len, &p->start));
    return 1;
}

/* ---- the collection --------------------------------------------------------------------------------------- */

/* Names of descriptors, such as a shell's <(...) has: here they would be this process's, not those of the user's shell. */
static bool is_descriptor(const char *name)
{
    static const char *const folders[] = { "/dev/fd/", "/proc/self/fd/", "/dev/stdin" };
    for (size_t i = 0; i < XD_ARRAY_LEN(folders); i++)
        if (strncmp(name, folders[i], strlen(folders[i])) == 0)
            return true;
    return false;
}

static int read_file(process *p, const char *name, xd_error *err)
{
    xd_autobuf text = XD_BUF_INIT;
    if (strcmp(name, "-") == 0)
        return xd_error_set(err, -EINVAL,
                            "option --list: standard input is not read; give it the name of a file");
    if (is_descriptor(name))
        return xd_error_set(
            err, -EINVAL,
            "option --list: %.300s is a descriptor of another process; give it the name of a file", name);
    int r = xd_path_read_file(name, LIST_BYTES_MAX, &text, NULL);
    if (r < 0)
        return xd_error_set(err, r, "the list %.300s cannot be read: %s", name, xd_error_name(r));
    return xd_command_list_add(&p->list, xd_buf_view(&text), name, err);
}

static int collect(process *p, xd_error *err)
{
    xd_wire_TEXT file;
    xd_bytes     missing = { 0 };
    XD_TRY(xd_command_args_read(&p->args, p->start.args, err));
    xd_wire_list files = { .count = p->args.n_files, .ptr = p->args.files.data, .len = p->args.files.len };
    while (xd_wire_TEXT_next(&files, &file) > 0) {
        xd_autofree char *name = xd_bytes_dup(file.text);
        XD_TRY(name ? read_file(p, name, err) : xd_error_set(err, -ENOMEM, "out of memory"));
    }
    xd_wire_list ids = { .count = p->args.n_ids, .ptr = p->args.ids.data, .len = p->args.ids.len };
    int          r = xd_command_list_select(&p->list, ids, &missing);
    if (r == -ENOENT)
        return xd_error_set(err, -EINVAL, "there is no such test in the list: %.*s",
                            (int)XD_MIN(missing.len, 200), (const char *)missing.ptr);
    return r;
}

int xd_command_collection(const xd_command_list *list, int32_t exit_status, uint64_t duration_us, xd_buf *out)
{
    for (uint32_t i = 0; i < list->count;) {
        xd_autobuf          ids = XD_BUF_INIT;
        xd_wire_COLLECT_IDS m = { .first = i };
        while (i < list->count && (m.ids.count == 0 || ids.len + list->at[i].id.len < PART_BYTES)) {
            xd_wire_NODEID n = { .id = list->at[i].id, .line = -1 };
            XD_TRY(xd_wire_NODEID_append(&ids, &n));
            m.ids.count++;
            i++;
        }
        m.ids.ptr = ids.data;
        m.ids.len = ids.len;
        XD_TRY(xd_wire_COLLECT_IDS_frame(out, 0, 0, &m));
    }
    xd_wire_COLLECTED c = {
        .count = list->count, .exit_status = exit_status, .way = XD_WAY_FRESH, .duration_us = duration_us
    };
    return xd_wire_COLLECTED_frame(out, 0, 0, &c);
}

/* CONFIG: where the list came from, and the options for the run's reports. */
static int add_config(const process *p, xd_buf *out)
{
    xd_autobuf        header = XD_BUF_INIT, line = XD_BUF_INIT;
    xd_autofree char *here = getcwd(NULL, 0);
    xd_wire_CONFIG    m = {
           .options = { .count = p->args.n_options, .ptr = p->args.options.data, .len = p->args.options.len }
    };
    xd_wire_list files = { .count = p->args.n_files, .ptr = p->args.files.data, .len = p->args.files.len };
    xd_wire_TEXT file;
    if (!here)
        return -errno;
    XD_TRY(xd_buf_add_str(&line, "platform linux -- commands of"));
    while (xd_wire_TEXT_next(&files, &file) > 0) {
        XD_TRY(xd_buf_add_byte(&line, ' '));
        XD_TRY(xd_buf_add_bytes(&line, file.text));
    }
    XD_TRY(xd_wire_TEXT_append(&header, &(xd_wire_TEXT){ .text = xd_buf_view(&line) }));
    xd_buf_clear(&line);
    XD_TRY(xd_buf_printf(&line, "rootdir: %s", here));
    XD_TRY(xd_wire_TEXT_append(&header, &(xd_wire_TEXT){ .text = xd_buf_view(&line) }));
    m.header = (xd_wire_list){ .count = 2, .ptr = header.data, .len = header.len };
    m.rootdir = m.invocation_dir = xd_bytes_str(here);
    return xd_wire_CONFIG_frame(out, 0, 0, &m);
}

static int fail(const xd_error *err, int code)
{
    xd_autobuf         out = XD_BUF_INIT;
    xd_wire_ENV_FAILED m = { .exit_status = code == -ENOMEM ? 3 : 4,
                             .text = xd_bytes_str(*err->text ? err->text : xd_error_name(code)) };
    XD_TRY(xd_wire_ENV_FAILED_frame(&out, 0, 0, &m));
    return xd_command_send(XD_COMMAND_CONTROL, &out);
}

/* Further workers find it there; the collector writes it before they are started. */
static int share_list(const process *p)
{
    xd_autobuf packed = XD_BUF_INIT;
    XD_TRY(xd_command_list_pack(&p->list, &packed));
    return xd_command_send(XD_COMMAND_LIST, &packed);
}

static int read_shared_list(process *p)
{
    off_t size = lseek(XD_COMMAND_LIST, 0, SEEK_END);
    if (size <= 0)
        return size < 0 ? -errno : 0;
    void *at = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, XD_COMMAND_LIST, 0);
    if (at == MAP_FAILED)
        return -errno;
    int r = xd_command_list_unpack(&p->list, (xd_bytes){ at, (size_t)size });
    munmap(at, (size_t)size);
    return r;
}

/* ---- roles ------------------------------------------------------------------------------------------------ */

static int become_worker(process *p, const xd_frame *f, bool same)
{
    xd_command_worker w = { .timeout_ns = p->args.timeout_ns,
                            .output_limit = p->output_limit,
                            .commands = XD_COMMAND_COMMANDS,
                            .results = XD_COMMAND_RESULTS,
                            .page = p->page,
                            .run_uid = p->start.run_uid };
    XD_TRY(xd_wire_FORK_decode(f->body, f->len, &w.who));
    close(XD_COMMAND_CONTROL);
    return xd_command_work(&w, &p->list, same);
}

/* The descriptors that came with FORK go where a worker has them. */
static int place_fds(process *p)
{
    const int to[FDS] = { XD_COMMAND_COMMANDS, XD_COMMAND_RESULTS, 1, 2 };
    if (p->n_fds != FDS)
        return -EPROTO;
    for (size_t i = 0; i < FDS; i++) { /* out of the way of those numbers first */
        const int came = p->fds[i];
        p->fds[i] = fcntl(came, F_DUPFD_CLOEXEC, XD_COMMAND_RESULTS + 1);
        if (p->fds[i] < 0)
            return -errno;
        close(came);
    }
    for (size_t i = 0; i < FDS; i++)
        if (dup3(p->fds[i], to[i], to[i] > 2 ? O_CLOEXEC : 0) < 0 || close(p->fds[i]) < 0)
            return -errno;
    return 0;
}

static int after_collection(process *p)
{
    xd_frame      f;
    int           r;
    xd_wire_ORDER order;
    while ((r = next_frame(p, &f)) > 0) {
        switch (f.type) {
        case XD_MSG_ORDER:
            XD_TRY(xd_wire_ORDER_decode(f.body, f.len, &order));
            XD_TRY(xd_command_list_order(&p->list, order.places));
            break;
        case XD_MSG_FORK:
            XD_TRY(place_fds(p));
            return become_worker(p, &f, true);
        case XD_MSG_QUIT:
            return 0;
        default:
            break; /* FINISH: there is no cache to write */
        }
    }
    return r;
}

static int be_collector(process *p)
{
    xd_autobuf out = XD_BUF_INIT;
    xd_error   err = { 0 };
    uint64_t   began = xd_clock_ns();
    XD_TRY(xd_wire_HOST_READY_frame(&out, 0, 0, &(xd_wire_HOST_READY){ 0 })); /* nothing is forked from it */
    int r = wait_for_start(p);
    if (r <= 0)
        return r;
    XD_TRY(xd_command_send(XD_COMMAND_CONTROL, &out));
    r = collect(p, &err);
    if (r < 0)
        return fail(&err, r);
    xd_buf_clear(&out);
    XD_TRY(share_list(p));
    XD_TRY(add_config(p, &out));
    XD_TRY(xd_command_collection(&p->list, p->list.count ? -1 : 5, (xd_clock_ns() - began) / 1000u, &out));
    XD_TRY(xd_command_send(XD_COMMAND_CONTROL, &out));
    return p->list.count ? after_collection(p) : 0;
}

static int be_worker(process *p)
{
    xd_frame f;
    xd_error err = { 0 };
    int      r = wait_for_start(p);
    if (r > 0)
        r = wait_for(p, XD_MSG_FORK, &f);
    if (r <= 0)
        return r;
    XD_TRY(xd_command_args_read(&p->args, p->start.args, &err));
    XD_TRY(read_shared_list(p));
    return become_worker(p, &f, false);
}

/* The page as the agent has made it. */
static int open_page(xd_page *ret)
{
    off_t size = lseek(XD_COMMAND_PAGE, 0, SEEK_END);
    if (size < (off_t)sizeof(xd_page_header))
        return size < 0 ? -errno : -EPROTO;
    void *at = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, XD_COMMAND_PAGE, 0);
    if (at == MAP_FAILED)
        return -errno;
    *ret = (xd_page){ .fd = -1,
                      .slots = (uint32_t)(((size_t)size - sizeof(xd_page_header)) / sizeof(xd_page_slot)),
                      .head = at,
                      .slot = (xd_page_slot *)(void *)((char *)at + sizeof(xd_page_header)) };
    return ret->head->magic == XD_PAGE_MAGIC ? 0 : -EPROTO;
}

int xd_command_main(int argc, char **argv)
{
    process p = { 0 };
    if (argc != 2 || xd_text_u64(argv[1], 0, UINT64_MAX, &p.output_limit) < 0)
        return 4;
    for (int fd = XD_COMMAND_CONTROL; fd <= XD_COMMAND_RESULTS; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    xd_stream_in_init(&p.in, false);
    int r = open_page(&p.page);
    if (r == 0)
        r = strcmp(argv[0], "collector") == 0 ? be_collector(&p) : be_worker(&p);
    if (r < 0 && r != -EPIPE)
        fprintf(stderr, "xd: the command runner cannot go on: %s\n", xd_error_name(r));
    xd_stream_in_release(&p.in);
    xd_buf_release(&p.start_body);
    xd_command_args_release(&p.args);
    xd_command_list_release(&p.list);
    return r < 0 ? 3 : r;
}
