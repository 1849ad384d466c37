/* needs: engine gateways cases: popen ring command */
#include <stdlib.h>

#include "gateways/command.h"
#include "tests/conformance/gateway_conformance.c" /* each test program is one source */
#include "tests/conformance/ring_transport.c"

static const xd_gateway_case cases[] = {
    { .name = "popen", .spec = "popen", .transport = &xd_transport_popen },
    { .name = "ring",
      .spec = "popen",
      .transport = &xd_transport_ring,
      .never = &xd_transport_ring_never,
      .fails = &xd_transport_ring_fails },
    { .name = "command", .spec = "command=sh", .transport = &xd_transport_command, .slow_again = true },
};

int main(void)
{
    SRunner *runner = srunner_create(xd_gateway_conformance(cases, (int)XD_ARRAY_LEN(cases)));
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
