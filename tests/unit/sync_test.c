/* needs: sync. cases: tree edits cuts */
/* A whole synchronisation, both halves: what stands there is what stands here, however it was changed, and however the one before ended. */
#include "tests/unit/sync_world.h"

static void make_tree(uint64_t seed, unsigned edits)
{
    put("src/.gitignore", "*.o\n", 4);
    for (unsigned i = 0; i < edits; i++)
        edit("src", &seed);
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(in_world(path), &st) == 0;
}

START_TEST(first_copy_then_nothing)
{
    make_tree(77, 150);
    destination d = { .name = "dst" };
    sync_well(&d);
    must_be_equal("src", "dst");
    ck_assert_uint_le(d.counts.round_trips, 2);
    ck_assert_uint_gt(d.counts.sent_files, 4);
    destination again = { .name = "dst" };
    sync_well(&again);
    ck_assert_uint_eq(again.counts.round_trips, 1);
    ck_assert_uint_le(again.counts.wire_bytes + again.counts.wire_back_bytes, 100);
    ck_assert_uint_eq(again.counts.sent_bytes, 0);
}
END_TEST

START_TEST(a_change_takes_one_round_trip)
{
    make_tree(78, 150);
    put_content("src/large", 300000, 1, false);
    destination d = { .name = "dst" };
    sync_well(&d);
    uint8_t *p = content(300000, 1, false);
    memcpy(p + 100000, "this is new", 11);
    put("src/large", p, 300000);
    free(p);
    put("src/small", "new", 3);
    destination again = { .name = "dst" };
    sync_well(&again);
    must_be_equal("src", "dst");
    ck_assert_uint_eq(again.counts.round_trips, 1);
    ck_assert_uint_eq(again.counts.sent_files, 2);
    ck_assert_uint_lt(again.counts.sent_bytes, 9000); /* a chunk of it */
    ck_assert_uint_lt(again.counts.wire_bytes, 10000);
}
END_TEST

START_TEST(a_moved_file_moves_no_data)
{
    put_content("src/large", 300000, 1, false);
    MUST(mkdir(in_world("src/sub"), 0755) == 0);
    put_content("src/sub/other", 50000, 2, false);
    destination d = { .name = "dst" };
    sync_well(&d);
    MUST(rename(in_world("src/large"), in_world("src/sub/moved")) == 0);
    MUST(rename(in_world("src/sub"), in_world("src/bus")) == 0);
    destination again = { .name = "dst" };
    sync_well(&again);
    must_be_equal("src", "dst");
    ck_assert_uint_eq(again.counts.sent_bytes, 0);
    ck_assert_uint_eq(again.counts.reused, 2);
    ck_assert_uint_eq(again.counts.round_trips, 1);
    ck_assert_uint_lt(again.counts.wire_bytes, 1000);
}
END_TEST

START_TEST(either_end_forgets)
{
    make_tree(79, 100);
    destination d = { .name = "dst" };
    sync_well(&d);
    MUST(xd_path_remove_tree(in_world("mem")) == 0);
    destination lost_memory = { .name = "dst" };
    sync_well(&lost_memory);
    must_be_equal("src", "dst");
    ck_assert_uint_eq(lost_memory.counts.sent_bytes, 0);
    destination same = { .name = "dst" };
    sync_well(&same); /* it is remembered again */
    ck_assert_uint_le(same.counts.wire_bytes, 100);

    MUST(unlink(in_world("dst/.xd-sync")) == 0);
    put("src/new file", "new", 3);
    destination lost_state = { .name = "dst" };
    sync_well(&lost_state);
    must_be_equal("src", "dst");
    ck_assert_uint_le(lost_state.counts.round_trips, 3);

    MUST(xd_path_remove_tree(in_world("dst")) == 0); /* all of it is gone there */
    destination lost_all = { .name = "dst" };
    sync_well(&lost_all);
    must_be_equal("src", "dst");
    put("src/new file", "newer", 5);
    MUST(xd_path_remove_tree(in_world("dst")) == 0);
    destination changed_too = { .name = "dst" };
    sync_well(&changed_too);
    must_be_equal("src", "dst");
}
END_TEST

