/* needs: engine */
/* Lists of hosts, as people have them for GNU parallel, and as they mistype them. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/hosts.h"
#include "tests/unit/often.h"

START_TEST(lines)
{
    static const struct {
        const char *line, *spec; /* NULL = it says nothing */
    } table[] = {
        { "hostB", "ssh=hostB//cpus=auto" },
        { "8/hostA", "8*ssh=hostA" },
        { "  2/me@my-host.example.net \t", "2*ssh=me@my-host.example.net" },
        { "user@hostC:2222", "ssh=-p 2222 user@hostC//cpus=auto" },
        { "4/hostC:22\r", "4*ssh=-p 22 hostC" },
        { "ssh -p 2222 server", "ssh=-p 2222 server//cpus=auto" },
        { "4/ssh  -p 2222 -l me server", "4*ssh=-p 2222 -l me server" },
        { "ssh", "ssh=ssh//cpus=auto" }, /* any word is a host */
        { "popen", "ssh=popen//cpus=auto" },
        { "4", "ssh=4//cpus=auto" },
        { "::1", "ssh=::1//cpus=auto" },
        { "me@[fe80::1]:2222", "ssh=-p 2222 me@fe80::1//cpus=auto" },
        { "[::1]", "ssh=::1//cpus=auto" },
        { ":", "popen//cpus=auto" },
        { "16/:", "16*popen" },
        { "8/hostA//chdir=ci//env:STAGE=qa", "8*ssh=hostA//chdir=ci//env:STAGE=qa" },
        { "hostA//nice=10", "ssh=hostA//cpus=auto//nice=10" },
        { "ssh -p 22 h//python=python3 -E", "ssh=-p 22 h//cpus=auto//python=python3 -E" },
        { "3*ssh=hostF//chdir=ci", "3*ssh=hostF//chdir=ci" },
        { "ssh=hostF", "ssh=hostF" },
        { "2*popen", "2*popen" },
        { "", NULL },
        { " \t\r", NULL },
        { "# 8/hostA", NULL },
        { "  #", NULL },
        { "hostB # the slow one", "ssh=hostB//cpus=auto" },
        { "hostB//env:A=b#c", "ssh=hostB//cpus=auto//env:A=b#c" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        char    *spec = NULL;
        xd_error err = { 0 };
        int      r = xd_hosts_line(table[i].line, &spec, &err);
        ck_assert_msg(r == (table[i].spec ? 1 : 0), "'%s': %d %s", table[i].line, r, err.text);
        if (table[i].spec)
            ck_assert_str_eq(spec, table[i].spec);
        free(spec);
    }
}
END_TEST

START_TEST(mistyped_lines)
{
    static const struct {
        const char *line, *words;
    } table[] = {
        { "0/host", "from 1 to 1024" },
        { "1025/host", "from 1 to 1024" },
        { "8/", "no host" },
        { "eight/host", "stands before /" },
        { "host:ssh", "port" },
        { "host:0", "port" },
        { "host:65536", "port" },
        { "host:", "port" },
        { "me@", "no name" },
        { "[::1", "no name" },
        { "[host]:22", "no name" },
        { "[::1]x", "no name" },
        { "me:secret@host", "password" },
        { "@group1/host", "groups" },
        { "-oProxyCommand=x", "begin with -" },
        { "myssh -l me host", "command=" },
        { "//usr/bin/myssh host", "command=" },
        { "6//usr/bin/myssh host", "command=" },
        { "hostA hostB", "only ssh" },
        { "host//colour=red", "unknown key 'colour'" },
        { "8/host//cpus=auto", "both say" },
        { "host//", "nothing between" },
        { "3*colour=red", "unknown key" },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++) {
        char    *spec = NULL;
        xd_error err = { 0 };
        int      r = xd_hosts_line(table[i].line, &spec, &err);
        ck_assert_msg(r == -EINVAL && !spec, "'%s': %d", table[i].line, r);
        ck_assert_msg(strstr(err.text, table[i].words) != NULL, "'%s': %s", table[i].line, err.text);
    }
}
END_TEST

static char       path[] = "/tmp/xd-hosts-XXXXXX";
static xd_strings specs;

