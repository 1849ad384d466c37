"""Writes a C file that holds the given files as byte arrays: xd_<name with _ for .> and its length."""
import os
import sys


def main(out, *paths):
    lines = ["/* made by tools/embed.py */", "#include <stddef.h>"]
    for path in paths:
        with open(path, "rb") as f:
            data = f.read()
        name = "xd_" + os.path.basename(path).replace(".", "_")
        lines.append("extern const unsigned char %s[];" % name)
        lines.append("extern const size_t %s_len;" % name)
        lines.append("const size_t %s_len = %d;" % (name, len(data)))
        lines.append("const unsigned char %s[] = {" % name)
        for i in range(0, len(data), 24):
            lines.append(",".join(str(b) for b in data[i:i + 24]) + ",")
        lines.append("0};")
    with open(out, "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
