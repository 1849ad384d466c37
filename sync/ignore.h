/* sync/ignore.h - which names of a tree are left out: xdist's defaults and globs, .gitignore and .xdignore files. Pure:
 * no I/O.
 *
 * Rules are a chain of nodes. The first holds the defaults and the globs; each folder that has a .gitignore or
 * .xdignore adds one, which refers to that of the folder above (xd_ignore_child). A node does not change once it has a
 * child or is asked, so any number of threads may ask, and add children, at once and without a lock. Nodes are counted:
 * free one when its folder has been walked.
 *
 * Precedence, the highest first; the first that says something decides:
 *   1. `.git`, and our own temporary names `.xd-*`: always left out;
 *   2. globs (--rsyncignore, ini and conftest.py): they can only leave out;
 *   3. .xdignore files: the deepest folder first, in a file the last line first;
 *   4. .gitignore files, likewise;
 *   5. the defaults.
 * So `!.env` in .xdignore brings back what the defaults leave out, and `!build` what .gitignore does.
 *
 * As in git nothing below a folder that is left out can be brought back: the caller does not look into such a folder
 * and does not ask about what is in it. Roots of a synchronisation are not asked about either: who names one wants it.
 *
 * Not read, other than by git: .git/info/exclude, core.excludesFile; core.ignoreCase is always false. A .gitignore that
 * is a symbolic link is nothing to git: do not read it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "engine/base/buf.h"
#include "sync/manifest.h"

#define XD_IGNORE_TEXT_MAX (4u << 20) /* bytes of one .gitignore or .xdignore */
#define XD_IGNORE_GLOB_MAX 65536u     /* bytes of one glob */

typedef struct xd_ignore xd_ignore;

/* The first node, without rules yet. base: the absolute path of the folder that all paths are relative to (globs are
 * also matched with absolute paths); copied. It need not be the tree's: where the .gitignore files above the tree are
 * to count too, it is the top of the working tree, and all paths begin there. -EINVAL (not absolute), -ENOMEM. */
int xd_ignore_new(const char *base, xd_ignore **ret) XD_MUST;
/* One owner more. */
xd_ignore *xd_ignore_ref(const xd_ignore *ig);
/* One owner less; the last one frees it. NULL ok; returns NULL. */
xd_ignore *xd_ignore_free(xd_ignore *ig);
XD_DEFINE_AUTO(xd_ignore, xd_ignore_free)

/* To the first node, before it has a child or is asked: what is left out where nobody says anything. xdist's list is
 * `.*`, `*.pyc`, `*.pyo`, `*~`. Ours leaves out `__pycache__` folders as well, of which xdist leaves nothing but the
 * bare folder, and keeps what says how the tests run: the dot files that pytest and coverage read (.pytest.ini,
 * .pytest.toml, .coveragerc). -ENOMEM. */
int xd_ignore_add_defaults(xd_ignore *ig) XD_MUST;
/* To the first node, before it has a child or is asked: a glob, as Python's fnmatch has them: `*` any text, `/` too;
 * `?` a character (of UTF-8); [...], [!...]; nothing is quoted. A `/` at the end counts for nothing.
 *   dir NULL   as xdist does --rsyncignore: it is matched with the last name of a path and with the absolute path. So
 *              `*.dat` and `/home/me/proj/data` leave out something, `tests/data` nothing.
 *   dir        the glob is relative to this folder (itself relative to base, "" = base): matched with what stands
 *              behind `dir/`. So xdist reads the ini-file's rsyncignore, and so the list in a conftest.py is meant.
 *              Leading `./` and `../` are followed. Use it too, a second time, with the working folder for a
 *              --rsyncignore with a `/` in it.
 * -E2BIG (longer than XD_IGNORE_GLOB_MAX), -ENOMEM. */
int xd_ignore_add_glob(xd_ignore *ig, const char *dir, xd_bytes glob) XD_MUST;

/* A node for the folder `dir` (relative to base, "" = base itself, no slash at the end): the texts of its .gitignore
 * and .xdignore, empty views if it has none. The grammar is gitignore(5), the details are git's (2.52): a byte order
 * mark is skipped, CR before LF dropped, NUL ends a line's pattern. Where neither text has a rule, *ret is the parent,
 * with one owner more. *ret refers to parent. Any thread. -E2BIG (longer than XD_IGNORE_TEXT_MAX), -ENOMEM. */
int xd_ignore_child(const xd_ignore *parent, xd_bytes dir, xd_bytes gitignore, xd_bytes xdignore,
                    xd_ignore **ret) XD_MUST;

/* Is this path left out? path: relative to base, not empty, no slash at either end; it lies below ig's folder, and
 * none of the folders on the way is left out. Allocates nothing; the time is bounded by a small power of
 * the lengths of path and patterns. Any thread. */
bool xd_ignore_match(const xd_ignore *ig, const char *path, size_t len, bool is_folder);

/* Of all rules of the node and of those above it, comments and empty lines left out: equal where the same names are
 * left out for the same reasons. For a whole tree add up those of all nodes. Any thread. In this
 * machine's byte order: not for the wire. The rules have no encoded form either, as the home end alone decides. */
xd_digest xd_ignore_digest(const xd_ignore *ig);
