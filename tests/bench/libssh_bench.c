/* What libssh itself moves: a file to `cat >/dev/null` on a host, by a program that does nothing else. Prints the seconds from the open channel to the exit code of the far side, and the
 * bytes: the bound of what a synchronisation over libssh can reach. Not a test: no limits.
 *   libssh_bench HOST PORT USER KEY KNOWN_HOSTS FILE */
#include <fcntl.h>
#include <libssh/libssh.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/clock.h"

#define CIPHERS "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr"
#define PIECE (256u << 10)

static int dial(ssh_session s, char **argv)
{
    ssh_key key = NULL;
    if (ssh_options_set(s, SSH_OPTIONS_HOST, argv[1]) != SSH_OK ||
        ssh_options_set(s, SSH_OPTIONS_PORT_STR, argv[2]) != SSH_OK ||
        ssh_options_set(s, SSH_OPTIONS_USER, argv[3]) != SSH_OK ||
        ssh_options_set(s, SSH_OPTIONS_KNOWNHOSTS, argv[5]) != SSH_OK ||
        ssh_options_set(s, SSH_OPTIONS_CIPHERS_C_S, CIPHERS) != SSH_OK ||
        ssh_options_set(s, SSH_OPTIONS_CIPHERS_S_C, CIPHERS) != SSH_OK || ssh_connect(s) != SSH_OK)
        return -1;
    if (ssh_session_is_known_server(s) != SSH_KNOWN_HOSTS_OK ||
        ssh_pki_import_privkey_file(argv[4], NULL, NULL, NULL, &key) != SSH_OK)
        return -1;
    int r = ssh_userauth_publickey(s, NULL, key) == SSH_AUTH_SUCCESS ? 0 : -1;
    ssh_key_free(key);
    return r;
}

static int move(ssh_channel c, int fd, uint64_t *ret_bytes)
{
    static char piece[PIECE];
    ssize_t     n;
    while ((n = read(fd, piece, sizeof(piece))) > 0) {
        for (ssize_t at = 0; at < n;) {
            int w = ssh_channel_write(c, piece + at, (uint32_t)(n - at));
            if (w <= 0)
                return -1;
            at += w;
        }
        *ret_bytes += (uint64_t)n;
    }
    if (n < 0 || ssh_channel_send_eof(c) != SSH_OK)
        return -1;
    while (ssh_channel_read(c, piece, sizeof(piece), 0) > 0) /* until its end: cat has read all */
        ;
    return ssh_channel_get_exit_status(c) == 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    if (argc != 7)
        return fprintf(stderr, "usage: libssh_bench HOST PORT USER KEY KNOWN_HOSTS FILE\n"), 2;
    uint64_t    bytes = 0;
    const int   fd = open(argv[6], O_RDONLY | O_CLOEXEC);
    ssh_session s = ssh_new();
    int         r = fd < 0 || !s ? -1 : dial(s, argv);
    ssh_channel c = r == 0 ? ssh_channel_new(s) : NULL;
    if (!c || ssh_channel_open_session(c) != SSH_OK ||
        ssh_channel_request_exec(c, "cat >/dev/null") != SSH_OK)
        r = -1;
    const uint64_t from = xd_clock_ns();
    if (r == 0)
        r = move(c, fd, &bytes);
    if (r == 0)
        printf("%.4f %llu\n", (double)(xd_clock_ns() - from) / (double)XD_S_NS, (unsigned long long)bytes);
    else
        fprintf(stderr, "libssh_bench: %s\n", s ? ssh_get_error(s) : "no memory");
    ssh_channel_free(c);
    if (s)
        ssh_disconnect(s);
    ssh_free(s);
    if (fd >= 0)
        close(fd);
    return r == 0 ? 0 : 1;
}
