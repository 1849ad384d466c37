/* actors/sync_request.c - see sync_request.h. */
#include "actors/sync_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "actors/refuse.h"
#include "actors/rootdir.h"
#include "actors/sync_path.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "gateways/transport.h"

void xd_sync_job_release(xd_sync_job *job)
{
    for (size_t i = 0; i < job->n_parts; i++) {
        free(job->parts[i].base);
        xd_strings_release(&job->parts[i].roots);
    }
    free(job->parts);
    for (size_t i = 0; i < job->n_places; i++) {
        free(job->places[i].text);
        free(job->places[i].path);
        xd_xspec_release(&job->places[i].spec);
    }
    free(job->places);
    xd_strings_release(&job->globs);
    *job = XD_SYNC_JOB_INIT;
}

/* ---- sources --------------------------------------------------------------------------------------------- */

/* Of a source. */
typedef struct source {
    const char *text;
    char       *clean, *real; /* as a text; without links */
    bool        folder;
    bool        inside; /* what is in it is meant: a slash at its end, . and .. */
} source;

static bool names_inside(const char *text)
{
    const char *last = xd_path_base(text);
    return !*last || strcmp(last, ".") == 0 || strcmp(last, "..") == 0;
}

static int cannot(const source *s, const char *why, xd_error *err)
{
    return xd_error_set(err, -EINVAL, "source '%.300s' %s", s->text, why);
}

static int look(source *s, const char *work, xd_error *err)
{
    struct stat       st;
    xd_autofree char *whole = xd_path_join(work, s->text);
    if (!*s->text)
        return xd_error_set(err, -EINVAL, "a source without a name; . is the current folder");
    s->inside = names_inside(s->text);
    if (!whole || !(s->clean = xd_sync_path_clean(whole)))
        return -ENOMEM;
    if ((s->inside ? stat(s->clean, &st) : lstat(s->clean, &st)) < 0)
        return cannot(s, errno == ENOENT || errno == ENOTDIR ? "is not there" : strerror(errno), err);
    if (S_ISLNK(st.st_mode))
        return cannot(s, "is a symbolic link: name what it leads to, or put a slash behind it", err);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return cannot(s, "is neither a folder nor a file", err);
    s->folder = S_ISDIR(st.st_mode);
    if (s->inside && !s->folder)
        return cannot(s, "is no folder, and has a slash at its end", err);
    const int r = xd_sync_path_real(s->clean, &s->real, NULL);
    if (r < 0)
        return r == -ENOMEM ? r : cannot(s, xd_error_name(r), err);
    return strcmp(s->real, "/") == 0 ? cannot(s, "is the whole file system", err) : 0;
}

static int new_part(xd_sync_job *job, char **dir, xd_sync_part **ret)
{
    xd_sync_part *more = realloc(job->parts, (job->n_parts + 1) * sizeof(*more));
    if (!more)
        return -ENOMEM;
    job->parts = more;
    *ret = &more[job->n_parts++];
    **ret = (xd_sync_part){ .base = xd_take(dir) };
    return 0;
}

/* Two names for one place, or one for all of it. */
static int check_place(const xd_sync_job *job, const source *s, const char *dir, const char *name,
                       xd_error *err)
{
    for (size_t i = 0; i < job->n_parts; i++) {
        const xd_sync_part *p = &job->parts[i];
        const bool          same = strcmp(p->base, dir) == 0;
        for (size_t k = 0; k < p->roots.count; k++) {
            const char *other = p->roots.at[k];
            if (!same && (s->inside || strcmp(other, ".") == 0))
                return cannot(s,
                              "cannot be brought with the others: one is what is in a folder, and would meet "
                              "them there; take two calls",
                              err);
            if (strcmp(other, name) == 0)
                return cannot(s, same ? "is named twice" : "would get the place of another one of that name",
                              err);
        }
    }
    return 0;
}

/* With those that lie in the same folder; of what is in a folder, that one. */
static int take_source(xd_sync_job *job, const source *s, xd_error *err)
{
    const char       *name = s->inside ? "." : xd_path_base(s->real);
    xd_autofree char *dir = s->inside ? strdup(s->real) : xd_path_dir(s->real);
    xd_sync_part     *part = NULL;
    if (!dir)
        return -ENOMEM;
    XD_TRY(check_place(job, s, dir, name, err));
    for (size_t i = 0; i < job->n_parts && !part; i++)
        if (strcmp(job->parts[i].base, dir) == 0)
            part = &job->parts[i];
    XD_TRY(part ? 0 : new_part(job, &dir, &part));
    return xd_strings_add(&part->roots, name);
}

