/* main.c - what the simulators share: options, seeds, the count of checks.
 *   [--seeds N] [--first N] [--trace] [--expect-fault]
 * Every seed runs twice: the hash of its events must be the same.  Exit code 1 at a broken invariant (with
 * --expect-fault: 0 if one was found, 1 if none). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "tests/sim/sim.h"

/* Names in it may be anything. */
static void print_fault(uint64_t seed, const char *fault)
{
    xd_autobuf text = XD_BUF_INIT;
    if (xd_text_harmless(&text, xd_bytes_str(fault), false) == 0)
        printf("seed %llu: %s\n", (unsigned long long)seed, xd_buf_cstr(&text));
}

int sim_main(int argc, char **argv, sim_seed_fn *run_seed)
{
    uint64_t seeds = 2000, first = 1, events = 0;
    bool     trace = false, expect = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            seeds = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--first") == 0 && i + 1 < argc)
            first = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--trace") == 0)
            trace = true;
        else if (strcmp(argv[i], "--expect-fault") == 0)
            expect = true;
        else {
            fprintf(stderr, "usage: %s [--seeds N] [--first N] [--trace] [--expect-fault]\n", argv[0]);
            return 2;
        }
    }
    uint64_t done = 0, faults = 0;
    for (uint64_t s = first; s < first + seeds; s++, done++) {
        char     fault[256], again[256];
        uint64_t h1 = run_seed(s, trace, fault, &events), h2 = run_seed(s, false, again, &events);
        if (!fault[0] && h1 != h2)
            snprintf(fault, sizeof fault, "two runs differ: %016llx %016llx", (unsigned long long)h1,
                     (unsigned long long)h2);
        if (!fault[0])
            continue;
        print_fault(s, fault);
        if (expect) {
            printf("100%%: Checks: 1, Failures: 0, Errors: 0\n");
            return 0;
        }
        if (++faults >= 10)
            break;
    }
    printf("%llu seeds, %llu events\n", (unsigned long long)done, (unsigned long long)events);
    bool     bad = expect || faults;
    uint64_t checks = expect ? 1 : done + (faults >= 10), failures = expect ? 1 : faults;
    printf("%u%%: Checks: %llu, Failures: %llu, Errors: 0\n",
           (unsigned)(checks ? 100 * (checks - failures) / checks : 100), (unsigned long long)checks,
           (unsigned long long)failures);
    return bad;
}
