/* engine/interp.c - see interp.h. */
#include "engine/interp.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/command.h"
#include "engine/base/mem.h"
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

bool xd_interp_runs(long major, long minor)
{
    return major > 3 || (major == 3 && minor >= 6) || (major == 2 && minor == 7);
}

bool xd_interp_is_too_old(const char *program, long *ret_major, long *ret_minor)
{
    const char *name = xd_path_base(program);
    char       *end;
    if (strncmp(name, "python", 6) != 0)
        return false;
    const long major = strtol(name + 6, &end, 10);
    if (end == name + 6 || *end != '.')
        return false;
    const char *rest = end + 1;
    const long  minor = strtol(rest, &end, 10);
    if (end == rest || xd_interp_runs(major, minor))
        return false;
    *ret_major = major;
    *ret_minor = minor;
    return true;
}

/* An interpreter of that name that pyenv has: malloc'ed, or NULL. */
static char *of_pyenv(const char *shim)
{
    xd_autofree char *shims = xd_path_dir(shim), *root = shims ? xd_path_dir(shims) : NULL;
    xd_autofree char *versions = root ? xd_path_join(root, "versions") : NULL;
    char             *found = NULL;
    DIR              *d = versions ? opendir(versions) : NULL;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        char name[1024];
        snprintf(name, sizeof(name), "%s/bin/%s", e->d_name, xd_path_base(shim));
        xd_autofree char *path = *e->d_name != '.' ? xd_path_join(versions, name) : NULL;
        if (path && access(path, X_OK) == 0)
            found = xd_take(&path);
    }
    if (d)
        closedir(d);
    return found;
}

int xd_interp_check_shim(const char *program, const char *selected, const char *dir, xd_error *err)
{
    xd_autofree char *folder = xd_path_dir(program);
    if (!folder || strcmp(xd_path_base(folder), "shims") != 0)
        return 0;
    xd_autobuf  said = XD_BUF_INIT;
    char        version[512] = "--"; /* ends the options of env */
    const char *argv[] = { "env", version, program, "-c", "", NULL };
    if (selected)
        snprintf(version, sizeof(version), "PYENV_VERSION=%s", selected);
    if (xd_command_output(argv, dir, XD_COMMAND_NS, 4096, &said, err) == 0)
        return 0;
    xd_autofree char *other = of_pyenv(program);
    const char       *text = xd_buf_cstr(&said);
    return xd_error_set(
        err, -ENOENT,
        "python %s is a shim of pyenv that starts no interpreter (%.*s): name the interpreter itself%s%s, "
        "or select its version (env:PYENV_VERSION=VERSION in the spec)",
        program, (int)strcspn(text, "\n"), text, other ? ", such as " : "", other ? other : "");
}
