/* actors/runview_collection.c - see runview_collection.h. */
#include "actors/runview_collection.h"

#include "engine/nodeid.h"

#include <stdlib.h>
#include <string.h>

void xd_runview_collection_release(xd_runview_collection *c)
{
    for (uint32_t i = 0; i < c->list_count; i++)
        xd_runview_tests_release(&c->lists[i]);
    free(c->lists);
    *c = XD_RUNVIEW_COLLECTION_INIT;
}

uint32_t xd_runview_collection_place(const xd_runview_collection *c, const xd_runview_envs *envs,
                                     uint16_t gateway, uint32_t item)
{
    if (!c->each)
        return item;
    const xd_runview_env *env = gateway < envs->count ? &envs->envs[gateway] : NULL;
    return env && item < env->tests ? env->first + item : XD_NO_INDEX;
}

static int take_ids(xd_runview_tests *tests, xd_runview_texts *texts, const xd_wire_COLLECT_IDS *in)
{
    uint32_t       at = in->first;
    xd_wire_list   list = in->ids;
    xd_wire_NODEID one;
    xd_autobuf     scratch = XD_BUF_INIT;
    xd_bytes       id, previous = { 0 };
    if (in->first > tests->count) /* parts come in order; a hole is damage */
        return -EPROTO;
    while (xd_wire_NODEID_next(&list, &one) == 1) {
        XD_TRY(xd_runview_tests_reach(tests, at + 1));
        xd_runview_item *i = &tests->items[at];
        XD_TRY(xd_nodeid_join(&scratch, previous, &one, &id));
        XD_TRY(xd_runview_texts_keep(texts, id, &i->id));
        previous = i->id;
        i->line = one.line;
        /* Most files are the one before: kept once. */
        if (one.file.len && at && xd_bytes_eq(tests->items[at - 1].file, one.file))
            i->file = tests->items[at - 1].file;
        else
            XD_TRY(xd_runview_texts_keep(texts, one.file, &i->file));
        at++;
    }
    return 0;
}

static int list_of(xd_runview_collection *c, uint32_t gateway, xd_runview_tests **ret)
{
    XD_TRY(xd_runview_room(&c->lists, &c->lists_cap, gateway + 1, sizeof *c->lists));
    c->list_count = XD_MAX(c->list_count, gateway + 1);
    *ret = &c->lists[gateway];
    return 0;
}

/* The list that counts is that of the first gateway which sent one; others' (their digest differed) are for
 * the collector. With `each` all count. */
int xd_runview_collection_ids(xd_runview_collection *c, xd_runview_tests *tests, xd_runview_texts *texts,
                              const xd_wire_COLLECT_IDS *in, uint16_t gateway)
{
    xd_runview_tests *own;
    if (c->each) {
        XD_TRY(list_of(c, gateway, &own));
        return take_ids(own, texts, in);
    }
    if (c->gateway == XD_NO_INDEX)
        c->gateway = gateway;
    if (c->gateway != gateway || (c->agreed && in->first != tests->count))
        return XD_RUNVIEW_IGNORED;
    XD_TRY(take_ids(tests, texts, in));
    if (c->agreed) /* tests that an environment brought which collected late */
        c->collected += in->ids.count;
    return 0;
}

int xd_runview_collection_told(xd_runview_collection *c, xd_runview_envs *envs, const xd_wire_COLLECTED *in,
                               uint16_t gateway, bool home)
{
    xd_runview_env *env;
    XD_TRY(xd_runview_envs_at(envs, gateway, &env));
    env->collected = in->exit_status == -1;
    if (c->gateway == XD_NO_INDEX && in->exit_status == -1 && in->count) {
        c->gateway = gateway; /* the first to have collected: its list is the run's */
        c->list = in->count;
    }
    if (c->each) {
        env->over = in->exit_status != -1;
        env->exit_status = in->exit_status;
        return 0;
    }
    if (!home)
        return XD_RUNVIEW_IGNORED;
    if (!c->agreed) {
        c->collected = in->count;
        c->deselected = in->deselected;
    }
    return 0;
}

/* The list that was to come of it comes of another: the first that has told of one (xd_scheduler_without), or tells. */
void xd_runview_collection_lost(xd_runview_collection *c, xd_runview_tests *tests,
                                const xd_runview_envs *envs, uint16_t gateway)
{
    if (c->each || c->agreed || c->gateway != gateway || tests->count >= c->list)
        return;
    tests->count = 0;
    c->gateway = XD_NO_INDEX;
    for (uint32_t i = envs->count; i-- > 0;)
        if (envs->envs[i].collected && !envs->envs[i].down)
            c->gateway = i;
}

/* The items of one more environment, behind those of the others. */
static int agree_own(xd_runview_collection *c, xd_runview_tests *tests, xd_runview_envs *envs,
                     const xd_wire_COLLECTION *in)
{
    xd_runview_env   *env;
    xd_runview_tests *list;
    XD_TRY(xd_runview_envs_at(envs, in->collection, &env));
    XD_TRY(list_of(c, in->owner, &list));
    if (env->agreed)
        return XD_RUNVIEW_IGNORED;
    if (in->count != list->count || in->count > UINT32_MAX - 1 - tests->count)
        return -EPROTO;
    const uint32_t first = tests->count;
    XD_TRY(xd_runview_tests_reach(tests, first + in->count));
    if (in->count)
        memcpy(&tests->items[first], list->items, in->count * sizeof *list->items);
    for (uint32_t i = 0; i < in->count; i++)
        tests->items[first + i].collection = in->collection;
    env->agreed = 1;
    env->first = first;
    env->tests = in->count;
    env->expected_us = in->expected_us;
    if (!c->agreed)
        c->collected = c->deselected = 0;
    return 0;
}

int xd_runview_collection_agree(xd_runview_collection *c, xd_runview_tests *tests, xd_runview_envs *envs,
                                const xd_wire_COLLECTION *in)
{
    if (c->each) {
        int r = agree_own(c, tests, envs, in);
        if (r)
            return r;
    } else if (c->agreed) {
        return XD_RUNVIEW_IGNORED;
    } else if (in->count != tests->count) { /* their names went before: a number alone is worth nothing */
        return -EPROTO;
    } else {
        c->collected = c->deselected = 0;
    }
    c->agreed = true;
    c->count++;
    c->collected += in->count;
    c->deselected += in->deselected;
    c->workers += in->workers;
    c->expected_us += in->expected_us;
    return 0;
}
