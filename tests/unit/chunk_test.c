/* needs: sync. Chunks of files (sync/chunk.c): where they are cut, lists of them, and that what a pass finds makes the new version from the old one. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sync/chunk.h"

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint8_t *noise(size_t len, uint64_t seed)
{
    uint8_t *p = malloc(len + 8);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = next(&seed);
        memcpy(p + i, &v, 8);
    }
    return p;
}

typedef struct made {
    const uint8_t *base;
    size_t         base_len;
    xd_buf         out;
    uint64_t       literal;
    bool           gap;
} made;

static int on_piece(void *arg, uint64_t at, const uint8_t *data, uint64_t base_at, size_t len)
{
    made *m = arg;
    m->gap |= at != m->out.len || (!data && base_at + len > m->base_len);
    if (m->gap)
        return -EINVAL;
    m->literal += data ? len : 0;
    return xd_buf_add(&m->out, data ? data : m->base + base_at, len);
}

/* One pass, in windows of different lengths; ret_list gets the list. */
static void pass(const xd_chunker *c, const xd_chunk_list *base, const uint8_t *data, size_t len, size_t step,
                 made *m, xd_buf *ret_list)
{
    xd_delta d;
    ck_assert_int_eq(xd_delta_init(&d, c, base, len), 0);
    uint64_t from = 0, have = 0;
    do {
        have = XD_MIN(len, have + step);
        ck_assert_int_eq(
            xd_delta_feed(&d, data + from, from, (size_t)(have - from), have == len, on_piece, m), 0);
        from = XD_MIN(xd_delta_from(&d), have);
    } while (have < len);
    ck_assert(!m->gap);
    ck_assert_uint_eq(m->out.len, len);
    ck_assert(memcmp(m->out.data, data, len) == 0);
    ck_assert_int_eq(xd_delta_list(&d, ret_list), 0);
    xd_delta_release(&d);
}

/* Both versions through a pass; returns the bytes of the new one that are sent. The list must not depend on the windows. */
static uint64_t changed_bytes(const uint8_t *old, size_t old_len, const uint8_t *new, size_t new_len,
                              size_t step)
{
    xd_chunker    c;
    xd_chunk_list base;
    xd_autobuf    list = XD_BUF_INIT, list2 = XD_BUF_INIT, list3 = XD_BUF_INIT;
    made          first = { 0 }, second = { .base = old, .base_len = old_len }, third = { 0 };
    xd_chunker_init(&c);
    pass(&c, NULL, old, old_len, step, &first, &list);
    ck_assert_uint_eq(first.literal, old_len);
    ck_assert_int_eq(xd_chunk_list_read(xd_buf_view(&list), &base), 0);
    pass(&c, &base, new, new_len, step, &second, &list2);
    if (xd_chunk_class(old_len) == xd_chunk_class(new_len)) {
        pass(&c, NULL, new, new_len, step * 3 + 1, &third, &list3);
        ck_assert_uint_eq(list2.len, list3.len);
        ck_assert(memcmp(list2.data, list3.data, list2.len) == 0);
    }
    xd_buf_release(&first.out);
    xd_buf_release(&second.out);
    xd_buf_release(&third.out);
    return second.literal;
}

START_TEST(sizes_of_chunks)
{
    static const size_t lens[XD_CHUNK_CLASSES] = { 512u << 10, 4u << 20, 80u << 20 };
    xd_chunker          c;
    xd_chunker_init(&c);
    for (unsigned class = 0; class < XD_CHUNK_CLASSES; class ++) {
        size_t   len = lens[class], count = 0, bad = 0, average = 2048u << (class ? class + 1 : 0);
        uint8_t *data = noise(len, 7 + class);
        ck_assert_uint_eq(xd_chunk_class(len), class);
        for (size_t at = 0, n; at < len; at += n, count++) {
            n = xd_chunk_cut(&c, class, data + at, len - at);
            bad += n == 0 || n > xd_chunk_longest(class) || (at + n < len && n < average / 4);
        }
        ck_assert_uint_eq(bad, 0);
        ck_assert_uint_ge(len / count, average * 3 / 4);
        ck_assert_uint_le(len / count, average * 3 / 2);
        free(data);
    }
    ck_assert_uint_eq(xd_chunk_cut(&c, 0, NULL, 0), 0);
}
END_TEST

START_TEST(inserted_bytes_move_nothing_else)
{
    static const size_t lens[] = { 9000, 300u << 10, 3u << 20, 12u << 20 };
    for (size_t i = 0; i < XD_ARRAY_LEN(lens); i++) {
        size_t   len = lens[i], at = len / 3, more = 100;
        uint8_t *old = noise(len, 11), *extra = noise(more, 12), *new = malloc(len + more);
        memcpy(new, old, at);
        memcpy(new + at, extra, more);
        memcpy(new + at + more, old + at, len - at);
        uint64_t sent = changed_bytes(old, len, new, len + more, 100000);
        ck_assert_uint_ge(sent, more);
        ck_assert_uint_le(sent, 3ull * xd_chunk_longest(xd_chunk_class(len)));
        free(old);
        free(extra);
        free(new);
    }
}
END_TEST

