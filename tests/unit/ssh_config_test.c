/* needs: engine gateways */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "gateways/ssh.h"
#include "gateways/ssh_config.h"
#include "gateways/ssh_words.h"

static char dir[] = "/tmp/xd-ssh-config-XXXXXX";

static const char *write_file(const char *name, const char *text)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static int try_conf(const char *spec_text, const char *config, xd_ssh_conf **ret, xd_error *err)
{
    char        text[600];
    xd_xspec    spec;
    xd_target   target = { .spec = &spec };
    const char *path = write_file("config", config);
    snprintf(text, sizeof(text), "%s//ssh_config=%s", spec_text, path);
    ck_assert_msg(xd_xspec_parse(&spec, text, err) == 0, "%s", err->text);
    int r = xd_ssh_conf_new(ret, &target, err);
    xd_xspec_release(&spec);
    return r;
}

static xd_ssh_conf *conf(const char *spec, const char *config)
{
    xd_ssh_conf *c = NULL;
    xd_error     err = { 0 };
    ck_assert_msg(try_conf(spec, config, &c, &err) == 0, "%s", err.text);
    return c;
}

static void refuses(const char *spec, const char *config, const char *why)
{
    xd_ssh_conf *c = NULL;
    xd_error     err = { 0 };
    ck_assert_int_lt(try_conf(spec, config, &c, &err), 0);
    ck_assert_msg(strstr(err.text, why) != NULL, "%s", err.text);
}

static void is(const xd_ssh_conf *c, const char *keyword, const char *value)
{
    ck_assert_pstr_eq(xd_ssh_conf_get(c, keyword, NULL), value);
}

START_TEST(the_host_and_its_options)
{
    static const struct {
        const char *spec, *given, *user;
        unsigned    port;
    } all[] = { { "ssh=host", "host", NULL, 22 },
                { "ssh=me@host", "host", "me", 22 },
                { "ssh=-p 5000 host", "host", NULL, 5000 },
                { "ssh=-p5000 -l me host", "host", "me", 5000 },
                { "ssh=-o Port=77 -o 'User me' host", "host", "me", 77 },
                { "ssh=-4Cp 9 me@host", "host", "me", 9 },
                { "ssh=me@there@host", "host", "me@there", 22 },
                { "ssh=[::1]", "::1", NULL, 22 },
                { "ssh=host -p 5", "host", NULL, 5 } };
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++) {
        xd_auto(xd_ssh_conf) *c = conf(all[i].spec, "");
        ck_assert_str_eq(xd_ssh_conf_given(c), all[i].given);
        ck_assert_uint_eq(xd_ssh_conf_port(c), all[i].port);
        ck_assert_str_eq(xd_ssh_conf_user(c), all[i].user ? all[i].user : xd_ssh_conf_local_user(c));
        ck_assert_ptr_null(xd_ssh_conf_unsuited(c));
    }
}
END_TEST

START_TEST(what_is_no_host)
{
    refuses("ssh=-p 70000 host", "", "no port");
    refuses("ssh=me@-oProxyCommand=x", "", "no name of a host");
    refuses("ssh='a;b'", "", "no name of a host");
}
END_TEST

START_TEST(the_first_value_counts)
{
    xd_auto(xd_ssh_conf) *c = conf(
        "ssh=-p 1 web1", "Port 2\nHost db*\n User other\nHost web? !web2\n User me\n HostName Real.Example\n"
                         "Host *\n User last\n Port 3\n  \n# x\nconnecttimeout=5\n");
    is(c, "port", "1");
    is(c, "user", "me");
    is(c, "connecttimeout", "5");
    ck_assert_str_eq(xd_ssh_conf_host(c), "real.example");
    ck_assert_uint_eq(xd_ssh_conf_number(c, "connecttimeout", 9), 5);
    c = xd_ssh_conf_free(c);
    c = conf("ssh=web2", "Host web? !web2\n User me\nHost *\n User last\n");
    is(c, "user", "last");
}
END_TEST

