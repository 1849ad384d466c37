/* needs: engine. engine/token.c: tokens by which hosts join a run. */
#include "engine/token.h"

#include <check.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define EXPIRES 4000000000u

/* Of the secret key of 32 sevens, the nonce of 16 "n", for "a run", one use. Made by another program: BLAKE2b of Python's hashlib, base64. */
static const char GOLDEN[] =
    "xdt1.E75P6uryBMf9M1j8nAByGIHRdCeBKCJ-xnTzf3_pe21ubm5ubm5ubm5ubm5ubm5uAChr7gAAAAABAHnIcyNIN2_"
    "CA2OjdbTSWKqjXhVqtKR1Y-lIHsTgJxQKbGQKQMrRr9k";
static const char *const runs[] = { "0123456789abcdef0123456789abcdef", "a run", NULL };

static xd_keypair key, other;

static void setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    memset(key.secret, 7, sizeof(key.secret));
    memset(other.secret, 8, sizeof(other.secret));
    ck_assert_int_eq(crypto_scalarmult_base(key.pub.at, key.secret), 0);
    ck_assert_int_eq(crypto_scalarmult_base(other.pub.at, other.secret), 0);
}

static int parse(xd_run_token *ret, const char *text)
{
    return xd_run_token_parse(ret, xd_bytes_str(text));
}

static int verdict(const xd_run_token *t, uint64_t now_s)
{
    return (int)xd_run_token_check(t, &key, runs, now_s);
}

START_TEST(the_golden_one_is_read)
{
    static const uint8_t nonce[] = "nnnnnnnnnnnnnnnn";
    xd_run_token         t;
    char                 text[XD_RUN_TOKEN_TEXT];
    ck_assert_int_eq(parse(&t, GOLDEN), 0);
    ck_assert(xd_pubkey_eq(&t.server, &key.pub));
    ck_assert_mem_eq(t.nonce, nonce, sizeof(t.nonce));
    ck_assert_uint_eq(t.expires_s, EXPIRES);
    ck_assert_uint_eq(t.uses, 1);
    ck_assert_int_eq(verdict(&t, EXPIRES - 1), XD_RUN_TOKEN_GOOD);
    xd_run_token_text(&t, text);
    ck_assert_str_eq(text, GOLDEN);
    xd_run_token_wipe(&t);
    for (size_t i = 0; i < sizeof(t); i++)
        ck_assert_uint_eq(((const uint8_t *)&t)[i], 0);
}
END_TEST

START_TEST(what_is_made_is_read)
{
    static const uint16_t uses[] = { 0, 1, 300, 65535 };
    static const uint64_t expires[] = { 1, EXPIRES, UINT64_MAX };
    for (size_t i = 0; i < XD_ARRAY_LEN(uses); i++)
        for (size_t k = 0; k < XD_ARRAY_LEN(expires); k++) {
            xd_run_token t, again;
            char         text[XD_RUN_TOKEN_TEXT];
            ck_assert_int_eq(xd_run_token_make(&t, &key, runs[i % 2], expires[k], uses[i]), 0);
            xd_run_token_text(&t, text);
            ck_assert_int_eq(parse(&again, text), 0);
            ck_assert_uint_eq(again.uses, uses[i]);
            ck_assert_uint_eq(again.expires_s, expires[k]);
            ck_assert_mem_eq(again.nonce, t.nonce, sizeof(t.nonce));
            ck_assert_int_eq(verdict(&again, 0), XD_RUN_TOKEN_GOOD);
            ck_assert_int_eq(verdict(&again, expires[k] - 1), XD_RUN_TOKEN_GOOD);
            ck_assert_int_eq(verdict(&again, expires[k]), XD_RUN_TOKEN_EXPIRED);
        }
}
END_TEST

START_TEST(no_two_are_alike)
{
    xd_run_token a, b;
    ck_assert_int_eq(xd_run_token_make(&a, &key, "a run", EXPIRES, 1), 0);
    ck_assert_int_eq(xd_run_token_make(&b, &key, "a run", EXPIRES, 1), 0);
    ck_assert_mem_ne(a.nonce, b.nonce, sizeof(a.nonce));
}
END_TEST

START_TEST(one_of_another_controller_is_forged)
{
    xd_run_token t;
    ck_assert_int_eq(xd_run_token_make(&t, &other, "a run", EXPIRES, 1), 0);
    ck_assert_int_eq(verdict(&t, 0), XD_RUN_TOKEN_FORGED);
    /* Also if it names the key of this one. */
    memcpy(t.whole, key.pub.at, sizeof(key.pub.at));
    ck_assert_int_eq(xd_run_token_read(&t, (xd_bytes){ t.whole, sizeof(t.whole) }), 0);
    ck_assert(xd_pubkey_eq(&t.server, &key.pub));
    ck_assert_int_eq(verdict(&t, 0), XD_RUN_TOKEN_FORGED);
}
END_TEST

