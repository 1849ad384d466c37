#include <check.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "tests/unit/often.h"

static xd_buf out;

static void setup(void)
{
    out = XD_BUF_INIT;
}

static void teardown(void)
{
    xd_buf_release(&out);
}

#define SAME(call, want)                           \
    do {                                           \
        xd_buf_clear(&out);                        \
        ck_assert_int_eq(call, 0);                 \
        ck_assert_str_eq(xd_buf_cstr(&out), want); \
    } while (0)

START_TEST(utf8)
{
    static const struct {
        const char *text;
        size_t      len;
        uint32_t    cp;
    } good[] = { { "a", 1, 'a' },
                 { "\xc2\x80", 2, 0x80 },
                 { "\xdf\xbf", 2, 0x7ff },
                 { "\xe0\xa0\x80", 3, 0x800 },
                 { "\xed\x9f\xbf", 3, 0xd7ff },
                 { "\xee\x80\x80", 3, 0xe000 },
                 { "\xf0\x90\x80\x80", 4, 0x10000 },
                 { "\xf4\x8f\xbf\xbf", 4, 0x10ffff } };
    static const char *const bad[] = { "\x80",
                                       "\xbf",
                                       "\xc0\x80",
                                       "\xc1\xbf",
                                       "\xc2",
                                       "\xc2g",
                                       "\xe0\x9f\xbf",
                                       "\xe2\x82",
                                       "\xed\xa0\x80",
                                       "\xed\xbf\xbf",
                                       "\xf0\x8f\xbf\xbf",
                                       "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xff",
                                       "\xf0\x90\x80" };
    uint32_t                 cp = 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(good); i++) {
        ck_assert_uint_eq(xd_text_utf8((const uint8_t *)good[i].text, strlen(good[i].text), &cp),
                          good[i].len);
        ck_assert_uint_eq(cp, good[i].cp);
        ck_assert(xd_text_is_utf8(xd_bytes_str(good[i].text)));
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++) {
        ck_assert_uint_eq(xd_text_utf8((const uint8_t *)bad[i], strlen(bad[i]), &cp), 0);
        ck_assert(!xd_text_is_utf8(xd_bytes_str(bad[i])));
    }
    ck_assert_uint_eq(xd_text_utf8(NULL, 0, &cp), 0);
}
END_TEST

/* Each byte, at each place of texts that are longer and shorter than what is looked at in one step. */
START_TEST(printable)
{
    uint8_t text[19];
    for (size_t len = 0; len <= sizeof(text); len++) {
        memset(text, 'a', sizeof(text));
        often_assert_uint_eq(xd_text_printable(text, len), len);
        for (size_t at = 0; at < len; at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                memset(text, byte & 1 ? ' ' : '~', sizeof(text));
                text[at] = (uint8_t)byte;
                often_assert_uint_eq(xd_text_printable(text, len), byte >= 0x20 && byte < 0x7f ? len : at);
            }
    }
}
END_TEST

START_TEST(harmless)
{
    SAME(xd_text_harmless(&out, XD_BYTES_LIT("plain \xc3\xa9 \xe4\xb8\xad"), true),
         "plain \xc3\xa9 \xe4\xb8\xad");
    SAME(xd_text_harmless(&out, XD_BYTES_LIT("a\x1b[31mb"), true), "a\\x1b[31mb");
    SAME(xd_text_harmless(&out, XD_BYTES_LIT("a\nb\tc\rd"), true), "a\nb\tc\\x0dd");
    SAME(xd_text_harmless(&out, XD_BYTES_LIT("a\nb\tc"), false), "a\\x0ab\\x09c");
    SAME(xd_text_harmless(&out,
                          XD_BYTES_LIT("\xc2\x9b"
                                       "1m\x7f"),
                          true),
         "\\x9b1m\\x7f");
    SAME(xd_text_harmless(&out,
                          XD_BYTES_LIT("\xe2\x80\xae"
                                       "evil"),
                          true),
         "\\u202eevil");
    SAME(xd_text_harmless(&out, XD_BYTES_LIT("\xff\xed\xa0\x80"), true), "\\xff\\xed\\xa0\\x80");
    SAME(xd_text_harmless(&out, XD_BYTES_LIT("z\0z"), true), "z\\x00z");
    SAME(xd_text_harmless(&out, (xd_bytes){ 0 }, true), "");
}
END_TEST

