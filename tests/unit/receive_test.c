/* needs: sync */
/* receive_test.c - the far half of a synchronisation: what stands in a folder after conversations of all kinds. */
#include <sys/inotify.h>

#include "tests/unit/receive_home.h"

#include <sys/mount.h>
#include <sys/resource.h>

static const thing SMALL[] = {
    FOLDER_("a"),
    FILE_("a/one.py", "one\n"),
    { .path = "a/run.sh",
      .type = XD_SYNC_FILE,
      .mode = 0755,
      .mtime_ns = 5 * NS + 123456789,
      .text = "#!/bin/sh\n" },
    FILE_("a/empty", ""),
    FOLDER_("a/nothing"),
    LINK_("a/link", "one.py"),
    LINK_("to_a", "a"),
    LARGE_("large", "abcdefghijklmnopqrstuvwxyz012345", 300001),
    { .path = "readonly", .type = XD_SYNC_FILE, .mode = 0400, .mtime_ns = -7 * NS + 5, .text = "old" },
    FILE_("zw\xc3\xb6lf \xff", "a name that is no UTF-8"),
    END_,
};

START_TEST(first_copy_then_nothing)
{
    tree t = tree_of(SMALL);
    home h = sync_ok(at("far"), &t, NULL, false);
    ck_assert_int_eq(h.last, XD_MSG_SYNC_DONE);
    ck_assert_uint_eq(h.want_frames, 1);
    ck_assert_uint_eq(h.wanted, 5); /* an empty file is not asked for */
    ck_assert_uint_eq(h.whole, 5);
    ck_assert_uint_eq(h.done.written, 6);
    home_release(&h);

    h = sync_ok(at("far"), &t, &t, false); /* nothing to be done */
    ck_assert_int_eq(h.last, XD_MSG_SYNC_SAME);
    ck_assert_uint_lt(h.in.bytes, 20);
    home_release(&h);
    h = sync_ok(at("far"), &t, NULL, false); /* home does not know that */
    ck_assert_int_eq(h.last, XD_MSG_SYNC_SAME);
    ck_assert_uint_eq(h.extras, 0);
    home_release(&h);
    tree_free(&t);
}
END_TEST

