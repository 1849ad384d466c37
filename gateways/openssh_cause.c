/* gateways/openssh_cause.c - see openssh.h: ssh's messages, which it writes for people only.
 *
 * The table is ordered by what explains more: a connection that was refused by a jump host also ends with "Connection closed by
 * UNKNOWN", and a key that has changed also with "Host key verification failed". */
#include <stdio.h>
#include <string.h>

#include "gateways/openssh.h"

static const struct {
    const char      *words;
    xd_openssh_class is;
} table[] = {
    { "Bad configuration option", XD_OPENSSH_CONFIG },
    { "terminating, ", XD_OPENSSH_CONFIG },
    { "Can't open user config file", XD_OPENSSH_CONFIG },
    { "Bad owner or permissions on", XD_OPENSSH_CONFIG },
    { "command-line line 0:", XD_OPENSSH_CONFIG },
    { "Could not resolve hostname", XD_OPENSSH_RESOLVE },
    { "REVOKED HOST KEY DETECTED", XD_OPENSSH_KEY_REVOKED },
    { "is revoked", XD_OPENSSH_KEY_REVOKED },
    { "HOST IDENTIFICATION HAS CHANGED", XD_OPENSSH_KEY_CHANGED },
    { "Host key verification failed", XD_OPENSSH_KEY_UNKNOWN },
    { "you have requested strict checking", XD_OPENSSH_KEY_UNKNOWN },
    { "Unable to negotiate with", XD_OPENSSH_NEGOTIATE },
    { "Permission denied (", XD_OPENSSH_AUTH },
    { "Permission denied, ", XD_OPENSSH_AUTH },
    { "Too many authentication failures", XD_OPENSSH_AUTH },
    { "No more authentication methods", XD_OPENSSH_AUTH },
    { "Connection refused", XD_OPENSSH_REFUSED },
    { "Connection timed out", XD_OPENSSH_TIMEOUT },
    { "Operation timed out", XD_OPENSSH_TIMEOUT },
    { "Timeout, server", XD_OPENSSH_TIMEOUT },
    { "No route to host", XD_OPENSSH_UNREACHABLE },
    { "Network is unreachable", XD_OPENSSH_UNREACHABLE },
    { "Network is down", XD_OPENSSH_UNREACHABLE },
    { "Host is down", XD_OPENSSH_UNREACHABLE },
    { "exec request failed", XD_OPENSSH_SESSION },
    { "open failed", XD_OPENSSH_SESSION },
    { "session request failed", XD_OPENSSH_SESSION },
    { "Exceeded MaxStartups", XD_OPENSSH_DROPPED },
    { "Not allowed at this time", XD_OPENSSH_DROPPED },
    { "exchange_identification:", XD_OPENSSH_DROPPED },
    { "banner exchange:", XD_OPENSSH_DROPPED },
    { "onnection closed", XD_OPENSSH_CLOSED },
    { "onnection reset", XD_OPENSSH_CLOSED },
    { "Received disconnect", XD_OPENSSH_CLOSED },
    { "Disconnected from", XD_OPENSSH_CLOSED },
    { "Broken pipe", XD_OPENSSH_CLOSED },
};

/* The line in which these words are, without blanks around it. */
static xd_bytes line_of(const char *said, const char *words)
{
    const char *at = strstr(said, words);
    if (!at)
        return (xd_bytes){ 0 };
    const char *begin = at, *end = at + strcspn(at, "\r\n");
    while (begin > said && begin[-1] != '\n' && begin[-1] != '\r')
        begin--;
    while (*begin == ' ' || *begin == '\t')
        begin++;
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (xd_bytes){ (const uint8_t *)begin, (size_t)(end - begin) };
}

/* The last line that says something. */
static xd_bytes last_line(const char *said)
{
    xd_bytes last = { 0 };
    for (const char *p = said; *p;) {
        const size_t len = strcspn(p, "\r\n");
        const char  *from = p + strspn(p, " \t");
        if (from < p + len)
            last = (xd_bytes){ (const uint8_t *)from, (size_t)(p + len - from) };
        p += len;
        p += strspn(p, "\r\n");
    }
    return last;
}

