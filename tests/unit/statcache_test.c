/* needs: sync. The stat cache: what it finds again, what it takes for no cache, and when an entry can be trusted. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/path.h"
#include "sync/hash.h"

#define MANY 5000u
static char folder[64], path[128];

static void setup(void)
{
    memcpy(folder, "/tmp/xd-statcache-XXXXXX", 25);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/deep/er/cache", folder);
}

static void teardown(void)
{
    (void)xd_path_remove_tree(folder);
}

static xd_stat stat_number(uint64_t i)
{
    return (xd_stat){ .dev = (uint32_t)(i % 3),
                      .ino = i * i,
                      .size = i % 7,
                      .mtime_ns = -(int64_t)i,
                      .ctime_ns = 5,
                      .mode = 0100644 };
}

static void write_many(void)
{
    xd_statcache *c = NULL;
    unsigned      bad = 0;
    ck_assert_int_eq(xd_statcache_new(&c, path), 0);
    for (uint64_t i = 1; i <= MANY; i++) {
        xd_stat st = stat_number(i);
        bad += xd_statcache_add(c, &st, (xd_digest){ i, ~i }) != 0;
    }
    ck_assert_uint_eq(bad, 0);
    ck_assert_int_eq(xd_statcache_save(c), 0);
    xd_statcache_free(c);
}

static unsigned found(xd_statcache *c, uint64_t from, uint64_t to)
{
    unsigned n = 0;
    for (uint64_t i = from; i <= to; i++) {
        xd_stat   st = stat_number(i);
        xd_digest id = { 0 };
        n += xd_statcache_find(c, &st, &id) && id.lo == i && id.hi == ~i;
    }
    return n;
}

static unsigned found_in_file(void)
{
    xd_statcache *c = NULL;
    ck_assert_int_eq(xd_statcache_new(&c, path), 0);
    unsigned n = found(c, 1, MANY);
    xd_statcache_free(c);
    return n;
}

START_TEST(found_again)
{
    struct stat   st;
    xd_statcache *c = NULL;
    xd_digest     id;
    ck_assert_uint_eq(found_in_file(), 0); /* there is none yet */
    write_many();
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ck_assert_uint_eq(found_in_file(), MANY);
    ck_assert_int_eq(xd_statcache_new(&c, path), 0);
    for (size_t field = 0; field < sizeof(xd_stat);
         field += sizeof(uint32_t)) { /* each of them counts, and every half */
        xd_stat   one = stat_number(77), was = one;
        uint32_t *at = (uint32_t *)(void *)((uint8_t *)&one + field);
        ck_assert(xd_statcache_find(c, &one, &id));
        *at += 1;
        ck_assert(!xd_stat_eq(&one, &was));
        ck_assert(!xd_statcache_find(c, &one, &id));
    }
    ck_assert_uint_eq(sizeof(xd_stat), 5 * sizeof(uint64_t)); /* nothing fills it up */
    xd_statcache_free(c);
}
END_TEST

START_TEST(written_only_when_something_is_new)
{
    struct stat   before, after;
    xd_statcache *c = NULL;
    write_many();
    ck_assert_int_eq(stat(path, &before), 0);
    ck_assert_int_eq(xd_statcache_new(&c, path), 0);
    ck_assert_uint_eq(found(c, 1, 10), 10);
    ck_assert_int_eq(xd_statcache_save(c), 1);
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    xd_stat st = stat_number(MANY + 1);
    ck_assert_int_eq(xd_statcache_add(c, &st, (xd_digest){ MANY + 1, ~(uint64_t)(MANY + 1) }), 0);
    ck_assert_int_eq(xd_statcache_save(c), 0);
    xd_statcache_free(c);
    ck_assert_int_eq(xd_statcache_new(&c, path), 0); /* what nobody asked for is not kept */
    ck_assert_uint_eq(found(c, 1, MANY + 1), 11);
    xd_statcache_free(c);
}
END_TEST

