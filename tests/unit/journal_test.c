/* needs: nothing */
/* Journal: what was appended is read back; a torn or damaged end costs exactly the records it touches; faults
 * of the disk stop it for good. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/journal.h"
#include "tests/unit/often.h"

#define RUN_ID "0123456789abcdef0123456789abcdef"

/* Stands in front of libc's: counts, and fails on demand. */
static int syncs, sync_errno;
int        fdatasync(int fd)
{
    (void)fd;
    __atomic_fetch_add(&syncs, 1, __ATOMIC_RELAXED);
    errno = __atomic_load_n(&sync_errno, __ATOMIC_RELAXED);
    return errno ? -1 : 0;
}

static char folder[] = "/tmp/xd-journal-XXXXXX", path[64], copy[64];

static void setup(void)
{
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/journal", folder);
    snprintf(copy, sizeof(copy), "%s/copy", folder);
    syncs = sync_errno = 0;
}

static void teardown(void)
{
    unlink(path);
    unlink(copy);
    rmdir(folder);
}

/* Record i: a frame whose length and bytes follow from i. */
static size_t make_frame(uint32_t i, uint8_t *to)
{
    xd_frame f = { .len = (i * 37u) % 400u, .type = XD_MSG_RESULTS, .flags = 0x1234, .seq = i + 1 };
    xd_wire_put_header(to, &f);
    for (uint32_t k = 0; k < f.len; k++)
        to[XD_FRAME_HEADER + k] = (uint8_t)(i * 7 + k);
    return XD_FRAME_HEADER + f.len;
}

static void check_frame(uint32_t i, const xd_frame *f, uint16_t gateway)
{
    uint8_t want[512];
    size_t  len = make_frame(i, want);
    often_assert_uint_eq(f->len, len - XD_FRAME_HEADER);
    often_assert_uint_eq(f->seq, i + 1);
    often_assert_uint_eq(f->flags, gateway);
    often_assert_uint_eq(f->type, XD_MSG_RESULTS);
    if (f->len)
        often_assert(memcmp(f->body, want + XD_FRAME_HEADER, f->len) == 0);
}

/* Writes records first..first+count-1; ends[k] (NULL ok) = offset behind record k. */
static void append_all(xd_journal *j, uint32_t first, uint32_t count, uint64_t *ends)
{
    uint8_t frame[512];
    for (uint32_t i = first; i < first + count; i++) {
        uint64_t end;
        size_t   len = make_frame(i, frame);
        often_assert_int_eq(xd_journal_append(j, frame, len, (uint16_t)(i % 3), &end), 0);
        often_assert_uint_eq(end, xd_journal_end(j));
        if (ends)
            ends[i] = end;
    }
}

static void write_journal(uint32_t count, uint64_t *ends)
{
    xd_journal *j = NULL;
    xd_error    err;
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, false, &err), 0);
    append_all(j, 0, count, ends);
    xd_journal_close(j);
}

/* Reads from the start; returns the number of good records, each of them checked. */
static uint32_t read_all(const char *file, int *ret_last)
{
    xd_journal_reader *r = NULL;
    xd_error           err;
    xd_frame           f;
    uint32_t           n = 0;
    often_assert_int_eq(xd_journal_reader_open(&r, file, &err), 0);
    while ((*ret_last = xd_journal_reader_next(r, &f, NULL)) == 1) {
        check_frame(n, &f, (uint16_t)(n % 3));
        n++;
    }
    xd_journal_reader_close(r);
    return n;
}

