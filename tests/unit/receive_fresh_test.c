/* needs: sync */
/* receive_fresh_test.c - the far half of a synchronisation, and folders that are new there: each comes whole, under its name when all of it is there; what a killed or a cut
 * run has written of it is used by the next one. */
#include "tests/unit/receive_home.h"

#define FILES 60
#define BEFORE_KILL 40 /* files that are written then */

static char  paths[FILES][64], texts[FILES][32];
static thing things[FILES + 3];

static tree new_tree(void)
{
    for (int i = 0; i < FILES; i++) {
        snprintf(paths[i], sizeof(paths[i]), "new/sub%d/f%02d", i / 20, i);
        snprintf(texts[i], sizeof(texts[i]), "content %d\n", i);
        things[i] = (thing){
            .path = paths[i], .type = XD_SYNC_FILE, .mode = 0644, .mtime_ns = 1000 * NS + i, .text = texts[i]
        };
    }
    things[FILES] = (thing)FILE_("top", "beside it");
    things[FILES + 1] = (thing)FILE_("old/x", "x");
    things[FILES + 2] = (thing){ 0 };
    return tree_of(things);
}

/* The folder that takes the place of `new` in the end. */
static bool find_staged(char to[600])
{
    for (unsigned n = 1; n < 8; n++) {
        char sub[620];
        snprintf(to, 600, "%s/.xd-%x", at("far"), n);
        snprintf(sub, sizeof(sub), "%s/sub0", to);
        if (access(sub, F_OK) == 0)
            return true;
    }
    return false;
}

/* Files that have the time of their source: all of their content is there. */
static uint32_t count_whole(const char *folder)
{
    static const char line[] = "f 644 10000000000"; /* list_disk: kind, mode, time */
    xd_autobuf        is = XD_BUF_INIT;
    uint32_t          n = 0;
    list_disk(folder, "", &is);
    for (size_t i = 0; i + sizeof(line) < is.len; i++)
        n += (i == 0 || is.data[i - 1] == '\n') && memcmp(is.data + i, line, sizeof(line) - 1) == 0;
    return n;
}

static int  sent_before;
static bool only_cut;

/* All that was sent is written, in a folder that nobody takes for `new`; then the far half is killed, or its stream cut. */
static int wait_and_end(home *h, uint32_t file)
{
    char staged[600] = "";
    (void)file;
    if (sent_before++ < BEFORE_KILL)
        return 0;
    if (h->ended)
        return 1;
    for (int i = 0; i < 2000 && (!find_staged(staged) || count_whole(staged) < BEFORE_KILL - 2); i++)
        usleep(5000); /* two of them may be old/x and top */
    ck_assert_uint_ge(count_whole(staged), BEFORE_KILL - 2);
    ck_assert_int_ne(access(at("far/new"), F_OK), 0);
    if (!only_cut)
        kill(h->far->pid, SIGKILL);
    shutdown(h->far->fd, SHUT_WR);
    h->ended = true;
    return 1;
}

static void end_early(const tree *t)
{
    far_end far;
    home    h = { .want = t, .before_data = wait_and_end };
    sent_before = 0;
    far_start_process(&far, at("far"));
    int status = home_talk(&h, &far);
    ck_assert_int_eq(status, only_cut ? 2 : -SIGKILL);
    home_release(&h);
}

START_TEST(killed_and_gone_on_with)
{
    static const thing before[] = { FILE_("old/x", "x"), END_ };
    tree               b = tree_of(before), t = new_tree();
    char               staged[600], half[700];
    home               h = sync_ok(at("far"), &b, NULL, false);
    home_release(&h);
    only_cut = false;
    end_early(&t);
    ck_assert(find_staged(staged));
    ck_assert_int_ne(access(at("far/new"), F_OK), 0);
    uint32_t whole = count_whole(staged);
    /* One that the kill has cut in half: it has its name there, but not the time of its source. */
    snprintf(half, sizeof(half), "%s/sub2/f59", staged);
    put_file(half, "conte");
    h = sync_ok(at("far"), &t, &b, false);
    /* Only what was not whole is sent; `top` may be there, too. */
    ck_assert_uint_le(h.data_files, FILES + 1 - whole);
    ck_assert_uint_ge(h.data_files, FILES - whole);
    home_release(&h);
    tree_free(&b);
    tree_free(&t);
}
END_TEST