static void rewrite(const xd_buf *b, size_t len)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, b->data, len), (ssize_t)len);
    close(fd);
}

START_TEST(damaged)
{
    xd_autobuf b = XD_BUF_INIT;
    write_many();
    ck_assert_int_eq(xd_path_read_file(path, 1u << 26, &b, NULL), 0);
    for (size_t at = 0; at < b.len; at += at < 64 ? 1 : b.len / 37) {
        b.data[at] ^= 0x10;
        rewrite(&b, b.len);
        ck_assert_uint_eq(found_in_file(), 0);
        b.data[at] ^= 0x10;
    }
    for (size_t len = 0; len < b.len; len += len < 64 ? 1 : b.len / 37) {
        rewrite(&b, len);
        ck_assert_uint_eq(found_in_file(), 0);
    }
    rewrite(&b, b.len - 1);
    ck_assert_uint_eq(found_in_file(), 0);
    ck_assert_int_eq(xd_buf_add_byte(&b, 0), 0);
    rewrite(&b, b.len);
    ck_assert_uint_eq(found_in_file(), 0);
    write_many(); /* and it is replaced */
    ck_assert_uint_eq(found_in_file(), MANY);
}
END_TEST

START_TEST(not_a_file)
{
    xd_statcache *c = NULL;
    xd_stat       st = stat_number(1);
    snprintf(path, sizeof(path), "%s/fifo", folder);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_uint_eq(found_in_file(), 0); /* and nobody waits for its writer */
    snprintf(path, sizeof(path), "%s/fifo/cache", folder);
    ck_assert_int_eq(xd_statcache_new(&c, path), 0);
    ck_assert_int_eq(xd_statcache_add(c, &st, (xd_digest){ 0 }), 0);
    ck_assert_int_lt(xd_statcache_save(c), 0);
    xd_statcache_free(c);
    ck_assert_int_eq(xd_statcache_new(&c, NULL), 0);
    ck_assert_int_eq(xd_statcache_add(c, &st, (xd_digest){ 0 }), 0);
    ck_assert_int_eq(xd_statcache_save(c), 1);
    xd_statcache_free(c);
}
END_TEST

START_TEST(clock_of_the_file_system)
{
    xd_statclock     before, after;
    xd_stat          st;
    xd_autoclose int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    xd_statclock_probe(fd, &before);
    xd_autoclose int file = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(xd_stat_at(fd, "file", &st), 0);
    ck_assert(!xd_statclock_trusts(&before, &st));
    do { /* it is, once it was left alone for long enough */
        poll(NULL, 0, 5);
        xd_statclock_probe(fd, &after);
    } while (!xd_statclock_trusts(&after, &st));
    ck_assert_int_gt(after.trusted_ns, st.ctime_ns);
    ck_assert_int_ge(after.trusted_ns - before.trusted_ns, 20 * (int64_t)XD_MS_NS); /* the margin, at least */
    xd_stat mtime = st, ctime = st; /* either of them is enough to be in doubt */
    mtime.mtime_ns = after.trusted_ns;
    ctime.ctime_ns = after.trusted_ns;
    ck_assert(!xd_statclock_trusts(&after, &mtime) && !xd_statclock_trusts(&after, &ctime));
    ck_assert_int_eq(unlinkat(fd, "file", 0), 0);
    ck_assert_int_eq(rmdir(folder), 0);                                /* so the probes left nothing */
    int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* where no file can be made */
    xd_statclock_probe(proc, &after);
    ck_assert_int_lt(after.trusted_ns, (int64_t)xd_clock_wall_us() * 1000 - 599 * (int64_t)XD_S_NS);
    close(proc);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("statcache");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, found_again);
    tcase_add_test(all, written_only_when_something_is_new);
    tcase_add_test(all, damaged);
    tcase_add_test(all, not_a_file);
    tcase_add_test(all, clock_of_the_file_system);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
