/* engine/token.h - tokens by which a host may join a run (`xdctl token`) whose controller does not know its key: for jobs of CI and batch systems.
 *
 * A token is "xdt1." and the base64 (RFC 4648 section 5, without padding) of
 *   public key of the controller (32 bytes) | nonce (16) | expires (u64, little endian: seconds since 1970) | uses (u16) |
 *   first 8 bytes of BLAKE2b-128 of the run's name | BLAKE2b-256 of all before, keyed (32)
 * The key of the last is BLAKE2b-256 of "xd token 1", keyed with the controller's secret key, so that nothing needs to be kept where a token
 * is made, and who has the controller's key can tell its tokens from others. It says whose run it is for, so that who joins
 * knows the controller's key without having been told it before.
 * Any thread; nothing is kept. */
#pragma once
#include "engine/keys.h"

#define XD_RUN_TOKEN_BYTES 98u
#define XD_RUN_TOKEN_TEXT 160u /* with the NUL */
#define XD_RUN_TOKEN_NONCE 16u

typedef struct xd_run_token {
    xd_pubkey server;
    uint8_t   nonce[XD_RUN_TOKEN_NONCE];
    uint64_t  expires_s;
    uint16_t  uses; /* how many may join with it; 0 = any number */
    uint8_t   whole[XD_RUN_TOKEN_BYTES];
} xd_run_token;

/* run: its id, or what --testrunuid calls it. -EIO: there are no random numbers. */
int  xd_run_token_make(xd_run_token *ret, const xd_keypair *controller, const char *run, uint64_t expires_s,
                       uint16_t uses) XD_MUST;
void xd_run_token_text(const xd_run_token *t, char ret[XD_RUN_TOKEN_TEXT]);
/* Blanks and newlines around it do not matter. -EINVAL. */
int xd_run_token_parse(xd_run_token *ret, xd_bytes text) XD_MUST;
/* Of bytes, as in TUNNEL_JOIN. -EINVAL. */
int  xd_run_token_read(xd_run_token *ret, xd_bytes whole) XD_MUST;
void xd_run_token_wipe(xd_run_token *t);

typedef enum xd_run_token_verdict {
    XD_RUN_TOKEN_GOOD,
    XD_RUN_TOKEN_FORGED, /* not made with this key */
    XD_RUN_TOKEN_OTHER,  /* for none of these runs */
    XD_RUN_TOKEN_EXPIRED
} xd_run_token_verdict;

/* runs: names of the one run, NULL-terminated. */
xd_run_token_verdict xd_run_token_check(const xd_run_token *t, const xd_keypair *controller,
                                        const char *const *runs, uint64_t now_s);