START_TEST(nothing_is_written_where_nothing_changes)
{
    tree        t = tree_of(SMALL);
    struct stat before, after;
    for (int i = 0; i < 2;
         i++) { /* the second time fingerprints may be old enough, and the state is written again */
        home h = sync_ok(at("far"), &t, i ? &t : NULL, false);
        home_release(&h);
        usleep(60000);
    }
    ck_assert_int_eq(stat(at("far/.xd-sync"), &before), 0);
    ck_assert_uint_eq(before.st_mode & 07777, 0600);
    home h = sync_ok(at("far"), &t, &t, false);
    home_release(&h);
    ck_assert_int_eq(stat(at("far/.xd-sync"), &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    ck_assert_int_eq(access(at("far/.xd-sync-new"), F_OK), -1);
    tree_free(&t);
}
END_TEST

/* Who ends while it writes down what it has seen has changed nothing: the next one need not look at all again. */
START_TEST(what_was_seen_is_no_change)
{
    tree t = tree_of(SMALL);
    char events[8192];
    bool seen = false;
    home h = sync_ok(at("far"), &t, NULL, false);
    home_release(&h);
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    ck_assert_int_ge(inotify_add_watch(watch, at("far"), IN_CREATE | IN_MOVED_TO), 0);
    for (int i = 0; i < 100 && !seen; i++) { /* once fingerprints are old enough */
        usleep(20000);
        h = sync_ok(at("far"), &t, &t, false);
        home_release(&h);
        ssize_t len = read(watch, events, sizeof(events));
        for (ssize_t k = 0; k < len;) {
            struct inotify_event e;
            memcpy(&e, events + k, sizeof(e));
            const char *name = events + k + sizeof(e);
            ck_assert_str_ne(name, ".xd-sync-new");
            seen |= strcmp(name, ".xd-sync") == 0;
            k += (ssize_t)(sizeof(e) + e.len);
        }
    }
    ck_assert(seen);
    close(watch);
    tree_free(&t);
}
END_TEST

static const thing CHANGED[] = {
    FOLDER_("a"),
    FILE_("a/one.py", "one, but another\n"),
    FILE_("a/run.sh", "#!/bin/sh\n"), /* mode and time */
    FILE_("a/empty", ""),
    FILE_("a/link", "a file now"),
    FILE_("a/nothing", "a file, too"),
    FOLDER_("b"),
    FILE_("b/new", "new"),
    LINK_("large", "b/new"),
    FOLDER_("to_a"),
    FILE_("to_a/x", "x"),
    FILE_("moved", "old"), /* was `readonly` */
    END_,
};

static void change(bool push, bool known)
{
    tree t = tree_of(SMALL), u = tree_of(CHANGED);
    home h = sync_ok(at("far"), &t, NULL, false);
    home_release(&h);
    h = sync_ok(at("far"), &u, known ? &t : NULL, push);
    ck_assert_uint_eq(h.done.reused, push && known ? 0 : 1);
    ck_assert_uint_eq(h.need_all, 0);
    if (push)
        ck_assert_uint_eq(h.want_frames, 0);
    ck_assert_uint_eq(h.extras, known ? 0 : 2); /* readonly, and the name that is no UTF-8 */
    home_release(&h);
    h = sync_ok(at("far"), &t, &u, push);
    home_release(&h);
    tree_free(&t);
    tree_free(&u);
}

START_TEST(changes)
{
    change(false, true);
    drop_test_folder();
    make_test_folder();
    change(true, true);
    drop_test_folder();
    make_test_folder();
    change(false, false);
}
END_TEST

START_TEST(another_base)
{
    tree t = tree_of(SMALL), u = tree_of(CHANGED);
    home h = sync_ok(at("far"), &t, NULL, false);
    home_release(&h);
    static const thing other[] = { FILE_("a/one.py", "1"), FILE_("q", "q"), END_ };
    tree               o = tree_of(other);
    for (int push = 0; push < 2; push++) {
        h = sync_ok(at("far"), &u, &o, push);
        ck_assert_uint_eq(h.need_all, 1);
        home_release(&h);
        h = sync_ok(at("far"), &t, &o, push);
        home_release(&h);
    }
    h = sync_ok(at("none"), &t, &o, true); /* nothing at all is there */
    ck_assert_uint_eq(h.need_all, 1);
    home_release(&h);
    tree_free(&t);
    tree_free(&u);
    tree_free(&o);
}
END_TEST

static const thing BIG1[] = { LARGE_("f", "0123456789abcdef", 2000000), FILE_("g", "g"), END_ };
static const thing BIG2[] = { LARGE_("f", "0123456789abcdef", 2500000), FILE_("g", "G"), END_ };

START_TEST(deltas)
{
    tree t = tree_of(BIG1), u = tree_of(BIG2);
    for (int push = 0; push < 2; push++) {
        home h = sync_ok(at("far"), &t, NULL, false);
        home_release(&h);
        h = (home){ .want = &u, .base = &t, .push = push, .delta = true, .piece = 70000 };
        ck_assert_int_eq(home_run(&h, at("far")), 0);
        check_same(at("far"), &u);
        ck_assert_uint_eq(h.done.reused_bytes, 2000000);
        ck_assert_uint_lt(h.data_bytes, 600000);
        ck_assert_uint_eq(h.whole, 0);
        home_release(&h);
        drop_test_folder();
        make_test_folder();
    }
    /* the base is not what it was: whole files, without a round trip more for those that are pushed */
    for (int push = 0; push < 2; push++) {
        home h = sync_ok(at("far"), &t, NULL, false);
        home_release(&h);
        put_file(at("far/f"), "spoilt");
        h = (home){ .want = &u, .base = &t, .push = push, .delta = true, .piece = 70000 };
        ck_assert_int_eq(home_run(&h, at("far")), 0);
        check_same(at("far"), &u);
        ck_assert_uint_eq(h.whole, 1);
        ck_assert_uint_eq(h.want_frames, 1);
        home_release(&h);
        drop_test_folder();
        make_test_folder();
    }
    tree_free(&t);
    tree_free(&u);
}
END_TEST

START_TEST(what_was_damaged_is_mended)
{
    tree t = tree_of(SMALL);
    home h = sync_ok(at("far"), &t, NULL, false);
    home_release(&h);
    put_file(at("far/a/one.py"), "two\n");           /* the same size */
    ck_assert_int_eq(unlink(at("far/a/run.sh")), 0); /* gone */
    ck_assert_int_eq(unlink(at("far/a/link")), 0);
    ck_assert_int_eq(symlink("nowhere", at("far/a/link")), 0);
    ck_assert_int_eq(rmdir(at("far/a/nothing")), 0);
    ck_assert_int_eq(chmod(at("far/readonly"), 0666), 0);
    ck_assert_int_eq(chmod(at("far/a"), 0700), 0);
    h = sync_ok(at("far"), &t, &t, false);
    ck_assert_uint_eq(h.wanted, 2);
    ck_assert_uint_eq(h.whole, 2);
    ck_assert_int_eq(h.last, XD_MSG_SYNC_DONE);
    home_release(&h);
    h = sync_ok(at("far"), &t, &t, false);
    ck_assert_int_eq(h.last, XD_MSG_SYNC_SAME);
    home_release(&h);
    /* folders and files have changed places */
    ck_assert_int_eq(unlink(at("far/large")), 0);
    ck_assert_int_eq(mkdir(at("far/large"), 0755), 0);
    ck_assert_int_eq(rmdir(at("far/a/nothing")), 0);
    ck_assert_int_eq(mkfifo(at("far/a/nothing"), 0600), 0);
    h = sync_ok(at("far"), &t, &t, false);
    home_release(&h);
    tree_free(&t);
}
END_TEST

START_TEST(copy_onto_what_stands_there)
{
    tree        t = tree_of(SMALL);
    struct stat before, after;
    ck_assert_int_eq(mkdir(at("far"), 0755), 0);
    ck_assert_int_eq(mkdir(at("far/a"), 0700), 0);
    put_file(at("far/a/one.py"), "one\n"); /* right, but for its time */
    put_file(at("far/readonly"), "OLD");   /* the same size */
    put_file(at("far/a/unknown"), "stays");
    ck_assert_int_eq(symlink("/etc", at("far/to_a")), 0);
    ck_assert_int_eq(stat(at("far/a/one.py"), &before), 0);
    home h = { .want = &t };
    ck_assert_int_eq(home_run(&h, at("far")), 0);
    ck_assert_int_eq(unlink(at("far/a/unknown")), 0);
    check_same(at("far"), &t);
    ck_assert_int_eq(stat(at("far/a/one.py"), &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    ck_assert_uint_eq(h.wanted, 4);
    home_release(&h);
    tree_free(&t);
}
END_TEST

static const thing PYTHON[] = { FILE_("p/gone.py", "g"),  FILE_("p/stays.py", "s"),  FILE_("q/all.py", "q"),
                                FILE_("r/sub/x.py", "x"), FILE_("ignored.log", "l"), END_ };
static const thing PYTHON2[] = { FILE_("p/stays.py", "s"), END_ };

static void compiled_files(void)
{
    static const char *const names[] = { "p/__pycache__/gone.cpython-311.pyc",
                                         "p/__pycache__/gone.cpython-311-pytest-8.1.pyc",
                                         "p/__pycache__/stays.cpython-311.pyc",
                                         "q/__pycache__/all.cpython-311.pyc",
                                         "r/output.txt",
                                         "p/gone.pyc",
                                         "p/stays.pyc" };
    static const char *const folders[] = { "p/__pycache__", "q/__pycache__", "r/sub" };
    for (size_t i = 0; i < XD_ARRAY_LEN(folders); i++) {
        char path[64];
        snprintf(path, sizeof(path), "far/%s", folders[i]);
        OK(xd_path_mkdirs(at(path), 0755, NULL));
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++) {
        char path[64];
        snprintf(path, sizeof(path), "far/%s", names[i]);
        put_file(at(path), "c");
    }
}

START_TEST(removals)
{
    tree t = tree_of(PYTHON), u = tree_of(PYTHON2);
    for (int known = 0; known < 2; known++) {
        home h = sync_ok(at("far"), &t, NULL, false);
        home_release(&h);
        compiled_files();
        h = (home){ .want = &u, .base = known ? &t : NULL, .keep = ".log" };
        ck_assert_int_eq(home_run(&h, at("far")), 0);
        static const char *const stay[] = { "ignored.log", "p/__pycache__/stays.cpython-311.pyc",
                                            "p/stays.py", "p/stays.pyc", "r/output.txt" };
        static const char *const go[] = { "p/gone.py",
                                          "p/gone.pyc",
                                          "p/__pycache__/gone.cpython-311.pyc",
                                          "p/__pycache__/gone.cpython-311-pytest-8.1.pyc",
                                          "q",
                                          "r/sub" };
        for (size_t i = 0; i < XD_ARRAY_LEN(stay) + XD_ARRAY_LEN(go); i++) {
            bool stays = i < XD_ARRAY_LEN(stay);
            char path[64];
            snprintf(path, sizeof(path), "far/%s", stays ? stay[i] : go[i - XD_ARRAY_LEN(stay)]);
            if ((access(at(path), F_OK) == 0) != stays)
                ck_abort_msg("%s", path);
        }
        ck_assert_uint_eq(h.extras, known ? 0 : 7);
        home_release(&h);
        drop_test_folder();
        make_test_folder();
    }
    tree_free(&t);
    tree_free(&u);
}
END_TEST

/* What Python made of a source may look, by size and time in seconds, as if it were that of the new one. */
START_TEST(compiled_files_of_sources_that_change)
{
#define PY_(path_, text_, time_)                                                              \
    {                                                                                         \
        .path = path_, .type = XD_SYNC_FILE, .mode = 0644, .mtime_ns = (time_), .text = text_ \
    }
    static const thing       before[] = { PY_("brought.py", "V = 1", 7 * NS),
                                          PY_("brought.pyc", "1", 7 * NS),
                                          PY_("large.py", "V = 1", 7 * NS),
                                          LINK_("link.py", "large.py"),
                                          PY_("minus.py", "V = 1", -7 * NS + 1),
                                          PY_("mod.py", "V = 1", 7 * NS + 1),
                                          PY_("mod.txt", "V = 1", 7 * NS),
                                          PY_("mod.x.py", "V = 1", 7 * NS),
                                          PY_("mod2.py", "V = 1", 7 * NS),
                                          PY_("newer.py", "V = 1", 7 * NS),
                                          END_ };
    static const thing       after[] = { PY_("brought.py", "V = 2", 7 * NS),
                                         PY_("brought.pyc", "1", 7 * NS),
                                         PY_("large.py", "V = 11", 7 * NS),
                                         LINK_("link.py", "mod2.py"),
                                         PY_("minus.py", "V = 2", -7 * NS + 9),
                                         PY_("mod.py", "V = 2", 7 * NS + 9),
                                         PY_("mod.txt", "V = 2", 7 * NS),
                                         PY_("mod.x.py", "V = 1", 7 * NS),
                                         PY_("mod2.py", "V = 1", 7 * NS),
                                         PY_("newer.py", "V = 2", 8 * NS),
                                         END_ };
    static const char *const stay[] = { "brought.pyc",
                                        "__pycache__/large.cpython-311.pyc",
                                        "__pycache__/mod2.cpython-311.pyc",
                                        "__pycache__/newer.cpython-311.pyc",
                                        "__pycache__/mod.txt",
                                        "newer.pyc" };
    static const char *const go[] = { "__pycache__/brought.cpython-311.pyc",
                                      "__pycache__/link.cpython-311.pyc",
                                      "__pycache__/minus.cpython-311.pyc",
                                      "__pycache__/mod.cpython-311.pyc",
                                      "__pycache__/mod.cpython-311-pytest-8.1.pyc",
                                      "mod.pyc",
                                      "mod.pyo" };
    for (int known = 0; known < 2; known++) {
        tree t = tree_of(before), u = tree_of(after);
        home h = sync_ok(at("far"), &t, NULL, false);
        char path[64];
        home_release(&h);
        OK(xd_path_mkdirs(at("far/__pycache__"), 0755, NULL));
        for (size_t i = 1; i < XD_ARRAY_LEN(stay) + XD_ARRAY_LEN(go); i++) {
            snprintf(path, sizeof(path), "far/%s",
                     i < XD_ARRAY_LEN(stay) ? stay[i] : go[i - XD_ARRAY_LEN(stay)]);
            put_file(at(path), "c");
        }
        h = (home){ .want = &u, .base = known ? &t : NULL };
        ck_assert_int_eq(home_run(&h, at("far")), 0);
        home_release(&h);
        for (size_t i = 0; i < XD_ARRAY_LEN(stay) + XD_ARRAY_LEN(go); i++) {
            bool stays = i < XD_ARRAY_LEN(stay);
            snprintf(path, sizeof(path), "far/%s", stays ? stay[i] : go[i - XD_ARRAY_LEN(stay)]);
            if ((access(at(path), F_OK) == 0) != stays)
                ck_abort_msg("%s", path);
        }
        tree_free(&t);
        tree_free(&u);
        drop_test_folder();
        make_test_folder();
    }
#undef PY_
}
END_TEST

/* Calls that bring different things to one folder: each removes what it brought itself, however many others came in between. */
START_TEST(what_other_calls_brought)
{
    static const thing a2[] = { FOLDER_("a"),   FILE_("a/f", "f"),   FILE_("a/g", "g"),
                                FOLDER_("a/h"), FILE_("a/h/i", "i"), END_ };
    static const thing a1[] = { FOLDER_("a"), FILE_("a/f", "f"), END_ };
    static const thing b2[] = { FOLDER_("b"), FILE_("b/x", "x"), FILE_("b/y", "y"), END_ };
    static const thing b1[] = { FOLDER_("b"), FILE_("b/x", "x"), END_ };
    static const thing c1[] = { FILE_("abc", "c"), END_ };
    static const struct {
        const thing *things;
        const char  *keep,
            *base; /* keep: what is not this call's, as is all that contains it; base: NULL = nothing is known */
        uint32_t removed;
    } calls[] = { { a2, "", NULL, 0 }, { b2, "a", NULL, 0 }, { c1, "", NULL, 0 }, { a1, "b", "a", 3 },
                  { c1, "", NULL, 0 }, { b1, "a", NULL, 1 }, { b1, "a", "b", 0 }, { c1, "", NULL, 0 } };
    for (size_t i = 0; i < XD_ARRAY_LEN(calls); i++) {
        tree t = tree_of(calls[i].things);
        home h = { .want = &t, .keep = calls[i].keep };
        tree base = tree_of(a2);
        if (calls[i].base)
            h.base = *calls[i].base == 'a' ? &base : &t;
        ck_assert_int_eq(home_run(&h, at("far")), 0);
        ck_assert_msg(h.done.removed == calls[i].removed, "call %zu: %u", i, h.done.removed);
        home_release(&h);
        tree_free(&base);
        tree_free(&t);
    }
    static const char *const stay[] = { "far/a/f", "far/b/x", "far/abc" }, *const go[] = { "far/a/g",
                                                                                           "far/a/h",
                                                                                           "far/b/y" };
    for (size_t i = 0; i < XD_ARRAY_LEN(stay); i++) {
        ck_assert_int_eq(access(at(stay[i]), F_OK), 0);
        ck_assert_int_eq(access(at(go[i]), F_OK), -1);
    }
}
END_TEST

START_TEST(deleting_what_nobody_brought)
{
    static const thing with_way[] = { WAY_("w"), FILE_("w/root/x.py", "x"), END_ };
    tree               t = tree_of(SMALL), w = tree_of(with_way);
    home               h = sync_ok(at("far"), &t, NULL, false);
    home_release(&h);
    put_file(at("far/a/new"), "n");
    put_file(at("far/a/new.keep"), "n");
    OK(xd_path_mkdirs(at("far/d/e"), 0755, NULL));
    put_file(at("far/d/e/f"), "n");
    OK(xd_path_mkdirs(at("far/cache.keep/e"), 0755, NULL));
    put_file(at("far/cache.keep/e/f"), "n");
    h = (home){ .want = &t, .base = &t, .keep = ".keep", .flags = XD_SYNC_FLAG_DELETE | XD_SYNC_FLAG_TELL };
    ck_assert_int_eq(home_run(&h, at("far")), 0);
    ck_assert_uint_eq(h.extras, 8);
    ck_assert_uint_eq(h.done.removed, 4);
    ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&h.changes), "0 1 d/e/f\n"));
    ck_assert_int_eq(access(at("far/a/new.keep"), F_OK), 0);
    ck_assert_int_eq(access(at("far/cache.keep/e/f"), F_OK), 0);
    ck_assert_int_eq(unlink(at("far/a/new.keep")), 0);
    OK(xd_path_remove_tree(at("far/cache.keep")));
    check_same(at("far"), &t);
    home_release(&h);
    h = (home){ .want = &t, .base = &t, .flags = XD_SYNC_FLAG_DELETE }; /* nothing is there to be deleted */
    ck_assert_int_eq(home_run(&h, at("far")), 0);
    ck_assert_int_eq(h.last, XD_MSG_SYNC_SAME);
    home_release(&h);

    OK(xd_path_mkdirs(at("way/w/other"), 0755, NULL));
    h = (home){ .want = &w, .flags = XD_SYNC_FLAG_DELETE };
    OK(xd_path_mkdirs(at("way/w/root/stranger"), 0755, NULL));
    ck_assert_int_eq(home_run(&h, at("way")), 0);
    ck_assert_int_eq(access(at("way/w/other"), F_OK), 0);
    ck_assert_int_eq(access(at("way/w/root/stranger"), F_OK), -1);
    home_release(&h);
    tree_free(&t);
    tree_free(&w);
}
END_TEST

START_TEST(dry_run_changes_nothing)
{
    tree       t = tree_of(SMALL), u = tree_of(CHANGED);
    xd_autobuf before = XD_BUF_INIT, after = XD_BUF_INIT;
    home       h = { .want = &t, .flags = XD_SYNC_FLAG_DRY_RUN };
    ck_assert_int_eq(home_run(&h, at("far")), 0);
    ck_assert_int_eq(access(at("far"), F_OK), -1);
    ck_assert_uint_eq(h.done.written, 6);
    home_release(&h);
    h = sync_ok(at("far"), &t, NULL, false);
    home_release(&h);
    list_disk(at("far"), "", &before);
    h = (home){ .want = &u, .base = &t, .push = true, .flags = XD_SYNC_FLAG_DRY_RUN };
    ck_assert_int_eq(home_run(&h, at("far")), 0);
    list_disk(at("far"), "", &after);
    ck_assert_str_eq(xd_buf_cstr(&before), xd_buf_cstr(&after));
    ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&h.changes), "1 3 a/link\n"));
    ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&h.changes), "1 2 a/nothing\n"));
    ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&h.changes), "0 1 readonly\n"));
    ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&h.changes), "2 3 to_a\n"));
    home_release(&h);
    tree_free(&t);
    tree_free(&u);
}
END_TEST

