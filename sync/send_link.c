/* sync/send_link.c - how fast the other end takes what it is sent, and whether blocks are worth compressing for it. See send_state.h.
 *
 * What counts is content per second, and it is measured by SYNC_TAKEN alone: what lies between the two ends swallows a few megabytes at any speed. Where that is slow, it need not be the link: the other
 * end may have much to do for each file. So a few plain blocks are tried, and the better is kept; unless it is so slow that the trial would cost more than it can bring.
 *
 * No more is under way than keeps the link busy: twice what is taken in the time that a block needs to get there, at its best. What goes beyond that waits in sshd, whose buffer is copied anew
 * for each packet that makes it longer than ever before: 2 MiB there cost a tenth of a second. */
#include "engine/base/clock.h"
#include "sync/send_state.h"

#define LOOK_BYTES (2u << 20)
#define AHEAD_BYTES (1u << 20)  /* of blocks that were made before a change of mind */
#define TRIAL_WINDOW (2u << 20) /* bytes under way, at most */
#define WINDOW_LEAST (1u << 20) /* the same, on any link */
#define VERY_SLOW (100e6 / 8)   /* bytes per second */
#define SLOW (300e6 / 8)        /* below, a better level costs nothing */
#define BETTER 1.5              /* a link that is slow shows more; less is noise of the disk there */

void xd_link_begin(xd_sender *s)
{
    xd_link *l = &s->link;
    if (!l->begun)
        l->level = s->args->zstd ? 1 : 0;
    l->begun = true;
    l->since_ns = 0;
    if (s->reader)
        xd_reader_prefer(s->reader, l->level);
}

static int better_level(xd_link *l, double wire, double content)
{
    *(l->level ? &l->packed : &l->plain) = content;
    if (wire < VERY_SLOW)
        return 3;
    if (l->level && l->plain == 0)
        return 0;
    if (l->packed <= l->plain * BETTER)
        return 0;
    return wire < SLOW ? 3 : 1;
}

/* Is the way of compressing the right one? */
static void look(xd_sender *s)
{
    xd_link *l = &s->link;
    uint64_t now = xd_clock_ns();
    if (!s->args->zstd || !s->reader || s->taken < l->from)
        return;
    if (l->since_ns == 0) {
        l->since_ns = now;
        l->taken = s->taken;
        l->sent = s->data_sent;
        l->content = s->content;
    }
    if (s->taken - l->taken < LOOK_BYTES || s->data_sent == l->sent)
        return;
    double wire = (double)(s->taken - l->taken) * 1e9 / (double)(now - l->since_ns + 1);
    double ratio = (double)(s->content - l->content) / (double)(s->data_sent - l->sent);
    int    level = better_level(l, wire, wire * ratio);
    if (level != l->level) {
        l->level = level;
        l->from = s->data_sent + AHEAD_BYTES;
        xd_reader_prefer(s->reader, level);
    }
    l->since_ns = 0;
}

/* ---- how much may be under way ---------------------------------------------------------------------------------- */

uint64_t xd_link_window(const xd_sender *s)
{
    const xd_link *l = &s->link;
    const bool     trial = l->begun && s->args->zstd && l->level == 0 && l->plain == 0;
    return XD_MIN(XD_MAX(l->window, WINDOW_LEAST), trial ? TRIAL_WINDOW : XD_SYNC_WINDOW - (1u << 20));
}

void xd_link_sent(xd_sender *s)
{
    xd_link *l = &s->link;
    if (l->probe_sent)
        return;
    l->probe_sent = s->data_sent;
    l->probe_taken = s->taken;
    l->probe_ns = xd_clock_ns();
}

void xd_link_taken(xd_sender *s)
{
    xd_link *l = &s->link;
    if (l->probe_sent && s->taken >= l->probe_sent) {
        const uint64_t took = xd_clock_ns() - l->probe_ns + 1;
        l->best_ns = l->best_ns ? XD_MIN(l->best_ns, took) : took;
        l->window = (uint64_t)(2.0 * (double)(s->taken - l->probe_taken) / (double)took * (double)l->best_ns);
        l->probe_sent = 0;
    }
    look(s);
}