static xd_bytes first_line(const char *said)
{
    const char *from = said + strspn(said, " \t\r\n");
    return (xd_bytes){ (const uint8_t *)from, strcspn(from, "\r\n") };
}

#define SHOW(b) (int)(b).len, (const char *)(b).ptr

static void key_changed(const char *said, const char *by_hand, char *ret, size_t size)
{
    xd_bytes known = line_of(said, "Offending ");
    xd_bytes remove = line_of(said, "ssh-keygen -f");
    snprintf(ret, size,
             "its host key has CHANGED, so this may be another host, or somebody in between (%.*s). If the "
             "change is right: "
             "%.*s, then %s",
             SHOW(known), SHOW(remove), by_hand);
}

xd_openssh_class xd_openssh_cause(const char *said, const char *by_hand, bool asked, char *ret, size_t size)
{
    xd_openssh_class is = XD_OPENSSH_OTHER;
    xd_bytes         line = last_line(said);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strstr(said, table[i].words)) {
            is = table[i].is;
            line = line_of(said, table[i].words);
            break;
        }
    const xd_bytes first = first_line(said);
    if (is == XD_OPENSSH_DROPPED &&
        first.ptr != line.ptr) { /* it is only what followed: a ProxyCommand that fails */
        is = XD_OPENSSH_OTHER;
        line = first;
    }
    switch (is) {
    case XD_OPENSSH_RESOLVE:
        snprintf(ret, size, "%.*s", SHOW(line));
        break;
    case XD_OPENSSH_REFUSED:
        snprintf(ret, size, "%.*s: no ssh server listens there", SHOW(line));
        break;
    case XD_OPENSSH_TIMEOUT:
        snprintf(ret, size, "%.*s: the host does not answer", SHOW(line));
        break;
    case XD_OPENSSH_DROPPED:
        snprintf(ret, size,
                 "%.*s: the host ends the connection before it says anything (too many at once: MaxStartups; "
                 "or it refuses this "
                 "address)",
                 SHOW(line));
        break;
    case XD_OPENSSH_CLOSED:
        snprintf(ret, size, "%.*s, before the user was let in", SHOW(line));
        break;
    case XD_OPENSSH_KEY_UNKNOWN:
        snprintf(ret, size,
                 "Host key verification failed: its key is not known here. Compare and accept it with: %s "
                 "(or give "
                 "--ssh-accept-new)",
                 by_hand);
        break;
    case XD_OPENSSH_KEY_CHANGED:
        key_changed(said, by_hand, ret, size);
        break;
    case XD_OPENSSH_AUTH:
        line.len -= line.len && line.ptr[line.len - 1] == '.';
        snprintf(ret, size, "%.*s%s", SHOW(line),
                 asked ? ""
                       : "; there is no terminal to ask for a password or passphrase on: give the host a key "
                         "that needs none, or "
                         "put it into ssh-agent (ssh-add)");
        break;
    case XD_OPENSSH_CONFIG:
    case XD_OPENSSH_UNREACHABLE:
    case XD_OPENSSH_KEY_REVOKED:
    case XD_OPENSSH_NEGOTIATE:
        snprintf(ret, size, "%.*s", SHOW(line));
        break;
    case XD_OPENSSH_SESSION:
        snprintf(ret, size,
                 "%.*s: the host lets the user in, but starts no program (MaxSessions, or a limit there)",
                 SHOW(line));
        break;
    case XD_OPENSSH_OTHER:
        if (line.len)
            snprintf(ret, size, "ssh: %.*s", SHOW(line));
        else
            snprintf(ret, size,
                     "ssh ended with status 255 and without a word: it failed, or the host ended the user's "
                     "shell at once; try: %s",
                     by_hand);
        break;
    }
    return is;
}
