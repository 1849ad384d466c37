/* needs: engine */
/* keylist_test.c - files of trusted keys, as people write them, mistype them, and change them at the same time. */
#include "engine/keylist.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/path.h"

#define KEY1 "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define KEY2 "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define NOW 1800000000 /* 2027-01-15T08:00:00Z */

static xd_error   err;
static xd_keylist list;
static char       dir[64], path[128];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/xd-keylist-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/list", dir);
    err = (xd_error){ 0 };
}

static void teardown(void)
{
    xd_keylist_release(&list);
    ck_assert_int_eq(xd_path_remove_tree(dir), 0);
}

static void parsed(xd_keylist_kind kind, const char *text)
{
    xd_keylist_release(&list);
    ck_assert_msg(xd_keylist_parse(&list, kind, xd_bytes_str(text), "list", &err) == 0, "%s: %s", text,
                  err.text);
}

/* ---- lines ----------------------------------------------------------------------------------------------- */

START_TEST(good_lines)
{
    static const struct {
        const char *line, *comment, *command;
        uint32_t    max_workers;
        size_t      n_from;
        int64_t     expires_s;
    } table[] = {
        { "xdk1 " KEY1, "", NULL, 0, 0, INT64_MAX },
        { " \txdk1 \t" KEY1 "  me@host of  Ann \t", "me@host of  Ann", NULL, 0, 0, INT64_MAX },
        { "xdk1 " KEY1 " me\r", "me", NULL, 0, 0, INT64_MAX },
        { "xdk1 " KEY1 " # b\xc3\xbc", "# b\xc3\xbc", NULL, 0, 0, INT64_MAX },
        { "max-workers=1 xdk1 " KEY1, "", NULL, 1, 0, INT64_MAX },
        { "max-workers=\"4294967295\"\txdk1 " KEY1, "", NULL, UINT32_MAX, 0, INT64_MAX },
        { "max-workers=7,max-workers=8 xdk1 " KEY1, "", NULL, 8, 0, INT64_MAX },
        { "from=::1 xdk1 " KEY1, "", NULL, 0, 1, INT64_MAX },
        { "from=\"10.0.0.0/8,!10.0.0.1,::/0\",from=1.2.3.4 xdk1 " KEY1, "", NULL, 0, 4, INT64_MAX },
        { "expires=2027-01-15T08:00:00Z xdk1 " KEY1, "", NULL, 0, 0, NOW },
        { "command=\"nice -n 5 \\\"a b\\\" 'c,d'\",max-workers=2 xdk1 " KEY1 " x", "x",
          "nice -n 5 \"a b\" 'c,d'", 2, 0, INT64_MAX },
        { "command=nice xdk1 " KEY1, "", "nice", 0, 0, INT64_MAX },
        { "command=a,command=\"b c\" xdk1 " KEY1, "", "b c", 0, 0, INT64_MAX },
        { "command=\"a \\\\ b\" xdk1 " KEY1, "", "a \\\\ b", 0, 0, INT64_MAX }, /* only \" is special here */
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        parsed(XD_KEYLIST_AUTHORIZED, table[i].line);
        ck_assert_uint_eq(list.count, 1);
        const xd_key_line *l = &list.at[0];
        xd_pubkey          key;
        ck_assert_int_eq(xd_pubkey_parse(&key, XD_BYTES_LIT(KEY1)), 0);
        ck_assert(xd_pubkey_eq(&key, &l->key));
        ck_assert_str_eq(l->comment, table[i].comment);
        ck_assert_pstr_eq(l->command, table[i].command);
        ck_assert_uint_eq(l->max_workers, table[i].max_workers);
        ck_assert_uint_eq(l->n_from, table[i].n_from);
        ck_assert_int_eq(l->expires_s, table[i].expires_s);
        ck_assert_ptr_null(l->address);
        ck_assert_uint_eq(l->line, 1);
    }
}
END_TEST

