/* tests/conformance/reporter_render.c - renders a file of frames: reporter_render FRAMES terminal|junit|jsonl [option=value ...] */
#include <stdio.h>
#include <string.h>

#include "tests/conformance/reporter_fixture.c"

int main(int argc, char **argv)
{
    xd_fixture f = { 0 };
    xd_autobuf out = XD_BUF_INIT;
    if (argc < 3)
        return 2;
    if (!strcmp(argv[1], "everything"))
        xd_fixture_everything(&f, NULL);
    else if (xd_fixture_load(&f, argv[1]) < 0)
        return 1;
    xd_fixture_render(&f, argv[2], (const char *const *)argv + 3, SIZE_MAX, &out);
    fwrite(out.data, 1, out.len, stdout);
    xd_fixture_release(&f);
    return 0;
}
