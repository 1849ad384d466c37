"""Writes a C file that holds the given files as one table, by their names below a folder (actors/runners/embedded.h)."""
import os
import sys


def main(out, folder, *paths):
    lines = ["/* made by tools/embed.py */", '#include "actors/runners/embedded.h"']
    table = []
    for n, path in enumerate(sorted(paths)):
        with open(path, "rb") as f:
            data = f.read()
        lines.append("static const unsigned char file_%d[] = {" % n)
        for i in range(0, len(data), 24):
            lines.append(",".join(str(b) for b in data[i:i + 24]) + ",")
        lines.append("0};")
        table.append('    { "%s", file_%d, %d },' % (os.path.relpath(path, folder).replace(os.sep, "/"), n, len(data)))
    lines += ["const xd_embedded xd_embedded_files[] = {"] + table + ["};", "const size_t xd_embedded_count = %d;" % len(table)]
    with open(out, "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