START_TEST(bad_lines)
{
    static const struct {
        const char *line, *words[3];
    } table[] = {
        { "xdk1", { "40 characters of Z85, not ''" } },
        { "xdk1 short", { "40 characters", "'short'" } },
        { "xdk1 " KEY1 "0", { "40 characters" } },
        { "xdk2 " KEY1, { "not 'xdk2'", "from=, expires=" } },
        { "ssh-ed25519 AAAA me", { "not 'ssh-ed25519'" } },
        { KEY1, { "are the options" } },
        { "max-workers=1", { "`xdk1 KEY` is expected", "keygen" } },
        { "max-workers=1 " KEY1, { "`xdk1 KEY` is expected" } },
        { "max-workers=1 max-workers=1 xdk1 " KEY1, { "`xdk1 KEY` is expected", "'max-workers=1'" } },
        { "max-workers xdk1 " KEY1, { "a value is missing", "'max-workers'" } },
        { "max-workers= xdk1 " KEY1, { "number from 1 on, not ''" } },
        { "max-workers=0 xdk1 " KEY1, { "number from 1 on, not '0'" } },
        { "max-workers=-1 xdk1 " KEY1, { "number from 1 on, not '-1'" } },
        { "max-workers=4294967296 xdk1 " KEY1, { "number from 1 on" } },
        { "max-workers=1x xdk1 " KEY1, { "number from 1 on" } },
        { "colour=red xdk1 " KEY1, { "not 'colour'", "max-workers= and command=" } },
        { "From=::1 xdk1 " KEY1, { "not 'From'" } },
        { ",max-workers=1 xdk1 " KEY1, { "are the options, not ''" } },
        { "max-workers=1, xdk1 " KEY1, { "are the options, not ''" } },
        { "max-workers=1,,max-workers=1 xdk1 " KEY1, { "are the options, not ''" } },
        { "max-workers=\"1\"2 xdk1 " KEY1, { "separated by commas", "'max-workers'" } },
        { "command=\"nice xdk1 " KEY1, { "a quote is not closed" } },
        { "command=\"nice\\\" xdk1 " KEY1, { "a quote is not closed" } },
        { "command=\"\" xdk1 " KEY1, { "command= takes a program", "no shell" } },
        { "command=\"  \" xdk1 " KEY1, { "command= takes a program" } },
        { "command=\"a | b\" xdk1 " KEY1, { "command= takes a program", "'a | b'" } },
        { "command=\"a 'b\" xdk1 " KEY1, { "command= takes a program" } },
        { "from= xdk1 " KEY1, { "not ''" } },
        { "from=\"\" xdk1 " KEY1, { "not ''" } },
        { "from=\"10.0.0.0/8,\" xdk1 " KEY1, { "not ''" } },
        { "from=10.0.0.0/33 xdk1 " KEY1, { "'10.0.0.0/33'", "10.0.0.0/8 or 2001:db8::/32" } },
        { "from=::/129 xdk1 " KEY1, { "'::/129'" } },
        { "from=10.0.0.0/ xdk1 " KEY1, { "'10.0.0.0/'" } },
        { "from=10.0.0.0/-1 xdk1 " KEY1, { "'10.0.0.0/-1'" } },
        { "from=10.0.0 xdk1 " KEY1, { "'10.0.0'" } },
        { "from=10.0.0.256 xdk1 " KEY1, { "'10.0.0.256'" } },
        { "from=*.example.net xdk1 " KEY1, { "'*.example.net'" } },
        { "from=! xdk1 " KEY1, { "not '!'" } },
        { "from=!!::1 xdk1 " KEY1, { "'!!::1'" } },
        { "from=\"::1, ::2\" xdk1 " KEY1, { "' ::2'" } },
        { "from=fe80::1%eth0 xdk1 " KEY1, { "'fe80::1%eth0'" } },
        { "expires= xdk1 " KEY1, { "2026-12-31T18:00Z, not ''" } },
        { "expires=2026-02-31 xdk1 " KEY1, { "expires=", "'2026-02-31'" } },
        { "expires=2026-13-01 xdk1 " KEY1, { "'2026-13-01'" } },
        { "expires=2026-12-32 xdk1 " KEY1, { "'2026-12-32'" } },
        { "expires=2026-12-31T24:00Z xdk1 " KEY1, { "'2026-12-31T24:00Z'" } },
        { "expires=2026-12-31T18:60Z xdk1 " KEY1, { "'2026-12-31T18:60Z'" } },
        { "expires=2026-12-31T18:00 xdk1 " KEY1, { "'2026-12-31T18:00'" } },
        { "expires=2026-12-31T18:00:00+01 xdk1 " KEY1, { "'2026-12-31T18:00:00+01'" } },
        { "expires=\"2026-12-31 18:00Z\" xdk1 " KEY1, { "'2026-12-31 18:00Z'" } },
        { "expires=\" 2026-12-31\" xdk1 " KEY1, { "' 2026-12-31'" } },
        { "expires=26-12-31 xdk1 " KEY1, { "'26-12-31'" } },
        { "expires=\"2026- 1- 1\" xdk1 " KEY1, { "'2026- 1- 1'" } },
        { "expires=2026-1-1 xdk1 " KEY1, { "'2026-1-1'" } },
        { "expires=0026-12-31 xdk1 " KEY1, { "'0026-12-31'" } },
        { "expires=2026-12-31T18:00:60Z xdk1 " KEY1, { "'2026-12-31T18:00:60Z'" } },
        { "expires=20261231 xdk1 " KEY1, { "'20261231'" } },
        { "expires=tomorrow xdk1 " KEY1, { "'tomorrow'" } },
        { "\x1b[31m xdk1 " KEY1, { "not '?[31m'" } },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        char text[512];
        /* Those above are good. */
        snprintf(text, sizeof(text), "# mine\n\nxdk1 %s\n%s\n", KEY2, table[i].line);
        xd_keylist untouched = { .count = 77 };
        err = (xd_error){ 0 };
        ck_assert_msg(xd_keylist_parse(&untouched, XD_KEYLIST_AUTHORIZED, xd_bytes_str(text), "/a/list",
                                       &err) == -EINVAL,
                      "'%s' is taken", table[i].line);
        ck_assert_uint_eq(untouched.count, 77);
        ck_assert_msg(strncmp(err.text, "/a/list, line 4: ", 17) == 0 && !strchr(err.text, '\n') &&
                          !strchr(err.text, '\x1b'),
                      "'%s': %s", table[i].line, err.text);
        for (size_t k = 0; k < 3 && table[i].words[k]; k++)
            ck_assert_msg(strstr(err.text, table[i].words[k]) != NULL, "'%s': %s", table[i].line, err.text);
    }
}
END_TEST

