/* gateways/server_key.h - asks a server (front.h) which key it has. Whoever answers proves nothing: the fingerprint is for people to compare. */
#pragma once
#include "engine/keys.h"
#include "gateways/connect.h"

#define XD_SERVER_KEY_ANSWER 512u

/* Connects to the address. *ret is the caller's. -errno, also that of `wait`. */
int xd_server_key_connect(const struct addrinfo *to, xd_wait_fn wait, void *arg, uint64_t until_ns,
                          int *ret) XD_MUST;
/* Asks over that connection. 0: `answer` has what was said, up to the end; -errno, also that of `wait`: it has what was said until then. */
int xd_server_key_ask(int fd, xd_wait_fn wait, void *arg, uint64_t until_ns,
                      char answer[XD_SERVER_KEY_ANSWER]) XD_MUST;
/* The key in an answer. -EPROTO: it is none. */
int xd_server_key_read(const char *answer, xd_pubkey *ret) XD_MUST;
