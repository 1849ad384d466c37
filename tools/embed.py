"""Writes a C file that holds the given Python files as one table, by their names below a folder (actors/runners/embedded.h).

Comments and docstrings stay behind: an agent takes the files along to each host.  Every line keeps its number, which tracebacks show.
"""
import ast
import io
import os
import sys
import tokenize

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def documented(tree):
    """The nodes with a docstring that nothing shows.  That of a decorated function stays: pytest shows a fixture's."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None and not getattr(node, "decorator_list", None):
            yield node


def without_words(source):
    """The program without its comments, the docstrings and the space at ends of lines, on the same lines."""
    lines = source.splitlines(keepends=True)
    tree = ast.parse(source)
    alone = {(node.body[0].lineno, node.body[0].col_offset): len(node.body) == 1 for node in documented(tree)}
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        (first, start), (last, end) = token.start, token.end
        if token.type == tokenize.COMMENT:
            lines[first - 1] = lines[first - 1][:start].rstrip() + "\n"
        elif token.type == tokenize.STRING and token.start in alone and not lines[last - 1][end:].strip() and not lines[first - 1][:start].strip():
            lines[first - 1] = lines[first - 1][:start] + "0\n" if alone[token.start] else "\n"
            lines[first:last] = ["\n"] * (last - first)
    bare = "".join(lines)
    if statements(tree) != statements(ast.parse(bare)):
        raise ValueError("without its comments it is another program")
    return bare


def statements(tree):
    """All that a program does, with lines and columns, to compare."""
    for node in documented(tree):
        node.body[0].value = ast.Constant(0)
    for node in ast.walk(tree):
        if hasattr(node, "body") and isinstance(node.body, list):
            node.body = [n for n in node.body if not (isinstance(n, ast.Expr) and getattr(n.value, "value", None) == 0)]
        if hasattr(node, "end_lineno"):
            node.end_lineno = node.end_col_offset = 0
    return ast.dump(tree, include_attributes=True)


def main(out, folder, *paths):
    lines = ["/* made by tools/embed.py */", '#include "actors/runners/embedded.h"']
    table = []
    for n, path in enumerate(sorted(paths)):
        with open(path, encoding="utf-8") as f:
            data = without_words(f.read()).encode("utf-8")
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