START_TEST(known_brokers)
{
    static const struct {
        const char *line, *words; /* of the error */
    } table[] = {
        { "xdk1 " KEY1, "HOST:PORT, not 'xdk1'" }, { "host xdk1 " KEY1, "HOST:PORT, not 'host'" },
        { "host:1", "`xdk1 KEY` is expected" },    { "host:1 from=::1 xdk1 " KEY1, "'from=::1'" },
        { "host:1 xdk1 x", "40 characters" },
    };
    const char *const text = "# where they are\nhost:8888 xdk1 " KEY1 " of Ann\n\n"
                             "[2001:db8::1]:22\txdk1\t" KEY2 "\r\nHost:9999 xdk1 " KEY1 "\n";
    xd_pubkey         key;
    parsed(XD_KEYLIST_KNOWN, text);
    ck_assert_uint_eq(list.count, 3);
    ck_assert_str_eq(list.at[0].address, "host:8888");
    ck_assert_str_eq(list.at[0].comment, "of Ann");
    ck_assert_uint_eq(list.at[1].line, 4);
    ck_assert_ptr_eq(xd_keylist_find_address(&list, "HOST:8888"), &list.at[0]);
    ck_assert_ptr_eq(xd_keylist_find_address(&list, "[2001:DB8::1]:22"), &list.at[1]);
    ck_assert_ptr_eq(xd_keylist_find_address(&list, "host:9999"), &list.at[2]);
    ck_assert_ptr_null(xd_keylist_find_address(&list, "host:888"));
    ck_assert_int_eq(xd_pubkey_parse(&key, XD_BYTES_LIT(KEY1)), 0);
    ck_assert_ptr_eq(xd_keylist_find(&list, &key), &list.at[2]); /* the last one counts */
    key.at[31] ^= 1;
    ck_assert_ptr_null(xd_keylist_find(&list, &key));
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        xd_keylist none = XD_KEYLIST_INIT;
        ck_assert_int_eq(
            xd_keylist_parse(&none, XD_KEYLIST_KNOWN, xd_bytes_str(table[i].line), "known", &err), -EINVAL);
        ck_assert_msg(strstr(err.text, table[i].words) != NULL, "'%s': %s", table[i].line, err.text);
    }
}
END_TEST

