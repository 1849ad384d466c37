/* needs: sync. What is remembered of each destination (sync/memory.c): written and read, damaged, and no more of it than is bearable. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "sync/memory.h"

static char folder[64];

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/xd-memory-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    (void)xd_path_remove_tree(folder);
}

static uint32_t add(xd_tree *t, uint32_t below, const char *name, uint8_t type, uint64_t size, uint64_t id)
{
    uint32_t handle;
    xd_node  n = { .name = xd_bytes_str(name),
                   .type = type,
                   .mode = 0644,
                   .size = size,
                   .mtime_ns = -5,
                   .id = { id, ~id } };
    if (type == XD_SYNC_LINK) {
        n.target = xd_bytes_str("some/where");
        n.mode = 0;
    }
    ck_assert_int_eq(xd_tree_add(t, below, &n, &handle), 0);
    return handle;
}

static xd_manifest *tree_of(unsigned files)
{
    xd_tree     *t;
    xd_manifest *m;
    ck_assert_int_eq(xd_tree_new(&t, XD_SYNC_WAY, 0755), 0);
    uint32_t f = add(t, 0, "folder", XD_SYNC_FOLDER, 0, 0);
    (void)add(t, 0, "link", XD_SYNC_LINK, 0, 0);
    for (unsigned i = 0; i < files; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "f%u", i);
        (void)add(t, i % 2 ? f : 0, name, XD_SYNC_FILE, i % 3 ? 100 : 20000, i);
    }
    ck_assert_int_eq(xd_tree_end(&t, &m, NULL), 0);
    return m;
}

static xd_bytes list_of(void *arg, xd_digest id)
{
    (void)id;
    return *(xd_bytes *)arg;
}

static unsigned names(void)
{
    unsigned       n = 0;
    DIR           *d = opendir(folder);
    struct dirent *e;
    while (d && (e = readdir(d)))
        n += e->d_name[0] != '.' || strncmp(e->d_name, ".xd-", 4) == 0;
    (void)closedir(d);
    return n;
}

START_TEST(written_and_read)
{
    xd_manifest *tree = tree_of(5000);
    xd_bytes     list = XD_BYTES_LIT("0123456789abcdef");
    xd_memory   *m = NULL;
    xd_digest    id;
    ck_assert_int_eq(xd_memory_peek(folder, "host:/a", &id), -ENOENT);
    ck_assert_int_eq(xd_memory_load(folder, "host:/a", &m), -ENOENT);
    ck_assert_int_eq(xd_memory_store(folder, "host:/a", tree, list_of, &list, NULL), 0);
    ck_assert_int_eq(xd_memory_peek(folder, "host:/a", &id), 0);
    ck_assert(xd_digest_eq(id, xd_manifest_digest(tree)));
    ck_assert_int_eq(xd_memory_peek(folder, "host:/b", &id), -ENOENT);
    ck_assert_int_eq(xd_memory_load(folder, "host:/a", &m), 0);
    ck_assert(xd_digest_eq(xd_manifest_digest(&m->tree), xd_manifest_digest(tree)));
    ck_assert_uint_eq(m->tree.files, 5000);
    size_t wrong = 0;
    for (uint64_t i = 0; i < 5000; i++)
        wrong += xd_bytes_eq(xd_memory_list(m, (xd_digest){ i, ~i }), list) != (i % 3 == 0);
    ck_assert_uint_eq(wrong, 0);
    xd_memory_free(m);
    xd_memory_forget(folder, "host:/a");
    ck_assert_uint_eq(names(), 0);
    xd_manifest_free(tree);
}
END_TEST

START_TEST(damaged)
{
    xd_manifest *tree = tree_of(20);
    xd_bytes     list = XD_BYTES_LIT("0123456789abcdef");
    ck_assert_int_eq(xd_memory_store(folder, "key", tree, list_of, &list, NULL), 0);
    DIR           *d = opendir(folder);
    struct dirent *e;
    char           path[400] = "";
    struct stat    st;
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            (void)snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    (void)closedir(d);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    xd_autobuf whole = XD_BUF_INIT;
    ck_assert_int_eq(xd_path_read_file(path, 1 << 20, &whole, NULL), 0);
    size_t wrong = 0;
    for (size_t i = 0; i < whole.len; i++) { /* any byte, and any length */
        xd_memory *m = NULL;
        int        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (i % 2)
            whole.data[i] ^= 0x10;
        wrong += write(fd, whole.data, i % 2 ? whole.len : i) < 0;
        (void)close(fd);
        if (i % 2)
            whole.data[i] ^= 0x10;
        int r = xd_memory_load(folder, "key", &m);
        /* What fills up behind the key means nothing. */
        bool filling = i % 2 && r == 0 && i >= 91 && i < 96;
        wrong += !filling && (r != -ENOENT || access(path, F_OK) == 0);
        xd_memory_free(m);
    }
    ck_assert_uint_eq(wrong, 0);
    xd_manifest_free(tree);
}
END_TEST

START_TEST(oldest_go)
{
    xd_manifest *tree = tree_of(3);
    xd_digest    id;
    for (unsigned i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key %u", i);
        ck_assert_int_eq(xd_memory_store(folder, key, tree, NULL, NULL, NULL), 0);
        usleep(2000); /* another mtime, also where the clock of files is coarse */
    }
    usleep(20000);
    ck_assert_int_eq(xd_memory_store(folder, "young", tree, NULL, NULL, NULL), 0);
    xd_memory_prune(folder, 5, 1 << 20);
    ck_assert_uint_eq(names(), 5);
    ck_assert_int_eq(xd_memory_peek(folder, "young", &id), 0);
    ck_assert_int_eq(xd_memory_peek(folder, "key 0", &id), -ENOENT);
    xd_memory_prune(folder, 5, 10); /* the youngest stays, however large */
    ck_assert_uint_eq(names(), 1);
    ck_assert_int_eq(xd_memory_peek(folder, "young", &id), 0);
    xd_manifest_free(tree);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("memory");
    TCase *t = tcase_create("memory");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, written_and_read);
    tcase_add_test(t, damaged);
    tcase_add_test(t, oldest_go);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
