/* A program that was built with another version's xd.h: -DOLDER, without the members that came later, or -DNEWER, with
 * more (`later`). It runs a suite twice, events from the descriptor and by callback, and looks that nothing beside its
 * own structures was written.
 *     embed_sized PYTHON FOLDER */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xd.h>

#define GUARD 0xa5

struct guarded {
    unsigned char before[64];
    xd_event      ev;
    unsigned char between[64];
    xd_result     res;
    unsigned char after[64];
};

static int untouched(const struct guarded *g)
{
    for (int i = 0; i < 64; i++)
        if (g->before[i] != GUARD || g->between[i] != GUARD || g->after[i] != GUARD)
            return 0;
    return 1;
}

static xd_engine *begin(const char *python, xd_event_fn fn, void *arg)
{
    char       err[XD_TEXT] = "";
    xd_config *cfg = NULL;
    xd_engine *run = NULL;
    if (xd_config_new(&cfg) < 0 || xd_config_set(cfg, "python", python, err) < 0 ||
        xd_config_set(cfg, "numprocesses", "2", err) < 0 || xd_engine_new(&run, cfg, err) < 0) {
        fprintf(stderr, "embed_sized: %s\n", err);
    } else {
        xd_engine_output(run, -1, 2);
        if (fn)
            xd_engine_callback(run, fn, arg);
        if (xd_engine_start(run, err) < 0)
            fprintf(stderr, "embed_sized: %s\n", err);
    }
    xd_config_free(cfg);
    return run;
}

static void on_event(void *arg, const xd_event *ev)
{
    long *tests = arg;
#ifdef NEWER
    if (XD_HAS(ev, later))
        *tests += 1000;
#endif
#ifdef OLDER
    const int whole = ev->size > sizeof(*ev);
#else
    const int whole = XD_HAS(ev, attempt) && ev->attempt == 1;
#endif
    *tests += ev->type == XD_EVENT_TEST && whole;
}

static int show(const char *how, const struct guarded *g, long events)
{
    printf("%s %d: %ld events, %u of %u passed, %s\n", how, g->res.exit_code, events, g->res.passed,
           g->res.collected, untouched(g) ? "untouched" : "OVERWRITTEN");
#ifdef NEWER
    for (int i = 0; i < 8; i++)
        if (g->ev.later[i] || g->res.later[i])
            printf("later: WRITTEN\n");
#endif
    return g->res.exit_code;
}

int main(int argc, char **argv)
{
    struct guarded g;
    xd_event       ev = XD_EVENT_INIT;
    xd_result      res = XD_RESULT_INIT;
    long           events = 0, tests = 0;
    if (argc < 3 || chdir(argv[2]) < 0)
        return XD_EXIT_USAGE;
    memset(&g, GUARD, sizeof(g));
    g.ev = ev;
    g.res = res;

    xd_engine *run = begin(argv[1], NULL, NULL);
    ev.size = res.size = 4;
    if (xd_engine_next_event(run, &ev) != -EINVAL || xd_engine_wait(run, 0, &res) != -EINVAL)
        printf("a size of 4 was NOT REFUSED\n");
    do {
        struct pollfd p = { .fd = xd_engine_fd(run), .events = POLLIN };
        poll(&p, 1, -1);
        while (xd_engine_next_event(run, &g.ev) == 1 && ++events && g.ev.type != XD_EVENT_FINISHED)
            ;
    } while (g.ev.type != XD_EVENT_FINISHED);
    xd_engine_wait(run, -1, &g.res);
    int code = show("taken", &g, events > 1);
    xd_engine_free(run);

    run = begin(argv[1], on_event, &tests);
    if (xd_engine_wait(run, -1, &g.res) < 0)
        code = XD_EXIT_INTERNAL;
    show("called", &g, tests);
    xd_engine_free(run);
    return code;
}
