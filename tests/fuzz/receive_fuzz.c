/* needs: sync. Any bytes as what a home end says: the far half ends, with what it has said in frames that are whole, and nothing is written outside of its folder.
 * Input: first byte, bits: 1 = a tree that was brought stands in the folder before, 2 = the digest of each SYNC_OPEN is made that of the records that follow, so that
 * bytes that were changed reach what is behind them, 4 = in the folder lies also what nobody brought, 8 = the first SYNC_DATA or SYNC_AMEND comes again and again; the rest is the stream. */
#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "engine/stream.h"
#include "sync/receive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define AGAIN_BYTES 400000u

typedef struct home {
    int            fd;
    const uint8_t *data;
    size_t         len, at;
    uint32_t       frames;
} home;

/* Says what it has to say, and reads the answers, as either end can. */
static void *talk(void *arg)
{
    home        *h = arg;
    xd_stream_in in;
    xd_frame     f;
    int          n = 1;
    xd_stream_in_init(&in, false);
    while (n != 0) {
        struct pollfd p = { .fd = h->fd, .events = h->at < h->len ? POLLIN | POLLOUT : POLLIN };
        if (poll(&p, 1, -1) < 0)
            continue;
        if (p.revents & POLLOUT) {
            ssize_t sent = send(h->fd, h->data + h->at, h->len - h->at, MSG_NOSIGNAL | MSG_DONTWAIT);
            h->at = sent >= 0 ? h->at + (size_t)sent : errno == EAGAIN ? h->at : h->len;
            if (h->at == h->len)
                shutdown(h->fd, SHUT_WR);
        }
        if (!(p.revents & (POLLIN | POLLHUP | POLLERR)))
            continue;
        n = xd_stream_read_fd(&in, h->fd, 65536);
        if (n < 0 && n != -EAGAIN) /* it was closed with bytes in it that nobody read */
            n = 0;
        int got;
        while ((got = xd_stream_in_next(&in, &f)) != 0) {
            assert(got == 1 && xd_wire_check(f.type, f.body, f.len) == 0);
            assert(f.type >= XD_MSG_SYNC_SAME && f.type <= XD_MSG_SYNC_FAILED);
            h->frames++;
        }
    }
    assert(in.at == in.buf.len);
    xd_stream_in_release(&in);
    return NULL;
}

static int say(const char *folder, const uint8_t *data, size_t len)
{
    int       fds[2];
    pthread_t thread;
    int       e = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
    assert(e == 0);
    home h = { .fd = fds[0], .data = data, .len = len };
    if (len == 0)
        shutdown(fds[0], SHUT_WR);
    e = pthread_create(&thread, NULL, talk, &h);
    assert(e == 0);
    xd_receive_args args = { .in = fds[1], .out = fds[1], .folder = folder, .threads = 2 };
    int             status = xd_receive(&args);
    close(fds[1]);
    pthread_join(thread, NULL);
    close(fds[0]);
    assert(status >= 0 && status <= 2 && (status == 2 || h.frames));
    return status;
}

/* The stream with its first SYNC_DATA or SYNC_AMEND many times. */
static uint8_t *again(const uint8_t *data, size_t len, size_t *ret_len)
{
    uint8_t *all = malloc(len + AGAIN_BYTES);
    xd_frame f = { 0 };
    size_t   at = 0, size = 0;
    assert(all);
    *ret_len = len;
    memcpy(all, data, len);
    for (; at + XD_FRAME_HEADER <= len; at += size) {
        if (xd_wire_header(data + at, &f) < 0 || f.len > len - at - XD_FRAME_HEADER)
            return all;
        size = XD_FRAME_HEADER + f.len;
        if (f.type == XD_MSG_SYNC_DATA || f.type == XD_MSG_SYNC_AMEND)
            break;
    }
    if (at + XD_FRAME_HEADER > len)
        return all;
    size_t to = at;
    for (; to - at + size <= AGAIN_BYTES; to += size)
        memcpy(all + to, data + at, size);
    memcpy(all + to, data + at + size, len - at - size);
    *ret_len = to + len - at - size;
    return all;
}

/* One file, `f`, that holds "text". */
static int put_list(void *arg, xd_bytes body, bool last)
{
    xd_wire_SYNC_RECORDS m = { .last = last, .plain_bytes = (uint32_t)body.len, .inner = body };
    return xd_wire_SYNC_RECORDS_frame(arg, 0, 0, &m);
}

