/* gateways/ssh_expand.c - see ssh_config.h: what stands for something else in a value. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "gateways/ssh_config.h"
#include "gateways/ssh_words.h"

static int token(const xd_ssh_conf *c, char letter, xd_buf *out)
{
    char host[256] = "", system[256];
    switch (letter) {
    case '%':
        return xd_buf_add_byte(out, '%');
    case 'h':
        return xd_buf_add_str(out, xd_ssh_conf_host(c) ? xd_ssh_conf_host(c) : xd_ssh_conf_given(c));
    case 'n':
        return xd_buf_add_str(out, xd_ssh_conf_given(c));
    case 'p':
        return xd_buf_add_str(out, xd_ssh_conf_get(c, "port", "22"));
    case 'r':
        return xd_buf_add_str(out, xd_ssh_conf_get(c, "user", xd_ssh_conf_local_user(c)));
    case 'u':
        return xd_buf_add_str(out, xd_ssh_conf_local_user(c));
    case 'd':
        return xd_buf_add_str(out, xd_ssh_conf_home(c));
    case 'i':
        return xd_buf_printf(out, "%u", (unsigned)getuid());
    case 'k':
        return xd_buf_add_str(out, xd_ssh_conf_get(c, "hostkeyalias", xd_ssh_conf_given(c)));
    case 'l':
    case 'L':
        xd_os_names(host, sizeof(host), system, sizeof(system));
        return xd_buf_add(out, host, letter == 'l' ? strlen(host) : strcspn(host, "."));
    default:
        return -EINVAL;
    }
}

static int expand(const xd_ssh_conf *c, const char *p, xd_buf *out)
{
    if (*p == '~') {
        const size_t  len = strcspn(p, "/");
        char          text[4096], name[128];
        struct passwd pw, *found = NULL;
        if (len >= sizeof(name))
            return -EINVAL;
        memcpy(name, p + 1, len - 1);
        name[len - 1] = 0;
        if (*name && (getpwnam_r(name, &pw, text, sizeof(text), &found) != 0 || !found))
            return -EINVAL;
        XD_TRY(xd_buf_add_str(out, found ? pw.pw_dir : xd_ssh_conf_home(c)));
        p += len;
    }
    while (*p) {
        const char *end = p[0] == '$' && p[1] == '{' ? strchr(p, '}') : NULL;
        if (*p == '%') {
            XD_TRY(token(c, p[1], out));
            p += 2;
        } else if (end) {
            xd_autofree char *name = strndup(p + 2, (size_t)(end - p - 2));
            const char       *value = name ? getenv(name) : NULL;
            if (!value)
                return -EINVAL;
            XD_TRY(xd_buf_add_str(out, value));
            p = end + 1;
        } else {
            XD_TRY(xd_buf_add_byte(out, (uint8_t)*p++));
        }
    }
    return 0;
}

char *xd_ssh_conf_expand(const xd_ssh_conf *c, const char *text)
{
    xd_autobuf out = XD_BUF_INIT;
    return expand(c, text, &out) < 0 ? NULL : xd_bytes_dup(xd_buf_view(&out));
}

char *xd_ssh_conf_next_file(const xd_ssh_conf *c, const char **list)
{
    xd_autofree char *word = NULL;
    while (xd_ssh_next_word(list, &word) > 0) {
        char *file = xd_ssh_conf_expand(c, word);
        if (file)
            return file;
        free(xd_take(&word));
    }
    return NULL;
}

bool xd_ssh_is_security_key(const char *path)
{
    xd_autobuf name = XD_BUF_INIT, text = XD_BUF_INIT;
    return xd_buf_printf(&name, "%s.pub", path) == 0 &&
           xd_path_read_file(xd_buf_cstr(&name), 1u << 16, &text, NULL) == 0 &&
           strncmp(xd_buf_cstr(&text), "sk-", 3) == 0;
}
