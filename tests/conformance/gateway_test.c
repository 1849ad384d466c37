/* needs: engine gateways cases: popen ring command openssh libssh */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateways/command.h"
#include "gateways/openssh.h"
#include "gateways/ssh.h"
#include "tests/conformance/gateway_conformance.c" /* each test program is one source */
#include "tests/conformance/ring_transport.c"
#include "tests/conformance/ssh_server.c"

static xd_gateway_case cases[] = {
    { .name = "popen", .spec = "popen", .transport = &xd_transport_popen },
    { .name = "ring",
      .spec = "popen",
      .transport = &xd_transport_ring,
      .never = &xd_transport_ring_never,
      .fails = &xd_transport_ring_fails },
    { .name = "command", .spec = "command=sh", .transport = &xd_transport_command, .slow_again = true },
    /* Their spec is that of an sshd which is started for them. */
    { .name = "openssh", .transport = &xd_transport_openssh, .slow_again = true, .far = true },
    { .name = "libssh",
      .transport = &xd_transport_libssh,
      .slow_again = true,
      .far = true,
      .no_status = true },
};
#define LOCAL_CASES 3

/* 0 = it is not to be run, or there is no sshd here, which is said. */
static int start_server(xd_ssh_server **ret)
{
    const char *only = getenv("CK_RUN_CASE"), *spec = NULL;
    xd_error    err = { 0 };
    if (only && !strstr(only, "ssh"))
        return 0;
    int r = xd_ssh_server_start(ret, &spec, &err);
    if (r < 0) {
        printf("ssh is not tested: %s\n", err.text);
        return r == -ENOENT ? 0 : r;
    }
    for (size_t i = LOCAL_CASES; i < XD_ARRAY_LEN(cases); i++)
        cases[i].spec = spec;
    return 1;
}

int main(void)
{
    xd_ssh_server *server = NULL;
    int            ssh = start_server(&server);
    if (ssh < 0)
        return EXIT_FAILURE;
    SRunner *runner =
        srunner_create(xd_gateway_conformance(cases, ssh ? (int)XD_ARRAY_LEN(cases) : LOCAL_CASES));
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    xd_ssh_server_stop(server);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
