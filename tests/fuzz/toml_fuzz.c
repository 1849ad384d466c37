/* needs: toml actors/config_file.c actors/config_file_profile.c actors/config_file_hosts.c actors/config_values.c actors/nearest.c engine/config.c engine/hosts.c. Any bytes as an
 * xd.toml, and as a pyproject.toml: refused in one line that names the file, or all that stands in it can be set, and each profile and each list of hosts is good or refused in one line.
 * Input: the file. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "actors/config_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool is_one_line(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 32 || *text == 127)
            return false;
    return true;
}

static void refused(int r, const xd_error *err, const char *begin)
{
    assert(r == 0 ||
           (r == -EINVAL && is_one_line(err->text) && strncmp(err->text, begin, strlen(begin)) == 0));
}

static const xd_toml_node *below(const xd_config_file *f, const char *name)
{
    for (const xd_toml_node *n = f->root->first; n; n = n->next)
        if (strcmp(n->key, name) == 0)
            return n->kind == XD_TOML_TABLE ? n->first : NULL;
    return NULL;
}

static void host(const xd_config_file *f, const char *begin, const char *list, const char *end)
{
    xd_config *cfg = NULL;
    xd_error   err = { 0 };
    xd_autobuf name = XD_BUF_INIT;
    int        r = xd_config_new(&cfg);
    assert(r == 0);
    if (xd_buf_printf(&name, "%s@%s%s", begin, list, end) < 0 ||
        xd_config_set(cfg, "tx", xd_buf_cstr(&name), NULL) < 0)
        abort();
    refused(xd_config_file_hosts(f, 1, cfg, &err), &err, "option --tx: ");
    xd_config_free(cfg);
}

/* A list in a file of hosts is not read here. */
static void hosts(const xd_config_file *f)
{
    for (const xd_toml_node *n = below(f, "hosts"); n; n = n->next) {
        host(f, "", n->key, "!"); /* no list can be called so */
        host(f, "", n->key, "-that-is-not-there!");
        if (n->kind == XD_TOML_TABLE)
            continue;
        host(f, "", n->key, "");
        host(f, "2*", n->key, "");
        host(f, "1024*", n->key, "");
        host(f, "1025*", n->key, "");
        host(f, "", n->key, "//chdir=c");
    }
}

static void values(const xd_config_file *f)
{
    xd_config       *cfg = NULL;
    xd_config_values all = XD_CONFIG_VALUES_INIT;
    xd_error         err = { 0 };
    int              r = xd_config_new(&cfg);
    assert(r == 0);
    r = xd_config_file_values(f, &all, &err);
    assert(r == 0); /* it was looked at when the file was read */
    r = xd_config_file_check_profiles(f, 1, &err);
    refused(r, &err, "xd.toml:");
    for (const xd_toml_node *n = below(f, "profile"); n && r == 0; n = n->next) {
        const int got = xd_config_file_profile(f, 1, n->key, "option --profile", &all, &err);
        assert(got == 0);
    }
    r = xd_config_values_apply(&all, cfg, cfg);
    assert(r == 0);
    xd_config_values_release(&all);
    xd_config_free(cfg);
}

static void file(const char *text, size_t len, const char *const *table)
{
    xd_config_file f = { .dir = strdup("/p"), .shown = strdup("xd.toml") };
    xd_error       err = { 0 };
    const int      r = xd_config_file_read(&f, text, len, table, &err);
    assert(r != 1 || (table && !f.root));
    refused(r == 1 ? 0 : r, &err, "xd.toml:");
    if (r == 0) {
        values(&f);
        hosts(&f);
    }
    xd_config_file_release(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const table[] = { "tool", "xd", NULL };
    file((const char *)data, len, NULL);
    file((const char *)data, len, table);
    return 0;
}