/* 1 % of the 4-KiB blocks of a large file written anew: sync.md 2.6. */
START_TEST(blocks_changed_in_place)
{
    size_t   len = 32u << 20, blocks = len / 4096, changed = blocks / 100;
    uint8_t *old = noise(len, 21), *new = malloc(len);
    uint64_t seed = 22;
    memcpy(new, old, len);
    for (size_t i = 0; i < changed; i++) {
        size_t at = next(&seed) % blocks * 4096;
        for (size_t k = 0; k < 4096; k += 8) {
            uint64_t v = next(&seed);
            memcpy(new + at + k, &v, 8);
        }
    }
    uint64_t sent = changed_bytes(old, len, new, len, 128u << 10);
    ck_assert_uint_ge(sent, changed * 4000);
    ck_assert_uint_le(sent, changed * 8192); /* 2 % of the file */
    ck_assert_uint_eq(changed_bytes(old, len, old, len, 128u << 10), 0);
    free(old);
    free(new);
}
END_TEST

START_TEST(any_edits)
{
    for (uint64_t round = 1; round <= 60; round++) {
        uint64_t seed = round * 7919;
        size_t   len = XD_CHUNKED_MIN + next(&seed) % (round % 10 ? 200000 : 9u << 20), new_len = len;
        uint8_t *old = noise(len, seed), *new = malloc(len * 2 + 1);
        if (round % 4 == 0)
            memset(old + len / 4, 0, len / 2); /* many chunks that are the same */
        memcpy(new, old, len);
        for (unsigned edits = (unsigned)(next(&seed) % 6); edits; edits--) {
            size_t at = next(&seed) % new_len, n = next(&seed) % 5000;
            n = XD_MIN(n, new_len - at);
            if (new_len - n < 1)
                continue;
            switch (next(&seed) % 4) {
            case 0:
                memmove(new + at, new + at + n, new_len - at - n);
                new_len -= n;
                break;
            case 1:
                if (new_len + n < len * 2) {
                    memmove(new + at + n, new + at, new_len - at);
                    new_len += n;
                }
                break;
            case 2:
                memset(new + at, (int)edits, n);
                break;
            default: /* the parts change places */
                if (at) {
                    uint8_t *other = malloc(new_len);
                    memcpy(other, new + at, new_len - at);
                    memcpy(other + new_len - at, new, at);
                    memcpy(new, other, new_len);
                    free(other);
                }
            }
        }
        (void)changed_bytes(old, len, new, new_len, 1 + next(&seed) % 300000);
        free(old);
        free(new);
    }
}
END_TEST

START_TEST(lists_that_are_none)
{
    xd_chunker    c;
    xd_autobuf    list = XD_BUF_INIT;
    xd_chunk_list l;
    made          m = { 0 };
    size_t        len = 9u << 20, wrong = 0;
    uint8_t      *data = noise(len, 5);
    xd_chunker_init(&c);
    pass(&c, NULL, data, len, 100000, &m, &list);
    ck_assert_int_eq(xd_chunk_list_read(xd_buf_view(&list), &l), 0);
    ck_assert_uint_eq(l.size, len);
    ck_assert_uint_eq(l.blocks, len / XD_CHUNK_FIXED);
    for (size_t n = 0; n < list.len; n += n < 64 ? 1 : 997)
        wrong += xd_chunk_list_read((xd_bytes){ list.data, n }, &l) == 0;
    for (size_t i = 0; i < 20; i++) { /* size, count, blocks, class */
        list.data[i] ^= 0x55;
        wrong += xd_chunk_list_read(xd_buf_view(&list), &l) == 0;
        list.data[i] ^= 0x55;
    }
    ck_assert_uint_eq(wrong, 0);
    xd_buf_release(&m.out);
    free(data);
}
END_TEST

START_TEST(store)
{
    xd_chunk_store s = XD_CHUNK_STORE_INIT;
    size_t         wrong = 0;
    ck_assert_uint_eq(xd_chunk_store_find(&s, (xd_digest){ 1, 2 }).len, 0);
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t v[2] = { i, ~i };
        wrong += xd_chunk_store_add(&s, (xd_digest){ i / 2, i % 2 }, (xd_bytes){ (uint8_t *)v, 16 }) != 0;
        wrong += xd_chunk_store_add(&s, (xd_digest){ 0, 0 }, XD_BYTES_LIT("ignored")) != 0;
    }
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t v[2] = { i, ~i };
        wrong += !xd_bytes_eq(xd_chunk_store_find(&s, (xd_digest){ i / 2, i % 2 }),
                              (xd_bytes){ (uint8_t *)v, 16 });
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(xd_chunk_store_find(&s, (xd_digest){ 5000, 0 }).len, 0);
    xd_chunk_store_release(&s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("chunk");
    TCase *t = tcase_create("chunk");
    tcase_add_test(t, sizes_of_chunks);
    tcase_add_test(t, inserted_bytes_move_nothing_else);
    tcase_add_test(t, blocks_changed_in_place);
    tcase_add_test(t, any_edits);
    tcase_add_test(t, lists_that_are_none);
    tcase_add_test(t, store);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