START_TEST(a_folder_in_the_way)
{
    static const thing file[] = { FILE_("d", "a file"), END_ };
    static const thing folder[] = { FILE_("d/x.py", "x"), FILE_("d/e/y", "y"), END_ };
    tree               t = tree_of(folder), u = tree_of(file);
    home               h = sync_ok(at("far"), &t, NULL, false);
    home_release(&h);
    put_file(at("far/d/e/mine"), "m");
    OK(xd_path_mkdirs(at("far/d/__pycache__"), 0755, NULL));
    put_file(at("far/d/__pycache__/x.cpython-311.pyc"), "m");
    h = (home){ .want = &u, .base = &t };
    ck_assert_int_eq(home_run(&h, at("far")), 1);
    ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&h.said), "far/d/e/mine"));
    ck_assert_int_eq(access(at("far/d/x.py"), F_OK), 0);
    home_release(&h);
    ck_assert_int_eq(unlink(at("far/d/e/mine")), 0);
    h = sync_ok(at("far"), &u, &t, true);
    home_release(&h);
    h = sync_ok(at("far"), &t, &u, true);
    home_release(&h);
    put_file(at("far/d/e/mine"), "m");
    h = (home){ .want = &u, .base = &t, .flags = XD_SYNC_FLAG_DELETE };
    ck_assert_int_eq(home_run(&h, at("far")), 0);
    check_same(at("far"), &u);
    home_release(&h);
    tree_free(&t);
    tree_free(&u);
}
END_TEST