START_TEST(what_is_appended_is_read_back)
{
    uint64_t           ends[300], at;
    xd_journal_reader *r = NULL;
    xd_error           err;
    xd_frame           f;
    int                last;
    write_journal(300, ends);
    ck_assert_uint_eq(read_all(path, &last), 300);
    ck_assert_int_eq(last, 0);
    ck_assert_int_eq(xd_journal_reader_open(&r, path, &err), 0);
    ck_assert_str_eq(xd_journal_reader_run_id(r), RUN_ID);
    for (uint32_t i = 0; i < 300; i++) {
        ck_assert_int_eq(xd_journal_reader_next(r, &f, &at), 1);
        ck_assert_uint_eq(at, i ? ends[i - 1] : XD_JOURNAL_HEADER);
        ck_assert_uint_eq(xd_journal_reader_offset(r), ends[i]);
        /* Looking back leaves the position and the frame of `next` alone. */
        xd_frame old;
        uint32_t k = (i * 31) % (i + 1);
        ck_assert_int_eq(xd_journal_reader_at(r, k ? ends[k - 1] : XD_JOURNAL_HEADER, &old), 0);
        check_frame(k, &old, (uint16_t)(k % 3));
        check_frame(i, &f, (uint16_t)(i % 3));
    }
    ck_assert_int_eq(xd_journal_reader_at(r, ends[299], &f), -ENOENT);
    ck_assert_int_lt(xd_journal_reader_at(r, ends[100] + 1, &f), 0);
    xd_journal_reader_close(r);
}
END_TEST

START_TEST(a_record_of_the_largest_frame)
{
    xd_journal        *j = NULL;
    xd_journal_reader *r = NULL;
    xd_error           err;
    xd_frame           f = { .len = XD_FRAME_MAX, .type = XD_MSG_OUTPUT, .seq = 1 }, got;
    uint8_t           *big = malloc(XD_FRAME_HEADER + XD_FRAME_MAX);
    memset(big, 0x5a, XD_FRAME_HEADER + XD_FRAME_MAX);
    xd_wire_put_header(big, &f);
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, false, &err), 0);
    ck_assert_int_eq(xd_journal_append(j, big, XD_FRAME_HEADER + XD_FRAME_MAX, 0, NULL), 0);
    ck_assert_int_eq(xd_journal_reader_open(&r, path, &err), 0);
    ck_assert_int_eq(xd_journal_reader_next(r, &got, NULL), 1);
    ck_assert_uint_eq(got.len, XD_FRAME_MAX);
    ck_assert_mem_eq(got.body, big + XD_FRAME_HEADER, XD_FRAME_MAX);
    xd_journal_reader_close(r);
    xd_journal_close(j);
    free(big);
}
END_TEST

START_TEST(other_files_are_refused)
{
    xd_journal        *j = NULL;
    xd_journal_reader *r = NULL;
    xd_error           err;
    ck_assert_int_eq(xd_journal_reader_open(&r, path, &err), -ENOENT);
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, true, &err), -ENOENT);
    /* A failed open must not close descriptors that are not its own. */
    ck_assert_int_ge(fcntl(0, F_GETFD), 0);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, "hello", 5), 5);
    ck_assert_int_eq(xd_journal_reader_open(&r, path, &err), -EPROTO);
    ck_assert_int_eq(ftruncate(fd, 100), 0);
    close(fd);
    ck_assert_int_eq(xd_journal_reader_open(&r, path, &err), -EPROTO);
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, false, &err), -EEXIST);
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, true, &err), -EPROTO);
    ck_assert_int_ge(fcntl(0, F_GETFD), 0);
    unlink(path);
    write_journal(1, NULL);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "\xff", 1, 8), 1); /* version */
    close(fd);
    ck_assert_int_eq(xd_journal_reader_open(&r, path, &err), -EPROTO);
    ck_assert_ptr_nonnull(strstr(err.text, "version"));
}
END_TEST

#define TAIL_BYTES 4096u
#define RECORDS 120u

