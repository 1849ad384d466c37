/* gateways/server_key.c - see server_key.h. */
#include "gateways/server_key.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/base/mem.h"
#include "engine/base/os_linux.h"
#include "engine/front.h"

int xd_server_key_connect(const struct addrinfo *to, xd_wait_fn wait, void *arg, uint64_t until_ns, int *ret)
{
    xd_autoclose int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    XD_TRY(xd_connect(fd, to, wait, arg, until_ns));
    *ret = fd;
    fd = -1;
    return 0;
}

int xd_server_key_ask(int fd, xd_wait_fn wait, void *arg, uint64_t until_ns,
                      char answer[XD_SERVER_KEY_ANSWER])
{
    size_t len = 0;
    answer[0] = 0;
    if (xd_os_write_some(fd, XD_FRONT_QUESTION, strlen(XD_FRONT_QUESTION)) !=
        (ssize_t)strlen(XD_FRONT_QUESTION))
        return -EIO;
    while (len < XD_SERVER_KEY_ANSWER - 1) {
        ssize_t n = xd_os_read_some(fd, answer + len, XD_SERVER_KEY_ANSWER - 1 - len);
        if (n == -EAGAIN) {
            XD_TRY(wait(arg, fd, POLLIN, until_ns));
            continue;
        }
        if (n <= 0)
            break;
        len += (size_t)n;
        answer[len] = 0;
    }
    return 0;
}

int xd_server_key_read(const char *answer, xd_pubkey *ret)
{
    const size_t word = strlen(XD_KEY_WORD " ");
    if (strncmp(answer, XD_KEY_WORD " ", word) != 0 || strlen(answer) < word + XD_KEY_Z85 ||
        xd_pubkey_parse(ret, (xd_bytes){ (const uint8_t *)answer + word, XD_KEY_Z85 }) < 0)
        return -EPROTO;
    return 0;
}