START_TEST(what_was_spoilt_there_is_mended)
{
    make_tree(80, 60);
    put("src/x.py", "source", 6);
    put_content("src/large", 100000, 4, false);
    destination d = { .name = "dst" };
    sync_well(&d);
    put("dst/x.py", "spoilt", 6);
    put("dst/kept.o", "object", 6);
    MUST(unlink(in_world("dst/large")) == 0);
    destination again = { .name = "dst" };
    sync_well(&again);
    must_be_equal("src", "dst");
    ck_assert(exists("dst/kept.o"));
    ck_assert_uint_eq(again.counts.sent_files, 2);
}
END_TEST

/* What is gone here, and would be ignored if it was not, stays there; and what was never brought. */
START_TEST(what_is_ignored_stays)
{
    put("src/a.log", "log", 3);
    put("src/b.py", "py", 2);
    destination d = { .name = "dst" };
    sync_well(&d);
    put("src/.gitignore", "*.log\n", 6);
    put("dst/unknown", "unknown", 7);
    MUST(unlink(in_world("src/b.py")) == 0);
    destination again = { .name = "dst" };
    sync_well(&again);
    ck_assert(exists("dst/a.log"));
    ck_assert(exists("dst/unknown"));
    ck_assert(!exists("dst/b.py"));
    destination all = { .name = "dst", .flags = XD_SYNC_FLAG_DELETE };
    sync_well(&all);
    ck_assert(exists("dst/a.log"));
    ck_assert(!exists("dst/unknown"));
}
END_TEST

/* The user named it, so what it leads to is brought, as a folder of that name. */
START_TEST(a_root_that_is_a_link)
{
    const char *const        roots[] = { "way/p", NULL };
    xd_source               *s = NULL;
    xd_error                 err = { 0 };
    destination              d = { .name = "dst" };
    static const char *const folders[] = { "src/way", "src/store", "src/store/pkg", "src/store/pkg/sub" };
    for (size_t i = 0; i < XD_ARRAY_LEN(folders); i++)
        MUST(mkdir(in_world(folders[i]), 0755) == 0);
    put("src/store/pkg/sub/f", "data", 4);
    put("src/way/other", "other", 5);
    MUST(symlink("../store/pkg", in_world("src/way/p")) == 0);
    xd_source_args args = { .scan = { .roots = roots, .base = in_world("src"), .threads = 2 } };
    if (xd_source_new(&s, &args, &err) < 0)
        ck_abort_msg("%s", err.text);
    destination_start(&d, s);
    destination_wait(&d);
    xd_source_free(s);
    ck_assert_msg(d.result == 0, "%s", d.err.text);
    ck_assert(same_content(in_world("dst/way/p/sub/f"), in_world("src/store/pkg/sub/f")));
    ck_assert(!exists("dst/way/other") && !exists("dst/store"));
    destination_forget(&d);
}
END_TEST

START_TEST(dry_run)
{
    make_tree(81, 30);
    destination d = { .name = "dst" };
    sync_well(&d);
    put("src/one", "one", 3);
    destination dry = { .name = "dst", .flags = XD_SYNC_FLAG_DRY_RUN };
    sync_well(&dry);
    ck_assert(!exists("dst/one"));
    ck_assert_str_eq(xd_buf_cstr(&dry.changed), "1<0 one\n");
    ck_assert_uint_eq(dry.counts.sent_bytes, 0);
    destination really = { .name = "dst" };
    sync_well(&really);
    must_be_equal("src", "dst");
    destination_forget(&dry);
}
END_TEST

