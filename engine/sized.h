/* engine/sized.h - structures of xd.h that begin with their size as the caller knows it, so that they can grow. */
#pragma once
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Bytes of a structure that every program has room for: those before `member`, the first that came later. */
#define XD_SIZED_LEAST(type, member) offsetof(type, member)

/* 0 = there is room for what every program has; -EINVAL: it was not set. */
static inline int xd_sized_check(size_t size, size_t least)
{
    return size < least ? -EINVAL : 0;
}

/* Fills *ret, except for its size, as far as caller (`size`) and library (`known`) both go. */
static inline void xd_sized_fill(void *ret, size_t size, const void *from, size_t known)
{
    size_t both = size < known ? size : known;
    memcpy((char *)ret + sizeof(size_t), (const char *)from + sizeof(size_t), both - sizeof(size_t));
}
