/* needs: engine */
/* trust_test.c - a server's folder of keys: what it makes, reads again, refuses, and how often. */
#include "engine/trust.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"

#define KEY1 "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define KEY2 "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define NOW 1800000000

static xd_error  err;
static char      dir[64], keys[128], list[160], revoked[160];
static xd_trust *t;
static xd_pubkey key1, key2;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/xd-trust-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(keys, sizeof(keys), "%s/a/keys", dir);
    snprintf(list, sizeof(list), "%s/" XD_KEYLIST_CONTROLLERS, keys);
    snprintf(revoked, sizeof(revoked), "%s/" XD_KEYLIST_REVOKED, keys);
    ck_assert_int_eq(xd_pubkey_parse(&key1, XD_BYTES_LIT(KEY1)), 0);
    ck_assert_int_eq(xd_pubkey_parse(&key2, XD_BYTES_LIT(KEY2)), 0);
    err = (xd_error){ 0 };
}

static void teardown(void)
{
    t = xd_trust_free(t);
    ck_assert_int_eq(xd_path_remove_tree(dir), 0);
}

static int opened(bool make)
{
    t = xd_trust_free(t);
    return xd_trust_open(&t, keys, XD_KEYLIST_CONTROLLERS, make, &err);
}

static void add(const char *path, const char *line)
{
    ck_assert_msg(xd_keylist_add(path, line, &err) == 0, "%s", err.text);
}

static xd_trust_verdict ask(const xd_pubkey *key, const char *address, int64_t now_s)
{
    return xd_trust_ask(t, key, address, now_s, NULL);
}

START_TEST(own_key)
{
    struct stat st;
    char        id[160];
    xd_pubkey   was;
    snprintf(id, sizeof(id), "%s/" XD_KEY_FILE, keys);
    ck_assert_int_eq(opened(false), -ENOENT);
    ck_assert_msg(!t && strstr(err.text, id), "%s", err.text);
    ck_assert_int_eq(access(keys, F_OK), -1); /* nor was anything made */
    ck_assert_msg(opened(true) == 0, "%s", err.text);
    ck_assert(stat(keys, &st) == 0 && (st.st_mode & 07777) == 0700);
    ck_assert(stat(id, &st) == 0 && (st.st_mode & 07777) == 0600);
    was = xd_trust_key(t)->pub;
    ck_assert_uint_eq(xd_trust_count(t), 0);
    ck_assert_msg(opened(false) == 0, "%s", err.text);
    ck_assert(xd_pubkey_eq(&was, &xd_trust_key(t)->pub));
    ck_assert_int_eq(chmod(id, 0644), 0); /* not replaced by another */
    ck_assert_int_eq(opened(true), -EPERM);
    ck_assert(!t && strstr(err.text, "0644"));
}
END_TEST

START_TEST(verdicts)
{
    const xd_key_line *line;
    ck_assert_int_eq(opened(true), 0);
    ck_assert_int_eq(ask(&key1, "10.0.0.1", NOW), XD_TRUST_UNKNOWN);
    add(list, "from=\"10.0.0.0/8\",expires=2027-01-15T08:00:01Z,max-workers=3 xdk1 " KEY1 " me");
    ck_assert_int_eq(xd_trust_refresh(t, &err), 1);
    ck_assert_int_eq(xd_trust_refresh(t, &err), 0);
    ck_assert_uint_eq(xd_trust_count(t), 1);
    ck_assert_int_eq(xd_trust_ask(t, &key1, "10.0.0.1", NOW, &line), XD_TRUST_GOOD);
    ck_assert(line && line->max_workers == 3 && strcmp(line->comment, "me") == 0);
    ck_assert_int_eq(xd_trust_ask(t, &key2, "10.0.0.1", NOW, &line), XD_TRUST_UNKNOWN);
    ck_assert_ptr_null(line);
    ck_assert_int_eq(ask(&key1, "11.0.0.1", NOW), XD_TRUST_ELSEWHERE);
    ck_assert_int_eq(ask(&key1, "10.0.0.1", NOW + 1), XD_TRUST_EXPIRED);
    ck_assert_int_eq(xd_trust_still(t, &key1, "10.0.0.1", NOW), XD_TRUST_GOOD);
    ck_assert_int_eq(xd_trust_still(t, &key1, NULL, NOW), XD_TRUST_ELSEWHERE);
    ck_assert_int_eq(xd_trust_still(t, &key1, "10.0.0.1", NOW + 1), XD_TRUST_EXPIRED);
    add(revoked, "xdk1 " KEY1);
    ck_assert_int_eq(xd_trust_still(t, &key1, "10.0.0.1", NOW), XD_TRUST_GOOD); /* not read yet */
    ck_assert_int_eq(xd_trust_refresh(t, &err), 1);
    ck_assert_int_eq(xd_trust_still(t, &key1, "10.0.0.1", NOW), XD_TRUST_REVOKED);
    ck_assert_int_eq(ask(&key1, "10.0.0.1", NOW), XD_TRUST_REVOKED);
    ck_assert_int_eq(xd_keylist_remove(revoked, XD_KEYLIST_AUTHORIZED, &key1, NULL, &err), 1);
    ck_assert_int_eq(xd_trust_refresh(t, &err), 1);
    ck_assert_int_eq(ask(&key1, "10.0.0.1", NOW), XD_TRUST_GOOD);
    ck_assert_int_eq(unlink(list), 0); /* one that is not there has no keys */
    ck_assert_int_eq(xd_trust_refresh(t, &err), 1);
    ck_assert_int_eq(ask(&key1, "10.0.0.1", NOW), XD_TRUST_UNKNOWN);
    for (int v = XD_TRUST_GOOD; v <= XD_TRUST_OFTEN; v++)
        ck_assert_uint_gt(strlen(xd_trust_words((xd_trust_verdict)v)), 10);
}
END_TEST

