"""Ignore rules (sync/ignore.h) beside those whose they are: git's for .gitignore and .xdignore, Python's fnmatch for --rsyncignore."""
import fnmatch
import os
import random
import re
import shutil
import subprocess

import pytest

from conftest import XDCTL

ASK = os.path.join(os.path.dirname(os.path.dirname(XDCTL)), "tests", "ignore_ask")
pytestmark = [
    pytest.mark.skipif(not os.path.exists(ASK), reason="no tests/ignore_ask: build first"),
    pytest.mark.skipif(not shutil.which("git"), reason="no git"),
]

NAMES = [b"a", b"b", b"ab", b"abc", b"foo", b"bar", b"foobar", b"a.c", b"x.py", b"x.pyc", b".h", b"a b", b"a ", b" a", b"!a", b"#a", b"[a]", b"]", b"-", b"^",
         b"*", b"**", b"?", b"a\\b", b"\\", b"a\nb", b"a\r", b"\xc3\xa9", b"\xff", b"A", b"7", b"~", b"\tb", b"a-b", b"build", b"aaaaaaaab"]
# What segments of patterns are made of.
PIECES = [b"a", b"b", b"ab", b"foo", b"bar", b".c", b".py", b"x", b"*", b"*", b"*", b"?", b"**", b"***", b"[a-]", b"[]a]", b"[!a]", b"[^a]", b"[a-c]", b"[!a-c]",
          b"[[:alpha:]]", b"[[:digit:][:space:]]", b"[![:upper:]]", b"[[:nope:]]", b"[[:alpha:]", b"[[:]", b"[", b"]", b"[a", b"[]", b"[!]", b"[!]a]", b"[a/b]", b"[a\\]b]",
          b"[\\a-\\c]", b"[--0]", b"[c-a]", b"[[:punct:]]", b"[[:cntrl:]]", b"\\ ", b"\\!", b"\\#", b"\\*", b"\\?", b"\\\\", b"\\a", b"\\[", b"\\", b" ", b"\t", b"-", b"^", b"!", b"#",
          b"\xc3\xa9", b"\xff", b"[\xc0-\xff]", b"\r", b".h", b"~", b"A", b"7"]
# Whole patterns, each of which is tried by itself on the same tree.
SINGLE = [b"a ", b"a\\ ", b"a \\ ", b"a\\  ", b"a  ", b"a\t", b"\\!a", b"\\#a", b"!a", b"#a", b"a/**/b", b"**/a", b"a/**", b"/**", b"**", b"*", b"***", b"/*", b"*/", b"/*/", b"/", b"//", b"///", b"!",
          b"!/", b"a//b", b"a/", b"/a", b"/a/", b"a/b", b"a/b/", b"a/*", b"a/*/b", b"*/a", b"*/*/a", b"**/*", b"**/**/a", b"**/a/**", b"a/**/", b"a/**/**/b", b"**/", b"[a-]", b"[]a]", b"[!a]", b"[^a]",
          b"[]", b"[", b"[a", b"a[", b"[[:alpha:]]", b"[[:alpha:]]*", b"[![:alpha:]]", b"[[:space:]]*", b"[[:punct:]]", b"\\", b"a\\", b"a\\\\b", b"*\\", b"\\*", b"\\**", b"*.py", b"*.py?", b"x.*", b"?", b"??",
          b"a?b", b"a[/]b", b"a[^x]b", b"a\r", b"a\r\r", b"*\r", b"\xef\xbb\xbfa", b"a\0b", b"\xff", b"?\xa9", b"[\xff]", b"a*a*a*a*a*a*a*a*b", b"**/a*a*a*a*a*c", b"\\a", b"\\a\\b", b"./a", b"../a", b"a/.",
          b"a/../a", b" a", b" ", b"   ", b"\\ ", b"\t", b"\\**/a", b"**\\/a", b"a/**\\/b", b"**a", b"a/b**", b"a/*b*", b"a/?", b"**/[a-b]/**", b"*a*/", b"!*", b"*/**/a", b"?/**", b"*/**"]


