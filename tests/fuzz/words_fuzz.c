/* Any text as a command line that no shell reads, and as the last words of a program: refused with the place, or its words are those that a shell would make, also behind other words;
 * what was said is one line.
 * Input: the text. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void same(char **a, char **b)
{
    size_t i = 0;
    for (; a[i] && b[i]; i++)
        assert(strcmp(a[i], b[i]) == 0);
    assert(!a[i] && !b[i]);
}

static void command(const char *text)
{
    char **words = NULL, **shell = NULL, **twice = NULL;
    size_t at = 0;
    int    r = xd_text_command_split(text, &words, &at);
    int    r2 = xd_text_shell_split(text, &shell);
    assert(r == 0 || r == -EINVAL);
    assert(r == 0 ? r2 == 0 : at < strlen(text));
    if (r == 0) {
        same(words, shell);
        const xd_words one = xd_words_of((const char *const *)words), both[] = { one, { NULL, 0 }, one };
        r = xd_text_words_join(both, 3, &twice);
        assert(r == 0 && xd_words_of((const char *const *)twice).n == 2 * one.n);
        same(twice + one.n, words);
    }
    free(words);
    free(shell);
    free(twice);
}

static void last_words(xd_bytes said)
{
    for (size_t most = 0; most < 3000; most = 2 * most + 1) {
        xd_autobuf out = XD_BUF_INIT;
        int        r = xd_text_last_words(&out, said, most);
        assert(r == 0 && out.len <= 6 * XD_MIN(most, said.len) && xd_text_is_utf8(xd_buf_view(&out)));
        for (size_t i = 0; i < out.len; i++)
            assert(out.data[i] >= 32 && out.data[i] != 127);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 16384)
        return 0;
    char *text = malloc(len + 1);
    assert(text);
    memcpy(text, data, len);
    text[len] = 0;
    command(text);
    last_words((xd_bytes){ data, len });
    free(text);
    return 0;
}