static uint8_t *load(size_t *ret_len)
{
    struct stat st;
    int         fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(fstat(fd, &st), 0);
    uint8_t *bytes = malloc((size_t)st.st_size);
    ck_assert_int_eq(read(fd, bytes, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return bytes;
}

static void store(const uint8_t *bytes, size_t len)
{
    int fd = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    often_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

START_TEST(cut_off_at_every_byte_of_the_end)
{
    uint64_t ends[RECORDS];
    size_t   len;
    write_journal(RECORDS, ends);
    uint8_t *bytes = load(&len);
    ck_assert_uint_eq(len, ends[RECORDS - 1]);
    for (size_t cut = len - TAIL_BYTES; cut < len; cut++) {
        xd_journal_check c;
        xd_error         err;
        uint32_t         whole = 0;
        int              last;
        while (ends[whole] <= cut)
            whole++;
        store(bytes, cut);
        often_assert_uint_eq(read_all(copy, &last), whole);
        often_assert_int_eq(last, 0); /* not damaged: not yet there */
        often_assert_int_eq(xd_journal_verify(copy, false, &c, &err), 0);
        often_assert_uint_eq(c.records, whole);
        often_assert_uint_eq(c.good_bytes, ends[whole - 1]);
        often_assert_uint_eq(c.bad_bytes, cut - ends[whole - 1]);
        often_assert_int_eq(xd_journal_verify(copy, true, &c, &err), 0);
        struct stat st;
        often_assert_int_eq(stat(copy, &st), 0);
        often_assert_uint_eq((uint64_t)st.st_size, ends[whole - 1]);
        if (cut % 199 == 0) { /* and it can be written on */
            xd_journal *j = NULL;
            store(bytes, cut);
            often_assert_int_eq(xd_journal_open(&j, copy, RUN_ID, true, &err), 0);
            append_all(j, whole, RECORDS - whole, NULL);
            xd_journal_close(j);
            often_assert_uint_eq(read_all(copy, &last), RECORDS);
        }
    }
    free(bytes);
}
END_TEST

START_TEST(a_bit_flipped_at_every_byte_of_the_end)
{
    uint64_t ends[RECORDS];
    size_t   len;
    write_journal(RECORDS, ends);
    uint8_t *bytes = load(&len);
    store(bytes, len);
    int fd = open(copy, O_WRONLY | O_CLOEXEC);
    for (size_t at = len - TAIL_BYTES; at < len; at++)
        for (int bit = (int)(at % 3); bit < 8; bit += 3) {
            uint8_t  bad = (uint8_t)(bytes[at] ^ (1u << bit));
            uint32_t whole = 0;
            int      last;
            while (ends[whole] <= at)
                whole++;
            often_assert_int_eq(pwrite(fd, &bad, 1, (off_t)at), 1);
            xd_journal_check c;
            xd_error         err;
            often_assert_int_eq(xd_journal_verify(copy, false, &c, &err), 0);
            often_assert_uint_eq(c.records, whole);
            often_assert_uint_eq(c.bad_bytes, len - ends[whole - 1]);
            if (at % 7 == 0)
                often_assert_uint_eq(read_all(copy, &last), whole);
            often_assert_int_eq(pwrite(fd, &bytes[at], 1, (off_t)at), 1);
        }
    close(fd);
    free(bytes);
}
END_TEST

START_TEST(good_records_in_a_wrong_place_do_not_count)
{
    uint64_t ends[RECORDS];
    size_t   len;
    int      last;
    write_journal(RECORDS, ends);
    uint8_t *bytes = load(&len);
    /* A copy of the last record behind itself: right but for its place. */
    size_t   last_len = (size_t)(ends[RECORDS - 1] - ends[RECORDS - 2]);
    uint8_t *twice = malloc(len + last_len + 4096);
    memcpy(twice, bytes, len);
    memcpy(twice + len, bytes + ends[RECORDS - 2], last_len);
    store(twice, len + last_len);
    ck_assert_uint_eq(read_all(copy, &last), RECORDS);
    ck_assert_int_eq(last, -EPROTO);
    /* What a power loss leaves on some file systems: zeros. */
    memset(twice + len, 0, 4096);
    store(twice, len + 4096);
    ck_assert_uint_eq(read_all(copy, &last), RECORDS);
    ck_assert_int_eq(last, -EPROTO);
    free(twice);
    free(bytes);
}
END_TEST

START_TEST(a_reader_follows_a_writer)
{
    xd_journal        *j = NULL;
    xd_journal_reader *r = NULL;
    xd_error           err;
    xd_frame           f;
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, false, &err), 0);
    ck_assert_int_eq(xd_journal_reader_open(&r, path, &err), 0);
    ck_assert_int_eq(xd_journal_reader_next(r, &f, NULL), 0);
    for (uint32_t i = 0; i < 500; i++) {
        append_all(j, i, 1, NULL);
        ck_assert_int_eq(xd_journal_reader_next(r, &f, NULL), 1); /* at once, not only when durable */
        check_frame(i, &f, (uint16_t)(i % 3));
        ck_assert_int_eq(xd_journal_reader_next(r, &f, NULL), 0);
    }
    xd_journal_reader_close(r);
    xd_journal_close(j);
}
END_TEST

START_TEST(a_reader_waits_for_the_rest_of_a_record)
{
    uint64_t           ends[20];
    size_t             len;
    xd_journal_reader *r = NULL;
    xd_error           err;
    xd_frame           f;
    uint32_t           seen = 0;
    write_journal(20, ends);
    uint8_t *bytes = load(&len);
    store(bytes, XD_JOURNAL_HEADER);
    ck_assert_int_eq(xd_journal_reader_open(&r, copy, &err), 0);
    int fd = open(copy, O_WRONLY | O_APPEND | O_CLOEXEC);
    for (size_t at = XD_JOURNAL_HEADER; at < len; at++) {
        often_assert_int_eq(write(fd, bytes + at, 1), 1);
        int got = xd_journal_reader_next(r, &f, NULL);
        often_assert_int_eq(got, at + 1 == ends[seen]);
        if (got)
            check_frame(seen, &f, (uint16_t)(seen % 3));
        seen += (uint32_t)got;
    }
    ck_assert_uint_eq(seen, 20);
    close(fd);
    xd_journal_reader_close(r);
    free(bytes);
}
END_TEST

static bool wait_durable(const xd_journal *j, uint64_t offset, int ms)
{
    uint64_t end = xd_clock_ns() + (unsigned)ms * XD_MS_NS;
    while (xd_journal_durable(j) < offset && xd_clock_ns() < end) {
        struct pollfd p = { .fd = xd_journal_commit_fd(j), .events = POLLIN };
        uint64_t      n;
        if (poll(&p, 1, 10) > 0)
            ck_assert_int_eq(read(p.fd, &n, sizeof(n)), (ssize_t)sizeof(n));
    }
    return xd_journal_durable(j) >= offset;
}

START_TEST(commits_are_made_in_groups)
{
    xd_journal *j = NULL;
    xd_error    err;
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, false, &err), 0);
    append_all(j, 0, 5000, NULL);
    ck_assert(wait_durable(j, xd_journal_end(j), 5000));
    int n = __atomic_load_n(&syncs, __ATOMIC_RELAXED);
    ck_assert_int_ge(n, 1);
    ck_assert_int_le(n, 5000 / 50);
    /* One record alone is durable soon, too. */
    uint64_t since = xd_clock_ns();
    append_all(j, 5000, 1, NULL);
    ck_assert(wait_durable(j, xd_journal_end(j), 5000));
    ck_assert_uint_lt(xd_clock_ns() - since, 1000 * XD_MS_NS);
    append_all(j, 5001, 1, NULL);
    xd_journal_close(j); /* commits what is left */
    ck_assert_int_gt(__atomic_load_n(&syncs, __ATOMIC_RELAXED), n);
}
END_TEST

