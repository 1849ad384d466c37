"""xdctl sync: files alone, to other hosts and other folders. After each call both trees are compared here, by a walk of the test's own."""
import json
import os
import random
import select
import shutil
import signal
import socket
import stat
import subprocess
import time

import pytest

from conftest import XDCTL, clean_environment, programs_for_all


def tree(folder, but=()):
    """{path: what stands there}, as an independent look sees it."""
    found = {}
    folder = os.fsencode(str(folder))
    for at, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            path = os.path.join(at, name)
            rel = os.path.relpath(path, folder)
            if name.startswith(b".xd-") or any(part in but for part in os.fsdecode(rel).split("/")):
                continue
            st = os.lstat(path)
            if stat.S_ISLNK(st.st_mode):
                found[rel] = ("link", os.readlink(path))
            elif stat.S_ISDIR(st.st_mode):
                found[rel] = ("folder", stat.S_IMODE(st.st_mode))
            else:
                with open(path, "rb") as f:
                    found[rel] = ("file", stat.S_IMODE(st.st_mode), st.st_mtime_ns, f.read())
    return found


def fill(folder, rng, names=60):
    """A tree of all kinds of things."""
    folders = [folder]
    for n in range(names):
        at = rng.choice(folders)
        path = at / ("%s%d%s" % (rng.choice(["a", "b b", "\u00e9", "x"]), n, rng.choice(["", ".py", ".txt", "~x"])))
        kind = rng.random()
        if kind < 0.2:
            path.mkdir()
            folders.append(path)
        elif kind < 0.3:
            path.symlink_to(rng.choice(["nowhere", "a0", "."]))
        else:
            path.write_bytes(bytes(rng.getrandbits(8) for _ in range(rng.choice([0, 1, 10, 3000, 20000]))) * rng.choice([1, 1, 5]))
            path.chmod(rng.choice([0o644, 0o600, 0o755, 0o444]))
    return folder


def edit(folder, rng):
    """A few changes of all kinds."""
    everything = [p for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()]
    for path in rng.sample(everything, min(12, len(everything))):
        if not os.path.lexists(path):
            continue
        what = rng.random()
        if what < 0.25:
            path.unlink()
        elif what < 0.4:
            path.rename(path.with_name("moved" + path.name))
        elif what < 0.5:
            path.unlink()
            path.mkdir()
            (path / "inside").write_text("was a file")
        elif what < 0.6 and not path.is_symlink():
            path.chmod(rng.choice([0o644, 0o700]))
        else:
            path.unlink()
            path.write_bytes(os.urandom(rng.choice([5, 40000])))


class Tool(object):
    def __init__(self, path):
        self.path, self.lab = path, None
        self.source = path / "src"
        self.source.mkdir()

    def run(self, *args, **more):
        argv, settings = self.command(args, **more.pop("env", {}))
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, errors="replace", timeout=60, **dict(settings, **more))

    def command(self, args, **env_more):
        env = clean_environment(XDG_STATE_HOME=str(self.path / "state"), XDG_CACHE_HOME=str(self.path / "cache"), **env_more)
        argv = [XDCTL, "sync"] + [str(a) for a in args]
        if self.lab:
            argv, env = self.lab.prefix(str(self.path)) + argv, self.lab.environment(env)
        return argv, dict(cwd=str(self.path), env=env, stdin=subprocess.DEVNULL)

    def start(self, *args):
        argv, settings = self.command(args)
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **settings)

    def ok(self, *args, **more):
        done = self.run(*args, **more)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done


@pytest.fixture
def tool(tmp_path):
    return Tool(tmp_path)


WAYS = ["popen", "command", "libssh", "openssh"]


@pytest.fixture(params=WAYS)
def way(request, tool, lab):
    """(destination, options, the folder as seen from here) over each kind of gateway."""
    if request.param in ("popen", "command"):
        spec = "popen" if request.param == "popen" else "command=sh"
        return "%s:%s" % (spec, tool.path / "there"), [], tool.path / "there"
    hosts = lab(1)
    tool.lab = hosts
    return hosts.spec("h1") + ":there", ["--ssh=" + request.param], hosts["h1"].home / "there"


