/* actors/report_matrix.c - see report_matrix.h. */
#include "actors/report_matrix.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "actors/columns.h"
#include "actors/env_labels.h"
#include "actors/matrix.h"
#include "actors/report_term.h"
#include "engine/base/text.h"

#define MATRIX_MAGIC 0x3a7c1001u
#define WORDS_MOST 64u /* columns of text that cells may take; else they are letters */
#define NO_MOST UINT32_MAX

/* ---- what is compared ------------------------------------------------------------------------------------------- */

typedef struct compared {
    xd_matrix       matrix;
    xd_matrix_item *items;    /* of all columns */
    uint32_t       *gateways; /* of each column */
    uint32_t        columns;
    char          **labels; /* index = gateway */
    uint32_t        envs;
} compared;

static void compared_release(compared *c)
{
    xd_matrix_release(&c->matrix);
    xd_env_labels_free(c->labels, c->envs);
    free(c->items);
    free(c->gateways);
}

int xd_report_labels(const xd_runview *v, char ***ret)
{
    xd_autofree xd_bytes *specs = calloc(v->envs.count + 1, sizeof(*specs));
    char                **all = calloc(v->envs.count + 1, sizeof(*all)), **known = NULL;
    size_t                n = 0;
    for (uint32_t i = 0; specs && i < v->envs.count; i++)
        if (v->envs.envs[i].spec.len)
            specs[n++] = v->envs.envs[i].spec;
    int          r = specs && all ? xd_env_labels_make(&known, specs, n) : -ENOMEM;
    const size_t count = n;
    n = 0;
    for (uint32_t i = 0; r == 0 && i < v->envs.count; i++) {
        if (v->envs.envs[i].spec.len)
            all[i] = known[n++];
        else if (!(all[i] = strdup("")))
            r = -ENOMEM;
    }
    for (; r < 0 && known && n < count; n++)
        free(known[n]);
    free(known);
    if (r < 0) {
        xd_env_labels_free(all, v->envs.count);
        return r;
    }
    *ret = all;
    return 0;
}

static int compare(const xd_runview *v, compared *ret)
{
    xd_autofree xd_matrix_column *columns = calloc(v->envs.count + 1, sizeof(*columns));
    *ret = (compared){ .items = calloc((size_t)v->tests.count + 1, sizeof(*ret->items)),
                       .gateways = calloc(v->envs.count + 1, sizeof(*ret->gateways)),
                       .envs = v->envs.count };
    if (!columns || !ret->items || !ret->gateways)
        return -ENOMEM;
    for (uint32_t i = 0; i < v->tests.count; i++)
        ret->items[i] = (xd_matrix_item){ .id = v->tests.items[i].id, .outcome = v->tests.items[i].outcome };
    for (uint32_t i = 0; i < v->envs.count; i++) {
        const xd_runview_env *env = &v->envs.envs[i];
        if (!env->agreed)
            continue;
        ret->gateways[ret->columns] = i;
        columns[ret->columns++] = (xd_matrix_column){ &ret->items[env->first], env->tests };
    }
    XD_TRY(xd_report_labels(v, &ret->labels));
    return xd_matrix_make(&ret->matrix, columns, ret->columns);
}

static bool is_wanted(const compared *c, const xd_report_matrix_options *how, uint32_t row)
{
    return (how->all || xd_matrix_differs(&c->matrix, row)) &&
           (!how->failed_only || xd_matrix_fails(&c->matrix, row));
}

