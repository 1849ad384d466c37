/* The collection: node ids as the collector sent them, their digest, and whether other processes came to the
 * same. */
#define XXH_STATIC_LINKING_ONLY
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "engine/base/hash.h"
#include "engine/nodeid.h"
#include "tools/xdagent/agent.h"

#define LIST_BYTES_MAX (1u << 30)
#define DIFFERENCES_SHOWN 10u
#define NOT_HERE UINT32_MAX /* offset of a test of the run that this environment does not have */

static int grow(void **at, uint32_t *cap, uint32_t need, size_t size)
{
    if (need <= *cap)
        return 0;
    uint32_t want = *cap ? *cap * 2 : 256;
    void    *p = realloc(*at, want * size);
    if (!p)
        return -ENOMEM;
    *at = p;
    *cap = want;
    return 0;
}

static void hash_id(XXH3_state_t *h, xd_bytes id)
{
    (void)XXH3_128bits_update(h, id.ptr, id.len);
    (void)XXH3_128bits_update(h, "", 1);
}

int agent_list_init(agent_list *l)
{
    l->hash = XXH3_createState();
    if (!l->hash)
        return -ENOMEM;
    (void)XXH3_128bits_reset(l->hash);
    return 0;
}

int agent_list_add(agent_list *l, xd_bytes body)
{
    xd_wire_COLLECT_IDS m;
    xd_wire_NODEID      n;
    int                 more;
    if (body.len > LIST_BYTES_MAX || l->bytes.len > LIST_BYTES_MAX - body.len)
        return -EFBIG;
    uint32_t base = (uint32_t)l->bytes.len;
    XD_TRY(xd_buf_add_bytes(&l->bytes, body));
    XD_TRY(grow((void **)&l->chunk, &l->chunks_cap, l->chunks + 1, sizeof(*l->chunk)));
    l->chunk[l->chunks++] = (agent_part){ base, (uint32_t)body.len };
    XD_TRY(xd_wire_COLLECT_IDS_decode(body.ptr, body.len, &m));
    if (m.first != l->count)
        return -EPROTO;
    xd_wire_list it = m.ids;
    while ((more = xd_wire_NODEID_next(&it, &n)) > 0) {
        if (n.shared) /* the adapter sends whole ids */
            return -EPROTO;
        XD_TRY(grow((void **)&l->id, &l->cap, l->count + 1, sizeof(*l->id)));
        l->id[l->count++] = (agent_part){ base + (uint32_t)(n.id.ptr - body.ptr), (uint32_t)n.id.len };
        hash_id(l->hash, n.id);
    }
    return more;
}

void agent_list_close(agent_list *l)
{
    XXH128_hash_t d = XXH3_128bits_digest(l->hash);
    l->digest_lo = d.low64;
    l->digest_hi = d.high64;
    l->over = true;
}

void agent_list_release(agent_list *l)
{
    XXH3_freeState(l->hash);
    xd_buf_release(&l->bytes);
    free(l->chunk);
    free(l->id);
    *l = (agent_list){ 0 };
}

bool agent_env_nodeid(const agent *a, uint32_t item, xd_bytes *ret)
{
    const agent_list *l = &a->env.list;
    if (item >= l->count || l->id[item].offset == NOT_HERE)
        return false;
    *ret = (xd_bytes){ l->bytes.data + l->id[item].offset, l->id[item].len };
    return true;
}

bool agent_env_has(const agent *a, uint32_t first, uint32_t count)
{
    const agent_list *l = &a->env.list;
    if (count > l->count || first > l->count - count)
        return false;
    for (uint32_t i = first; i < first + count; i++)
        if (l->id[i].offset == NOT_HERE)
            return false;
    return true;
}

/* ---- SEND_LIST ------------------------------------------------------------------------------------ */

int agent_env_send_list(agent *a)
{
    if (!a->env.list.over) {
        a->env.list.wanted = true;
        return 0;
    }
    a->env.list.sending = true;
    a->env.list.next_chunk = 0;
    return agent_env_more_list(a);
}

