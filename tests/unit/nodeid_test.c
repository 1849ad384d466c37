/* nodeid_test.c - node ids that say only how they differ from the one before. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/nodeid.h"

START_TEST(shared_bytes)
{
    ck_assert_uint_eq(xd_nodeid_shared((xd_bytes){ 0 }, XD_BYTES_LIT("a")), 0);
    ck_assert_uint_eq(xd_nodeid_shared(XD_BYTES_LIT("abc"), XD_BYTES_LIT("abd")), 2);
    ck_assert_uint_eq(xd_nodeid_shared(XD_BYTES_LIT("abc"), XD_BYTES_LIT("abc")), 3);
    ck_assert_uint_eq(xd_nodeid_shared(XD_BYTES_LIT("abc"), XD_BYTES_LIT("ab")), 2);
    ck_assert_uint_eq(xd_nodeid_shared(XD_BYTES_LIT("x"), XD_BYTES_LIT("y")), 0);
    xd_autobuf a = XD_BUF_INIT;
    ck_assert_int_eq(xd_buf_fill(&a, 'a', 100000), 0);
    ck_assert_uint_eq(xd_nodeid_shared(xd_buf_view(&a), xd_buf_view(&a)), 65535);
}
END_TEST

START_TEST(joined_as_they_were)
{
    static const char *const ids[] = { "tests/test_a.py::test_one",
                                       "tests/test_a.py::test_one[x]",
                                       "tests/test_a.py::test_two",
                                       "",
                                       "other.py::t",
                                       "other.py::t",
                                       "o" };
    xd_autobuf               scratch = XD_BUF_INIT, kept = XD_BUF_INIT;
    xd_bytes                 sent = { 0 }, previous = { 0 };
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        xd_bytes       whole = xd_bytes_str(ids[i]), got;
        uint16_t       shared = xd_nodeid_shared(sent, whole);
        xd_wire_NODEID n = { .shared = shared, .id = { whole.ptr + shared, whole.len - shared } };
        ck_assert_int_eq(xd_nodeid_join(&scratch, previous, &n, &got), 0);
        ck_assert_msg(xd_bytes_eq(got, whole), "%s", ids[i]);
        xd_buf_clear(&kept);
        ck_assert_int_eq(xd_buf_add_bytes(&kept, got), 0);
        previous = xd_buf_view(&kept);
        sent = whole;
    }
}
END_TEST

START_TEST(more_shared_than_there_is)
{
    xd_autobuf     scratch = XD_BUF_INIT;
    xd_bytes       got;
    xd_wire_NODEID n = { .shared = 4, .id = XD_BYTES_LIT("x") };
    ck_assert_int_eq(xd_nodeid_join(&scratch, XD_BYTES_LIT("abc"), &n, &got), -EPROTO);
    ck_assert_int_eq(xd_nodeid_join(&scratch, (xd_bytes){ 0 }, &n, &got), -EPROTO);
    n.shared = 3;
    ck_assert_int_eq(xd_nodeid_join(&scratch, XD_BYTES_LIT("abc"), &n, &got), 0);
    ck_assert(xd_bytes_eq_str(got, "abcx"));
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("nodeid");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_test(t, shared_bytes);
    tcase_add_test(t, joined_as_they_were);
    tcase_add_test(t, more_shared_than_there_is);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