def test_edits_get_there(tool, way):
    destination, options, there = way
    rng = random.Random(7)
    fill(tool.source, rng)
    for turn in range(4):
        tool.ok(*(options + ["src/", destination]))
        assert tree(there) == tree(tool.source), turn
        edit(tool.source, rng)
    tool.ok(*(options + ["src/", destination]))
    assert tree(there) == tree(tool.source)


@pytest.mark.parametrize("seed", range(6))
def test_trees_are_equal_after_it(tool, way, seed):
    """Also where somebody changed things there, and where what is remembered is lost on one side."""
    destination, options, there = way
    rng = random.Random("%s %d" % (destination.split(":")[0], seed))
    arguments = options + ["src/", destination] + (["--delete"] if seed % 3 == 2 else [])
    fill(tool.source, rng)
    for turn in range(3):
        # Where the other end has lost its memory, nobody knows what was brought before.
        tool.ok(*arguments)
        assert tree(there) == tree(tool.source), turn
        edit(tool.source, rng)
        if seed % 3 == 1:
            victim = rng.choice([p for p in there.rglob("*") if p.is_file() and not p.is_symlink() and not p.name.startswith(".xd-")])
            victim.chmod(0o644)
            victim.write_text("changed there")
        if seed % 3 == 2:
            for one in list(there.glob(".xd-*")) if turn % 2 else list((tool.path / "cache").rglob("sync/*")):
                if one.is_file():
                    one.unlink()
    tool.ok(*arguments)
    assert tree(there) == tree(tool.source)


def test_names_that_are_no_text(tool):
    (tool.source / os.fsdecode(b"\xff\xfe name")).write_text("x")
    (tool.source / "new\nline").write_text("y")
    tool.ok("src/", "popen:%s" % (tool.path / "there"))
    assert tree(tool.path / "there") == tree(tool.source)


def test_a_source_keeps_its_name_without_a_slash(tool):
    (tool.source / "a").write_text("x")
    (tool.path / "other").mkdir()
    (tool.path / "other" / "b").write_text("y")
    (tool.path / "one.txt").write_text("z")
    tool.ok("src", "other", "one.txt", "popen:%s" % (tool.path / "there"))
    assert sorted(os.fsdecode(p) for p in tree(tool.path / "there")) == ["one.txt", "other", "other/b", "src", "src/a"]


def test_what_is_ignored_neither_goes_nor_is_removed(tool):
    there = tool.path / "there"
    (tool.source / ".gitignore").write_text("*.log\nbuild/\n")
    (tool.source / ".xdignore").write_text("!keep.log\n")
    (tool.source / "build").mkdir()
    for name in ("a.py", "b.log", "keep.log", "build/x", "c.dat"):
        (tool.source / name).write_text(name)
    tool.ok("src/", "popen:%s" % there, "--rsyncignore", "*.dat")
    assert set(map(os.fsdecode, tree(there))) >= {"a.py", "keep.log"} and not {"b.log", "build", "c.dat"} & set(map(os.fsdecode, tree(there)))
    for name in ("b.log", "c.dat", "own"):
        (there / name).write_text("of there")
    (there / "build").mkdir()
    (there / "build" / "out").write_text("of there")
    tool.ok("src/", "popen:%s" % there, "--rsyncignore", "*.dat", "--delete")
    left = set(map(os.fsdecode, tree(there)))
    assert {"b.log", "c.dat", "build/out", "a.py"} <= left and "own" not in left


def names(folder):
    return sorted(os.fsdecode(p) for p in tree(folder))


def test_rules_of_the_working_tree_around_count(tool):
    """As git reads them for a folder below its top; globs stay relative to what they were given for."""
    top = tool.path / "top"
    pkg = top / "lib" / "pkg"
    pkg.mkdir(parents=True)
    (top / ".git").mkdir()
    (top / ".gitignore").write_text("*.log\n/lib/pkg/made\n/made.txt\n")
    (top / "lib" / ".gitignore").write_text("!kept.log\npkg/*.tmp\n")
    for name in ("a.py", "b.log", "kept.log", "c.tmp", "made.txt", "d.dat"):
        (pkg / name).write_text(name)
    (pkg / "made").mkdir()
    (pkg / "made" / "x").write_text("x")
    there = tool.path / "there"
    tool.ok("top/lib/pkg/", "popen:%s" % there)
    assert names(there) == ["a.py", "d.dat", "kept.log", "made.txt"]
    tool.ok("top/lib/pkg/", "popen:%s" % (tool.path / "globs"), "--rsyncignore", "top/lib/pkg/d.*", "--rsyncignore", "made.txt")
    assert names(tool.path / "globs") == ["a.py", "kept.log"]
    (there / "b.log").write_text("of there")
    tool.ok("top/lib/pkg/", "popen:%s" % there, "--delete")
    assert (there / "b.log").read_text() == "of there"