START_TEST(whole_texts)
{
    static const char        nul[] = "xdk1 " KEY1 "\nxdk1 " KEY2 " a\0b\n";
    xd_autobuf               many = XD_BUF_INIT;
    static const char *const empty[] = { "", "\n", "\r\n", "# x", "  # x\n\t\n" };
    for (size_t i = 0; i < XD_ARRAY_LEN(empty); i++) {
        parsed(XD_KEYLIST_AUTHORIZED, empty[i]);
        ck_assert_uint_eq(list.count, 0);
    }
    ck_assert_int_eq(xd_keylist_parse(&list, XD_KEYLIST_AUTHORIZED,
                                      (xd_bytes){ (const uint8_t *)nul, sizeof(nul) - 1 }, "list", &err),
                     -EINVAL);
    ck_assert_str_eq(err.text, "list, line 2: there is a NUL byte");
    for (uint32_t i = 0; i < XD_KEYLIST_LINES_MAX; i++)
        if (xd_buf_add_str(&many, "xdk1 " KEY1 "\n") < 0)
            ck_abort();
    parsed(XD_KEYLIST_AUTHORIZED, xd_buf_cstr(&many));
    ck_assert_uint_eq(list.count, XD_KEYLIST_LINES_MAX);
    ck_assert_int_eq(xd_buf_add_str(&many, "# not one more\nxdk1 " KEY1 "\n"), 0);
    ck_assert_int_eq(xd_keylist_parse(&list, XD_KEYLIST_AUTHORIZED, xd_buf_view(&many), "list", &err),
                     -EINVAL);
    ck_assert_str_eq(err.text, "list, line 65538: there are too many keys");
}
END_TEST

/* ---- who may use a key ----------------------------------------------------------------------------------- */