static int read_sources(xd_sync_job *job, const char *const *sources, const char *work, xd_error *err)
{
    int r = 0;
    for (size_t i = 0; sources[i] && r == 0; i++) {
        source s = { .text = sources[i] };
        r = look(&s, work, err);
        if (r == 0 && s.real)
            r = take_source(job, &s, err);
        free(s.clean);
        free(s.real);
    }
    return r;
}

/* ---- targets --------------------------------------------------------------------------------------------- */

/* The last colon in front of an absolute path or the home folder; else the last one behind which nothing looks like a part of a spec. */
const char *xd_sync_target_path(const char *target)
{
    const char *last = NULL;
    for (const char *c = target; *c; c++)
        if (c[0] == ':' && (c[1] == '~' || (c[1] == '/' && c[2] != '/')))
            last = c + 1;
    if (last)
        return last;
    last = strrchr(target, ':');
    return last && !strchr(last, '=') && !strstr(last, "//") ? last + 1 : NULL;
}

static int bad_target(const char *target, const char *why, xd_error *err)
{
    return xd_error_set(err, -EINVAL, "destination '%.300s': %s", target, why);
}

/* A number of workers, also 1, is none of a place. */
static bool is_multiplied(const char *spec)
{
    const size_t digits = strspn(spec, "0123456789");
    return digits && spec[digits] == '*';
}

static int check_spec(const xd_sync_place *p, xd_error *err)
{
    const xd_xspec *s = &p->spec;
    if (s->count != 1)
        return bad_target(p->text, "cpus= says how many workers, and there are none", err);
    if (s->chdir)
        return bad_target(p->text, "the folder stands behind the colon, not in chdir=", err);
    if (s->via)
        return bad_target(
            p->text, "via= is of xdctl run: name the way in ssh_config (ProxyJump), or as ssh=-J GATE HOST",
            err);
    return 0;
}

/* Of this host: absolute. Elsewhere relative ones count from the home folder, as ~/ does. */
static int set_path(xd_sync_place *p, const char *path, const char *work, xd_error *err)
{
    const bool home = path[0] == '~';
    if (!*path)
        return bad_target(p->text, "no folder stands behind the colon; . is the home folder there", err);
    if (home && path[1] && path[1] != '/')
        return bad_target(p->text, "~/ is the only short name of a folder", err);
    if (p->spec.kind == XD_SPEC_POPEN) {
        xd_autofree char *whole = NULL;
        XD_TRY(home ? xd_path_absolute_home(path, &whole) : (whole = xd_path_join(work, path)) ? 0 : -ENOMEM);
        p->path = xd_sync_path_clean(whole);
    } else {
        path += home;
        path += home ? strspn(path, "/") : 0;
        p->path = strdup(*path ? path : ".");
    }
    return p->path ? 0 : -ENOMEM;
}

static int read_target(xd_sync_place *p, const char *text, const char *work, xd_error *err)
{
    const char *path = xd_sync_target_path(text);
    p->text = strdup(text);
    if (!p->text)
        return -ENOMEM;
    if (!path)
        return bad_target(text, "it is SPEC:PATH, as ssh=host:/path or popen:/path", err);
    xd_autofree char *spec = strndup(text, (size_t)(path - 1 - text));
    if (!spec)
        return -ENOMEM;
    if (is_multiplied(spec))
        return bad_target(text, "a number in front is of workers: a place gets its files once", err);
    XD_TRY(xd_xspec_parse(&p->spec, spec, err));
    XD_TRY(xd_refuse_spec(&p->spec, xd_transport_known(&p->spec), err));
    XD_TRY(check_spec(p, err));
    return set_path(p, path, work, err);
}

/* Without links, as far as it exists. */
static int settled(const char *path, char **ret)
{
    xd_autofree char *at = strdup(path);
    if (!at)
        return -ENOMEM;
    for (;;) {
        xd_autofree char *real = NULL;
        const int         r = xd_sync_path_real(at, &real, NULL);
        if (r == 0 && real) {
            const char *rest = path + strlen(at);
            rest += strspn(rest, "/");
            *ret = *rest ? xd_path_join(real, rest) : xd_take(&real);
            return *ret ? 0 : -ENOMEM;
        }
        if (r == -ENOMEM || !xd_path_up(at))
            return r;
    }
}

