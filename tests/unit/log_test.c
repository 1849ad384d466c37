#include <check.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/log.h"

typedef struct seen {
    int          lines;
    xd_log_level level;
    char         text[2048];
} seen;

static void sink(void *arg, xd_log_level level, const char *line)
{
    seen *s = arg;
    s->lines++;
    s->level = level;
    memcpy(s->text, line, strlen(line) + 1);
}

START_TEST(levels)
{
    seen   s = { 0 };
    xd_log log = { .fn = sink, .arg = &s, .min = XD_LOG_WARNING };
    xd_log_write(&log, XD_LOG_DEBUG, "no");
    xd_log_write(&log, XD_LOG_INFO, "no");
    ck_assert_int_eq(s.lines, 0);
    xd_log_write(&log, XD_LOG_ERROR, "%s %d", "peer", 7);
    ck_assert_int_eq(s.lines, 1);
    ck_assert_int_eq(s.level, XD_LOG_ERROR);
    ck_assert_str_eq(s.text, "peer 7");
}
END_TEST

START_TEST(no_sink)
{
    xd_log log = { 0 };
    xd_log_write(NULL, XD_LOG_ERROR, "x");
    xd_log_write(&log, XD_LOG_ERROR, "x");
}
END_TEST

START_TEST(long_lines_are_cut)
{
    seen   s = { 0 };
    xd_log log = { .fn = sink, .arg = &s };
    xd_log_write(&log, XD_LOG_INFO, "%5000d", 1);
    ck_assert_uint_eq(strlen(s.text), 1023);
}
END_TEST

START_TEST(errors)
{
    xd_error e = { 0 };
    ck_assert_int_eq(xd_error_set(NULL, -EINVAL, "x"), -EINVAL);
    ck_assert_int_eq(xd_error_set(&e, -ENOENT, "no %s", "file"), -ENOENT);
    ck_assert_int_eq(e.code, -ENOENT);
    ck_assert_str_eq(e.text, "no file");
    (void)xd_error_set(&e, -1, "%5000d", 1);
    ck_assert_uint_eq(strlen(e.text), XD_ERROR_TEXT - 1);
    ck_assert_str_eq(xd_error_name(-ENOENT), xd_error_name(ENOENT));
    ck_assert_str_eq(xd_error_name(-ENOENT), "No such file or directory");
    ck_assert_str_eq(xd_error_name(-99999), "unknown error");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("log");
    TCase *c = tcase_create("log");
    tcase_add_test(c, levels);
    tcase_add_test(c, no_sink);
    tcase_add_test(c, long_lines_are_cut);
    tcase_add_test(c, errors);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
