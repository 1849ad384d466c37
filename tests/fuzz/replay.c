/* Runs a fuzz target over its checked-in corpus without libFuzzer: each input as it is, cut at bytes all over it, and with bytes changed by a fixed sequence of
 * numbers, so that each test run says the same. The more inputs there are, the fewer variants each has. replay FOLDER */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARIANTS 4000u /* of all inputs together */
#define VARIANTS_EACH 300u
#define LARGEST (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* In memory of exactly this size, so that ASan sees any look beyond it. */
static void one(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy)
        abort();
    memcpy(copy, data, len);
    (void)LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static unsigned variants(const uint8_t *data, size_t len, unsigned each)
{
    uint64_t state = 0x9e3779b97f4a7c15u;
    uint8_t *changed = malloc(len + 1);
    size_t   step = len / each + 1;
    unsigned runs = 0;
    if (!changed)
        abort();
    one(data, len);
    for (size_t cut = 0; cut < len; cut += step, runs++)
        one(data, cut);
    for (unsigned i = 0; len && i < each; i++, runs++) {
        memcpy(changed, data, len);
        for (uint64_t n = next(&state) % 4 + 1; n; n--)
            changed[next(&state) % len] = (uint8_t)next(&state);
        one(changed, len);
    }
    free(changed);
    return runs + 1;
}

static int is_input(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    struct dirent **names = NULL;
    unsigned        runs = 0;
    uint8_t        *data = malloc(LARGEST);
    int             files = argc == 2 ? scandir(argv[1], &names, is_input, alphasort) : -1;
    if (files < 0 || !data) {
        fprintf(stderr, "usage: replay FOLDER\n");
        return 4;
    }
    unsigned each = VARIANTS / 2 / (unsigned)(files + 1);
    each = each > VARIANTS_EACH ? VARIANTS_EACH : each ? each : 1;
    for (int i = 0; i < files; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", argv[1], names[i]->d_name);
        free(names[i]);
        FILE *f = fopen(path, "re");
        if (!f)
            continue;
        size_t len = fread(data, 1, LARGEST, f);
        fclose(f);
        runs += variants(data, len, each);
    }
    free(names);
    free(data);
    printf("%d inputs, %u runs\n", files, runs);
    return files ? 0 : 1;
}
