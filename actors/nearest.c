/* actors/nearest.c - see nearest.h. */
#include "actors/nearest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/mem.h"

#define LONGEST 63u

static bool alike(char a, char b)
{
    return a == b || (a == '-' && b == '_') || (a == '_' && b == '-');
}

size_t xd_nearest_distance(const char *a, const char *b)
{
    size_t       rows[3][LONGEST + 1] = { { 0 } };
    size_t      *above = rows[0], *last = rows[1], *now = rows[2]; /* last: for one character of `a` less */
    const size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST)
        return SIZE_MAX;
    for (size_t k = 0; k <= m; k++)
        last[k] = k;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t k = 1; k <= m; k++) {
            const size_t changed = last[k - 1] + !alike(a[i - 1], b[k - 1]);
            const size_t removed = last[k] + 1, added = now[k - 1] + 1;
            now[k] = XD_MIN(changed, XD_MIN(removed, added));
            if (i > 1 && k > 1 && alike(a[i - 1], b[k - 2]) && alike(a[i - 2], b[k - 1]))
                now[k] = XD_MIN(now[k], above[k - 2] + 1);
        }
        size_t *free_row = above;
        above = last;
        last = now;
        now = free_row;
    }
    return last[m];
}

const char *xd_nearest(const char *word, const char *const *names, size_t most)
{
    const char  *found = NULL;
    const size_t limit = XD_MIN(most, XD_MAX(strlen(word) / 3, (size_t)1));
    size_t       least = limit + 1;
    for (; *names; names++) {
        const size_t distance = xd_nearest_distance(word, *names);
        if (distance < least) {
            least = distance;
            found = *names;
        }
    }
    return found;
}