def test_rules_around_a_folder_that_they_leave_out(tool):
    """Who brings it by name wants what is in it."""
    top = tool.path / "top"
    (top / "build" / "deep").mkdir(parents=True)
    (top / ".git").write_text("gitdir: /nowhere\n")  # as in a worktree
    (top / ".gitignore").write_text("build/\n*.o\n")
    (top / "build" / "deep" / "x.o").write_text("o")
    for source in ("top/build/", "top/build/deep/"):
        tool.ok(source, "popen:%s" % (tool.path / "there"))
        assert "x.o" in [os.path.basename(n) for n in names(tool.path / "there")], source
        shutil.rmtree(tool.path / "there")


def test_a_home_folder_in_git_has_no_say(tool):
    """Files of a whole account may be in git, and its rules leave out all that is not named."""
    (tool.path / ".git").mkdir()
    (tool.path / ".gitignore").write_text("*\n")
    (tool.source / "a").write_text("a")
    tool.ok("src/", "popen:%s" % (tool.path / "there"), env={"HOME": str(tool.path)})
    assert names(tool.path / "there") == ["a"]


def test_without_delete_what_was_not_brought_stays(tool):
    there = tool.path / "there"
    (tool.source / "a").write_text("x")
    tool.ok("src/", "popen:%s" % there)
    (there / "own").write_text("y")
    (tool.source / "a").unlink()
    (tool.source / "b").write_text("z")
    tool.ok("src/", "popen:%s" % there)
    assert set(map(os.fsdecode, tree(there))) == {"own", "b"}


def test_a_dry_run_changes_nothing(tool):
    there = tool.path / "there"
    (tool.source / "a").write_text("x")
    done = tool.ok("--dry-run", "src/", "popen:%s" % there)
    assert "a" in done.stdout and not there.exists(), done
    tool.ok("src/", "popen:%s" % there)
    (tool.source / "a").write_text("other")
    before = tree(there)
    assert "a" in tool.ok("-n", "src/", "popen:%s" % there).stdout
    assert tree(there) == before


def test_a_dry_run_says_what_would_be(tool):
    fill(tool.source, random.Random(3), names=5)
    names = len(tree(tool.source))
    there = "popen:%s" % (tool.path / "there")
    done = tool.ok("-n", "src/", there)
    assert done.stdout.count("would be brought: ") in (names, names + 1) and "all there" not in done.stdout, done  # the folder itself is new, too
    assert "%d would be brought" % done.stdout.count("would be brought: ") in done.stdout.splitlines()[-1], done
    tool.ok("src/", there)
    done = tool.ok("-n", "src/", there)
    assert "would be" not in done.stdout and "all there" in done.stdout, done


def test_stats_as_json(tool):
    for n in range(30):
        (tool.source / str(n)).write_text("x" * n)
    home = dict(HOME=str(tool.path))
    first, again = (json.loads(tool.ok("--stats=json", "src/", "command=sh:there", env=home).stdout)["destinations"][0] for _ in range(2))
    assert first["written"] == 30 and again["written"] == 0 and again["sent_files"] == 0, (first, again)
    assert again["wire_bytes"] + again["wire_back_bytes"] <= 100, again


def test_a_rename_moves_no_data(tool):
    (tool.source / "big").write_bytes(os.urandom(1 << 20))
    tool.ok("src/", "popen:%s" % (tool.path / "there"))
    (tool.source / "big").rename(tool.source / "other")
    told = json.loads(tool.ok("--stats=json", "src/", "popen:%s" % (tool.path / "there")).stdout)
    told, = told["destinations"]
    assert told["wire_bytes"] < 20000 and tree(tool.path / "there") == tree(tool.source), told