static xd_manifest *bring_tree(const char *folder)
{
    static const char text[] = "text";
    xd_tree          *t;
    xd_manifest      *m;
    xd_autobuf        out = XD_BUF_INIT, list = XD_BUF_INIT, body = XD_BUF_INIT;
    xd_node           node = {
                  .name = XD_BYTES_LIT("f"), .type = XD_SYNC_FILE, .mode = 0644, .size = 4, .mtime_ns = 1
    };
    node.id = xd_digest_of((xd_bytes){ (const uint8_t *)text, 4 });
    int e = xd_tree_new(&t, XD_SYNC_FOLDER, 0755);
    assert(e == 0);
    e = xd_tree_add(t, 0, &node, NULL);
    assert(e == 0);
    e = xd_tree_end(&t, &m, NULL);
    assert(e == 0);
    xd_digest         id = xd_manifest_digest(m);
    xd_wire_SYNC_OPEN open = { .lo = id.lo, .hi = id.hi };
    e = xd_wire_SYNC_OPEN_frame(&out, 0, 0, &open);
    assert(e == 0);
    e = xd_manifest_write(NULL, m, NULL, NULL, NULL, 4000, put_list, &out);
    assert(e == 0);
    xd_wire_SYNC_PIECE p = { .data = { (const uint8_t *)text, 4 } };
    e = xd_wire_SYNC_PIECE_append(&list, &p);
    assert(e == 0);
    xd_wire_SYNC_PIECE_LIST pieces = { .pieces = { 1, list.data, list.len } };
    e = xd_wire_SYNC_PIECE_LIST_encode(&body, &pieces);
    assert(e == 0);
    xd_wire_SYNC_DATA d = { .plain_bytes = (uint32_t)body.len, .inner = xd_buf_view(&body) };
    e = xd_wire_SYNC_DATA_frame(&out, 0, 0, &d);
    assert(e == 0);
    e = say(folder, out.data, out.len);
    assert(e == 0);
    return m;
}

/* The digest of the tree of these frames, if they make one. */
static int digest_of_records(const uint8_t *data, size_t len, const xd_manifest *stands, xd_digest *ret)
{
    xd_records              *r = NULL;
    xd_manifest             *m = NULL;
    xd_wire_SYNC_RECORDS     part;
    xd_wire_SYNC_RECORD_LIST list;
    xd_frame                 f;
    int                      e = -EPROTO;
    for (size_t at = 0; at + XD_FRAME_HEADER <= len; at += XD_FRAME_HEADER + f.len) {
        if (xd_wire_header(data + at, &f) < 0 || f.len > len - at - XD_FRAME_HEADER)
            break;
        if (f.type != XD_MSG_SYNC_RECORDS)
            continue;
        if (xd_wire_SYNC_RECORDS_decode(f.body, f.len, &part) < 0 || part.codec ||
            xd_wire_SYNC_RECORD_LIST_decode(part.inner.ptr, part.inner.len, &list) < 0)
            break;
        const bool all = part.base_lo == 0 && part.base_hi == 0;
        if (!r && xd_records_new(&r, all ? NULL : stands) < 0)
            break;
        if (xd_records_add(r, &list, NULL) < 0)
            break;
        if (part.last) {
            e = xd_records_end(&r, &m, NULL, NULL, NULL);
            break;
        }
    }
    if (e == 0)
        *ret = xd_manifest_digest(m);
    xd_records_free(r);
    xd_manifest_free(m);
    return e;
}

static void right_digests(uint8_t *data, size_t len, const xd_manifest *stands)
{
    xd_frame  f;
    xd_digest id;
    for (size_t at = 0; at + XD_FRAME_HEADER <= len; at += XD_FRAME_HEADER + f.len) {
        if (xd_wire_header(data + at, &f) < 0 || f.len > len - at - XD_FRAME_HEADER)
            return;
        uint8_t *body = data + at + XD_FRAME_HEADER;
        if (f.type == XD_MSG_SYNC_OPEN && f.len >= 20 &&
            digest_of_records(body + f.len, (size_t)(data + len - body) - f.len, stands, &id) == 0)
            memcpy(body + 4, &id, sizeof(id)); /* low half, high half */
        if (f.type == XD_MSG_SYNC_RECORDS && f.len >= 16 && stands && (body[0] || body[8])) {
            id = xd_manifest_digest(stands);
            memcpy(body, &id, sizeof(id));
        }
    }
}

static void put(const char *folder, const char *name, bool is_folder)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = is_folder ? mkdir(path, 0700) : open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (!is_folder && fd >= 0)
        close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static char box[64], folder[80], beside[80];
    struct stat st;
    if (len < 1 || len > 200000)
        return 0;
    if (!box[0]) {
        snprintf(box, sizeof(box), "%s/xd-receive-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (!mkdtemp(box))
            abort();
        snprintf(folder, sizeof(folder), "%s/far", box);
        snprintf(beside, sizeof(beside), "%s/beside", box);
    }
    mkdir(box, 0700);
    xd_manifest *stands = data[0] & 1 ? bring_tree(folder) : NULL;
    if (data[0] & 4) {
        (void)mkdir(folder, 0700);
        put(folder, "x", true), put(folder, "x/y", false), put(folder, "z", false);
    }
    size_t   size = len - 1;
    uint8_t *stream = malloc(len);
    memcpy(stream, data + 1, size);
    if (data[0] & 8) {
        free(stream);
        stream = again(data + 1, len - 1, &size);
    }
    if (data[0] & 2)
        right_digests(stream, size, stands);
    (void)say(folder, stream, size);
    free(stream);
    xd_manifest_free(stands);
    assert(lstat(beside, &st) != 0);
    int e = xd_path_remove_tree(folder);
    assert(e == 0);
    e = rmdir(box); /* nothing else is in it */
    assert(e == 0);
    return 0;
}
