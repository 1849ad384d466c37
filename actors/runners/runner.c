#include "actors/runners/runner.h"

#include <string.h>
#include <unistd.h>

#include "actors/runners/command.h"
#include "actors/runners/pytest.h"
#include "engine/base/os_linux.h"

extern char **environ;

static const xd_runner_ops *const all[] = { &xd_pytest_ops, &xd_command_ops };

const xd_runner_ops *xd_runner_find(xd_bytes name)
{
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++)
        if (xd_bytes_eq_str(name, all[i]->name))
            return all[i];
    return name.len ? NULL : &xd_pytest_ops;
}

const char *xd_runner_names(void)
{
    return "pytest, command";
}

int xd_runner_open_output(int theirs[2], int ret[2], const char *whose, xd_error *err)
{
    for (size_t i = 0; i < 2; i++) {
        int pair[2];
        int r = xd_os_pipe(pair, 0, 0);
        if (r < 0) {
            if (i)
                close(ret[0]);
            return xd_error_set(err, r, "no descriptors for the output of %s: %s", whose, xd_error_name(r));
        }
        ret[i] = pair[0];
        theirs[i] = pair[1];
    }
    return 0;
}

/* ---- the environment of its processes -------------------------------------------------------------------- */

const char *xd_runner_environ_get(char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; env && *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

static int set(char **env, size_t *count, xd_bytes name, xd_bytes value)
{
    char *entry = malloc(name.len + value.len + 2);
    if (!entry)
        return -ENOMEM;
    memcpy(entry, name.ptr, name.len);
    entry[name.len] = '=';
    if (value.len)
        memcpy(entry + name.len + 1, value.ptr, value.len);
    entry[name.len + value.len + 1] = '\0';
    for (size_t i = 0; i < *count; i++) {
        if (strncmp(env[i], entry, name.len + 1) == 0) {
            free(env[i]);
            env[i] = entry;
            return 0;
        }
    }
    env[(*count)++] = entry;
    env[*count] = NULL;
    return 0;
}

int xd_runner_environ(const xd_wire_ENV_START *start, const char *const *unless, char ***ret, xd_error *err)
{
    size_t have = 0, count = 0, more = 0;
    while (environ && environ[have])
        have++;
    while (unless && unless[more])
        more += 2;
    char **env = *ret = calloc(have + start->env.count + more / 2 + 1, sizeof(char *));
    if (!env)
        return xd_error_set(err, -ENOMEM, "out of memory");
    for (; count < have; count++) {
        env[count] = strdup(environ[count]);
        if (!env[count])
            return xd_error_set(err, -ENOMEM, "out of memory");
    }
    xd_wire_list it = start->env;
    xd_wire_PAIR pair;
    while (xd_wire_PAIR_next(&it, &pair) > 0) {
        if (pair.name.len == 0 || memchr(pair.name.ptr, '=', pair.name.len))
            return xd_error_set(err, -EINVAL, "env:%.*s= is not a valid name of an environment variable",
                                (int)pair.name.len, (const char *)pair.name.ptr);
        if (set(env, &count, pair.name, pair.value) < 0)
            return xd_error_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < more; i += 2)
        if (!xd_runner_environ_get(env, unless[i]) &&
            set(env, &count, xd_bytes_str(unless[i]), xd_bytes_str(unless[i + 1])) < 0)
            return xd_error_set(err, -ENOMEM, "out of memory");
    return 0;
}

void xd_runner_environ_free(char **env)
{
    for (char **e = env; e && *e; e++)
        free(*e);
    free(env);
}
