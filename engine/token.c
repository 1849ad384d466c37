/* engine/token.c - see token.h. */
#include "engine/token.h"

#include <sodium.h>
#include <string.h>
#include <sys/random.h>

#define WORD "xdt1."
#define KEY_BYTES 32u
#define RUN_BYTES 8u
#define MAC_BYTES 32u

/* Where the parts lie. */
#define AT_NONCE XD_KEY_BYTES
#define AT_EXPIRES (AT_NONCE + XD_RUN_TOKEN_NONCE)
#define AT_USES (AT_EXPIRES + 8u)
#define AT_RUN (AT_USES + 2u)
#define AT_MAC (AT_RUN + RUN_BYTES)
_Static_assert(AT_MAC + MAC_BYTES == XD_RUN_TOKEN_BYTES, "the parts are the whole");
_Static_assert(MAC_BYTES >= crypto_generichash_BYTES_MIN && KEY_BYTES <= crypto_generichash_KEYBYTES_MAX,
               "BLAKE2b has these sizes");

/* BLAKE2b gives at least 16 bytes here: the first of them. */
static void run_print(const char *run, uint8_t ret[RUN_BYTES])
{
    uint8_t all[crypto_generichash_BYTES_MIN];
    (void)crypto_generichash(all, sizeof(all), (const uint8_t *)run, strlen(run), NULL, 0);
    memcpy(ret, all, RUN_BYTES);
}

static void mac(const xd_keypair *controller, const uint8_t *whole, uint8_t ret[MAC_BYTES])
{
    static const char what[] = "xd token 1";
    uint8_t           key[KEY_BYTES];
    (void)crypto_generichash(key, sizeof(key), (const uint8_t *)what, sizeof(what) - 1, controller->secret,
                             sizeof(controller->secret));
    (void)crypto_generichash(ret, MAC_BYTES, whole, AT_MAC, key, sizeof(key));
    sodium_memzero(key, sizeof(key));
}

static void put_number(uint8_t *at, uint64_t n, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(n >> 8 * i);
}

static uint64_t number_at(const uint8_t *at, size_t bytes)
{
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n |= (uint64_t)at[i] << 8 * i;
    return n;
}

int xd_run_token_make(xd_run_token *ret, const xd_keypair *controller, const char *run, uint64_t expires_s,
                      uint16_t uses)
{
    uint8_t *w = ret->whole;
    if (sodium_init() < 0 || getrandom(ret->nonce, sizeof(ret->nonce), 0) != (ssize_t)sizeof(ret->nonce))
        return -EIO;
    ret->server = controller->pub;
    ret->expires_s = expires_s;
    ret->uses = uses;
    memcpy(w, controller->pub.at, XD_KEY_BYTES);
    memcpy(w + AT_NONCE, ret->nonce, XD_RUN_TOKEN_NONCE);
    put_number(w + AT_EXPIRES, expires_s, 8);
    put_number(w + AT_USES, uses, 2);
    run_print(run, w + AT_RUN);
    mac(controller, w, w + AT_MAC);
    return 0;
}

void xd_run_token_text(const xd_run_token *t, char ret[XD_RUN_TOKEN_TEXT])
{
    const size_t word = sizeof(WORD) - 1;
    memcpy(ret, WORD, word);
    sodium_bin2base64(ret + word, XD_RUN_TOKEN_TEXT - word, t->whole, sizeof(t->whole),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int xd_run_token_read(xd_run_token *ret, xd_bytes whole)
{
    if (whole.len != XD_RUN_TOKEN_BYTES)
        return -EINVAL;
    memcpy(ret->whole, whole.ptr, XD_RUN_TOKEN_BYTES);
    memcpy(ret->server.at, ret->whole, XD_KEY_BYTES);
    memcpy(ret->nonce, ret->whole + AT_NONCE, XD_RUN_TOKEN_NONCE);
    ret->expires_s = number_at(ret->whole + AT_EXPIRES, 8);
    ret->uses = (uint16_t)number_at(ret->whole + AT_USES, 2);
    return 0;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int xd_run_token_parse(xd_run_token *ret, xd_bytes text)
{
    const size_t word = sizeof(WORD) - 1;
    uint8_t      whole[XD_RUN_TOKEN_BYTES];
    size_t       len = 0;
    const char  *end = NULL;
    while (text.len && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len && is_blank(text.ptr[text.len - 1]))
        text.len--;
    if (text.len <= word || memcmp(text.ptr, WORD, word) != 0)
        return -EINVAL;
    for (size_t i = word; i < text.len; i++)
        if (text.ptr[i] >= 0x80) /* libsodium takes some of these for '_' */
            return -EINVAL;
    const char *at = (const char *)text.ptr + word;
    int         r = -EINVAL;
    if (sodium_base642bin(whole, sizeof(whole), at, text.len - word, NULL, &len, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
        end == at + text.len - word)
        r = xd_run_token_read(ret, (xd_bytes){ whole, len });
    sodium_memzero(whole, sizeof(whole));
    return r;
}

void xd_run_token_wipe(xd_run_token *t)
{
    sodium_memzero(t, sizeof(*t));
}

xd_run_token_verdict xd_run_token_check(const xd_run_token *t, const xd_keypair *controller,
                                        const char *const *runs, uint64_t now_s)
{
    uint8_t good[MAC_BYTES], print[RUN_BYTES];
    bool    ours = false;
    mac(controller, t->whole, good);
    if (!xd_pubkey_eq(&t->server, &controller->pub) || sodium_memcmp(good, t->whole + AT_MAC, MAC_BYTES) != 0)
        return XD_RUN_TOKEN_FORGED;
    for (; *runs; runs++) {
        run_print(*runs, print);
        ours |= sodium_memcmp(print, t->whole + AT_RUN, RUN_BYTES) == 0;
    }
    if (!ours)
        return XD_RUN_TOKEN_OTHER;
    return now_s >= t->expires_s ? XD_RUN_TOKEN_EXPIRED : XD_RUN_TOKEN_GOOD;
}
