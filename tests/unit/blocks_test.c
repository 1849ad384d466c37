/* needs: sync. Streams of blocks that hosts share (sync/blocks.c): each file is read once for those that keep up, and again for those that lag behind; what is in the blocks is what is in the files. */
#include <sys/eventfd.h>
#include <zstd.h>

#include "sync/source_state.h"
#include "tests/unit/entries.h"
#include "tests/unit/sync_world.h"

typedef struct host {
    xd_reader *reader;
    int        wake_fd;
    xd_buf     got; /* contents, one behind the other */
    uint32_t   files;
} host;

static void take(host *h, const xd_block *b)
{
    xd_frame                f;
    xd_wire_SYNC_DATA       m;
    xd_wire_SYNC_PIECE_LIST list;
    xd_wire_SYNC_PIECE      p;
    xd_autofree uint8_t    *plain = NULL;
    MUST(xd_wire_header(b->frame, &f) == 0 && f.len + XD_FRAME_HEADER == b->len);
    MUST(xd_wire_SYNC_DATA_decode(b->frame + XD_FRAME_HEADER, f.len, &m) == 0);
    xd_bytes inner = m.inner;
    if (m.codec == XD_SYNC_CODEC_ZSTD) {
        plain = malloc(m.plain_bytes);
        MUST(ZSTD_decompress(plain, m.plain_bytes, inner.ptr, inner.len) == m.plain_bytes);
        inner = (xd_bytes){ plain, m.plain_bytes };
    }
    MUST(inner.len == m.plain_bytes && inner.len < 1u << 20);
    MUST(xd_wire_SYNC_PIECE_LIST_decode(inner.ptr, inner.len, &list) == 0);
    while (xd_wire_SYNC_PIECE_next(&list.pieces, &p) == 1)
        MUST(p.op == XD_SYNC_OP_DATA && xd_buf_add_bytes(&h->got, p.data) == 0);
    h->files += b->files;
}

static host join(xd_source *s, uint32_t files, int level)
{
    host      h = { .wake_fd = eventfd(0, EFD_CLOEXEC) };
    xd_range *all = malloc(sizeof *all);
    *all = (xd_range){ 0, files, 1 };
    MUST(xd_reader_new(&h.reader, s, &all, 1, NULL, true, h.wake_fd) == 0);
    xd_reader_prefer(h.reader, level);
    return h;
}

/* At most so many blocks, or all. Returns false at the end. */
static bool get(xd_source *s, host *h, unsigned count)
{
    while (count) {
        xd_block *b = NULL;
        eventfd_t n;
        int       r = xd_reader_next(h->reader, &b, NULL);
        MUST(r >= 0 || r == -EAGAIN);
        if (r == 0)
            return false;
        if (r < 0) {
            MUST(eventfd_read(h->wake_fd, &n) == 0);
            continue;
        }
        take(h, b);
        xd_block_done(s, &b);
        count--;
    }
    return true;
}

static void leave(host *h)
{
    xd_reader_free(h->reader);
    (void)close(h->wake_fd);
    xd_buf_release(&h->got);
}

#define FILES 40u
static xd_buf whole;

static void make(void)
{
    world_begin();
    xd_buf_clear(&whole);
    for (unsigned i = 0; i < FILES; i++) { /* their names are in the order of their numbers */
        char   name[40];
        size_t len = i == 20 ? 3u << 20 : i % 5 * 40000;
        (void)snprintf(name, sizeof name, "src/%02u", i);
        uint8_t *p = content(len, 900 + i, i % 3);
        put(name, p, len);
        MUST(xd_buf_add(&whole, p, len) == 0);
        free(p);
    }
}

static void end(void)
{
    xd_buf_release(&whole);
    world_end();
}

static void must_have_all(const host *h)
{
    MUST(h->files == FILES);
    MUST(h->got.len == whole.len);
    MUST(memcmp(h->got.data, whole.data, whole.len) == 0);
}

static xd_source *begin_for(uint64_t kept, uint32_t hosts, const char *memory)
{
    const xd_scan_result *scan;
    xd_source            *s = source_for(kept, hosts, memory);
    MUST(xd_source_scanned(s, &scan, NULL) == 0);
    MUST(scan->manifest->files == FILES);
    return s;
}

/* Nothing is written to disk. */
static xd_source *begin(uint64_t kept)
{
    return begin_for(kept, 1, NULL);
}

static uint64_t kept_of(xd_source *s)
{
    (void)pthread_mutex_lock(&s->lock);
    uint64_t kept = s->kept;
    (void)pthread_mutex_unlock(&s->lock);
    return kept;
}

START_TEST(those_that_keep_up_share)
{
    xd_source      *s = begin(1 << 20);
    xd_source_stats stats;
    host            h[3];
    bool            more = true;
    for (unsigned i = 0; i < 3; i++)
        h[i] = join(s, FILES, (int)i % 2);
    while (more)
        for (unsigned i = 0; i < 3; i++)
            more = get(s, &h[i], 1);
    xd_source_get_stats(s, &stats);
    for (unsigned i = 0; i < 3; i++) {
        must_have_all(&h[i]);
        leave(&h[i]);
    }
    ck_assert_uint_eq(stats.read_files, FILES);
    ck_assert_uint_eq(stats.read_bytes, whole.len);
    ck_assert_uint_eq(stats.blocks_again, 0);
    xd_source_free(s);
}
END_TEST

