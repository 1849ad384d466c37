/* engine/address.c - see address.h. */
#include "engine/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"

static int bad(xd_error *err, const char *text, const char *why)
{
    return xd_error_set(err, -EINVAL, "'%.200s': %s; HOST:PORT or [IPV6]:PORT is expected", text, why);
}

static bool is_name(const char *text)
{
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-._", *c))
            return false;
    return *text && *text != '-';
}

/* A name as DNS and hosts files have them, or a numeric address; one of IPv6 with the name of an interface behind %. */
static const char *why_no_host(const char *host, bool six)
{
    struct in6_addr at;
    char            plain[XD_ADDRESS_HOST];
    const char     *zone = six ? strchr(host, '%') : NULL;
    if (!*host)
        return "the host is missing";
    if (!six)
        return is_name(host) ? NULL : "that is no name of a host";
    snprintf(plain, sizeof(plain), "%.*s", zone ? (int)(zone - host) : (int)strlen(host), host);
    return inet_pton(AF_INET6, plain, &at) == 1 && (!zone || is_name(zone + 1))
               ? NULL
               : "that is no address of IPv6";
}

const char *xd_address_plain(const char *text)
{
    static const char scheme[] = "tcp://";
    return strncmp(text, scheme, sizeof(scheme) - 1) == 0 ? text + sizeof(scheme) - 1 : text;
}

int xd_address_parse(xd_address *ret, const char *text, uint16_t default_port, xd_error *err)
{
    xd_address  a = { .port = default_port };
    const char *end = text + strlen(text), *port = NULL;
    const bool  brackets = text[0] == '[';
    bool        six = brackets;
    if (brackets) {
        const char *close = strchr(text, ']');
        if (!close || (close[1] && close[1] != ':'))
            return bad(err, text, "the bracket is not closed");
        port = close[1] ? close + 2 : NULL;
        end = close;
        text++;
    } else {
        const char *colon = strchr(text, ':');
        six = colon && strchr(colon + 1, ':');
        if (colon && !six) {
            end = colon;
            port = colon + 1;
        }
    }
    const char *whole = brackets ? text - 1 : text;
    if ((size_t)(end - text) >= sizeof(a.host))
        return bad(err, whole, "the host is too long");
    bool zone = false; /* of an interface, whose name may differ from another's by case alone */
    for (size_t i = 0; text + i < end; i++) {
        zone = zone || text[i] == '%';
        a.host[i] = (char)(zone ? text[i] : tolower((unsigned char)text[i]));
    }
    const char *why = why_no_host(a.host, six);
    if (why)
        return bad(err, whole, why);
    uint64_t number = default_port;
    if (port && xd_text_u64(port, 1, 65535, &number) < 0)
        return bad(err, whole, "the port is no number from 1 to 65535");
    a.port = (uint16_t)number;
    snprintf(a.text, sizeof(a.text), six ? "[%s]:%u" : "%s:%u", a.host, (unsigned)a.port);
    *ret = a;
    return 0;
}
