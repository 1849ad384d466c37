/* gateways/command.c - see command.h. */
#include "gateways/command.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "gateways/cmdpipe.h"

#define SHELL "/bin/sh"

static const char *base_of(const char *word)
{
    const char *slash = strrchr(word, '/');
    return slash ? slash + 1 : word;
}

static bool is_shell(const char *word)
{
    static const char *const names[] = { "sh", "dash", "bash", "ash", "ksh", "mksh", "zsh" };
    for (size_t i = 0; i < XD_ARRAY_LEN(names); i++)
        if (strcmp(base_of(word), names[i]) == 0)
            return true;
    return false;
}

/* The last word that is no option, if only options follow it; `takes_command`: one of them is -c. */
static size_t last_word(char *const *argv, size_t n, bool *ret_takes_command)
{
    *ret_takes_command = false;
    while (n > 1 && argv[n - 1][0] == '-') {
        n--;
        *ret_takes_command |= argv[n][1] != '-' && strchr(argv[n], 'c') != NULL;
    }
    return n - 1;
}

/* srun passes output on by whole lines unless it has the option -u. Returns the index behind the word srun, where that option belongs;
 * 0 = there is no srun. The last word does not count: it may be the name of something else. */
static size_t behind_srun(char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(base_of(words[i]), "srun") == 0 && (i == 0 || i + 1 < n))
            return i + 1;
    return 0;
}

int xd_gateway_command_words(const char *line, char ***ret, bool *ret_direct, xd_error *err)
{
    size_t             n = 0, at = 0;
    bool               takes_command;
    xd_autofree char **words = NULL;
    int                r = xd_text_command_split(line, &words, &at);
    if (r == -EINVAL && (line[at] == '\'' || line[at] == '"'))
        return xd_error_set(err, r, "the quote at character %zu is not closed", at + 1);
    if (r == -EINVAL && line[at])
        return xd_error_set(
            err, r,
            "no shell reads this command, so the %c at character %zu does nothing: quote it, or write "
            "sh -c '...'",
            line[at], at + 1);
    if (r < 0)
        return xd_error_set(err, r, "%s", xd_error_name(r));
    n = xd_words_of((const char *const *)words).n;
    if (n == 0)
        return xd_error_set(err, -EINVAL, "there is no command");
    size_t last = last_word(words, n, &takes_command);
    *ret_direct = strcmp(base_of(words[last]), "xdagent") == 0;
    /* -u behind srun, and a shell behind them all, where these are wanted. */
    static const char *const unbuffered[] = { "-u" }, *const shell[] = { SHELL };
    const bool               ends_in_shell = *ret_direct || (is_shell(words[last]) && !takes_command);
    const size_t             srun = behind_srun(words, n);
    const char *const *const all = (const char *const *)words;
    const xd_words           parts[] = {
                  { all, srun }, { unbuffered, srun != 0 }, { all + srun, n - srun }, { shell, !ends_in_shell }
    };
    r = xd_text_words_join(parts, XD_ARRAY_LEN(parts), ret);
    return r < 0 ? xd_error_set(err, r, "out of memory") : 0;
}

static int command_open(xd_pipe **ret, const xd_target *target, xd_error *err)
{
    xd_autofree char **words = NULL;
    bool               direct = false;
    XD_TRY(xd_gateway_command_words(target->spec->target, &words, &direct, err));
    return xd_cmdpipe_open(ret, &xd_transport_command, (const char *const *)words, direct, target, err);
}

const xd_transport xd_transport_command = { .name = "command", .open = command_open, XD_CMDPIPE_OPS };
