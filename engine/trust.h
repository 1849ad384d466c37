/* engine/trust.h - who may connect to a server: its folder of keys, read again when it changes, and who has failed of late.
 * One thread. */
#pragma once
#include "engine/keylist.h"

#define XD_KEYLIST_REVOKED "revoked_keys"
#define XD_KEY_FILE "id"

typedef enum xd_trust_verdict {
    XD_TRUST_GOOD,
    XD_TRUST_UNKNOWN,
    XD_TRUST_REVOKED,
    XD_TRUST_EXPIRED,
    XD_TRUST_ELSEWHERE, /* not from that address */
    XD_TRUST_OFTEN      /* that address has failed too often of late */
} xd_trust_verdict;

typedef struct xd_trust xd_trust;

/* Reads FOLDER/id, which is made if there is none and `make`, and the list of that name (XD_KEYLIST_CONTROLLERS, _WORKERS). err says what cannot be used. */
int xd_trust_open(xd_trust **ret, const char *folder, const char *list, bool make, xd_error *err) XD_MUST;
xd_trust *xd_trust_free(xd_trust *t); /* wipes the key; NULL ok; returns NULL */
XD_DEFINE_AUTO(xd_trust, xd_trust_free)
const xd_keypair *xd_trust_key(const xd_trust *t);
/* How many keys the list has. */
size_t xd_trust_count(const xd_trust *t);

/* Looks whether the lists have changed, and reads them if so: 1 = they have; 0. A list that cannot be used keeps what was read before: -errno, and err
 * says why, once for each change. */
int xd_trust_refresh(xd_trust *t, xd_error *err);
/* *ret_line (may be NULL): the line that names the key, valid until the next refresh; NULL if there is none. A bad verdict counts as a failure
 * of that address. */
xd_trust_verdict xd_trust_ask(xd_trust *t, const xd_pubkey *key, const char *address, int64_t now_s,
                              const xd_key_line **ret_line);
/* The same for one who may show something else than a key that is in the list: that it is not there is no failure yet. */
xd_trust_verdict xd_trust_ask_first(xd_trust *t, const xd_pubkey *key, const char *address, int64_t now_s,
                                    const xd_key_line **ret_line);
/* It has shown nothing that counts: a failure of that address. */
void xd_trust_failed(xd_trust *t, const char *address, int64_t now_s);
/* The same question without counting: is what was good still good? */
xd_trust_verdict xd_trust_still(const xd_trust *t, const xd_pubkey *key, const char *address, int64_t now_s);
/* "the key is not in authorized_controllers"; static. */
const char *xd_trust_words(xd_trust_verdict v);