def ask(requests):
    """Answers to the questions among (letter, texts...)."""
    data = b"".join(r[0].encode() + b"".join(b" %d" % len(t) for t in r[1:]) + b" \n" + b"".join(r[1:]) for r in requests)
    done = subprocess.run([ASK], input=data, stdout=subprocess.PIPE, check=True)
    return [c == ord("1") for c in done.stdout]


class Tree:
    """A folder with files in it, and what git and we say is left out."""

    def __init__(self, path, repository):
        self.path, self.repository = os.fsencode(str(path)), str(repository)
        self.folders, self.files, self.rules = [b""], [], {}
        os.makedirs(self.path)

    def full(self, path):
        return os.path.join(self.path, path) if path else self.path

    def folder(self, path):
        if path not in self.folders:
            os.mkdir(self.full(path))
            self.folders.append(path)

    def file(self, path, text=b""):
        with open(self.full(path), "wb") as f:
            f.write(text)
        if path not in self.files:
            self.files.append(path)

    def ignore(self, folder, text):
        self.file((folder + b"/" if folder else b"") + b".gitignore", text)
        self.rules[folder] = text

    def git(self):
        env = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull, HOME=self.repository)
        asked = b"".join(p + b"\0" for p in self.files + self.folders[1:])
        done = subprocess.run(["git", "--git-dir=" + self.repository, "--work-tree=.", "-c", "core.excludesFile=" + os.devnull,
                               "check-ignore", "--no-index", "-z", "--stdin"],
                              input=asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.path, env=env)
        assert done.returncode in (0, 1) and not done.stderr, done.stderr
        return set(done.stdout.split(b"\0")[:-1])

    def ours(self, kind="gitignore"):
        folders = sorted(self.rules, key=lambda f: f.count(b"/") + bool(f))
        requests = [("B", b"/base")]
        requests += [("N", f, self.rules[f], b"") if kind == "gitignore" else ("N", f, b"", self.rules[f]) for f in folders]
        requests += [("P", p) for p in self.files] + [("Q", p) for p in self.folders[1:]]
        return {p for p, yes in zip(self.files + self.folders[1:], ask(requests)) if yes}

    def compare(self):
        git, ours = self.git(), self.ours()
        if git != ours:
            wrong = sorted(git ^ ours)
            pytest.fail("%d of %d differ: %s; rules %r" % (len(wrong), len(self.files) + len(self.folders), [(p, "git" if p in git else "ours") for p in wrong[:8]], self.rules))
        return len(self.files) + len(self.folders) - 1, len(git)


@pytest.fixture
def trees(tmp_path):
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", "--bare", str(repository)], check=True)
    subprocess.run(["git", "--git-dir", str(repository), "config", "core.bare", "false"], check=True)
    (repository / "info" / "exclude").write_text("")
    made = []

    def make():
        made.append(None)
        return Tree(tmp_path / ("tree%d" % len(made)), repository)
    return make


def fill(tree, rng, folders=14, files=46):
    for _ in range(folders):
        above = rng.choice(tree.folders)
        path = (above + b"/" if above else b"") + rng.choice(NAMES)
        if above.count(b"/") < 3 and path not in tree.files:
            tree.folder(path)
    for _ in range(files):
        above = rng.choice(tree.folders)
        path = (above + b"/" if above else b"") + rng.choice(NAMES)
        if path not in tree.folders:
            tree.file(path)


def sane(pattern):
    """git before 2.52 takes `**` for special behind a literal, against its manual."""
    stripped = pattern[1:] if pattern.startswith(b"!") else pattern
    return not (b"/" in stripped.rstrip(b" \r")[:-1] and re.match(rb"[^*?\[\\]*[^*?\[\\/]\*\*", stripped))