/* ---- as text ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *letter;
    unsigned    mark;
} shown[] = {
    [XD_OUT_NONE] = { "!", XD_MARK_YELLOW },    [XD_OUT_PASSED] = { ".", XD_MARK_GREEN },
    [XD_OUT_FAILED] = { "F", XD_MARK_RED },     [XD_OUT_SKIPPED] = { "s", XD_MARK_YELLOW },
    [XD_OUT_XFAILED] = { "x", XD_MARK_YELLOW }, [XD_OUT_XPASSED] = { "X", XD_MARK_YELLOW },
    [XD_OUT_ERROR] = { "E", XD_MARK_RED },      [XD_OUT_CRASHED] = { "C", XD_MARK_RED },
    [XD_OUT_TIMEOUT] = { "T", XD_MARK_RED },    [XD_OUT_LOST] = { "L", XD_MARK_RED },
    [XD_OUT_NOT_RUN] = { "!", XD_MARK_YELLOW },
};

static const char *word_of(uint8_t cell)
{
    return cell == XD_MATRIX_ABSENT ? "-" : xd_runview_outcome_name(cell);
}

static int put_padded(xd_term_out *to, const char *text, unsigned mark, size_t width)
{
    const size_t columns = xd_columns(xd_bytes_str(text));
    XD_TRY(xd_term_out_str(to, text, mark));
    return xd_term_out_printf(to, 0, "%*s", (int)(width > columns ? width - columns : 0), "");
}

/* Columns of a column: of its name, or of the longest outcome. */
static size_t width_of(const compared *c, uint32_t column)
{
    const char *label = c->labels[c->gateways[column]];
    return XD_MAX(xd_columns(xd_bytes_str(label)), strlen("crashed"));
}

static bool fits_words(const compared *c)
{
    size_t all = 0;
    for (uint32_t i = 0; i < c->columns; i++)
        all += width_of(c, i) + 2;
    return all <= WORDS_MOST;
}

/* "python2.7  python3.13", or what the numbers above the letters stand for. */
static int put_heads(xd_term_out *to, const compared *c, bool words)
{
    for (uint32_t i = 0; i < c->columns; i++) {
        const char *label = c->labels[c->gateways[i]];
        if (!words) {
            XD_TRY(xd_term_out_printf(to, 0, "%u: ", i + 1));
            XD_TRY(xd_term_out_foreign(to, xd_bytes_str(label), XD_MARK_BOLD, false));
            XD_TRY(xd_term_out_str(to, "\n", 0));
            continue;
        }
        xd_autobuf clean = XD_BUF_INIT;
        XD_TRY(xd_text_harmless(&clean, xd_bytes_str(label), false));
        XD_TRY(
            put_padded(to, xd_buf_cstr(&clean), XD_MARK_BOLD, i + 1 < c->columns ? width_of(c, i) + 2 : 0));
    }
    if (words)
        return xd_term_out_str(to, "\n", 0);
    XD_TRY(xd_term_out_str(to,
                           ". passed  F failed  s skipped  x xfailed  X xpassed  E error  C crashed  "
                           "T timeout  L lost  ! not run  - not there\n",
                           0));
    for (uint32_t i = 0; i < c->columns; i++)
        XD_TRY(xd_term_out_printf(to, XD_MARK_BOLD, "%-3u", i + 1));
    return xd_term_out_str(to, "\n", 0);
}

static int put_row(xd_term_out *to, const xd_runview *v, const compared *c, uint32_t row, bool words)
{
    xd_autobuf id = XD_BUF_INIT;
    for (uint32_t i = 0; i < c->columns; i++) {
        const uint8_t  cell = xd_matrix_cell(&c->matrix, row, i);
        const unsigned mark = cell < XD_ARRAY_LEN(shown) ? shown[cell].mark : 0;
        const char    *letter = cell < XD_ARRAY_LEN(shown) ? shown[cell].letter : "-";
        XD_TRY(put_padded(to, words ? word_of(cell) : letter, mark, words ? width_of(c, i) + 2 : 3));
    }
    XD_TRY(xd_report_nodeid(v, &id, c->matrix.ids[row]));
    XD_TRY(xd_term_out_write(to, xd_buf_view(&id), 0));
    XD_TRY(xd_term_out_str(to, "\n", 0));
    return xd_term_out_full(to) ? xd_term_out_drain(to, XD_TERM_OUT_LIMIT / 2) : 0;
}

