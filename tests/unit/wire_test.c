/* wire_test.c - the C codec against the golden vectors of tests/wire/vectors.txt, and against bodies that are
 * cut or changed. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/wire.h"
#include "tests/unit/often.h"

typedef struct vector {
    char     name[32], which[16];
    uint16_t type;
    xd_buf   frame;
} vector;

static vector vectors[512];
static size_t count;

/* Decodes a body as the record of its type and encodes what came out. */
#define XD_REC(NAME, id, doc)                                             \
    static int again_##NAME(const uint8_t *body, size_t len, xd_buf *out) \
    {                                                                     \
        xd_wire_##NAME m;                                                 \
        XD_TRY(xd_wire_##NAME##_decode(body, len, &m));                   \
        return xd_wire_##NAME##_encode(out, &m);                          \
    }
#include "engine/wire.def"

/* later: lengths, beside the whole one, that a body may have: one for each XD_LATER */
static const struct {
    const char *name;
    uint16_t    type;
    int (*again)(const uint8_t *body, size_t len, xd_buf *out);
    unsigned later;
} records[] = {
#define XD_REC(NAME, id, doc) \
    {                         \
#NAME, id, again_##NAME, 0
#define XD_LATER(NAME) +1
#define XD_END(NAME) \
    }                \
    ,
#include "engine/wire.def"
};

static unsigned later(const vector *v)
{
    for (size_t i = 0; i < XD_ARRAY_LEN(records); i++)
        if (strcmp(records[i].name, v->name) == 0)
            return records[i].later;
    return 0;
}

static int again(const vector *v, const uint8_t *body, size_t len, xd_buf *out)
{
    for (size_t i = 0; i < XD_ARRAY_LEN(records); i++)
        if (records[i].type == v->type && strcmp(records[i].name, v->name) == 0)
            return records[i].again(body, len, out);
    ck_abort_msg("%s (%u) is no record", v->name, v->type);
    return -ENOENT;
}

static void load_file(const char *path)
{
    FILE   *f = fopen(path, "re");
    char   *line = NULL;
    size_t  cap = 0;
    ssize_t n;
    often_assert_msg(f != NULL, "no %s", path);
    while ((n = getline(&line, &cap, f)) > 0) {
        vector  *v = &vectors[count];
        unsigned type;
        int      at = 0;
        if (line[0] == '#')
            continue;
        often_assert_int_eq(sscanf(line, "%31s %u %15s %n", v->name, &type, v->which, &at), 3);
        v->type = (uint16_t)type;
        for (const char *p = line + at; *p && *p != '\n'; p += 2) {
            char hex[3] = { p[0], p[1], 0 };
            often_assert_int_eq(xd_buf_add_byte(&v->frame, (uint8_t)strtoul(hex, NULL, 16)), 0);
        }
        often_assert(++count < XD_ARRAY_LEN(vectors));
    }
    free(line);
    fclose(f);
}

static void load(void)
{
    load_file(XD_TEST_SOURCE_DIR "/tests/wire/vectors.txt");
}

static void unload(void)
{
    while (count)
        xd_buf_release(&vectors[--count].frame);
}

START_TEST(every_frame_has_its_vectors)
{
    for (size_t i = 0; i < XD_ARRAY_LEN(records); i++) {
        int found = 0;
        for (size_t k = 0; k < count; k++)
            found += strcmp(vectors[k].name, records[i].name) == 0 && vectors[k].type == records[i].type;
        ck_assert_msg(found == (records[i].type ? 3 : 0), "%s has %d vectors", records[i].name, found);
    }
}
END_TEST

START_TEST(decoded_and_encoded_they_are_the_same)
{
    for (size_t k = 0; k < count; k++) {
        const vector *v = &vectors[k];
        xd_frame      f;
        xd_autobuf    out = XD_BUF_INIT, line = XD_BUF_INIT;
        often_assert_int_eq(xd_wire_header(v->frame.data, &f), 0);
        often_assert_uint_eq(f.type, v->type);
        often_assert_uint_eq(f.len, v->frame.len - XD_FRAME_HEADER);
        ck_assert_str_eq(xd_wire_name(f.type), v->name);
        often_assert_int_eq(xd_wire_check(f.type, f.body, f.len), 0);
        often_assert_msg(again(v, f.body, f.len, &out) == 0, "%s %s", v->name, v->which);
        often_assert_msg(xd_bytes_eq(xd_buf_view(&out), (xd_bytes){ f.body, f.len }),
                         "%s %s is another after decoding", v->name, v->which);
        often_assert_int_eq(xd_wire_dump(f.type, f.body, f.len, &line), 0);
        const char *text = xd_buf_cstr(&line);
        often_assert_msg(strncmp(text, v->name, strlen(v->name)) == 0, "%s", text);
        for (const char *p = text; *p; p++)
            often_assert_msg((unsigned char)*p >= 32 && *p != 127, "%s: the dump has control bytes", v->name);
    }
}
END_TEST

/* The bytes lie in memory of exactly that size, so that ASan sees any look beyond it. */
START_TEST(cut_at_every_byte)
{
    for (size_t k = 0; k < count; k++) {
        const vector *v = &vectors[k];
        size_t        len = v->frame.len - XD_FRAME_HEADER;
        unsigned      whole = 0;
        for (size_t cut = 0; cut < len; cut++) {
            xd_autobuf out = XD_BUF_INIT;
            uint8_t   *body = malloc(cut ? cut : 1);
            often_assert(body != NULL);
            memcpy(body, v->frame.data + XD_FRAME_HEADER, cut);
            int r = again(v, body, cut, &out);
            whole += r == 0;
            often_assert_msg(r == 0 || r == -EPROTO, "%s %s cut at %zu: %d", v->name, v->which, cut, r);
            often_assert_int_eq(xd_wire_check(v->type, body, cut), r);
            often_assert_int_eq(xd_wire_dump(v->type, body, cut, &out), r);
            free(body);
        }
        often_assert_msg(whole == later(v), "%s %s: %u cut bodies were taken as whole", v->name, v->which,
                         whole);
    }
}
END_TEST

/* What version 1 wrote at first is read, and means what it meant. */
START_TEST(bodies_of_the_first_version)
{
    unload();
    load_file(XD_TEST_SOURCE_DIR "/tests/wire/vectors-1.txt");
    ck_assert_uint_gt(count, 100);
    for (size_t k = 0; k < count; k++) {
        const vector *v = &vectors[k];
        size_t        len = v->frame.len - XD_FRAME_HEADER;
        xd_autobuf    out = XD_BUF_INIT;
        ck_assert_msg(
            again(v, v->frame.data + XD_FRAME_HEADER, len, &out) == 0 && out.len >= len &&
                xd_bytes_eq((xd_bytes){ out.data, len }, (xd_bytes){ v->frame.data + XD_FRAME_HEADER, len }),
            "%s (%s) as older journals have it is not read any more: engine/wire.def says how the "
            "protocol may grow (XD_LATER before new fields)",
            v->name, v->which);
        for (size_t at = len; at < out.len; at++)
            ck_assert_msg(out.data[at] == 0, "%s %s: a field that is not there is not empty", v->name,
                          v->which);
    }
}
END_TEST

START_TEST(fields_of_a_newer_xd_are_passed_over)
{
    for (size_t k = 0; k < count; k++) {
        const vector *v = &vectors[k];
        size_t        len = v->frame.len - XD_FRAME_HEADER;
        xd_autobuf    out = XD_BUF_INIT, body = XD_BUF_INIT;
        ck_assert_int_eq(xd_buf_add(&body, v->frame.data + XD_FRAME_HEADER, len), 0);
        ck_assert_int_eq(xd_buf_add_str(&body, "more"), 0);
        ck_assert_msg(again(v, body.data, body.len, &out) == 0, "%s %s", v->name, v->which);
        ck_assert_msg(out.len == len && (!len || memcmp(out.data, body.data, len) == 0), "%s %s", v->name,
                      v->which);
    }
}
END_TEST

/* Whatever is changed: no crash, and what is accepted can be encoded. */
START_TEST(changed_bytes)
{
    for (size_t k = 0; k < count; k++) {
        const vector *v = &vectors[k];
        size_t        len = v->frame.len - XD_FRAME_HEADER;
        for (size_t at = 0; at < len; at++) {
            static const uint8_t with[] = { 0x01, 0x80, 0xff };
            for (size_t i = 0; i < sizeof(with); i++) {
                xd_autobuf out = XD_BUF_INIT;
                uint8_t   *body = malloc(len);
                often_assert(body != NULL);
                memcpy(body, v->frame.data + XD_FRAME_HEADER, len);
                body[at] ^= with[i];
                int r = again(v, body, len, &out);
                often_assert_msg(r == 0 || r == -EPROTO, "%s %s at %zu: %d", v->name, v->which, at, r);
                often_assert_int_eq(xd_wire_check(v->type, body, len), r);
                free(body);
            }
        }
    }
}
END_TEST

START_TEST(unknown_types_and_long_frames)
{
    uint8_t    head[XD_FRAME_HEADER];
    xd_autobuf out = XD_BUF_INIT;
    xd_frame   f = { .len = XD_FRAME_MAX + 1, .type = 1 }, got;
    ck_assert_str_eq(xd_wire_name(0xfff0), "?");
    ck_assert_int_eq(xd_wire_check(0xfff0, NULL, 0), -ENOENT);
    ck_assert_int_eq(xd_wire_dump(0xfff0, NULL, 0, &out), -ENOENT);
    xd_wire_put_header(head, &f);
    ck_assert_int_eq(xd_wire_header(head, &got), -EPROTO);
    f.len = XD_FRAME_MAX;
    xd_wire_put_header(head, &f);
    ck_assert_int_eq(xd_wire_header(head, &got), 0);
}
END_TEST

START_TEST(the_header_is_whole)
{
    xd_wire_ACK m = { .acked = 0x0102030405060708 };
    xd_autobuf  out = XD_BUF_INIT;
    xd_frame    f;
    ck_assert_int_eq(xd_wire_ACK_frame(&out, 0x1234, 0x1122334455667788, &m), 0);
    ck_assert_int_eq(xd_wire_header(out.data, &f), 0);
    ck_assert_uint_eq(f.type, XD_MSG_ACK);
    ck_assert_uint_eq(f.flags, 0x1234);
    ck_assert_uint_eq(f.seq, 0x1122334455667788);
    static const uint8_t little[] = { 8, 7, 6, 5, 4, 3, 2, 1 };
    ck_assert_mem_eq(f.body, little, 8);
}
END_TEST

int main(void)
{
    Suite   *s = suite_create("wire");
    TCase   *t = tcase_create("all");
    SRunner *r = srunner_create(s);
    tcase_add_checked_fixture(t, load, unload);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, every_frame_has_its_vectors);
    tcase_add_test(t, decoded_and_encoded_they_are_the_same);
    tcase_add_test(t, cut_at_every_byte);
    tcase_add_test(t, bodies_of_the_first_version);
    tcase_add_test(t, fields_of_a_newer_xd_are_passed_over);
    tcase_add_test(t, changed_bytes);
    tcase_add_test(t, unknown_types_and_long_frames);
    tcase_add_test(t, the_header_is_whole);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
