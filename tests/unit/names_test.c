/* names_test.c - what workers are called. */
#include <check.h>
#include <string.h>

#include "engine/names.h"

static xd_names names;

static void setup(void)
{
    names = (xd_names){ 0 };
}

static void teardown(void)
{
    xd_names_release(&names);
}

START_TEST(valid_ones)
{
    static const struct {
        const char *name;
        bool        valid;
    } table[] = {
        { "a", true },      { "alpha-1.x_Y", true }, { "gw", true },  { "gw3a", true },     { "g", true },
        { "gw.3", true },   { "_", true },           { "7", true },   { "", false },        { "gw3", false },
        { "gw007", false }, { ".a", false },         { "-a", false }, { "a/b", false },     { "a b", false },
        { "a\n", false },   { "\xc3\xa4", false },   { "..", false }, { "a\x1b[m", false },
    };
    char long_one[XD_NAME_MAX + 2] = "";
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        ck_assert_msg(xd_names_valid(xd_bytes_str(table[i].name)) == table[i].valid, "'%s'", table[i].name);
    memset(long_one, 'x', XD_NAME_MAX);
    ck_assert(xd_names_valid(xd_bytes_str(long_one)));
    ck_assert_int_eq(xd_names_set(&names, 0, xd_bytes_str(long_one)), 0);
    ck_assert_str_eq(xd_names_of(&names, 0).text, long_one);
    long_one[XD_NAME_MAX] = 'x';
    ck_assert(!xd_names_valid(xd_bytes_str(long_one)));
    ck_assert(!xd_names_valid((xd_bytes){ (const uint8_t *)"a\0b", 3 }));
}
END_TEST

START_TEST(given_ones)
{
    ck_assert_str_eq(xd_names_of(&names, 3).text, "gw3");
    ck_assert_int_eq(xd_names_set(&names, 3, XD_BYTES_LIT("alpha")), 0);
    ck_assert_int_eq(xd_names_set(&names, 1, XD_BYTES_LIT("beta")), 0);
    ck_assert_int_eq(xd_names_set(&names, 2, XD_BYTES_LIT("a b")), -EINVAL);
    ck_assert_str_eq(xd_names_of(&names, 3).text, "alpha");
    ck_assert_str_eq(xd_names_of(&names, 1).text, "beta");
    ck_assert_str_eq(xd_names_of(&names, 2).text, "gw2");
    ck_assert_str_eq(xd_names_of(&names, 65534).text, "gw65534");
    ck_assert_int_eq(xd_names_set(&names, 3, XD_BYTES_LIT("gamma")), 0);
    ck_assert_str_eq(xd_names_of(&names, 3).text, "gamma");
    ck_assert_int_eq(xd_names_set(&names, 3, XD_BYTES_LIT("")), 0);
    ck_assert_str_eq(xd_names_of(&names, 3).text, "gw3");
}
END_TEST

static int add(xd_buf *to, const char *name)
{
    return xd_wire_TEXT_append(to, &(xd_wire_TEXT){ .text = xd_bytes_str(name) });
}

START_TEST(lists)
{
    xd_autobuf list = XD_BUF_INIT;
    ck_assert_int_eq(add(&list, ""), 0);
    ck_assert_int_eq(add(&list, "alpha"), 0);
    xd_wire_list told = { .count = 2, .ptr = list.data, .len = list.len };
    ck_assert_int_eq(xd_names_set_list(&names, 4, told), 0);
    ck_assert_str_eq(xd_names_of(&names, 4).text, "gw4");
    ck_assert_str_eq(xd_names_of(&names, 5).text, "alpha");
    ck_assert_str_eq(xd_names_of(&names, 6).text, "gw6");
    ck_assert_int_eq(xd_names_set_list(&names, 65534, told), -EPROTO);
    ck_assert_int_eq(add(&list, "../x"), 0);
    told = (xd_wire_list){ .count = 3, .ptr = list.data, .len = list.len };
    ck_assert_int_eq(xd_names_set_list(&names, 4, told), -EPROTO);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("names");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, valid_ones);
    tcase_add_test(t, given_ones);
    tcase_add_test(t, lists);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
