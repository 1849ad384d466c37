/* actors/spec_folder.c - see spec_folder.h. */
#include "actors/spec_folder.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/sync_path.h"
#include "engine/base/path.h"
#include "engine/base/text.h"

/* What a value names. */
typedef enum value_kind {
    VALUE_OTHER,
    VALUE_FILE,
    VALUE_FOLDER,
    VALUE_INTERPRETER,
    VALUE_COMMAND
} value_kind;

static value_kind kind_of(const xd_bytes key, bool here)
{
    static const struct {
        const char *key;
        bool        here; /* it is on the host where the tests run, which must be this one */
        value_kind  kind;
    } table[] = { { "python=", true, VALUE_INTERPRETER },
                  { "chdir=", true, VALUE_FOLDER },
                  { "ssh_config=", false, VALUE_FILE },
                  { "command=", false, VALUE_COMMAND } };
    for (size_t i = 0; i < XD_ARRAY_LEN(table); i++)
        if ((here || !table[i].here) && xd_bytes_eq_str(key, table[i].key))
            return table[i].kind;
    return VALUE_OTHER;
}

static bool is_relative(const char *path)
{
    return path[0] && path[0] != '/' && path[0] != '~';
}

/* Without links, except for the last name, where it is no folder: an interpreter of a virtual environment is a link, and must stay one. */
static int settled(const char *dir, const char *path, bool folder, char **ret)
{
    xd_autofree char *whole = xd_path_join(dir, path), *above = whole ? xd_path_dir(whole) : NULL,
                     *real = NULL;
    if (!above)
        return -ENOMEM;
    int r = xd_sync_path_real(folder ? whole : above, &real, NULL);
    if (r == 0)
        *ret = folder ? xd_take(&real) : xd_path_join(real, xd_path_base(whole));
    else if (r != -ENOMEM) /* who needs it says that it is not there */
        *ret = xd_sync_path_clean(whole);
    return *ret ? 0 : -ENOMEM;
}

/* The first word of a command line. */
static int add_command(xd_buf *out, const char *dir, const char *value)
{
    const size_t      len = strcspn(value, " \t'\"\\");
    xd_autofree char *program = strndup(value, len), *path = NULL;
    if (!program)
        return -ENOMEM;
    if ((value[len] && !strchr(" \t", value[len])) || !is_relative(program) || !strchr(program, '/'))
        return xd_buf_add_str(out, value);
    XD_TRY(settled(dir, program, false, &path));
    XD_TRY(xd_text_shell_quote(out, path));
    return xd_buf_add_str(out, value + len);
}

static int add_value(xd_buf *out, const char *dir, const char *value, value_kind kind)
{
    xd_autofree char *path = NULL;
    if (kind == VALUE_OTHER || !is_relative(value))
        return xd_buf_add_str(out, value);
    if (kind == VALUE_COMMAND)
        return add_command(out, dir, value);
    if (kind == VALUE_INTERPRETER && !strchr(value, '/'))
        return xd_buf_add_str(out, value);
    XD_TRY(settled(dir, value, kind == VALUE_FOLDER, &path));
    if (kind == VALUE_INTERPRETER && access(path, F_OK) != 0) /* a command line, then */
        return add_command(out, dir, value);
    return xd_buf_add_str(out, path);
}

static int add_key(xd_buf *out, const char *dir, const char *word, bool here)
{
    const char  *equal = strchr(word, '=');
    const size_t len = equal ? (size_t)(equal - word) + 1 : strlen(word);
    XD_TRY(xd_buf_add(out, word, len));
    return add_value(out, dir, word + len, kind_of((xd_bytes){ (const uint8_t *)word, len }, here));
}

static int rewrite(const char *spec, const char *dir, bool here, xd_buf *out)
{
    const size_t digits = strspn(spec, "0123456789"), number = digits && spec[digits] == '*' ? digits + 1 : 0;
    XD_TRY(xd_buf_add(out, spec, number));
    for (const char *rest = spec + number, *end; rest; rest = end ? end + 2 : NULL) {
        end = strstr(rest, "//");
        xd_autofree char *word = end ? strndup(rest, (size_t)(end - rest)) : strdup(rest);
        XD_TRY(word ? add_key(out, dir, word, here) : -ENOMEM);
        XD_TRY(end ? xd_buf_add_str(out, "//") : 0);
    }
    return 0;
}

int xd_spec_in_folder(const char *spec, const char *dir, char **ret)
{
    xd_autobuf out = XD_BUF_INIT;
    xd_xspec   x;
    int        r = xd_xspec_parse(&x, spec, NULL);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        *ret = strdup(spec);
        return *ret ? 0 : -ENOMEM;
    }
    const bool here = x.kind == XD_SPEC_POPEN && !x.via;
    xd_xspec_release(&x);
    XD_TRY(rewrite(spec, dir, here, &out));
    *ret = strdup(xd_buf_cstr(&out));
    return *ret ? 0 : -ENOMEM;
}
