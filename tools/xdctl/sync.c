/* tools/xdctl/sync.c - `xdctl sync`: files brought to other hosts without a run. The command line, and what is shown of it. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/xdctl/xdctl.h"

/* Options that are those of `xdctl run`. */
static const struct {
    const char *name, *argument, *help;
} of_run[] = {
    { "ssh", "WHICH", "what carries ssh=: auto, libssh or openssh" },
    { "ssh-accept-new", NULL, "take and write down the key of a host that is not in known_hosts" },
    { "keys", "DIR", "folder of the keys of socket=" },
    { "agent", "PATH", "the xdagent program" },
    { "cache-dir", "DIR", "where it is remembered what files and hosts have" },
    { "work-dir", "DIR", "as if started in DIR: names of sources from there" },
    { "agent-timeout", "TIME", "a host whose agent answers nothing for this long is given up" },
    { "reconnect-timeout", "TIME", "how long a host whose connection is cut is dialled again" },
};
#define OF_RUN (sizeof(of_run) / sizeof(of_run[0]))

enum { OPTION_TO = 1, OPTION_IGNORE, OPTION_VERBOSE, OPTION_QUIET, OPTION_OF_RUN };

typedef struct words {
    const char **at; /* NULL-terminated; the texts are owned */
    size_t       count;
} words;

/* What was asked for, and what is known of it so far. The calls of the library come one at a time. */
typedef struct sync_tool {
    words         sources, targets, ignore;
    int           remove, dry, stats, verbosity;
    bool          json, tty, drawn;
    xd_config    *cfg;
    xd_sync_host *hosts; /* as last told, in the order of the targets; without texts */
    bool         *done;
    uint64_t     *changes; /* names that were told of, per target; not those that are removed */
    json_t       *told;
    uint64_t      drawn_ms;
} sync_tool;

static volatile int asked_to_stop;

static void on_signal(int number)
{
    (void)number;
    asked_to_stop = 1;
}

/* `text` is taken. */
static int add_word(words *w, char *text)
{
    const char **at = text ? realloc(w->at, (w->count + 2) * sizeof(*at)) : NULL;
    if (!at) {
        free(text);
        return -ENOMEM;
    }
    w->at = at;
    at[w->count++] = text;
    at[w->count] = NULL;
    return 0;
}

static void release_words(words *w)
{
    for (size_t i = 0; i < w->count; i++)
        free((char *)w->at[i]);
    free(w->at);
}

/* ---- what is shown --------------------------------------------------------------------------------------- */

static void put(FILE *out, const char *text)
{
    xdctl_put(out, text, strlen(text));
}

/* "1,234", "39.7 MB". */
static const char *count_text(uint64_t n, char room[32])
{
    char digits[24];
    int  len = snprintf(digits, sizeof(digits), "%" PRIu64, n), to = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            room[to++] = ',';
        room[to++] = digits[i];
    }
    room[to] = 0;
    return room;
}

