/* actors/runview_collection.c - see runview_collection.h. */
#include "actors/runview_collection.h"

#include "engine/nodeid.h"

/* The list that counts is that of the first gateway which sent one; others' (their digest differed) are for
 * the collector. */
int xd_runview_collection_ids(xd_runview_collection *c, xd_runview_tests *tests, xd_runview_texts *texts,
                              const xd_wire_COLLECT_IDS *in, uint16_t gateway)
{
    if (c->gateway == XD_NO_INDEX)
        c->gateway = gateway;
    if (c->gateway != gateway || c->agreed)
        return XD_RUNVIEW_IGNORED;
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
    if (c->agreed || c->gateway != gateway || tests->count == c->list)
        return;
    tests->count = 0;
    c->gateway = XD_NO_INDEX;
    for (uint32_t i = envs->count; i-- > 0;)
        if (envs->envs[i].collected && !envs->envs[i].down)
            c->gateway = i;
}

int xd_runview_collection_agree(xd_runview_collection *c, const xd_runview_tests *tests,
                                const xd_wire_COLLECTION *in)
{
    if (c->agreed)
        return XD_RUNVIEW_IGNORED;
    if (in->count != tests->count) /* their names went before: a number alone is worth nothing */
        return -EPROTO;
    c->agreed = true;
    c->collected = in->count;
    c->deselected = in->deselected;
    c->workers = in->workers;
    c->expected_us = in->expected_us;
    return 0;
}