/* The same COLLECT_IDS with what neighbours share left out: half of the bytes of a usual list. */
static int shorten(xd_bytes body, xd_buf *out)
{
    xd_wire_COLLECT_IDS m;
    xd_wire_NODEID      n;
    xd_autobuf          ids = XD_BUF_INIT;
    xd_bytes            previous = { 0 };
    XD_TRY(xd_wire_COLLECT_IDS_decode(body.ptr, body.len, &m));
    xd_wire_list it = m.ids;
    while (xd_wire_NODEID_next(&it, &n) > 0) {
        xd_bytes whole = n.id;
        n.shared = xd_nodeid_shared(previous, whole);
        n.id = (xd_bytes){ whole.ptr + n.shared, whole.len - n.shared };
        XD_TRY(xd_wire_NODEID_append(&ids, &n));
        previous = whole;
    }
    m.ids.ptr = ids.data;
    m.ids.len = ids.len;
    return xd_wire_COLLECT_IDS_encode(out, &m);
}

int agent_env_more_list(agent *a)
{
    agent_list *l = &a->env.list;
    while (l->sending && !agent_link_full(a)) {
        if (l->next_chunk == l->chunks) {
            l->sending = false;
            break;
        }
        const agent_part *p = &l->chunk[l->next_chunk++];
        xd_autobuf        body = XD_BUF_INIT;
        XD_TRY(shorten((xd_bytes){ l->bytes.data + p->offset, p->len }, &body));
        XD_TRY(agent_link_send(a, XD_MSG_COLLECT_IDS, xd_buf_view(&body)));
    }
    return 0;
}

/* ---- REORDER -------------------------------------------------------------------------------------- */

/* The list in the agreed order; its parts are no longer of use, they have been sent. The digest is of the tests that are here. */
static int put_in_order(agent_list *l, xd_wire_list places)
{
    xd_wire_INDEX           place;
    uint32_t                n = 0;
    const uint32_t          count = places.count;
    xd_autofree agent_part *id = NULL;
    xd_autofree bool       *met = calloc(l->count ? l->count : 1, sizeof(*met));
    if (count > XD_ITEMS_MAX)
        return -EPROTO;
    id = calloc(count ? count : 1, sizeof(*id));
    if (!id || !met)
        return -ENOMEM;
    (void)XXH3_128bits_reset(l->hash);
    for (; xd_wire_INDEX_next(&places, &place) == 1; n++) {
        id[n] = (agent_part){ .offset = NOT_HERE };
        if (place.item == XD_NO_INDEX)
            continue;
        if (place.item >= l->count || met[place.item] || l->id[place.item].offset == NOT_HERE)
            return -EPROTO;
        met[place.item] = true;
        id[n] = l->id[place.item];
        hash_id(l->hash, (xd_bytes){ l->bytes.data + id[n].offset, id[n].len });
    }
    free(l->id);
    l->id = xd_take(&id);
    l->count = l->cap = count;
    agent_list_close(l);
    return 0;
}

int agent_env_reorder(agent *a, xd_bytes body)
{
    xd_wire_REORDER m;
    xd_autobuf      order = XD_BUF_INIT;
    XD_TRY(xd_wire_REORDER_decode(body.ptr, body.len, &m));
    if (!a->env.list.over || a->queue)
        return -EPROTO;
    XD_TRY(put_in_order(&a->env.list, m.places));
    XD_TRY(xd_wire_ORDER_encode(&order, &(xd_wire_ORDER){ .places = m.places }));
    return a->env.collect.fd >= 0
               ? agent_chan_send(&a->env.collect, XD_MSG_ORDER, xd_buf_view(&order), NULL, 0)
               : 0;
}

/* ---- a worker's own collection ----------------------------------------------------------------------- */

/* An item of the environment's list by its name; items of one name hang behind the first of them. */
typedef struct named_item {
    UT_hash_handle hh;
    uint32_t       next; /* of the same name; XD_NO_INDEX */
    bool           met;  /* the worker has it, too */
} named_item;