START_TEST(after_a_failed_sync_nothing_is_taken)
{
    xd_journal *j = NULL;
    xd_error    err;
    uint8_t     frame[512];
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, false, &err), 0);
    append_all(j, 0, 10, NULL);
    ck_assert(wait_durable(j, xd_journal_end(j), 5000));
    uint64_t durable = xd_journal_durable(j);
    __atomic_store_n(&sync_errno, EIO, __ATOMIC_RELAXED);
    append_all(j, 10, 1, NULL);
    ck_assert(!wait_durable(j, xd_journal_end(j), 300));
    ck_assert_int_eq(xd_journal_fault(j), -EIO);
    int n = __atomic_load_n(&syncs, __ATOMIC_RELAXED);
    __atomic_store_n(&sync_errno, 0, __ATOMIC_RELAXED); /* the disk pretends to be well again */
    ck_assert_int_eq(xd_journal_append(j, frame, make_frame(11, frame), 0, NULL), -EIO);
    ck_assert(!wait_durable(j, durable + 1, 100));
    xd_journal_close(j);
    ck_assert_int_eq(__atomic_load_n(&syncs, __ATOMIC_RELAXED), n);
}
END_TEST

/* Appends until it fails; what was taken before is there, the fault stays although there is room again. */
static void fill_up(int want, void (*make_room)(void))
{
    xd_journal *j = NULL;
    xd_error    err;
    uint8_t     frame[512];
    uint32_t    n = 0;
    int         r, last;
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, false, &err), 0);
    while ((r = xd_journal_append(j, frame, make_frame(n, frame), (uint16_t)(n % 3), NULL)) == 0)
        ck_assert_uint_lt(++n, 100000);
    ck_assert_int_eq(r, want);
    make_room();
    ck_assert_int_eq(xd_journal_append(j, frame, make_frame(n, frame), 0, NULL), want);
    ck_assert_int_eq(xd_journal_fault(j), want);
    xd_journal_close(j);
    ck_assert_uint_eq(read_all(path, &last), n);
    ck_assert_int_eq(xd_journal_open(&j, path, RUN_ID, true, &err), 0);
    append_all(j, n, 3, NULL);
    xd_journal_close(j);
    ck_assert_uint_eq(read_all(path, &last), n + 3);
}

