/* actors/sync_path.c - see sync_path.h. */
#include "actors/sync_path.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"

#define LINKS_MAX 40

/* Path so far (never a slash at its end; "" = the root), and what is still to be gone. */
typedef struct walk {
    xd_buf done, rest;
    int    links;
} walk;

static void up(xd_buf *path)
{
    while (path->len && path->data[path->len - 1] != '/')
        path->len--;
    path->len -= path->len > 0;
}

/* The target takes the place of the link's name. */
static int follow(walk *w, xd_strings *links)
{
    char       target[PATH_MAX];
    xd_autobuf rest = XD_BUF_INIT;
    ssize_t    n = readlink(xd_buf_cstr(&w->done), target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    if (++w->links > LINKS_MAX)
        return -ELOOP;
    XD_TRY(links ? xd_strings_add(links, xd_buf_cstr(&w->done)) : 0);
    if (target[0] == '/')
        xd_buf_clear(&w->done);
    else
        up(&w->done);
    XD_TRY(xd_buf_add(&rest, target, (size_t)n));
    XD_TRY(xd_buf_add_byte(&rest, '/'));
    XD_TRY(xd_buf_add_bytes(&rest, xd_buf_view(&w->rest)));
    xd_buf_clear(&w->rest);
    return xd_buf_add_bytes(&w->rest, xd_buf_view(&rest));
}

/* Takes the next name off the rest. */
static int step(walk *w, bool look, xd_strings *links)
{
    xd_autobuf name = XD_BUF_INIT;
    size_t     len = 0;
    while (len < w->rest.len && w->rest.data[len] != '/')
        len++;
    XD_TRY(xd_buf_add(&name, w->rest.data, len));
    xd_buf_consume(&w->rest, XD_MIN(len + 1, w->rest.len));
    if (!len || (len == 1 && name.data[0] == '.'))
        return 0;
    if (len == 2 && memcmp(name.data, "..", 2) == 0) {
        up(&w->done);
        return 0;
    }
    struct stat st;
    XD_TRY(xd_buf_add_byte(&w->done, '/'));
    XD_TRY(xd_buf_add_bytes(&w->done, xd_buf_view(&name)));
    if (!look)
        return 0;
    if (lstat(xd_buf_cstr(&w->done), &st) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode))
        return follow(w, links);
    return w->rest.len && !S_ISDIR(st.st_mode) ? -ENOTDIR : 0;
}

static int go(const char *path, bool look, char **ret, xd_strings *links)
{
    walk w = { 0 };
    int  r = xd_buf_add_str(&w.rest, path);
    while (r == 0 && w.rest.len)
        r = step(&w, look, links);
    if (r == 0 && !(*ret = strdup(w.done.len ? xd_buf_cstr(&w.done) : "/")))
        r = -ENOMEM;
    xd_buf_release(&w.done);
    xd_buf_release(&w.rest);
    return r;
}

int xd_sync_path_real(const char *path, char **ret, xd_strings *links)
{
    return go(path, true, ret, links);
}

char *xd_sync_path_clean(const char *path)
{
    char *clean = NULL;
    return go(path, false, &clean, NULL) < 0 ? NULL : clean;
}

char *xd_sync_path_from(const char *from, const char *to)
{
    xd_autobuf out = XD_BUF_INIT;
    size_t     same = 0; /* length of the names that both begin with */
    from += strspn(from, "/");
    to += strspn(to, "/");
    for (size_t i = 0;; i++) {
        const bool from_ends = !from[i] || from[i] == '/', to_ends = !to[i] || to[i] == '/';
        if (from_ends && to_ends)
            same = i;
        if (from[i] != to[i] || !from[i])
            break;
    }
    int r = 0;
    for (const char *c = from + same; *c && r == 0; c++)
        if (*c != '/' && (c == from || c[-1] == '/'))
            r = xd_buf_add_str(&out, out.len ? "/.." : "..");
    const char *rest = to + same + strspn(to + same, "/");
    if (r == 0 && *rest)
        r = xd_buf_add_str(&out, out.len ? "/" : "");
    if (r == 0)
        r = xd_buf_add_str(&out, *rest || out.len ? rest : ".");
    return r < 0 ? NULL : strdup(xd_buf_cstr(&out));
}

bool xd_sync_path_is_home(const char *path)
{
    xd_autofree char *home = NULL;
    const char       *name = getenv("HOME");
    return name && name[0] == '/' && xd_sync_path_real(name, &home, NULL) == 0 && strcmp(home, path) == 0;
}

int xd_sync_path_git_top(const char *dir, char **ret)
{
    xd_autofree char *at = strdup(dir);
    if (!at)
        return -ENOMEM;
    do {
        struct stat       st;
        xd_autofree char *git = xd_path_join(at, ".git"); /* in a worktree of git it is a file */
        if (!git)
            return -ENOMEM;
        if (lstat(git, &st) != 0)
            continue;
        if (!xd_sync_path_is_home(at) && strcmp(at, "/") != 0)
            *ret = xd_take(&at);
        return 0;
    } while (xd_path_up(at));
    return 0;
}
