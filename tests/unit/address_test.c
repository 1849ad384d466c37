/* needs: engine */
/* address_test.c - HOST:PORT, as people type it and as they mistype it. */
#include "engine/address.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

START_TEST(addresses)
{
    static const struct {
        const char *text, *host, *whole;
        uint16_t    port;
    } table[] = {
        { "host", "host", "host:8888", 8888 },
        { "host:22", "host", "host:22", 22 },
        { "host:1", "host", "host:1", 1 },
        { "host:65535", "host", "host:65535", 65535 },
        { "Build-3.Example.NET:0080", "build-3.example.net", "build-3.example.net:80", 80 },
        { "my_host.", "my_host.", "my_host.:8888", 8888 },
        { "10.0.0.7:99", "10.0.0.7", "10.0.0.7:99", 99 },
        { "::1", "::1", "[::1]:8888", 8888 },
        { "[::1]", "::1", "[::1]:8888", 8888 },
        { "[::1]:22", "::1", "[::1]:22", 22 },
        { "2001:DB8::A", "2001:db8::a", "[2001:db8::a]:8888", 8888 },
        { "[::ffff:10.0.0.1]:5", "::ffff:10.0.0.1", "[::ffff:10.0.0.1]:5", 5 },
        { "[FE80::1%eth0]:22", "fe80::1%eth0", "[fe80::1%eth0]:22", 22 },
        { "fe80::1%Wlan0.1", "fe80::1%Wlan0.1", "[fe80::1%Wlan0.1]:8888",
          8888 },                                      /* names of interfaces differ by case */
        { "::1:22", "::1:22", "[::1:22]:8888", 8888 }, /* all of it can be an address, so it is one */
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_address a, again;
        xd_error   err = { 0 };
        ck_assert_msg(xd_address_parse(&a, table[i].text, XD_PORT, &err) == 0, "%s: %s", table[i].text,
                      err.text);
        ck_assert_str_eq(a.host, table[i].host);
        ck_assert_str_eq(a.text, table[i].whole);
        ck_assert_uint_eq(a.port, table[i].port);
        /* Its text is that address, too. */
        ck_assert_msg(xd_address_parse(&again, a.text, 1, &err) == 0, "%s: %s", a.text, err.text);
        ck_assert_str_eq(again.text, a.text);
        ck_assert_str_eq(again.host, a.host);
    }
}
END_TEST

START_TEST(mistyped_ones)
{
    static const struct {
        const char *text, *words;
    } table[] = {
        { "", "host is missing" },
        { ":22", "host is missing" },
        { "[]:22", "host is missing" },
        { "[]", "host is missing" },
        { "host:", "port" },
        { "host:0", "port" },
        { "host:65536", "port" },
        { "host:18446744073709551617", "port" },
        { "host:-1", "port" },
        { "host:+1", "port" },
        { "host: 22", "port" },
        { "host:22 ", "port" },
        { "host:http", "port" },
        { "[::1]:", "port" },
        { "[::1]:x", "port" },
        { "[::1", "bracket" },
        { "[::1]22", "bracket" },
        { "[::1]]:22", "bracket" },
        { "[host]:22", "no address of IPv6" },
        { "[10.0.0.1]:22", "no address of IPv6" },
        { "a:b:c", "no address of IPv6" },
        { "::g", "no address of IPv6" },
        { "fe80::1%", "no address of IPv6" },
        { "fe80::1%a b", "no address of IPv6" },
        { "[fe80::1%a\n]:22", "no address of IPv6" },
        { "[fe80::1%a%b]:22", "no address of IPv6" },
        { "me@host:22", "no name of a host" },
        { "ho st", "no name of a host" },
        { "host\n:22", "no name of a host" },
        { "b\xc3\xbc"
          "cher:22",
          "no name of a host" },
        { "-oProxyCommand=x", "no name of a host" },
        { "tcp://host:22", "no address of IPv6" },
        { "host/22", "no name of a host" },
        { A50 A50 A50 A50 A50 "123456:22", "too long" },
        { "[" A50 A50 A50 A50 A50 "123456]:22", "too long" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_address untouched = { .port = 77 };
        xd_error   err = { 0 };
        ck_assert_msg(xd_address_parse(&untouched, table[i].text, XD_PORT, &err) == -EINVAL, "'%s' is taken",
                      table[i].text);
        ck_assert_msg(strstr(err.text, table[i].words) && strstr(err.text, "HOST:PORT or [IPV6]:PORT") &&
                          !strchr(err.text, '\n'),
                      "'%s': %s", table[i].text, err.text);
        ck_assert_uint_eq(untouched.port, 77);
        ck_assert_str_eq(untouched.host, "");
    }
}
END_TEST

/* The longest name that fits, with the longest port. */
START_TEST(longest)
{
    xd_address a;
    xd_error   err = { 0 };
    ck_assert_msg(xd_address_parse(&a, A50 A50 A50 A50 A50 "12345:65535", XD_PORT, &err) == 0, "%s",
                  err.text);
    ck_assert_uint_eq(strlen(a.host), 255);
    ck_assert_str_eq(a.text + 255, ":65535");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("address");
    TCase *t = tcase_create("all");
    tcase_add_test(t, addresses);
    tcase_add_test(t, mistyped_ones);
    tcase_add_test(t, longest);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
