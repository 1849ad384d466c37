/* engine/wire.h - the protocol of engine/wire.def in C: structs, encoder, zero-copy decoder, dumper.
 *
 * For every record NAME of wire.def there are
 *     xd_wire_NAME struct; bytes are views, lists are xd_wire_list views
 *     int xd_wire_NAME_decode(body, len, &ret) 0; -EPROTO: too short, a length or count that does not fit.
 *                                                        Views point into `body`.  Lists are checked whole.
 *                                                        Bytes behind the last field are passed over.
 *     int xd_wire_NAME_encode(buf, &in)                  appends the body; -ENOMEM
 *     int xd_wire_NAME_append(buf, &in) the same, by the name that reads well for list elements
 *     int xd_wire_NAME_next(&list, &ret)                 1 = got the next element, 0 = no more
 *     const char *xd_wire_NAME_beyond(&in)               name of a number that is outside of its XD_RANGE, or NULL
 *     int xd_wire_NAME_frame(buf, flags, seq, &in)       appends header and body (records with an id)
 * No state, any thread. */
#pragma once
#include "engine/base/buf.h"

#define XD_WIRE_VERSION \
    1u /* written; read are VERSION_MIN to VERSION (wire.def: how the protocol may grow) */
#define XD_WIRE_VERSION_MIN 1u
#define XD_FRAME_HEADER 16u
#define XD_FRAME_MAX (16u << 20) /* body bytes */
/* First bytes of a stream between controller and agent, both ways. */
#define XD_WIRE_PREAMBLE "\x89xd\r\n\x1a\n\x01"
#define XD_WIRE_PREAMBLE_LEN 8u

#define XD_ITEMS_MAX (1 << 24) /* of one collection */

/* How far an agent's environment is, as its controller knows it (XD_WHEN in wire.def). */
enum {
    XD_PHASE_IDLE = 1,       /* ENV_START was not sent */
    XD_PHASE_COLLECTING = 2, /* it was */
    XD_PHASE_COLLECTED = 4,  /* COLLECTED came */
    XD_PHASE_RUNNING = 8,    /* WORKERS_START was sent */
    XD_PHASE_DONE = 16,      /* ENV_DONE came */
    XD_PHASE_OVER = 32,      /* BYE came */
};

/* The numbers of wire.def: XD_NAME_value. XD_NO_INDEX is unsigned (it does not fit in an int), all others are of type int. */
#define XD_ENUM(NAME, doc) enum {
#define XD_VALUE(NAME, value, number, doc) XD_##NAME##_##value = number,
#define XD_ENUM_END(NAME) \
    }                     \
    ;
#include "engine/wire.def"
#define XD_CAP_ALL ((uint64_t)(XD_CAP_PING | XD_CAP_RECONNECT | XD_CAP_BEAT | XD_CAP_SYNC | XD_CAP_ZSTD))
#define XD_TOKEN_LEN 16u /* of HELLO.token */

typedef struct xd_wire_list {
    uint32_t       count;
    const uint8_t *ptr;
    size_t         len;
} xd_wire_list;

typedef struct xd_frame {
    uint32_t       len; /* of the body */
    uint16_t       type;
    uint16_t       flags;
    uint64_t       seq;
    const uint8_t *body;
} xd_frame;

typedef uint8_t  xd_wire_u8;
typedef uint16_t xd_wire_u16;
typedef uint32_t xd_wire_u32;
typedef uint64_t xd_wire_u64;
typedef int32_t  xd_wire_i32;

/* Message numbers: XD_MSG_NAME for every record with an id (others are 0). */
enum {
#define XD_REC(NAME, id, doc) XD_MSG_##NAME = id,
#include "engine/wire.def"
    XD_MSG_WIRE_LAST = 0x3fff
};

#define XD_REC(NAME, id, doc) typedef struct xd_wire_##NAME {
#define XD_NUM(NAME, type, field, doc) xd_wire_##type field;
#define XD_STR(NAME, field, doc) xd_bytes field;
#define XD_LST(NAME, RECORD, field, doc) xd_wire_list field;
/* The last member keeps records without fields legal and is never sent. */
#define XD_END(NAME)                                                                                   \
    uint8_t end_;                                                                                      \
    }                                                                                                  \
    xd_wire_##NAME;                                                                                    \
    int         xd_wire_##NAME##_decode(const uint8_t *body, size_t len, xd_wire_##NAME *ret) XD_MUST; \
    int         xd_wire_##NAME##_encode(xd_buf *out, const xd_wire_##NAME *in) XD_MUST;                \
    int         xd_wire_##NAME##_append(xd_buf *out, const xd_wire_##NAME *in) XD_MUST;                \
    int         xd_wire_##NAME##_next(xd_wire_list *it, xd_wire_##NAME *ret);                          \
    const char *xd_wire_##NAME##_beyond(const xd_wire_##NAME *in);                                     \
    int xd_wire_##NAME##_frame(xd_buf *out, uint16_t flags, uint64_t seq, const xd_wire_##NAME *in) XD_MUST;
#include "engine/wire.def"

/* Frame by hand: begin appends a header and remembers where it is; end writes the length. -EMSGSIZE beyond
 * XD_FRAME_MAX. */
int xd_wire_frame_begin(xd_buf *out, uint16_t type, uint16_t flags, uint64_t seq, size_t *ret_mark) XD_MUST;
int xd_wire_frame_end(xd_buf *out, size_t mark) XD_MUST;
/* Reads a header at p (XD_FRAME_HEADER bytes); body is set to what follows it. -EPROTO beyond
 * XD_FRAME_MAX. */
int  xd_wire_header(const uint8_t *p, xd_frame *ret) XD_MUST;
void xd_wire_put_header(uint8_t *p, const xd_frame *f);

/* "RESULT", or "?" for a number that is none. */
const char *xd_wire_name(uint16_t type);
/* XD_PHASE_* in which an agent may send this record; 0 = never. */
unsigned xd_wire_when(uint16_t type);
/* 0 = a well-formed body of this type; -EPROTO; -ENOENT = unknown type. */
int xd_wire_check(uint16_t type, const uint8_t *body, size_t len) XD_MUST;
/* Appends one line for people: NAME field=value ...; text is made harmless.  -EPROTO, -ENOENT. */
int xd_wire_dump(uint16_t type, const uint8_t *body, size_t len, xd_buf *out) XD_MUST;
