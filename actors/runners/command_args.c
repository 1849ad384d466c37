#include "actors/runners/command_args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

typedef struct reading {
    xd_command_args *a;
    xd_error        *err;
    int              verbose;
    const char      *maxfail;
} reading;

/* An option with a value. `check` looks at it: 0, -EINVAL. */
typedef struct option {
    const char *name;    /* "--maxfail" */
    char        letter;  /* 0 = none */
    const char *config;  /* name in CONFIG.options; NULL = it is ours */
    const char *initial; /* its value where nobody says anything; NULL = none */
    const char *want;    /* words of the message when it is wrong */
    bool (*check)(const char *value);
} option;

static bool any(const char *value)
{
    return *value != 0;
}

static bool number(const char *value)
{
    uint64_t n;
    return xd_text_u64(value, 0, INT32_MAX, &n) == 0;
}

static bool seconds(const char *value)
{
    uint64_t ns;
    return xd_text_duration(value, &ns) == 0;
}

static bool one_of(const char *value, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(value, *words) == 0)
            return true;
    return false;
}

static bool color(const char *value)
{
    static const char *const words[] = { "yes", "no", "auto", NULL };
    return one_of(value, words);
}

static bool streams(const char *value)
{
    static const char *const words[] = { "no", "stdout", "stderr", "all", NULL };
    return one_of(value, words);
}

enum { OPTION_LIST, OPTION_TIMEOUT, OPTION_MAXFAIL };
static const option options[] = {
    [OPTION_LIST] = { "--list", 0, NULL, NULL, "the name of a file", any },
    [OPTION_TIMEOUT] = { "--timeout", 0, NULL, NULL, "a time such as 10, 10s or 5m", seconds },
    [OPTION_MAXFAIL] = { "--maxfail", 0, "maxfail", "0", "a whole number", number },
    { "-r", 'r', "reportchars", "fE", "letters, as pytest's -r", any },
    { "--durations", 0, "durations", NULL, "a whole number", number },
    { "--durations-min", 0, "durations_min", NULL, "a time in seconds", seconds },
    { "--color", 0, "color", "auto", "one of yes, no, auto", color },
    { "--show-capture", 0, "showcapture", "all", "one of no, stdout, stderr, all", streams },
    { "--junitxml", 0, "xmlpath", NULL, "the name of a file", any },
    { "--junit-xml", 0, "xmlpath", NULL, "the name of a file", any },
};
#define OPTION_COUNT XD_ARRAY_LEN(options)

/* Options that reporters read and for which the command line has none: their values here. */
static const char *const fixed[][2] = {
    { "runner", "command" },
    { "junit_suite_name", "command" },
    { "junit_logging", "all" },
    { "junit_log_passing_tests", "1" },
    { "console_output_style", "progress" },
};

static int add_text(xd_buf *to, uint32_t *count, const char *text)
{
    ++*count;
    return xd_wire_TEXT_append(to, &(xd_wire_TEXT){ .text = xd_bytes_str(text) });
}

static int add_option(xd_command_args *a, const char *name, const char *value)
{
    a->n_options++;
    return xd_wire_PAIR_append(&a->options,
                               &(xd_wire_PAIR){ .name = xd_bytes_str(name), .value = xd_bytes_str(value) });
}

/* ---- the words -------------------------------------------------------------------------------------------- */

/* The option that `word` is, with what stands behind it in the same word; NULL = it is none. */
static const option *match(const char *word, const char **ret_value)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const option *o = &options[i];
        size_t        len = strlen(o->name);
        *ret_value = NULL;
        if (strncmp(word, o->name, len) == 0 && (word[len] == 0 || word[len] == '=')) {
            *ret_value = word[len] ? word + len + 1 : NULL;
            return o;
        }
        if (o->letter && word[0] == '-' && word[1] == o->letter) {
            *ret_value = word[2] ? word + 2 : NULL;
            return o;
        }
    }
    return NULL;
}

static int take(reading *r, const option *o, const char *value, const char **chosen)
{
    if (!o->check(value))
        return xd_error_set(r->err, -EINVAL, "option %s: '%.200s' is not valid: it is %s", o->name, value,
                            o->want);
    switch (o - options) {
    case OPTION_LIST:
        return add_text(&r->a->files, &r->a->n_files, value);
    case OPTION_TIMEOUT:
        return xd_text_duration(value, &r->a->timeout_ns);
    case OPTION_MAXFAIL:
        r->maxfail = value;
        return 0;
    default:
        *chosen = value;
        return 0;
    }
}

