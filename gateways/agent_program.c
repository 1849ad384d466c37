/* gateways/agent_program.c - see agent_program.h. */
#include "gateways/agent_program.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/path.h"

#ifndef XD_AGENT_DIR
#define XD_AGENT_DIR "/usr/local/libexec/xd"
#endif

/* Takes the candidate when it is a program; else notes that it was tried. */
static bool try_agent(const char *dir, const char *name, xd_buf *tried, char **ret)
{
    char       *path = xd_path_join(dir, name);
    struct stat st;
    if (path && access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        *ret = path;
        return true;
    }
    if (path && xd_buf_printf(tried, "%s%s", tried->len ? ", " : "", path) < 0)
        xd_buf_clear(tried);
    free(path);
    return false;
}

/* Folder of the file this code was loaded from: libxd.so, or the program itself. */
static char *own_folder(void)
{
    static const char here = 0;
    Dl_info           info;
    return dladdr(&here, &info) && info.dli_fname ? xd_path_dir(info.dli_fname) : NULL;
}

/* One of the places where a program of this installation may lie. */
typedef bool try_fn(const char *dir, const char *name, xd_buf *tried, char **ret);

static bool try_installed(try_fn *try, const char *name, const char *given, xd_buf *tried, char **ret)
{
    xd_autofree char *self = NULL, *dir = NULL, *lib = NULL, *beside = given ? xd_path_dir(given) : NULL;
    static const char *const of_program[] = { ".", "../libexec/xd", "../bin" };
    /* A program that embeds the library lies anywhere; the library lies in PREFIX/lib or PREFIX/lib/ARCHITECTURE. */
    static const char *const of_library[] = { "../libexec/xd", "../../libexec/xd" };
    if (beside && try(beside, name, tried, ret))
        return true;
    if (xd_path_self(&self) == 0)
        dir = xd_path_dir(self);
    for (size_t i = 0; dir && i < XD_ARRAY_LEN(of_program); i++) {
        xd_autofree char *at = xd_path_join(dir, of_program[i]);
        if (at && try(i ? at : dir, name, tried, ret))
            return true;
    }
    lib = own_folder();
    for (size_t i = 0; lib && i < XD_ARRAY_LEN(of_library); i++) {
        xd_autofree char *at = xd_path_join(lib, of_library[i]);
        if (at && try(at, name, tried, ret))
            return true;
    }
    return try(XD_AGENT_DIR, name, tried, ret);
}

static bool try_folder(const char *dir, const char *name, xd_buf *tried, char **ret)
{
    char *path = xd_path_join(dir, name);
    if (path && xd_path_is_dir(path)) {
        *ret = path;
        return true;
    }
    if (path && xd_buf_printf(tried, "%s%s", tried->len ? ", " : "", path) < 0)
        xd_buf_clear(tried);
    free(path);
    return false;
}

int xd_agent_program_folder(char **ret, xd_error *err)
{
    xd_autobuf  tried = XD_BUF_INIT;
    const char *given = getenv("XD_AGENT");
    if (try_installed(try_folder, "agents", given && strchr(given, '/') ? given : NULL, &tried, ret))
        return 0;
    return xd_error_set(err, -ENOENT, "cannot find the agents for other hosts: tried %s",
                        xd_buf_cstr(&tried));
}

int xd_agent_program_find(const char *wanted, char **ret, xd_error *err)
{
    xd_autobuf  tried = XD_BUF_INIT;
    const char *given = wanted && *wanted ? wanted : getenv("XD_AGENT");
    if (given && *given && strchr(given, '/'))
        return try_agent("", given, &tried, ret)
                   ? 0
                   : xd_error_set(err, -ENOENT, "the agent %s is not an executable program", given);
    if (given && *given) /* a name alone is looked for as a shell does, and nowhere else */
        return xd_path_find_program(given, NULL, ret) == 0
                   ? 0
                   : xd_error_set(
                         err, -ENOENT,
                         "the agent %s is not a program on PATH (for one in this folder, write ./%s)", given,
                         given);
    if (try_installed(try_agent, "xdagent", NULL, &tried, ret))
        return 0;
    return xd_error_set(err, -ENOENT,
                        "cannot find the program xdagent: tried %s; name it with --agent or XD_AGENT",
                        xd_buf_cstr(&tried));
}

int xd_program_find(const char *name, char **ret, xd_error *err)
{
    xd_autobuf tried = XD_BUF_INIT;
    if (try_installed(try_agent, name, NULL, &tried, ret))
        return 0;
    return xd_error_set(err, -ENOENT, "cannot find the program %s: tried %s", name, xd_buf_cstr(&tried));
}
