/* actors/report_set.h - several reporters that are fed from one view of one journal. A reporter that fails is closed, and
 * the others go on. One thread. */
#pragma once
#include "actors/report.h"

typedef struct xd_report_set xd_report_set;
/* source: how records are read back (xd_journal). */
int            xd_report_set_new(xd_report_set **ret, xd_runview_source source) XD_MUST;
xd_report_set *xd_report_set_free(xd_report_set *s);
XD_DEFINE_AUTO(xd_report_set, xd_report_set_free)
int               xd_report_set_add(xd_report_set *s, xd_report_want want, xd_error *err) XD_MUST;
const xd_runview *xd_report_set_view(const xd_report_set *s);
/* One frame at this file offset. A reporter that fails is closed and remembered (xd_report_set_error); the
 * others go on. 0, -ENOMEM. */
int  xd_report_set_frame(xd_report_set *s, uint64_t offset, const xd_frame *frame) XD_MUST;
void xd_report_set_progress(xd_report_set *s, const xd_wire_PROGRESS *progress, uint16_t gateway,
                            uint64_t now_ns);
void xd_report_set_tick(xd_report_set *s, uint64_t now_ns);
void xd_report_set_pause(xd_report_set *s, bool on);
void xd_report_set_say(xd_report_set *s, xd_bytes line);
bool xd_report_set_ready(xd_report_set *s); /* tries to flush; false: give no frame now, wait for fd */
int  xd_report_set_fd(xd_report_set *s);    /* the busy one's descriptor, or -1 */
void xd_report_set_finish(xd_report_set *s);
/* Lines for the user that finish left (XD_REPORT_NOTE), one per line; "" when there are none. Valid until the
 * set is freed. */
const char *xd_report_set_notes(xd_report_set *s);
/* First fault of any reporter since the start: code and "junit: ..."; 0 when there was none. */
int xd_report_set_error(const xd_report_set *s, xd_error *ret);