START_TEST(addresses)
{
    static const struct {
        const char *from, *address;
        bool        good;
    } table[] = {
        { "10.0.0.0/8", "10.255.0.1", true },
        { "10.0.0.0/8", "11.0.0.0", false },
        { "10.1.2.3/8", "10.9.9.9", true }, /* its last bits count for nothing */
        { "10.0.0.0/9", "10.127.255.255", true },
        { "10.0.0.0/9", "10.128.0.0", false },
        { "192.168.7.9", "192.168.7.9", true },
        { "192.168.7.9", "192.168.7.8", false },
        { "192.168.7.9/32", "192.168.7.9", true },
        { "192.168.7.8/31", "192.168.7.9", true },
        { "192.168.7.8/31", "192.168.7.10", false },
        { "0.0.0.0/0", "1.2.3.4", true },
        { "0.0.0.0/0", "::1", false },
        { "0.0.0.0/0", "2001:db8::1", false },
        { "::/0", "2001:db8::1", true },
        { "::/0", "1.2.3.4", true },
        { "2001:db8::/32", "2001:db8:ffff::1", true },
        { "2001:db8::/32", "2001:db9::1", false },
        { "2001:db8::/33", "2001:db8:8000::", false },
        { "2001:DB8::1", "2001:db8:0::1", true },
        { "::1/128", "::1", true },
        { "::1/127", "::2", false },
        { "::ffff:10.0.0.0/104", "10.7.7.7", true },
        { "::ffff:10.0.0.0/104", "::ffff:10.7.7.7", true },
        { "10.0.0.0/8", "::ffff:10.7.7.7", true },
        { "10.0.0.0/8", "::ffff:11.7.7.7", false },
        { "10.0.0.0/8", "::10.7.7.7", false },
        { "10.0.0.0/8,::1", "::1", true },
        { "10.0.0.0/8,!10.1.0.0/16", "10.2.0.1", true },
        { "10.0.0.0/8,!10.1.0.0/16", "10.1.0.1", false },
        { "!10.1.0.0/16,10.0.0.0/8", "10.1.0.1", false }, /* in any order */
        { "!10.1.0.0/16,10.0.0.0/8", "12.0.0.1", false },
        { "!10.1.0.0/16", "10.1.0.1", false }, /* alone: all the others */
        { "!10.1.0.0/16", "::ffff:10.1.0.1", false },
        { "!10.1.0.0/16", "10.2.0.1", true },
        { "!10.1.0.0/16", "::1", true },
        { "!10.1.0.0/16,!::1", "::1", false },
        { "!0.0.0.0/0,!::/0", "::2", false },
        { "10.0.0.0/8", NULL, false },
        { "!10.0.0.0/8", NULL, false },
        { "::/0", "?", false },
        { "::/0", "", false },
        { "::/0", "10.0.0.1:22", false },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        char text[256];
        snprintf(text, sizeof(text), "from=\"%s\" xdk1 " KEY1, table[i].from);
        parsed(XD_KEYLIST_AUTHORIZED, text);
        ck_assert_msg((xd_key_line_check(&list.at[0], table[i].address, NOW) == XD_KEY_GOOD) == table[i].good,
                      "%s, %s", table[i].from, table[i].address ? table[i].address : "NULL");
    }
    parsed(XD_KEYLIST_AUTHORIZED, "xdk1 " KEY1);
    ck_assert_int_eq(xd_key_line_check(&list.at[0], NULL, NOW), XD_KEY_GOOD);
    ck_assert_int_eq(xd_key_line_check(&list.at[0], "?", INT64_MAX - 1), XD_KEY_GOOD);
}
END_TEST

START_TEST(times)
{
    static const struct {
        const char *expires;
        int64_t     at_s;
    } table[] = {
        { "2027-01-15T08:00:00Z", NOW },
        { "2027-01-15T08:00Z", NOW },
        { "2027-01-15T08:00:01Z", NOW + 1 },
        { "2027-01-15", NOW - 8 * 3600 },
        { "2028-02-29", 1835395200 },
        { "2038-01-19T03:14:08Z", 2147483648 },
        { "1970-01-01", 0 },
        { "9999-12-31", 253402214400 },
    };
    setenv("TZ", "America/New_York", 1); /* of no consequence */
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        char text[256];
        snprintf(text, sizeof(text), "expires=\"%s\",from=::1 xdk1 " KEY1, table[i].expires);
        parsed(XD_KEYLIST_AUTHORIZED, text);
        ck_assert_int_eq(list.at[0].expires_s, table[i].at_s);
        ck_assert_int_eq(xd_key_line_check(&list.at[0], "::1", table[i].at_s - 1), XD_KEY_GOOD);
        ck_assert_int_eq(xd_key_line_check(&list.at[0], "::1", table[i].at_s), XD_KEY_EXPIRED);
        ck_assert_int_eq(xd_key_line_check(&list.at[0], "::2", table[i].at_s - 1), XD_KEY_ELSEWHERE);
        ck_assert_int_eq(xd_key_line_check(&list.at[0], "::2", table[i].at_s), XD_KEY_EXPIRED);
    }
}
END_TEST

/* ---- the file -------------------------------------------------------------------------------------------- */

static void put(const char *text)
{
    ck_assert_msg(xd_path_write_file(path, xd_bytes_str(text), 0600, &err) == 0, "%s", err.text);
}

static void holds(const char *text)
{
    xd_autobuf now = XD_BUF_INIT;
    ck_assert_msg(xd_path_read_file(path, 1 << 20, &now, &err) == 0, "%s", err.text);
    ck_assert_str_eq(xd_buf_cstr(&now), text);
}

