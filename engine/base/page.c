/* engine/base/page.c - see page.h. */
#include "engine/base/page.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/fault.h"

static size_t page_size(uint32_t slots)
{
    return sizeof(xd_page_header) + (size_t)slots * sizeof(xd_page_slot);
}

int xd_page_create(xd_page *ret, uint32_t slots)
{
    int fd = memfd_create("xd-page", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = xd_page_create_in(ret, &fd, slots);
    if (r < 0)
        close(fd);
    return r;
}

int xd_page_create_in(xd_page *ret, int *fd, uint32_t slots)
{
    size_t size = page_size(slots);
    void  *at = MAP_FAILED;
    if (ftruncate(*fd, (off_t)size) == 0)
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    *ret = (xd_page){
        .fd = *fd, .slots = slots, .head = at, .slot = (xd_page_slot *)((char *)at + sizeof(xd_page_header))
    };
    *ret->head = (xd_page_header){ .magic = XD_PAGE_MAGIC, .version = XD_PAGE_VERSION, .slots = slots };
    *fd = -1;
    return 0;
}

void xd_page_release(xd_page *p)
{
    if (p->head) {
        munmap(p->head, page_size(p->slots));
        close(p->fd);
    }
    *p = (xd_page){ .fd = -1 };
}

void xd_page_move_failures(xd_page *p, uint32_t slot)
{
    const uint32_t failures = xd_page_get(&p->slot[slot].failures);
    /* Cleared first: who adds up meanwhile (failures_elsewhere, then the slots) may miss some for a moment, and start
     * one more test; counted twice they would end the run before its time. */
    xd_page_set(&p->slot[slot].failures, 0);
    XD_FAULT("page: between slot and elsewhere");
    xd_page_set(&p->head->failures_elsewhere, xd_page_get(&p->head->failures_elsewhere) + failures);
}

/* A store waits in its processor's buffer for the time of a cache miss or two, under a microsecond; an interrupt
 * or a change of threads empties the buffer at once, and so does the sleep here. */
void xd_page_barrier(void)
{
    struct timespec left = { .tv_nsec = 100000 };
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}