static const char *bytes_text(uint64_t n, char room[32])
{
    static const char *const units[] = { "kB", "MB", "GB", "TB", "PB", "EB" };
    double                   value = (double)n / 1000;
    size_t                   unit = 0;
    if (n < 1000) {
        snprintf(room, 32, "%u bytes", (unsigned)n);
        return room;
    }
    for (; value >= 999.95 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1000;
    snprintf(room, 32, "%.1f %s", value, units[unit]);
    return room;
}

static void clear_line(sync_tool *t)
{
    if (t->drawn)
        fputs("\r\x1b[K", stderr);
    t->drawn = false;
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

/* All targets together: files and bytes of those that they lack, the rate. */
static void draw(sync_tool *t)
{
    uint64_t     wanted = 0, sent = 0, files = 0, us = 0;
    size_t       over = 0;
    char         a[32], b[32], c[32], d[32];
    const size_t n = t->targets.count;
    if (!t->tty || now_ms() < t->drawn_ms + 100)
        return;
    for (size_t i = 0; i < n; i++) {
        wanted += t->hosts[i].wanted_bytes;
        sent += t->hosts[i].sent_bytes;
        files += t->hosts[i].sent_files;
        us = t->hosts[i].duration_us > us ? t->hosts[i].duration_us : us;
        over += t->done[i];
    }
    t->drawn_ms = now_ms();
    fprintf(stderr, "\r\x1b[K%zu of %zu done, %s files, %s of %s, %s/s", over, n, count_text(files, a),
            bytes_text(sent, b), bytes_text(wanted > sent ? wanted : sent, c),
            bytes_text(us ? (uint64_t)((double)sent * 1e6 / (double)us) : 0, d));
    t->drawn = true;
}

/* Which target this is; a library that names another one would be wrong. */
static size_t index_of(const sync_tool *t, const char *target)
{
    size_t i = 0;
    while (i < t->targets.count && strcmp(t->targets.at[i], target) != 0)
        i++;
    return i;
}

static size_t take(sync_tool *t, const xd_sync_host *h)
{
    const size_t i = index_of(t, h->destination);
    if (i < t->targets.count) {
        t->hosts[i] = *h;
        t->hosts[i].destination = t->hosts[i].error = NULL;
    }
    return i;
}

static void on_progress(void *arg, const xd_sync_host *h)
{
    sync_tool *t = arg;
    (void)take(t, h);
    draw(t);
}

static void on_change(void *arg, const char *target, int removed, const char *path, size_t len)
{
    sync_tool   *t = arg;
    const size_t i = index_of(t, target);
    if (i < t->targets.count)
        t->changes[i] += !removed;
    if (t->json)
        return;
    clear_line(t);
    if (t->targets.count > 1) {
        put(stdout, target);
        fputs(": ", stdout);
    }
    fputs(removed  ? (t->dry ? "would be removed: " : "removed: ")
          : t->dry ? "would be brought: "
                   : "",
          stdout);
    xdctl_put(stdout, path, len);
    putchar('\n');
}

static void on_note(void *arg, int level, const char *line)
{
    sync_tool *t = arg;
    if ((level <= 1 && t->verbosity < 2) || (level <= 3 && t->verbosity < 0))
        return;
    clear_line(t);
    fflush(stdout); /* in order, also where both are one file */
    fputs("xdctl: ", stderr);
    put(stderr, line);
    fputc('\n', stderr);
}

/* changes: names of a dry run that would be brought. */
static void put_summary(const sync_tool *t, const xd_sync_host *h, uint64_t changes)
{
    char a[32], b[32], c[32], d[32];
    put(stdout, h->destination);
    printf(": %s %s, %s: ", count_text(h->files, a), h->files == 1 ? "file" : "files",
           bytes_text(h->bytes, b));
    if (t->dry && changes)
        printf("%s would be brought", count_text(changes, c));
    else if (h->sent_files)
        printf("%s sent (%s)", count_text(h->sent_files, c), bytes_text(h->sent_bytes, d));
    else
        fputs("all there", stdout);
    if (h->removed)
        printf(", %s %s", count_text(h->removed, c), t->dry ? "would be removed" : "removed");
    printf(", %.2f s\n", (double)h->duration_us / 1e6);
}

/* --stats. */
static void put_stats(const xd_sync_host *h)
{
    const struct {
        const char *what;
        uint64_t    files, bytes;
        bool        only_count;
    } rows[] = {
        { "in the sources", h->files, h->bytes, false },
        { "folders", h->scanned_folders, 0, true },
        { "ignored names", h->ignored, 0, true },
        { "read here", h->hashed_files, h->hashed_bytes, false },
        { "lacking there", h->wanted_files, h->wanted_bytes, false },
        { "sent", h->sent_files, h->sent_bytes, false },
        { "found there", h->reused, h->reused_bytes, false },
        { "written", h->written, 0, true },
        { "removed", h->removed, 0, true },
        { "round trips", h->round_trips, 0, true },
    };
    char a[32], b[32];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].only_count)
            printf("  %-16s %12s\n", rows[i].what, count_text(rows[i].files, a));
        else
            printf("  %-16s %12s files  %12s\n", rows[i].what, count_text(rows[i].files, a),
                   bytes_text(rows[i].bytes, b));
    printf("  %-16s %12s\n  %-16s %12s\n", "to there", bytes_text(h->wire_bytes, a), "from there",
           bytes_text(h->wire_back_bytes, b));
    printf("  %-16s %10.3f s\n", "scan", (double)h->scan_us / 1e6);
}

static json_t *text_or_null(const char *text)
{
    json_t *j = text ? json_string(text) : NULL;
    return j ? j : json_null();
}