START_TEST(lines_are_read_as_ssh_does)
{
    xd_auto(xd_ssh_conf) *c = conf("ssh=h", "\tUser = \"a b\"  # said\r\nIdentityFile \"/k/one "
                                            "two\"\nidentityfile /k/three\nUserKnownHostsFile /a \"/b c\"\n"
                                            "SendEnv LANG LC_*\nSendEnv OTHER");
    is(c, "user", "a b");
    is(c, "identityfile", "/k/one two\n/k/three");
    is(c, "sendenv", "LANG\nLC_*\nOTHER");
    const char       *list = xd_ssh_conf_get(c, "userknownhostsfile", "");
    xd_autofree char *first = xd_ssh_conf_next_file(c, &list), *second = xd_ssh_conf_next_file(c, &list);
    ck_assert_str_eq(first, "/a");
    ck_assert_str_eq(second, "/b c");
    ck_assert_ptr_null(xd_ssh_conf_next_file(c, &list));
    refuses("ssh=h", "User", "config:1: there is no value after User");
    refuses("ssh=h", "\nUser \"a", "config:2: a quote that is not closed");
}
END_TEST

START_TEST(match_blocks)
{
    static const struct {
        const char *criteria;
        bool        holds;
    } all[] = { { "all", true },
                { "host h", true },
                { "host a,h?,h", true },
                { "host *,!h", false },
                { "originalhost h", true },
                { "user me host h", true },
                { "user other", false },
                { "!user other", true },
                { "!all", false },
                { "host real", false },
                { "canonical", false },
                { "localuser nobody-here", false },
                { "user other exec false", false } };
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++) {
        char text[200];
        snprintf(text, sizeof(text), "User me\nMatch %s\nPort 7\nMatch all\nPort 8\n", all[i].criteria);
        xd_auto(xd_ssh_conf) *c = conf("ssh=h", text);
        ck_assert_msg(xd_ssh_conf_port(c) == (all[i].holds ? 7 : 8), "%s", all[i].criteria);
        ck_assert_ptr_null(xd_ssh_conf_unsuited(c));
    }
}
END_TEST

/* What `ssh -G` of OpenSSH 9.2 says of the same lines; NULL = the keyword is not set. */
START_TEST(as_ssh_has_it)
{
    static const struct {
        const char *spec, *config, *keyword, *value;
    } all[] = { { "ssh=h", "User DOM\\\\user", "user", "DOM\\user" },
                { "ssh=h", "User DOM\\user", "user", "DOM\\user" },
                { "ssh=h", "IdentityFile /a\\ b/c", "identityfile", "/a b/c" },
                { "ssh=h", "IdentityFile \"/a\\\"b\"", "identityfile", "/a\"b" },
                { "ssh=-i '/a b' h", "", "identityfile", NULL }, /* no such file */
                { "ssh=-i /etc/passwd -i /etc/group h", "IdentityFile /c", "identityfile",
                  "/etc/passwd\n/etc/group\n/c" },
                { "ssh=-l 'a b' h", "", "user", "a b" },
                { "ssh=a#b@h", "", "user", "a#b" },
                { "ssh='DOM\\u@h'", "", "user", "DOM\\u" },
                { "ssh=-4 -6 h", "AddressFamily any", "addressfamily", "inet6" },
                { "ssh=FOO", "Host foo\nPort 9", "port", NULL },
                { "ssh=foo", "Host FOO\nPort 9", "port", NULL },
                { "ssh=FOO", "Match host foo\nPort 9", "port", "9" },
                { "ssh=foo", "Match host FOO\nPort 9", "port", "9" },
                { "ssh=Me@h", "Match user me\nPort 9", "port", NULL },
                { "ssh=h", "HostName %h.example.com\nMatch host *.example.com\nPort 9", "port", "9" },
                { "ssh=h", "Match host=h\nPort 9", "port", "9" },
                { "ssh=h", "Match !host = x  # said\nPort 9", "port", "9" },
                { "ssh=h", "SetEnv A=1 B=2\nSetEnv C=3", "setenv", "A=1\nB=2" },
                { "ssh=h", "SendEnv A B C_x\nSendEnv -A -C_*", "sendenv", "B" },
                { "ssh=h", "SendEnv -A\nSendEnv A", "sendenv", "A" },
                { "ssh=h", "ChallengeResponseAuthentication no", "kbdinteractiveauthentication", "no" },
                { "ssh=h", "UserKnownHostsFile2 /x", "userknownhostsfile", NULL },
                { "ssh=h", "Protocol 2\nUseRoaming no\nRSAAuthentication no\nPort 9", "port", "9" } };
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++) {
        xd_auto(xd_ssh_conf) *c = conf(all[i].spec, all[i].config);
        const char *value = xd_ssh_conf_get(c, all[i].keyword, NULL);
        ck_assert_msg(all[i].value ? value && strcmp(value, all[i].value) == 0 : !value, "%s, %s: %s",
                      all[i].spec, all[i].config, value);
        ck_assert_msg(!xd_ssh_conf_unsuited(c), "%s: %s", all[i].config, xd_ssh_conf_unsuited(c));
    }
    xd_auto(xd_ssh_conf) *c = conf("ssh=h", "Port ssh\nConnectTimeout 1m30s\nServerAliveInterval 2M\n"
                                            "UserKnownHostsFile ~root/known\n");
    ck_assert_uint_eq(xd_ssh_conf_port(c), 22);
    ck_assert_uint_eq(xd_ssh_conf_number(c, "connecttimeout", 1), 90);
    ck_assert_uint_eq(xd_ssh_conf_number(c, "serveraliveinterval", 1), 120);
    const char       *list = xd_ssh_conf_get(c, "userknownhostsfile", "");
    xd_autofree char *file = xd_ssh_conf_next_file(c, &list);
    ck_assert_str_eq(file, "/root/known");
}
END_TEST

