/* engine/wire.c - see wire.h. All code below comes from wire.def by X-macros; nothing here knows a record by
 * name. */
#include "engine/wire.h"

#include <string.h>

#include "engine/base/text.h"

/* ---- numbers, little endian ------------------------------------------------------------------ */

typedef struct reader {
    const uint8_t *at, *end;
    bool           bad;
    bool           older; /* the body ends before fields that came later: they are 0 or empty */
} reader;

static uint64_t get(reader *r, size_t width)
{
    uint64_t v = 0;
    if ((size_t)(r->end - r->at) < width) {
        r->bad |= !r->older;
        r->at = r->end;
        return 0;
    }
    for (size_t i = 0; i < width; i++)
        v |= (uint64_t)r->at[i] << (8 * i);
    r->at += width;
    return v;
}

static xd_bytes get_bytes(reader *r)
{
    size_t len = (size_t)get(r, 4);
    if (r->bad || (size_t)(r->end - r->at) < len) {
        r->bad = true;
        return (xd_bytes){ 0 };
    }
    xd_bytes v = { r->at, len };
    r->at += len;
    return v;
}

static int put(xd_buf *out, uint64_t v, size_t width)
{
    uint8_t b[8];
    for (size_t i = 0; i < width; i++)
        b[i] = (uint8_t)(v >> (8 * i));
    return xd_buf_add(out, b, width);
}

static int put_bytes(xd_buf *out, xd_bytes v)
{
    if (v.len > XD_FRAME_MAX)
        return -EMSGSIZE;
    XD_TRY(put(out, v.len, 4));
    return xd_buf_add_bytes(out, v);
}

/* ---- each record: read its fields ------------------------------------------------------------ */