def random_pattern(rng):
    while True:
        segments = [b"".join(rng.choice(PIECES) for _ in range(rng.choice((1, 1, 2, 2, 3)))) if rng.random() < 0.5 else rng.choice(NAMES) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
        segments = [b"**" if len(segments) > 1 and rng.random() < 0.25 else s for s in segments]
        pattern = b"/".join(segments)
        if rng.random() < 0.2:
            pattern = b"/" + pattern
        if rng.random() < 0.2:
            pattern += b"/"
        if rng.random() < 0.25:
            pattern = b"!" + pattern
        if rng.random() < 0.1:
            pattern += rng.choice((b" ", b"  ", b"\\ ", b"\\  ", b"\t", b"\\"))
        if b"\n" not in pattern and sane(pattern):
            return pattern


def random_text(rng):
    lines = [random_pattern(rng) if rng.random() < 0.9 else rng.choice((b"", b"# a", b" # a", b"\\# a")) for _ in range(rng.randint(1, 6))]
    end = b"\r\n" if rng.random() < 0.2 else b"\n"
    return (b"\xef\xbb\xbf" if rng.random() < 0.1 else b"") + end.join(lines) + (end if rng.random() < 0.7 else b"")


@pytest.mark.parametrize("seed", range(8))
def test_random_rules_are_gits(trees, seed):
    rng = random.Random(seed)
    asked = left_out = 0
    for _ in range(20):
        tree = trees()
        fill(tree, rng)
        for folder in [b""] + rng.sample(tree.folders, min(4, len(tree.folders))):
            if rng.random() < 0.8:
                tree.ignore(folder, random_text(rng))
        n, out = tree.compare()
        asked, left_out = asked + n, left_out + out
    assert asked > 800 and 80 < left_out < asked - 80, (asked, left_out)  # else it compares little


@pytest.mark.parametrize("above", [b"", b"*\n", b"*\n!*/\n"], ids=["alone", "all", "files"])
def test_single_patterns_are_gits(trees, above):
    """Each nasty pattern by itself, and as one that brings back."""
    tree = trees()
    fill(tree, random.Random("single"), 40, 160)
    for path in (b"a/b/a/b", b"a/a", b"foo/a"):
        parts = path.split(b"/")
        for i in range(1, len(parts)):
            if b"/".join(parts[:i]) not in tree.files:
                tree.folder(b"/".join(parts[:i]))
        if path not in tree.folders:
            tree.file(path)
    for pattern in filter(sane, SINGLE):
        tree.ignore(b"", above + (b"!" if above and not pattern.startswith(b"!") else b"") + pattern + b"\n")
        tree.compare()
        if not above:
            tree.ignore(b"", pattern)  # no newline at the end
            tree.compare()


def test_xdignore_has_the_same_grammar(trees):
    tree = trees()
    fill(tree, random.Random(1))
    for seed in range(20):
        tree.ignore(b"", random_text(random.Random(seed)))
        assert tree.ours("xdignore") == tree.git()


# ---- globs ----

GLOB_PIECES = ["a", "b", "ab", ".", "x", "*", "*", "**", "?", "[", "]", "[a-c]", "[!a-c]", "[!a]", "[^a]", "[]a]", "[!]a]", "[a-]", "[-a]", "[--a]", "[a--b]", "[c-a]", "[a-b-c]", "[c-ax]", "[[:alpha:]]",
               "[\\]", "\\", "/", "é", "[é-ü]", "[!é]", "ü", "[ÿ]", "[!ÿ]", "[é-ÿ]", "\udcff", "[\udcff]", "\udca9", "&&", "[a&&b]", "[~~]", "\n", "{a,b}", "+", "(", "$", "^", "!", ".dat", "proj"]
PATH_PIECES = ["a", "b", "ab", "x", ".", "é", "ü", "ÿ", "\udcff", "\udcc3", "\udca9", "c", "-", "]", "[", "\\", "^", "&", "~", "\n", ".dat", "{a,b}", "!", "$", "aaaaaab"]
BASES = ["/", "/proj", "/home/é/a.b/proj"]


def random_path(rng):
    return "/".join("".join(rng.choice(PATH_PIECES) for _ in range(rng.randint(1, 3))) for _ in range(rng.choice((1, 1, 2, 3))))


def plain(glob):
    """Without what fnmatch itself gets wrong: `!` comes first once an empty range before it is gone."""
    return glob.rstrip("/") == glob and not re.search(r"\[[^]]+!", glob)


@pytest.mark.parametrize("base", BASES)
def test_globs_are_pythons(base):
    rng = random.Random(base)
    requests, want, about = [], [], []
    while len(want) < 6000:
        glob = "".join(rng.choice(GLOB_PIECES) for _ in range(rng.randint(1, 5)))
        path = random_path(rng)
        if rng.random() < 0.7:  # one that is near
            glob = path if rng.random() < 0.2 else path[:rng.randint(0, len(path))] + glob + path[len(path) - rng.randint(0, len(path)):]
        if rng.random() < 0.2:
            glob = base.rstrip("/") + "/" + glob
        if not glob or not plain(glob) or "\0" in glob:
            continue
        path = os.fsdecode(os.fsencode(path))  # two halves of a character are one
        glob = os.fsdecode(os.fsencode(glob))
        folder = path[:path.rindex("/")] if "/" in path and rng.random() < 0.5 else ""
        below = glob if not glob.startswith(("/", "./", "../")) else "x"
        texts = [os.fsencode(t) for t in (base, glob, path, folder, below)]
        try:
            full = base.rstrip("/") + "/" + path
            # of a folder on the way, too: its files are not looked at
            paths = [path[:i] for i in range(len(path)) if path[i] == "/"] + [path]
            want.append(any(fnmatch.fnmatchcase(p.rpartition("/")[2], glob) or fnmatch.fnmatchcase(full[:len(full) - len(path) + len(p)], glob) for p in paths))
            rest = [p[len(folder) + bool(folder):] for p in paths if len(p) > len(folder)]
            want.append(any(fnmatch.fnmatchcase(p, below) for p in rest if p))
        except re.error:
            del want[len(about):]
            continue
        about += [("R", base, glob, path), ("G", folder, below, path)]
        requests += [("B", texts[0]), ("R", texts[1]), ("P", texts[2]), ("B", texts[0]), ("G", texts[3], texts[4]), ("P", texts[2])]
    got = ask(requests)
    wrong = [(a, w) for a, w, g in zip(about, want, got) if w != g]
    assert len(got) == len(want) and not wrong, (len(wrong), wrong[:5])
    assert 500 < sum(want) < len(want) - 500  # else it compares little


def test_all_kinds_of_rules():
    def left_out(*paths, defaults=True, git=b"", xd=b"", globs=()):
        requests = [("B", b"/proj")] + [("D",)] * defaults + [("R", g) for g in globs] + [("N", b"", git, xd)]
        return [p for p, yes in zip(paths, ask(requests + [("P", p) for p in paths])) if yes]
    some = (b"a.py", b"a.pyc", b"d/a.pyo", b"a~", b".env", b".pytest.ini", b".coveragerc", b".venv/bin/a", b"d/__pycache__/x", b"__pycache__", b".git/config", b"d/.git", b".xd-tmp1", b"d.git", b"xd-")
    always = [b".git/config", b"d/.git", b".xd-tmp1"]
    assert left_out(*some, defaults=False) == always
    assert left_out(*some) == [b"a.pyc", b"d/a.pyo", b"a~", b".env", b".venv/bin/a", b"d/__pycache__/x"] + always
    assert left_out(*some, xd=b"!*\n") == always
    assert left_out(*some, git=b"!*\n") == always
    assert left_out(*some, git=b"!*\n", xd=b".env\n") == [b".env"] + always
    assert left_out(*some, git=b"!*\n", xd=b"!*\n", globs=(b"*.py", b"/proj/a~")) == [b"a.py", b"a~"] + always
