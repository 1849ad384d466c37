"""What a run is told to bring to its hosts, and what of that is refused before anything starts."""
import pytest

SUITE = "def test_a(): pass\n"


@pytest.fixture
def far(project):
    """A place that would get the files, by way of a command: nothing starts there where the command line is refused."""
    project.write(test_a=SUITE)
    began = project.path / "began"
    project.spec = "command=touch %s" % began
    project.began = began.exists
    return project


def make(project, **files):
    for name, text in files.items():
        path = project.root.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text)


def refused(project, said, *args, **more):
    result = project.xdctl("run", "--python", project.python, "--tx", project.spec, *args, **more)
    assert result.rc == 4, result
    assert said in result.err and result.err.count("\n") == 1 and not result.out, result
    assert not project.began()


@pytest.mark.parametrize("args,said", [
    (("--rsyncdir", "nix"), "--rsyncdir: there is no 'nix' in "),
    (("--rsyncdir="), "option --rsyncdir: '' is not valid: it must not be empty"),
    (("--rsyncdir", "test_a.py/x"), "--rsyncdir: there is no 'test_a.py/x' in "),
    (("--rsyncdir", "/"), "--rsyncdir: '/' is the whole file system"),
    (("--rsyncdir", "/dev/null"), "--rsyncdir: '/dev/null' is neither a folder nor a file"),
    (("--rsyncignore", ""), "option --rsyncignore: '' is not valid: it must not be empty"),
    (("--rsyncdir",), "option --rsyncdir needs a value: DIR"),
    (("--no-sync=1",), "a flag takes no value"),
], ids=str)
def test_wrong_options(far, args, said):
    refused(far, said, "-d", *([args] if isinstance(args, str) else args))


def test_an_argument_that_is_not_brought(far):
    make(far, src__a="", tests__test_b=SUITE)
    refused(far, "argument 'tests/test_b.py' is not among what is brought to the hosts, src (--rsyncdir): name it with --rsyncdir, too",
            "--rsyncdir", "src", "tests/test_b.py::test_a")
    refused(far, "argument '.' is not among what is brought", "--rsyncdir=src", ".")
    refused(far, "argument 'tests' is not among what is brought", "--rsyncdir=src", "-q", "tests")


@pytest.mark.parametrize("name,text,said", [
    ("pytest.ini", "[pytest]\nrsyncdirs = nix\n", "rsyncdirs of pytest.ini: there is no 'nix' in "),
    ("pyproject.toml", "[tool.pytest.ini_options]\nrsyncdirs = ['nix']\n", "rsyncdirs of pyproject.toml: there is no 'nix' in "),
    ("setup.cfg", "[tool:pytest]\nrsyncdirs = 'nix\n", "rsyncdirs of setup.cfg cannot be split into names"),
    ("conftest.py", "rsyncdirs = ['.', '../nix']\n", "rsyncdirs of conftest.py: there is no '../nix' in "),
    ("pytest.ini", "[pytest]\naddopts = --rsyncdir=nix\n", "--rsyncdir in addopts: there is no 'nix' in "),
], ids=lambda v: v.split("\n")[0] if isinstance(v, str) else None)
def test_wrong_lists_in_files(far, name, text, said):
    (far.root / name).write_text(text)
    refused(far, said)


def test_the_home_folder_is_nobodys_default(far):
    refused(far, "name folders with --rsyncdir", env={"HOME": str(far.root)})


def test_runs_here_look_at_nothing(project):
    """xdist takes these, too, where no host is."""
    project.write(test_a=SUITE, conftest="rsyncdirs = ['nix']\n")
    result = project.run("-n1", "-v", "--rsyncdir=nix", "--rsyncignore=*.dat", "test_a.py")
    assert result.rc == 0 and "brought" not in result.out + result.err, result


def test_a_spec_with_chdir_gets_nothing_unless_it_is_named(project):
    project.write(test_a=SUITE, conftest="import os\nrsyncdirs = [os.curdir]\n")
    spec = "popen//chdir=%s" % project.root
    result = project.run("--tx", spec, "-v", "-p", "no:cacheprovider")
    assert result.rc == 0, result
    assert "no files are brought to the hosts: their chdir= says where they are" in result.out, result
    result = project.run("--no-sync", "--tx", spec, "--rsyncdir=nix", "-v", "-p", "no:cacheprovider")
    assert result.rc == 0 and "no files are brought to the hosts: --no-sync" in result.out, result
