/* gateways/ssh_auth.c - see ssh_state.h: the methods, in the order that the user and the host agree on. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/text.h"
#include "gateways/ssh_state.h"

#define ROUNDS_MAX 16u /* of methods: a host may ask for several, one after another */
#define ANSWER_MAX sizeof(((xd_ssh_secret *)0)->text)
#define PREFERRED "publickey,keyboard-interactive,password"

int xd_ssh_tried(xd_ssh *s, const char *fmt, ...)
{
    va_list ap;
    XD_TRY(xd_buf_add_str(&s->tried, s->tried.len ? ", " : ""));
    va_start(ap, fmt);
    int r = xd_buf_vprintf(&s->tried, fmt, ap);
    va_end(ap);
    return r;
}

int xd_ssh_auth_outcome(xd_ssh *s, int rc)
{
    if (rc != SSH_AUTH_ERROR)
        return rc;
    return xd_ssh_fail(s, -ECONNRESET, "%s broke off the authentication of %s: %s", s->address,
                       xd_ssh_conf_user(s->conf), ssh_get_error(s->session));
}

/* ---- passwords, and whatever the host asks ---------------------------------------------------------------------- */

/* What the user answers, now or when the connection was first made: 0, -ENOTTY, -ECANCELED. *ret_new = was asked. */
static int answer(xd_ssh *s, const char *prompt, bool echo, bool again, char *to, bool *ret_new)
{
    const char *before = again ? NULL : xd_ssh_remembered(s, prompt);
    *ret_new = !before;
    if (!before)
        return xd_ssh_ask(s, prompt, echo, to, ANSWER_MAX);
    snprintf(to, ANSWER_MAX, "%s", before);
    return 0;
}

static int password(xd_ssh *s)
{
    char           prompt[512], text[ANSWER_MAX];
    const uint32_t most = xd_ssh_conf_number(s->conf, "numberofpasswordprompts", 3);
    int            rc = SSH_AUTH_DENIED;
    snprintf(prompt, sizeof(prompt), "%s@%s's password: ", xd_ssh_conf_user(s->conf),
             xd_ssh_conf_host(s->conf));
    for (uint32_t i = 0; i < most && rc == SSH_AUTH_DENIED; i++) {
        bool asked;
        int  r = answer(s, prompt, false, i > 0, text, &asked);
        if (r == -ENOTTY)
            s->no_terminal = true;
        if (r < 0)
            return r == -ENOTTY ? SSH_AUTH_DENIED : r;
        while ((rc = ssh_userauth_password(s->session, NULL, text)) == SSH_AUTH_AGAIN && r == 0)
            r = xd_ssh_step(s, "to the password");
        if (r == 0 && asked && (rc == SSH_AUTH_SUCCESS || rc == SSH_AUTH_PARTIAL))
            r = xd_ssh_remember(s, prompt, text);
        explicit_bzero(text, sizeof(text));
        XD_TRY(r);
    }
    if (rc == SSH_AUTH_DENIED)
        XD_TRY(xd_ssh_tried(s, "password"));
    return xd_ssh_auth_outcome(s, rc);
}

/* One round of questions. Some hosts send one without any. */
static int answer_questions(xd_ssh *s, bool again)
{
    const char *name = ssh_userauth_kbdint_getname(s->session);
    const char *intro = ssh_userauth_kbdint_getinstruction(s->session);
    const int   n = ssh_userauth_kbdint_getnprompts(s->session);
    for (int i = 0; i < n; i++) {
        xd_autobuf  shown = XD_BUF_INIT;
        char        echo = 0, text[ANSWER_MAX];
        bool        asked;
        const char *question = ssh_userauth_kbdint_getprompt(s->session, (unsigned)i, &echo);
        XD_TRY(xd_buf_printf(&shown, "%s%s%s%s(%s@%s) %s", i || !name ? "" : name,
                             i || !name || !*name ? "" : "\n", i || !intro ? "" : intro,
                             i || !intro || !*intro ? "" : "\n", xd_ssh_conf_user(s->conf),
                             xd_ssh_conf_host(s->conf), question ? question : ""));
        XD_TRY(answer(s, xd_buf_cstr(&shown), echo != 0, again, text, &asked));
        int r = ssh_userauth_kbdint_setanswer(s->session, (unsigned)i, text) < 0 ? -ENOMEM : 0;
        if (r == 0 && asked && !echo) /* one that is shown is most likely good for once only */
            r = xd_ssh_remember(s, xd_buf_cstr(&shown), text);
        explicit_bzero(text, sizeof(text));
        XD_TRY(r);
    }
    return 0;
}

static int interactive(xd_ssh *s)
{
    const uint32_t most = xd_ssh_conf_number(s->conf, "numberofpasswordprompts", 3);
    int            rc = SSH_AUTH_DENIED;
    for (uint32_t i = 0; i < most && rc == SSH_AUTH_DENIED; i++) {
        int r = 0;
        while ((rc = ssh_userauth_kbdint(s->session, NULL, NULL)) == SSH_AUTH_AGAIN || rc == SSH_AUTH_INFO) {
            r = rc == SSH_AUTH_AGAIN ? xd_ssh_step(s, "to keyboard-interactive authentication")
                                     : answer_questions(s, i > 0);
            if (r == -ENOTTY) { /* the host waits for answers; another method ends that */
                s->no_terminal = true;
                return SSH_AUTH_DENIED;
            }
            XD_TRY(r);
        }
        if (rc == SSH_AUTH_DENIED && i == 0)
            XD_TRY(xd_ssh_tried(s, "keyboard-interactive"));
    }
    return xd_ssh_auth_outcome(s, rc);
}