/* ssh says what is wrong with a line in its own words, or knows what it means. */
START_TEST(lines_that_only_ssh_understands)
{
    static const char *const all[] = { "HostName a b",
                                       "Port 22 33",
                                       "User \"x\" y",
                                       "IdentityFile /a b",
                                       "IdentityFile /k/%Z",
                                       "UserKnownHostsFile /a /k/%Z",
                                       "HostName %n.x",
                                       "StrictHostKeyChecking maybe",
                                       "AddressFamily ipx",
                                       "ConnectTimeout soon",
                                       "PasswordAuthentication perhaps",
                                       "Host",
                                       "Match",
                                       "Include ~no-such-user-here/x",
                                       "Host other\nOfTomorrow yes" };
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++) {
        xd_auto(xd_ssh_conf) *c = conf("ssh=h", all[i]);
        ck_assert_msg(xd_ssh_conf_unsuited(c) != NULL, "%s", all[i]);
    }
}
END_TEST

START_TEST(included_files)
{
    char text[400];
    write_file("one.conf", "Host other\nPort 1\nHost h\nPort 5\n");
    write_file("two.conf", "User me\n");
    snprintf(text, sizeof(text), "Include %s/*.conf\nHost x\nInclude %s/one.conf\nHost *\nUser last\n", dir,
             dir);
    xd_auto(xd_ssh_conf) *c = conf("ssh=h", text);
    ck_assert_uint_eq(xd_ssh_conf_port(c), 5);
    is(c, "user", "me");
    snprintf(text, sizeof(text), "Include %s/config\n", dir);
    refuses("ssh=h", text, "too many files include each other");
}
END_TEST

START_TEST(tokens)
{
    xd_auto(xd_ssh_conf) *c = conf("ssh=-p 7 me@h", "HostName %h.example\n");
    ck_assert_str_eq(xd_ssh_conf_host(c), "h.example");
    ck_assert_int_eq(setenv("XD_OF_A_TEST", "value", 1), 0);
    xd_autofree char *text = xd_ssh_conf_expand(c, "%%/%h/%n/%p/%r/${XD_OF_A_TEST}/~"),
                     *home = xd_ssh_conf_expand(c, "~/x");
    ck_assert_str_eq(text, "%/h.example/h/7/me/value/~");
    ck_assert_int_eq(strncmp(home, xd_ssh_conf_home(c), strlen(xd_ssh_conf_home(c))), 0);
    ck_assert_ptr_null(xd_ssh_conf_expand(c, "%Z"));
    ck_assert_ptr_null(xd_ssh_conf_expand(c, "${XD_NOT_SET_ANYWHERE}"));
}
END_TEST

