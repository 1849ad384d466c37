#include "engine/grammar.h"

#include <string.h>

/* ---- pytest: path::Class::name[parameters]@group ---------------------------------------------------------------- */

#define SEP "::"
#define SEP_LEN 2

static size_t first_sep(xd_bytes id)
{
    const uint8_t *sep = xd_bytes_find(id, SEP);
    return sep ? (size_t)(sep - id.ptr) : id.len;
}

static size_t last_sep(xd_bytes id)
{
    size_t found = id.len;
    for (size_t i = 0; i + 1 < id.len; i++)
        if (memcmp(id.ptr + i, SEP, SEP_LEN) == 0)
            found = i;
    return found;
}

static size_t behind_sep(xd_bytes id)
{
    size_t sep = first_sep(id);
    return sep < id.len ? sep + SEP_LEN : sep;
}

static xd_bytes pytest_group(xd_bytes id)
{
    for (size_t i = id.len; i-- > 0 && id.ptr[i] != ']';)
        if (id.ptr[i] == '@')
            return (xd_bytes){ id.ptr + i + 1, id.len - i - 1 };
    return (xd_bytes){ NULL, 0 };
}

/* "Class.name[parameters]" */
static int pytest_headline(xd_buf *out, xd_bytes id)
{
    const uint8_t *params = xd_bytes_find(id, "[");
    size_t         names = params ? (size_t)(params - id.ptr) : id.len;
    size_t         at = behind_sep((xd_bytes){ id.ptr, names });
    if (at == names && first_sep((xd_bytes){ id.ptr, names }) == names)
        return xd_buf_add_bytes(out, id);
    for (; at < names; at++) {
        bool sep = at + 1 < names && memcmp(id.ptr + at, SEP, SEP_LEN) == 0;
        XD_TRY(xd_buf_add_byte(out, sep ? '.' : id.ptr[at]));
        at += sep;
    }
    return xd_buf_add_bytes(out, (xd_bytes){ id.ptr + names, id.len - names });
}

/* Where the parameters begin; the length of the id = there are none. */
static size_t parameters(xd_bytes id, bool brackets_in_path)
{
    size_t from = brackets_in_path ? 0 : first_sep(id);
    if (from == id.len)
        return from;
    const uint8_t *at = xd_bytes_find((xd_bytes){ id.ptr + from, id.len - from }, "[");
    return at ? (size_t)(at - id.ptr) : id.len;
}

/* As pytest's mangle_test_address. */
static int pytest_address(xd_bytes id, const char *prefix, bool brackets_in_path, xd_buf *class_name,
                          xd_buf *name)
{
    xd_autobuf path = XD_BUF_INIT;
    size_t     end = parameters(id, brackets_in_path), from = 0;
    size_t     sep = first_sep((xd_bytes){ id.ptr, end });
    for (size_t k = 0; k < sep; k++)
        XD_TRY(xd_buf_add_byte(&path, id.ptr[k] == '/' ? '.' : id.ptr[k]));
    if (path.len >= 3 && !memcmp(path.data + path.len - 3, ".py", 3))
        path.len -= 3;
    XD_TRY(xd_buf_add_str(class_name, prefix));
    if (sep == end) {
        XD_TRY(xd_buf_add_bytes(name, xd_buf_view(&path)));
        return xd_buf_add(name, id.ptr + end, id.len - end);
    }
    for (bool first = true; sep < end; first = false) {
        if (class_name->len || (!first && sep > from))
            XD_TRY(xd_buf_add_byte(class_name, '.'));
        XD_TRY(first ? xd_buf_add_bytes(class_name, xd_buf_view(&path))
                     : xd_buf_add(class_name, id.ptr + from, sep - from));
        from = sep + SEP_LEN;
        sep = from + first_sep((xd_bytes){ id.ptr + from, end - from });
    }
    return xd_buf_add(name, id.ptr + from, id.len - from);
}

/* ---- command: the id is a command line, and has no parts -------------------------------------------------------- */

static size_t whole(xd_bytes id)
{
    return id.len;
}

static xd_bytes no_group(xd_bytes id)
{
    (void)id;
    return (xd_bytes){ NULL, 0 };
}

static int as_it_is(xd_buf *out, xd_bytes id)
{
    return xd_buf_add_bytes(out, id);
}

static int command_address(xd_bytes id, const char *prefix, bool brackets_in_path, xd_buf *class_name,
                           xd_buf *name)
{
    (void)brackets_in_path;
    XD_TRY(xd_buf_add_str(class_name, *prefix ? prefix : "command"));
    return xd_buf_add_bytes(name, id);
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

static const xd_grammar grammars[] = {
    { "pytest", true, first_sep, last_sep, pytest_group, behind_sep, pytest_headline, pytest_address },
    { "command", false, whole, whole, no_group, whole, as_it_is, command_address },
};

const xd_grammar *xd_grammar_find(const char *runner)
{
    for (size_t i = 0; runner && i < XD_ARRAY_LEN(grammars); i++)
        if (strcmp(grammars[i].runner, runner) == 0)
            return &grammars[i];
    return &grammars[0];
}
