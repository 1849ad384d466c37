/* engine/keys.h - CURVE keys (CurveZMQ, ZeroMQ RFC 26), and the file that holds one's own.
 *
 * A public key is shown as "xdk1 " and its 40 characters of Z85 (ZeroMQ RFC 32), and for people to compare as
 * "SHA256:" and the base64 of the SHA-256 of its 32 bytes, as ssh-keygen -l shows keys.
 * The key file is a secret certificate of czmq (zcert(3), ZPL of ZeroMQ RFC 4), so that other ZeroMQ programs read it
 * too. Only its owner may read it: one with a wider mode, or of another owner, is refused, as ssh does.
 * Any thread; nothing is kept. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define XD_KEY_BYTES 32u
#define XD_KEY_Z85 40u
#define XD_KEY_WORD "xdk1"
#define XD_FINGERPRINT_SIZE 52u /* with the NUL */

typedef struct xd_pubkey {
    uint8_t at[XD_KEY_BYTES];
} xd_pubkey;

/* xd_keypair_wipe when it is no longer needed. */
typedef struct xd_keypair {
    xd_pubkey pub;
    uint8_t   secret[XD_KEY_BYTES];
} xd_keypair;

/* Of the random numbers of the kernel. -EIO: libsodium cannot be used. */
int  xd_keypair_make(xd_keypair *ret) XD_MUST;
void xd_keypair_wipe(xd_keypair *k);

/* Compared in constant time. */
bool xd_pubkey_eq(const xd_pubkey *a, const xd_pubkey *b);
/* 40 characters of Z85. -EINVAL. */
int  xd_pubkey_parse(xd_pubkey *ret, xd_bytes z85) XD_MUST;
void xd_pubkey_text(const xd_pubkey *key, char ret[XD_KEY_Z85 + 1]);
void xd_pubkey_fingerprint(const xd_pubkey *key, char ret[XD_FINGERPRINT_SIZE]);

/* ---- the key file ------------------------------------------------------------------------------------- */

/* Text of a certificate: both keys, and that they belong together. -EINVAL: err says what is wrong, without the key. */
int xd_keypair_parse(xd_keypair *ret, xd_bytes text, xd_error *err) XD_MUST;
/* -ENOENT: there is none; -EPERM: somebody else may read or change it; -EINVAL; -errno. err names the file. */
int xd_keypair_read(xd_keypair *ret, const char *path, xd_error *err) XD_MUST;
/* A new file, 0600; one that exists stays, with -EEXIST. `comment` is for people: USER@HOST. err names the file. */
int xd_keypair_write(const xd_keypair *k, const char *path, const char *comment, xd_error *err) XD_MUST;

/* ---- folder ---------------------------------------------------------------------------------------------- */

/* The folder of keys: the given one, else $XDG_CONFIG_HOME/xdctl, else ~/.config/xdctl; malloc'ed, not created. -EINVAL: `given` is empty; -ENOENT: neither
 * variable names a folder. */
int xd_keys_folder(const char *given, char **ret, xd_error *err) XD_MUST;
/* Adds "USER@HOST" of this process, by which people recognise a key. */
int xd_keys_owner(xd_buf *to) XD_MUST;
