/* needs: gateways/ssh_config.c gateways/ssh_config_values.c gateways/ssh_words.c gateways/ssh_expand.c, libssh. Any text as known_hosts: a host's key is known, refused in one line, or accepted as new, and then it is known.
 * Input: first byte, bits: 1 = port 2222, 2 = HostKeyAlias, 4 = new keys are accepted, 8 = written down hashed; the rest is the file. */
#include <assert.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "gateways/ssh_hostkey.c"

#define KEY "AAAAC3NzaC1lZDI1NTE5AAAAIAft1nxDgdKd2hganBIKxx9Y6YF2ENU5uZxIZTPkeuWn"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char path[32];
static int  fd = -1;
static char said[4096];

/* Instead of ssh.c's. */
int xd_ssh_fail(xd_ssh *s, int code, const char *fmt, ...)
{
    va_list ap;
    (void)s;
    va_start(ap, fmt);
    vsnprintf(said, sizeof(said), fmt, ap);
    va_end(ap);
    return code;
}

static xd_ssh_conf *conf(unsigned bits)
{
    char            words[300];
    xd_ssh_conf    *c = NULL;
    const xd_xspec  spec = { .kind = XD_SPEC_SSH, .target = words };
    const xd_target target = { .spec = &spec };
    snprintf(words, sizeof(words), "-F none -oUserKnownHostsFile=%s -oGlobalKnownHostsFile=none%s%s%s h",
             path, bits & 1 ? " -p 2222" : "", bits & 2 ? " -oHostKeyAlias=Alias" : "",
             bits & 8 ? " -oHashKnownHosts=yes" : "");
    int r = xd_ssh_conf_new(&c, &target, NULL);
    assert(r == 0);
    return c;
}

/* -EKEYREJECTED, -EOPNOTSUPP, 0. */
static int ask(xd_ssh *s, const ssh_key key, size_t *ret_known)
{
    xd_autobuf list = XD_BUF_INIT;
    int        r = xd_ssh_hosts_new(&s->hosts, s);
    assert(r == 0);
    for (size_t i = 0; i < s->hosts->n; i++)
        assert(strncmp(s->hosts->at[i].where, path, strlen(path)) == 0);
    r = xd_ssh_hosts_algorithms(s->hosts, &list);
    size_t commas = 0;
    for (const char *p = xd_buf_cstr(&list); *p; p++)
        commas += *p == ',';
    assert(r == 0 && commas == XD_ARRAY_LEN(types)); /* each once; RSA has two names */
    said[0] = 0;
    r = check(s, key);
    assert(r == 0 || ((r == -EKEYREJECTED || r == -EOPNOTSUPP) && said[0] && !strchr(said, '\n')));
    *ret_known = s->hosts->n;
    s->hosts = xd_ssh_hosts_free(s->hosts);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static xd_ssh  s;
    static ssh_key key;
    size_t         before, after;
    struct stat    st;
    if (len < 1 || len > 16384)
        return 0;
    if (fd < 0) {
        fd = memfd_create("known_hosts", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int r = ssh_pki_import_pubkey_base64(KEY, SSH_KEYTYPE_ED25519, &key);
        assert(fd >= 0 && r == SSH_OK);
    }
    unsigned bits = *data++;
    len--;
    s.conf = conf(bits);
    s.accept_new = bits & 4;
    int r = ftruncate(fd, 0);
    assert(r == 0 && pwrite(fd, data, len, 0) == (ssize_t)len);
    r = ask(&s, key, &before);
    int e = fstat(fd, &st);
    assert(e == 0 && st.st_size >= (off_t)len);
    if (st.st_size > (off_t)len) { /* it was new, and was written down */
        assert(r == 0 && s.accept_new);
        s.accept_new = false;
        r = ask(&s, key, &after);
        assert(memchr(data, 0, len) || (r == 0 && after > before));
    }
    s.conf = xd_ssh_conf_free(s.conf);
    return 0;
}
