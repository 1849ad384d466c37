/* gateways/ssh_words.c - see ssh_words.h. */
#include "gateways/ssh_words.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/text.h"
#include "gateways/ssh_config.h"

const xd_ssh_word xd_ssh_words[] = {
    { "addressfamily", "AddressFamily", XD_SSH_WORD_USED },
    { "batchmode", "BatchMode", XD_SSH_WORD_USED },
    { "ciphers", "Ciphers", XD_SSH_WORD_LIST },
    { "compression", "Compression", XD_SSH_WORD_USED },
    { "connecttimeout", "ConnectTimeout", XD_SSH_WORD_USED },
    { "globalknownhostsfile", "GlobalKnownHostsFile", XD_SSH_WORD_LINE },
    { "hashknownhosts", "HashKnownHosts", XD_SSH_WORD_USED },
    { "hostkeyalgorithms", "HostKeyAlgorithms", XD_SSH_WORD_LIST },
    { "hostkeyalias", "HostKeyAlias", XD_SSH_WORD_USED },
    { "hostname", "HostName", XD_SSH_WORD_USED },
    { "identityagent", "IdentityAgent", XD_SSH_WORD_USED },
    { "identityfile", "IdentityFile", XD_SSH_WORD_EACH },
    { "ignoreunknown", "IgnoreUnknown", XD_SSH_WORD_USED },
    { "kbdinteractiveauthentication", "KbdInteractiveAuthentication", XD_SSH_WORD_USED },
    { "kexalgorithms", "KexAlgorithms", XD_SSH_WORD_LIST },
    { "macs", "MACs", XD_SSH_WORD_LIST },
    { "numberofpasswordprompts", "NumberOfPasswordPrompts", XD_SSH_WORD_USED },
    { "passwordauthentication", "PasswordAuthentication", XD_SSH_WORD_USED },
    { "port", "Port", XD_SSH_WORD_USED },
    { "preferredauthentications", "PreferredAuthentications", XD_SSH_WORD_USED },
    { "pubkeyacceptedalgorithms", "PubkeyAcceptedAlgorithms", XD_SSH_WORD_LIST },
    { "pubkeyauthentication", "PubkeyAuthentication", XD_SSH_WORD_USED },
    { "requiredrsasize", "RequiredRSASize", XD_SSH_WORD_USED },
    { "sendenv", "SendEnv", XD_SSH_WORD_MANY },
    { "serveralivecountmax", "ServerAliveCountMax", XD_SSH_WORD_USED },
    { "serveraliveinterval", "ServerAliveInterval", XD_SSH_WORD_USED },
    { "setenv", "SetEnv", XD_SSH_WORD_WORDS },
    { "stricthostkeychecking", "StrictHostKeyChecking", XD_SSH_WORD_USED },
    { "tcpkeepalive", "TCPKeepAlive", XD_SSH_WORD_USED },
    { "user", "User", XD_SSH_WORD_USED },
    { "userknownhostsfile", "UserKnownHostsFile", XD_SSH_WORD_LINE },

    { "addkeystoagent", "AddKeysToAgent", XD_SSH_WORD_OFF },
    { "bindaddress", "BindAddress", XD_SSH_WORD_OFF },
    { "bindinterface", "BindInterface", XD_SSH_WORD_OFF },
    { "canonicalizehostname", "CanonicalizeHostname", XD_SSH_WORD_OFF },
    { "certificatefile", "CertificateFile", XD_SSH_WORD_OFF },
    { "controlpath", "ControlPath", XD_SSH_WORD_OFF },
    { "forwardagent", "ForwardAgent", XD_SSH_WORD_OFF },
    { "hostbasedauthentication", "HostbasedAuthentication", XD_SSH_WORD_OFF },
    { "identitiesonly", "IdentitiesOnly", XD_SSH_WORD_OFF },
    { "knownhostscommand", "KnownHostsCommand", XD_SSH_WORD_OFF },
    { "nohostauthenticationforlocalhost", "NoHostAuthenticationForLocalhost", XD_SSH_WORD_OFF },
    { "permitlocalcommand", "PermitLocalCommand", XD_SSH_WORD_OFF },
    { "pkcs11provider", "PKCS11Provider", XD_SSH_WORD_OFF },
    { "proxycommand", "ProxyCommand", XD_SSH_WORD_OFF },
    { "proxyjump", "ProxyJump", XD_SSH_WORD_OFF },
    { "rekeylimit", "RekeyLimit", XD_SSH_WORD_OFF },
    { "revokedhostkeys", "RevokedHostKeys", XD_SSH_WORD_OFF },
    { "verifyhostkeydns", "VerifyHostKeyDNS", XD_SSH_WORD_OFF },
    { "hostbasedacceptedalgorithms", "HostbasedAcceptedAlgorithms", XD_SSH_WORD_NOTHING },
    { "gssapiauthentication", "GSSAPIAuthentication", XD_SSH_WORD_GSSAPI },

    /* ssh takes them still, and passes over them */
    { "afstokenpassing", "", XD_SSH_WORD_NOTHING },
    { "cipher", "", XD_SSH_WORD_NOTHING },
    { "compressionlevel", "", XD_SSH_WORD_NOTHING },
    { "fallbacktorsh", "", XD_SSH_WORD_NOTHING },
    { "globalknownhostsfile2", "", XD_SSH_WORD_NOTHING },
    { "kerberosauthentication", "", XD_SSH_WORD_NOTHING },
    { "kerberostgtpassing", "", XD_SSH_WORD_NOTHING },
    { "protocol", "", XD_SSH_WORD_NOTHING },
    { "rhostsauthentication", "", XD_SSH_WORD_NOTHING },
    { "rhostsrsaauthentication", "", XD_SSH_WORD_NOTHING },
    { "rsaauthentication", "", XD_SSH_WORD_NOTHING },
    { "useprivilegedport", "", XD_SSH_WORD_NOTHING },
    { "userknownhostsfile2", "", XD_SSH_WORD_NOTHING },
    { "useroaming", "", XD_SSH_WORD_NOTHING },
    { "usersh", "", XD_SSH_WORD_NOTHING },

    { "canonicaldomains", "", XD_SSH_WORD_NOTHING },
    { "canonicalizefallbacklocal", "", XD_SSH_WORD_NOTHING },
    { "canonicalizemaxdots", "", XD_SSH_WORD_NOTHING },
    { "canonicalizepermittedcnames", "", XD_SSH_WORD_NOTHING },
    { "casignaturealgorithms", "", XD_SSH_WORD_NOTHING },
    { "checkhostip", "", XD_SSH_WORD_NOTHING },
    { "clearallforwardings", "", XD_SSH_WORD_NOTHING },
    { "connectionattempts", "", XD_SSH_WORD_NOTHING },
    { "controlmaster", "", XD_SSH_WORD_NOTHING },
    { "controlpersist", "", XD_SSH_WORD_NOTHING },
    { "dynamicforward", "", XD_SSH_WORD_NOTHING },
    { "enableescapecommandline", "", XD_SSH_WORD_NOTHING },
    { "enablesshkeysign", "", XD_SSH_WORD_NOTHING },
    { "escapechar", "", XD_SSH_WORD_NOTHING },
    { "exitonforwardfailure", "", XD_SSH_WORD_NOTHING },
    { "fingerprinthash", "", XD_SSH_WORD_NOTHING },
    { "forkafterauthentication", "", XD_SSH_WORD_NOTHING },
    { "forwardx11", "", XD_SSH_WORD_NOTHING },
    { "forwardx11timeout", "", XD_SSH_WORD_NOTHING },
    { "forwardx11trusted", "", XD_SSH_WORD_NOTHING },
    { "gatewayports", "", XD_SSH_WORD_NOTHING },
    { "gssapidelegatecredentials", "", XD_SSH_WORD_NOTHING },
    { "gssapikeyexchange", "", XD_SSH_WORD_NOTHING },
    { "gssapiclientidentity", "", XD_SSH_WORD_NOTHING },
    { "gssapiserveridentity", "", XD_SSH_WORD_NOTHING },
    { "gssapitrustdns", "", XD_SSH_WORD_NOTHING },
    { "gssapirenewalforcesrekey", "", XD_SSH_WORD_NOTHING },
    { "gssapikexalgorithms", "", XD_SSH_WORD_NOTHING },
    { "ipqos", "", XD_SSH_WORD_NOTHING },
    { "kbdinteractivedevices", "", XD_SSH_WORD_NOTHING },
    { "localcommand", "", XD_SSH_WORD_NOTHING },
    { "localforward", "", XD_SSH_WORD_NOTHING },
    { "loglevel", "", XD_SSH_WORD_NOTHING },
    { "logverbose", "", XD_SSH_WORD_NOTHING },
    { "permitremoteopen", "", XD_SSH_WORD_NOTHING },
    { "proxyusefdpass", "", XD_SSH_WORD_NOTHING },
    { "remotecommand", "", XD_SSH_WORD_NOTHING },
    { "remoteforward", "", XD_SSH_WORD_NOTHING },
    { "requesttty", "", XD_SSH_WORD_NOTHING },
    { "securitykeyprovider", "", XD_SSH_WORD_NOTHING },
    { "sessiontype", "", XD_SSH_WORD_NOTHING },
    { "stdinnull", "", XD_SSH_WORD_NOTHING },
    { "streamlocalbindmask", "", XD_SSH_WORD_NOTHING },
    { "streamlocalbindunlink", "", XD_SSH_WORD_NOTHING },
    { "syslogfacility", "", XD_SSH_WORD_NOTHING },
    { "tag", "", XD_SSH_WORD_NOTHING },
    { "tunnel", "", XD_SSH_WORD_NOTHING },
    { "tunneldevice", "", XD_SSH_WORD_NOTHING },
    { "updatehostkeys", "", XD_SSH_WORD_NOTHING },
    { "visualhostkey", "", XD_SSH_WORD_NOTHING },
    { "xauthlocation", "", XD_SSH_WORD_NOTHING },
    { 0 },
};

