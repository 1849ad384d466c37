/* actors/report_term_text.c - words of the terminal report: names, paths, durations, shortened lines. */
#include "actors/report_term_state.h"

#include <string.h>

#include "actors/columns.h"
#include "engine/base/text.h"

int xd_term_relative(xd_buf *to, xd_bytes dir, xd_bytes path)
{
    if (!path.len || path.ptr[0] != '/' || !dir.len || dir.ptr[0] != '/')
        return xd_buf_add_bytes(to, path);
    while (dir.len > 1 && dir.ptr[dir.len - 1] == '/')
        dir.len--;
    if (xd_bytes_eq(dir, path))
        return xd_buf_add_str(to, ".");
    size_t common = 0; /* both agree up to here, at a border of names */
    for (size_t i = 0;; i++) {
        bool dir_ends = i == dir.len || dir.ptr[i] == '/';
        bool path_ends = i == path.len || path.ptr[i] == '/';
        if (dir_ends && path_ends)
            common = i;
        if (i >= dir.len || i >= path.len || dir.ptr[i] != path.ptr[i])
            break;
    }
    for (size_t i = common; i < dir.len; i++)
        if (dir.ptr[i] == '/' && i + 1 < dir.len)
            XD_TRY(xd_buf_add_str(to, "../"));
    size_t from = common < path.len ? common + 1 : common;
    return xd_buf_add_bytes(to, (xd_bytes){ path.ptr + from, path.len - from });
}

int xd_term_headline(const xd_term *t, xd_buf *to, xd_bytes nodeid)
{
    xd_autobuf raw = XD_BUF_INIT;
    XD_TRY(t->view->config.grammar->headline(&raw, nodeid));
    return xd_text_harmless(to, xd_buf_view(&raw), false);
}

int xd_term_trimmed(xd_buf *to, const char *before, xd_bytes msg, size_t columns)
{
    const uint8_t *nl = msg.len ? memchr(msg.ptr, '\n', msg.len) : NULL;
    if (nl)
        msg.len = (size_t)(nl - msg.ptr);
    size_t prefix = strlen(before);
    if (prefix + 3 > columns)
        return 0;
    xd_autobuf clean = XD_BUF_INIT;
    XD_TRY(xd_text_harmless(&clean, msg, false));
    XD_TRY(xd_buf_add_str(to, before));
    xd_bytes view = xd_buf_view(&clean);
    if (prefix + xd_columns(view) <= columns)
        return xd_buf_add_bytes(to, view);
    view.len = xd_columns_front(view, columns - 3 - prefix);
    XD_TRY(xd_buf_add_bytes(to, view));
    return xd_buf_add_str(to, "...");
}

int xd_term_duration(xd_buf *to, uint64_t us)
{
    double seconds = (double)us / 1e6;
    XD_TRY(xd_buf_printf(to, "%.2fs", seconds));
    if (seconds < 60)
        return 0;
    uint64_t s = us / 1000000, days = s / 86400;
    s %= 86400;
    XD_TRY(xd_buf_add_str(to, " ("));
    if (days)
        XD_TRY(xd_buf_printf(to, "%llu day%s, ", (unsigned long long)days, days == 1 ? "" : "s"));
    return xd_buf_printf(to, "%u:%02u:%02u)", (unsigned)(s / 3600), (unsigned)(s / 60 % 60),
                         (unsigned)(s % 60));
}

int xd_term_age(xd_buf *to, uint64_t ms)
{
    unsigned long long s = ms / 1000;
    if (s < 10)
        return xd_buf_printf(to, "%llu.%llus", s, (unsigned long long)(ms % 1000 / 100));
    if (s < 60)
        return xd_buf_printf(to, "%llus", s);
    if (s < 3600)
        return xd_buf_printf(to, "%llum%02llus", s / 60, s % 60);
    return xd_buf_printf(to, "%lluh%02llum", s / 3600, s / 60 % 60);
}

int xd_term_node_duration(xd_buf *to, uint64_t us)
{
    double seconds = (double)us / 1e6;
    if (us < 10000)
        return us < 1000 ? xd_buf_printf(to,
                                         us < 10    ? " %.3fus"
                                         : us < 100 ? " %.2fus"
                                                    : " %.1fus",
                                         (double)us)
                         : xd_buf_printf(to, " %.3fms", seconds * 1e3);
    if (us < 99995)
        return xd_buf_printf(to, " %.2fms", seconds * 1e3);
    if (us < 999950)
        return xd_buf_printf(to, " %.1fms", seconds * 1e3);
    if (us < 59999500)
        return xd_buf_printf(to, " %.3fs", seconds);
    uint64_t whole = (us + 500000) / 1000000;
    if (whole < 3600)
        return xd_buf_printf(to, " %um %us", (unsigned)(whole / 60), (unsigned)(whole % 60));
    return xd_buf_printf(to, " %uh %um", (unsigned)(whole / 3600), (unsigned)(whole % 3600 / 60));
}