/* Environments that have no column. */
static int put_others(xd_term_out *to, const xd_runview *v)
{
    for (uint32_t i = 0; i < v->envs.count; i++) {
        const xd_runview_env *env = &v->envs.envs[i];
        if (env->agreed || !env->spec.len)
            continue;
        XD_TRY(xd_term_out_str(to, "without tests: ", 0));
        XD_TRY(xd_term_out_foreign(to, env->spec, 0, false));
        if (env->over) {
            XD_TRY(
                xd_term_out_printf(to, 0, " (exit code %d%s", env->exit_status, env->reason.len ? ": " : ""));
            XD_TRY(xd_term_out_foreign(to, env->reason, 0, false));
            XD_TRY(xd_term_out_str(to, ")", 0));
        }
        XD_TRY(xd_term_out_str(to, "\n", 0));
    }
    return 0;
}

static int put_equal(xd_term_out *to, const compared *c)
{
    const xd_matrix *m = &c->matrix;
    if (!m->differ && m->rows == 1)
        return xd_term_out_printf(to, 0, "the only test is equal in %u environments\n", c->columns);
    if (!m->differ)
        return xd_term_out_printf(to, 0, "all %u tests are equal in %u environments\n", m->rows, c->columns);
    return xd_term_out_printf(to, 0, "%u of %u tests are equal in %u environments\n", m->rows - m->differ,
                              m->rows, c->columns);
}

static int put_rows(xd_term_out *to, const xd_runview *v, const compared *c,
                    const xd_report_matrix_options *how, uint32_t most)
{
    const bool words = fits_words(c);
    uint32_t   put = 0, left = 0;
    for (uint32_t row = 0; row < c->matrix.rows; row++) {
        if (!is_wanted(c, how, row))
            continue;
        if (put == most) {
            left++;
            continue;
        }
        if (!put++)
            XD_TRY(put_heads(to, c, words));
        XD_TRY(put_row(to, v, c, row, words));
    }
    return left ? xd_term_out_printf(to, 0, "(and %u more: xdctl show --matrix)\n", left) : 0;
}

static int put_text(xd_term_out *to, const xd_runview *v, const compared *c,
                    const xd_report_matrix_options *how, uint32_t most)
{
    if (c->columns > 1) {
        XD_TRY(put_rows(to, v, c, how, most));
        XD_TRY(put_equal(to, c));
    } else if (most == NO_MOST) {
        XD_TRY(xd_term_out_printf(to, 0, "nothing to compare: %u environment%s collected tests\n", c->columns,
                                  c->columns == 1 ? " has" : "s have"));
    }
    return put_others(to, v);
}

int xd_report_matrix_end(xd_term_out *to, const xd_runview *v)
{
    const xd_report_matrix_options how = XD_REPORT_MATRIX_OPTIONS_INIT;
    compared                       c;
    if (!v->collection.each || v->envs.count < 2)
        return 0;
    int r = compare(v, &c);
    if (r == 0 && c.columns > 1 && c.matrix.differ)
        r = xd_term_out_sep(to, '=', "environments that differ", XD_MARK_BOLD);
    if (r == 0)
        r = put_text(to, v, &c, &how, XD_REPORT_MATRIX_ROWS);
    compared_release(&c);
    return r;
}

/* ---- as JSON ---------------------------------------------------------------------------------------------------- */

static json_t *json_text(xd_bytes in)
{
    xd_autobuf valid = XD_BUF_INIT;
    if (xd_text_to_utf8(&valid, in) < 0)
        return NULL;
    return json_stringn(valid.len ? (const char *)valid.data : "", valid.len);
}

/* Takes the value, also where nothing comes of it. */
static void put(json_t *object, const char *key, json_t *value, int *r)
{
    if (json_object_set_new(object, key, value) < 0)
        *r = -ENOMEM;
}

static json_t *environment(const xd_runview *v, const compared *c, uint32_t gateway, int *r)
{
    const xd_runview_env *env = &v->envs.envs[gateway];
    json_t               *o = json_object();
    put(o, "collection", json_integer(gateway), r);
    put(o, "spec", json_text(env->spec), r);
    put(o, "name", json_text(xd_bytes_str(c->labels[gateway])), r);
    put(o, "host", json_text(env->host), r);
    put(o, "python_version", json_text(env->python_version), r);
    put(o, "tests", env->agreed ? json_integer(env->tests) : json_null(), r);
    if (env->over) {
        put(o, "exit_status", json_integer(env->exit_status), r);
        put(o, "reason", json_text(env->reason), r);
    }
    return o;
}