/* Names of before; ssh still takes them. */
static const struct {
    const char *old, *name;
} renamed[] = { { "pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms" },
                { "skeyauthentication", "kbdinteractiveauthentication" },
                { "tisauthentication", "kbdinteractiveauthentication" },
                { "dsaauthentication", "pubkeyauthentication" },
                { "challengeresponseauthentication", "kbdinteractiveauthentication" },
                { "keepalive", "tcpkeepalive" },
                { "rsaminsize", "requiredrsasize" } };

int xd_ssh_word_find(const char *name)
{
    for (size_t i = 0; i < sizeof(renamed) / sizeof(renamed[0]); i++)
        if (strcasecmp(name, renamed[i].old) == 0)
            name = renamed[i].name;
    for (int i = 0; xd_ssh_words[i].name; i++)
        if (strcasecmp(name, xd_ssh_words[i].name) == 0)
            return i;
    return -1;
}

int xd_ssh_number(const char *text, uint32_t *ret)
{
    static const char     units[] = "smhdw";
    static const uint32_t seconds[] = { 1, 60, 3600, 86400, 604800 };
    uint64_t              all = 0;
    if (!*text)
        return -EINVAL;
    while (*text) {
        const size_t len = strspn(text, "0123456789");
        char         digits[16];
        uint64_t     n;
        if (len == 0 || len >= sizeof(digits))
            return -EINVAL;
        memcpy(digits, text, len);
        digits[len] = 0;
        XD_TRY(xd_text_u64(digits, 0, UINT32_MAX, &n));
        text += len;
        const char *unit = *text ? strchr(units, tolower((unsigned char)*text)) : NULL;
        if (*text && !unit)
            return -EINVAL;
        all += n * (unit ? seconds[unit - units] : 1);
        text += unit != NULL;
        if (all > UINT32_MAX)
            return -EINVAL;
    }
    *ret = (uint32_t)all;
    return 0;
}

