/* faults: engine/journal.c */
/* The journal's writer and its committer at their worst moments: the writer is held at a place that journal.c
 * names (XD_FAULT) until the committer has come where it should not be. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/fault.h"
#include "engine/journal.h"

#define RUN_ID "0123456789abcdef0123456789abcdef"

static char        path[] = "/tmp/xd-journal-race-XXXXXX/journal";
static xd_journal *journal;
static bool        held; /* the next XD_FAULT of the writer is the one */
static uint64_t    until;

static bool wait_durable(uint64_t offset)
{
    uint64_t deadline = xd_clock_ns() + 10 * XD_S_NS;
    while (xd_journal_durable(journal) < offset && xd_clock_ns() < deadline)
        usleep(500);
    return xd_journal_durable(journal) >= offset;
}

/* The writer has written its record and not said so: let the committer finish all that it knows of, and fall asleep. */
void xd_fault(const char *site)
{
    if (!held || strcmp(site, "journal: written, not told") != 0)
        return;
    held = false;
    ck_assert(wait_durable(until));
    usleep(5 * XD_JOURNAL_COMMIT_MS * 1000);
}

static void append(uint64_t *ret_end)
{
    uint8_t  frame[XD_FRAME_HEADER + 8] = { 0 };
    xd_frame f = { .len = 8, .type = XD_MSG_RESULTS, .seq = 1 };
    xd_wire_put_header(frame, &f);
    ck_assert_int_eq(xd_journal_append(journal, frame, sizeof(frame), 0, ret_end), 0);
}

START_TEST(a_record_beside_the_end_of_a_commit_is_committed)
{
    xd_error err = { 0 };
    char    *slash = strrchr(path, '/');
    *slash = 0;
    ck_assert_ptr_nonnull(mkdtemp(path));
    *slash = '/';
    ck_assert_int_eq(xd_journal_open(&journal, path, RUN_ID, false, &err), 0);
    for (int round = 0; round < 3; round++) {
        uint64_t end;
        append(&until);
        held = true; /* the committer gathers, or syncs, the record before: it is not idle */
        append(&end);
        ck_assert(!held);
        ck_assert_msg(wait_durable(end), "round %d: the committer sleeps, and a record waits for it", round);
    }
    xd_journal_close(journal);
    unlink(path);
    *slash = 0;
    rmdir(path);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("journal_race");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_record_beside_the_end_of_a_commit_is_committed);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