/* Usually the worker's list is the same, and hashing it is enough. From the first difference on its items are looked
 * up by name, as the same tests may have come in another order. */
struct agent_check {
    XXH3_state_t *hash;
    uint32_t      count;     /* items of the worker so far */
    uint32_t      different; /* those that the environment does not have */
    xd_buf        text;      /* the first names that differ, a line each */
    named_item   *names;     /* of each item of the environment; NULL = no difference so far */
    named_item   *table;
    uint32_t     *place; /* of each item of the environment: where the worker has it */
    bool          passed;
};

void agent_check_free(struct agent_check *c)
{
    if (!c)
        return;
    XXH3_freeState(c->hash);
    xd_buf_release(&c->text);
    HASH_CLEAR(hh, c->table);
    free(c->names);
    free(c->place);
    free(c);
}

static struct agent_check *check_of(agent_worker *w)
{
    if (w->check)
        return w->check;
    struct agent_check *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->hash = XXH3_createState();
    if (!c->hash) {
        free(c);
        return NULL;
    }
    (void)XXH3_128bits_reset(c->hash);
    return w->check = c;
}

static int add_difference(struct agent_check *c, const char *worker, xd_bytes id)
{
    if (c->different++ >= DIFFERENCES_SHOWN)
        return 0;
    return xd_buf_printf(&c->text, "\n  %s: %.*s", worker, (int)id.len, (const char *)id.ptr);
}

/* The lists differ at item c->count for the first time: the environment's items by name. */
static int by_name(const agent *a, struct agent_check *c)
{
    uint32_t count = a->env.list.count;
    c->names = calloc(count ? count : 1, sizeof(*c->names));
    c->place = calloc(count ? count : 1, sizeof(*c->place));
    if (!c->names || !c->place)
        return -ENOMEM;
    for (uint32_t i = count; i-- > 0;) { /* backwards: the first of a name ends up in front */
        named_item *same, *n = &c->names[i];
        xd_bytes    id;
        const bool  here = agent_env_nodeid(a, i, &id);
        n->next = XD_NO_INDEX;
        n->met = i < c->count || !here;
        c->place[i] = here ? i : XD_NO_INDEX;
        if (!here)
            continue;
        HASH_FIND(hh, c->table, id.ptr, id.len, same);
        if (same) {
            n->next = (uint32_t)(same - c->names);
            HASH_DELETE(hh, c->table, same);
        }
        HASH_ADD_KEYPTR(hh, c->table, id.ptr, id.len, n);
        if (!n->hh.tbl)
            return -ENOMEM;
    }
    return 0;
}

static int look_up(agent_worker *w, struct agent_check *c, xd_bytes id)
{
    named_item *n;
    HASH_FIND(hh, c->table, id.ptr, id.len, n);
    while (n && n->met)
        n = n->next == XD_NO_INDEX ? NULL : &c->names[n->next];
    if (!n)
        return add_difference(c, agent_worker_name(w).text, id);
    n->met = true;
    c->place[n - c->names] = c->count;
    return 0;
}

int agent_check_ids(agent_worker *w, xd_bytes body)
{
    struct agent_check *c = check_of(w);
    xd_wire_COLLECT_IDS m;
    xd_wire_NODEID      n;
    int                 more;
    if (!c)
        return -ENOMEM;
    XD_TRY(xd_wire_COLLECT_IDS_decode(body.ptr, body.len, &m));
    xd_wire_list it = m.ids;
    while ((more = xd_wire_NODEID_next(&it, &n)) > 0) {
        xd_bytes ours;
        hash_id(c->hash, n.id);
        if (!c->names && (!agent_env_nodeid(w->agent, c->count, &ours) || !xd_bytes_eq(ours, n.id)))
            XD_TRY(by_name(w->agent, c));
        if (c->names)
            XD_TRY(look_up(w, c, n.id));
        c->count++;
    }
    return more;
}

