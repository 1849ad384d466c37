/* actors/refuse.h - what a run refuses, and the line that says so. Everything refused ends with exit code 4. Pure.
 * Two kinds are refused elsewhere, where they are read: a value that no option of xd's command line takes
 * (engine/config.c), and plugins and options of pytest that need a controlling process (`refusal` in
 * xd_pytest/home.py).
 * All functions that take an xd_error: 0, or -EINVAL with the line in it. */
#pragma once
#include "engine/sched.h"
#include "engine/xspec.h"

/* --tx. `known`: there is a transport for its kind. */
int xd_refuse_spec(const xd_xspec *spec, bool known, xd_error *err) XD_MUST;
/* Too many workers in the environment of this spec, or in all. */
int xd_refuse_workers(const xd_xspec *spec, uint32_t of_environment, uint32_t of_all, xd_error *err) XD_MUST;

/* What stands in pytest's ini, its conftest, PYTEST_ADDOPTS or the environment, under its name in CONFIG.options. */

/* A number: *ret is its value, from 0 to `most`. `option`: as the user wrote it. */
int xd_refuse_number(const char *option, const char *text, uint32_t most, int *ret, xd_error *err) XD_MUST;
/* An option that xd does not have. */
int xd_refuse_option(const char *name, const char *value, xd_error *err) XD_MUST;
/* --tx that a hook (pytest_load_initial_conftests) or an @FILE has put among pytest's arguments: its environment stands already when it is read, so its number counts and nothing
 * else can. `before`: sum of those before it. *ret: the sum with it. */
int xd_refuse_project_tx(const char *text, uint32_t before, uint32_t *ret, xd_error *err) XD_MUST;
/* --dist there. *ret: the mode. */
int xd_refuse_project_dist(const char *text, xd_sched_mode *ret, xd_error *err) XD_MUST;

/* pytest has refused its command line (exit code 4), in which an option stands that is xd's alone: the line that says
 * where it belongs, in addition. */
void xd_refuse_misplaced(const char *option, char *line, size_t size);
