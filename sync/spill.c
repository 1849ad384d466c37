/* sync/spill.c - see blocks_state.h: blocks on disk. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "sync/blocks_state.h"

#define SPILL_MOST (4ull << 30) /* bytes of the file */

bool xd_spill_works(const xd_source *s)
{
    return s->args.memory && !s->spill_failed && s->spill_len < SPILL_MOST;
}

/* Nobody else can open it, and it goes with the last descriptor. */
static int open_spill(const char *folder)
{
    char name[64];
    XD_TRY(xd_path_mkdirs(folder, 0700, NULL));
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) /* not of every file system */
        return fd < 0 ? -errno : fd;
    snprintf(name, sizeof(name), "spill.xd-%x-%llx", (unsigned)getpid(), (unsigned long long)xd_clock_ns());
    xd_autofree char *path = xd_path_join(folder, name);
    if (!path)
        return -ENOMEM;
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    (void)unlink(path);
    return fd;
}

/* The first block that somebody will want, and not the one who is furthest. */
static xd_block **find_block(xd_source *s, xd_stream **ret)
{
    for (xd_stream *st = s->streams; st; st = st->next) {
        bool     awaited = xd_stream_awaited(s, st);
        uint64_t n = st->first, from = awaited ? 0 : xd_stream_slowest(st),
                 to = st->readers ? xd_stream_fastest(st) : st->count_made;
        *ret = st;
        for (xd_block **at = &st->head; *at && n < to; at = &(*at)->next, n++)
            if (n >= from && (*at)->frame && (*at)->ready && !(*at)->leaving)
                return at;
    }
    return NULL;
}

/* Puts one that has no memory in the place of the block, if that is there still. */
static int replace(xd_source *s, xd_stream *st, const xd_block *b, uint64_t at)
{
    xd_block **p = &st->head;
    while (*p && *p != b)
        p = &(*p)->next;
    if (!*p)
        return 0;
    xd_block *light = malloc(sizeof *light), *heavy = *p;
    if (!light)
        return -ENOMEM;
    *light = *heavy;
    light->frame = NULL;
    light->roomy = light->leaving = false;
    light->refs = 1;
    light->spilled = at;
    *p = light;
    if (st->tail == &heavy->next)
        st->tail = &light->next;
    xd_stream_less(s, st, heavy->len);
    xd_block_unref(s, heavy);
    s->stats.blocks_spilled++;
    return 0;
}

bool xd_spill_one(xd_source *s)
{
    xd_stream *st;
    if (s->kept < xd_blocks_room(s) || !xd_spill_works(s))
        return false;
    xd_block **found = find_block(s, &st);
    if (!found)
        return false;
    if (s->spill_fd < 0 && (s->spill_fd = open_spill(s->args.memory)) < 0) {
        s->spill_failed = true;
        return false;
    }
    xd_block *b = *found;
    uint64_t  at = s->spill_len;
    s->spill_len += b->len;
    b->refs++;
    b->leaving = true;
    st->packing++; /* the stream stays */
    (void)pthread_mutex_unlock(&s->lock);
    int r = xd_os_write_at(s->spill_fd, b->frame, b->len, at);
    (void)pthread_mutex_lock(&s->lock);
    st->packing--;
    if (r == 0)
        r = replace(s, st, b, at);
    xd_block_unref(s, b);
    s->spill_failed |= r < 0; /* a full disk: what is there already can be read still */
    if (!xd_stream_busy(st) && !xd_stream_kept(st))
        xd_stream_free(s, st);
    return r == 0;
}

int xd_spill_read(xd_source *s, xd_block *b, xd_block **ret)
{
    xd_block *copy = malloc(sizeof *copy);
    if (!copy)
        return -ENOMEM;
    *copy = *b;
    copy->next = NULL;
    copy->refs = 1;
    (void)pthread_mutex_unlock(&s->lock);
    int r = (copy->frame = malloc(copy->len)) ? 0 : -ENOMEM;
    if (r == 0)
        r = xd_os_read_at(s->spill_fd, copy->frame, copy->len, copy->spilled);
    (void)pthread_mutex_lock(&s->lock);
    if (r < 0)
        xd_block_unref(s, copy);
    else
        *ret = copy;
    return r;
}

void xd_spill_end(xd_source *s)
{
    if (s->spill_fd >= 0)
        (void)close(s->spill_fd);
    s->spill_fd = -1;
}
