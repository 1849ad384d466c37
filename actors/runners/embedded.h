/* actors/runners/embedded.h - the Python files of the adapter, put into the program by the build
 * (tools/embed.py). */
#pragma once
#include <stddef.h>

typedef struct xd_embedded {
    const char
        *name; /* below the folder they are unpacked into, at most one folder deep: "xd_pytest/main.py" */
    const unsigned char *data;
    size_t               len;
} xd_embedded;

extern const xd_embedded xd_embedded_files[];
extern const size_t      xd_embedded_count;
