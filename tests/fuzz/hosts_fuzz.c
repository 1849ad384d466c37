/* needs: engine/hosts.c engine/config.c. Any text as a list of hosts, and as lines of one: refused in one line, or each is a spec, which stays the same when it is
 * read as a line again.
 * Input: the file. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/hosts.h"
#include "engine/xspec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool is_one_line(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 32 || *text == 127)
            return false;
    return true;
}

static void one_line(const char *line)
{
    char    *spec = NULL, *same = NULL;
    xd_error err = { 0 };
    xd_xspec parsed;
    int      r = xd_hosts_line(line, &spec, &err);
    assert(r == 1 || r == 0 || r == -EINVAL);
    assert((r == 1) == (spec != NULL));
    assert(r != -EINVAL || (err.text[0] && is_one_line(err.text)));
    if (r != 1)
        return;
    r = xd_xspec_parse(&parsed, spec, &err);
    assert(r == 0 && parsed.count <= XD_XSPEC_MAX_COUNT);
    xd_xspec_release(&parsed);
    /* popen as a line would be a host; what stands behind a # a comment. */
    if (strncmp(spec, "popen", 5) != 0 && !strchr(spec, '#')) {
        r = xd_hosts_line(spec, &same, &err);
        assert(r == 1 && strcmp(spec, same) == 0);
    }
    free(spec);
    free(same);
}

static void file(const uint8_t *data, size_t len)
{
    char       path[64];
    xd_strings specs = { 0 };
    xd_error   err = { 0 };
    size_t     lines = 1;
    int        fd = memfd_create("hosts", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, len) != (ssize_t)len)
        abort();
    for (size_t i = 0; i < len; i++)
        lines += data[i] == '\n';
    snprintf(path, sizeof(path), "self/fd/%d", fd);
    int r = xd_hosts_read(path, "/proc", &specs, &err);
    assert(r == 0 || r == -EINVAL);
    assert(r == 0 ? specs.count >= 1 && specs.count <= lines
                  : strncmp(err.text, "option --hosts: ", 16) == 0 && is_one_line(err.text));
    assert(r < 0 || !memchr(data, 0, len));
    xd_strings_release(&specs);
    close(fd);
}

/* By way of the option, where it stands on standard input. */
static void option(const uint8_t *data, size_t len)
{
    xd_config *c = NULL;
    xd_error   err = { 0 };
    char       text[XD_TEXT];
    int        ends[2], r = pipe(ends), input = dup(STDIN_FILENO);
    if (r < 0 || write(ends[1], data, len) != (ssize_t)len || dup2(ends[0], STDIN_FILENO) < 0)
        abort();
    close(ends[0]);
    close(ends[1]);
    r = xd_config_new(&c);
    assert(r == 0);
    r = xd_config_set(c, "hosts", "-", text);
    assert(r == 0);
    r = xd_hosts_apply(c, &err);
    assert(r == 0 ? !c->hosts && c->tx.count >= 1 : r == -EINVAL && is_one_line(err.text));
    r = xd_hosts_apply(c, &err);
    assert(r == 0 || c->hosts);
    xd_config_free(c);
    if (input >= 0)
        dup2(input, STDIN_FILENO), close(input);
    else
        close(STDIN_FILENO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1), *save = NULL;
    if (len > 16384) {
        free(text);
        return 0;
    }
    file(data, len);
    if (len < 4096)
        option(data, len);
    memcpy(text, data, len);
    text[len] = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        one_line(line);
    free(text);
    return 0;
}