START_TEST(harmless_lines)
{
    SAME(xd_text_harmless_lines(&out, XD_BYTES_LIT("a\x1b[31mb\nc\x1b[2Jd"), false), "ab\nc\\x1b[2Jd");
    SAME(xd_text_harmless_lines(&out, XD_BYTES_LIT("a\x1b[31mb\nc\x1b[2Jd"), true),
         "a\x1b[31mb\nc\\x1b[2Jd\x1b[0m");
    SAME(xd_text_harmless_lines(&out, XD_BYTES_LIT("\x1b[1;38;5;9ma\x1b[0mb"), true),
         "\x1b[1;38;5;9ma\x1b[0mb");
    SAME(xd_text_harmless_lines(&out, XD_BYTES_LIT("\x1b[m"), true), "\x1b[m");
    SAME(xd_text_harmless_lines(&out, XD_BYTES_LIT("\x1b[31"), true), "\\x1b[31");
    SAME(xd_text_harmless_lines(&out, XD_BYTES_LIT("\x1b[?25lx\x1b]0;t\x07"), true),
         "\\x1b[?25lx\\x1b]0;t\\x07");
    SAME(xd_text_harmless_lines(&out, (xd_bytes){ 0 }, true), "");
}
END_TEST

/* Whatever goes in: what comes out is valid UTF-8 without a byte that drives a terminal. */
START_TEST(harmless_always)
{
    uint8_t in[64];
    srand(1);
    for (int round = 0; round < 5000; round++) {
        for (size_t i = 0; i < sizeof(in); i++)
            in[i] = (uint8_t)rand();
        xd_buf_clear(&out);
        often_assert_int_eq(xd_text_harmless(&out, (xd_bytes){ in, sizeof(in) }, false), 0);
        often_assert(xd_text_is_utf8(xd_buf_view(&out)));
        for (size_t i = 0; i < out.len; i++)
            often_assert(out.data[i] >= 0x20 && out.data[i] != 0x7f);
        xd_buf_clear(&out);
        often_assert_int_eq(xd_text_to_utf8(&out, (xd_bytes){ in, sizeof(in) }), 0);
        often_assert(xd_text_is_utf8(xd_buf_view(&out)));
        xd_buf_clear(&out);
        often_assert_int_eq(xd_text_strip_ansi(&out, (xd_bytes){ in, sizeof(in) }), 0);
        often_assert(out.len <= sizeof(in));
    }
}
END_TEST

START_TEST(to_utf8)
{
    SAME(xd_text_to_utf8(&out, XD_BYTES_LIT("a\xff"
                                            "b\xc3\xa9")),
         "a\xef\xbf\xbd"
         "b\xc3\xa9");
    SAME(xd_text_to_utf8(&out, XD_BYTES_LIT("\xe4\xb8")), "\xef\xbf\xbd\xef\xbf\xbd");
}
END_TEST

START_TEST(strip_ansi)
{
    SAME(xd_text_strip_ansi(&out, XD_BYTES_LIT("\x1b[1;31mred\x1b[0m!")), "red!");
    SAME(xd_text_strip_ansi(&out, XD_BYTES_LIT("a\x1b]8;;http://x\x07link\x1b]8;;\x1b\\z")), "alinkz");
    SAME(xd_text_strip_ansi(&out, XD_BYTES_LIT("end\x1b")), "end");
    SAME(xd_text_strip_ansi(&out, XD_BYTES_LIT("end\x1b[12")), "end");
    SAME(xd_text_strip_ansi(&out, XD_BYTES_LIT("a\x1b"
                                               "Mb")),
         "ab");
}
END_TEST