static json_t *json_row(const compared *c, uint32_t row, int *r)
{
    json_t *o = json_object(), *outcomes = json_array();
    put(o, "nodeid", json_text(c->matrix.ids[row]), r);
    for (uint32_t i = 0; i < c->columns; i++) {
        const uint8_t cell = xd_matrix_cell(&c->matrix, row, i);
        json_t *one = cell == XD_MATRIX_ABSENT ? json_null() : json_string(xd_runview_outcome_name(cell));
        if (json_array_append_new(outcomes, one) < 0)
            *r = -ENOMEM;
    }
    put(o, "outcomes", outcomes, r);
    return o;
}

static int append(const char *data, size_t len, void *to)
{
    return xd_term_out_write(to, (xd_bytes){ (const uint8_t *)data, len }, 0);
}

/* `environments`: those with a column first, in the order of the outcomes of a row. */
static int put_json(xd_term_out *to, const xd_runview *v, const compared *c,
                    const xd_report_matrix_options *how)
{
    json_t *o = json_object(), *envs = json_array(), *rows = json_array();
    int     r = 0;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < v->envs.count; i++)
            if (v->envs.envs[i].spec.len && v->envs.envs[i].agreed == (pass == 0) &&
                json_array_append_new(envs, environment(v, c, i, &r)) < 0)
                r = -ENOMEM;
    for (uint32_t row = 0; row < c->matrix.rows; row++)
        if (is_wanted(c, how, row) && json_array_append_new(rows, json_row(c, row, &r)) < 0)
            r = -ENOMEM;
    put(o, "environments", envs, &r);
    put(o, "tests", json_integer(c->matrix.rows), &r);
    put(o, "differ", json_integer(c->matrix.differ), &r);
    put(o, "rows", rows, &r);
    if (r == 0 && json_dump_callback(o, append, to, JSON_COMPACT) < 0)
        r = -ENOMEM;
    json_decref(o);
    return r < 0 ? r : xd_term_out_str(to, "\n", 0);
}

/* ---- the reporter ----------------------------------------------------------------------------------------------- */

typedef struct matrix_reporter {
    uint32_t                 magic;
    const xd_runview        *view;
    xd_report_matrix_options options;
    xd_term_out              out;
} matrix_reporter;

static int matrix_finish(void *self, xd_error *err)
{
    matrix_reporter *m = XD_CAST(self, matrix_reporter, MATRIX_MAGIC);
    compared         c;
    if (!m->view->collection.each)
        return xd_error_set(err, -EINVAL,
                            "this run has no matrix: all its environments shared the tests; xdctl run --dist "
                            "each has each of them run all");
    int r = compare(m->view, &c);
    if (r == 0)
        r = m->options.json ? put_json(&m->out, m->view, &c, &m->options)
                            : put_text(&m->out, m->view, &c, &m->options, NO_MOST);
    compared_release(&c);
    if (r == 0)
        r = xd_term_out_drain(&m->out, 0);
    if (r == 0 && m->out.fault != -EPIPE)
        r = m->out.fault;
    return r < 0 ? xd_error_set(err, r, "cannot write the matrix: %s", xd_error_name(r)) : 0;
}

static void matrix_close(void *self)
{
    matrix_reporter *m = self;
    if (m)
        xd_term_out_release(&m->out);
    free(m);
}

static int matrix_open(const void *args, const xd_runview *view, void **ret_self, xd_error *err)
{
    const xd_report_matrix_options *options = args;
    matrix_reporter                *m = calloc(1, sizeof(*m));
    (void)err;
    if (!m)
        return -ENOMEM;
    *m = (matrix_reporter){ .magic = MATRIX_MAGIC, .view = view, .options = *options };
    xd_term_out_init(&m->out, options->fd, 80);
    m->out.markup = options->color && !options->json;
    if (!options->json)
        m->out.guard.systems = xd_ci_systems_here();
    *ret_self = m;
    return 0;
}

const xd_report_ops xd_report_matrix_ops = {
    .name = "matrix", .last = true, .open = matrix_open, .finish = matrix_finish, .close = matrix_close
};
