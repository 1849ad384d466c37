/* needs: engine gateways cases: popen ring command socket join openssh libssh */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateways/command.h"
#include "gateways/openssh.h"
#include "gateways/ssh.h"
#include "tests/conformance/gateway_conformance.c" /* each test program is one source */
#include "tests/conformance/ring_transport.c"
#include "gateways/socket.h"
#include "tests/conformance/ssh_server.c"
#include "tests/conformance/socket_server.c"
#include "tests/conformance/join_server.c"

#define SKIPPED 77 /* CMake: SKIP_RETURN_CODE */

static const xd_gateway_fault popen_faults[] = {
    { .agent = "/nowhere/xdagent", .words = "/nowhere/xdagent", .code = -ENOENT },
    { .agent = "/etc/passwd", .words = "/etc/passwd", .code = -EACCES },
    { .agent = "/tmp", .words = "/tmp", .code = -EACCES },
    { 0 },
};
static const xd_gateway_fault popen_fails = { .transport = &xd_transport_popen,
                                              .spec = "popen",
                                              .agent = "/nowhere/xdagent",
                                              .words = "/nowhere/xdagent" };

static const xd_gateway_fault ring_never = { .transport = &xd_transport_ring_never,
                                             .spec = "popen",
                                             .words = "in time" };
static const xd_gateway_fault ring_fails = { .transport = &xd_transport_ring_fails,
                                             .spec = "popen",
                                             .words = "no route to the ring" };

static const xd_gateway_fault command_faults[] = {
    { .spec = "command=/no/such/program", .words = "/no/such/program", .code = -ENOENT },
    { .spec = "command=sh -c 'echo no such container >&2; exit 3'", .words = "no such container" },
    { .spec = "command=sh -c 'echo no shell here; exit 3'", .words = "no shell here" },
    { .spec = "command=sh -c 'sleep 60'", .words = "in time", .code = -ETIMEDOUT, .late = true },
    { .spec = "command=yes", .words = "goes on talking", .code = -EPROTO },
    { .spec = "command=true 'not closed", .words = "is not closed", .code = -EINVAL },
    { .agent = "/nowhere/xdagent", .words = "/nowhere/xdagent", .code = -ENOENT },
    { 0 },
};
static const xd_gateway_fault command_never = {
    .transport = &xd_transport_command,
    .spec = "command=sh -c 'echo Password: >&2; sleep 60'",
    .words = "no shell has answered there in time; the command wrote: Password:"
};
static const xd_gateway_fault command_fails = { .transport = &xd_transport_command,
                                                .spec = "command=sh -c 'exit 3'",
                                                .words = "closed before the agent ran" };

static const xd_gateway_fault join_never = { .transport = &xd_transport_joins_never,
                                             .spec = "popen",
                                             .words = "in time" };

/* Their spec is that of an sshd which is started for them. */
static char             ssh_specs[16][160], socket_specs[8][64];
static xd_gateway_fault openssh_faults[8], libssh_faults[8], ssh_ways[4], socket_faults[8], socket_ways[2];

static xd_gateway_case cases[] = {
    { .name = "popen",
      .spec = "popen",
      .transport = &xd_transport_popen,
      .fails = &popen_fails,
      .faults = popen_faults,
      .killed_says = "SIGKILL" },
    { .name = "ring",
      .spec = "popen",
      .transport = &xd_transport_ring,
      .never = &ring_never,
      .fails = &ring_fails,
      .faults = popen_faults,
      .killed_says = "SIGKILL" },
    { .name = "command",
      .spec = "command=sh",
      .transport = &xd_transport_command,
      .never = &command_never,
      .fails = &command_fails,
      .faults = command_faults,
      .killed_says = "SIGKILL",
      .slow_again = true },
    { .name = "socket",
      .transport = &xd_transport_socket,
      .never = &socket_ways[0],
      .fails = &socket_ways[1],
      .faults = socket_faults,
      .killed_says = "SIGKILL",
      .slow_again = true,
      .redials = true,
      .far = true },
    { .name = "join",
      .spec = "popen",
      .transport = &xd_transport_joins,
      .never = &join_never,
      .faultless = "whoever cannot join says why at that end; here somebody is waited for",
      .killed_says = "SIGKILL",
      .slow_again = true,
      .redials = true,
      .far = true },
    { .name = "openssh",
      .transport = &xd_transport_openssh,
      .never = &ssh_ways[0],
      .fails = &ssh_ways[1],
      .faults = openssh_faults,
      .killed_says = "ended with status 255",
      .slow_again = true,
      .far = true },
    { .name = "libssh",
      .transport = &xd_transport_libssh,
      .never = &ssh_ways[2],
      .fails = &ssh_ways[3],
      .faults = libssh_faults,
      .killed_says = "SIGKILL",
      .slow_again = true,
      .far = true },
};
#define SOCKET_CASE 3
#define LOCAL_CASES 5

