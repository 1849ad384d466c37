/* gateways/agent_files.h - the agents of this installation that can be sent to other hosts: made by tools/agents.cmake, in the folder
 * agents/ beside xdagent. */
#pragma once
#include <stdint.h>

#include "engine/base/buf.h"

#define XD_AGENT_ARCHS 2

/* How an agent is packed: the names that the far end uses for what it can unpack. */
typedef enum xd_agent_packing { XD_AGENT_XZ, XD_AGENT_GZ, XD_AGENT_RAW, XD_AGENT_PACKINGS } xd_agent_packing;

typedef struct xd_agent_file {
    const char *arch; /* as uname -m says it: "x86_64" */
    char       *path; /* without the suffix of its packing; owned */
    char        sha256[65];
    uint32_t    cksum;                    /* what cksum(1) prints */
    uint64_t    size[XD_AGENT_PACKINGS];  /* bytes to send; 0 = there is none */
    xd_buf      bytes[XD_AGENT_PACKINGS]; /* of one that was packed by xd_agent_files_pack */
} xd_agent_file;

typedef struct xd_agent_files {
    xd_agent_file at[XD_AGENT_ARCHS];
    uint32_t      count;
} xd_agent_files;

/* -ENOENT: there is none; err says where they were looked for, or that they are of another build. */
int xd_agent_files_find(xd_agent_files *ret, xd_error *err) XD_MUST;
/* Another static program of this installation, to be sent in the same way: read, and packed in memory. -ENOEXEC: it is none for an architecture that is
 * known; other -errno. */
int  xd_agent_files_pack(xd_agent_files *ret, const char *path, xd_error *err) XD_MUST;
void xd_agent_files_release(xd_agent_files *f);
/* A stream of the bytes to send, which are size[packing]; *ret is the caller's, and goes before the file. -errno. */
typedef struct xd_agent_reader xd_agent_reader;
int xd_agent_file_open(xd_agent_reader **ret, const xd_agent_file *file, xd_agent_packing packing) XD_MUST;
/* Bytes read, 0 = the end, -errno. */
int              xd_agent_file_read(xd_agent_reader *r, void *to, unsigned room) XD_MUST;
xd_agent_reader *xd_agent_file_close(xd_agent_reader *r); /* NULL ok */
