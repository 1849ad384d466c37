/* needs: engine. Any text as a certificate or as a list of keys: refused in one line, or what was read is within its bounds, and what can be
 * written of it is read as the same.
 * First byte of the input: 0 = a certificate, 1 = a list of keys that may connect, 2 = one of known brokers (modulo 3, so that digits do). */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/keylist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_error(const xd_error *err)
{
    assert(err->text[0] && !strchr(err->text, '\n') && !strchr(err->text, '\x1b'));
}

static void certificate(xd_bytes text)
{
    xd_keypair k, again;
    xd_error   err = { 0 };
    xd_autobuf b = XD_BUF_INIT;
    char       pub[XD_KEY_Z85 + 1], secret[XD_KEY_Z85 + 1];
    int        r = xd_keypair_parse(&k, text, &err);
    assert(r == 0 || r == -EINVAL);
    if (r < 0) {
        check_error(&err);
        return;
    }
    xd_pubkey_text(&k.pub, pub);
    memcpy(again.pub.at, k.secret, XD_KEY_BYTES);
    xd_pubkey_text(&again.pub, secret);
    r = xd_buf_printf(&b, "curve\n    secret-key = \"%s\"\n    public-key = \"%s\"\n", secret, pub);
    assert(r == 0);
    r = xd_keypair_parse(&again, xd_buf_view(&b), &err);
    assert(r == 0 && memcmp(&k, &again, sizeof(k)) == 0);
}

static void check_line(const xd_key_line *l, xd_keylist_kind kind)
{
    static const char *const addresses[] = { "10.0.0.1", "::1", "::ffff:192.168.1.1", "2001:db8::1", "?" };
    char                     key[XD_KEY_Z85 + 1];
    xd_autobuf               b = XD_BUF_INIT;
    xd_keylist               again = XD_KEYLIST_INIT;
    xd_error                 err = { 0 };
    assert(l->comment && !strpbrk(l->comment, "\n"));
    assert((kind == XD_KEYLIST_KNOWN) == (l->address != NULL));
    assert(!l->address || (strchr(l->address, ':') && !strpbrk(l->address, " \t\n")));
    for (size_t i = 0; i < l->n_from; i++)
        assert(l->from[i].bits <= 128);
    if (l->command) {
        xd_autofree char **words = NULL;
        size_t             at;
        int                r = xd_text_command_split(l->command, &words, &at);
        assert(r == 0 && words[0]);
    }
    for (size_t i = 0; i < XD_ARRAY_LEN(addresses); i++) {
        const xd_key_verdict v = xd_key_line_check(l, addresses[i], 1800000000);
        assert((v == XD_KEY_EXPIRED) == (l->expires_s <= 1800000000));
        assert(v == XD_KEY_EXPIRED || l->n_from || v == XD_KEY_GOOD);
    }
    xd_pubkey_text(&l->key, key);
    int r = xd_buf_printf(&b, "%s%sxdk1 %s %s\r\n", l->address ? l->address : "", l->address ? " " : "", key,
                          l->comment);
    assert(r == 0);
    r = xd_keylist_parse(&again, kind, xd_buf_view(&b), "again", &err);
    assert(r == 0 && again.count == 1 && xd_pubkey_eq(&again.at[0].key, &l->key) &&
           strcmp(again.at[0].comment, l->comment) == 0);
    xd_keylist_release(&again);
}

static void list_of_keys(xd_keylist_kind kind, xd_bytes text)
{
    xd_keylist l = XD_KEYLIST_INIT;
    xd_error   err = { 0 };
    int        r = xd_keylist_parse(&l, kind, text, "list", &err);
    assert(r == 0 || r == -EINVAL);
    if (r < 0) {
        check_error(&err);
        assert(strncmp(err.text, "list, line ", 11) == 0 && l.count == 0);
    }
    for (size_t i = 0; i < l.count; i++) {
        assert(l.at[i].line > (i ? l.at[i - 1].line : 0));
        check_line(&l.at[i], kind);
        const xd_key_line *found = xd_keylist_find(&l, &l.at[i].key);
        assert(found >= &l.at[i] && xd_pubkey_eq(&found->key, &l.at[i].key));
        if (kind == XD_KEYLIST_KNOWN)
            assert(xd_keylist_find_address(&l, l.at[i].address) <= &l.at[i]);
    }
    xd_keylist_release(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1)
        return 0;
    xd_bytes text = { data + 1, len - 1 };
    if (data[0] % 3 == 0)
        certificate(text);
    else
        list_of_keys(data[0] % 3 == 1 ? XD_KEYLIST_AUTHORIZED : XD_KEYLIST_KNOWN, text);
    return 0;
}