static void lift_limit(void)
{
    struct rlimit l = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

START_TEST(a_file_at_its_size_limit)
{
    struct rlimit l;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
    if (l.rlim_max != RLIM_INFINITY)
        return;
    signal(SIGXFSZ, SIG_IGN);
    l.rlim_cur = 10000;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
    fill_up(-EFBIG, lift_limit);
}
END_TEST

static void remount_larger(void)
{
    ck_assert_int_eq(mount("xd", folder, "tmpfs", MS_REMOUNT, "size=1m"), 0);
}

START_TEST(a_full_disk)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("xd", folder, "tmpfs", 0, "size=64k") < 0) {
        printf("a_full_disk: skipped, no file system can be mounted here: %s\n", strerror(errno));
        return;
    }
    fill_up(-ENOSPC, remount_larger);
    unlink(path);
    ck_assert_int_eq(umount(folder), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("journal");
    TCase *t = tcase_create("journal");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_is_appended_is_read_back);
    tcase_add_test(t, a_record_of_the_largest_frame);
    tcase_add_test(t, other_files_are_refused);
    tcase_add_test(t, cut_off_at_every_byte_of_the_end);
    tcase_add_test(t, a_bit_flipped_at_every_byte_of_the_end);
    tcase_add_test(t, good_records_in_a_wrong_place_do_not_count);
    tcase_add_test(t, a_reader_follows_a_writer);
    tcase_add_test(t, a_reader_waits_for_the_rest_of_a_record);
    tcase_add_test(t, commits_are_made_in_groups);
    tcase_add_test(t, after_a_failed_sync_nothing_is_taken);
    tcase_add_test(t, a_file_at_its_size_limit);
    tcase_add_test(t, a_full_disk);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