START_TEST(one_of_another_run_is_none_of_this)
{
    static const char *const names[] = { "a ru", "a run ", "A run", "", "0123456789abcdef0123456789abcdee" };
    xd_run_token             t;
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++) {
        ck_assert_int_eq(xd_run_token_make(&t, &key, names[i], 1, 1), 0);
        ck_assert_int_eq(verdict(&t, 2), XD_RUN_TOKEN_OTHER); /* said before that it has expired */
    }
}
END_TEST

/* Whatever bit of it is another one: nobody takes it. */
START_TEST(any_other_bit_is_refused)
{
    xd_run_token t;
    ck_assert_int_eq(parse(&t, GOLDEN), 0);
    for (size_t bit = 0; bit < 8 * sizeof(t.whole); bit++) {
        xd_run_token changed;
        uint8_t      whole[XD_RUN_TOKEN_BYTES];
        memcpy(whole, t.whole, sizeof(whole));
        whole[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(xd_run_token_read(&changed, (xd_bytes){ whole, sizeof(whole) }), 0);
        ck_assert_int_eq(verdict(&changed, 0), XD_RUN_TOKEN_FORGED);
    }
}
END_TEST

/* The same of its text, where it still is one. */
START_TEST(any_other_character_is_refused)
{
    for (size_t i = 0; i < sizeof(GOLDEN) - 1; i++)
        for (unsigned c = 1; c < 256; c++) {
            char         text[sizeof(GOLDEN)];
            xd_run_token t;
            memcpy(text, GOLDEN, sizeof(text));
            if ((uint8_t)text[i] == c)
                continue;
            text[i] = (char)c;
            if ((i == 0 || i == sizeof(GOLDEN) - 2) && strchr(" \t\r\n", (int)c)) {
                ck_assert_int_eq(parse(&t, text), -EINVAL); /* too short then */
                continue;
            }
            if (parse(&t, text) == 0)
                ck_assert_msg(verdict(&t, 0) == XD_RUN_TOKEN_FORGED, "%s", text);
        }
}
END_TEST

START_TEST(blanks_around_it_do_not_matter)
{
    char         text[sizeof(GOLDEN) + 16];
    xd_run_token t;
    snprintf(text, sizeof(text), " \t\r\n%s\n \r\t", GOLDEN);
    ck_assert_int_eq(parse(&t, text), 0);
    ck_assert_int_eq(verdict(&t, 0), XD_RUN_TOKEN_GOOD);
}
END_TEST

START_TEST(other_texts_are_no_tokens)
{
    static const char *const wrong[] = { "",          " ",         "xdt1.",     "xdt1",   "xdt1. ",
                                         "xdt1.AAAA", "xdt2.AAAA", "XDT1.AAAA", "xdt1.!", "a token" };
    char                     text[2 * sizeof(GOLDEN)];
    xd_run_token             t;
    for (size_t i = 0; i < XD_ARRAY_LEN(wrong); i++)
        ck_assert_msg(parse(&t, wrong[i]) == -EINVAL, "'%s'", wrong[i]);
    for (size_t n = 0; n < sizeof(GOLDEN) - 1; n++)
        ck_assert_int_eq(xd_run_token_parse(&t, (xd_bytes){ (const uint8_t *)GOLDEN, n }), -EINVAL);
    static const char *const behind[] = { "=", "==", "A", "AAAA", "\nA", "x", ".", "," };
    for (size_t i = 0; i < XD_ARRAY_LEN(behind); i++) {
        snprintf(text, sizeof(text), "%s%s", GOLDEN, behind[i]);
        ck_assert_msg(parse(&t, text) == -EINVAL, "'%s'", text);
    }
    snprintf(text, sizeof(text), "%.*s %s", 40, GOLDEN, GOLDEN + 40); /* a blank inside */
    ck_assert_int_eq(parse(&t, text), -EINVAL);
    memcpy(text, GOLDEN, sizeof(GOLDEN)); /* a NUL inside */
    text[50] = 0;
    ck_assert_int_eq(xd_run_token_parse(&t, (xd_bytes){ (const uint8_t *)text, sizeof(GOLDEN) - 1 }),
                     -EINVAL);
    uint8_t whole[XD_RUN_TOKEN_BYTES + 1] = { 0 };
    ck_assert_int_eq(xd_run_token_read(&t, (xd_bytes){ whole, sizeof(whole) }), -EINVAL);
    ck_assert_int_eq(xd_run_token_read(&t, (xd_bytes){ whole, sizeof(whole) - 2 }), -EINVAL);
    ck_assert_int_eq(xd_run_token_read(&t, (xd_bytes){ 0 }), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("token");
    TCase *t = tcase_create("token");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, the_golden_one_is_read);
    tcase_add_test(t, what_is_made_is_read);
    tcase_add_test(t, no_two_are_alike);
    tcase_add_test(t, one_of_another_controller_is_forged);
    tcase_add_test(t, one_of_another_run_is_none_of_this);
    tcase_add_test(t, any_other_bit_is_refused);
    tcase_add_test(t, any_other_character_is_refused);
    tcase_add_test(t, blanks_around_it_do_not_matter);
    tcase_add_test(t, other_texts_are_no_tokens);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
