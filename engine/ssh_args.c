/* engine/ssh_args.c - see ssh_args.h. */
#include "engine/ssh_args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

#define WITH_VALUE "bceilmopBDEFIJLPRSw"
#define ALONE "1246agkqtvxyACKMTXY"
#define NO_SESSION "fnsGNOQVW" /* with these, no command runs there that could be spoken to */

void xd_ssh_args_release(xd_ssh_args *a)
{
    free(a->words);
    *a = (xd_ssh_args){ 0 };
}

/* One word of options, such as -4p: 1 = the next word is the value of its last one, 0 = it is whole. */
static int read_options(xd_ssh_args *a, const char *word, char *why, size_t size)
{
    for (const char *o = word + 1; *o; o++) {
        if (strchr(NO_SESSION, *o)) {
            snprintf(why, size, "ssh's option -%c cannot be used: with it, ssh runs no command there", *o);
            return -EINVAL;
        }
        a->forwards |= strchr("LRD", *o) != NULL;
        if (strchr(WITH_VALUE, *o))
            return !o[1];
        if (!strchr(ALONE, *o)) {
            snprintf(why, size, "'%.60s' is no option of ssh", word);
            return -EINVAL;
        }
    }
    return 0;
}

static int read_words(xd_ssh_args *a, char *why, size_t size)
{
    size_t hosts = 0;
    for (size_t i = 0; i < a->count; i++) {
        const char *word = a->words[i];
        if (word[0] != '-') {
            if (hosts++)
                snprintf(why, size,
                         "'%.60s' stands behind the host %.60s; ssh= takes ssh's options and one host", word,
                         a->words[a->host]);
            else
                a->host = i;
            if (hosts > 1)
                return -EINVAL;
            continue;
        }
        int r = word[1] ? read_options(a, word, why, size) : -EINVAL;
        if (r < 0 && !word[1])
            snprintf(why, size, "'-' is no option of ssh");
        if (r < 0)
            return r;
        if (r > 0 && ++i == a->count) {
            snprintf(why, size, "the option %.60s has no value", word);
            return -EINVAL;
        }
    }
    if (hosts && a->words[a->host][0])
        return 0;
    snprintf(why, size, "ssh= names no host");
    return -EINVAL;
}

int xd_ssh_args_parse(xd_ssh_args *ret, const char *text, char *why, size_t size)
{
    xd_autossh_args a = { 0 };
    int             r = xd_text_shell_split(text, &a.words);
    if (r == -EINVAL)
        snprintf(why, size, "a quote is not closed");
    if (r < 0)
        return r;
    a.count = xd_words_of((const char *const *)a.words).n;
    XD_TRY(read_words(&a, why, size));
    *ret = a;
    a = (xd_ssh_args){ 0 };
    return 0;
}