/* What was good stays good, the cause is told once, and what is right again is read. */
START_TEST(a_list_that_cannot_be_used)
{
    ck_assert_int_eq(opened(true), 0);
    add(list, "xdk1 " KEY1);
    ck_assert_int_eq(xd_trust_refresh(t, &err), 1);
    add(list, "colour=red xdk1 " KEY2);
    ck_assert_int_eq(xd_trust_refresh(t, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, list) && strstr(err.text, "line 2"), "%s", err.text);
    err = (xd_error){ 0 };
    ck_assert_int_eq(xd_trust_refresh(t, &err), 0);
    ck_assert_str_eq(err.text, "");
    ck_assert_uint_eq(xd_trust_count(t), 1);
    ck_assert_int_eq(ask(&key1, "::1", NOW), XD_TRUST_GOOD);
    ck_assert_int_eq(ask(&key2, "::1", NOW), XD_TRUST_UNKNOWN);
    xd_trust *other = NULL;
    ck_assert_int_eq(xd_trust_open(&other, keys, XD_KEYLIST_CONTROLLERS, true, &err), -EINVAL);
    ck_assert_ptr_null(other);
    ck_assert_int_eq(xd_path_write_file(list, XD_BYTES_LIT("xdk1 " KEY2 "\n"), 0600, &err), 0);
    ck_assert_int_eq(xd_trust_refresh(t, &err), 1);
    ck_assert_int_eq(ask(&key2, "::1", NOW), XD_TRUST_GOOD);
    ck_assert_int_eq(ask(&key1, "::1", NOW), XD_TRUST_UNKNOWN);
    /* One that others may write counts for nothing from the moment on. */
    ck_assert_int_eq(xd_path_write_file(list, XD_BYTES_LIT("xdk1 " KEY1 "\n"), 0666, &err), 0);
    ck_assert_int_eq(xd_trust_refresh(t, &err), -EPERM);
    ck_assert_int_eq(ask(&key1, "::1", NOW), XD_TRUST_UNKNOWN);
    ck_assert_int_eq(ask(&key2, "::1", NOW), XD_TRUST_GOOD);
}
END_TEST

/* A mistyped line in one list does not keep a key in that another list takes away. */
START_TEST(revoked_beside_a_bad_list)
{
    ck_assert_int_eq(opened(true), 0);
    add(list, "xdk1 " KEY1);
    ck_assert_int_eq(xd_trust_refresh(t, &err), 1);
    add(list, "colour=red xdk1 " KEY2);
    add(revoked, "xdk1 " KEY1);
    ck_assert_int_eq(xd_trust_refresh(t, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, list) && strstr(err.text, "colour"), "%s", err.text);
    ck_assert_int_eq(ask(&key1, "::1", NOW), XD_TRUST_REVOKED);
}
END_TEST

START_TEST(too_often)
{
    ck_assert_int_eq(opened(true), 0);
    add(list, "xdk1 " KEY1);
    ck_assert_int_eq(xd_trust_refresh(t, &err), 1);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(ask(&key2, "10.0.0.1", NOW + i), XD_TRUST_UNKNOWN);
    ck_assert_int_eq(ask(&key2, "10.0.0.1", NOW + 20), XD_TRUST_OFTEN);
    ck_assert_int_eq(ask(&key2, "10.0.0.1", NOW + 59), XD_TRUST_OFTEN);
    ck_assert_int_eq(ask(&key2, "10.0.0.2", NOW + 59), XD_TRUST_UNKNOWN); /* others are not meant */
    ck_assert_int_eq(ask(&key1, "10.0.0.1", NOW + 59), XD_TRUST_GOOD);    /* nor a key that is good */
    ck_assert_int_eq(xd_trust_still(t, &key2, "10.0.0.1", NOW + 59), XD_TRUST_UNKNOWN);
    ck_assert_int_eq(ask(&key2, "10.0.0.1", NOW + 60), XD_TRUST_UNKNOWN); /* the minute is over */
    for (int i = 0; i < 30; i++)
        (void)ask(&key2, "10.0.0.1", NOW + 61);
    ck_assert_int_eq(ask(&key2, "10.0.0.1", NOW + 61), XD_TRUST_OFTEN);
    ck_assert_int_eq(ask(&key2, "10.0.0.1", NOW - 1000), XD_TRUST_UNKNOWN); /* the clock was set back */
}
END_TEST

/* More addresses than are remembered: those that failed last still are. */
START_TEST(many_addresses)
{
    char address[32];
    ck_assert_int_eq(opened(true), 0);
    for (int i = 0; i < 2000; i++) {
        snprintf(address, sizeof(address), "10.0.%d.%d", i / 250, i % 250);
        ck_assert_int_eq(ask(&key2, address, NOW + i / 100), XD_TRUST_UNKNOWN);
    }
    for (int i = 0; i < 20; i++)
        (void)ask(&key2, address, NOW + 20);
    ck_assert_int_eq(ask(&key2, address, NOW + 20), XD_TRUST_OFTEN);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trust");
    TCase *c = tcase_create("all");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, own_key);
    tcase_add_test(c, verdicts);
    tcase_add_test(c, a_list_that_cannot_be_used);
    tcase_add_test(c, revoked_beside_a_bad_list);
    tcase_add_test(c, too_often);
    tcase_add_test(c, many_addresses);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
