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

int xd_agent_program_find(const char *wanted, char **ret, xd_error *err)
{
    xd_autobuf        tried = XD_BUF_INIT;
    xd_autofree char *self = NULL, *dir = NULL, *lib = NULL;
    const char       *given = wanted && *wanted ? wanted : getenv("XD_AGENT");
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
    if (xd_path_self(&self) == 0 && (dir = xd_path_dir(self)) != NULL &&
        (try_agent(dir, "xdagent", &tried, ret) || try_agent(dir, "../libexec/xd/xdagent", &tried, ret) ||
         try_agent(dir, "../bin/xdagent", &tried, ret)))
        return 0;
    /* A program that embeds the library lies anywhere; the library lies in PREFIX/lib or
     * PREFIX/lib/ARCHITECTURE. */
    if ((lib = own_folder()) != NULL && (try_agent(lib, "../libexec/xd/xdagent", &tried, ret) ||
                                         try_agent(lib, "../../libexec/xd/xdagent", &tried, ret)))
        return 0;
    if (try_agent(XD_AGENT_DIR, "xdagent", &tried, ret))
        return 0;
    return xd_error_set(err, -ENOENT,
                        "cannot find the program xdagent: tried %s; name it with --agent or XD_AGENT",
                        xd_buf_cstr(&tried));
}