static void has(const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    ck_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

static int read_list(xd_error *err)
{
    *err = (xd_error){ 0 };
    return xd_hosts_read(path, NULL, &specs, err);
}

START_TEST(files)
{
    static const char good[] = "# all of them\n8/hostA\n\nhostB\n2/:",
                      bad[] = "hostA\n# x\n\n0/hostB\nhostC\n", empty[] = "\n# nobody\n",
                      zero[] = "hostA\n\0\n";
    xd_error err;
    int      fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(xd_strings_add(&specs, "popen"), 0);
    has(good, sizeof(good) - 1);
    ck_assert_msg(read_list(&err) == 0, "%s", err.text);
    ck_assert_uint_eq(specs.count, 4); /* behind those of --tx */
    ck_assert_str_eq(specs.at[0], "popen");
    ck_assert_str_eq(specs.at[1], "8*ssh=hostA");
    ck_assert_str_eq(specs.at[3], "2*popen");
    /* A host that is named again has no more processors; numbers add up. */
    static const char again[] = "\xef\xbb\xbfhostB\r\n2/hostC\r\nhostB # again\r\n2/hostC\r\nhostB:22\r\n";
    static const char *const wanted[] = { "ssh=hostB//cpus=auto", "2*ssh=hostC", "2*ssh=hostC",
                                          "ssh=-p 22 hostB//cpus=auto" };
    has(again, sizeof(again) - 1);
    ck_assert_msg(read_list(&err) == 0, "%s", err.text);
    ck_assert_uint_eq(specs.count, 8);
    for (size_t i = 0; i < XD_ARRAY_LEN(wanted); i++)
        ck_assert_str_eq(specs.at[4 + i], wanted[i]);
    has(bad, sizeof(bad) - 1);
    ck_assert_int_eq(read_list(&err), -EINVAL);
    char where[128];
    snprintf(where, sizeof(where), "option --hosts: %s:4: '0/hostB': ", path);
    ck_assert_msg(strncmp(err.text, where, strlen(where)) == 0 && strstr(err.text, "[NUM/]HOST"), "%s",
                  err.text);
    has(empty, sizeof(empty) - 1);
    ck_assert_int_eq(read_list(&err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "there is no host in"));
    has(zero, sizeof(zero) - 1);
    ck_assert_int_eq(read_list(&err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "zero bytes"));
    unlink(path);
    ck_assert_int_eq(read_list(&err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    xd_strings_release(&specs);
}
END_TEST

/* What takes the square of the number of lines does not end before the time of a test is over. */
START_TEST(a_very_long_list)
{
    char       long_path[] = "/tmp/xd-hosts-XXXXXX";
    xd_autobuf text = XD_BUF_INIT;
    xd_error   err = { 0 };
    int        fd = mkstemp(long_path);
    for (unsigned i = 0; i < 300000; i++)
        often_assert(xd_buf_printf(&text, "h%u\n", i % 200000) == 0);
    ck_assert(fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len);
    close(fd);
    ck_assert_msg(xd_hosts_read(long_path, NULL, &specs, &err) == 0, "%s", err.text);
    unlink(long_path);
    ck_assert_uint_eq(specs.count, 200000);
    xd_strings_release(&specs);
}
END_TEST

/* A relative name counts from --work-dir; the option is done with. */
START_TEST(of_a_config)
{
    xd_config *cfg = NULL;
    xd_error   err = { 0 };
    char       text[XD_TEXT];
    char       dir[] = "/tmp/xd-hosts-XXXXXX", file[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/list", dir);
    FILE *f = fopen(file, "w");
    ck_assert(f && fputs("3/:\n", f) >= 0 && fclose(f) == 0);
    ck_assert_int_eq(xd_config_new(&cfg), 0);
    ck_assert_int_eq(xd_hosts_apply(cfg, &err), 0); /* nothing to do */
    ck_assert_int_eq(xd_config_set(cfg, "hosts", "list", text), 0);
    ck_assert_int_eq(xd_config_set(cfg, "work-dir", dir, text), 0);
    ck_assert_msg(xd_hosts_apply(cfg, &err) == 0, "%s", err.text);
    ck_assert_int_eq(xd_hosts_apply(cfg, &err), 0);
    ck_assert_uint_eq(cfg->tx.count, 1);
    ck_assert_str_eq(cfg->tx.at[0], "3*popen");
    xd_config_free(cfg);
    unlink(file);
    rmdir(dir);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("hosts");
    TCase *t = tcase_create("all");
    tcase_add_test(t, lines);
    tcase_add_test(t, mistyped_lines);
    tcase_add_test(t, files);
    tcase_add_test(t, a_very_long_list);
    tcase_add_test(t, of_a_config);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
