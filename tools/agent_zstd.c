/* tools/agent_zstd.c - libzstd.a as agents (agents.cmake) take it along: without its decoders of frames from before 2016, 90 KB.
 *
 * Its decoder calls these functions where a frame begins with one of the magic numbers of old, which no peer of ours sends.  With these in their
 * place such a frame is an error of ZSTD_decompress*(), and of unknown size.
 *
 * With -DXD_TRY it is a program that ends with 0 where that is so: agents.cmake asks. */
#include <stddef.h>
#include <string.h>
#include <zstd.h>

/* Nothing comes behind a context that could not be made. */
#define LEFT_OUT(prefix)                     \
    void  *prefix##_createDCtx(void);        \
    size_t prefix##_freeDCtx(void *context); \
    void  *prefix##_createDCtx(void)         \
    {                                        \
        return NULL;                         \
    }                                        \
    size_t prefix##_freeDCtx(void *context)  \
    {                                        \
        (void)context;                       \
        return 0;                            \
    }
#define FAILS(name)        \
    size_t name(void);     \
    size_t name(void)      \
    {                      \
        return (size_t)-1; \
    }
#define NO_SIZE(name)                                                                         \
    void name(const void *frame, size_t len, size_t *ret_len, unsigned long long *ret_bound); \
    void name(const void *frame, size_t len, size_t *ret_len, unsigned long long *ret_bound)  \
    {                                                                                         \
        (void)frame, (void)len;                                                               \
        *ret_len = (size_t)-1;                                                                \
        *ret_bound = ZSTD_CONTENTSIZE_ERROR;                                                  \
    }
#define VERSION(v)                              \
    LEFT_OUT(ZSTDv##v)                          \
    LEFT_OUT(ZBUFFv##v)                         \
    FAILS(ZSTDv##v##_decompress_usingDict)      \
    FAILS(ZSTDv##v##_getFrameParams)            \
    FAILS(ZBUFFv##v##_decompressInitDictionary) \
    FAILS(ZBUFFv##v##_decompressContinue)       \
    NO_SIZE(ZSTDv##v##_findFrameSizeInfoLegacy)

VERSION(05)
VERSION(06)
VERSION(07)

#ifdef XD_TRY
int main(void)
{
    static const char frame[] =
        "\x28\xb5\x2f\xfd\x20\x28\x45\x00\x00\x10\x78\x78\x01\x00\x1f\x80\x05"; /* 40 times x */
    char       old[sizeof(frame)], out[64];
    ZSTD_DCtx *d = ZSTD_createDCtx();
    if (!d || ZSTD_decompressDCtx(d, out, sizeof(out), frame, sizeof(frame) - 1) != 40 || out[0] != 'x' ||
        out[39] != 'x')
        return 1;
    for (char magic = 0x25; magic <= 0x27; magic++) {
        memcpy(old, frame, sizeof(old));
        old[0] = magic;
        if (!ZSTD_isError(ZSTD_decompressDCtx(d, out, sizeof(out), old, sizeof(old) - 1)) ||
            ZSTD_getFrameContentSize(old, sizeof(old) - 1) < ZSTD_CONTENTSIZE_ERROR)
            return 2;
        ZSTD_inBuffer  from = { old, sizeof(old) - 1, 0 };
        ZSTD_outBuffer to = { out, sizeof(out), 0 };
        if (!ZSTD_isError(ZSTD_decompressStream(d, &to, &from)))
            return 3;
        ZSTD_DCtx_reset(d, ZSTD_reset_session_only);
    }
    return ZSTD_freeDCtx(d) != 0;
}
#endif
