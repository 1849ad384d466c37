/* gateways/ssh_dial.c - see ssh_state.h: from the name of a host to a connection whose keys are exchanged.  The socket is
 * connected here, not by libssh: so a dial can be given up at any time, each failure has its own words, and the kernel watches for
 * a connection that has died. */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/os_linux.h"
#include "engine/base/text.h"
#include "gateways/connect.h"
#include "gateways/lookup.h"
#include "gateways/ssh_state.h"

#define CONNECT_S 10u /* without ConnectTimeout */
#define AGAIN_S 6u    /* when it was reached before: the next attempt may find it again */
#define SILENCE_S 30u /* the kernel gives up a connection that acknowledges nothing for so long */
#define FAR_US 10000u /* of round-trip time: compression is worth its processor time */
#define AGAIN_MS 200u /* before another attempt at a host that has no room; then more */
#define AGAIN_MAX_MS 2000u

/* ---- the name ----------------------------------------------------------------------------------------------- */

/* *ret is to be dropped. */
static int resolve(xd_ssh *s, xd_lookup **ret)
{
    const char *host = xd_ssh_conf_host(s->conf);
    const char *family = xd_ssh_conf_get(s->conf, "addressfamily", "any");
    int         r = xd_lookup_begin(ret, host, (uint16_t)xd_ssh_conf_port(s->conf),
                            strcasecmp(family, "inet") == 0    ? AF_INET
                                    : strcasecmp(family, "inet6") == 0 ? AF_INET6
                                                                       : AF_UNSPEC);
    while (r == 0)
        r = xd_ssh_wait(s, xd_lookup_fd(*ret), POLLIN, s->deadline_ns);
    if (r == -ETIMEDOUT)
        return xd_ssh_fail(s, r, "Could not resolve hostname %s: the name server gives no answer in time",
                           host);
    if (r < 0)
        return r;
    if (xd_lookup_result(*ret) != 0)
        return xd_ssh_fail(s, -EHOSTUNREACH, "Could not resolve hostname %s: %s", host,
                           gai_strerror(xd_lookup_result(*ret)));
    return 0;
}

/* ---- the connection ------------------------------------------------------------------------------------------- */

static void set_option(int fd, int level, int name, unsigned value)
{
    (void)setsockopt(fd, level, name, &(int){ (int)value }, sizeof(int));
}

/* A peer that is gone without a word is noticed: what is sent and not acknowledged for so long ends the connection, and
 * something is sent all the time (ssh_thread.c). */
static void watch_over(const xd_ssh *s, int fd)
{
    const uint32_t every = xd_ssh_conf_number(s->conf, "serveraliveinterval", 0);
    const uint32_t count = xd_ssh_conf_number(s->conf, "serveralivecountmax", 3);
    const uint32_t silence = every && count && every < 3600 && count < 100 ? every * count : SILENCE_S;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, silence * 1000);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, xd_ssh_conf_is(s->conf, "tcpkeepalive", true));
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, SILENCE_S / 3);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, SILENCE_S / 6);
}

static int wait_fd(void *arg, int fd, short events, uint64_t until_ns)
{
    return xd_ssh_wait(arg, fd, events, until_ns);
}

/* One address: 0, -errno. */
static int connect_to(xd_ssh *s, const struct addrinfo *a, uint64_t until_ns)
{
    char host[64] = "?", port[8] = "?";
    (void)getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof(host), port, sizeof(port),
                      NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(s->address, sizeof(s->address), "%s port %s", host, port);
    xd_autoclose int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    watch_over(s, fd);
    XD_TRY(xd_connect(fd, a, wait_fd, s, until_ns));
    s->fd = fd;
    fd = -1;
    return 0;
}

static uint32_t connect_seconds(const xd_ssh *s)
{
    const uint32_t n = xd_ssh_conf_number(s->conf, "connecttimeout", 0);
    return s->again ? XD_MIN(n ? n : AGAIN_S, AGAIN_S) : n ? n : CONNECT_S;
}

