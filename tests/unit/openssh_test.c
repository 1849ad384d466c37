/* needs: engine gateways */
#include "gateways/openssh.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define HAND "ssh -p 5 h"

/* What ssh writes, of several versions. */
START_TEST(causes)
{
    static const struct {
        const char      *said;
        xd_openssh_class is;
        const char      *words; /* of the line, besides what HAND is */
    } table[] = {
        { "ssh: Could not resolve hostname nope: Name or service not known\r\n", XD_OPENSSH_RESOLVE,
          "nope: Name" },
        { "ssh: connect to host h port 22: Connection refused\r\n", XD_OPENSSH_REFUSED, "port 22" },
        { "ssh: connect to host h port 22: Connection timed out\r\n", XD_OPENSSH_TIMEOUT, "does not answer" },
        { "Connection timed out during banner exchange\nConnection to 10.0.0.1 port 22 timed out\n",
          XD_OPENSSH_TIMEOUT, "banner exchange" },
        { "ssh: connect to host h port 22: No route to host\r\n", XD_OPENSSH_UNREACHABLE, "No route" },
        { "ssh: connect to host h port 22: Network is unreachable\r\n", XD_OPENSSH_UNREACHABLE,
          "unreachable" },
        { "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 10.0.0.1 "
          "port 22\r\n",
          XD_OPENSSH_DROPPED, "MaxStartups" },
        { "kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 10.0.0.1 port "
          "22\r\n",
          XD_OPENSSH_DROPPED, "MaxStartups" },
        { "ssh_exchange_identification: Connection closed by remote host\r\n", XD_OPENSSH_DROPPED,
          "MaxStartups" },
        { "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 10.0.0.1 "
          "port 22\r\n"
          "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN "
          "port 65535\r\n",
          XD_OPENSSH_DROPPED, "MaxStartups" },
        { "Not allowed at this time\r\nConnection closed by 10.0.0.1 port 22\r\n", XD_OPENSSH_DROPPED,
          "Not allowed" },
        { "Connection closed by 10.0.0.1 port 22\r\n", XD_OPENSSH_CLOSED, "before the user was let in" },
        { "Connection reset by 10.0.0.1 port 22\r\n", XD_OPENSSH_CLOSED, "Connection reset" },
        { "Host key verification failed.\r\n", XD_OPENSSH_KEY_UNKNOWN, "--ssh-accept-new" },
        { "No ED25519 host key is known for h and you have requested strict checking.\r\nHost key "
          "verification failed.\r\n",
          XD_OPENSSH_KEY_UNKNOWN, HAND },
        { "@@@@@@@@@@@@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
          "Add correct host key in /root/.ssh/known_hosts to get rid of this message.\r\n"
          "Offending ED25519 key in /root/.ssh/known_hosts:3\r\n  remove with:\r\n"
          "  ssh-keygen -f \"/root/.ssh/known_hosts\" -R \"[h]:5\"\r\n"
          "Host key for [h]:5 has changed and you have requested strict checking.\r\nHost key verification "
          "failed.\r\n",
          XD_OPENSSH_KEY_CHANGED, "ssh-keygen -f \"/root/.ssh/known_hosts\" -R \"[h]:5\", then " HAND },
        { "@       WARNING: REVOKED HOST KEY DETECTED!               @\r\nHost key verification failed.\r\n",
          XD_OPENSSH_KEY_REVOKED, "REVOKED" },
        { "Unable to negotiate with 10.0.0.1 port 22: no matching host key type found. Their offer: "
          "ssh-dss\r\n",
          XD_OPENSSH_NEGOTIATE, "ssh-dss" },
        { "Load key \"/root/.ssh/k\": Permission denied\r\nme@h: Permission denied (publickey,password).\r\n",
          XD_OPENSSH_AUTH, "me@h: Permission denied (publickey,password); there is no terminal" },
        { "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures\r\n"
          "Disconnected from 10.0.0.1 port 22\r\n",
          XD_OPENSSH_AUTH, "Too many" },
        { "/root/.ssh/config: line 3: Bad configuration option: frob\r\n/root/.ssh/config: terminating, 1 "
          "bad configuration "
          "options\r\n",
          XD_OPENSSH_CONFIG, "line 3: Bad configuration option: frob" },
        { "Can't open user config file x: No such file or directory\r\n", XD_OPENSSH_CONFIG, "file x" },
        { "Bad owner or permissions on /root/.ssh/config\r\n", XD_OPENSSH_CONFIG, "permissions on" },
        { "exec request failed on channel 0\r\n", XD_OPENSSH_SESSION, "MaxSessions" },
        { "channel 0: open failed: administratively prohibited: open failed\r\n", XD_OPENSSH_SESSION,
          "prohibited" },
        /* By way of another host: its own trouble comes first. */
        { "ssh: connect to host gate port 22: Connection refused\r\nkex_exchange_identification: Connection "
          "closed by remote "
          "host\r\nConnection closed by UNKNOWN port 65535\r\n",
          XD_OPENSSH_REFUSED, "gate port 22" },
        { "/bin/bash: line 1: exec: nc: not found\r\nkex_exchange_identification: Connection closed by "
          "remote host\r\n"
          "Connection closed by UNKNOWN port 65535\r\n",
          XD_OPENSSH_OTHER, "nc: not found" },
        { "a banner\r\n\r\nsomething new\r\n", XD_OPENSSH_OTHER, "ssh: something new" },
        { "", XD_OPENSSH_OTHER, "at once; try: " HAND },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char line[700] = "";
        ck_assert_msg(xd_openssh_cause(table[i].said, HAND, false, line, sizeof(line)) == table[i].is,
                      "%s: %s", table[i].said, line);
        ck_assert_msg(strstr(line, table[i].words) && !strchr(line, '\n') && !strchr(line, '\r'), "%s", line);
    }
}
END_TEST