/* Files that are not as the scan saw them: other content, other length, only another time; and one that is gone. */
START_TEST(changed_since_the_scan)
{
    make_tree(82, 40);
    put_content("src/x1", 100, 1, true);
    put_content("src/x2", 400000, 2, false);
    put_content("src/x3", 5000, 3, true);
    put_content("src/x4", 5000, 4, true);
    put_content("src/x5", 5000, 5, true);
    xd_source            *s = source_of(0);
    const xd_scan_result *scan;
    ck_assert_int_eq(xd_source_scanned(s, &scan, NULL), 0);
    put_content("src/x1", 100, 11, true);
    put_content("src/x2", 500000, 12, false);
    put_content("src/x3", 0, 13, true);
    put_content("src/x4", 5000, 4, true); /* the same again, later */
    MUST(unlink(in_world("src/x5")) == 0);
    destination d = { .name = "dst" }, second = { .name = "dst2", .plain = true };
    destination_start(&d, s);
    destination_wait(&d);
    ck_assert_msg(d.result == 0, "%s", d.err.text);
    must_be_equal("src", "dst");
    ck_assert_ptr_nonnull(strstr(xd_buf_cstr(&d.said), "x5 cannot be read any more"));
    destination_start(&second, s);
    destination_wait(&second);
    ck_assert_msg(second.result == 0, "%s", second.err.text);
    must_be_equal("src", "dst2");
    xd_source_free(s);
    destination again = { .name = "dst" };
    sync_well(&again);
    must_be_equal("src", "dst");
    ck_assert_uint_eq(again.counts.sent_bytes, 0);
    destination_forget(&d);
    destination_forget(&second);
}
END_TEST

START_TEST(many_hosts_read_each_file_once)
{
    make_tree(83, 200);
    for (unsigned i = 0; i < 20; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, "src/big%u", i);
        put_content(name, 150000 + i, 100 + i, i % 2);
    }
    char            names[8][8];
    destination     d[8] = { 0 };
    xd_source      *s = source_of(64 << 20);
    xd_source_stats stats;
    for (unsigned i = 0; i < 8; i++) {
        (void)snprintf(names[i], sizeof names[i], "d%u", i);
        d[i].name = names[i];
        destination_start(&d[i], s);
    }
    for (unsigned i = 0; i < 8; i++) {
        destination_wait(&d[i]);
        ck_assert_msg(d[i].result == 0, "%s", d[i].err.text);
        must_be_equal("src", names[i]);
    }
    xd_source_get_stats(s, &stats);
    ck_assert_uint_eq(stats.read_files, d[0].counts.sent_files);
    ck_assert_uint_eq(stats.blocks_again, 0);
    xd_source_free(s);
    put("src/one", "one", 3); /* and changes likewise */
    s = source_of(0);
    for (unsigned i = 0; i < 8; i++)
        destination_start(&d[i], s);
    for (unsigned i = 0; i < 8; i++) {
        destination_wait(&d[i]);
        ck_assert_msg(d[i].result == 0, "%s", d[i].err.text);
        ck_assert_uint_eq(d[i].counts.round_trips, 1);
        must_be_equal("src", names[i]);
    }
    xd_source_get_stats(s, &stats);
    ck_assert_uint_eq(stats.read_files, 1);
    xd_source_free(s);
}
END_TEST

/* One that stalls in the middle: the others end meanwhile, and it ends well when it goes on. */
START_TEST(a_slow_host_holds_back_nobody)
{
    for (unsigned i = 0; i < 24; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, "src/big%u", i);
        put_content(name, i == 7 ? 4 << 20 : 200000, 100 + i, false);
    }
    xd_source  *s = source_of(1 << 20);
    destination slow = { .name = "slow", .stall = 900000 }, slower = { .name = "slower", .stall = 3000000 };
    destination fast[2] = { { .name = "fast0" }, { .name = "fast1" } };
    destination_start(&slow, s);
    destination_start(&slower, s);
    for (unsigned i = 0; i < 2; i++)
        destination_start(&fast[i], s);
    for (unsigned i = 0; i < 2; i++) {
        destination_wait(&fast[i]);
        ck_assert_msg(fast[i].result == 0, "%s", fast[i].err.text);
        must_be_equal("src", fast[i].name);
    }
    __atomic_store_n(&slow.released, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&slower.released, 1, __ATOMIC_RELEASE);
    destination_wait(&slow);
    destination_wait(&slower);
    ck_assert_msg(slow.result == 0, "%s", slow.err.text);
    ck_assert_msg(slower.result == 0, "%s", slower.err.text);
    must_be_equal("src", "slow");
    must_be_equal("src", "slower");
    xd_source_free(s);
}
END_TEST

START_TEST(stopped)
{
    put_content("src/big", 20 << 20, 1, false);
    xd_source  *s = source_of(0);
    destination d = { .name = "dst", .stall = 100000 };
    destination_start(&d, s);
    usleep(20000);
    xd_source_stop(s);
    (void)pthread_join(d.home, NULL);
    ck_assert_int_eq(d.result, -ECANCELED);
    __atomic_store_n(&d.released, 1, __ATOMIC_RELEASE);
    (void)pthread_join(d.far, NULL);
    (void)pthread_join(d.proxy, NULL);
    ck_assert_int_eq(d.far_status, 2);
    xd_source_free(s);
}
END_TEST

