/* sync/scan_rules.c - the files .gitignore and .xdignore of folders. See scan_state.h and ignore.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sync/scan_state.h"

/* The text of one; empty if there is none, if it is no file or cannot be read. */
static int read_rules(int folder_fd, const char *name, xd_buf *out)
{
    xd_autoclose int fd = xd_open_file(folder_fd, name);
    struct stat      st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return fd == -ENOMEM || fd == -EMFILE || fd == -ENFILE ? fd : 0;
    for (;;) {
        XD_TRY(xd_buf_reserve(out, 4096));
        ssize_t n = read(fd, out->data + out->len, XD_MIN(out->cap - out->len, (size_t)1 << 20));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            xd_buf_clear(out);
            return 0;
        }
        if (n == 0)
            return 0;
        out->len += (size_t)n;
        if (out->len > XD_IGNORE_TEXT_MAX)
            return -E2BIG;
    }
}

int xd_rules_of(xd_ignore *above, xd_bytes dir, int fd, bool has_git, bool has_xd, xd_ignore **ret)
{
    xd_autobuf git = XD_BUF_INIT, own = XD_BUF_INIT;
    if (has_git)
        XD_TRY(read_rules(fd, ".gitignore", &git));
    if (has_xd)
        XD_TRY(read_rules(fd, ".xdignore", &own));
    if (git.len == 0 && own.len == 0) {
        *ret = xd_ignore_ref(above);
        return 0;
    }
    return xd_ignore_child(above, dir, xd_buf_view(&git), xd_buf_view(&own), ret);
}

/* Begins with the folder that args->above counts from, and ends with the one above the base. */
static int add_above(const xd_scan_args *args, xd_ignore **rules)
{
    size_t above = strlen(args->above), base = strlen(args->base);
    if (base < above)
        return -EINVAL;
    for (size_t at = 0; at < above;) {
        char *folder = xd_bytes_dup((xd_bytes){ (const uint8_t *)args->base, base - above + at });
        if (!folder)
            return -ENOMEM;
        xd_autoclose int fd = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        free(folder);
        xd_ignore *next = NULL;
        size_t     dir = at ? at - 1 : 0; /* without the slash */
        if (fd >= 0)
            XD_TRY(
                xd_rules_of(*rules, (xd_bytes){ (const uint8_t *)args->above, dir }, fd, true, true, &next));
        if (next) {
            xd_ignore_free(*rules);
            *rules = next;
        }
        const char *slash = strchr(args->above + at, '/');
        at = slash ? (size_t)(slash - args->above) + 1 : above;
    }
    return 0;
}

int xd_rules_first(const xd_scan_args *args, xd_ignore **ret)
{
    xd_auto(xd_ignore) *rules = NULL;
    if (args->rules) {
        rules = xd_ignore_ref(args->rules);
    } else {
        XD_TRY(xd_ignore_new(args->base, &rules));
        XD_TRY(xd_ignore_add_defaults(rules));
    }
    if (args->above)
        XD_TRY(add_above(args, &rules));
    *ret = xd_take(&rules);
    return 0;
}

/* ---- a path that need not exist ------------------------------------------------------------------------------------ */

/* A folder on the way to the path that was asked for last. */
typedef struct step {
    size_t         len;   /* of its path, with args->above */
    int            fd;    /* -1: it is not there, so it has no rules */
    xd_ignore     *rules; /* that hold in it */
    const xd_plan *plan;
    bool           inside;
    bool           left_out; /* so only what leads to a root is in the tree */
} step;

struct xd_scan_asker {
    const xd_scan_args *args;
    xd_plan            *plan;
    size_t              skip; /* of args->above and its slash */
    size_t              count;
    step                step[XD_MANIFEST_DEPTH_MAX + 1]; /* the base is the first */
    xd_buf              path;                            /* that was asked for */
};

static void drop_step(xd_scan_asker *a)
{
    step *s = &a->step[--a->count];
    if (s->fd >= 0)
        close(s->fd);
    xd_ignore_free(s->rules);
}

xd_scan_asker *xd_scan_asker_free(xd_scan_asker *a)
{
    if (a) {
        while (a->count)
            drop_step(a);
        xd_plan_free(a->plan);
        xd_buf_release(&a->path);
        free(a);
    }
    return NULL;
}

/* Is a folder that cannot be opened one without rules? Not if this process merely lacks something: what it says then would have files removed. */
static bool is_fault(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOMEM;
}