/* What is wanted next is something else: nothing of it is left. */
START_TEST(killed_and_not_wanted_any_more)
{
    static const thing before[] = { FILE_("old/x", "x"), END_ };
    tree               b = tree_of(before), t = new_tree();
    only_cut = false;
    end_early(&t);
    home h = sync_ok(at("far"), &b, NULL, false);
    home_release(&h);
    tree_free(&b);
    tree_free(&t);
}
END_TEST

/* A dry run changes nothing of what a killed run has left. */
START_TEST(killed_and_a_dry_run)
{
    tree       t = new_tree();
    xd_autobuf was = XD_BUF_INIT, is = XD_BUF_INIT;
    only_cut = false;
    end_early(&t);
    list_disk(at("far"), "", &was);
    home h = { .want = &t, .flags = XD_SYNC_FLAG_DRY_RUN };
    ck_assert_int_eq(home_run(&h, at("far")), 0);
    home_release(&h);
    list_disk(at("far"), "", &is);
    ck_assert_str_eq(xd_buf_cstr(&is), xd_buf_cstr(&was));
    tree_free(&t);
}
END_TEST

START_TEST(cut_and_gone_on_with)
{
    tree t = new_tree();
    char staged[600];
    only_cut = true;
    end_early(&t);
    ck_assert(!find_staged(staged)); /* it had the time to clean up: what is whole stays */
    uint32_t whole = count_whole(at("far"));
    ck_assert_uint_ge(whole, BEFORE_KILL - 2); /* what stood in it */
    home h = sync_ok(at("far"), &t, NULL, false);
    ck_assert_uint_eq(h.data_files, FILES + 2 - whole);
    home_release(&h);
    tree_free(&t);
}
END_TEST

static int make_it(home *h, uint32_t file)
{
    (void)h;
    if (file == 3) {
        OK(xd_path_mkdirs(at("far/new"), 0755, NULL));
        put_file(at("far/new/own"), "somebody's own");
    }
    return 0;
}

START_TEST(somebody_else_makes_it)
{
    tree       t = new_tree();
    xd_autobuf is = XD_BUF_INIT;
    home       h = { .want = &t, .before_data = make_it };
    ck_assert_int_eq(home_run(&h, at("far")), 1);
    ck_assert_ptr_nonnull(
        xd_bytes_find(xd_buf_view(&h.said), "far/new was made there by somebody else meanwhile"));
    home_release(&h);
    list_disk(at("far"), "", &is);
    ck_assert_ptr_null(xd_bytes_find(xd_buf_view(&is), ".xd-"));
    ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&is), "somebody's own"));
    h = (home){ .want = &t };
    ck_assert_int_eq(home_run(&h, at("far")), 0); /* into that one */
    home_release(&h);
    ck_assert_int_eq(unlink(at("far/new/own")), 0);
    check_same(at("far"), &t);
    tree_free(&t);
}
END_TEST

int main(int argc, char **argv)
{
    int status;
    if (far_program(argc, argv, &status))
        return status;
    Suite *s = suite_create("receive_fresh");
    TCase *c = tcase_create("new folders");
    tcase_add_checked_fixture(c, make_test_folder, drop_test_folder);
    tcase_add_test(c, killed_and_gone_on_with);
    tcase_add_test(c, killed_and_not_wanted_any_more);
    tcase_add_test(c, killed_and_a_dry_run);
    tcase_add_test(c, cut_and_gone_on_with);
    tcase_add_test(c, somebody_else_makes_it);
    suite_add_tcase(s, c);
    return run_suite(s);
}
