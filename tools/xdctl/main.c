/* tools/xdctl/main.c - dispatch to the subcommands. */
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/shared/tool.h"
#include "tools/xdctl/xdctl.h"

static const xdctl_command commands[] = {
    { "run", "run a pytest suite on all processors", xdctl_run },
    { "show", "show a past run as the terminal showed it", xdctl_show },
    { "report", "make a report of a past run: junit, jsonl or terminal", xdctl_report },
    { "runs", "list past runs", xdctl_runs },
    { "doctor", "check what a run needs on this machine", xdctl_doctor },
    { "config", "show the options of a run, and where each comes from", xdctl_config },
    { "hosts", "check the hosts that a run would use", xdctl_hosts },
    { "sync", "bring folders and files to other hosts", xdctl_sync },
    { "serve", "run tests of others on this host: socket=", xdctl_serve },
    { "join", "bring workers of this host to a run that listens", xdctl_join },
    { "token", "let a host join a run without its key", xdctl_token },
    { "keygen", "make the key of this user", xdctl_keygen },
    { "trust", "take the key of a server", xdctl_trust },
    { "keys", "list, authorize and revoke keys", xdctl_keys },
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

void xdctl_put(FILE *out, const char *text, size_t len)
{
    char *shown = NULL;
    if (xd_harmless(text, len, &shown) == 0)
        fputs(shown, out);
    free(shown);
}

/* Arguments and words of hosts are quoted in messages: nothing of them may act on the terminal. */
int xdctl_fail(int code, const char *fmt, ...)
{
    char    text[2 * XD_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    char *shown = NULL;
    tool_complain("xdctl", xd_colors(2), xd_harmless(text, strlen(text), &shown) == 0 ? shown : text);
    free(shown);
    return code;
}

static void usage(FILE *out)
{
    fputs("usage: xdctl COMMAND [ARGUMENT ...]\n\nRuns pytest suites on all processors and shows the results "
          "as one session.\n\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
    fputs("\n`xdctl COMMAND --help` lists the options of a command; `xdctl --version` prints the version.\n"
          "The manual: xdctl(1), xdctl-run(1), xd(7).\n",
          out);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return XD_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("xdctl %s\n", xd_version());
        return 0;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        usage(stdout);
        return 0;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, word) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return xdctl_fail(XD_EXIT_USAGE, "there is no command '%s'; `xdctl --help` lists them", word);
}

/* A tree of 100,000 files is some large arrays for a moment. glibc gives such memory back at once only while it maps it by itself, from a size that else grows with use; and a heap
 * for each of many threads is much that lies idle. */
static void spare_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 512 << 10);
    (void)mallopt(M_ARENA_MAX, 2);
}

int main(int argc, char **argv)
{
    spare_memory();
    if (tool_hold_standard_descriptors() < 0)
        return XD_EXIT_INTERNAL;
    int code = dispatch(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
        code = xdctl_fail(XD_EXIT_INTERNAL, "cannot write to standard output: %s", strerror(errno));
    return code;
}
