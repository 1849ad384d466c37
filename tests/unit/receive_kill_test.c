/* needs: sync */
/* receive_kill_test.c - trees that change at random, synchronised again and again: whole conversations, cut ones, and a far half that is killed. After the next
 * synchronisation the folder is the tree, whatever was there before, and nothing else is left. */
#include "tests/unit/receive_home.h"

#define WIDE 5
#define NODES (WIDE + WIDE * WIDE + WIDE * WIDE * WIDE)

static uint64_t random_state;

static uint32_t rnd(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 11) % below;
}

/* Every name that there can be; parents before children. What is in no folder does not count. */
typedef struct node {
    uint8_t type; /* 0 = nothing */
    uint8_t mode, version;
} node;
static node           nodes[NODES];
static char           paths[NODES][16];
static char           texts[64][40];
static const uint16_t modes[] = { 0644, 0755, 0600, 0444 };

static int parent_of(int i)
{
    return i < WIDE ? -1 : (i - WIDE) / WIDE;
}

static void name_all(void)
{
    for (int i = 0; i < NODES; i++) {
        int p = parent_of(i);
        snprintf(paths[i], sizeof(paths[i]), "%.10s%sn%d", p < 0 ? "" : paths[p], p < 0 ? "" : "/",
                 p < 0 ? i : (i - WIDE) % WIDE);
    }
    for (int v = 0; v < 64; v++)
        if (v) /* the first is empty */
            snprintf(texts[v], sizeof(texts[v]), "version %d of a text\n", v);
    memset(nodes, 0, sizeof(nodes));
}

static void mutate(uint32_t count)
{
    static const uint8_t types[] = { 0,           XD_SYNC_FILE, XD_SYNC_FILE, XD_SYNC_FOLDER, XD_SYNC_FOLDER,
                                     XD_SYNC_LINK };
    while (count--) {
        node *n = &nodes[rnd(3) ? rnd(WIDE + WIDE * WIDE) : rnd(NODES)];
        if (rnd(3) == 0)
            n->mode = (uint8_t)rnd(4);
        else if (rnd(2) == 0)
            n->version = (uint8_t)rnd(64);
        else
            n->type = types[rnd(XD_ARRAY_LEN(types))];
        if (rnd(8) == 0) /* moved */
            nodes[rnd(NODES)] = *n;
    }
}

/* A copy of what there is now; two at a time. */
static tree now(void)
{
    static thing things[4][NODES + 1];
    static int   turn;
    thing       *out = things[turn++ % 4];
    bool         there[NODES];
    size_t       n = 0;
    for (int i = 0; i < NODES; i++) {
        int         p = parent_of(i);
        const node *x = &nodes[i];
        there[i] = x->type && (p < 0 || (there[p] && nodes[p].type == XD_SYNC_FOLDER));
        if (!there[i])
            continue;
        thing *t = &out[n++];
        *t = (thing){ .path = paths[i], .type = x->type };
        if (x->type == XD_SYNC_FOLDER)
            t->mode = x->mode % 2 ? 0755 : 0700;
        if (x->type == XD_SYNC_LINK)
            t->text = x->version % 2 ? "n1" : "n2/n3";
        if (x->type == XD_SYNC_FILE) {
            t->mode = modes[x->mode];
            t->mtime_ns = 1000 * NS + x->version;
            t->text = texts[x->version];
            t->size = x->version % 8 == 7 ? 30000u + x->version * 1000u : 0;
        }
    }
    out[n] = (thing){ 0 };
    return tree_of(out);
}

/* Somebody else works in the folder. */
static void disturb(const char *folder)
{
    char path[256];
    for (uint32_t i = rnd(3); i; i--) {
        snprintf(path, sizeof(path), "%s/%s", folder, paths[rnd(NODES)]);
        if (rnd(2))
            (void)!unlink(path);
        else if (access(path, F_OK) == 0 && rnd(2))
            (void)!truncate(path, rnd(2) ? 3 : 0);
        else
            (void)!chmod(path, 0701);
    }
}

static home random_home(const tree *want, const tree *base)
{
    return (home){
        .want = want, .base = base, .push = rnd(2), .delta = rnd(2), .piece = rnd(2) ? 0 : 100 + rnd(20000)
    };
}

static void must_be(const char *folder, const tree *want, const tree *base, uint64_t seed)
{
    home h = random_home(want, base);
    int  status = home_run(&h, folder);
    if (status != 0)
        ck_abort_msg("seed %llu: status %d, last %u: %s", (unsigned long long)seed, status, h.last,
                     xd_buf_cstr(&h.said));
    check_same(folder, want);
    home_release(&h);
}

START_TEST(random_trees)
{
    name_all();
    random_state = 77 + (uint64_t)_i;
    mutate(200);
    tree last = now();
    must_be(at("far"), &last, NULL, (uint64_t)_i);
    for (int round = 0; round < 12; round++) {
        if (rnd(3) == 0)
            disturb(at("far"));
        mutate(1 + rnd(60));
        tree next = now();
        must_be(at("far"), &next, rnd(4) ? &last : NULL, (uint64_t)_i);
        if (rnd(3) == 0)
            must_be(at("far"), &next, &next, (uint64_t)_i);
        tree_free(&last);
        last = next;
    }
    tree_free(&last);
}
END_TEST

/* A conversation that ends early, then other ones. */
static void broken(bool kill_it, int seed)
{
    name_all();
    random_state = 1234567 + (uint64_t)seed * 7919;
    mutate(200);
    tree last = now();
    if (rnd(3))
        must_be(at("far"), &last, NULL, (uint64_t)seed);
    for (int round = 0; round < 6; round++) {
        for (uint32_t again = 1 + rnd(2); again; again--) {
            mutate(1 + rnd(60));
            tree    next = now();
            home    h = random_home(&next, rnd(4) ? &last : NULL);
            far_end far;
            h.cut = 40 + (rnd(2) ? rnd(20000) : rnd(800000));
            h.kill = kill_it;
            if (kill_it)
                far_start_process(&far, at("far"));
            else
                far_start(&far, at("far"));
            int status = home_talk(&h, &far);
            if (status != 0 && status != 2 && status != -SIGKILL)
                ck_abort_msg("status %d: %s", status, xd_buf_cstr(&h.said));
            if (!kill_it && status == 2) { /* it has cleaned up */
                xd_autobuf is = XD_BUF_INIT;
                list_disk(at("far"), "", &is);
                ck_assert_ptr_null(xd_bytes_find(xd_buf_view(&is), ".xd-"));
            }
            home_release(&h);
            tree_free(&next);
        }
        if (rnd(2))
            mutate(1 + rnd(60));
        tree next = now();
        must_be(at("far"), &next, rnd(4) ? &last : NULL, (uint64_t)seed);
        tree_free(&last);
        last = next;
    }
    tree_free(&last);
}

START_TEST(cut_streams)
{
    broken(false, _i);
}
END_TEST

START_TEST(killed)
{
    broken(true, _i);
}
END_TEST

int main(int argc, char **argv)
{
    int status;
    if (far_program(argc, argv, &status))
        return status;
    Suite *s = suite_create("receive_kill");
    TCase *c = tcase_create("random");
    tcase_add_checked_fixture(c, make_test_folder, drop_test_folder);
    tcase_add_loop_test(c, random_trees, 0, 12);
    tcase_add_loop_test(c, cut_streams, 0, 10);
    tcase_add_loop_test(c, killed, 0, 10);
    suite_add_tcase(s, c);
    return run_suite(s);
}