static void add_faults(const xd_ssh_server *server, xd_gateway_fault *faults, xd_gateway_fault *ways,
                       const xd_transport *transport)
{
    static const xd_gateway_fault all[] = {
        { .spec = "closed", .words = "refused" },
        { .spec = "nowhere", .words = "resolve hostname nowhere.invalid" },
        { .spec = "mute", .words = "answer", .late = true },
        { .spec = "stranger", .words = "Host key verification failed" },
        { .spec = "changed", .words = "CHANGED" },
        { .spec = "denied", .words = "Permission denied (publickey)", .code = -EACCES },
        { .spec = "far", .agent = "/nowhere/xdagent", .words = "/nowhere/xdagent", .code = -ENOENT },
    };
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++) {
        faults[i] = all[i];
        faults[i].spec = ssh_specs[i];
        xd_ssh_server_spec(server, all[i].spec, ssh_specs[i], sizeof(ssh_specs[i]));
    }
    ways[0] = (xd_gateway_fault){ .transport = transport, .spec = faults[2].spec, .words = "answer" };
    ways[1] = (xd_gateway_fault){ .transport = transport, .spec = faults[0].spec, .words = "refused" };
}

static int start_socket_server(xd_socket_server **ret)
{
    static const xd_gateway_fault all[] = {
        { .spec = "closed", .words = "refused" },
        { .spec = "nowhere", .words = "nowhere.invalid" },
        { .spec = "mute", .words = "no answer in time", .late = true },
        { .spec = "stranger", .words = "xdctl trust 127.0.0.2", .code = -EKEYREJECTED },
        { .spec = "changed", .words = "HAS CHANGED", .code = -EKEYREJECTED },
        { .spec = "denied", .words = "does not know your key", .code = -EACCES },
        { .spec = "far", .agent = "/nowhere/xdagent", .words = "/nowhere/xdagent" },
    };
    const char *only = getenv("CK_RUN_CASE");
    xd_error    err = { 0 };
    if (only && strcmp(only, "socket") != 0)
        return 0;
    int r = xd_socket_server_start(ret, &cases[SOCKET_CASE].spec, &err);
    if (r < 0) {
        printf("socket: %s\n", err.text);
        return r;
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++) {
        socket_faults[i] = all[i];
        socket_faults[i].spec = socket_specs[i];
        xd_socket_server_spec(*ret, all[i].spec, socket_specs[i], sizeof(socket_specs[i]));
    }
    socket_ways[0] = (xd_gateway_fault){ .transport = &xd_transport_socket,
                                         .spec = socket_specs[2],
                                         .words = "no answer in time" };
    socket_ways[1] =
        (xd_gateway_fault){ .transport = &xd_transport_socket, .spec = socket_specs[0], .words = "refused" };
    return 0;
}

/* 0 = it is not to be run; -ENOENT = there is no sshd here, or no ssh. */
static int start_server(xd_ssh_server **ret)
{
    const char       *only = getenv("CK_RUN_CASE"), *spec = NULL;
    xd_error          err = { 0 };
    xd_autofree char *ssh = NULL;
    if (only && !strstr(only, "ssh"))
        return 0;
    int r = xd_path_find_program("ssh", getenv("PATH"), &ssh);
    if (r < 0)
        (void)xd_error_set(&err, r = -ENOENT, "no ssh here (apt-get install openssh-client)");
    else
        r = xd_ssh_server_start(ret, &spec, &err);
    if (r < 0) {
        printf("SKIP openssh, libssh: %s\n", err.text);
        return r;
    }
    for (size_t i = LOCAL_CASES; i < XD_ARRAY_LEN(cases); i++)
        cases[i].spec = spec;
    add_faults(*ret, openssh_faults, ssh_ways, &xd_transport_openssh);
    add_faults(*ret, libssh_faults, ssh_ways + 2, &xd_transport_libssh);
    return 1;
}

static void *no_thread(void *arg)
{
    return arg;
}

/* That of ThreadSanitizer itself comes with the first one of the program: it is no thread that a test left (CK_FORK=no). */
static void begin_threads(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, no_thread, NULL) == 0)
        (void)pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    xd_ssh_server    *server = NULL;
    xd_socket_server *sockets = NULL;
    xd_join_server   *joins = NULL;
    xd_error          err = { 0 };
    if (argc == 5 && strcmp(argv[1], "--hold") == 0)
        return xd_gateway_hold(cases[strtol(argv[2], NULL, 10)].transport, argv[3], argv[4]);
    if (argc == 4 && strcmp(argv[1], "--serve") == 0)
        return xd_socket_server_main(argv[2], argv[3]);
    if (argc == 3 && strcmp(argv[1], "--joins") == 0)
        return xd_join_server_begin(argv[2]);
    if (argc == 3 && strcmp(argv[1], "--joiner") == 0)
        return xd_join_server_main(argv[2]);
    if (argc == 5 && strcmp(argv[1], "--join") == 0)
        return xd_join_server_join(argv[2], argv[3], argv[4]);
    begin_threads();
    if (xd_join_server_start(&joins, &err) < 0) {
        printf("join: %s\n", err.text);
        return EXIT_FAILURE;
    }
    if (start_socket_server(&sockets) < 0)
        return EXIT_FAILURE;
    int ssh = start_server(&server);
    if (ssh < 0 && (ssh != -ENOENT || getenv("CK_RUN_CASE")))
        return ssh == -ENOENT ? SKIPPED : EXIT_FAILURE;
    SRunner *runner =
        srunner_create(xd_gateway_conformance(cases, ssh > 0 ? (int)XD_ARRAY_LEN(cases) : LOCAL_CASES));
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    xd_ssh_server_stop(server);
    xd_socket_server_stop(sockets);
    xd_join_server_stop(joins);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