static int taken_away(xd_keylist_kind kind, const char *key, const char *address)
{
    xd_pubkey k;
    ck_assert_int_eq(xd_pubkey_parse(&k, xd_bytes_str(key)), 0);
    return xd_keylist_remove(path, kind, &k, address, &err);
}

START_TEST(added_and_removed)
{
    struct stat st;
    snprintf(path, sizeof(path), "%s/a/b/list", dir);
    ck_assert_int_eq(xd_keylist_read(&list, XD_KEYLIST_AUTHORIZED, path, &err), 0);
    ck_assert_uint_eq(list.count, 0);
    ck_assert_msg(xd_keylist_add(path, "xdk1 " KEY1 " me", &err) == 0, "%s", err.text);
    ck_assert(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
    *strrchr(path, '/') = 0;
    ck_assert(stat(path, &st) == 0 && (st.st_mode & 07777) == 0700);
    path[strlen(path)] = '/';
    holds("xdk1 " KEY1 " me\n");
    ck_assert_int_eq(taken_away(XD_KEYLIST_AUTHORIZED, KEY2, NULL), 0);
    ck_assert_int_eq(xd_keylist_add(path, "xdk1 " KEY2, &err), 0);
    ck_assert_int_eq(xd_keylist_read(&list, XD_KEYLIST_AUTHORIZED, path, &err), 0);
    ck_assert_uint_eq(list.count, 2);
    ck_assert_int_eq(taken_away(XD_KEYLIST_AUTHORIZED, KEY1, NULL), 1);
    holds("xdk1 " KEY2 "\n");
    ck_assert_int_eq(taken_away(XD_KEYLIST_AUTHORIZED, KEY2, NULL), 1);
    holds("");
    ck_assert_int_eq(taken_away(XD_KEYLIST_AUTHORIZED, KEY2, NULL), 0);
}
END_TEST

/* Whoever edits the file finds it as he left it. */
START_TEST(other_lines_stay)
{
    put("# mine\r\n\t xdk1   " KEY1 "  me \r\n\r\n\n  # \xff\nmax-workers=3 xdk1 " KEY2 " \nxdk1 " KEY1
        "\n#end");
    ck_assert_int_eq(xd_keylist_add(path, "xdk1 " KEY2 " new", &err), 0);
    holds("# mine\r\n\t xdk1   " KEY1 "  me \r\n\r\n\n  # \xff\nmax-workers=3 xdk1 " KEY2 " \nxdk1 " KEY1
          "\n#end\nxdk1 " KEY2 " new\n");
    ck_assert_int_eq(taken_away(XD_KEYLIST_AUTHORIZED, KEY2, NULL), 2);
    holds("# mine\r\n\t xdk1   " KEY1 "  me \r\n\r\n\n  # \xff\nxdk1 " KEY1 "\n#end\n");
    ck_assert_int_eq(taken_away(XD_KEYLIST_AUTHORIZED, KEY1, NULL), 2);
    holds("# mine\r\n\r\n\n  # \xff\n#end\n");
    /* The last line as it is. */
    put("xdk1 " KEY1 "\n#end");
    ck_assert_int_eq(taken_away(XD_KEYLIST_AUTHORIZED, KEY1, NULL), 1);
    holds("#end");
    put("a:1 xdk1 " KEY1 "\r\nB:1 xdk1 " KEY1 "\nb:1 xdk1 " KEY2 "\nc:1 xdk1 " KEY1);
    ck_assert_int_eq(taken_away(XD_KEYLIST_KNOWN, KEY1, "b:1"), 1);
    holds("a:1 xdk1 " KEY1 "\r\nb:1 xdk1 " KEY2 "\nc:1 xdk1 " KEY1);
    ck_assert_int_eq(taken_away(XD_KEYLIST_KNOWN, KEY1, "d:1"), 0);
    ck_assert_int_eq(taken_away(XD_KEYLIST_KNOWN, KEY1, NULL), 2);
    holds("b:1 xdk1 " KEY2 "\n");
    /* One that cannot be read is not changed: it may hold that key under another form. */
    put("xdk1 " KEY1 "\ncolour=red xdk1 " KEY1 "\n");
    ck_assert_int_eq(taken_away(XD_KEYLIST_AUTHORIZED, KEY1, NULL), -EINVAL);
    ck_assert_msg(strstr(err.text, path) && strstr(err.text, "line 2"), "%s", err.text);
    holds("xdk1 " KEY1 "\ncolour=red xdk1 " KEY1 "\n");
}
END_TEST

/* Of 65536 keys, no slower than of a few. */
START_TEST(removed_from_many)
{
    xd_autobuf many = XD_BUF_INIT;
    for (uint32_t i = 0; i < XD_KEYLIST_LINES_MAX / 2; i++)
        if (xd_buf_add_str(&many, "xdk1 " KEY1 "\nxdk1 " KEY2 "\n") < 0)
            ck_abort();
    put(xd_buf_cstr(&many));
    ck_assert_int_eq(taken_away(XD_KEYLIST_AUTHORIZED, KEY2, NULL), XD_KEYLIST_LINES_MAX / 2);
    ck_assert_int_eq(xd_keylist_read(&list, XD_KEYLIST_AUTHORIZED, path, &err), 0);
    ck_assert_uint_eq(list.count, XD_KEYLIST_LINES_MAX / 2);
}
END_TEST

static void refused(const char *what, const char *words)
{
    xd_keylist untouched = { .count = 77 };
    err = (xd_error){ 0 };
    ck_assert_int_eq(xd_keylist_read(&untouched, XD_KEYLIST_AUTHORIZED, path, &err), -EPERM);
    ck_assert_uint_eq(untouched.count, 77);
    ck_assert_msg(strncmp(err.text, what, strlen(what)) == 0 && strstr(err.text, words), "%s", err.text);
    ck_assert_int_eq(xd_keylist_add(path, "xdk1 " KEY2, &err), -EPERM);
    ck_assert_int_eq(taken_away(XD_KEYLIST_AUTHORIZED, KEY1, NULL), -EPERM);
    holds("xdk1 " KEY1 "\n");
}

START_TEST(others_may_write)
{
    static const mode_t bad[] = { 0620, 0602, 0666, 0777 }, good[] = { 0644, 0600, 0444, 0755 };
    char                words[256];
    put("xdk1 " KEY1 "\n");
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(chmod(path, bad[i]), 0);
        snprintf(words, sizeof(words), "%s has mode %04o: others could change", path, (unsigned)bad[i]);
        refused(words, "chmod go-w");
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(good); i++) {
        ck_assert_int_eq(chmod(path, good[i]), 0);
        ck_assert_msg(xd_keylist_read(&list, XD_KEYLIST_AUTHORIZED, path, &err) == 0, "%s", err.text);
        xd_keylist_release(&list);
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(chmod(dir, bad[i] | 0700), 0);
        snprintf(words, sizeof(words), "%s has mode %04o: others could change", dir, (unsigned)bad[i] | 0700);
        refused(words, "chmod go-w");
    }
    ck_assert_int_eq(chmod(dir, 01777), 0); /* also as /tmp */
    refused(dir, "has mode 1777");
    ck_assert_int_eq(chmod(dir, 0755), 0);
    ck_assert_int_eq(xd_keylist_read(&list, XD_KEYLIST_AUTHORIZED, path, &err), 0);
}
END_TEST