/* Debian's ssh_config asks for GSSAPI on every host; that means something only to who has tickets. */
static bool has_tickets(void)
{
    const char *cache = getenv("KRB5CCNAME");
    char        path[64];
    if (cache && *cache)
        return strncmp(cache, "FILE:", 5) != 0 || access(cache + 5, F_OK) == 0;
    snprintf(path, sizeof(path), "/tmp/krb5cc_%u", (unsigned)getuid());
    return access(path, F_OK) == 0;
}

static bool is_off(const char *value)
{
    return strcasecmp(value, "no") == 0 || strcasecmp(value, "none") == 0 || strcasecmp(value, "false") == 0;
}

/* What ssh takes for a value; what it does not, it says itself in its own words. */
static const struct {
    const char *name, *values; /* "#" = a number or a time */
} takes[] = { { "addressfamily", "any inet inet6" },
              { "batchmode", "yes no true false" },
              { "compression", "yes no true false" },
              { "connecttimeout", "# none" },
              { "hashknownhosts", "yes no true false" },
              { "kbdinteractiveauthentication", "yes no true false" },
              { "numberofpasswordprompts", "#" },
              { "passwordauthentication", "yes no true false" },
              { "pubkeyauthentication", "yes no true false unbound host-bound" },
              { "requiredrsasize", "#" },
              { "serveralivecountmax", "#" },
              { "serveraliveinterval", "# none" },
              { "stricthostkeychecking", "yes no true false off ask accept-new" },
              { "tcpkeepalive", "yes no true false" } };