/* What a test sends instead of a file. */
static int fault_of_content;
static int tries;

static int wrong_content(home *h, uint32_t file)
{
    if (strcmp(h->want->things[h->want->thing_of[file]].path, "a/one.py") != 0 || tries++ >= fault_of_content)
        return 0;
    send_piece(h, &(xd_wire_SYNC_PIECE){ .file = file, .data = XD_BYTES_LIT("two\n") });
    return 1;
}

START_TEST(content_that_does_not_fit)
{
    tree t = tree_of(SMALL);
    for (int i = 1; i <= 3; i++) {
        home h = { .want = &t, .before_data = wrong_content };
        tries = 0;
        fault_of_content = i;
        int status = home_run(&h, at("far"));
        ck_assert_uint_eq(h.want_frames, (uint32_t)XD_MIN(i + 1, 3));
        ck_assert_int_eq(status, i == 3);
        if (i < 3)
            check_same(at("far"), &t);
        else
            ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&h.said), "a/one.py"));
        home_release(&h);
        drop_test_folder();
        make_test_folder();
    }
    tree_free(&t);
}
END_TEST

static int         amend_kind;
static const thing AMENDED[] = { FILE_("a", "a"), FILE_("b", "was b"), FILE_("c", "c"), END_ };
static const thing AMENDED2[] = { FILE_("a", "a"), FILE_("b", "b is something else now"), FILE_("c", "c"),
                                  END_ };

