/* engine/outcome.c - see outcome.h. */
#include "engine/outcome.h"

#include <string.h>

int xd_outcome_sentence(xd_buf *out, uint8_t outcome, const char *worker, const char *doing, xd_bytes id)
{
    if (!worker) /* it was lost with its environment, and nobody else knew of it */
        XD_TRY(xd_buf_add_str(out, "the environment "));
    else
        XD_TRY(xd_buf_printf(out, "worker '%s' ", worker));
    if (outcome == XD_OUT_TIMEOUT)
        XD_TRY(xd_buf_add_str(out, "ran out of time in '"));
    else
        XD_TRY(
            xd_buf_printf(out, "%s while %s '", outcome == XD_OUT_CRASHED ? "crashed" : "was lost", doing));
    XD_TRY(xd_buf_add_bytes(out, id));
    return xd_buf_add_byte(out, '\'');
}

int xd_outcome_reason(xd_buf *out, const xd_wire_WORKER_DOWN *down)
{
    if (down->reason.len)
        return xd_buf_add_bytes(out, down->reason);
    return down->signal ? xd_buf_printf(out, "killed by signal %d", down->signal)
                        : xd_buf_printf(out, "exited with status %d", down->exit_status);
}

xd_bytes xd_reason_without_spec(const char *spec, xd_bytes reason)
{
    const size_t len = strlen(spec);
    if (reason.len > len + 2 && memcmp(reason.ptr, spec, len) == 0 && memcmp(reason.ptr + len, ": ", 2) == 0)
        return (xd_bytes){ reason.ptr + len + 2, reason.len - len - 2 };
    return reason;
}

int xd_env_failed_text(xd_buf *out, xd_bytes spec, xd_bytes text)
{
    const bool there = text.len >= spec.len && spec.len && memcmp(text.ptr, spec.ptr, spec.len) == 0;
    if (spec.len && !there && !xd_bytes_eq_str(spec, "popen")) {
        XD_TRY(xd_buf_add_bytes(out, spec));
        XD_TRY(xd_buf_add_str(out, ": "));
    }
    return xd_buf_add_bytes(out, text);
}
