/* needs: engine gateways */
#include <stdlib.h>

#include "tests/conformance/gateway_conformance.c" /* each test program is one source */

static const xd_gateway_case cases[] = {
    { &xd_gateway_popen, "popen" },
};

int main(void)
{
    SRunner *runner = srunner_create(xd_gateway_conformance(cases, (int)XD_ARRAY_LEN(cases)));
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