/* Nor where a link leads. */
START_TEST(others_may_write_behind_a_link)
{
    char folder[160], file[176];
    snprintf(folder, sizeof(folder), "%s/real", dir);
    snprintf(file, sizeof(file), "%s/list", folder);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    put("xdk1 " KEY1 "\n");
    ck_assert(rename(path, file) == 0 && symlink(file, path) == 0);
    ck_assert_msg(xd_keylist_read(&list, XD_KEYLIST_AUTHORIZED, path, &err) == 0, "%s", err.text);
    ck_assert_int_eq(chmod(folder, 0770), 0);
    refused(folder, "0770");
}
END_TEST

/* Where others may write, a file that is not there yet is theirs to make. */
START_TEST(others_may_write_the_folder_alone)
{
    ck_assert_int_eq(chmod(dir, 0777), 0);
    ck_assert_int_eq(xd_keylist_add(path, "xdk1 " KEY2, &err), -EPERM);
    ck_assert_msg(strncmp(err.text, dir, strlen(dir)) == 0 && strstr(err.text, "0777"), "%s", err.text);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(xd_keylist_read(&list, XD_KEYLIST_AUTHORIZED, path, &err), -EPERM);
}
END_TEST

START_TEST(of_another_owner)
{
    put("xdk1 " KEY1 "\n");
    if (geteuid() != 0 || chown(path, 12345, (gid_t)-1) != 0) {
        printf("skipped: a file cannot be given to another user here\n");
        return;
    }
    refused(path, "another user");
    ck_assert_int_eq(chown(path, 0, (gid_t)-1), 0);
    ck_assert_int_eq(chown(dir, 12345, (gid_t)-1), 0);
    refused(dir, "another user");
}
END_TEST