#define XD_REC(NAME, id, doc)                               \
    static void read_##NAME(reader *r, xd_wire_##NAME *ret) \
    {                                                       \
        (void)r;                                            \
        ret->end_ = 0;
#define XD_LATER(NAME) r->older = r->at == r->end && !r->bad;
#define XD_NUM(NAME, type, field, doc) ret->field = (xd_wire_##type)get(r, sizeof(xd_wire_##type));
#define XD_STR(NAME, field, doc) ret->field = get_bytes(r);
/* A list is walked once here, so that _next cannot meet bad bytes. */
#define XD_LST(NAME, RECORD, field, doc)                                                 \
    ret->field.count = (uint32_t)get(r, 4);                                              \
    ret->field.ptr = r->at;                                                              \
    for (uint32_t i_##field = 0; i_##field < ret->field.count && !r->bad; i_##field++) { \
        xd_wire_##RECORD one;                                                            \
        read_##RECORD(r, &one);                                                          \
    }                                                                                    \
    ret->field.len = (size_t)(r->at - ret->field.ptr);
#define XD_END(NAME) }
#include "engine/wire.def"

/* ---- each record: numbers in their ranges ---------------------------------------------------- */

#define XD_REC(NAME, id, doc)                                     \
    const char *xd_wire_##NAME##_beyond(const xd_wire_##NAME *in) \
    {                                                             \
        (void)in;
#define XD_RANGE(NAME, field, low, high)                                             \
    if ((int64_t)in->field < (int64_t)(low) || (int64_t)in->field > (int64_t)(high)) \
        return #field;
#define XD_END(NAME) \
    return NULL;     \
    }
#include "engine/wire.def"

unsigned xd_wire_when(uint16_t type)
{
    switch (type) {
#define XD_WHEN(NAME, phases) \
    case XD_MSG_##NAME:       \
        return phases;
#include "engine/wire.def"
    default:
        return 0;
    }
}

/* ---- each record: write its fields ----------------------------------------------------------- */

#define XD_REC(NAME, id, doc)                                          \
    int xd_wire_##NAME##_encode(xd_buf *out, const xd_wire_##NAME *in) \
    {                                                                  \
        (void)out;                                                     \
        (void)in;
#define XD_NUM(NAME, type, field, doc) XD_TRY(put(out, (uint64_t)in->field, sizeof(xd_wire_##type)));
#define XD_STR(NAME, field, doc) XD_TRY(put_bytes(out, in->field));
#define XD_LST(NAME, RECORD, field, doc)  \
    XD_TRY(put(out, in->field.count, 4)); \
    XD_TRY(xd_buf_add(out, in->field.ptr, in->field.len));
#define XD_END(NAME)                                                                                \
    return 0;                                                                                       \
    }                                                                                               \
    int xd_wire_##NAME##_append(xd_buf *out, const xd_wire_##NAME *in)                              \
    {                                                                                               \
        return xd_wire_##NAME##_encode(out, in);                                                    \
    }                                                                                               \
    int xd_wire_##NAME##_decode(const uint8_t *body, size_t len, xd_wire_##NAME *ret)               \
    {                                                                                               \
        reader r = { .at = body, .end = body + len };                                               \
        read_##NAME(&r, ret);                                                                       \
        return r.bad ? -EPROTO : 0; /* bytes that are left are fields of a newer xd */              \
    }                                                                                               \
    int xd_wire_##NAME##_next(xd_wire_list *it, xd_wire_##NAME *ret)                                \
    {                                                                                               \
        if (it->count == 0)                                                                         \
            return 0;                                                                               \
        reader r = { .at = it->ptr, .end = it->ptr + it->len };                                     \
        read_##NAME(&r, ret);                                                                       \
        it->count--;                                                                                \
        it->len -= (size_t)(r.at - it->ptr);                                                        \
        it->ptr = r.at;                                                                             \
        return 1;                                                                                   \
    }                                                                                               \
    int xd_wire_##NAME##_frame(xd_buf *out, uint16_t flags, uint64_t seq, const xd_wire_##NAME *in) \
    {                                                                                               \
        size_t mark;                                                                                \
        XD_TRY(xd_wire_frame_begin(out, XD_MSG_##NAME, flags, seq, &mark));                         \
        int r = xd_wire_##NAME##_encode(out, in);                                                   \
        if (r == 0)                                                                                 \
            r = xd_wire_frame_end(out, mark);                                                       \
        if (r < 0)                                                                                  \
            out->len = mark;                                                                        \
        return r;                                                                                   \
    }
#include "engine/wire.def"

/* ---- each record: show its fields ------------------------------------------------------------- */

static int dump_bytes(xd_buf *out, xd_bytes v)
{
    XD_TRY(xd_buf_add_byte(out, '"'));
    XD_TRY(xd_text_harmless(out, v, false));
    return xd_buf_add_byte(out, '"');
}

#define XD_REC(NAME, id, doc)                                     \
    static int dump_##NAME(xd_buf *out, const xd_wire_##NAME *in) \
    {                                                             \
        (void)in;                                                 \
        XD_TRY(xd_buf_add_str(out, #NAME));
#define XD_NUM(NAME, type, field, doc) XD_TRY(xd_buf_printf(out, " " #field "=%lld", (long long)in->field));
#define XD_STR(NAME, field, doc)                 \
    XD_TRY(xd_buf_add_str(out, " " #field "=")); \
    XD_TRY(dump_bytes(out, in->field));
#define XD_LST(NAME, RECORD, field, doc)                         \
    XD_TRY(xd_buf_add_str(out, " " #field "=["));                \
    {                                                            \
        xd_wire_list     it = in->field;                         \
        xd_wire_##RECORD one;                                    \
        while (xd_wire_##RECORD##_next(&it, &one) == 1) {        \
            XD_TRY(xd_buf_add_str(out, "{"));                    \
            XD_TRY(dump_##RECORD(out, &one));                    \
            XD_TRY(xd_buf_add_str(out, it.count ? "}, " : "}")); \
        }                                                        \
    }                                                            \
    XD_TRY(xd_buf_add_str(out, "]"));
#define XD_END(NAME)                                                          \
    return 0;                                                                 \
    }                                                                         \
    static int dump_body_##NAME(const uint8_t *body, size_t len, xd_buf *out) \
    {                                                                         \
        xd_wire_##NAME v;                                                     \
        XD_TRY(xd_wire_##NAME##_decode(body, len, &v));                       \
        return out ? dump_##NAME(out, &v) : 0;                                \
    }
#include "engine/wire.def"

typedef struct record {
    uint16_t    type;
    const char *name;
    int (*dump)(const uint8_t *body, size_t len, xd_buf *out); /* out = NULL: only check */
} record;

static const record records[] = {
#define XD_REC(NAME, id, doc) { id, #NAME, dump_body_##NAME },
#include "engine/wire.def"
};

static const record *find(uint16_t type)
{
    for (size_t i = 0; type && i < XD_ARRAY_LEN(records); i++)
        if (records[i].type == type)
            return &records[i];
    return NULL;
}

const char *xd_wire_name(uint16_t type)
{
    const record *r = find(type);
    return r ? r->name : "?";
}

int xd_wire_check(uint16_t type, const uint8_t *body, size_t len)
{
    const record *r = find(type);
    return r ? r->dump(body, len, NULL) : -ENOENT;
}

int xd_wire_dump(uint16_t type, const uint8_t *body, size_t len, xd_buf *out)
{
    const record *r = find(type);
    return r ? r->dump(body, len, out) : -ENOENT;
}

/* ---- frames ------------------------------------------------------------------------------------- */

int xd_wire_frame_begin(xd_buf *out, uint16_t type, uint16_t flags, uint64_t seq, size_t *ret_mark)
{
    xd_frame f = { .type = type, .flags = flags, .seq = seq };
    uint8_t  h[XD_FRAME_HEADER];
    xd_wire_put_header(h, &f);
    *ret_mark = out->len;
    return xd_buf_add(out, h, sizeof(h));
}

int xd_wire_frame_end(xd_buf *out, size_t mark)
{
    size_t len = out->len - mark - XD_FRAME_HEADER;
    if (len > XD_FRAME_MAX)
        return -EMSGSIZE;
    for (size_t i = 0; i < 4; i++)
        out->data[mark + i] = (uint8_t)(len >> (8 * i));
    return 0;
}

int xd_wire_header(const uint8_t *p, xd_frame *ret)
{
    reader r = { .at = p, .end = p + XD_FRAME_HEADER };
    ret->len = (uint32_t)get(&r, 4);
    ret->type = (uint16_t)get(&r, 2);
    ret->flags = (uint16_t)get(&r, 2);
    ret->seq = get(&r, 8);
    ret->body = p + XD_FRAME_HEADER;
    return ret->len > XD_FRAME_MAX ? -EPROTO : 0;
}

void xd_wire_put_header(uint8_t *p, const xd_frame *f)
{
    for (size_t i = 0; i < 4; i++)
        p[i] = (uint8_t)(f->len >> (8 * i));
    p[4] = (uint8_t)f->type;
    p[5] = (uint8_t)(f->type >> 8);
    p[6] = (uint8_t)f->flags;
    p[7] = (uint8_t)(f->flags >> 8);
    for (size_t i = 0; i < 8; i++)
        p[8 + i] = (uint8_t)(f->seq >> (8 * i));
}