/* On this host, a tree must not be brought into itself or over what it is read from. */
static int check_apart_of(const xd_sync_part *part, const char *top, const xd_sync_place *p, xd_error *err)
{
    for (size_t i = 0; i < part->roots.count; i++) {
        xd_autofree char *from = xd_path_join(part->base, part->roots.at[i]),
                         *to = xd_path_join(top, part->roots.at[i]);
        xd_autofree char *origin = from ? xd_sync_path_clean(from) : NULL,
                         *copy = to ? xd_sync_path_clean(to) : NULL;
        if (!origin || !copy)
            return -ENOMEM;
        if (xd_path_is_below(copy, origin) || xd_path_is_below(origin, copy))
            return bad_target(p->text, "it is, or lies in or above, what is to be brought there", err);
    }
    return 0;
}

static int check_apart(const xd_sync_job *job, const xd_sync_place *p, xd_error *err)
{
    xd_autofree char *top = NULL;
    if (p->spec.kind != XD_SPEC_POPEN || !p->path)
        return 0;
    XD_TRY(settled(p->path, &top));
    for (size_t i = 0; i < job->n_parts; i++)
        XD_TRY(check_apart_of(&job->parts[i], top, p, err));
    return 0;
}

static int read_targets(xd_sync_job *job, const char *const *targets, size_t count, const char *work,
                        xd_error *err)
{
    if (!(job->places = calloc(count, sizeof(*job->places))))
        return -ENOMEM;
    for (; job->n_places < count;) {
        xd_sync_place *p = &job->places[job->n_places++]; /* also a half-made one is released */
        XD_TRY(read_target(p, targets[job->n_places - 1], work, err));
        XD_TRY(check_apart(job, p, err));
        for (size_t i = 0; i + 1 < job->n_places; i++)
            if (strcmp(job->places[i].spec.text, p->spec.text) == 0 &&
                strcmp(job->places[i].path, p->path) == 0)
                return bad_target(p->text, "it is named twice", err);
    }
    return 0;
}

/* ---- globs ------------------------------------------------------------------------------------------------- */

/* One with a slash counts from here, too: as an absolute one, in which nothing of this folder's own name is a wildcard. */
static int add_from_here(xd_sync_job *job, const char *glob, const char *work)
{
    xd_autobuf text = XD_BUF_INIT;
    for (const char *c = work; *c; c++)
        XD_TRY(strchr("*?[", *c) ? xd_buf_printf(&text, "[%c]", *c) : xd_buf_add_byte(&text, (uint8_t)*c));
    XD_TRY(xd_buf_printf(&text, "/%s", glob));
    xd_autofree char *clean = xd_sync_path_clean(xd_buf_cstr(&text));
    return clean ? xd_strings_add(&job->globs, clean) : -ENOMEM;
}

static int read_globs(xd_sync_job *job, const char *const *ignore, const char *work)
{
    for (size_t i = 0; ignore && ignore[i]; i++) {
        const char *glob = ignore[i];
        XD_TRY(xd_strings_add(&job->globs, glob));
        XD_TRY(glob[0] != '/' && strchr(glob, '/') ? add_from_here(job, glob, work) : 0);
    }
    return 0;
}

/* ---------------------------------------------------------------------------------------------------------------- */

static int make(xd_sync_job *job, const char *const *sources, const char *const *targets,
                const char *const *ignore, const char *work, xd_error *err)
{
    const size_t n_targets = xd_words_of(targets).n;
    if (!n_targets)
        return xd_error_set(err, -EINVAL, "no destination is named: SPEC:PATH, as ssh=host:/path");
    if (!sources[0])
        return xd_error_set(err, -EINVAL, "no source is named");
    XD_TRY(read_sources(job, sources, work, err));
    XD_TRY(read_targets(job, targets, n_targets, work, err));
    return read_globs(job, ignore, work);
}

int xd_sync_job_make(xd_sync_job *ret, const char *const *sources, const char *const *targets,
                     const char *const *ignore, const xd_folders *where, xd_error *err)
{
    xd_autofree char *work = NULL;
    xd_sync_job       job = XD_SYNC_JOB_INIT;
    int               r = where->work ? xd_sync_path_real(where->work, &work, NULL) : -ENOENT;
    if (r < 0)
        return xd_error_set(err, r, "cannot work in the current folder: %s", xd_error_name(r));
    r = make(&job, sources, targets, ignore, work, err);
    if (r < 0)
        xd_sync_job_release(&job);
    else
        *ret = job;
    return r;
}
