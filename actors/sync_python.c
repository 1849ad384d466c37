/* actors/sync_python.c - see sync_python.h. */
#include "actors/sync_python.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/rootdir.h"
#include "actors/sync_path.h"
#include "engine/base/command.h"
#include "engine/base/path.h"
#include "engine/base/text.h"
#include "engine/interp.h"

#define SAID_LIMIT (1u << 20)

/* Says "path FOLDER" for each folder that a .pth file or a finder of setuptools adds to sys.path, "other NAME FOLDER" for a package that is called otherwise than its folder.
 * No module of the project's is imported, whatever its name is; nothing is where nothing needs it, as it is waited for. */
static const char script[] =
    "import os, sys\n"
    "out = getattr(sys.stdout, 'buffer', sys.stdout)\n"
    "old = str is bytes\n" /* Python 2: paths and texts are bytes */
    "def say(*words):\n"
    "    text = ' '.join(words)\n"
    "    if '\\n' not in text:\n"
    "        out.write(text + '\\n' if old else os.fsencode(text + '\\n'))\n"
    "def text_of(name):\n"
    "    try:\n"
    "        with open(name) if old else open(name, encoding='utf-8', errors='surrogateescape') as f:\n"
    "            return f.read()\n"
    "    except (IOError, OSError):\n"
    "        return ''\n"
    "def pth(folder, name):\n"
    "    for line in text_of(os.path.join(folder, name)).splitlines():\n"
    "        line = line.strip()\n"
    "        if line and not line.startswith(('#', 'import ', 'import\\t')):\n"
    "            say('path', os.path.join(folder, line))\n"
    "def finder(folder, name):\n"
    "    paths, sys.path[:] = sys.path[:], [os.path.dirname(os.__file__)]\n"
    "    import ast, re\n"
    "    sys.path[:] = paths\n"
    "    found = re.search(r'^MAPPING\\b[^={]*= *(\\{.*\\})', text_of(os.path.join(folder, name)), re.M)\n"
    "    for package, path in sorted(ast.literal_eval(found.group(1)).items()) if found else ():\n"
    "        tail = os.sep + package.replace('.', os.sep)\n"
    "        bare = path[:-3] if path.endswith('.py') else path\n"
    "        if bare.endswith(tail):\n"
    "            say('path', bare[:-len(tail)] or os.sep)\n"
    "        else:\n"
    "            say('other', package, path)\n"
    "for folder in list(sys.path):\n"
    "    if os.path.basename(folder) in ('site-packages', 'dist-packages') and os.path.isdir(folder):\n"
    "        for name in sorted(os.listdir(folder)):\n"
    "            try:\n"
    "                if name.endswith('.pth'):\n"
    "                    pth(folder, name)\n"
    "                elif name.startswith('__editable__') and name.endswith('_finder.py'):\n"
    "                    finder(folder, name)\n"
    "            except (SyntaxError, ValueError):\n"
    "                pass\n";

/* The name of a path that is brought, relative to base; *ret stays NULL when it is not. */
static int brought(const xd_sync_plan *p, const char *real, char **ret)
{
    if (!xd_path_is_below(real, p->base))
        return 0;
    xd_autofree char *name = xd_sync_path_from(p->base, real);
    if (!name)
        return -ENOMEM;
    for (size_t i = 0; i < p->roots.count && !*ret; i++)
        if (xd_path_is_below(name, p->roots.at[i]))
            *ret = xd_take(&name);
    return 0;
}

static int add(xd_sync_plan *p, const char *name)
{
    for (size_t i = 0; i < p->python_path.count; i++)
        if (strcmp(p->python_path.at[i], name) == 0)
            return 0;
    return xd_strings_add(&p->python_path, name);
}

static int note(xd_sync_plan *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int note(xd_sync_plan *p, const char *fmt, ...)
{
    xd_autobuf text = XD_BUF_INIT, safe = XD_BUF_INIT;
    va_list    ap;
    va_start(ap, fmt);
    int r = xd_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    if (r == 0)
        r = xd_text_harmless(&safe, xd_buf_view(&text), false);
    return r < 0 ? r : xd_strings_add(&p->notes, xd_buf_cstr(&safe));
}

/* told: it is worth a line when it is not brought. */
static int take_folder(xd_sync_plan *p, const char *path, bool told)
{
    xd_autofree char *real = NULL, *name = NULL;
    const int         r = xd_sync_path_real(path, &real, NULL);
    if (r < 0 || !xd_path_is_dir(real)) /* Python passes over it, too */
        return r == -ENOMEM ? r : 0;
    XD_TRY(brought(p, real, &name));
    if (name)
        return add(p, name);
    return told
               ? note(
                     p,
                     "packages are found in %s here, which is not brought to the hosts: --rsyncdir brings it",
                     real)
               : 0;
}

int xd_sync_python_take(xd_sync_plan *p, xd_bytes said)
{
    for (size_t at = 0; at < said.len;) {
        const uint8_t    *begin = said.ptr + at, *end = memchr(begin, '\n', said.len - at);
        const size_t      len = end ? (size_t)(end - begin) : said.len - at;
        xd_autofree char *line = xd_bytes_dup((xd_bytes){ begin, len });
        if (!line)
            return -ENOMEM;
        at += len + 1;
        char *path = strncmp(line, "other ", 6) == 0 ? strchr(line + 6, ' ') : NULL;
        if (strncmp(line, "path ", 5) == 0)
            XD_TRY(take_folder(p, line + 5, true));
        if (!path)
            continue;
        *path++ = 0;
        XD_TRY(note(p,
                    "package %s is installed in editable mode from %s, under another name: it is not found "
                    "on the hosts",
                    line + 6, path));
    }
    return 0;
}

/* $PYTHONPATH of this program: what counts from the folder that the run takes place in. */
static int take_environment(xd_sync_plan *p, const char *work)
{
    const char *paths = getenv("PYTHONPATH");
    for (size_t len; paths && *paths; paths += len + (paths[len] == ':')) {
        len = strcspn(paths, ":");
        xd_autofree char *one = strndup(paths, len), *whole = one ? xd_path_join(work, one) : NULL;
        if (!whole)
            return -ENOMEM;
        XD_TRY(take_folder(p, whole, false)); /* one without a name is the current folder */
    }
    return 0;
}

int xd_sync_python_path(xd_sync_plan *p, const xd_config *cfg, const xd_folders *where)
{
    xd_error           err = { 0 };
    xd_autofree char  *python = NULL;
    xd_autofree char **words = NULL, **argv = NULL;
    xd_autobuf         said = XD_BUF_INIT;
    const char        *how = "";
    if (!p->base || !xd_config_is_pytest(cfg))
        return 0;
    XD_TRY(take_environment(p, where->work));
    int r = xd_interp_find(cfg->python, getenv("VIRTUAL_ENV"), NULL, &python, &how, &err);
    if (r == 0)
        r = xd_text_shell_split(python, &words);
    if (r == 0) {
        const char *const asks[] = { "-c", script };
        const xd_words    parts[] = { xd_words_of((const char *const *)words), { asks, XD_ARRAY_LEN(asks) } };
        XD_TRY(xd_text_words_join(parts, XD_ARRAY_LEN(parts), &argv));
        r = xd_command_output((const char *const *)argv, where->work, XD_COMMAND_NS, SAID_LIMIT, &said, &err);
    }
    if (r == -ENOMEM)
        return r;
    if (r != 0)
        return note(p, "packages that are installed in editable mode are not looked for: %s",
                    r > 0 ? "the interpreter fails" : err.text);
    return xd_sync_python_take(p, xd_buf_view(&said));
}
