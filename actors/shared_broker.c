/* actors/shared_broker.c - brokers that a program makes for several of its engines (engine/xd.h). */
#include <stdio.h>

#include "actors/limits.h"
#include "engine/broker.h"
#include "engine/xd.h"

int xd_broker_new(xd_broker **ret, char *err)
{
    xd_error e = { 0 };
    int      r = xd_limits_check_broker(&e);
    if (r == 0)
        r = xd_broker_start(ret, NULL, &e);
    if (r < 0 && err)
        snprintf(err, XD_TEXT, "%.1000s", *e.text ? e.text : xd_error_name(r));
    return r;
}

void xd_broker_free(xd_broker *b)
{
    if (b && xd_broker_runs(b) == 0)
        xd_broker_stop(b);
}