static const xd_openssh_how how = { .connect_s = 9 };

/* The command line of the last of these specs, with a blank between words; without what all have. */
static void line_of(const char *const *texts, const xd_openssh_how *by, char *ret, size_t size, char *hand,
                    size_t hand_size)
{
    xd_xspec   all[4] = { { 0 } };
    xd_error   err = { 0 };
    xd_autobuf by_hand = XD_BUF_INIT;
    char     **argv = NULL;
    size_t     n = 0, len = 0;
    for (; texts[n]; n++)
        ck_assert_int_eq(xd_xspec_parse(&all[n], texts[n], &err), 0);
    ck_assert_int_eq(xd_xspec_route(&all[n - 1], all, n, &err), 0);
    ck_assert_msg(xd_openssh_argv(&argv, &all[n - 1], by, &err) == 0, "%s", err.text);
    for (size_t i = 0; argv[i]; i++)
        len += (size_t)snprintf(ret + len, size - len, "%s%s", i ? " " : "", argv[i]);
    ck_assert_int_eq(xd_openssh_by_hand(&by_hand, &all[n - 1]), 0);
    snprintf(hand, hand_size, "%s", xd_buf_cstr(&by_hand));
    xd_openssh_argv_free(argv);
    for (size_t i = 0; i < n; i++)
        xd_xspec_release(&all[i]);
}

/* `a` stands there, and before `b`. */
static void before(const char *line, const char *a, const char *b)
{
    const char *at = strstr(line, a), *other = strstr(line, b);
    ck_assert_msg(at && other && at < other, "'%s' is not before '%s': %s", a, b, line);
}

START_TEST(command_lines)
{
    char line[4096], hand[512];
    line_of((const char *const[]){ "ssh=-p 5000 -o ConnectTimeout=60 me@h -v//ssh_config=a b", NULL }, &how,
            line, sizeof(line), hand, sizeof(hand));
    before(line, "BatchMode=yes", "-F a b -p 5000 -o ConnectTimeout=60 -v"); /* it may not be undone */
    before(line, "ConnectTimeout=60", "ConnectTimeout=9");                   /* the user's wins */
    before(line, "ClearAllForwardings=yes", " -- me@h exec /bin/sh");
    ck_assert_ptr_null(strstr(line, "StrictHostKeyChecking"));
    ck_assert_str_eq(hand, "ssh -F 'a b' -p 5000 -o ConnectTimeout=60 me@h -v");
    line_of((const char *const[]){ "ssh=-L 1:db:2 h", NULL },
            &(xd_openssh_how){ .asks = true, .accept_new = true, .connect_s = 1 }, line, sizeof(line), hand,
            sizeof(hand));
    ck_assert_ptr_null(strstr(line, "ClearAllForwardings"));
    before(line, "BatchMode=no", "StrictHostKeyChecking=accept-new");
}
END_TEST

START_TEST(hosts_on_the_way)
{
    char line[4096], hand[512];
    line_of((const char *const[]){ "ssh=-i k%d -p 7 gate//id=g", "ssh=h//via=g", NULL }, &how, line,
            sizeof(line), hand, sizeof(hand));
    before(line, "-o ProxyCommand=ssh -o BatchMode=yes", "-i k%%d -p 7");
    before(line, "-W '[%h]:%p' -- gate -o LogLevel", " -- h exec /bin/sh");
    ck_assert_str_eq(hand, "ssh -o 'ProxyCommand=ssh -i k%d -p 7 gate -W [%h]:%p' h");
    line_of((const char *const[]){ "ssh=a//id=1", "ssh=b//id=2//via=1", "ssh=c//via=2", NULL }, &how, line,
            sizeof(line), hand, sizeof(hand));
    before(line, "[%%h]:%%p", "[%h]:%p"); /* each for its own ssh */
    before(line, "-- a", "-- b");
    before(line, "-- b", "-- c");
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("openssh");
    TCase   *t = tcase_create("openssh");
    SRunner *r = srunner_create(s);
    tcase_add_test(t, causes);
    tcase_add_test(t, command_lines);
    tcase_add_test(t, hosts_on_the_way);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
