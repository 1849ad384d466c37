/* Any bytes as a journal: the reader yields a prefix of good records and ends; repairing leaves exactly that
 * prefix.
 * First byte of the input: 0 = the rest is the file; 1 = the rest follows a good header; 2 = also, and what
 * lies there as records gets right checks, so that the bytes reach what is behind them. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/journal.h"

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void right_checks(uint8_t *file, size_t len)
{
    size_t at = XD_JOURNAL_HEADER;
    while (at + XD_JOURNAL_RECORD + XD_FRAME_HEADER <= len) {
        uint32_t n = get_u32(file + at);
        if (n < XD_FRAME_HEADER || n > len - at - XD_JOURNAL_RECORD)
            return;
        uint32_t check = (uint32_t)XXH3_64bits_withSeed(file + at + XD_JOURNAL_RECORD, n, at);
        memcpy(file + at + 4, &check, sizeof(check));
        at += XD_JOURNAL_RECORD + n;
    }
}

/* The last record of a type, looked for from the end. */
static void latest(xd_journal_reader *r, uint16_t type, bool whole)
{
    xd_frame f;
    xd_journal_reader_look(r);
    int got = xd_journal_reader_last(r, type, &f);
    assert(got == 0 ? f.type == type : got == -ENOENT && !whole);
    got = xd_journal_reader_last(r, 77, &f);
    assert(got == -ENOENT || (got == 0 && f.type == 77));
    assert(strlen(xd_journal_reader_run_id(r)) <= 32);
}

static uint64_t read_through(const char *path, uint64_t size, uint64_t *ret_records)
{
    xd_auto(xd_journal_reader) *r = NULL;
    xd_error err;
    xd_frame f, again;
    uint64_t at, expected = XD_JOURNAL_HEADER;
    uint16_t type = 0;
    *ret_records = 0;
    if (xd_journal_reader_open(&r, path, &err) < 0)
        return 0;
    int got;
    while ((got = xd_journal_reader_next(r, &f, &at)) == 1) {
        assert(at == expected);
        expected = at + XD_JOURNAL_RECORD + XD_FRAME_HEADER + f.len;
        assert(expected <= size && xd_journal_reader_offset(r) == expected);
        int r2 = xd_journal_reader_at(r, at, &again);
        assert(r2 == 0 && again.len == f.len && again.seq == f.seq &&
               (f.len == 0 || memcmp(again.body, f.body, f.len) == 0));
        ++*ret_records;
        type = f.type;
    }
    assert(got == 0 || got == -EPROTO);
    latest(r, type, *ret_records && expected == size);
    return expected;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t header[XD_JOURNAL_HEADER] = "XDJOURN1\1";
    char                 path[64];
    if (len < 1)
        return 0;
    uint8_t  mode = *data++ % 3;
    size_t   before = mode ? sizeof(header) : 0, size = before + --len;
    uint8_t *file = malloc(size + 1);
    memcpy(file, header, before);
    memcpy(file + before, data, len);
    if (mode == 2)
        right_checks(file, size);
    int fd = memfd_create("journal", MFD_CLOEXEC);
    if (fd < 0 || write(fd, file, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    uint64_t         records, good = read_through(path, size, &records);
    xd_journal_check c;
    xd_error         err;
    if (good) {
        int r = xd_journal_verify(path, true, &c, &err);
        assert(r == 0 && c.records == records && c.good_bytes == good && c.bad_bytes == size - good);
        r = xd_journal_verify(path, false, &c, &err);
        assert(r == 0 && c.records == records && c.bad_bytes == 0);
    }
    close(fd);
    free(file);
    return 0;
}
