/* tools/agent_libc.c - what the static C library of the agents (agents.cmake) would take along and no agent reaches.
 *
 * Half of a static glibc is the way to load locales, character sets and shared objects, because printf() can write wide characters and stderr
 * can be a wide stream.  An agent has the C locale and byte streams only.  So it brings definitions of its own: they come before the library
 * (-z muldefs), which then leaves out the members behind them.  A name that another release of glibc does not use does no harm; one that is
 * reached in spite of this text ends the agent with a line that says so.
 *
 * Never called here, and not to be used by agents: wide streams and characters (%ls, %lc, fwide), setlocale(), iconv(), dlopen(), names of hosts
 * and users, pthread_exit(), pthread_cancel() (they unwind the stack, and the tables for that are stripped), hexadecimal floats (%a). */
#include <elf.h>
#include <link.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __GLIBC__

/* Functions that nothing calls. */
#define LEFT_OUT(name)                                                                       \
    void name(void);                                                                         \
    void name(void)                                                                          \
    {                                                                                        \
        static const char said[] =                                                           \
            "xdagent: the C library called " #name ", which was left out of this program\n"; \
        if (write(STDERR_FILENO, said, sizeof(said) - 1) >= 0)                               \
            abort();                                                                         \
        abort();                                                                             \
    }

/* C++ exceptions and cancelled threads */
LEFT_OUT(_Unwind_Resume)
LEFT_OUT(_Unwind_ForcedUnwind)
LEFT_OUT(_Unwind_GetCFA)
LEFT_OUT(__gcc_personality_v0)

/* wide characters, in printf() and in the ends of streams */
LEFT_OUT(__wcsrtombs)
LEFT_OUT(__wcrtomb)
LEFT_OUT(__woverflow)
LEFT_OUT(_IO_wsetb)
LEFT_OUT(_IO_wdo_write)
LEFT_OUT(_IO_free_wbackup_area)
LEFT_OUT(__wcsmbs_named_conv)
LEFT_OUT(__gconv_release_step)
LEFT_OUT(__printf_fphex)

/* Each stream holds the address of the functions that it would have if it were wide; nothing else is done with them. */
extern const void *const _IO_wfile_jumps[32], *const _IO_wfile_jumps_mmap[32],
                                                  *const _IO_wfile_jumps_maybe_mmap[32];
const void *const _IO_wfile_jumps[32], *const _IO_wfile_jumps_mmap[32], *const _IO_wfile_jumps_maybe_mmap[32];

/* The C locale's converters, by address only, and the lock around converters. */
extern const void *const __wcsmbs_gconv_fcts_c[16];
const void *const        __wcsmbs_gconv_fcts_c[16];
extern int               __gconv_lock;
int                      __gconv_lock;

/* Each thread's state of the resolver, and what is to be freed of it. */
extern __thread void *__resp, *__libc_resp;
__thread void        *__resp, *__libc_resp;
void                  __res_thread_freeres(void);
void                  __res_thread_freeres(void)
{
}

/* The folders of shared objects. */
void _dl_init_paths(const char *path, const char *source, const char *hwcaps, const char *mask);
void _dl_init_paths(const char *path, const char *source, const char *hwcaps, const char *mask)
{
    (void)path, (void)source, (void)hwcaps, (void)mask;
}

/* Messages are in the language that they are written in. */
char *__dcgettext(const char *domain, const char *text, int category);
char *__dcgettext(const char *domain, const char *text, int category)
{
    (void)domain, (void)category;
    return (char *)(uintptr_t)text;
}

char *dcgettext(const char *domain, const char *text, int category)
{
    return __dcgettext(domain, text, category);
}

/* There is the C locale only: callers go on without another one. */
locale_t newlocale(int mask, const char *name, locale_t base)
{
    (void)mask, (void)name, (void)base;
    return (locale_t)0;
}

locale_t uselocale(locale_t next)
{
    (void)next;
    return LC_GLOBAL_LOCALE;
}

void freelocale(locale_t gone)
{
    (void)gone;
}

double strtod_l(const char *s, char **ret_end, locale_t locale)
{
    (void)locale;
    return strtod(s, ret_end);
}

/* What getopt() and assert() print with: stderr may be wide elsewhere. */
int __vfxprintf(FILE *to, const char *fmt, va_list ap, unsigned mode);
int __fxprintf(FILE *to, const char *fmt, ...);
int __fxprintf_nocancel(FILE *to, const char *fmt, ...);

int __vfxprintf(FILE *to, const char *fmt, va_list ap, unsigned mode)
{
    (void)mode;
    return vfprintf(to ? to : stderr, fmt, ap);
}

int __fxprintf(FILE *to, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = __vfxprintf(to, fmt, ap, 0);
    va_end(ap);
    return n;
}

int __fxprintf_nocancel(FILE *to, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = __vfxprintf(to, fmt, ap, 0);
    va_end(ap);
    return n;
}

/* In place of five forms each, for as many generations of processors; agents compare short words. */
int strncmp(const char *a, const char *b, size_t n)
{
    for (; n && *a && *a == *b; a++, b++)
        n--;
    return n ? (unsigned char)*a - (unsigned char)*b : 0;
}

static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

int strncasecmp(const char *a, const char *b, size_t n)
{
    for (; n && *a && lower(*a) == lower(*b); a++, b++)
        n--;
    return n ? lower(*a) - lower(*b) : 0;
}

int strncasecmp_l(const char *a, const char *b, size_t n, locale_t locale)
{
    (void)locale;
    return strncasecmp(a, b, n);
}

int __strncasecmp_l(const char *a, const char *b, size_t n, locale_t locale);
int __strncasecmp_l(const char *a, const char *b, size_t n, locale_t locale)
{
    (void)locale;
    return strncasecmp(a, b, n);
}

/* What relocations have written is made read-only.  The library's function is one with all that loads shared objects. */
extern const ElfW(Ehdr) __ehdr_start; /* made by the linker */
void _dl_protect_relro(struct link_map *program);
void _dl_protect_relro(struct link_map *program)
{
    (void)program;
    const ElfW(Phdr) *at = (const void *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
    const uintptr_t page = getauxval(AT_PAGESZ);
    for (size_t i = 0; i < __ehdr_start.e_phnum; i++) {
        const uintptr_t begin = at[i].p_vaddr & -page, end = (at[i].p_vaddr + at[i].p_memsz) & -page;
        if (at[i].p_type == PT_GNU_RELRO && end > begin &&
            mprotect((void *)begin, end - begin, PROT_READ) != 0)
            abort();
    }
}

#endif