static int amend_b(home *h, uint32_t file)
{
    const thing *x = &AMENDED2[1];
    if (file != 1 || tries++ > 0)
        return 0;
    xd_digest id = digest_of(xd_bytes_str(x->text));
    if (amend_kind == 2) /* its content first */
        send_piece(h, &(xd_wire_SYNC_PIECE){ .file = file, .data = xd_bytes_str(x->text) });
    SEND(h, SYNC_AMEND, .file = 1, .gone = amend_kind == 0, .mode = x->mode, .size = strlen(x->text),
         .mtime_ns = (uint64_t)x->mtime_ns, .lo = id.lo, .hi = id.hi);
    if (amend_kind == 1)
        send_piece(h, &(xd_wire_SYNC_PIECE){ .file = file, .data = xd_bytes_str(x->text) });
    if (amend_kind == 2) /* it will be asked for again */
        ((tree *)(uintptr_t)h->want)->things = AMENDED2;
    return 1;
}

START_TEST(files_that_change_meanwhile)
{
    for (amend_kind = 0; amend_kind < 3; amend_kind++) {
        tree t = tree_of(AMENDED), u = tree_of(AMENDED2);
        home h = { .want = &t, .before_data = amend_b };
        tries = 0;
        ck_assert_int_eq(home_run(&h, at("far")), 0);
        xd_digest id = xd_manifest_digest(amend_kind ? u.m : t.m);
        ck_assert(xd_digest_eq(id, (xd_digest){ h.done.lo, h.done.hi }));
        home_release(&h);
        if (amend_kind == 0) {
            ck_assert_int_eq(access(at("far/b"), F_OK), -1);
            ck_assert_int_eq(access(at("far/c"), F_OK), 0);
            h = sync_ok(at("far"), &t, &t, false); /* it can be read again */
            ck_assert_int_eq(h.last, XD_MSG_SYNC_DONE);
            ck_assert_uint_eq(h.wanted, 1);
        } else {
            check_same(at("far"), &u);
            h = sync_ok(at("far"), &u, &u, false);
            ck_assert_int_eq(h.last, XD_MSG_SYNC_SAME);
        }
        home_release(&h);
        tree_free(&t);
        tree_free(&u);
        drop_test_folder();
        make_test_folder();
    }
}
END_TEST

