#include "actors/exit_code.h"

#include <stddef.h>

#include "engine/xd.h"

int xd_exit_code(const xd_exit_facts *f)
{
    bool incomplete = f->recorded < f->collected;
    if (f->forced > 0) /* a process has eight bits of it: 256 must not come out as 0 */
        return f->forced % 256 ? f->forced : XD_EXIT_INCOMPLETE;
    if (f->forced == 0)
        return f->zero_asked ? XD_EXIT_OK : XD_EXIT_INCOMPLETE;
    if (f->failures || f->collect_errors || f->bad_end)
        return XD_EXIT_FAILED;
    if (!f->agreed || f->missing)
        return XD_EXIT_INFRASTRUCTURE;
    if (incomplete)
        return XD_EXIT_INCOMPLETE;
    if (!f->collected)
        return XD_EXIT_NO_TESTS;
    return f->too_many_warnings ? XD_EXIT_MAX_WARNINGS : XD_EXIT_OK;
}

int xd_exit_worse(int a, int b)
{
    static const int worst_first[] = {
        XD_EXIT_INTERNAL,   XD_EXIT_INFRASTRUCTURE, XD_EXIT_INCOMPLETE, XD_EXIT_USAGE,   XD_EXIT_INTERRUPTED,
        -1 /* any other */, XD_EXIT_FAILED,         XD_EXIT_OK,         XD_EXIT_NO_TESTS
    };
    size_t other = 0, of_a = 0, of_b = 0;
    while (worst_first[other] >= 0)
        other++;
    of_a = of_b = other;
    for (size_t i = 0; i < sizeof(worst_first) / sizeof(*worst_first); i++) {
        of_a = worst_first[i] == a ? i : of_a;
        of_b = worst_first[i] == b ? i : of_b;
    }
    return of_b < of_a ? b : a;
}