/* "-xv": flags in one word. False: one of the letters is none of ours. */
static bool take_flags(reading *r, const char *word)
{
    if (word[strspn(word, "xvq")])
        return false;
    for (; *word; word++) {
        r->verbose += *word == 'v' ? 1 : *word == 'q' ? -1 : 0;
        if (*word == 'x')
            r->maxfail = "1";
    }
    return true;
}

static int take_flag(reading *r, const char *word)
{
    static const struct {
        const char *name, *letters;
    } flags[] = { { "--exitfirst", "x" }, { "--verbose", "v" }, { "--quiet", "q" } };
    static const struct {
        const char *name, *config;
    } shown[] = { { "--no-header", "no_header" }, { "--no-summary", "no_summary" } };
    if (word[1] != '-' && take_flags(r, word + 1))
        return 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(flags); i++)
        if (strcmp(word, flags[i].name) == 0 && take_flags(r, flags[i].letters))
            return 0;
    for (size_t i = 0; i < XD_ARRAY_LEN(shown); i++)
        if (strcmp(word, shown[i].name) == 0)
            return add_option(r->a, shown[i].config, "1");
    return xd_error_set(
        r->err, -EINVAL,
        "option %.200s does not apply to --runner command; those that do are --list, --timeout, -x, "
        "--maxfail, -v, -q, -r, --durations, --durations-min, --color, --show-capture, --junitxml, "
        "--no-header, --no-summary and xdctl's own",
        word);
}

/* ---- all of them ------------------------------------------------------------------------------------------ */

static int finish(reading *r, const char *const *chosen)
{
    char verbose[16];
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const option *o = &options[i];
        const char   *value = i == OPTION_MAXFAIL && r->maxfail ? r->maxfail
                              : chosen[i]                       ? chosen[i]
                                                                : o->initial;
        if (o->config && value)
            XD_TRY(add_option(r->a, o->config, value));
    }
    snprintf(verbose, sizeof(verbose), "%d", r->verbose);
    XD_TRY(add_option(r->a, "verbose", verbose));
    for (size_t i = 0; i < XD_ARRAY_LEN(fixed); i++)
        XD_TRY(add_option(r->a, fixed[i][0], fixed[i][1]));
    return 0;
}

static int read_words(reading *r, char *const *words, size_t n)
{
    const char *chosen[OPTION_COUNT] = { NULL };
    for (size_t i = 0; i < n; i++) {
        const char   *value;
        const option *o = match(words[i], &value);
        if (words[i][0] != '-' || words[i][1] == 0) { /* "-" is no option */
            XD_TRY(add_text(&r->a->ids, &r->a->n_ids, words[i]));
            continue;
        }
        if (!o) {
            XD_TRY(take_flag(r, words[i]));
            continue;
        }
        if (!value && i + 1 == n)
            return xd_error_set(r->err, -EINVAL, "option %s needs a value: %s", o->name, o->want);
        XD_TRY(take(r, o, value ? value : words[++i], &chosen[o - options]));
    }
    if (r->a->n_files == 0)
        return xd_error_set(r->err, -EINVAL,
                            "--runner command needs --list FILE: a file with one command line per test");
    return finish(r, chosen);
}

int xd_command_args_read(xd_command_args *ret, xd_wire_list args, xd_error *err)
{
    *ret = XD_COMMAND_ARGS_INIT;
    reading      r = { .a = ret, .err = err };
    xd_wire_TEXT one;
    size_t       n = 0;
    int          done = 0;
    char       **words = calloc(args.count ? args.count : 1, sizeof(*words));
    if (!words)
        return xd_error_set(err, -ENOMEM, "out of memory");
    while (done == 0 && xd_wire_TEXT_next(&args, &one) > 0)
        done = (words[n++] = xd_bytes_dup(one.text)) ? 0 : -ENOMEM;
    if (done == 0)
        done = read_words(&r, words, n);
    for (size_t i = 0; i < n; i++)
        free(words[i]);
    free(words);
    return done;
}

void xd_command_args_release(xd_command_args *a)
{
    xd_buf_release(&a->files);
    xd_buf_release(&a->ids);
    xd_buf_release(&a->options);
    *a = XD_COMMAND_ARGS_INIT;
}
