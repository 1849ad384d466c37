/* tools/xdserve/main.c - `xdctl serve` as one static file for hosts where nothing is installed, the agent inside. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "tools/shared/joining.h"
#include "tools/shared/serving.h"
#include "tools/shared/tool.h"
#include "tools/xdserve/inside.h"

static int fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(int code, const char *fmt, ...)
{
    char    text[2 * XD_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    tool_complain("xdserve", false, text);
    return code;
}

static int usage(void)
{
    puts("usage: xdserve [serve] [OPTION ...]\n"
         "       xdserve join [OPTION ...] [tcp://]HOST[:PORT]\n"
         "       xdserve authorize LINE [--keys DIR]\n"
         "\n"
         "Waits for controllers (xdctl run --tx socket=HOST:PORT) whose keys are in\n"
         "authorized_controllers, and runs their tests on this host, as this user. It\n"
         "needs no other file. SIGTERM: no new ones, and the end when the others are\n"
         "done; a second one ends all.\n"
         "\n"
         "  serve                what it does without a command\n"
         "  join HOST:PORT       bring the workers of this host to a run that listens\n"
         "                       (xdctl join); a token is read of $XD_TOKEN\n"
         "  authorize LINE       let a controller in: LINE is what `xdctl keygen` prints\n"
         "                       there, in single quotes\n"
         "  --bind ADDRESS:PORT  listen there instead of :8888 of all addresses; may be\n"
         "                       repeated\n"
         "  --keys DIR           folder of the keys instead of ~/.config/xdctl\n"
         "  --max-agents N       agents at once; 256 without\n"
         "  --max-connections N  connections at once; 4096 without\n"
         "  --drain SECONDS      time for running agents when it is told to stop;\n"
         "                       60 without\n"
         "  --workers N|auto     of join: how many this host offers; auto without\n"
         "  --tag WORD           of join: a capability word; may be repeated\n"
         "  --token-file FILE    of join: read a token there\n"
         "  --wait TIME          of join: how long the run may take to be there; 5m\n"
         "                       without\n"
         "  --help, --version");
    return 0;
}

typedef struct options {
    const char   *bind[SERVING_BINDS + 1], *keys, *command, *line;
    uint64_t      max_agents, max_connections, drain_s;
    joining_words join;
    size_t        n_tags;
} options;

#define GOES_ON (-1)

static int bad_option(const char *word)
{
    const char letter[] = { '-', (char)optopt, 0 }; /* one of several behind one dash */
    return fail(XD_EXIT_USAGE, "there is no option '%.60s'; `xdserve --help` lists them",
                optopt && !strchr("bkmcdwtfWhV", optopt) ? letter : word);
}

/* GOES_ON, or the exit code of a program that is done. */
static int take_option(options *o, int c, size_t *n_bind, char **argv)
{
    switch (c) {
    case 'h':
        return usage();
    case 'V':
        printf("xdserve %s\n", xd_version());
        return 0;
    case 'k':
        o->keys = optarg;
        return *optarg ? GOES_ON : fail(XD_EXIT_USAGE, "--keys takes a folder");
    case 'b':
        if (*n_bind == SERVING_BINDS)
            return fail(XD_EXIT_USAGE, "--bind may be given %u times", SERVING_BINDS);
        o->bind[(*n_bind)++] = optarg;
        return GOES_ON;
    case 'm':
        return xd_text_u64(optarg, 1, UINT32_MAX, &o->max_agents) == 0
                   ? GOES_ON
                   : fail(XD_EXIT_USAGE, "--max-agents takes a number from 1 on, not '%.60s'", optarg);
    case 'c':
        return xd_text_u64(optarg, 1, UINT32_MAX, &o->max_connections) == 0
                   ? GOES_ON
                   : fail(XD_EXIT_USAGE, "--max-connections takes a number from 1 on, not '%.60s'", optarg);
    case 'w':
        o->join.workers = optarg;
        return GOES_ON;
    case 'f':
        o->join.token_file = optarg;
        return GOES_ON;
    case 'W':
        o->join.wait = optarg;
        return GOES_ON;
    case 't':
        if (o->n_tags == JOINING_TAGS)
            return fail(XD_EXIT_USAGE, "--tag may be given %u times", JOINING_TAGS);
        o->join.tags[o->n_tags++] = optarg;
        return GOES_ON;
    case 'd':
        o->join.drain = optarg;
        return xd_text_u64(optarg, 0, SERVING_DRAIN_MAX_S, &o->drain_s) == 0
                   ? GOES_ON
                   : fail(XD_EXIT_USAGE, "--drain takes seconds, 0 to %u, not '%.60s'", SERVING_DRAIN_MAX_S,
                          optarg);
    case ':':
        return fail(XD_EXIT_USAGE, "%.60s takes a value (xdserve --help)", argv[optind - 1]);
    default:
        return bad_option(argv[optind - 1]);
    }
}

