/* scheduler_config.c - the lines about options, about the project's own, and about files for the hosts; and the first CONFIG: the run's settings as pytest's configuration has them. */
#include <stdio.h>
#include <stdlib.h>

#include "actors/scheduler_state.h"

int xd_scheduler_tell_options(scheduler *self)
{
    const xd_strings *notes = &self->args.config->notes;
    for (size_t i = 0; i < notes->count; i++)
        XD_TRY(xd_scheduler_note(self, XD_NOTE_NOTE, "%s", notes->at[i]));
    return 0;
}

int xd_scheduler_tell_sync(scheduler *self, const xd_sync_plan *sync)
{
    XD_TRY(sync->why ? xd_scheduler_note(self, XD_NOTE_DETAIL, "%s", sync->why) : 0);
    for (size_t i = 0; i < sync->python_path.count; i++)
        XD_TRY(xd_scheduler_note(self, XD_NOTE_DETAIL, "Python looks there for modules, too: %s",
                                 sync->python_path.at[i]));
    for (size_t i = 0; i < sync->notes.count; i++)
        XD_TRY(xd_scheduler_note(self, XD_NOTE_NOTE, "%s", sync->notes.at[i]));
    return 0;
}

int xd_scheduler_tell_project(scheduler *self, const xd_project_told *told)
{
    for (size_t i = 0; i < told->details.count; i++)
        XD_TRY(xd_scheduler_note(self, XD_NOTE_DETAIL, "%s", told->details.at[i]));
    for (size_t i = 0; i < told->notes.count; i++)
        XD_TRY(xd_scheduler_note(self, XD_NOTE_NOTE, "%s", told->notes.at[i]));
    return 0;
}

/* actors/refuse.h has the line. */
static int refuse(scheduler *self, const char *line)
{
    xd_scheduler_end_with(self, XD_EXIT_USAGE, "");
    XD_TRY(xd_scheduler_note(self, XD_NOTE_USAGE, "%s", line));
    return xd_scheduler_happens(self, XD_RUN_ON_OVER, NULL);
}

/* Of the first one: what pytest's configuration says of the run. */
static int take(scheduler *self, const gateway *g, const xd_wire_CONFIG *in)
{
    xd_error err = { 0 };
    self->configured = true;
    self->home = g->number;
    int r = xd_settings_read(&self->options, self->args.config, in, &err);
    if (r == -EINVAL)
        return refuse(self, err.text);
    XD_TRY(r);
    if (self->args.config->no_history)
        return 0;
    xd_autobuf        room = XD_BUF_INIT;
    xd_bytes          root;
    const xd_pathmap *map = xd_report_paths_of(&self->paths, g->number);
    XD_TRY(xd_pathmap_text(map, in->rootdir, XD_PATHMAP_ALL, &room, &root));
    xd_autofree char *rootdir = xd_bytes_dup(root), *path = NULL;
    if (!rootdir)
        return -ENOMEM;
    if (xd_history_path(self->args.cache, rootdir, &path, &err) == 0)
        (void)!xd_history_open(path, &self->history,
                               &err); /* the reporter that writes it tells what is wrong */
    return 0;
}

int xd_scheduler_on_config(scheduler *self, gateway *g, const xd_wire_CONFIG *in)
{
    g->configured = true;
    snprintf(g->python, sizeof(g->python), "%.*s", (int)XD_MIN(in->python_version.len, sizeof(g->python) - 1),
             (const char *)in->python_version.ptr);
    if (!self->configured)
        XD_TRY(take(self, g, in));
    return xd_scheduler_look(self);
}