/* The folder that is open as `fd`, which becomes the asker's. */
static int push_step(xd_scan_asker *a, step s, xd_ignore *above)
{
    if (a->count == XD_ARRAY_LEN(a->step))
        return -ENAMETOOLONG;
    step *at = &a->step[a->count];
    *at = s;
    size_t dir = s.len - (s.len && s.len == a->skip); /* without the slash behind args->above */
    if (s.fd >= 0)
        XD_TRY(xd_rules_of(above, (xd_bytes){ a->path.data, dir }, s.fd, true, true, &at->rules));
    else
        at->rules = xd_ignore_ref(above);
    a->count++;
    return 0;
}

static int add_base(xd_scan_asker *a)
{
    xd_auto(xd_ignore) *first = NULL;
    XD_TRY(xd_rules_first(a->args, &first));
    if (a->args->above && *a->args->above)
        XD_TRY(xd_buf_printf(&a->path, "%s/", a->args->above));
    a->skip = a->path.len;
    step s = { .len = a->skip, .plan = a->plan, .inside = a->plan->is_root };
    s.fd = open(a->args->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s.fd < 0)
        return -errno;
    int r = push_step(a, s, first);
    if (r < 0)
        close(s.fd);
    return r;
}

int xd_scan_asker_new(xd_scan_asker **ret, const xd_scan_args *args)
{
    xd_auto(xd_scan_asker) *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->args = args;
    XD_TRY(xd_plan_new(&a->plan, args->roots, NULL));
    XD_TRY(add_base(a));
    *ret = xd_take(&a);
    return 0;
}

/* What is true of a name in the folder on top: s->plan, inside and left_out are filled in. */
static void judge(const xd_scan_asker *a, size_t at, size_t end, bool is_folder, step *s)
{
    const step *top = &a->step[a->count - 1];
    *s = (step){ .len = end, .fd = -1, .inside = top->inside, .left_out = top->left_out };
    s->plan = xd_plan_child(top->plan, (xd_bytes){ a->path.data + at, end - at });
    if (s->plan && s->plan->is_root) {
        s->inside = true;
        s->left_out = false;
    } else if (s->inside && xd_ignore_match(top->rules, (const char *)a->path.data, end, is_folder)) {
        s->inside = false; /* a folder that leads to a root stays, with nothing else in it */
        s->left_out = true;
    }
}

/* Steps down from the folder on top to that of the path, as long as the path is not left out. */
static int descend(xd_scan_asker *a, bool is_folder, bool *ret)
{
    for (;;) {
        const step *top = &a->step[a->count - 1];
        size_t      at = top->len + (top->len != a->skip), end = a->path.len - 1; /* a NUL is behind it */
        uint8_t    *slash = memchr(a->path.data + at, '/', end - at);
        step        s;
        end = slash ? (size_t)(slash - a->path.data) : end;
        judge(a, at, end, slash || is_folder, &s);
        *ret = s.left_out && !s.plan;
        if (!slash || (!s.inside && !s.plan))
            return 0;
        *slash = 0;
        if (top->fd >= 0) /* what the user named may be a link */
            s.fd = openat(top->fd, (const char *)a->path.data + at,
                          O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK | (s.plan ? 0 : O_NOFOLLOW));
        int fault = top->fd >= 0 && s.fd < 0 && is_fault(errno) ? -errno : 0;
        *slash = '/';
        int r = fault ? fault : push_step(a, s, top->rules);
        if (r < 0 && s.fd >= 0)
            close(s.fd);
        XD_TRY(r);
    }
}

int xd_scan_asker_ask(xd_scan_asker *a, xd_bytes path, bool is_folder, bool *ret)
{
    *ret = false;
    if (path.len == 0 || xd_bytes_eq_str(path, "."))
        return 0;
    while (a->count > 1) { /* folders that are not above this path */
        size_t len = a->step[a->count - 1].len - a->skip;
        if (len < path.len && path.ptr[len] == '/' && memcmp(path.ptr, a->path.data + a->skip, len) == 0)
            break;
        drop_step(a);
    }
    a->path.len = a->skip;
    XD_TRY(xd_buf_add_bytes(&a->path, path));
    XD_TRY(xd_buf_add_byte(&a->path, 0));
    return descend(a, is_folder, ret);
}

int xd_scan_ignores(const xd_scan_args *args, xd_bytes path, bool is_folder, bool *ret)
{
    xd_auto(xd_scan_asker) *a = NULL;
    XD_TRY(xd_scan_asker_new(&a, args));
    return xd_scan_asker_ask(a, path, is_folder, ret);
}