/* ---- the methods ------------------------------------------------------------------------------------------------- */

static int public_key(xd_ssh *s)
{
    int rc = s->keys_begun ? SSH_AUTH_DENIED : xd_ssh_auth_files(s, false);
    s->keys_begun = false;
    if (rc == SSH_AUTH_DENIED)
        rc = xd_ssh_auth_agent(s);
    return rc == SSH_AUTH_DENIED ? xd_ssh_auth_files(s, true) : rc;
}

static const struct method {
    const char *name;
    const char *keyword; /* that switches it off */
    int         bit;
    int (*run)(xd_ssh *s);
} methods[] = { { "publickey", "pubkeyauthentication", SSH_AUTH_METHOD_PUBLICKEY, public_key },
                { "keyboard-interactive", "kbdinteractiveauthentication", SSH_AUTH_METHOD_INTERACTIVE,
                  interactive },
                { "password", "passwordauthentication", SSH_AUTH_METHOD_PASSWORD, password } };

static bool wanted(const xd_ssh *s, const struct method *m)
{
    const char *value = xd_ssh_conf_get(s->conf, m->keyword, "yes");
    return strcasecmp(value, "no") != 0 && strcasecmp(value, "false") != 0;
}

/* The next method that the host takes and that has not been tried since it last took one; NULL = none. */
static const struct method *next_method(const xd_ssh *s, unsigned tried)
{
    const char *list = xd_ssh_conf_get(s->conf, "preferredauthentications", PREFERRED);
    const int   offered = ssh_userauth_list(s->session, NULL);
    for (const char *p = list; *p;) {
        const size_t len = strcspn(p, ",");
        for (size_t i = 0; i < XD_ARRAY_LEN(methods); i++)
            if (strlen(methods[i].name) == len && strncmp(p, methods[i].name, len) == 0 &&
                (offered & methods[i].bit) && !(tried & (unsigned)methods[i].bit) && wanted(s, &methods[i]))
                return &methods[i];
        p += len;
        p += *p == ',';
    }
    return NULL;
}

static int denied(xd_ssh *s)
{
    static const struct {
        int         bit;
        const char *name;
    } all[] = { { SSH_AUTH_METHOD_PUBLICKEY, "publickey" },
                { SSH_AUTH_METHOD_GSSAPI_MIC, "gssapi-with-mic" },
                { SSH_AUTH_METHOD_PASSWORD, "password" },
                { SSH_AUTH_METHOD_INTERACTIVE, "keyboard-interactive" },
                { SSH_AUTH_METHOD_HOSTBASED, "hostbased" } };
    const int   offered = ssh_userauth_list(s->session, NULL);
    xd_autobuf  list = XD_BUF_INIT;
    const char *no_terminal =
        s->no_terminal
            ? "; there is no terminal to ask for a password or passphrase: use a key that the agent "
              "(ssh-add) holds, or run xdctl in a terminal"
            : "";
    for (size_t i = 0; i < XD_ARRAY_LEN(all); i++)
        if (offered & all[i].bit)
            XD_TRY(xd_buf_printf(&list, "%s%s", list.len ? "," : "", all[i].name));
    if (s->left)
        return xd_ssh_fail(s, -EOPNOTSUPP, "%s@%s: Permission denied (%s): %s; use --ssh=openssh",
                           xd_ssh_conf_user(s->conf), xd_ssh_conf_host(s->conf), xd_buf_cstr(&list), s->left);
    return xd_ssh_fail(s, -EACCES, "%s@%s: Permission denied (%s); tried: %s%s", xd_ssh_conf_user(s->conf),
                       xd_ssh_conf_host(s->conf), xd_buf_cstr(&list),
                       s->tried.len ? xd_buf_cstr(&s->tried) : "nothing", no_terminal);
}

static int ask_for_methods(xd_ssh *s)
{
    int rc = SSH_AUTH_DENIED;
    if (!ssh_userauth_list(s->session, NULL))
        while ((rc = ssh_userauth_none(s->session, NULL)) == SSH_AUTH_AGAIN)
            XD_TRY(xd_ssh_step(s, "to the request for authentication"));
    return xd_ssh_auth_outcome(s, rc);
}

bool xd_ssh_auth_takes_keys(const xd_ssh *s)
{
    const unsigned offered = (unsigned)ssh_userauth_list(s->session, NULL);
    return !offered || (offered & SSH_AUTH_METHOD_PUBLICKEY) != 0;
}

/* The host is asked for its methods only where there is no key to begin with: its answer to a key names them as well, which
 * saves a round trip. */
int xd_ssh_authenticate(xd_ssh *s)
{
    unsigned   tried = 0;
    const bool keys_first = strncmp(xd_ssh_conf_get(s->conf, "preferredauthentications", PREFERRED),
                                    methods[0].name, strlen(methods[0].name)) == 0 &&
                            wanted(s, &methods[0]);
    int rc = keys_first ? xd_ssh_auth_files(s, false) : SSH_AUTH_DENIED;
    s->keys_begun = keys_first && rc == SSH_AUTH_DENIED;
    if (rc == SSH_AUTH_DENIED)
        rc = ask_for_methods(s);
    for (unsigned round = 0; rc != SSH_AUTH_SUCCESS && round < ROUNDS_MAX; round++) {
        XD_TRY(rc);
        const struct method *m = next_method(s, tried);
        if (!m)
            break;
        rc = m->run(s);
        tried =
            rc == SSH_AUTH_PARTIAL ? 0 : tried | (unsigned)m->bit; /* partial: now another one is wanted */
    }
    XD_TRY(rc);
    return rc == SSH_AUTH_SUCCESS ? 0 : denied(s);
}
