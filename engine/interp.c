/* engine/interp.c - see interp.h. */
#include "engine/interp.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "engine/base/text.h"

/* The Python in the first lines of a script: "#!/path/python", or pip's form for long paths, "#!/bin/sh" and
 * then '''exec' "/path/python"...
 * malloc'ed, or NULL. */
static char *script_python(const char *script)
{
    char    text[4096];
    int     fd = open(script, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n < 3 || text[0] != '#' || text[1] != '!')
        return NULL;
    text[n] = '\0';
    char *line = text + 2 + strspn(text + 2, " \t");
    if (strncmp(line, "/bin/sh", 7) == 0) {
        char *exec = strstr(line, "'''exec' ");
        if (!exec)
            return NULL;
        line = exec + 9;
        line += strspn(line, "\"");
        line[strcspn(line, "\"\n")] = '\0';
    } else {
        line[strcspn(line, " \t\r\n")] = '\0';
    }
    return *line == '/' && strncmp(xd_path_base(line), "python", 6) == 0 && access(line, X_OK) == 0
               ? strdup(line)
               : NULL;
}

static char *beside(const char *program, const char *name)
{
    xd_autofree char *dir = xd_path_dir(program);
    char             *path = dir ? xd_path_join(dir, name) : NULL;
    if (path && access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

int xd_interp_find(const char *wanted, const char *virtual_env, const char *path_list, char **ret,
                   const char **ret_how, xd_error *err)
{
    char *found = NULL;
    if (wanted && wanted[0]) {
        xd_autofree char *program = NULL;
        *ret_how = "as told";
        if (access(wanted, F_OK) != 0 && xd_path_find_program(wanted, path_list, &program) < 0)
            return (*ret = strdup(wanted))
                       ? 0
                       : -ENOMEM; /* a command line, or it is not there: whoever starts it says so */
        found = strdup(wanted);
        if (!found)
            return -ENOMEM;
    }
    if (!found && virtual_env && virtual_env[0]) {
        xd_autofree char *path = xd_path_join(virtual_env, "bin/python");
        if (path && access(path, X_OK) == 0) {
            *ret_how = "of $VIRTUAL_ENV";
            found = xd_take(&path);
        }
    }
    if (!found) {
        xd_autofree char *script = NULL;
        if (xd_path_find_program("pytest", path_list, &script) == 0) {
            *ret_how = "behind the pytest on PATH";
            found = script_python(script);
            if (!found)
                found = beside(script, "python3");
        }
    }
    if (!found && xd_path_find_program("python3", path_list, &found) == 0)
        *ret_how = "python3 on PATH";
    if (!found && xd_path_find_program("python", path_list, &found) == 0)
        *ret_how = "python on PATH";
    if (!path_list)
        path_list = getenv("PATH");
    if (!found)
        return xd_error_set(err, -ENOENT,
                            "no Python interpreter (name one with --python or python=): tried $VIRTUAL_ENV "
                            "(%s), the pytest program, "
                            "python3 and python on PATH=%s",
                            virtual_env && virtual_env[0] ? virtual_env : "not set",
                            path_list ? path_list : "");
    xd_autobuf quoted = XD_BUF_INIT;
    int        r = xd_text_shell_quote(&quoted, found);
    free(found);
    if (r == 0 && !(*ret = strdup(xd_buf_cstr(&quoted))))
        r = -ENOMEM;
    return r;
}