def test_several_destinations(tool):
    fill(tool.source, random.Random(3))
    to = [tool.path / ("there%d" % n) for n in range(5)]
    tool.ok("src/", *[word for one in to for word in ("--to", "popen:%s" % one)])
    for one in to:
        assert tree(one) == tree(tool.source)


def test_sources_of_several_folders(tool, way):
    """One folder after the other, shown as one; the second time there is nothing to do, and what is gone goes."""
    destination, options, there = way
    for name in ("a/x", "b/y", "c"):
        (tool.path / name).mkdir(parents=True)
        fill(tool.path / name, random.Random(name), names=10)
    (tool.path / "b" / "single.txt").write_text("one file")
    sources = ["a/x", "b/y", "c", "b/single.txt"]
    numbers = json.loads(tool.ok("--stats=json", *(options + sources + [destination])).stdout)["destinations"]
    files = sum(what[0] == "file" for name in ("a/x", "b/y", "c") for what in tree(tool.path / name).values()) + 1
    assert len(numbers) == 1 and numbers[0]["error"] is None and numbers[0]["files"] == numbers[0]["scanned_files"] == files, (files, numbers)
    victim = next(p for p in (tool.path / "b" / "y").iterdir() if not p.is_dir() or p.is_symlink())
    for turn in range(2):
        for name in ("a/x", "b/y", "c"):
            assert tree(there / name.split("/")[-1]) == tree(tool.path / name), (turn, name)
        assert (there / "single.txt").read_text() == "one file" and len(list(there.glob("[!.]*"))) == 4
        victim.unlink() if turn == 0 else None
        done = tool.ok(*(options + sources + [destination]))
        assert ("1 removed" if turn == 0 else "all there") in done.stdout and len(done.stdout.splitlines()) == 1, (turn, done)


def test_one_that_fails_does_not_hold_up_the_others(tool):
    (tool.source / "a").write_text("x")
    (tool.path / "file").write_text("in the way")
    done = tool.run("src/", "--to", "popen:%s" % (tool.path / "file" / "below"), "--to", "popen:%s" % (tool.path / "there"))
    assert done.returncode == 6 and str(tool.path / "file") in done.stderr and (tool.path / "there" / "a").exists(), done


def test_one_that_is_done_is_told_while_another_goes_on(tool):
    """Also in the log of a CI system, which is no terminal."""
    (tool.source / "a").write_text("a")
    argv, settings = tool.command(["src", "--to", "popen:fast", "--to", "command=sh -c 'exec sleep 60':slow"])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True, **settings) as process:
        try:
            assert select.select([process.stdout], [], [], 10)[0] and process.stdout.readline().startswith("popen:fast: 1 file, ")
            assert process.poll() is None
        finally:
            process.terminate()


def test_sockets_and_pipes_are_named(tool):
    (tool.source / "a").write_text("x")
    os.mkfifo(str(tool.source / "pipe"))
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tool.source / "sock"))
        done = tool.run("src/", "popen:%s" % (tool.path / "there"))
    assert "pipe" in done.stderr and "sock" in done.stderr and (tool.path / "there" / "a").exists(), done


def test_what_cannot_be_read_is_named_and_stays_there(tool):
    """What was brought of it before is not removed; exit code 7."""
    for name in ("a", "b"):
        (tool.source / name).write_text("x")
    there = tool.path / "there"
    tool.ok("src/", "popen:%s" % there)
    (tool.source / "a").write_text("changed")
    (tool.source / "b").chmod(0)
    if os.access(str(tool.source / "b"), os.R_OK):
        pytest.skip("this user reads everything")
    done = tool.run("src/", "popen:%s" % there)
    assert done.returncode == 7 and "b" in done.stderr, done
    assert (there / "a").read_text() == "changed" and (there / "b").read_text() == "x"


def test_links_that_lead_out_are_not_followed(tool):
    outside = tool.path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    (tool.source / "out").symlink_to("../outside")
    (tool.source / "in").mkdir()
    (tool.source / "in" / "a").write_text("y")
    (tool.source / "absolute").symlink_to(str(tool.source / "in" / "a"))
    tool.run("src/", "popen:%s" % (tool.path / "there"))
    there = tool.path / "there"
    assert not (there / "out" / "secret").exists()
    assert (there / "absolute").read_text() == "y" and not os.readlink(str(there / "absolute")).startswith(str(tool.source))