static int connect_any(xd_ssh *s, const struct addrinfo *found)
{
    const uint64_t end = XD_MIN(xd_clock_ns() + connect_seconds(s) * XD_S_NS, s->deadline_ns);
    unsigned       left = 0;
    int            r = -EHOSTUNREACH;
    for (const struct addrinfo *a = found; a; a = a->ai_next)
        left++;
    for (const struct addrinfo *a = found; a; a = a->ai_next, left--) {
        const uint64_t now = xd_clock_ns();
        r = connect_to(s, a, now >= end ? now : now + (end - now) / left);
        if (r == 0 || r == -ECANCELED)
            return r;
    }
    if (r == -ETIMEDOUT)
        return xd_ssh_fail(s, r, "connect to host %s: Connection timed out (%s gave no answer)",
                           xd_ssh_conf_host(s->conf), s->address);
    return xd_ssh_fail(s, r, "connect to host %s: %s (%s)", xd_ssh_conf_host(s->conf), xd_error_name(r),
                       s->address);
}

/* ---- keys are exchanged ----------------------------------------------------------------------------------------- */

static int set_text(xd_ssh *s, enum ssh_options_e option, const char *keyword)
{
    const char *value = xd_ssh_conf_get(s->conf, keyword, NULL);
    if (!value || ssh_options_set(s->session, option, value) == SSH_OK)
        return 0;
    return xd_ssh_fail(s, -EOPNOTSUPP, "libssh has none of the algorithms that ssh_config asks for (%s %s)",
                       keyword, value);
}

/* Those of libssh. It begins with ChaCha20, which takes three times as long where the processor knows AES. */
#define CIPHERS                                                                                          \
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr," \
    "aes128-ctr"

static int set_algorithms(xd_ssh *s)
{
    xd_autobuf keys = XD_BUF_INIT;
    if (xd_os_has_aes()) {
        (void)ssh_options_set(s->session, SSH_OPTIONS_CIPHERS_C_S, CIPHERS);
        (void)ssh_options_set(s->session, SSH_OPTIONS_CIPHERS_S_C, CIPHERS);
    }
    XD_TRY(set_text(s, SSH_OPTIONS_CIPHERS_C_S, "ciphers"));
    XD_TRY(set_text(s, SSH_OPTIONS_CIPHERS_S_C, "ciphers"));
    XD_TRY(set_text(s, SSH_OPTIONS_HMAC_C_S, "macs"));
    XD_TRY(set_text(s, SSH_OPTIONS_HMAC_S_C, "macs"));
    XD_TRY(set_text(s, SSH_OPTIONS_KEY_EXCHANGE, "kexalgorithms"));
    XD_TRY(set_text(s, SSH_OPTIONS_PUBLICKEY_ACCEPTED_TYPES, "pubkeyacceptedalgorithms"));
    if (xd_ssh_conf_get(s->conf, "hostkeyalgorithms", NULL))
        return set_text(s, SSH_OPTIONS_HOSTKEYS, "hostkeyalgorithms");
    XD_TRY(xd_ssh_hosts_algorithms(s->hosts, &keys));
    (void)ssh_options_set(s->session, SSH_OPTIONS_HOSTKEYS, xd_buf_cstr(&keys));
    return 0;
}