static void put_json(sync_tool *t, const xd_sync_host *h)
{
    const struct {
        const char *name;
        uint64_t    value;
    } numbers[] = {
        { "files", h->files },
        { "bytes", h->bytes },
        { "wanted_files", h->wanted_files },
        { "wanted_bytes", h->wanted_bytes },
        { "sent_files", h->sent_files },
        { "sent_bytes", h->sent_bytes },
        { "wire_bytes", h->wire_bytes },
        { "wire_back_bytes", h->wire_back_bytes },
        { "written", h->written },
        { "removed", h->removed },
        { "reused", h->reused },
        { "reused_bytes", h->reused_bytes },
        { "round_trips", h->round_trips },
        { "duration_us", h->duration_us },
        { "scanned_files", h->scanned_files },
        { "scanned_folders", h->scanned_folders },
        { "ignored", h->ignored },
        { "hashed_files", h->hashed_files },
        { "hashed_bytes", h->hashed_bytes },
        { "scan_us", h->scan_us },
    };
    json_t *j =
        json_pack("{s:o, s:o}", "destination", text_or_null(h->destination), "error", text_or_null(h->error));
    for (size_t i = 0; j && i < sizeof(numbers) / sizeof(numbers[0]); i++)
        (void)json_object_set_new(j, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    if (j)
        (void)json_array_append_new(t->told, j);
}

static void on_done(void *arg, const xd_sync_host *h)
{
    sync_tool   *t = arg;
    const size_t i = take(t, h);
    if (i < t->targets.count)
        t->done[i] = true;
    clear_line(t);
    fflush(stdout);
    if (h->error && !(asked_to_stop && t->verbosity <= 0))
        (void)xdctl_fail(0, "%s: %s", h->destination, h->error);
    if (t->json) {
        put_json(t, h);
    } else if (!h->error) {
        if (t->verbosity >= 0)
            put_summary(t, h, i < t->targets.count ? t->changes[i] : 0);
        if (t->stats)
            put_stats(h);
        fflush(stdout); /* other hosts may take much longer */
    }
}

/* ---- the command line ------------------------------------------------------------------------------------- */

static int take_option(sync_tool *t, int option, char *value, char *err)
{
    int r = 0;
    if (option == OPTION_TO)
        return add_word(&t->targets, value);
    if (option == OPTION_IGNORE && value && *value)
        return add_word(&t->ignore, value);
    if (option == OPTION_IGNORE) {
        snprintf(err, XD_TEXT, "option --rsyncignore: '' is not valid: it must not be empty");
        r = -EINVAL;
    } else if (option == OPTION_VERBOSE || option == OPTION_QUIET) {
        t->verbosity += option == OPTION_VERBOSE ? 1 : -1;
    } else {
        r = xd_config_set(t->cfg, of_run[option - OPTION_OF_RUN].name, value ? value : "1", err);
    }
    free(value);
    return r;
}

/* The words that are left: sources, and the last one is the target when no --to is there. */
static int take_words(sync_tool *t, poptContext ctx)
{
    for (const char *word; (word = poptGetArg(ctx));)
        if (add_word(&t->sources, strdup(word)) < 0)
            return xdctl_fail(XD_EXIT_INTERNAL, "no memory");
    if (!t->targets.count && t->sources.count < 2)
        return xdctl_fail(XD_EXIT_USAGE, "sync: %s: xdctl sync SOURCE ... SPEC:PATH",
                          t->sources.count ? "no destination is named"
                                           : "no source is named, and no destination");
    if (!t->targets.count) {
        char *last = (char *)t->sources.at[--t->sources.count];
        t->sources.at[t->sources.count] = NULL;
        if (add_word(&t->targets, last) < 0)
            return xdctl_fail(XD_EXIT_INTERNAL, "no memory");
    }
    return t->sources.count
               ? 0
               : xdctl_fail(XD_EXIT_USAGE, "sync: no source is named: xdctl sync SOURCE ... --to SPEC:PATH");
}

static const char usage[] =
    "[OPTION ...] SOURCE ... SPEC:PATH\n"
    "       xdctl sync [OPTION ...] SOURCE ... --to SPEC:PATH [--to SPEC:PATH ...]\n\n"
    "Makes copies of folders and files on other hosts what the originals are; only what differs is sent.\n"
    "Each SOURCE keeps its last name below PATH; with a slash at its end (src/), what is in it comes there.\n"
    "SPEC is a place as --tx of `xdctl run` has it: ssh=me@host:/srv/app, popen:/other/dir.\n"
    "Exit code: 0 all have all, 6 one has not.\n";

/* --stats=json; popt would take the next word for the value of a bare --stats. */
static int take_json(sync_tool *t, int *argc, char **argv)
{
    for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--stats=", 8) != 0)
            continue;
        if (strcmp(argv[i] + 8, "json") != 0)
            return xdctl_fail(XD_EXIT_USAGE, "option --stats: '%s' is not valid: it is json, or nothing",
                              argv[i] + 8);
        t->json = true;
        memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof(*argv));
        --*argc;
        --i;
    }
    return 0;
}

