/* engine/base/mem.h - ownership helpers: automatic release of locals, hand-over, checked casts. */
#pragma once
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

/* `xd_auto(xd_buf) *b = NULL;` calls xd_buf_free(b) when b leaves scope.  The type needs XD_DEFINE_AUTO. */
#define xd_auto(T) __attribute__((cleanup(T##_autofree))) T
#define XD_DEFINE_AUTO(T, free_fn)         \
    static inline void T##_autofree(T **p) \
    {                                      \
        if (*p)                            \
            (void)free_fn(*p);             \
    }

/* A malloc'ed block of any type: `xd_autofree char *s = NULL;` */
static inline void xd_autofree_fn(void *p)
{
    free(*(void **)p);
}
#define xd_autofree __attribute__((cleanup(xd_autofree_fn)))

/* Closes a descriptor held in an int local when it is >= 0. */
void xd_autoclose_fn(int *fd);
#define xd_autoclose __attribute__((cleanup(xd_autoclose_fn)))

/* Hand over: yields the pointer and leaves NULL behind. */
#define xd_take(pp)                          \
    __extension__({                          \
        __typeof__(*(pp)) xd_taken_ = *(pp); \
        *(pp) = NULL;                        \
        xd_taken_;                           \
    })

/* Checked cast of a state pointer whose struct begins with `uint32_t magic`: for our own bugs only. */
#define XD_CAST(p, T, MAGIC)                            \
    __extension__({                                     \
        T *xd_cast_ = (T *)(p);                         \
        assert(xd_cast_ && xd_cast_->magic == (MAGIC)); \
        xd_cast_;                                       \
    })

#define XD_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* Of values: each argument may be looked at twice, so that a call must not stand there. */
#define XD_MIN(a, b) ((a) < (b) ? (a) : (b))
#define XD_MAX(a, b) ((a) > (b) ? (a) : (b))