START_TEST(numbers)
{
    uint64_t v = 7;
    ck_assert_int_eq(xd_text_u64("12", 0, 100, &v), 0);
    ck_assert_uint_eq(v, 12);
    ck_assert_int_eq(xd_text_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
    ck_assert_uint_eq(v, UINT64_MAX);
    static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "0x1", "1.0", "a" };
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++)
        ck_assert_int_eq(xd_text_u64(bad[i], 0, 100, &v), -EINVAL);
    ck_assert_int_eq(xd_text_u64("101", 0, 100, &v), -ERANGE);
    ck_assert_int_eq(xd_text_u64("0", 1, 100, &v), -ERANGE);
    ck_assert_int_eq(xd_text_u64("18446744073709551616", 0, UINT64_MAX, &v), -ERANGE);
    ck_assert_uint_eq(v, UINT64_MAX);
}
END_TEST

START_TEST(durations)
{
    static const struct {
        const char *text;
        uint64_t    ns;
    } good[] = { { "30", 30000000000 },    { "30s", 30000000000 },
                 { "1.5s", 1500000000 },   { "20ms", 20000000 },
                 { "5m", 300000000000 },   { "2h", 7200000000000 },
                 { "1d", 86400000000000 }, { "0", 0 } };
    static const char *const bad[] = { "",    "s",   "-1",  "1x",   "1.2.3", "1 s",
                                       "1e3", "nan", "inf", "0x10", ".5",    "1ss" };
    uint64_t                 v = 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(good); i++) {
        ck_assert_int_eq(xd_text_duration(good[i].text, &v), 0);
        ck_assert_uint_eq(v, good[i].ns);
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++)
        ck_assert_msg(xd_text_duration(bad[i], &v) == -EINVAL, "%s", bad[i]);
    ck_assert_int_eq(xd_text_duration("999999999999d", &v), -ERANGE);
}
END_TEST

START_TEST(sizes)
{
    static const struct {
        const char *text;
        uint64_t    bytes;
    } good[] = { { "0", 0 },        { "10", 10 },        { "10B", 10 },       { "10k", 10240 },
                 { "10KB", 10240 }, { "64M", 67108864 }, { "1GB", 1u << 30 }, { "1GiB", 1u << 30 },
                 { "1.5k", 1536 },  { "2T", 2ull << 40 } };
    static const char *const bad[] = { "", "k", "1X", "1kk", "1BB", "1 k", "-1", "1iB" };
    uint64_t                 v = 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(good); i++) {
        ck_assert_msg(xd_text_size(good[i].text, &v) == 0, "%s", good[i].text);
        ck_assert_uint_eq(v, good[i].bytes);
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++)
        ck_assert_msg(xd_text_size(bad[i], &v) == -EINVAL, "%s", bad[i]);
    ck_assert_int_eq(xd_text_size("99999999T", &v), -ERANGE);
}
END_TEST

static void splits(const char *text, const char *const *want)
{
    char **words;
    ck_assert_int_eq(xd_text_shell_split(text, &words), 0);
    size_t i = 0;
    for (; want[i]; i++) {
        ck_assert_ptr_nonnull(words[i]);
        ck_assert_str_eq(words[i], want[i]);
    }
    ck_assert_ptr_null(words[i]);
    free(words);
}
#define SPLITS(text, ...) splits(text, (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

START_TEST(shell_split)
{
    SPLITS("");
    SPLITS("  \t\n ");
    SPLITS("a", "a");
    SPLITS("a b  c ", "a", "b", "c");
    SPLITS("'a b' \"c d\"e", "a b", "c de");
    SPLITS("'' \"\"", "", "");
    SPLITS("a\\ b \\'", "a b", "'");
    SPLITS("\"a\\\"b\\n\" 'x\\'", "a\"b\\n", "x\\");
    SPLITS("-k \"not slow\"", "-k", "not slow");
    SPLITS("''''", "");
    char **words = NULL;
    ck_assert_int_eq(xd_text_shell_split("a 'b", &words), -EINVAL);
    ck_assert_int_eq(xd_text_shell_split("\"", &words), -EINVAL);
    ck_assert_ptr_null(words);
}
END_TEST