static int take_words(options *o, char **words)
{
    o->command = words[0] ? words[0] : "serve";
    if (strcmp(o->command, "serve") == 0)
        return words[0] && words[1] ? fail(XD_EXIT_USAGE, "serve takes options alone, not '%.60s'", words[1])
                                    : GOES_ON;
    if (strcmp(o->command, "join") == 0) {
        o->join.address = words[1];
        return words[1] && !words[2] ? GOES_ON : fail(XD_EXIT_USAGE, "join takes one run: tcp://HOST:PORT");
    }
    if (strcmp(o->command, "authorize") != 0)
        return fail(XD_EXIT_USAGE, "there is no command '%.60s': serve, join ADDRESS and authorize LINE are",
                    o->command);
    if (!words[1] || words[2])
        return fail(XD_EXIT_USAGE, "authorize takes one LINE, in single quotes: 'xdk1 KEY COMMENT'");
    o->line = words[1];
    return GOES_ON;
}

static int read_options(options *o, int argc, char **argv)
{
    static const struct option table[] = {
        { "bind", required_argument, NULL, 'b' },       { "keys", required_argument, NULL, 'k' },
        { "max-agents", required_argument, NULL, 'm' }, { "max-connections", required_argument, NULL, 'c' },
        { "drain", required_argument, NULL, 'd' },      { "workers", required_argument, NULL, 'w' },
        { "tag", required_argument, NULL, 't' },        { "token-file", required_argument, NULL, 'f' },
        { "wait", required_argument, NULL, 'W' },       { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },          { 0 },
    };
    size_t n_bind = 0;
    int    c, code = GOES_ON;
    opterr = 0;
    while (code == GOES_ON && (c = getopt_long(argc, argv, ":hV", table, NULL)) != -1)
        code = take_option(o, c, &n_bind, argv);
    return code == GOES_ON ? take_words(o, argv + optind) : code;
}

static int authorize(const options *o)
{
    char err[XD_TEXT] = "";
    int  r = xd_keys_authorize(o->keys, o->line, err);
    if (r < 0)
        return fail(serving_exit_code(r), "%s", err[0] ? err : strerror(-r));
    puts(r == 1 ? "authorized; it takes the place of the line that was there" : "authorized");
    return 0;
}

static int serve(const options *o)
{
    xd_error          e = { 0 };
    char              err[XD_TEXT] = "";
    xd_autofree char *agent = NULL;
    int               r = inside_agent(&agent, &e);
    if (r < 0)
        return fail(r == -ENOMEM ? XD_EXIT_INTERNAL : XD_EXIT_INFRASTRUCTURE, "%s", e.text);
    xd_server_options s = { .size = sizeof(s),
                            .keys = o->keys,
                            .bind = o->bind[0] ? o->bind : NULL,
                            .agent = agent,
                            .max_agents = (unsigned)o->max_agents,
                            .max_connections = (unsigned)o->max_connections,
                            .drain_ms = (unsigned)o->drain_s * 1000u };
    int               code = serving_run(&s, "xdserve authorize", err);
    return code ? fail(code, "%s", err) : 0;
}

static int join(options *o)
{
    xd_error          e = { 0 };
    char              err[XD_TEXT] = "";
    xd_autofree char *agent = NULL;
    int               r = inside_agent(&agent, &e);
    if (r < 0)
        return fail(r == -ENOMEM ? XD_EXIT_INTERNAL : XD_EXIT_INFRASTRUCTURE, "%s", e.text);
    o->join.keys = o->keys;
    o->join.agent = agent;
    int code = joining_run(&o->join, err);
    return code ? fail(code, "%s", err) : 0;
}

int main(int argc, char **argv)
{
    options o = { .drain_s = SERVING_DRAIN_S };
    if (tool_hold_standard_descriptors() < 0)
        return XD_EXIT_INTERNAL;
    int code = read_options(&o, argc, argv);
    if (code == GOES_ON)
        code = o.line ? authorize(&o) : o.join.address ? join(&o) : serve(&o);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
        code = fail(XD_EXIT_INTERNAL, "cannot write to standard output: %s", strerror(errno));
    return code;
}
