/* engine/interp.c - see interp.h. */
#include "engine/interp.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/path.h"

/* Interpreter of the #! line of a script when it is a Python; malloc'ed, or NULL. */
static char *shebang_python(const char *script)
{
    char    line[512];
    int     fd = open(script, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
    if (fd >= 0)
        close(fd);
    if (n < 3 || line[0] != '#' || line[1] != '!')
        return NULL;
    line[n] = 0;
    char *start = line + 2 + strspn(line + 2, " \t");
    start[strcspn(start, "\r\n")] = 0;
    if (!strchr(start, ' ') && strncmp(xd_path_base(start), "python", 6) == 0 && access(start, X_OK) == 0)
        return strdup(start);
    return NULL;
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

int xd_interp_find(const char *wanted, const char *virtual_env, const char *path_list, char **ret, const char **ret_how,
                   xd_error *err)
{
    char *found = NULL;
    if (wanted && wanted[0]) {
        *ret_how = "as told";
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
            found = shebang_python(script);
            if (!found)
                found = beside(script, "python3");
        }
    }
    if (!found && xd_path_find_program("python3", path_list, &found) == 0)
        *ret_how = "python3 on PATH";
    if (!found)
        return xd_error_set(err, -ENOENT,
                            "no Python interpreter: neither $VIRTUAL_ENV, nor a pytest, nor a python3 on PATH; name one with --python");
    *ret = found;
    return 0;
}
