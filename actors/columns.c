#include "actors/columns.h"

#include <stdbool.h>
#include <utf8proc.h>

#include "engine/base/text.h"

#define EMOJI_STYLE \
    0xfe0fu /* variation selector 16: the character before is drawn as an emoji, two columns wide */

typedef struct cursor {
    xd_bytes text;
    size_t   at;
    int32_t  before; /* code point, 0 = none */
    int32_t  state;  /* of utf8proc */
    bool     breaks; /* a new character, as people see them, began with the last step */
    size_t   width;  /* of the last step */
    size_t   narrow; /* columns of the character that a style follows */
} cursor;

/* One code point on. */
static void step(cursor *c)
{
    const uint8_t *p = c->text.ptr + c->at;
    uint32_t       cp = *p;
    if (cp >= 0x20 && cp < 0x7f && (c->at + 1 == c->text.len || p[1] < 0x80)) {
        /* Most text, and nothing joins what follows to it. */
        c->breaks = true;
        c->before = 0;
        c->width = c->narrow = 1;
        c->at++;
        return;
    }
    size_t n = xd_text_utf8(p, c->text.len - c->at, &cp);
    if (!n) {
        c->breaks = true;
        c->before = 0;
        c->width = c->narrow = 1;
        c->at++;
        return;
    }
    c->breaks = !c->before || utf8proc_grapheme_break_stateful(c->before, (int32_t)cp, &c->state);
    if (c->breaks)
        c->state = 0;
    c->before = (int32_t)cp;
    c->at += n;
    if (cp == EMOJI_STYLE) {
        c->width = c->narrow == 1 ? 1 : 0;
        c->narrow = 0;
        return;
    }
    int w = utf8proc_charwidth((int32_t)cp);
    c->width = w > 0 ? (size_t)w : 0;
    c->narrow = c->width;
}

size_t xd_columns(xd_bytes text)
{
    cursor c = { .text = text };
    size_t sum = 0;
    while (c.at < text.len) {
        const size_t plain = xd_text_printable(text.ptr + c.at, text.len - c.at);
        if (plain > 1) { /* all but the last, which may be joined to what follows */
            c = (cursor){ .text = text, .at = c.at + plain - 1 };
            sum += plain - 1;
        }
        step(&c);
        sum += c.width;
    }
    return sum;
}

size_t xd_columns_front(xd_bytes text, size_t most)
{
    cursor c = { .text = text };
    size_t sum = 0, chars = 0, whole = 0; /* whole: where the last character that is shown ended */
    while (c.at < text.len) {
        size_t from = c.at;
        step(&c);
        if (c.breaks)
            whole = from;
        sum += c.width;
        if (sum > most || ++chars > most)
            return whole;
    }
    return text.len;
}