/* 0, or the exit code + 1 when all is said. */
static int read_command_line(sync_tool *t, int argc, char **argv)
{
    struct poptOption table[9 + OF_RUN] = {
        { "to", 0, POPT_ARG_STRING, NULL, OPTION_TO, "where to; may be given more than once", "SPEC:PATH" },
        { "delete", 0, POPT_ARG_NONE, &t->remove, 0,
          "remove what is there and not here, except what is ignored", NULL },
        { "dry-run", 'n', POPT_ARG_NONE, &t->dry, 0, "change nothing, say what would be", NULL },
        { "stats", 0, POPT_ARG_NONE, &t->stats, 0,
          "what was scanned, sent and found there; --stats=json: as JSON", NULL },
        { "rsyncignore", 0, POPT_ARG_STRING, NULL, OPTION_IGNORE,
          "what is not brought; may be given more than once", "GLOB" },
        { "exclude", 0, POPT_ARG_STRING, NULL, OPTION_IGNORE, "the same", "GLOB" },
        { "verbose", 'v', POPT_ARG_NONE, NULL, OPTION_VERBOSE,
          "name each file; twice: how each host is reached", NULL },
        { "quiet", 'q', POPT_ARG_NONE, NULL, OPTION_QUIET, "errors only", NULL },
    };
    char err[XD_TEXT] = "";
    int  rc, code = take_json(t, &argc, argv);
    for (size_t i = 0; i < OF_RUN; i++)
        table[8 + i] = (struct poptOption){ of_run[i].name,
                                            0,
                                            of_run[i].argument ? POPT_ARG_STRING : POPT_ARG_NONE,
                                            NULL,
                                            OPTION_OF_RUN + (int)i,
                                            of_run[i].help,
                                            of_run[i].argument };
    poptContext ctx = poptGetContext("xdctl", argc, (const char **)argv, table, 0);
    if (xdctl_print_help(argc, argv, table, usage)) {
        poptFreeContext(ctx);
        return XD_EXIT_OK + 1;
    }
    while (code == 0 && (rc = poptGetNextOpt(ctx)) != -1) {
        if (rc < -1)
            code = xdctl_bad_option("sync", ctx, rc);
        else if (take_option(t, rc, poptGetOptArg(ctx), err) < 0)
            code = xdctl_fail(XD_EXIT_USAGE, "%s", *err ? err : "no memory");
    }
    if (code == 0)
        code = take_words(t, ctx);
    poptFreeContext(ctx);
    return code ? code + 1 : 0;
}

/* ---------------------------------------------------------------------------------------------------------------- */

static int run(sync_tool *t)
{
    char                err[XD_TEXT] = "";
    const xd_sync_calls calls = { .size = sizeof(calls),
                                  .arg = t,
                                  .progress = t->tty ? on_progress : NULL,
                                  .change = t->verbosity > 0 || t->dry ? on_change : NULL,
                                  .note = on_note,
                                  .done = on_done };
    const unsigned      flags = (t->remove ? XD_SYNC_REMOVE : 0u) | (t->dry ? XD_SYNC_DRY : 0u) |
                           (t->verbosity > 0 ? XD_SYNC_TELL : 0u);
    const struct sigaction stop = { .sa_handler = on_signal,
                                    .sa_flags = (int)SA_RESETHAND }; /* a second one ends us */
    const int              signals[] = { SIGINT, SIGTERM, SIGHUP };
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaction(signals[i], &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    const int r =
        xd_sync_run(t->cfg, t->sources.at, t->targets.at, t->ignore.at, flags, &calls, &asked_to_stop, err);
    clear_line(t);
    if (r < 0)
        return xdctl_fail(r == -EINVAL   ? XD_EXIT_USAGE
                          : r == -ENOMEM ? XD_EXIT_INTERNAL
                                         : XD_EXIT_INFRASTRUCTURE,
                          "%s", err[0] ? err : strerror(-r));
    json_t *all = t->json ? json_pack("{s:O}", "destinations", t->told) : NULL;
    if (t->json && (!all || json_dumpf(all, stdout, JSON_INDENT(1)) < 0 || putchar('\n') < 0)) {
        json_decref(all);
        return XD_EXIT_INTERNAL;
    }
    json_decref(all);
    if (r)
        return r == 2 ? XD_EXIT_INTERRUPTED : XD_EXIT_INFRASTRUCTURE;
    for (size_t i = 0; i < t->targets.count; i++)
        if (t->hosts[i].unreadable)
            return XD_EXIT_INCOMPLETE;
    return XD_EXIT_OK;
}

int xdctl_sync(int argc, char **argv)
{
    sync_tool t = { 0 };
    if (xd_config_new(&t.cfg) < 0)
        return xdctl_fail(XD_EXIT_INTERNAL, "no memory");
    int code = read_command_line(&t, argc, argv);
    if (code) {
        code--;
    } else {
        t.tty = t.verbosity >= 0 && !t.json && isatty(2);
        t.hosts = calloc(t.targets.count, sizeof(*t.hosts));
        t.done = calloc(t.targets.count, sizeof(*t.done));
        t.told = json_array();
        t.changes = calloc(t.targets.count, sizeof(*t.changes));
        code = t.hosts && t.done && t.changes && t.told ? run(&t) : xdctl_fail(XD_EXIT_INTERNAL, "no memory");
    }
    json_decref(t.told);
    free(t.hosts);
    free(t.done);
    free(t.changes);
    release_words(&t.sources);
    release_words(&t.targets);
    release_words(&t.ignore);
    xd_config_free(t.cfg);
    return code;
}
