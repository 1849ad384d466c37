"""The command line of `xdctl sync`: what is refused before anything is reached."""
import pytest


@pytest.fixture
def tree(project):
    for name in ("src/a.txt", "x/src/b.txt", "file"):
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (project.root / "link").symlink_to("src")
    return project


@pytest.mark.parametrize("args,said", [
    ((), "no source is named, and no destination"),
    (("src",), "no destination is named: xdctl sync SOURCE ... SPEC:PATH"),
    (("--to", "popen:/p"), "no source is named"),
    (("nix", "popen:/p"), "source 'nix' is not there"),
    (("file/", "popen:/p"), "source 'file/' is no folder, and has a slash at its end"),
    (("link", "popen:/p"), "source 'link' is a symbolic link: name what it leads to, or put a slash behind it"),
    (("", "popen:/p"), "a source without a name"),
    (("/", "popen:/p"), "source '/' is the whole file system"),
    (("/dev/null", "popen:/p"), "is neither a folder nor a file"),
    (("src", "x/src", "popen:/p"), "source 'x/src' would get the place of another one of that name"),
    (("src", "./src", "popen:/p"), "source './src' is named twice"),
    (("src", "/p"), "destination '/p': it is SPEC:PATH, as ssh=host:/path or popen:/path"),
    (("src", "ssh=h"), "destination 'ssh=h': it is SPEC:PATH"),
    (("src", "ssh=h:"), "no folder stands behind the colon"),
    (("src", "2*ssh=h:/p"), "a number in front is of workers"),
    (("src", "ssh=h//cpus=auto:/p"), "cpus= says how many workers"),
    (("src", "ssh=h//chdir=a:/p"), "the folder stands behind the colon, not in chdir="),
    (("src", "ssh=h//via=g:/p"), "via= is of xdctl run"),
    (("src", "host:/p"), "bad spec 'host'"),
    (("src", "--to", "popen:/p", "--to", "popen:/p"), "it is named twice"),
    (("src", "popen:."), "it is, or lies in or above, what is to be brought there"),
    (("src/", "popen:src/copy"), "it is, or lies in or above, what is to be brought there"),
    (("src", "--exclude", "", "popen:/p"), "it must not be empty"),
    (("src", "--ssh=putty", "ssh=h:/p"), "it is one of auto|libssh|openssh"),
    (("src", "--nix", "ssh=h:/p"), "--nix: unknown option"),
    (("src", "--work-dir=nix", "popen:/p"), "nix"),
], ids=lambda v: " ".join(v) if isinstance(v, tuple) else None)
def test_wrong_command_lines(tree, args, said):
    result = tree.xdctl("sync", *args)
    assert result.rc == 4, result
    assert said in result.err and result.err.count("\n") == 1 and not result.out, result


@pytest.mark.parametrize("forget", (False, True))
def test_what_another_call_brought_stays(tree, forget):
    """Also with --delete, and where it is not remembered what stands there."""
    there, root = tree.path / "there", tree.root
    (root / "other").mkdir()
    (root / "other" / "o.txt").write_text("o")
    (root / "src" / "b.txt").write_text("b")
    for args in (("src", "file"), ("other",), ("x/src/",), ("other", "--delete")):
        assert tree.xdctl("sync", *args, "popen:%s" % there).rc == 0
        if forget:
            for one in (tree.path / "cache").rglob("sync/*"):
                if one.is_file():
                    one.unlink()
    everything = {"src/a.txt", "src/b.txt", "file", "other/o.txt", "b.txt"}

    def found():
        return {str(p.relative_to(there)) for p in there.rglob("*") if p.is_file() and not p.name.startswith(".xd-")}
    assert found() == everything
    (root / "src" / "b.txt").unlink()
    assert tree.xdctl("sync", "src", "popen:%s" % there).rc == 0
    if not forget:
        assert found() >= everything - {"src/b.txt"}
    assert tree.xdctl("sync", "src", "--delete", "popen:%s" % there).rc == 0
    assert found() == everything - {"src/b.txt"}