static bool is_one_of(const char *value, const char *list)
{
    const size_t len = strlen(value);
    for (; *list; list += strspn(list, " ")) {
        const size_t n = strcspn(list, " ");
        if (n == len && strncasecmp(list, value, n) == 0 && *value != '#')
            return true;
        list += n;
    }
    return false;
}

static bool is_taken(int word, const char *value)
{
    uint32_t n;
    for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++)
        if (strcmp(takes[i].name, xd_ssh_words[word].name) == 0)
            return (*takes[i].values == '#' && xd_ssh_number(value, &n) == 0) ||
                   is_one_of(value, takes[i].values);
    return true;
}

bool xd_ssh_word_single(int word)
{
    const xd_ssh_word_kind kind = xd_ssh_words[word].kind;
    return kind == XD_SSH_WORD_USED || kind == XD_SSH_WORD_LIST || kind == XD_SSH_WORD_EACH;
}

bool xd_ssh_word_suits(int word, const char *value)
{
    if (!is_taken(word, value))
        return false;
    /* libssh does not add to its own lists, as ssh does for a first +, - or ^ */
    if (xd_ssh_words[word].kind == XD_SSH_WORD_LIST && (strchr("+-^", *value) || strchr(value, '*')))
        return false;
    switch (xd_ssh_words[word].kind) {
    case XD_SSH_WORD_OFF:
        return is_off(value) || strncasecmp(value, "default", 7) == 0;
    case XD_SSH_WORD_GSSAPI:
        return is_off(value) || !has_tickets();
    default:
        return true;
    }
}

/* ---- words and patterns -------------------------------------------------------------------------------- */

/* The last star takes what it must: to let another one before it take more would not help. */
static bool match(const char *name, const char *pattern, size_t len, bool fold)
{
    const char *end = pattern + len, *star = NULL, *taken = NULL;
    while (*name) {
        const unsigned char p = pattern < end ? (unsigned char)*pattern : 0, n = (unsigned char)*name;
        if (p == '*') {
            star = ++pattern;
            taken = name;
        } else if (p && (p == '?' || (fold ? tolower(p) : p) == n)) {
            pattern++, name++;
        } else if (star) {
            pattern = star;
            name = ++taken;
        } else {
            return false;
        }
    }
    while (pattern < end && *pattern == '*')
        pattern++;
    return pattern == end;
}

bool xd_ssh_match_list(const char *name, const char *list, const char *separators, bool fold)
{
    bool found = false;
    for (const char *p = list + strspn(list, separators); *p;) {
        size_t len = strcspn(p, separators);
        bool   negated = *p == '!';
        if (match(name, p + negated, len - negated, fold)) {
            if (negated)
                return false;
            found = true;
        }
        p += len;
        p += strspn(p, separators);
    }
    return found;
}

/* The next word of a line: 1, 0 = there is none, -EINVAL = an open quote, -ENOMEM. */
int xd_ssh_next_word(const char **at, char **ret)
{
    const char *p = *at + strspn(*at, " \t");
    xd_autobuf  word = XD_BUF_INIT;
    if (!*p || *p == '#') {
        *at = p + strlen(p);
        return 0;
    }
    for (char quote = 0; *p && (quote || (*p != ' ' && *p != '\t')); p++) {
        if (*p == '\\' && p[1] && (strchr("\"'\\", p[1]) || (!quote && p[1] == ' ')))
            XD_TRY(xd_buf_add_byte(&word, (uint8_t) * ++p));
        else if (quote ? *p == quote : (*p == '"' || *p == '\''))
            quote = (char)(quote ? 0 : *p);
        else
            XD_TRY(xd_buf_add_byte(&word, (uint8_t)*p));
        if (quote && !p[1])
            return -EINVAL;
    }
    *at = p;
    *ret = xd_bytes_dup(xd_buf_view(&word));
    return *ret ? 1 : -ENOMEM;
}
