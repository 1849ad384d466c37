/* actors/report_junit_xml.c - the XML writer under the JUnit reporter, and text as XML and pytest want it. */
#include <string.h>

#include "actors/report_junit_state.h"
#include "engine/base/text.h"

#define MESSAGE_BUDGET 500u

int xd_junit_raw(xd_junit *j, const char *text)
{
    return xmlTextWriterWriteRaw(j->writer, BAD_CAST text) < 0 ? -EIO : 0;
}

int xd_junit_start(xd_junit *j, const char *element)
{
    return xmlTextWriterStartElement(j->writer, BAD_CAST element) < 0 ? -EIO : 0;
}

int xd_junit_end(xd_junit *j)
{
    return xmlTextWriterEndElement(j->writer) < 0 ? -EIO : 0;
}

int xd_junit_attribute(xd_junit *j, const char *name, xd_bytes value)
{
    xd_buf_clear(&j->clean);
    XD_TRY(xd_junit_escape(&j->clean, value));
    return xmlTextWriterWriteAttribute(j->writer, BAD_CAST name, BAD_CAST xd_buf_cstr(&j->clean)) < 0 ? -EIO
                                                                                                      : 0;
}

int xd_junit_text(xd_junit *j, xd_bytes value)
{
    xd_buf_clear(&j->clean);
    XD_TRY(xd_junit_escape(&j->clean, value));
    return xmlTextWriterWriteString(j->writer, BAD_CAST xd_buf_cstr(&j->clean)) < 0 ? -EIO : 0;
}

/* Half of a surrogate pair, encoded like a character; 0 = it is none. */
static uint32_t lone_surrogate(const uint8_t *p, size_t len)
{
    if (len < 3 || p[0] != 0xed || p[1] < 0xa0 || p[1] > 0xbf || (p[2] & 0xc0) != 0x80)
        return 0;
    return 0xd000u | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
}

int xd_junit_escape(xd_buf *to, xd_bytes in)
{
    size_t plain = 0;
    for (size_t i = 0; i < in.len;) {
        uint8_t  c = in.ptr[i];
        uint32_t cp = c;
        size_t   n = 1;
        if ((c >= 0x20 && c < 0x7f) || c == '\t' || c == '\n' || c == '\r') {
            i++;
            continue;
        }
        if (c >= 0x80) {
            n = xd_text_utf8(in.ptr + i, in.len - i, &cp);
            if (n && cp != 0xfffe && cp != 0xffff) {
                i += n;
                continue;
            }
            uint32_t half = n ? 0 : lone_surrogate(in.ptr + i, in.len - i);
            cp = n      ? cp
                 : half ? half
                        : 0xdc00u | c; /* a byte that is no text: as Python's surrogateescape shows it */
            n = n ? n : half ? 3 : 1;
        }
        XD_TRY(xd_buf_add(to, in.ptr + plain, i - plain));
        XD_TRY(xd_buf_printf(to, cp <= 0xff ? "#x%02X" : "#x%04X", (unsigned)cp));
        i += n;
        plain = i;
    }
    return xd_buf_add(to, in.ptr + plain, in.len - plain);
}

/* Characters of UTF-8 (bytes that are none count one each). */
static size_t characters(xd_bytes in, size_t limit, size_t *ret_bytes)
{
    size_t   count = 0, at = 0;
    uint32_t cp;
    while (at < in.len && count < limit) {
        size_t n = xd_text_utf8(in.ptr + at, in.len - at, &cp);
        at += n ? n : 1;
        count++;
    }
    *ret_bytes = at;
    return count;
}

int xd_junit_shorten(xd_buf *to, xd_bytes in)
{
    size_t at = 0, size = 0, kept = 0, lines = 0, keep_bytes = 0, unused;
    while (at < in.len) {
        const uint8_t *nl = memchr(in.ptr + at, '\n', in.len - at);
        size_t         len = nl ? (size_t)(nl - in.ptr) - at : in.len - at;
        size_t         chars = characters((xd_bytes){ in.ptr + at, len }, SIZE_MAX, &unused);
        lines++;
        if (lines == kept + 1 && (!kept || size + chars + 1 <= MESSAGE_BUDGET)) {
            kept++;
            size += chars + 1;
            keep_bytes = at + len;
        }
        at += len + (nl ? 1 : 0);
    }
    size_t cut_bytes = 0;
    bool   cut = kept == 1 && size > MESSAGE_BUDGET + 1;
    if (lines == kept && !cut)
        return xd_buf_add_bytes(to, in);
    if (cut)
        characters((xd_bytes){ in.ptr, keep_bytes }, MESSAGE_BUDGET, &cut_bytes);
    XD_TRY(xd_buf_add(to, in.ptr, cut ? cut_bytes : keep_bytes));
    if (cut)
        XD_TRY(xd_buf_add_str(to, "..."));
    XD_TRY(xd_buf_add_str(to, "\n["));
    if (lines > kept)
        XD_TRY(xd_buf_printf(to, "+%zu more line%s", lines - kept, lines - kept > 1 ? "s" : ""));
    else
        XD_TRY(xd_buf_add_str(to, "truncated"));
    return xd_buf_add_str(to, "; full report in element text]");
}

int xd_junit_repr(xd_buf *to, xd_bytes in)
{
    bool    single = memchr(in.ptr, '\'', in.len) != NULL, twice = memchr(in.ptr, '"', in.len) != NULL;
    uint8_t quote = single && !twice ? '"' : '\'';
    XD_TRY(xd_buf_add_byte(to, quote));
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.ptr[i];
        if (c == quote || c == '\\')
            XD_TRY(xd_buf_printf(to, "\\%c", c));
        else if (c == '\n')
            XD_TRY(xd_buf_add_str(to, "\\n"));
        else if (c == '\t')
            XD_TRY(xd_buf_add_str(to, "\\t"));
        else if (c == '\r')
            XD_TRY(xd_buf_add_str(to, "\\r"));
        else if (c < 0x20 || c == 0x7f)
            XD_TRY(xd_buf_printf(to, "\\x%02x", c));
        else
            XD_TRY(xd_buf_add_byte(to, c));
    }
    return xd_buf_add_byte(to, quote);
}
