/* gateways/agent_files.c - see agent_files.h. */
#include "gateways/agent_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "engine/base/path.h"
#include "engine/base/text.h"
#include "gateways/agent_program.h"

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
    for (size_t i = 0; i < f->count; i++)
        free(f->at[i].path);
    *f = (xd_agent_files){ 0 };
}

/* ---- their bytes --------------------------------------------------------------------------------------- */

struct xd_agent_reader {
    FILE  *plain;    /* as it is packed, or ... */
    gzFile unpacked; /* ... what is packed in it */
};

int xd_agent_file_open(xd_agent_reader **ret, const xd_agent_file *file, xd_agent_packing packing)
{
    xd_autofree char            *path = with_suffix(file->path, suffixes[packing]);
    xd_autofree xd_agent_reader *r = calloc(1, sizeof(*r));
    if (!path || !r)
        return -ENOMEM;
    errno = 0;
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
