/* sched_more.c - see sched.h: items that come when others run already, and sets that change with them. */
#include <stdlib.h>
#include <string.h>

#include "engine/sched_state.h"

/* Part of a group whose items are of another set than the rest: a group of its own. Its segments are neighbours, so the one that was put into this
 * ring last tells whether it has a number already. */
static int group_of_part(xd_sched *s, xd_sched_seg *part, uint32_t set)
{
    const uint32_t       was = part->group;
    const xd_sched_ring *r = &s->rings[set];
    const xd_sched_seg  *last = r->len ? &r->at[(r->head + r->len - 1) % r->cap] : NULL;
    if (last && last->group && s->was_group == was && last->group >= s->split_from) {
        part->group = last->group;
    } else {
        uint32_t *left = realloc(s->group_left, ((size_t)s->n_groups + 2) * sizeof *left);
        if (!left)
            return -ENOMEM;
        if (s->was_group != was)
            s->split_from = s->n_groups + 1;
        s->was_group = was;
        s->group_left = left;
        left[part->group = ++s->n_groups] = 0;
    }
    for (uint32_t i = part->first; i < part->first + part->count; i++)
        s->items[i].group = part->group;
    return 0;
}

static int spread(xd_sched *s, const xd_sched_seg *seg)
{
    for (uint32_t i = seg->first; i < seg->first + seg->count;) {
        const uint16_t set = s->items[i].set;
        xd_sched_seg   part = { .first = i, .group = seg->group };
        for (; i < seg->first + seg->count && s->items[i].set == set; i++) {
            part.count++;
            part.weight += s->items[i].weight;
        }
        XD_TRY(part.group ? group_of_part(s, &part, set) : 0);
        XD_TRY(xd_sched_ring_add(s, set, &part));
    }
    return 0;
}

static int room_for_more(xd_sched *s, const xd_sched_item *items, uint32_t count)
{
    xd_sched_entry *it = realloc(s->items, ((size_t)s->n + count + 1) * sizeof *it);
    if (!it)
        return -ENOMEM;
    s->items = it;
    if (s->ordered)
        return 0;
    xd_sched_item *raw = realloc(s->raw, ((size_t)s->n + count + 1) * sizeof *raw);
    if (!raw)
        return -ENOMEM;
    s->raw = raw;
    if (count)
        memcpy(raw + s->n, items, count * sizeof *raw);
    return 0;
}

/* Of what agents have, how much is now of a set other than 0. */
static int count_own(xd_sched *s)
{
    xd_autofree bool *met = calloc((size_t)s->n_groups + 1, sizeof *met);
    if (!met)
        return -ENOMEM;
    for (uint32_t a = 0; a < s->n_agents; a++)
        s->agents[a].own = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        const xd_sched_entry *it = &s->items[i];
        if (it->state != ITEM_LEASED || !it->set || met[it->group])
            continue;
        s->agents[it->agent].own++;
        met[it->group] = it->group != 0;
    }
    return 0;
}

/* What waits goes to the rings of its new sets, in its order. */
static int sort_anew(xd_sched *s)
{
    xd_sched_ring *old = s->rings;
    const uint32_t n = s->n_rings;
    int            r = xd_sched_make_rings(s);
    for (uint32_t set = 0; set < n; set++) {
        for (size_t i = 0; r == 0 && i < old[set].len; i++)
            r = spread(s, &old[set].at[(old[set].head + i) % old[set].cap]);
        free(old[set].at);
    }
    free(old);
    for (size_t k = s->doubt_at; r == 0 && k < s->doubt_end; k++)
        s->rings[s->items[s->doubted[k]].set].weight += s->items[s->doubted[k]].weight;
    return r;
}

int xd_sched_more(xd_sched *s, const xd_sched_item *items, uint32_t count, const uint16_t *sets)
{
    const uint32_t first = s->n;
    if (!s->have_items)
        return -EINVAL;
    XD_TRY(room_for_more(s, items, count));
    xd_sched_take_items(s, first, items, count);
    s->n += count;
    s->st.items += count;
    *(s->st.cancelled ? &s->st.not_run : &s->st.pending) += count;
    for (uint32_t i = 0; i < s->n; i++) {
        s->items[i].set = sets[i];
        if (!s->ordered)
            s->raw[i].set = sets[i];
    }
    XD_TRY(sort_anew(s));
    s->done_told = s->st.all_done = false;
    if (!s->ordered || s->st.cancelled || !count)
        return s->ordered ? count_own(s) : 0;
    xd_autofree xd_sched_item *raw = malloc(count * sizeof *raw);
    if (!raw)
        return -ENOMEM;
    memcpy(raw, items, count * sizeof *raw);
    for (uint32_t i = 0; i < count; i++)
        raw[i].set = sets[first + i];
    XD_TRY(xd_sched_order_items(s, raw, first, count));
    return count_own(s);
}
