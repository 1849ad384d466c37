/* actors/quorum.c - see quorum.h. */
#include "actors/quorum.h"

uint32_t xd_quorum_ready(const xd_quorum_env *envs, size_t count)
{
    uint32_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += envs[i].state == XD_QUORUM_READY ? envs[i].workers : 0;
    return n;
}

xd_quorum xd_quorum_of(const xd_quorum_env *envs, size_t count, uint32_t least)
{
    const uint32_t ready = xd_quorum_ready(envs, count);
    uint64_t       starting = 0;
    bool any_coming = false, any_starting = false, any_ready = false, any_failed = false, unknown = false;
    for (size_t i = 0; i < count; i++) {
        any_ready = any_ready || envs[i].state == XD_QUORUM_READY;
        any_failed = any_failed || envs[i].state == XD_QUORUM_FAILED;
        const bool bringing = envs[i].state == XD_QUORUM_BRINGING;
        if (envs[i].state != XD_QUORUM_STARTING && !bringing)
            continue;
        any_coming = true;
        any_starting = any_starting || !bringing;
        unknown = unknown || !envs[i].workers;
        starting += envs[i].workers;
    }
    const bool hopeless = least ? !unknown && ready + starting < least : any_failed;
    if (hopeless || (!any_coming && !any_ready))
        return any_coming ? XD_QUORUM_HOPELESS : XD_QUORUM_NEVER;
    /* The workers of the whole run are numbered when it begins: each environment's number must be known. */
    if (least ? ready >= least && !unknown : any_ready && !any_starting)
        return XD_QUORUM_BEGIN;
    return XD_QUORUM_WAIT;
}