START_TEST(no_files)
{
    char link[160];
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(xd_keylist_read(&list, XD_KEYLIST_AUTHORIZED, path, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, path) && strstr(err.text, "is no file"), "%s", err.text);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(xd_keylist_read(&list, XD_KEYLIST_AUTHORIZED, path, &err), -EINVAL);
    snprintf(link, sizeof(link), "%s/list/x/.lock", dir);
    snprintf(path, sizeof(path), "%s/list/x/keys", dir);
    ck_assert_int_eq(xd_keylist_add(path, "xdk1 " KEY1, &err), 0);
    ck_assert_int_eq(unlink(link), 0);
    ck_assert_int_eq(symlink("/etc/passwd", link), 0); /* no lock where a link leads */
    ck_assert_int_lt(xd_keylist_add(path, "xdk1 " KEY1, &err), 0);
    ck_assert_msg(strstr(err.text, link) != NULL, "%s", err.text);
    holds("xdk1 " KEY1 "\n");
}
END_TEST

/* ---- at the same time ------------------------------------------------------------------------------------ */

#define WRITERS 4
#define LINES 12

/* Each adds its lines, and takes one of all away between. */
static int writer(int number)
{
    for (int i = 0; i < LINES; i++) {
        char line[128];
        snprintf(line, sizeof(line), "max-workers=%d xdk1 " KEY1 " %d", number * LINES + i + 1, number);
        if (xd_keylist_add(path, line, &err) < 0 || xd_keylist_add(path, "xdk1 " KEY2, &err) < 0 ||
            taken_away(XD_KEYLIST_AUTHORIZED, KEY2, NULL) < 0)
            return 1;
    }
    return 0;
}

START_TEST(at_the_same_time)
{
    bool  there[WRITERS * LINES + 1] = { false };
    pid_t pid[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        pid[i] = check_fork();
        if (pid[i] == 0)
            _exit(writer(i));
    }
    for (int i = 0; i < WRITERS; i++) {
        int status;
        ck_assert_int_eq(waitpid(pid[i], &status, 0), pid[i]);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    ck_assert_msg(xd_keylist_read(&list, XD_KEYLIST_AUTHORIZED, path, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(list.count, WRITERS * LINES);
    for (size_t i = 0; i < list.count; i++) {
        ck_assert(list.at[i].max_workers && !there[list.at[i].max_workers]);
        there[list.at[i].max_workers] = true;
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("keylist");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, good_lines);
    tcase_add_test(t, bad_lines);
    tcase_add_test(t, known_brokers);
    tcase_add_test(t, whole_texts);
    tcase_add_test(t, addresses);
    tcase_add_test(t, times);
    tcase_add_test(t, added_and_removed);
    tcase_add_test(t, other_lines_stay);
    tcase_add_test(t, removed_from_many);
    tcase_add_test(t, others_may_write);
    tcase_add_test(t, others_may_write_behind_a_link);
    tcase_add_test(t, others_may_write_the_folder_alone);
    tcase_add_test(t, of_another_owner);
    tcase_add_test(t, no_files);
    tcase_add_test(t, at_the_same_time);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
