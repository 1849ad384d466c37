#include "actors/exit_code.h"

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
