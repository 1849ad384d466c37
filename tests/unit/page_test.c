#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/base/page.h"

START_TEST(starts_empty)
{
    xd_page p;
    ck_assert_int_eq(xd_page_create(&p, 5), 0);
    ck_assert_uint_eq(p.head->magic, XD_PAGE_MAGIC);
    ck_assert_uint_eq(p.head->version, XD_PAGE_VERSION);
    ck_assert_uint_eq(p.head->slots, 5);
    ck_assert_int_eq(fcntl(p.fd, F_GETFD), FD_CLOEXEC);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_uint_eq(p.slot[i].claimed, 0);
        ck_assert_uint_eq(p.slot[i].limit, 0);
    }
    xd_page_release(&p);
    ck_assert_int_eq(p.fd, -1);
    xd_page_release(&p);
}
END_TEST

/* The offsets that the Python side has in ARCHITECTURE.md, seen through a mapping of its own. */
START_TEST(layout)
{
    xd_page p;
    ck_assert_int_eq(xd_page_create(&p, 3), 0);
    p.head->maxfail = 11;
    p.head->stop = 12;
    p.head->failures_elsewhere = 13;
    p.slot[2] = (xd_page_slot){ .claimed = 1,
                                .limit = 2,
                                .failures = 3,
                                .item_plus_1 = 4,
                                .since_ns = 5,
                                .done = 6,
                                .incarnation = 7,
                                .pid = 8,
                                .runs = 9 };
    const uint32_t *w = mmap(NULL, 4 * 64, PROT_READ, MAP_SHARED, p.fd, 0);
    ck_assert_ptr_ne(w, MAP_FAILED);
    ck_assert_uint_eq(w[0], 0x58445047);
    ck_assert_uint_eq(w[3], 11);
    ck_assert_uint_eq(w[4], 12);
    ck_assert_uint_eq(w[5], 13);
    static const uint32_t want[] = { 1, 2, 3, 4, 5, 0, 6, 7, 8, 9 };
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq(w[3 * 16 + i], want[i]);
    munmap((void *)(uintptr_t)w, 4 * 64);
    xd_page_release(&p);
}
END_TEST

enum { ROUNDS = 2000 };

typedef struct race {
    xd_page  page;
    uint32_t claimed_by_worker, round_done;
} race;

/* The worker's side as Python does it: claim with a plain store, then look at the limit. Only the compiler is
 * held back. */
static void *worker(void *arg)
{
    race *r = arg;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        while (__atomic_load_n(&r->round_done, __ATOMIC_ACQUIRE) < round - 1)
            ;
        volatile uint32_t *claimed = &r->page.slot[0].claimed, *limit = &r->page.slot[0].limit;
        uint32_t           position = 0;
        for (;;) {
            *claimed = position + 1;
            __asm__ volatile("" ::: "memory");
            if (position >= *limit) {
                *claimed = position;
                break;
            }
            position++;
        }
        r->claimed_by_worker = position;
        __atomic_store_n(&r->round_done, round, __ATOMIC_RELEASE);
        while (xd_page_get(&r->page.slot[0].limit) != UINT32_MAX)
            ;
    }
    return NULL;
}

/* What the agent takes back is never started by the worker: it starts at most what `claimed` said after the
 * barrier. */
START_TEST(taking_back)
{
    race      r = { .claimed_by_worker = 0 };
    pthread_t t;
    ck_assert_int_eq(xd_page_create(&r.page, 1), 0);
    r.page.slot[0].limit = UINT32_MAX;
    ck_assert_int_eq(pthread_create(&t, NULL, worker, &r), 0);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        uint32_t limit = round * 7;
        while (xd_page_get(&r.page.slot[0].claimed) == 0)
            ;
        xd_page_set(&r.page.slot[0].limit, limit);
        xd_page_barrier();
        uint32_t kept = xd_page_get(&r.page.slot[0].claimed);
        while (__atomic_load_n(&r.round_done, __ATOMIC_ACQUIRE) < round)
            ;
        ck_assert_uint_le(r.claimed_by_worker, kept > limit ? kept : limit);
        xd_page_set(&r.page.slot[0].claimed, 0);
        xd_page_set(&r.page.slot[0].limit, UINT32_MAX);
    }
    pthread_join(t, NULL);
    xd_page_release(&r.page);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("page");
    TCase *c = tcase_create("page");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, starts_empty);
    tcase_add_test(c, layout);
    tcase_add_test(c, taking_back);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