static void odd_state(int kind)
{
    const char *path = at("far/.xd-sync");
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    if (kind >= 0 && kind < 20) { /* a byte is another */
        int     fd = open(path, O_RDWR);
        uint8_t c;
        off_t   where = st.st_size * kind / 20;
        ck_assert_int_eq(pread(fd, &c, 1, where), 1);
        c ^= 0x41;
        ck_assert_int_eq(pwrite(fd, &c, 1, where), 1);
        close(fd);
    } else if (kind < 40) {
        ck_assert_int_eq(truncate(path, st.st_size * (kind - 20) / 20), 0);
    } else {
        ck_assert_int_eq(unlink(path), 0);
        if (kind == 40)
            ck_assert_int_eq(mkfifo(path, 0600), 0);
        else if (kind == 41)
            ck_assert_int_eq(symlink("/etc/passwd", path), 0);
        else if (kind == 42)
            ck_assert_int_eq(mkdir(path, 0755), 0);
        else if (kind == 43)
            ck_assert_int_eq(mkfifo(at("far/.xd-sync-new"), 0600), 0);
        else if (kind == 44)
            ck_assert_int_eq(symlink("a/one.py", at("far/.xd-sync-new")), 0);
        else if (kind == 45) {
            put_file(path, "x");
            ck_assert_int_eq(truncate(path, 1ll << 40), 0);
        }
    }
}