/* What the environment has and the worker has not. */
static int add_missing(agent_worker *w, struct agent_check *c)
{
    agent        *a = w->agent;
    const xd_name first = xd_names_of(&a->names, a->first);
    for (uint32_t i = 0; i < a->env.list.count; i++) {
        xd_bytes id;
        if ((c->names ? !c->names[i].met : i >= c->count) && agent_env_nodeid(a, i, &id))
            XD_TRY(add_difference(c, first.text, id));
    }
    return 0;
}

/* The same tests at other places: the worker puts its own list into that of the environment. */
static int send_order(agent_worker *w, const struct agent_check *c)
{
    xd_autobuf     list = XD_BUF_INIT, body = XD_BUF_INIT;
    const uint32_t count = w->agent->env.list.count;
    for (uint32_t i = 0; i < count; i++)
        XD_TRY(xd_wire_INDEX_append(&list, &(xd_wire_INDEX){ .item = c->place[i] }));
    xd_wire_ORDER m = { .places = agent_list_of(&list, count) };
    XD_TRY(xd_wire_ORDER_encode(&body, &m));
    return w->io.cmd.fd >= 0 ? agent_chan_send(&w->io.cmd, XD_MSG_ORDER, xd_buf_view(&body), NULL, 0) : 0;
}

/* As pytest-xdist: an error of the collection, named by the worker; the environment cannot go on with what it is. */
static int fail_different(agent_worker *w, uint32_t count, xd_buf *text)
{
    agent        *a = w->agent;
    const xd_name first = xd_names_of(&a->names, a->first), name = agent_worker_name(w);
    xd_autobuf    body = XD_BUF_INIT, whole = XD_BUF_INIT;
    if (a->env.failed)
        return 0;
    XD_TRY(xd_buf_printf(
        &whole,
        "Different tests were collected between %s and %s (%u and %u items); the first that differ:%s",
        first.text, name.text, (unsigned)a->env.list.count, (unsigned)count, xd_buf_cstr(text)));
    xd_wire_REPORT r = { .item = XD_NO_INDEX,
                         .worker = w->number,
                         .nodeid = xd_bytes_str(name.text),
                         .when = XD_BYTES_LIT("collect"),
                         .category = XD_BYTES_LIT("error"),
                         .letter = XD_BYTES_LIT("E"),
                         .word = XD_BYTES_LIT("ERROR"),
                         .outcome = XD_BYTES_LIT("failed"),
                         .text = xd_buf_view(&whole),
                         .line = -1 };
    XD_TRY(xd_wire_REPORT_encode(&body, &r));
    XD_TRY(agent_link_send(a, XD_MSG_REPORT, xd_buf_view(&body)));
    return agent_env_fail(a, 1, "Different tests were collected between %s and %s", first.text, name.text);
}

int agent_check_collected(agent_worker *w, xd_bytes body)
{
    const agent_list   *l = &w->agent->env.list;
    struct agent_check *c = check_of(w);
    xd_wire_COLLECTED   m;
    if (!c)
        return -ENOMEM;
    XD_TRY(xd_wire_COLLECTED_decode(body.ptr, body.len, &m));
    XXH128_hash_t d = XXH3_128bits_digest(c->hash);
    c->passed = d.low64 == l->digest_lo && d.high64 == l->digest_hi && m.exit_status < 0;
    /* Behind FINISH is written what the next session's --lf and the like depend on; and nothing is left to run. */
    if (c->passed || w->agent->phase != AGENT_RUNNING)
        return 0;
    XD_TRY(add_missing(w, c));
    if (!c->different && c->names && m.exit_status < 0) {
        c->passed = true;
        return send_order(w, c);
    }
    if (m.stop_reason.len)
        XD_TRY(xd_buf_printf(&c->text, "\n  %s: %.*s", agent_worker_name(w).text, (int)m.stop_reason.len,
                             (const char *)m.stop_reason.ptr));
    return fail_different(w, c->count, &c->text);
}

bool agent_check_passed(const agent_worker *w)
{
    return w->check && w->check->passed;
}
