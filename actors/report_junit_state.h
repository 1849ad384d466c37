/* actors/report_junit_state.h - inside of the JUnit reporter; shared by report_junit*.c alone. */
#pragma once
#include <libxml/xmlwriter.h>

#include "actors/report_junit.h"

#define XD_JUNIT_MAGIC 0x10a17001u

#define XD_JUNIT_ALL UINT32_MAX       /* one suite for all */
#define XD_JUNIT_RUN (UINT32_MAX - 1) /* where each environment has its own: what is of none of them */

typedef struct xd_junit {
    uint32_t          magic;
    const xd_runview *view;
    char            **override;
    char             *path, *hostname;
    char             *early;   /* where to write when pytest's configuration never came; NULL = nowhere */
    xd_buf            trouble; /* lines of what ended the run from outside of any test */
    int               fd;      /* where to write instead of a file, -1 = none */
    xmlTextWriterPtr  writer;  /* NULL: only count */
    /* settings */
    bool        log, out, err, log_passing, xunit1, only_call;
    const char *prefix;
    uint32_t    suite; /* whose test cases are written: gateway, or one of those below */
    /* the test case that grows */
    uint32_t item;
    bool     case_open;
    uint64_t duration_us;
    xd_buf   nodes;      /* elements: see report_junit_nodes.c */
    xd_buf   properties; /* pairs: u32 length, name, u32 length, value */
    xd_buf   attributes; /* the same; attributes of the test case that the test gave */
    xd_buf   text, clean;
    int64_t  passed, failures, errors, skipped, double_fails;
} xd_junit;

/* What comes of this gateway stands in the suite that is written. */
static inline bool xd_junit_has(const xd_junit *j, uint32_t gateway)
{
    return j->suite == XD_JUNIT_ALL || j->suite == gateway;
}

/* report_junit_nodes.c: elements of the open test case, collected until it is written */
int xd_junit_node_failed(xd_junit *j, const xd_runview_report *r, uint32_t report) XD_MUST;
int xd_junit_node_skipped(xd_junit *j, const xd_runview_report *r, uint32_t report) XD_MUST;
int xd_junit_node_collect(xd_junit *j, const xd_runview_report *r, uint32_t report) XD_MUST;
int xd_junit_node_crashed(xd_junit *j, uint32_t item) XD_MUST;
int xd_junit_node_interrupted(xd_junit *j, uint32_t item) XD_MUST;
/* Captured output of j->item up to this report (XD_NO_INDEX = all). */
int xd_junit_node_output(xd_junit *j, uint32_t upto) XD_MUST;
int xd_junit_keep_properties(xd_junit *j, const xd_wire_REPORT *r) XD_MUST;
/* Keeps the attributes that an item's last report sets for its test case; the item's first test case gets them. */
int xd_junit_keep_attributes(xd_junit *j, const xd_runview_item *i) XD_MUST;
/* The properties of the whole run, each once. */
int xd_junit_write_suite_properties(xd_junit *j) XD_MUST;
int xd_junit_write_case(xd_junit *j, const xd_runview_item *i) XD_MUST;
int xd_junit_write_collect_case(xd_junit *j, uint32_t report) XD_MUST;

/* report_junit_trouble.c: a run that ended for a reason of its own is an error, though of no test */
int xd_junit_note_trouble(xd_junit *j, const xd_frame *frame) XD_MUST;
int xd_junit_write_trouble(xd_junit *j) XD_MUST; /* counts it, and writes it when there is a writer */
/* The same of one environment, whose session ended before it had tests to run. */
int xd_junit_write_own_trouble(xd_junit *j, uint32_t gateway) XD_MUST;

/* report_junit_xml.c: the writer, errors as -EIO */
int xd_junit_raw(xd_junit *j, const char *text) XD_MUST;
int xd_junit_start(xd_junit *j, const char *element) XD_MUST;
int xd_junit_end(xd_junit *j) XD_MUST;
/* Values of others: what XML does not allow becomes #xNN, as pytest does. */
int xd_junit_attribute(xd_junit *j, const char *name, xd_bytes value) XD_MUST;
int xd_junit_text(xd_junit *j, xd_bytes value) XD_MUST;
/* Appends text as XML may hold it. */
int xd_junit_escape(xd_buf *to, xd_bytes in) XD_MUST;
/* pytest's shorten_message: whole lines within 500 characters and a note about the rest. */
int xd_junit_shorten(xd_buf *to, xd_bytes in) XD_MUST;
/* repr() of a str. */
int xd_junit_repr(xd_buf *to, xd_bytes in) XD_MUST;