START_TEST(state_that_cannot_be_read)
{
    tree t = tree_of(SMALL), u = tree_of(CHANGED);
    for (int kind = 0; kind < 46; kind++) {
        home h = sync_ok(at("far"), &t, NULL, false);
        home_release(&h);
        odd_state(kind);
        h = (home){ .want = &u, .base = &t, .push = true };
        ck_assert_int_eq(home_run(&h, at("far")), 0);
        ck_assert_uint_eq(h.need_all, 1);
        ck_assert_int_eq(unlink(at("far/readonly")), 0); /* nobody remembers that it was brought */
        ck_assert_int_eq(unlink(at("far/zw\xc3\xb6lf \xff")), 0);
        check_same(at("far"), &u);
        home_release(&h);
        h = sync_ok(at("far"), &u, &u, false);
        ck_assert_int_eq(h.last, XD_MSG_SYNC_SAME);
        home_release(&h);
        drop_test_folder();
        make_test_folder();
    }
    /* a folder that is not empty: one line */
    OK(xd_path_mkdirs(at("far/.xd-sync/x"), 0755, NULL));
    home h = { .want = &t };
    ck_assert_int_eq(home_run(&h, at("far")), 1);
    ck_assert_ptr_nonnull(xd_bytes_find(xd_buf_view(&h.said), ".xd-sync"));
    home_release(&h);
    tree_free(&t);
    tree_free(&u);
}
END_TEST

START_TEST(another_owner_of_the_state)
{
    tree t = tree_of(SMALL);
    if (geteuid() != 0) {
        printf("skipped: a file of another owner takes root\n");
        tree_free(&t);
        return;
    }
    home h = sync_ok(at("far"), &t, NULL, false);
    home_release(&h);
    ck_assert_int_eq(chown(at("far/.xd-sync"), 1, 1), 0);
    h = sync_ok(at("far"), &t, &t,
                false); /* home takes it for the same: the far end has to ask for records */
    ck_assert_int_eq(h.last, XD_MSG_SYNC_DONE);
    ck_assert_uint_eq(h.need_all, 1);
    home_release(&h);
    tree_free(&t);
}
END_TEST