/* Each is left to the ssh program, and the line that asks for it is named; `none` is not. */
START_TEST(what_is_left_to_ssh)
{
    static const char *const all[] = { "ProxyJump gate",
                                       "ProxyCommand nc %h %p",
                                       "IdentitiesOnly yes",
                                       "CertificateFile /k/cert",
                                       "ForwardAgent yes",
                                       "ControlPath ~/.ssh/c-%C",
                                       "CanonicalizeHostname yes",
                                       "BindAddress 10.0.0.1",
                                       "KnownHostsCommand /bin/x",
                                       "PKCS11Provider /lib/x.so",
                                       "RekeyLimit 1M",
                                       "VerifyHostKeyDNS yes",
                                       "Ciphers +aes128-cbc",
                                       "HostKeyAlgorithms ^ssh-rsa",
                                       "MACs -hmac-sha1",
                                       "OfTomorrow yes" };
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++) {
        char text[200], name[64];
        snprintf(text, sizeof(text), "Host *\n%s\n", all[i]);
        xd_auto(xd_ssh_conf) *c = conf("ssh=h", text);
        snprintf(name, sizeof(name), "%.*s in ", (int)strcspn(all[i], " "), all[i]);
        ck_assert_msg(xd_ssh_conf_unsuited(c) && strstr(xd_ssh_conf_unsuited(c), name) &&
                          strstr(xd_ssh_conf_unsuited(c), "config:2"),
                      "%s: %s", all[i], xd_ssh_conf_unsuited(c));
    }
    xd_auto(xd_ssh_conf) *none =
        conf("ssh=h", "Host other\nProxyJump x\nHost *\nProxyJump none\nProxyJump late\nIdentitiesOnly "
                      "no\nIgnoreUnknown OfTom*\n"
                      "OfTomorrow yes\nServerAliveInterval 5\nAddressFamily inet\nVisualHostKey yes\n");
    ck_assert_msg(!xd_ssh_conf_unsuited(none), "%s", xd_ssh_conf_unsuited(none));
    xd_auto(xd_ssh_conf) *exec = conf("ssh=h", "Match host h exec \"test -e /x\"\nPort 9\n");
    ck_assert_ptr_nonnull(strstr(xd_ssh_conf_unsuited(exec), "Match exec in "));
    ck_assert_uint_eq(xd_ssh_conf_port(exec), 22);
    xd_auto(xd_ssh_conf) *jump = conf("ssh=-J gate h", "");
    ck_assert_ptr_nonnull(strstr(xd_ssh_conf_unsuited(jump), "ProxyJump"));
    xd_auto(xd_ssh_conf) *letter = conf("ssh=-L 1:a:2 h", "");
    ck_assert_ptr_nonnull(strstr(xd_ssh_conf_unsuited(letter), "-L"));
}
END_TEST

/* -i is looked at before any file is read. */
START_TEST(tokens_of_an_option)
{
    char spec[300], path[200];
    snprintf(path, sizeof(path), "%s/key-%%h-%%n-%%k", dir);
    write_file("key-h-h-h", "");
    snprintf(spec, sizeof(spec), "ssh=-i %s u@h", path);
    xd_auto(xd_ssh_conf) *c = conf(spec, "");
    is(c, "identityfile", path);
    is(c, "user", "u");
    snprintf(spec, sizeof(spec), "ssh=-i %s -l v u@other", path);
    xd_auto(xd_ssh_conf) *none = conf(spec, "");
    is(none, "identityfile", NULL);
    is(none, "user", "v");
}
END_TEST

/* The reason quotes the file; it is shown on a terminal. */
START_TEST(a_harmless_reason)
{
    xd_auto(xd_ssh_conf) *c = conf("ssh=h", "Of\x1b]0;x\x07Tomorrow yes\n");
    ck_assert_ptr_nonnull(strstr(xd_ssh_conf_unsuited(c), "the keyword Of?]0;x?Tomorrow in "));
}
END_TEST

/* A pattern with many stars does not try all ways to spread a name over them. */
START_TEST(patterns)
{
    static const struct {
        const char *name, *list;
        bool        fold, is;
    } all[] = { { "host", "h*t", false, true },       { "host", "h*o", false, false },
                { "host", "*", false, true },         { "host", "**", false, true },
                { "host", "host*", false, true },     { "host", "*h?s*t*", false, true },
                { "host", "?host", false, false },    { "host", "hos", false, false },
                { "host", "", false, false },         { "", "*", false, true },
                { "abab", "*ab", false, true },       { "ab", "?", false, false },
                { "host", "HO*", true, true },        { "host", "HO*", false, false },
                { "host", "x,h*,!*t", false, false }, { "host", "!x,h*", false, true } };
    char name[256];
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++)
        ck_assert_msg(xd_ssh_match_list(all[i].name, all[i].list, ",", all[i].fold) == all[i].is, "%s: %s",
                      all[i].name, all[i].list);
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    ck_assert(!xd_ssh_match_list(name, "*a*a*a*a*a*a*a*a*a*a*a*a*b", ",", false));
}
END_TEST