def test_a_kill_leaves_old_files_or_new_ones(tool, way):
    """At random moments; the other end goes with this one."""
    destination, options, there = way
    arguments = options + ["src/", destination]
    fill(tool.source, random.Random(1), names=200)
    (tool.source / "big").write_bytes(os.urandom(3 << 20))
    tool.ok(*arguments)
    before = tree(there)
    for turn in range(6):
        edit(tool.source, random.Random(turn))
        (tool.source / "big").write_bytes(os.urandom(3 << 20))
        wanted = tree(tool.source)
        process = tool.start(*arguments)
        time.sleep(0.01 * (turn + 1) if tool.lab is None else 0.06 * (turn + 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
        for path, what in tree(there).items():
            if what[0] == "file":
                assert what in (before.get(path), wanted.get(path)) or what[3] in [w[3] for w in (before.get(path), wanted.get(path)) if w and w[0] == "file"], path
        tool.ok(*arguments)
        before = tree(there)
        assert before == wanted, turn


@pytest.mark.parametrize("args, words", [
    ([], "source"), (["src"], "destination"), (["nosuch", "popen:/tmp/x"], "nosuch"), (["src", "/tmp/x"], "ssh="),
    (["src", "2*popen:/tmp/x"], "2*"), (["src", "ssh=h1"], "path"), (["--nosuch", "src", "popen:/x"], "nosuch"), (["--stats=xml", "src", "popen:/x"], "json"),
])
def test_wrong_input(tool, args, words):
    done = tool.run(*args)
    assert done.returncode == 4 and words in done.stderr and len(done.stderr.strip().splitlines()) <= 3, done


@pytest.mark.parametrize("carried", [["command=sh:there"], ["--ssh=libssh", "ssh=localhost:there"], ["--ssh=openssh", "ssh=localhost:there"]])
def test_no_agent_to_send(tool, carried):
    """Whatever carries it, what is missing is named."""
    xdctl = programs_for_all(str(tool.path))
    (tool.path / "bin" / "agents").mkdir()  # a build without any, or with those of another one
    argv, settings = tool.command(["src"] + carried)
    done = subprocess.run([xdctl] + argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60, **settings)
    assert done.returncode == 6 and "there is no agent in" in done.stderr and len(done.stderr.strip().splitlines()) == 1, done


@pytest.fixture(params=["ext4", "exfat"])
def ignores_case(request, tmp_path):
    """A folder in which README and readme are one file."""
    image, at = tmp_path / "image", tmp_path / "mounted"
    at.mkdir()
    image.write_bytes(b"")
    os.truncate(str(image), 32 << 20)
    steps = {
        "ext4": "mkfs.ext4 -q -O casefold IMAGE && mount -o loop IMAGE AT && mkdir AT/there && chattr +F AT/there",
        "exfat": "mkfs.exfat IMAGE && LOOP=$(losetup -f --show IMAGE) && trap 'losetup -d $LOOP' EXIT && mount.exfat-fuse $LOOP AT && mkdir AT/there",
    }[request.param].replace("IMAGE", str(image)).replace("AT", str(at))
    done = subprocess.run(["sh", "-c", steps], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, universal_newlines=True, timeout=30)
    if done.returncode != 0:
        subprocess.run(["umount", "-l", str(at)], stderr=subprocess.DEVNULL)
        pytest.skip("no %s that ignores case can be mounted here: %s" % (request.param, done.stdout.strip().splitlines()[-1:]))
    yield at / "there"
    subprocess.run(["umount", "-l", str(at)], check=True)


def contents(folder):
    """As tree, without what such file systems have no room for: modes and exact times."""
    return {path: (found[0], found[-1] if found[0] == "file" else None) for path, found in tree(folder).items()}


@pytest.mark.parametrize("options", [(), ("--delete",)], ids=["", "delete"])
def test_another_spelling_where_case_is_ignored(tool, ignores_case, options):
    """A name of which the case alone changes is there before and after it; two that differ in nothing else are refused, until one of them is gone."""
    source, to = tool.source, "popen:%s" % ignores_case

    def brought():
        tool.ok("src/", to, *options)
        assert contents(ignores_case) == contents(source)

    (source / "Pkg" / "Sub").mkdir(parents=True)
    (source / "Pkg" / "Sub" / "Deep.py").write_text("deep")
    (source / "Pkg" / "Mod.py").write_text("mod")
    (source / "Pkg" / "gone.py").write_text("gone")
    (source / "README").write_text("one")
    brought()
    (source / "README").rename(source / "readme")
    brought()
    (source / "Pkg" / "Mod.py").rename(source / "Pkg" / "mod.py")
    (source / "Pkg" / "mod.py").write_text("another content")
    brought()
    (source / "Pkg").rename(source / "pkg")
    (source / "pkg" / "Sub").rename(source / "pkg" / "sub")
    (source / "pkg" / "gone.py").unlink()
    assert "would be removed: Pkg/gone.py\n" in tool.ok("-n", "src/", to, *options).stdout.replace("pkg", "Pkg")
    brought()
    brought()
    for name in ("D", "d"):
        (source / name).mkdir()
        (source / name / name).write_text(name)
    failed = tool.run("src/", to, *options)
    assert failed.returncode == 6 and "D and d in %s are one name to the file system there" % ignores_case in failed.stderr, failed
    shutil.rmtree(str(source / "D"))
    brought()
    (source / "README").write_text("of another size: FUSE keeps contents by name")
    assert tool.run("src/", to, *options).returncode == 6
    (source / "readme").unlink()
    brought()


def test_many_names_without_ascii_in_one_folder(tool):
    """All of them might be names for one to some file system; to look at each pair took 20 s for 4,000."""
    signs = "\u6e2c\u8a66\u6587\u4ef6\u593e\u4e00\u4e8c\u4e09\u56db\u4e94"
    for n in range(4000):
        (tool.source / ("".join(signs[n // 10 ** k % 10] for k in range(4)) + ".py")).write_text(str(n))
    begin = time.monotonic()
    tool.ok("src", "popen:there")
    assert time.monotonic() - begin < 10
    assert tree(tool.path / "there" / "src") == tree(tool.source)


def test_links_where_there_are_none(tool, ignores_case):
    """FAT and its like have no symbolic links: one line says so."""
    (tool.source / "file").write_text("x")
    (tool.source / "link").symlink_to("file")
    try:
        (ignores_case / "x").symlink_to("y")
        pytest.skip("this file system has links")
    except OSError:
        pass
    failed = tool.run("src/", "popen:%s" % ignores_case)
    assert failed.returncode == 6 and failed.stderr.count("\n") == 1, failed
    assert "there/link: " in failed.stderr and ": the file system there has no such thing: leave it out (.xdignore), or choose another folder" in failed.stderr, failed
    (tool.source / ".xdignore").write_text("link\n")
    tool.ok("src/", "popen:%s" % ignores_case)


def test_two_at_once_to_one_folder(tool):
    """The second waits for the first, and says so if that takes time."""
    fill(tool.source, random.Random(5), names=300)
    (tool.source / "big").write_bytes(os.urandom(20 << 20))
    there = tool.path / "there"
    env = clean_environment(XDG_STATE_HOME=str(tool.path / "state"), XDG_CACHE_HOME=str(tool.path / "cache"))
    both = [subprocess.Popen([XDCTL, "sync", "src/", "popen:%s" % there], cwd=str(tool.path), env=env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True) for _ in range(2)]
    ended = [(p.communicate(timeout=60), p.returncode) for p in both]
    assert [rc for _, rc in ended] == [0, 0], ended
    assert tree(there) == tree(tool.source)


def test_ctrl_c(tool):
    """Ends at once, leaves old files or new ones and nothing that runs."""
    (tool.source / "big").write_bytes(os.urandom(200 << 20))
    env = clean_environment(XDG_STATE_HOME=str(tool.path / "state"), XDG_CACHE_HOME=str(tool.path / "cache"))
    process = subprocess.Popen([XDCTL, "sync", "src/", "popen:%s" % (tool.path / "there")], cwd=str(tool.path), env=env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    until = time.monotonic() + 20
    while not (tool.path / "there").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    big = tool.path / "there" / "big"
    assert process.returncode in (0, 2), (process.returncode, out, err)
    assert not big.exists() or big.stat().st_size == 200 << 20
    tool.ok("src/", "popen:%s" % (tool.path / "there"))
    assert tree(tool.path / "there") == tree(tool.source)
