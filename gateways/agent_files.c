/* gateways/agent_files.c - see agent_files.h. */
#include "gateways/agent_files.h"

#include <elf.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "engine/base/path.h"
#include "engine/base/text.h"
#include "gateways/agent_program.h"

#define PROGRAM_MAX ((size_t)64 << 20)

static const char *const archs[XD_AGENT_ARCHS] = { "x86_64", "aarch64" };
static const char *const suffixes[XD_AGENT_PACKINGS] = { ".xz", ".gz", ".gz" };

static char *with_suffix(const char *path, const char *suffix)
{
    xd_autobuf text = XD_BUF_INIT;
    return xd_buf_printf(&text, "%s%s", path, suffix) < 0 ? NULL : xd_bytes_dup(xd_buf_view(&text));
}

/* The line of AGENT.sums (tools/pack.py). 0; -ENOENT = none; -ESTALE = of another build; -EINVAL. */
static int read_sums(xd_agent_file *f, const char *path)
{
    xd_autobuf        text = XD_BUF_INIT;
    xd_autofree char *name = with_suffix(path, ".sums"), **word = NULL;
    uint64_t          number[4];
    if (!name)
        return -ENOMEM;
    XD_TRY(xd_path_read_file(name, 4096, &text, NULL));
    XD_TRY(xd_text_shell_split(xd_buf_cstr(&text), &word));
    if (xd_words_of((const char *const *)word).n != 6 || strlen(word[2]) != 64 ||
        strspn(word[2], "0123456789abcdef") != 64)
        return -EINVAL;
    if (strcmp(word[0], XD_BUILD_ID) != 0)
        return -ESTALE;
    const char *const texts[] = { word[1], word[3], word[4], word[5] };
    for (size_t i = 0; i < XD_ARRAY_LEN(texts); i++)
        XD_TRY(xd_text_u64(texts[i], 0, UINT32_MAX, &number[i]));
    snprintf(f->sha256, sizeof(f->sha256), "%s", word[2]);
    f->cksum = (uint32_t)number[1];
    f->size[XD_AGENT_RAW] = number[0];
    f->size[XD_AGENT_GZ] = number[2];
    f->size[XD_AGENT_XZ] = number[3];
    return 0;
}

int xd_agent_files_find(xd_agent_files *ret, xd_error *err)
{
    xd_agent_files    found = { .count = 0 };
    xd_autofree char *dir = NULL;
    int               worst = -ENOENT;
    XD_TRY(xd_agent_program_folder(&dir, err));
    for (size_t i = 0; i < XD_AGENT_ARCHS; i++) {
        xd_agent_file *f = &found.at[found.count];
        *f = (xd_agent_file){ .arch = archs[i], .path = xd_path_join(dir, archs[i]) };
        int r = f->path ? read_sums(f, f->path) : -ENOMEM;
        if (r == 0) {
            found.count++;
            continue;
        }
        free(f->path);
        *f = (xd_agent_file){ 0 };
        worst = r == -ENOENT ? worst : r;
    }
    if (found.count == 0)
        return xd_error_set(err, -ENOENT, "there is no agent in %s that could be sent to another host: %s",
                            dir,
                            worst == -ESTALE ? "those there are of another build" : xd_error_name(worst));
    *ret = found;
    return 0;
}

void xd_agent_files_release(xd_agent_files *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->at[i].path);
        for (int k = 0; k < XD_AGENT_PACKINGS; k++)
            xd_buf_release(&f->at[i].bytes[k]);
    }
    *f = (xd_agent_files){ 0 };
}

/* ---- one that is not packed yet ---------------------------------------------------------------------------- */

/* As uname -m says it; NULL = it is no program for an architecture that is known. */
static const char *arch_of(xd_bytes elf)
{
    Elf64_Ehdr head;
    if (elf.len < sizeof(head))
        return NULL;
    memcpy(&head, elf.ptr, sizeof(head));
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
        return NULL;
    return head.e_machine == EM_X86_64 ? archs[0] : head.e_machine == EM_AARCH64 ? archs[1] : NULL;
}

/* What the POSIX utility cksum prints: the length counts, too. */
static uint32_t cksum(xd_bytes data)
{
    uint32_t table[256], crc = 0;
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n << 24;
        for (int i = 0; i < 8; i++)
            c = c & 0x80000000u ? c << 1 ^ 0x04c11db7u : c << 1;
        table[n] = c;
    }
    for (size_t i = 0; i < data.len; i++)
        crc = crc << 8 ^ table[crc >> 24 ^ data.ptr[i]];
    for (size_t left = data.len; left; left >>= 8)
        crc = crc << 8 ^ table[crc >> 24 ^ (left & 255)];
    return ~crc;
}

