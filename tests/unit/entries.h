/* entries.h - how many names a folder has, but for hidden ones. */
#pragma once
#include <dirent.h>

static inline int entries(const char *path)
{
    DIR *d = opendir(path);
    int  n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}