/* Two wait while one takes all: it is not held back, and memory stays bounded. */
START_TEST(those_that_lag_get_it_again)
{
    xd_source      *s = begin(1 << 20);
    xd_source_stats stats;
    host            fast = join(s, FILES, 1), slow = join(s, FILES, 1), slower = join(s, FILES, 1);
    MUST(get(s, &slow, 3) && get(s, &slower, 3));
    MUST(!get(s, &fast, UINT32_MAX));
    must_have_all(&fast);
    ck_assert_uint_le(kept_of(s), (1 << 20) + (1 << 19));
    for (bool more = true; more;)
        more = get(s, &slow, 1) && get(s, &slower, 1);
    MUST(!get(s, &slow, 1) && !get(s, &slower, 1));
    must_have_all(&slow);
    must_have_all(&slower);
    xd_source_get_stats(s, &stats);
    ck_assert_uint_gt(stats.blocks_again, 0);
    ck_assert_uint_le(stats.read_files, 3 * FILES);
    leave(&fast);
    leave(&slow);
    leave(&slower);
    xd_source_free(s);
}
END_TEST

/* At every place, also in the middle of a large file. */
START_TEST(a_laggard_anywhere)
{
    xd_source *s = begin(1 << 19);
    for (unsigned at = 0; at < 24; at += 3) {
        host slow = join(s, FILES, 0), fast = join(s, FILES, 0);
        if (at)
            MUST(get(s, &slow, at));
        MUST(!get(s, &fast, UINT32_MAX));
        MUST(!get(s, &slow, UINT32_MAX));
        must_have_all(&fast);
        must_have_all(&slow);
        leave(&slow);
        leave(&fast);
    }
    xd_source_free(s);
}
END_TEST

/* Little is kept for one that comes a moment later. */
START_TEST(one_that_comes_later)
{
    xd_source_stats stats;
    xd_source      *s = begin(64 << 20);
    host            first = join(s, FILES, 1);
    MUST(!get(s, &first, UINT32_MAX));
    leave(&first);
    host second = join(s, FILES, 1);
    MUST(!get(s, &second, UINT32_MAX));
    must_have_all(&second);
    leave(&second);
    xd_source_get_stats(s, &stats);
    ck_assert_uint_eq(stats.read_files, FILES);
    xd_source_free(s);
}
END_TEST

/* With the file for blocks nothing is read or compressed twice, neither for a host that lags nor for one that joins when another has finished. */
START_TEST(what_is_written_need_not_be_made_again)
{
    xd_source_stats stats;
    xd_source      *s = begin_for(1 << 19, 6, in_world("mem"));
    host            h[6];
    for (unsigned i = 0; i < 4; i++) {
        h[i] = join(s, FILES, (int)i % 2);
        xd_blocks_came(s);
        MUST(i == 0 || get(s, &h[i], 4 * i));
    }
    MUST(!get(s, &h[0], UINT32_MAX));
    must_have_all(&h[0]);
    leave(&h[0]);
    ck_assert_uint_le(kept_of(s), (1 << 20) + (1 << 18));
    for (bool more = true; more;)
        more = get(s, &h[1], 1) && get(s, &h[2], 1);
    MUST(!get(s, &h[1], UINT32_MAX) && !get(s, &h[2], UINT32_MAX));
    leave(&h[1]); /* h[3] still has much to come */
    h[4] = join(s, FILES, 1);
    xd_blocks_came(s);
    MUST(!get(s, &h[4], UINT32_MAX) && !get(s, &h[3], UINT32_MAX));
    for (unsigned i = 2; i < 5; i++) {
        must_have_all(&h[i]);
        leave(&h[i]);
    }
    h[5] = join(s, FILES, 0);
    xd_blocks_came(s);
    MUST(!get(s, &h[5], UINT32_MAX));
    must_have_all(&h[5]);
    leave(&h[5]);
    xd_source_get_stats(s, &stats);
    ck_assert_uint_eq(stats.read_files, FILES);
    ck_assert_uint_eq(stats.read_bytes, whole.len);
    ck_assert_uint_eq(stats.blocks_again, 0);
    ck_assert_uint_gt(stats.blocks_spilled, 0);
    xd_source_free(s);
    ck_assert_int_eq(entries(in_world("mem")), 0);
}
END_TEST

/* Nothing can be written there: as if there were no file. */
START_TEST(no_place_for_a_file)
{
    xd_source_stats stats;
    put("taken", "x", 1);
    xd_source *s = begin_for(1 << 19, 2, in_world("taken"));
    host       fast = join(s, FILES, 0), slow = join(s, FILES, 0);
    MUST(get(s, &slow, 3));
    MUST(!get(s, &fast, UINT32_MAX) && !get(s, &slow, UINT32_MAX));
    must_have_all(&fast);
    must_have_all(&slow);
    leave(&fast);
    leave(&slow);
    xd_source_get_stats(s, &stats);
    ck_assert_uint_eq(stats.blocks_spilled, 0);
    ck_assert_uint_gt(stats.blocks_again, 0);
    xd_source_free(s);
}
END_TEST

START_TEST(stopped)
{
    xd_source *s = begin(1 << 20);
    xd_block  *b = NULL;
    host       h = join(s, FILES, 1);
    xd_source_stop(s);
    ck_assert_int_eq(xd_reader_next(h.reader, &b, NULL), -ECANCELED);
    leave(&h);
    xd_source_free(s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("blocks");
    TCase *t = tcase_create("blocks");
    tcase_add_checked_fixture(t, make, end);
    tcase_add_test(t, those_that_keep_up_share);
    tcase_add_test(t, those_that_lag_get_it_again);
    tcase_add_test(t, a_laggard_anywhere);
    tcase_add_test(t, one_that_comes_later);
    tcase_add_test(t, what_is_written_need_not_be_made_again);
    tcase_add_test(t, no_place_for_a_file);
    tcase_add_test(t, stopped);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
