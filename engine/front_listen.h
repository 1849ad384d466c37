/* engine/front_listen.h - private to front.c: a place to listen at, as users name it. */
#pragma once
#include <arpa/inet.h>
#include <sys/socket.h>

#include "engine/base/error.h"

/* Listens at ADDRESS:PORT, [ADDRESS]:PORT or :PORT, which is all addresses: of IPv6, which takes IPv4, too; of IPv4 alone where there is no IPv6. A descriptor, and
 * name says where, as "HOST:PORT"; -errno: err names what was given, and the option. */
int front_listen(const char *option, const char *text, char *name, size_t size, xd_error *err) XD_MUST;
/* IPv4 by way of a socket of IPv6 is shown as what it is. */
void front_name_address(const struct sockaddr_storage *from, char ret[INET6_ADDRSTRLEN]);
