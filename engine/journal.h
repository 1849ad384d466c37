/* engine/journal.h - the append-only, checksummed event log of a run.
 *
 * File: header of 64 bytes ("XDJOURN1", version, run id), then records: u32 length of the frame, u32 check,
 * the frame (wire.def: 16-byte header and body; in a journal `flags` is the number of the gateway it came
 * from). check = low half of XXH3-64 over the frame, seeded with the record's file offset, so that a record
 * copied elsewhere is not taken for good.
 * Appending writes at once (readers of the same host see it, a killed controller loses nothing); a thread of
 * the journal makes it durable by group commit: fdatasync every XD_JOURNAL_COMMIT_MS or
 * XD_JOURNAL_COMMIT_RECORDS. After a failed write or fdatasync nothing more is taken. */
#pragma once
#include "engine/wire.h"

/* A run id is 128 bits in hex (runs.h says how it is made). */
#define XD_RUN_ID_LEN 32
#define XD_RUN_ID_SIZE 40 /* of a member that holds one: with its NUL, and no gap behind it */

#define XD_JOURNAL_HEADER 64u
#define XD_JOURNAL_RECORD 8u
#define XD_JOURNAL_COMMIT_MS 20u
#define XD_JOURNAL_COMMIT_RECORDS 256u

typedef struct xd_journal xd_journal;

/* Makes the file (must not exist), or opens it behind its last good record (`append`). run_id: 32 hex
 * digits. */
int xd_journal_open(xd_journal **ret, const char *path, const char *run_id, bool append,
                    xd_error *err) XD_MUST;
/* Ends the thread and makes what is left durable; nothing may be appended afterwards. 0, or -errno of the first fault. */
int xd_journal_finish(xd_journal *j) XD_MUST;
/* Finishes, whatever comes of it, and closes.  NULL ok. */
xd_journal *xd_journal_close(xd_journal *j);
XD_DEFINE_AUTO(xd_journal, xd_journal_close)
/* Appends one whole frame (header and body). *ret_end (may be NULL) = file offset behind it. -errno of the
 * write, or of an earlier fault. One thread. */
int xd_journal_append(xd_journal *j, const void *frame, size_t len, uint16_t gateway,
                      uint64_t *ret_end) XD_MUST;
/* Records of agents beyond this size are not taken (xd_journal_full); 0 = no limit. Before the first append. */
void     xd_journal_limit(xd_journal *j, uint64_t bytes);
bool     xd_journal_full(const xd_journal *j, size_t more);
uint64_t xd_journal_end(const xd_journal *j); /* offset behind the last record */
/* Everything before this offset is durable.  Any thread. */
uint64_t xd_journal_durable(const xd_journal *j);
/* eventfd: readable after each commit; read it to reset.  Owned by the journal. */
int xd_journal_commit_fd(const xd_journal *j);
/* 0, or -errno of the first fault. */
int xd_journal_fault(const xd_journal *j);

typedef struct xd_journal_reader xd_journal_reader;

/* Opens for reading.  -ENOENT, -EPROTO (not a journal of ours). */
int                xd_journal_reader_open(xd_journal_reader **ret, const char *path, xd_error *err) XD_MUST;
xd_journal_reader *xd_journal_reader_close(xd_journal_reader *r);
XD_DEFINE_AUTO(xd_journal_reader, xd_journal_reader_close)
/* 1 = next record (body valid until the next call), 0 = no whole record beyond here (yet: a live reader asks
 * again), -EPROTO = a bad record: damage, reading ends here. *ret_offset (may be NULL) = file offset of the
 * record. */
int xd_journal_reader_next(xd_journal_reader *r, xd_frame *ret, uint64_t *ret_offset) XD_MUST;
/* Reads the record at an offset that xd_journal_reader_next gave; the position of `next` stays. */
int xd_journal_reader_at(xd_journal_reader *r, uint64_t offset, xd_frame *ret) XD_MUST;
/* Reads little ahead from now on: for whoever wants the first records alone. */
void xd_journal_reader_look(xd_journal_reader *r);
/* The last record of this type among the last few of a file that ends with a whole one. -ENOENT. */
int         xd_journal_reader_last(xd_journal_reader *r, uint16_t type, xd_frame *ret) XD_MUST;
uint64_t    xd_journal_reader_offset(const xd_journal_reader *r); /* of the next record */
const char *xd_journal_reader_run_id(const xd_journal_reader *r);

typedef struct xd_journal_check {
    uint64_t records, good_bytes, bad_bytes;
} xd_journal_check;
/* Reads a whole journal; with `repair` cuts off what follows the last good record. */
int xd_journal_verify(const char *path, bool repair, xd_journal_check *ret, xd_error *err) XD_MUST;
