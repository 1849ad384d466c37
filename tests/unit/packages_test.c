/* needs: engine actors gateways runners */
#include "actors/packages.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "name version flags, ..." as a host tells it. */
static xd_wire_list told(xd_buf *room, const char *text)
{
    xd_wire_list list = { 0 };
    char         name[64], version[64];
    unsigned     flags;
    int          used;
    xd_buf_clear(room);
    for (; sscanf(text, " %63s %63s %u%n", name, version, &flags, &used) == 3; list.count++) {
        xd_wire_PACKAGE p = { .name = xd_bytes_str(name),
                              .version = xd_bytes_str(version),
                              .flags = (uint8_t)flags };
        ck_assert_int_eq(xd_wire_PACKAGE_append(room, &p), 0);
        text += used + (text[used] == ',');
    }
    list.ptr = room->data;
    list.len = room->len;
    return list;
}

static const struct {
    const char *here, *there, *shown; /* name(here>there), * = a plugin */
} cases[] = {
    { "", "", "" },
    { "attrs 24.2 0, six 1.0 0", "six 1.0 0, attrs 24.2 0", "" },
    { "attrs 24.2 0", "attrs 23.1 0", "attrs(24.2>23.1)" },
    { "attrs 24.2 0", "", "attrs(24.2>-)" },
    { "", "attrs 23.1 0", "attrs(->23.1)" },
    { "b 1 0, a 1 0, c 1 0", "b 2 0, d 1 0", "a(1>-) b(1>2) c(1>-) d(->1)" },
    /* plugins first; what is only there last, plugin or not */
    { "a 1 0, z-cov 1 1", "b 2 0, m-mock 3 1", "z-cov(1>-)* a(1>-) m-mock(->3)* b(->2)" },
    /* one became a plugin */
    { "a 1 0, b 1 0", "b 2 1", "b(1>2)* a(1>-)" },
    { "pip 1 0, setuptools 1 0, wheel 1 0", "pip 2 0", "" },
    { "", "pip 2 0, wheel 3 0", "" },
    { "pipx 1 0", "", "pipx(1>-)" },
    /* the project's own is brought by the sync, whatever is there */
    { "mine 1.dev0 2, plug 1 3", "mine 2 0", "" },
    { "mine 1 0", "mine 2 2", "mine(1>2)" },
    /* the first of a name is what is imported */
    { "a 1 0, a 2 0, b 1 0", "b 1 0, a 1 0, a 3 0", "" },
    { "a 2 0, a 1 0", "a 1 0", "a(2>1)" },
};

START_TEST(compared)
{
    xd_autobuf        room = XD_BUF_INIT, text = XD_BUF_INIT;
    xd_installed_list here = XD_INSTALLED_LIST_INIT, there = XD_INSTALLED_LIST_INIT;
    xd_package       *all = NULL;
    size_t            n = 0;
    ck_assert_int_eq(xd_installed_take(&here, told(&room, cases[_i].here)), 0);
    ck_assert_int_eq(xd_installed_take(&there, told(&room, cases[_i].there)), 0);
    ck_assert_int_eq(xd_installed_compare(&here, &there, &all, &n), 0);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(xd_buf_printf(&text, "%s%s(%s>%s)%s", i ? " " : "", all[i].name,
                                       all[i].here ? all[i].here : "-", all[i].there ? all[i].there : "-",
                                       all[i].plugin ? "*" : ""),
                         0);
    ck_assert_str_eq(xd_buf_cstr(&text), cases[_i].shown);
    ck_assert_int_eq(all != NULL, n > 0);
    free(all);
    xd_installed_release(&here);
    xd_installed_release(&there);
}
END_TEST

START_TEST(texts_of_others)
{
    static const uint8_t odd[] = { 'a', 0x1b, '[', '3', '1', 'm', 0, '\n', 0xff, 0xc2, 0x9b };
    char                 many[5000];
    xd_autobuf           room = XD_BUF_INIT;
    xd_installed_list    l = XD_INSTALLED_LIST_INIT;
    memset(many, 'x', sizeof(many));
    xd_wire_PACKAGE p = { .name = { odd, sizeof(odd) },
                          .version = { (const uint8_t *)many, sizeof(many) },
                          .flags = 255 };
    ck_assert_int_eq(xd_wire_PACKAGE_append(&room, &p), 0);
    ck_assert_int_eq(xd_installed_take(&l, (xd_wire_list){ .count = 1, .ptr = room.data, .len = room.len }),
                     0);
    ck_assert_uint_eq(l.count, 1);
    ck_assert_str_eq(l.at[0].name, "a\\x1b[31m\\x00\\x0a\\xff\\x9b");
    ck_assert_uint_eq(strlen(l.at[0].version), 256);
    xd_installed_release(&l);
}
END_TEST

/* Name number i of a list; `version` as all have it. */
static xd_wire_list numbered(xd_buf *room, uint32_t count, const char *version)
{
    xd_buf_clear(room);
    for (uint32_t i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%05u", count - i);
        xd_wire_PACKAGE p = { .name = xd_bytes_str(name), .version = xd_bytes_str(version) };
        ck_assert_int_eq(xd_wire_PACKAGE_append(room, &p), 0);
    }
    return (xd_wire_list){ .count = count, .ptr = room->data, .len = room->len };
}

START_TEST(bounded)
{
    xd_autobuf        room = XD_BUF_INIT;
    xd_installed_list here = XD_INSTALLED_LIST_INIT, there = XD_INSTALLED_LIST_INIT;
    xd_package       *all = NULL;
    size_t            n = 0;
    ck_assert_int_eq(xd_installed_take(&here, numbered(&room, XD_PACKAGES_MOST + 1, "1")), -EPROTO);
    xd_installed_release(&here);
    ck_assert_int_eq(xd_installed_take(&here, numbered(&room, XD_PACKAGES_MOST, "1")), 0);
    ck_assert_int_eq(xd_installed_take(&there, numbered(&room, XD_PACKAGES_MOST, "2")), 0);
    ck_assert_int_eq(xd_installed_compare(&here, &there, &all, &n), 0);
    ck_assert_uint_eq(n, XD_PACKAGES_MOST);
    ck_assert_str_eq(all[0].name, "p00001");
    ck_assert_str_eq(all[n - 1].name, "p10000");
    free(all);
    xd_installed_release(&here);
    xd_installed_release(&there);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("packages");
    TCase *c = tcase_create("packages");
    tcase_add_loop_test(c, compared, 0, (int)XD_ARRAY_LEN(cases));
    tcase_add_test(c, texts_of_others);
    tcase_add_test(c, bounded);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