/* ---- from any tree to any other ---------------------------------------------------------------------------------- */

static void edits_of(uint32_t seed)
{
    uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15u;
    world_seed = seed;
    world_begin();
    make_tree(state, (unsigned)(next(&state) % 60));
    uint32_t flags = 0;
    for (unsigned round = 0; round < 4; round++) {
        destination d = { .name = "dst", .plain = next(&state) % 3 == 0, .flags = flags };
        sync_well(&d);
        flags = 0;
        must_be_equal("src", "dst");
        destination_forget(&d);
        for (uint64_t n = next(&state) % 12; n; n--)
            edit("src", &state);
        switch (next(&state) % 8) {
        case 0:
            (void)xd_path_remove_tree(in_world("mem"));
            break;
        case 1:
            (void)unlink(in_world("dst/.xd-sync"));
            flags = XD_SYNC_FLAG_DELETE; /* or what was brought there is a stranger's now */
            break;
        case 2: /* a test that writes where it should not */
            for (uint64_t n = 1 + next(&state) % 3; n; n--) {
                xd_autofree char *path = some_path("dst", &state, false);
                struct stat       st;
                if (path && lstat(in_world(path), &st) == 0 && S_ISREG(st.st_mode)) {
                    (void)chmod(in_world(path), 0644);
                    put(path, "spoilt", 6);
                }
            }
            break;
        case 3: {
            xd_autofree char *path = some_path("dst", &state, false);
            if (path)
                (void)xd_path_remove_tree(in_world(path));
        }
        }
    }
    destination last = { .name = "dst", .flags = flags };
    sync_well(&last);
    must_be_equal("src", "dst");
    world_end();
}

START_TEST(edits)
{
    for (uint32_t seed = (uint32_t)_i * 40; seed < (uint32_t)(_i + 1) * 40; seed++)
        edits_of(seed);
}
END_TEST

/* Cut after any number of bytes, several times; then once to the end. */
START_TEST(cuts)
{
    for (uint32_t seed = (uint32_t)_i * 20; seed < (uint32_t)(_i + 1) * 20; seed++) {
        uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15u;
        world_seed = seed;
        world_begin();
        make_tree(state, 60);
        if (seed % 2) {
            destination d = { .name = "dst" };
            sync_well(&d);
            for (unsigned n = 0; n < 20; n++)
                edit("src", &state);
        }
        for (unsigned n = 0; n < 4; n++) {
            destination d = { .name = "dst", .cut = 1 + next(&state) % (n % 2 ? 500000 : 5000) };
            sync_to(&d);
            MUST(d.result == 0 || d.result == -EPIPE);
            if (d.result == 0)
                must_be_equal("src", "dst");
            edit("src", &state);
            destination_forget(&d);
        }
        destination d = { .name = "dst" };
        sync_well(&d);
        must_be_equal("src", "dst");
        destination_forget(&d);
        world_end();
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sync");
    TCase *t = tcase_create("tree");
    tcase_add_checked_fixture(t, world_begin, world_end);
    tcase_add_test(t, first_copy_then_nothing);
    tcase_add_test(t, a_change_takes_one_round_trip);
    tcase_add_test(t, a_moved_file_moves_no_data);
    tcase_add_test(t, either_end_forgets);
    tcase_add_test(t, what_was_spoilt_there_is_mended);
    tcase_add_test(t, what_is_ignored_stays);
    tcase_add_test(t, a_root_that_is_a_link);
    tcase_add_test(t, dry_run);
    tcase_add_test(t, changed_since_the_scan);
    tcase_add_test(t, many_hosts_read_each_file_once);
    tcase_add_test(t, a_slow_host_holds_back_nobody);
    tcase_add_test(t, stopped);
    suite_add_tcase(s, t);
    t = tcase_create("edits");
    tcase_add_loop_test(t, edits, 0, 8);
    suite_add_tcase(s, t);
    t = tcase_create("cuts");
    tcase_add_loop_test(t, cuts, 0, 5);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