START_TEST(links_are_never_written_through)
{
    static const thing with[] = { FILE_("d/x", "x"), FILE_("d/e/y", "y"), FILE_("f", "f"), END_ };
    tree               t = tree_of(with);
    for (int known = 0; known < 2; known++) {
        home h = sync_ok(at("far"), &t, NULL, false);
        home_release(&h);
        OK(xd_path_mkdirs(at("outside"), 0755, NULL));
        put_file(at("outside/f"), "mine");
        OK(xd_path_remove_tree(at("far/d")));
        ck_assert_int_eq(symlink(at("outside"), at("far/d")), 0);
        ck_assert_int_eq(unlink(at("far/f")), 0);
        ck_assert_int_eq(symlink(at("outside/f"), at("far/f")), 0);
        h = sync_ok(at("far"), &t, known ? &t : NULL, false);
        home_release(&h);
        xd_autobuf is = XD_BUF_INIT;
        OK(xd_path_read_file(at("outside/f"), 100, &is, NULL));
        ck_assert(xd_bytes_eq_str(xd_buf_view(&is), "mine"));
        ck_assert_int_eq(access(at("outside/x"), F_OK), -1);
        drop_test_folder();
        make_test_folder();
    }
    /* the folder itself may be reached by a link */
    OK(xd_path_mkdirs(at("real"), 0755, NULL));
    ck_assert_int_eq(symlink("real", at("linked")), 0);
    home h = sync_ok(at("linked"), &t, NULL, false);
    home_release(&h);
    check_same(at("real"), &t);
    tree_free(&t);
}
END_TEST

START_TEST(folders_that_may_not_be_changed)
{
    static const thing first[] = { { .path = "ro", .type = XD_SYNC_FOLDER, .mode = 0555 },
                                   { .path = "ro/sub", .type = XD_SYNC_FOLDER, .mode = 0500 },
                                   FILE_("ro/a", "a"),
                                   FILE_("ro/sub/b", "b"),
                                   END_ };
    static const thing then[] = { { .path = "ro", .type = XD_SYNC_FOLDER, .mode = 0555 },
                                  { .path = "ro/sub", .type = XD_SYNC_FOLDER, .mode = 0500 },
                                  FILE_("ro/a", "A"),
                                  LINK_("ro/l", "a"),
                                  { .path = "ro/sub2", .type = XD_SYNC_FOLDER, .mode = 0500 },
                                  FILE_("ro/sub2/b", "b"),
                                  END_ };
    tree               t = tree_of(first), u = tree_of(then);
    for (int i = 0; i < 4; i++) {
        home h = sync_ok(at("far"), i % 2 ? &u : &t, i == 0 ? NULL : i % 2 ? &t : &u, i > 1);
        home_release(&h);
    }
    tree_free(&t);
    tree_free(&u);
}
END_TEST

int main(int argc, char **argv)
{
    int status;
    if (far_program(argc, argv, &status))
        return status;
    Suite *s = suite_create("receive");
    TCase *c = tcase_create("flows");
    tcase_add_checked_fixture(c, make_test_folder, drop_test_folder);
    tcase_add_test(c, first_copy_then_nothing);
    tcase_add_test(c, nothing_is_written_where_nothing_changes);
    tcase_add_test(c, what_was_seen_is_no_change);
    tcase_add_test(c, changes);
    tcase_add_test(c, another_base);
    tcase_add_test(c, deltas);
    tcase_add_test(c, what_was_damaged_is_mended);
    tcase_add_test(c, copy_onto_what_stands_there);
    tcase_add_test(c, removals);
    tcase_add_test(c, compiled_files_of_sources_that_change);
    tcase_add_test(c, what_other_calls_brought);
    tcase_add_test(c, deleting_what_nobody_brought);
    tcase_add_test(c, dry_run_changes_nothing);
    tcase_add_test(c, a_folder_in_the_way);
    tcase_add_test(c, content_that_does_not_fit);
    tcase_add_test(c, files_that_change_meanwhile);
    tcase_add_test(c, state_that_cannot_be_read);
    tcase_add_test(c, another_owner_of_the_state);
    tcase_add_test(c, links_are_never_written_through);
    tcase_add_test(c, folders_that_may_not_be_changed);
    suite_add_tcase(s, c);
    return run_suite(s);
}