static int gzip(xd_buf *out, xd_bytes data)
{
    const int windows = 15 + 16; /* with a header of gzip */
    z_stream  z = { 0 };
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, windows, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    const size_t room = deflateBound(&z, data.len);
    int          r = xd_buf_reserve(out, room);
    z.next_in = (Bytef *)(uintptr_t)data.ptr;
    z.avail_in = (uInt)data.len;
    z.next_out = out->data;
    z.avail_out = (uInt)room;
    if (r == 0 && deflate(&z, Z_FINISH) != Z_STREAM_END)
        r = -EIO;
    if (r == 0)
        out->len = z.total_out;
    (void)deflateEnd(&z);
    return r;
}

static int pack(xd_agent_file *f)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t           hash[crypto_hash_sha256_BYTES];
    const xd_bytes    data = xd_buf_view(&f->bytes[XD_AGENT_RAW]);
    if (!(f->arch = arch_of(data)))
        return -ENOEXEC;
    XD_TRY(gzip(&f->bytes[XD_AGENT_GZ], data));
    (void)crypto_hash_sha256(hash, data.ptr, data.len);
    for (size_t i = 0; i < sizeof(hash); i++) {
        f->sha256[2 * i] = hex[hash[i] >> 4];
        f->sha256[2 * i + 1] = hex[hash[i] & 15];
    }
    f->cksum = cksum(data);
    for (int k = 0; k < XD_AGENT_PACKINGS; k++)
        f->size[k] = f->bytes[k].len;
    return 0;
}

int xd_agent_files_pack(xd_agent_files *ret, const char *path, xd_error *err)
{
    xd_agent_files found = { .count = 1 };
    xd_agent_file *f = &found.at[0];
    int            r = (f->path = strdup(path)) ? 0 : -ENOMEM;
    if (r == 0)
        r = xd_path_read_file(path, PROGRAM_MAX, &f->bytes[XD_AGENT_RAW], err);
    if (r == 0)
        r = pack(f);
    if (r < 0) {
        xd_agent_files_release(&found);
        return err->code ? r : xd_error_set(err, r, "%s: %s", path, xd_error_name(r));
    }
    *ret = found;
    return 0;
}

/* ---- their bytes --------------------------------------------------------------------------------------- */

struct xd_agent_reader {
    FILE    *plain;    /* as it is packed, or ... */
    gzFile   unpacked; /* ... what is packed in it; or ... */
    xd_bytes left;     /* ... from memory */
};

int xd_agent_file_open(xd_agent_reader **ret, const xd_agent_file *file, xd_agent_packing packing)
{
    xd_autofree char            *path = with_suffix(file->path, suffixes[packing]);
    xd_autofree xd_agent_reader *r = calloc(1, sizeof(*r));
    if (!path || !r)
        return -ENOMEM;
    errno = 0;
    r->left = xd_buf_view(&file->bytes[packing]);
    if (r->left.len) {
        *ret = xd_take(&r);
        return 0;
    }
    if (packing == XD_AGENT_RAW)
        r->unpacked = gzopen(path, "rbe");
    else
        r->plain = fopen(path, "rbe");
    if (!r->unpacked && !r->plain)
        return errno ? -errno : -ENOMEM;
    *ret = xd_take(&r);
    return 0;
}

int xd_agent_file_read(xd_agent_reader *r, void *to, unsigned room)
{
    if (!r->unpacked && !r->plain) {
        const size_t len = XD_MIN(r->left.len, (size_t)room);
        memcpy(to, r->left.ptr, len);
        r->left.ptr += len;
        r->left.len -= len;
        return (int)len;
    }
    int n = r->unpacked ? gzread(r->unpacked, to, room) : (int)fread(to, 1, room, r->plain);
    return n < 0 || (r->plain && ferror(r->plain)) ? -EIO : n;
}

xd_agent_reader *xd_agent_file_close(xd_agent_reader *r)
{
    if (r && r->unpacked)
        (void)gzclose(r->unpacked);
    if (r && r->plain)
        fclose(r->plain);
    free(r);
    return NULL;
}