/* From so far away a list of tests takes several round trips more because of its length: TCP begins slowly. */
static bool is_far(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t       size = sizeof(info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_rtt >= FAR_US;
}

/* Nothing is left to libssh's own reading of files. */
static int set_up(xd_ssh *s)
{
    const bool     no = false;
    const unsigned port = xd_ssh_conf_port(s->conf);
    s->session = ssh_new();
    if (!s->session)
        return -ENOMEM;
    ssh_set_blocking(s->session, 0);
    const int rsa = (int)xd_ssh_conf_number(s->conf, "requiredrsasize", 0);
    if (ssh_options_set(s->session, SSH_OPTIONS_PROCESS_CONFIG, &no) != SSH_OK ||
        ssh_options_set(s->session, SSH_OPTIONS_HOST, xd_ssh_conf_host(s->conf)) != SSH_OK ||
        ssh_options_set(s->session, SSH_OPTIONS_PORT, &port) != SSH_OK ||
        ssh_options_set(s->session, SSH_OPTIONS_USER, xd_ssh_conf_user(s->conf)) != SSH_OK ||
        ssh_options_set(s->session, SSH_OPTIONS_KNOWNHOSTS, "/dev/null") != SSH_OK ||
        ssh_options_set(s->session, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") != SSH_OK ||
        (rsa && ssh_options_set(s->session, SSH_OPTIONS_RSA_MIN_SIZE, &rsa) != SSH_OK) ||
        ssh_options_set(s->session, SSH_OPTIONS_FD, &s->fd) != SSH_OK)
        return xd_ssh_fail(s, -EOPNOTSUPP, "libssh does not take the host '%s' with the user '%s': %s",
                           xd_ssh_conf_host(s->conf), xd_ssh_conf_user(s->conf), ssh_get_error(s->session));
    if (xd_ssh_conf_is(s->conf, "compression", is_far(s->fd)))
        (void)ssh_options_set(s->session, SSH_OPTIONS_COMPRESSION, "yes");
    return set_algorithms(s);
}

void xd_ssh_drop_session(xd_ssh *s)
{
    if (s->session) {
        ssh_silent_disconnect(s->session);
        ssh_free(s->session);
    }
    if (s->fd >= 0)
        close(s->fd);
    s->session = NULL;
    s->fd = -1;
}

/* "no match for method kex algos: server [a,b], client [...]": the ssh program may know one. */
static int no_match(xd_ssh *s, const char *why)
{
    const char *end = strstr(why, "], client ");
    return xd_ssh_fail(s, -EOPNOTSUPP,
                       "Unable to negotiate with %s: %.*s, and libssh offers none of them; use --ssh=openssh",
                       s->address, end ? (int)(end + 1 - why) : (int)strlen(why), why);
}

/* 0; 1 = the host has closed the connection before it said who it is, as one does that has too many of them just now; -errno. */
static int exchange(xd_ssh *s)
{
    int            r;
    const uint64_t deadline = s->deadline_ns, own = xd_clock_ns() + connect_seconds(s) * XD_S_NS;
    XD_TRY(set_up(s));
    s->deadline_ns = XD_MIN(own, deadline);
    s->fd = -1; /* it is libssh's now */
    while ((r = ssh_connect(s->session)) == SSH_AGAIN)
        XD_TRY(xd_ssh_step(s, ssh_get_serverbanner(s->session) ? "to the exchange of keys"
                                                               : "no ssh server has said anything"));
    s->deadline_ns = deadline;
    if (r == SSH_OK)
        return 0;
    const char *banner = ssh_get_serverbanner(s->session), *why = ssh_get_error(s->session);
    if (banner && strstr(why, "no match"))
        return no_match(s, strstr(why, "no match"));
    (void)xd_ssh_fail(s, -ECONNRESET, "%s %s: %s", s->address,
                      banner ? "broke off while keys were exchanged"
                             : "closed the connection before it said that it speaks ssh",
                      why);
    return banner ? -ECONNRESET : 1;
}

/* Hosts that many dial at once (MaxStartups) want them to come back at different times. */
static int pause_before(xd_ssh *s, unsigned attempt)
{
    const unsigned most = XD_MIN(AGAIN_MS << XD_MIN(attempt, 4u), AGAIN_MAX_MS);
    unsigned       chance = 0;
    (void)ssh_get_random(&chance, sizeof(chance), 0);
    const uint64_t until = xd_clock_ns() + (most / 2 + chance % most) * XD_MS_NS;
    if (until >= s->deadline_ns)
        return -ETIMEDOUT;
    int r = 0;
    while (r == 0)
        r = xd_ssh_wait(s, -1, 0, until);
    return r == -ETIMEDOUT ? 0 : r;
}

int xd_ssh_dial(xd_ssh *s)
{
    xd_lookup *l = NULL;
    int        r = resolve(s, &l);
    for (unsigned attempt = 0; r == 0; attempt++) {
        r = connect_any(s, xd_lookup_found(l));
        if (r == 0 && (r = exchange(s)) == 0)
            break;
        if (r == 1) {
            xd_ssh_drop_session(s);
            r = pause_before(s, attempt);
            if (r == -ETIMEDOUT) /* the error says it */
                r = -ECONNRESET;
        }
    }
    (void)xd_lookup_drop(l);
    return r;
}
