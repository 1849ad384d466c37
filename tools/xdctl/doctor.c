/* tools/xdctl/doctor.c - `xdctl doctor`: what a run needs, as lines or as JSON. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/xdctl/xdctl.h"

/* "ok    agent: /usr/..." -> {"name": "agent", "ok": true, "text": "/usr/..."} */
static json_t *check_of(char *line)
{
    const int ok = strncmp(line, "ok", 2) == 0;
    char     *name = strchr(line, ' '), *text;
    if (!name)
        return json_pack("{s:s, s:b, s:s}", "name", "", "ok", ok, "text", line);
    name += strspn(name, " ");
    text = strstr(name, ": ");
    if (text) {
        *text = 0;
        text += 2;
    }
    return json_pack("{s:s, s:b, s:s}", "name", name, "ok", ok, "text", text ? text : "");
}

static json_t *checks_of(FILE *lines)
{
    json_t *all = json_array();
    char   *line = NULL;
    size_t  cap = 0;
    ssize_t n;
    while (all && (n = getline(&line, &cap, lines)) > 0) {
        line[n - (line[n - 1] == '\n')] = 0;
        if (json_array_append_new(all, check_of(line)) < 0) {
            json_decref(all);
            all = NULL;
        }
    }
    free(line);
    return all;
}

/* As xd_doctor, on standard output. */
static int doctor_json(const xd_config *cfg, char *err)
{
    int fd = memfd_create("xdctl-doctor", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : xd_doctor(cfg, fd, err);
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        return r;
    }
    FILE   *lines = lseek(fd, 0, SEEK_SET) == 0 ? fdopen(fd, "r") : NULL;
    json_t *checks = lines ? checks_of(lines) : NULL;
    json_t *all = checks ? json_pack("{s:b, s:o}", "ok", r == 0, "checks", checks) : NULL;
    if (!all || json_dumpf(all, stdout, JSON_INDENT(1)) < 0)
        r = -ENOMEM;
    putchar('\n');
    json_decref(all);
    if (lines)
        fclose(lines);
    else
        close(fd);
    return r;
}

int xdctl_doctor(int argc, char **argv)
{
    char       err[XD_TEXT] = "";
    xd_config *cfg = NULL;
    int        json = 0, code;
    if (argc > 1 && xdctl_is_help(argv[1])) {
        puts(
            "usage: xdctl doctor [--json] [OPTION ...]\n\n"
            "Checks what a run needs: the agent, python and pytest, folders, limits, the project's options.\n"
            "Each check prints one line, ok or FAIL.\n"
            "Takes the options of `xdctl run`, of which --python, --agent and the folders have an effect.\n"
            "Exit code: 0 all checks pass, 6 a run would fail.\n"
            "  --json               print one JSON object");
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--json") == 0) {
        json = 1;
        argc--;
        argv++;
    }
    code = xdctl_read_config(&cfg, argc - 1, argv + 1);
    if (code == 0) {
        int r = json ? doctor_json(cfg, err) : xd_doctor(cfg, 1, err);
        code = r < 0    ? xdctl_fail(r == -EINVAL ? XD_EXIT_USAGE : XD_EXIT_INTERNAL, "%s",
                                  err[0] ? err : strerror(-r))
               : r == 0 ? 0
                        : XD_EXIT_INFRASTRUCTURE;
    }
    xd_config_free(cfg);
    return code;
}
