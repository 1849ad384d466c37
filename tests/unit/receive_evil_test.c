/* needs: sync */
/* receive_evil_test.c - home ends that say what they must not: the far half ends with status 2, nothing is written outside of its folder, and what is in it stays. */
#include "tests/unit/receive_home.h"

/* ---- frames by hand ------------------------------------------------------------------------------------------------ */

typedef struct evil {
    xd_buf out;   /* what is sent, all at once */
    tree   small; /* two files that are good */
} evil;

static const thing GOOD[] = { FILE_("a", "aaaa"), FILE_("b/c", "cccc"), FILE_("z", "zzzz"), END_ };

#define PUT(e, NAME, ...)                                   \
    do {                                                    \
        xd_wire_##NAME put_ = { __VA_ARGS__ };              \
        OK(xd_wire_##NAME##_frame(&(e)->out, 0, 0, &put_)); \
    } while (0)

static void put_open(evil *e, xd_digest id)
{
    PUT(e, SYNC_OPEN, .lo = id.lo, .hi = id.hi, .folder = XD_BYTES_LIT("x"));
}

static void put_list(evil *e, const xd_buf *records, uint32_t count, bool last)
{
    xd_autobuf               body = XD_BUF_INIT;
    xd_wire_SYNC_RECORD_LIST l = { .records = { count, records->data, records->len } };
    OK(xd_wire_SYNC_RECORD_LIST_encode(&body, &l));
    PUT(e, SYNC_RECORDS, .last = last, .plain_bytes = (uint32_t)body.len, .inner = xd_buf_view(&body));
}

static void record(xd_buf *out, const char *path, size_t len, uint8_t type, uint64_t size, const char *target)
{
    xd_wire_SYNC_RECORD r = { .path = { (const uint8_t *)path, len },
                              .type = type,
                              .mode = type == XD_SYNC_LINK ? 0 : 0755,
                              .size = type == XD_SYNC_FILE ? size : 0,
                              .target = xd_bytes_str(target) };
    OK(xd_wire_SYNC_RECORD_append(out, &r));
}

static int put_good_list(void *arg, xd_bytes body, bool last)
{
    evil *e = arg;
    PUT(e, SYNC_RECORDS, .last = last, .plain_bytes = (uint32_t)body.len, .inner = body);
    return 0;
}

/* A tree that is good, up to the contents. */
static void put_tree(evil *e, const tree *t)
{
    put_open(e, xd_manifest_digest(t->m));
    OK(xd_manifest_write(NULL, t->m, NULL, NULL, NULL, 4000, put_good_list, e));
    PUT(e, SYNC_END, 0);
}

static void put_piece(evil *e, const xd_wire_SYNC_PIECE *p)
{
    xd_autobuf list = XD_BUF_INIT, body = XD_BUF_INIT;
    OK(xd_wire_SYNC_PIECE_append(&list, p));
    xd_wire_SYNC_PIECE_LIST l = { .pieces = { 1, list.data, list.len } };
    OK(xd_wire_SYNC_PIECE_LIST_encode(&body, &l));
    PUT(e, SYNC_DATA, .plain_bytes = (uint32_t)body.len, .inner = xd_buf_view(&body));
}

/* ---- trees that cannot be ---------------------------------------------------------------------------------------------- */

typedef struct name_case {
    const char *what;
    struct {
        const char *path;
        size_t      len; /* 0 = strlen */
        uint8_t     type;
        const char *target;
        uint64_t    size;
    } r[4];
} name_case;
#define DIR_(path_)                           \
    {                                         \
        .path = path_, .type = XD_SYNC_FOLDER \
    }
#define REG_(path_, size_)                                 \
    {                                                      \
        .path = path_, .type = XD_SYNC_FILE, .size = size_ \
    }
#define LNK_(path_, to_)                                   \
    {                                                      \
        .path = path_, .type = XD_SYNC_LINK, .target = to_ \
    }
static char long_name[300], deep_path[5000], long_target[5000];

static const name_case NAMES[] = {
    { "dot dot", { DIR_("."), DIR_("..") } },
    { "dot dot below", { DIR_("."), DIR_("a"), DIR_("a/.."), REG_("a/../../x", 5) } },
    { "climbs at once", { DIR_("."), REG_("../x", 5) } },
    { "absolute", { DIR_("."), REG_("/etc/passwd", 5) } },
    { "absolute folder", { DIR_("."), DIR_("/") } },
    { "two slashes", { DIR_("."), DIR_("a"), REG_("a//b", 5) } },
    { "slash at the end", { DIR_("."), DIR_("a/") } },
    { "dot inside", { DIR_("."), DIR_("a"), REG_("a/./b", 5) } },
    { "NUL inside", { DIR_("."), { .path = "a\0b", .type = XD_SYNC_FILE, .len = 3, .size = 5 } } },
    { "empty name", { DIR_("."), REG_("", 5) } },
    { "no base", { REG_("a", 5) } },
    { "base is a file", { REG_(".", 5) } },
    { "base is a link", { LNK_(".", "/etc") } },
    { "base twice", { DIR_("."), DIR_(".") } },
    { "no parent", { DIR_("."), REG_("a/b", 5) } },
    { "file as a folder", { DIR_("."), REG_("a", 5), REG_("a/b", 5) } },
    { "link as a folder", { DIR_("."), LNK_("a", "b"), REG_("a/b", 5) } },
    { "link as a folder, out", { DIR_("."), LNK_("a", "/tmp"), REG_("a/b", 5) } },
    { "twice", { DIR_("."), REG_("a", 5), REG_("a", 5) } },
    { "link, then a folder of that name", { DIR_("."), LNK_("a", "b"), DIR_("a"), REG_("a/x", 5) } },
    { "not sorted", { DIR_("."), REG_("b", 5), REG_("a", 5) } },
    { "gone from nothing", { DIR_("."), { .path = "a", .type = XD_SYNC_GONE } } },
    { "kept of nothing", { DIR_("."), { .path = "a", .type = XD_SYNC_KEPT } } },
    { "unknown type", { DIR_("."), { .path = "a", .type = 9 } } },
    { "too large", { DIR_("."), REG_("a", 1ull << 62) } },
    { "too large by far", { DIR_("."), REG_("a", UINT64_MAX) } },
    { "sum too large", { DIR_("."), REG_("a", (1ull << 62) - 1), REG_("b", (1ull << 62) - 1) } },
    { "long name", { DIR_("."), { .path = long_name, .type = XD_SYNC_FILE, .len = 256, .size = 5 } } },
    { "deep", { DIR_("."), { .path = deep_path, .type = XD_SYNC_FILE, .len = 4999, .size = 5 } } },
    { "link to nothing", { DIR_("."), { .path = "a", .type = XD_SYNC_LINK } } },
    { "long target", { DIR_("."), LNK_("a", long_target) } },
    /* These are trees, but not ones that are taken. */
    { "link out, absolute", { DIR_("."), LNK_("a", "/etc/passwd") } },
    { "link out, up", { DIR_("."), LNK_("a", "../x") } },
    { "link out, by and by", { DIR_("."), DIR_("a"), LNK_("a/l", "b/../../../x") } },
    { "our state", { DIR_("."), REG_(".xd-sync", 5) } },
    { "our temporary file", { DIR_("."), DIR_("a"), LNK_("a/.xd-1", "b") } },
    { "empty file with a digest", { DIR_("."), REG_("a", 0) } },
};

/* The digest that the records have, if they are a tree. */
static xd_digest digest_of_records(const xd_buf *records, uint32_t count)
{
    xd_records              *r;
    xd_manifest             *m = NULL;
    xd_wire_SYNC_RECORD_LIST l = { .records = { count, records->data, records->len } };
    xd_digest                id = { 1, 2 };
    OK(xd_records_new(&r, NULL));
    if (xd_records_add(r, &l, NULL) == 0 && xd_records_end(&r, &m, NULL, NULL, NULL) == 0) {
        id = xd_manifest_digest(m);
        xd_manifest_free(m);
    }
    xd_records_free(r);
    return id;
}

static void evil_names(evil *e, int i)
{
    const name_case *c = &NAMES[i];
    xd_autobuf       records = XD_BUF_INIT;
    uint32_t         count = 0;
    memset(long_name, 'n', 299);
    memset(long_target, 't', 4999);
    for (size_t k = 0; k < 4999; k++)
        deep_path[k] = k % 2 ? '/' : 'd';
    for (; count < 4 && c->r[count].path; count++)
        record(&records, c->r[count].path, c->r[count].len ? c->r[count].len : strlen(c->r[count].path),
               c->r[count].type, c->r[count].size, c->r[count].target ? c->r[count].target : "");
    put_open(e, digest_of_records(&records, count));
    put_list(e, &records, count, true);
    PUT(e, SYNC_END, 0);
}

/* ---- streams that cannot be ------------------------------------------------------------------------------------------- */

enum {
    WRONG_DIGEST, /* of the tree */
    NO_OPEN,
    OPEN_TWICE,
    OPEN_FLAGS,
    DATA_BEFORE_TREE,
    END_TOO_OFTEN,
    KEEP_UNASKED,
    RECORDS_AGAIN,
    RECORDS_ALONE,
    UNKNOWN_FRAME,
    FRAME_OF_FAR,
    FRAME_TOO_LARGE,
    DATA_TOO_LARGE,
    LIST_CUT,
    LIST_COUNT,
    PLAIN_TOO_LARGE,
    PLAIN_WRONG,
    ZSTD_GARBAGE,
    ZSTD_BOMB,
    CODEC_UNKNOWN,
    PIECE_FILE,
    PIECE_AT,
    PIECE_AT_HUGE,
    PIECE_GAP,
    PIECE_OTHER_FILE,
    PIECE_OP,
    AMEND_FILE,
    AMEND_SIZE,
    AMEND_EMPTY,
    AMEND_MODE,
    AMEND_GONE_TWICE,
    BODY_CUT,
    EVIL_STREAMS
};
static const char *const STREAMS[] = {
    "WRONG_DIGEST",     "NO_OPEN",         "OPEN_TWICE",     "OPEN_FLAGS",    "DATA_BEFORE_TREE",
    "END_TOO_OFTEN",    "KEEP_UNASKED",    "RECORDS_AGAIN",  "RECORDS_ALONE", "UNKNOWN_FRAME",
    "FRAME_OF_FAR",     "FRAME_TOO_LARGE", "DATA_TOO_LARGE", "LIST_CUT",      "LIST_COUNT",
    "PLAIN_TOO_LARGE",  "PLAIN_WRONG",     "ZSTD_GARBAGE",   "ZSTD_BOMB",     "CODEC_UNKNOWN",
    "PIECE_FILE",       "PIECE_AT",        "PIECE_AT_HUGE",  "PIECE_GAP",     "PIECE_OTHER_FILE",
    "PIECE_OP",         "AMEND_FILE",      "AMEND_SIZE",     "AMEND_EMPTY",   "AMEND_MODE",
    "AMEND_GONE_TWICE", "BODY_CUT"
};

static void raw_frame(evil *e, uint16_t type, uint32_t len, const void *body, size_t body_len)
{
    uint8_t  head[XD_FRAME_HEADER];
    xd_frame f = { .type = type, .len = len };
    xd_wire_put_header(head, &f);
    OK(xd_buf_add(&e->out, head, sizeof(head)));
    OK(xd_buf_add(&e->out, body, body_len));
}

/* 40 times x (a bomb, as it says that it is 1 MiB, or more). */
#define ZSTD_FRAME "\x28\xb5\x2f\xfd\x20\x28\x45\x00\x00\x10\x78\x78\x01\x00\x1f\x80\x05"

/* Before a tree; true = that was all. */
static bool evil_early(evil *e, int i)
{
    xd_digest id = xd_manifest_digest(e->small.m);
    switch (i) {
    case WRONG_DIGEST:
        id.lo ^= 1;
        put_open(e, id);
        OK(xd_manifest_write(NULL, e->small.m, NULL, NULL, NULL, 4000, put_good_list, e));
        return true;
    case NO_OPEN:
        OK(xd_manifest_write(NULL, e->small.m, NULL, NULL, NULL, 4000, put_good_list, e));
        return true;
    case OPEN_TWICE:
        put_open(e, id);
        put_open(e, id);
        return true;
    case OPEN_FLAGS:
        PUT(e, SYNC_OPEN, .lo = id.lo, .hi = id.hi, .flags = 0x40000000, .folder = XD_BYTES_LIT("x"));
        return true;
    case DATA_BEFORE_TREE:
        put_open(e, id);
        put_piece(e, &(xd_wire_SYNC_PIECE){ .data = XD_BYTES_LIT("aaaa") });
        return true;
    case END_TOO_OFTEN:
        put_open(e, id);
        PUT(e, SYNC_END, 0);
        PUT(e, SYNC_END, 0);
        return true;
    case RECORDS_ALONE:
        put_open(e, id);
        PUT(e, SYNC_RECORDS, .last = 1, .plain_bytes = 4, .inner = XD_BYTES_LIT("\0\0\0\0"));
        return true;
    case LIST_CUT:
        put_open(e, id);
        PUT(e, SYNC_RECORDS, .last = 1, .plain_bytes = 6, .inner = XD_BYTES_LIT("\1\0\0\0ab"));
        return true;
    case LIST_COUNT:
        put_open(e, id);
        PUT(e, SYNC_RECORDS, .last = 1, .plain_bytes = 4, .inner = XD_BYTES_LIT("\xff\xff\xff\xff"));
        return true;
    case PLAIN_TOO_LARGE:
        put_open(e, id);
        PUT(e, SYNC_RECORDS, .last = 1, .codec = 1, .plain_bytes = 0xffffffff,
            .inner = XD_BYTES_LIT(ZSTD_FRAME));
        return true;
    default:
        return false;
    }
}

static void evil_late(evil *e, int i)
{
    xd_digest id = xd_manifest_digest(e->small.m);
    xd_bytes  zeros = XD_BYTES_LIT("\0\0\0\0");
    put_tree(e, &e->small);
    switch (i) {
    case KEEP_UNASKED: /* the first is an answer */
        PUT(e, SYNC_KEEP, .last = 1);
        PUT(e, SYNC_KEEP, .last = 1);
        break;
    case RECORDS_AGAIN:
        OK(xd_manifest_write(NULL, e->small.m, NULL, NULL, NULL, 4000, put_good_list, e));
        break;
    case UNKNOWN_FRAME:
        raw_frame(e, 155, 0, NULL, 0);
        break;
    case FRAME_OF_FAR:
        PUT(e, SYNC_DONE, .lo = id.lo, .hi = id.hi);
        break;
    case FRAME_TOO_LARGE:
        raw_frame(e, XD_MSG_SYNC_KEEP, XD_FRAME_MAX + 1, NULL, 0);
        break;
    case DATA_TOO_LARGE:
        raw_frame(e, XD_MSG_SYNC_DATA, 8u << 20, NULL, 0);
        break;
    case PLAIN_WRONG:
        PUT(e, SYNC_DATA, .plain_bytes = 5, .inner = zeros);
        break;
    case ZSTD_GARBAGE:
        PUT(e, SYNC_DATA, .codec = 1, .plain_bytes = 100, .inner = zeros);
        break;
    case ZSTD_BOMB:
        PUT(e, SYNC_DATA, .codec = 1, .plain_bytes = 1u << 30, .inner = XD_BYTES_LIT(ZSTD_FRAME));
        break;
    case CODEC_UNKNOWN:
        PUT(e, SYNC_DATA, .codec = 2, .plain_bytes = 4, .inner = zeros);
        break;
    case PIECE_FILE:
        put_piece(e, &(xd_wire_SYNC_PIECE){ .file = 3, .data = zeros });
        break;
    case PIECE_AT:
        put_piece(e, &(xd_wire_SYNC_PIECE){ .file = 0, .at = 2, .data = XD_BYTES_LIT("aa") });
        break;
    case PIECE_AT_HUGE:
        put_piece(e, &(xd_wire_SYNC_PIECE){ .file = 0, .data = XD_BYTES_LIT("aa") });
        put_piece(e, &(xd_wire_SYNC_PIECE){ .file = 0, .at = UINT64_MAX - 1, .data = XD_BYTES_LIT("aa") });
        break;
    case PIECE_GAP:
        put_piece(e, &(xd_wire_SYNC_PIECE){ .file = 0, .data = XD_BYTES_LIT("aa") });
        put_piece(e, &(xd_wire_SYNC_PIECE){ .file = 0, .at = 3, .data = XD_BYTES_LIT("a") });
        break;
    case PIECE_OTHER_FILE:
        put_piece(e, &(xd_wire_SYNC_PIECE){ .file = 0, .data = XD_BYTES_LIT("aa") });
        put_piece(e, &(xd_wire_SYNC_PIECE){ .file = 1, .at = 2, .data = XD_BYTES_LIT("aa") });
        break;
    case PIECE_OP:
        put_piece(e, &(xd_wire_SYNC_PIECE){ .file = 0, .op = 2, .data = XD_BYTES_LIT("aa") });
        break;
    case AMEND_FILE:
        PUT(e, SYNC_AMEND, .file = 3, .size = 1);
        break;
    case AMEND_SIZE:
        PUT(e, SYNC_AMEND, .file = 0, .size = UINT64_MAX);
        break;
    case AMEND_EMPTY:
        PUT(e, SYNC_AMEND, .file = 0, .size = 0, .lo = 4);
        break;
    case AMEND_MODE:
        PUT(e, SYNC_AMEND, .file = 0, .size = 4, .mode = 04755);
        break;
    case AMEND_GONE_TWICE:
        PUT(e, SYNC_AMEND, .file = 0, .gone = 1);
        PUT(e, SYNC_AMEND, .file = 0, .gone = 2);
        break;
    case BODY_CUT:
        raw_frame(e, XD_MSG_SYNC_AMEND, 3, "\0\0\0", 3);
        break;
    default:
        ck_abort_msg("no such case");
    }
}

/* ---- all of them --------------------------------------------------------------------------------------------------------- */

static void try_it(evil *e, const char *what)
{
    far_end    far;
    xd_autobuf before = XD_BUF_INIT, after = XD_BUF_INIT;
    uint8_t    answer[4096];
    list_disk(test_folder, "", &before);
    far_start(&far, at("box/far"));
    for (size_t sent = 0; sent < e->out.len;) {
        ssize_t n = send(far.fd, e->out.data + sent, e->out.len - sent, MSG_NOSIGNAL);
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    while (recv(far.fd, answer, sizeof(answer), 0) > 0) /* it ends by itself: home does not close */
        ;
    int status = far_end_wait(&far);
    if (status != 2)
        ck_abort_msg("%s: status %d", what, status);
    list_disk(test_folder, "", &after);
    if (strcmp(xd_buf_cstr(&before), xd_buf_cstr(&after)) != 0)
        ck_abort_msg("%s: %s%s", what, xd_buf_cstr(&before), xd_buf_cstr(&after));
    xd_buf_release(&e->out);
}

/* The folder with a tree of before, and with none; something beside it. */
static void prepare(bool full)
{
    static const thing old[] = { FILE_("a", "old a"), FOLDER_("b"), FILE_("keep/x", "x"), END_ };
    OK(xd_path_mkdirs(at("box"), 0755, NULL));
    put_file(at("box/beside"), "mine");
    put_file(at("above"), "mine");
    if (!full)
        return;
    tree t = tree_of(old);
    home h = sync_ok(at("box/far"), &t, NULL, false);
    home_release(&h);
    tree_free(&t);
}

START_TEST(trees)
{
    for (int full = 0; full < 2; full++) {
        prepare(full);
        for (int i = 0; i < (int)XD_ARRAY_LEN(NAMES); i++) {
            evil e = { 0 };
            evil_names(&e, i);
            try_it(&e, NAMES[i].what);
        }
    }
}
END_TEST

START_TEST(streams)
{
    ck_assert_uint_eq(XD_ARRAY_LEN(STREAMS), EVIL_STREAMS);
    for (int full = 0; full < 2; full++) {
        prepare(full);
        for (int i = 0; i < EVIL_STREAMS; i++) {
            evil e = { .small = tree_of(GOOD) };
            bool early = evil_early(&e, i);
            if (!early)
                evil_late(&e, i);

            if (early || full) /* else folders are made before it is seen */
                try_it(&e, STREAMS[i]);
            xd_buf_release(&e.out);
            tree_free(&e.small);
        }
    }
}
END_TEST

/* A stream that ends anywhere: status 2, and nothing stays that is none of a tree's. */
START_TEST(streams_that_end)
{
    evil e = { .small = tree_of(GOOD) };
    put_tree(&e, &e.small);
    for (uint32_t f = 0; f < 3; f++) {
        put_piece(&e, &(xd_wire_SYNC_PIECE){ .file = f, .data = XD_BYTES_LIT("aa") });
        put_piece(&e, &(xd_wire_SYNC_PIECE){ .file = f, .at = 2, .data = XD_BYTES_LIT("aa") });
    }
    for (size_t len = 0; len < e.out.len; len += 1 + len / 40) {
        far_end far;
        far_start(&far, at("far"));
        ck_assert_int_eq(send(far.fd, e.out.data, len, MSG_NOSIGNAL), (ssize_t)len);
        shutdown(far.fd, SHUT_WR);
        uint8_t answer[4096];
        while (recv(far.fd, answer, sizeof(answer), 0) > 0)
            ;
        ck_assert_int_eq(far_end_wait(&far), 2);
        xd_autobuf is = XD_BUF_INIT;
        list_disk(at("far"), "", &is);
        ck_assert_ptr_null(xd_bytes_find(xd_buf_view(&is), ".xd-"));
    }
    xd_buf_release(&e.out);
    tree_free(&e.small);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("receive_evil");
    TCase *c = tcase_create("evil");
    tcase_add_checked_fixture(c, make_test_folder, drop_test_folder);
    tcase_add_test(c, trees);
    tcase_add_test(c, streams);
    tcase_add_test(c, streams_that_end);
    suite_add_tcase(s, c);
    return run_suite(s);
}
