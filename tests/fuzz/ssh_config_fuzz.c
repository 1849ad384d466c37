/* needs: gateways/ssh_config.c gateways/ssh_config_values.c gateways/ssh_words.c gateways/ssh_expand.c, libssh. Any words as the options of ssh=, any text as ssh_config: refused in one line, or read the same each time, with
 * a port, a user and a command line that a shell splits into words again.
 * Input: first line, what stands behind ssh=; up to a line of --, the file; the rest, what each Include reads. */
#include <assert.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "gateways/ssh_config.h"
#include "gateways/ssh_config_state.h"
#include "gateways/ssh_words.h"

#define INCLUDES 40 /* of one reading: files that include themselves would become many */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char     files[2][32]; /* ssh_config, and what it includes */
static int      fds[2];
static unsigned includes;

/* Instead of libc's: no other file of this machine is read. */
int glob(const char *pattern, int flags, int (*failed)(const char *path, int error), glob_t *ret)
{
    static char *found[2];
    (void)flags, (void)failed;
    if (!*pattern || ++includes > INCLUDES)
        return GLOB_NOMATCH;
    found[0] = files[1];
    ret->gl_pathc = 1;
    ret->gl_pathv = found;
    return 0;
}

void globfree(glob_t *g)
{
    g->gl_pathc = 0;
}

static void begin(void)
{
    for (int i = 0; i < 2; i++) {
        fds[i] = memfd_create("ssh_config", MFD_CLOEXEC);
        assert(fds[i] >= 0);
        snprintf(files[i], sizeof(files[i]), "/proc/self/fd/%d", fds[i]);
    }
}

static void put(int which, const char *text, size_t len)
{
    int     r = ftruncate(fds[which], 0);
    ssize_t n = pwrite(fds[which], text, len, 0);
    assert(r == 0 && n == (ssize_t)len);
}

static bool is_one_line(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 32 || *text == 127)
            return false;
    return true;
}

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static int read_conf(xd_ssh_conf **ret, char *words, xd_error *err)
{
    const xd_xspec  spec = { .kind = XD_SPEC_SSH, .target = words, .ssh_config = files[0] };
    const xd_target target = { .spec = &spec };
    includes = 0;
    return xd_ssh_conf_new(ret, &target, err);
}

static void whole(const xd_ssh_conf *c, const xd_ssh_conf *again)
{
    char   **words = NULL;
    uint32_t n;
    assert(xd_ssh_conf_port(c) >= 1 && xd_ssh_conf_port(c) == xd_ssh_conf_port(again));
    assert(*xd_ssh_conf_given(c) && xd_ssh_conf_host(c) && xd_ssh_conf_user(c));
    assert(is_same(xd_ssh_conf_host(c), xd_ssh_conf_host(again)));
    assert(is_same(xd_ssh_conf_user(c), xd_ssh_conf_user(again)));
    assert(is_same(xd_ssh_conf_unsuited(c), xd_ssh_conf_unsuited(again)));
    assert(!xd_ssh_conf_unsuited(c) || is_one_line(xd_ssh_conf_unsuited(c)));
    int r = xd_text_shell_split(xd_ssh_conf_words(c), &words);
    assert(r == 0 && words[0]);
    free(words);
    for (int i = 0; xd_ssh_words[i].name; i++) {
        const char *name = xd_ssh_words[i].name, *value = xd_ssh_conf_get(c, name, NULL);
        assert(is_same(value, xd_ssh_conf_get(again, name, NULL)));
        if (!value)
            continue;
        char *expanded = xd_ssh_conf_expand(c, value);
        free(expanded);
        (void)xd_ssh_conf_is(c, name, false);
        n = xd_ssh_conf_number(c, name, 7);
        assert(n == 7 || value[strcspn(value, "0123456789")]);
    }
}

/* A list of patterns means the same without those that are there twice. */
static void patterns(const char *name, const char *list)
{
    char twice[512];
    if (strlen(list) > 200)
        return;
    bool is = xd_ssh_match_list(name, list, ", ", true);
    snprintf(twice, sizeof(twice), "%s,%s", list, list);
    assert(is == xd_ssh_match_list(name, twice, ", ", true));
    assert(xd_ssh_match_list(name, "*", ",", true));
    assert(!xd_ssh_match_list(name, "*,!*", ",", true));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    xd_ssh_conf *c = NULL, *again = NULL;
    xd_error     err = { 0 }, err2 = { 0 };
    if (len > 16384)
        return 0;
    if (!*files[0])
        begin();
    char *text = malloc(len + 1);
    memcpy(text, data, len);
    text[len] = 0;
    char *file = memchr(text, '\n', len);
    file = file ? (*file = 0, file + 1) : text + len;
    const size_t size = (size_t)(text + len - file);
    char        *end = memmem(file, size, "\n--\n", 4);
    put(0, file, end ? (size_t)(end + 1 - file) : size);
    put(1, end ? end + 4 : "", end ? (size_t)(text + len - end - 4) : 0);
    switch (strlen(text) % 3) { /* does the user have tickets of Kerberos? */
    case 0:
        unsetenv("KRB5CCNAME");
        break;
    default:
        setenv("KRB5CCNAME", strlen(text) % 3 == 1 ? "KEYRING:some" : "FILE:/nonexistent", 1);
    }
    int r = read_conf(&c, text, &err);
    int r2 = read_conf(&again, text, &err2);
    assert(r == r2 && is_same(err.text, err2.text) && (r == 0) == (c != NULL));
    assert(r == 0 || (err.text[0] && is_one_line(err.text)));
    if (c)
        whole(c, again);
    patterns(text, text + len - strnlen(text, 100));
    xd_ssh_conf_free(c);
    xd_ssh_conf_free(again);
    free(text);
    return 0;
}