/* Kerberos is asked for on every Debian; it means something to those who have tickets. */
START_TEST(tickets)
{
    char where[256];
    snprintf(where, sizeof(where), "FILE:%s", write_file("tickets", ""));
    ck_assert_int_eq(setenv("KRB5CCNAME", where, 1), 0);
    xd_auto(xd_ssh_conf) *with = conf("ssh=h", "GSSAPIAuthentication yes\n"),
                         *off = conf("ssh=h", "GSSAPIAuthentication no\n");
    ck_assert_ptr_nonnull(xd_ssh_conf_unsuited(with));
    ck_assert_ptr_null(xd_ssh_conf_unsuited(off));
    ck_assert_int_eq(setenv("KRB5CCNAME", "FILE:/nowhere/tickets", 1), 0);
    xd_auto(xd_ssh_conf) *without = conf("ssh=h", "GSSAPIAuthentication yes\n");
    ck_assert_ptr_null(xd_ssh_conf_unsuited(without));
}
END_TEST

START_TEST(security_keys)
{
    char text[300];
    write_file("sk.pub", "sk-ssh-ed25519@openssh.com AAAA me\n");
    write_file("plain.pub", "ssh-ed25519 AAAA me\n");
    snprintf(text, sizeof(text), "IdentityFile %s/plain\nIdentityFile %s/sk\n", dir, dir);
    xd_auto(xd_ssh_conf) *c = conf("ssh=h", text);
    ck_assert_ptr_nonnull(xd_ssh_conf_unsuited(c));
    ck_assert_ptr_nonnull(strstr(xd_ssh_conf_unsuited(c), "security key"));
}
END_TEST

START_TEST(suits)
{
    char      why[256] = "x";
    xd_xspec  spec;
    xd_target target = { .spec = &spec };
    xd_error  err = { 0 };
    char      text[300];
    snprintf(text, sizeof(text), "ssh=h//ssh_config=%s", write_file("config", "ProxyJump gate\n"));
    ck_assert_int_eq(xd_xspec_parse(&spec, text, &err), 0);
    ck_assert_int_eq(xd_ssh_suits(&target, why, sizeof(why)), 0);
    ck_assert_ptr_nonnull(strstr(why, "ProxyJump in "));
    write_file("config", "Port 7\n");
    ck_assert_int_eq(xd_ssh_suits(&target, why, sizeof(why)), 1);
    ck_assert_str_eq(why, "");
    write_file("config", "Port seven\n");
    ck_assert_int_eq(xd_ssh_suits(&target, why, sizeof(why)), -EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "'seven' is no port"));
    xd_xspec_release(&spec);
    ck_assert_int_lt(xd_xspec_parse(&spec, "popen//ssh_config=x", &err), 0);
}
END_TEST

/* Every keyword is there once, so that its kind is. */
START_TEST(the_table)
{
    for (int i = 0; xd_ssh_words[i].name; i++)
        ck_assert_int_eq(xd_ssh_word_find(xd_ssh_words[i].name), i);
    ck_assert_int_eq(xd_ssh_word_find("PubkeyAcceptedKeyTypes"),
                     xd_ssh_word_find("pubkeyacceptedalgorithms"));
    ck_assert_int_eq(xd_ssh_word_find("nothing"), -1);
}
END_TEST

int main(void)
{
    if (!mkdtemp(dir))
        return EXIT_FAILURE;
    Suite *s = suite_create("ssh_config");
    TCase *t = tcase_create("all");
    tcase_add_test(t, the_host_and_its_options);
    tcase_add_test(t, what_is_no_host);
    tcase_add_test(t, the_first_value_counts);
    tcase_add_test(t, lines_are_read_as_ssh_does);
    tcase_add_test(t, match_blocks);
    tcase_add_test(t, as_ssh_has_it);
    tcase_add_test(t, lines_that_only_ssh_understands);
    tcase_add_test(t, included_files);
    tcase_add_test(t, tokens);
    tcase_add_test(t, what_is_left_to_ssh);
    tcase_add_test(t, tokens_of_an_option);
    tcase_add_test(t, a_harmless_reason);
    tcase_add_test(t, patterns);
    tcase_add_test(t, tickets);
    tcase_add_test(t, security_keys);
    tcase_add_test(t, suits);
    tcase_add_test(t, the_table);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    (void)xd_path_remove_tree(dir);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