START_TEST(shell_quote)
{
    static const char *const all[] = {
        "", "plain-1.2_x/y:z=@%+,", "two words", "it's", "$HOME", "a\nb", "*", "''", "\\"
    };
    SAME(xd_text_shell_quote(&out, "plain"), "plain");
    SAME(xd_text_shell_quote(&out, ""), "''");
    SAME(xd_text_shell_quote(&out, "it's"), "'it'\\''s'");
    /* What is quoted splits into itself again. */
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++) {
        char **words;
        xd_buf_clear(&out);
        ck_assert_int_eq(xd_text_shell_quote(&out, all[i]), 0);
        ck_assert_int_eq(xd_text_shell_split(xd_buf_cstr(&out), &words), 0);
        ck_assert_str_eq(words[0], all[i]);
        ck_assert_ptr_null(words[1]);
        free(words);
    }
}
END_TEST

/* A program that xd is embedded in may have any locale. */
START_TEST(numbers_have_a_point_in_every_locale)
{
    static const char *const commas[] = { "de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR" };
    xd_autobuf               line = XD_BUF_INIT;
    char                     text[32];
    uint64_t                 n;
    size_t                   i = 0;
    while (i < XD_ARRAY_LEN(commas) && !setlocale(LC_ALL, commas[i]))
        i++;
    snprintf(text, sizeof(text), "%.1f", 0.5);
    if (strcmp(text, "0,5") != 0)
        printf("no locale with a decimal comma is installed here\n");
    ck_assert_int_eq(xd_buf_printf(&line, "%.3f %d", 0.123, 1000000), 0);
    ck_assert_str_eq(xd_buf_cstr(&line), "0.123 1000000");
    ck_assert_int_eq(xd_format(text, sizeof(text), "%.3f", 1234.5), 8);
    ck_assert_str_eq(text, "1234.500");
    ck_assert_int_eq(xd_text_duration("1.5s", &n), 0);
    ck_assert_uint_eq(n, 1500000000);
    ck_assert_int_eq(xd_text_size("0.5k", &n), 0);
    ck_assert_uint_eq(n, 512);
    ck_assert(xd_text_real("1e-05", NULL) > 0.9e-5 && xd_text_real("0.25", NULL) == 0.25);
    setlocale(LC_ALL, "C");
}
END_TEST

START_TEST(last_words)
{
    ck_assert_int_eq(xd_text_last_words(&out, XD_BYTES_LIT("no shell\nexit\x1b[m\r\n\n"), 100), 0);
    ck_assert_str_eq(xd_buf_cstr(&out), "no shell | exit\\x1b[m");
    xd_buf_clear(&out);
    ck_assert_int_eq(xd_text_last_words(&out, XD_BYTES_LIT("0123456789\n"), 4), 0);
    ck_assert_str_eq(xd_buf_cstr(&out), "789");
    xd_buf_clear(&out);
    ck_assert_int_eq(xd_text_last_words(&out, XD_BYTES_LIT("\r\n"), 4), 0);
    ck_assert_uint_eq(out.len, 0);
}
END_TEST

START_TEST(words_joined)
{
    static const char *const one[] = { "nice", "-n", "3" }, *const two[] = { "a b", "" };
    const xd_words     parts[] = { { one, 3 }, { one, 0 }, { two, 2 } };
    xd_autofree char **words = NULL;
    ck_assert_int_eq(xd_text_words_join(parts, 3, &words), 0);
    ck_assert_str_eq(words[0], "nice");
    ck_assert_str_eq(words[2], "3");
    ck_assert_str_eq(words[3], "a b");
    ck_assert_str_eq(words[4], "");
    ck_assert_ptr_null(words[5]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("text");
    TCase *c = tcase_create("text");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, utf8);
    tcase_add_test(c, printable);
    tcase_add_test(c, harmless);
    tcase_add_test(c, harmless_lines);
    tcase_add_test(c, harmless_always);
    tcase_add_test(c, to_utf8);
    tcase_add_test(c, strip_ansi);
    tcase_add_test(c, numbers);
    tcase_add_test(c, durations);
    tcase_add_test(c, sizes);
    tcase_add_test(c, shell_split);
    tcase_add_test(c, shell_quote);
    tcase_add_test(c, numbers_have_a_point_in_every_locale);
    tcase_add_test(c, last_words);
    tcase_add_test(c, words_joined);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
