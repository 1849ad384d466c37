/* tools/xdserve/inside.c - see inside.h. */
#include "tools/xdserve/inside.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/os_linux.h"
#include "engine/base/path.h"
#include "engine/base/proc.h"

#ifndef MFD_EXEC /* Linux 6.3: where vm.memfd_noexec is set, a file in memory is no program without it */
#define MFD_EXEC 0x0010u
#endif

#define TRY_NS (10 * XD_S_NS) /* that an agent may take to say its build id */

/* The bytes of xdagent, put here by the assembler. */
__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        "xdserve_agent:\n"
        ".incbin \"" XD_AGENT_FILE "\"\n"
        "0:\n"
        ".balign 8\n"
        "xdserve_agent_size:\n"
        ".quad 0b - xdserve_agent\n"
        ".popsection\n");
extern const uint8_t  xdserve_agent[];
extern const uint64_t xdserve_agent_size;

static xd_bytes agent_bytes(void)
{
    return (xd_bytes){ xdserve_agent, (size_t)xdserve_agent_size };
}

/* ---- does it start? ------------------------------------------------------------------------------------------ */

/* What it prints, up to the end of it. */
static void read_words(int fd, char *to, size_t size)
{
    const uint64_t until = xd_clock_ns() + TRY_NS;
    size_t         len = 0;
    for (uint64_t now = xd_clock_ns(); now < until && len + 1 < size; now = xd_clock_ns()) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (poll(&p, 1, (int)((until - now) / XD_MS_NS) + 1) <= 0)
            continue;
        ssize_t n = read(fd, to + len, size - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    to[len] = 0;
}

static int try_start(const char *path, xd_error *err)
{
    const char *const argv[] = { path, "--version", NULL };
    xd_proc           p = XD_PROC_NONE;
    xd_proc_status    status;
    char              said[128];
    int               pair[2];
    int               r = xd_os_pipe(pair, 0, 0);
    if (r < 0)
        return xd_error_set(err, r, "no descriptors: %s", xd_error_name(r));
    const xd_proc_fd   out = { pair[1], 1 };
    const xd_proc_args args = { .argv = argv, .fds = &out, .nfds = 1, .new_group = true };
    r = xd_proc_spawn(&args, &p, err);
    close(pair[1]);
    if (r == 0) {
        read_words(pair[0], said, sizeof(said));
        (void)xd_proc_kill(&p, SIGKILL);
        (void)!xd_proc_wait(&p, true, &status);
        if (strcmp(said, "xdagent " XD_BUILD_ID "\n") != 0)
            r = xd_error_set(err, -ENOEXEC, "%s does not run", path);
    }
    xd_proc_close(&p);
    close(pair[0]);
    return r;
}

/* ---- in memory ----------------------------------------------------------------------------------------------- */

static int write_all(int fd, xd_bytes b)
{
    for (size_t at = 0; at < b.len;) {
        ssize_t n = write(fd, b.ptr + at, b.len - at);
        if (n < 0 && errno != EINTR)
            return -errno;
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Its descriptor stays open: the path leads to it. */
static int in_memory(char **ret, xd_error *err)
{
    xd_autofree char *path = NULL;
    char              name[32];
    xd_autoclose int  fd = memfd_create("xdagent", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("xdagent", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r = fd < 0 ? -errno : write_all(fd, agent_bytes());
    if (r == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        r = -errno;
    snprintf(name, sizeof(name), "fd/%d", fd);
    if (r == 0)
        r = xd_path_of_process(name, &path); /* an agent started by another program (command=) has it, too */
    if (r < 0)
        return xd_error_set(err, r, "%s", xd_error_name(r));
    XD_TRY(try_start(path, err));
    *ret = xd_take(&path);
    fd = -1;
    return 0;
}

/* ---- in a file ----------------------------------------------------------------------------------------------- */

/* Nobody else can change it, and it is what is inside of this program. */
static bool is_ours(const char *path)
{
    xd_autobuf     text = XD_BUF_INIT;
    const xd_bytes b = agent_bytes();
    struct stat    st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 0777) == 0700 && (size_t)st.st_size == b.len &&
           xd_path_read_file(path, b.len, &text, NULL) == 0 && text.len == b.len &&
           memcmp(text.data, b.ptr, b.len) == 0;
}

static int in_folder(const char *folder, char **ret, xd_error *err)
{
    xd_autofree char *path = xd_path_join(folder, "xdagent-" XD_BUILD_ID);
    struct stat       st;
    if (!path)
        return xd_error_set(err, -ENOMEM, "out of memory");
    XD_TRY(xd_path_mkdirs(folder, 0700, err));
    if (lstat(folder, &st) < 0)
        return xd_error_set(err, -errno, "%s: %s", folder, xd_error_name(-errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
        return xd_error_set(err, -EPERM, "%s is no folder that only this user can write", folder);
    if (!is_ours(path))
        XD_TRY(xd_path_write_file(path, agent_bytes(), 0700, err));
    XD_TRY(try_start(path, err));
    *ret = xd_take(&path);
    return 0;
}

typedef int folder_fn(char **ret, xd_error *err);

int inside_agent(char **ret, xd_error *err)
{
    static folder_fn *const folders[] = { xd_path_cache, xd_path_private };
    xd_error                memory = { 0 }, file = { 0 };
    int                     r = in_memory(ret, &memory);
    for (size_t i = 0; r < 0 && i < XD_ARRAY_LEN(folders); i++) {
        xd_autofree char *folder = NULL;
        file = (xd_error){ 0 };
        r = folders[i](&folder, &file);
        if (r == 0)
            r = in_folder(folder, ret, &file);
    }
    if (r == 0)
        return 0;
    return xd_error_set(
        err, r,
        "the agent cannot be started from memory (%.200s), nor from a file (%.300s); $XDG_CACHE_HOME "
        "may name a folder for it",
        memory.text, file.text);
}
