"""Projects of many layouts, brought to a place that has nothing of them: what runs there is what runs here, whoever names what to bring.  The place is a shell with a home of its own."""
import pytest

SUITE = "import os\n\ndef test_a():\n    pass\n\ndef test_where():\n    assert os.path.realpath(__file__).startswith(os.environ['FAR'])\n"


class Far(object):
    def __init__(self, project):
        self.project, self.home = project, project.path / "far"
        self.home.mkdir()

    def spec(self, *keys):
        command = "command=env -u XDG_CACHE_HOME -u XDG_STATE_HOME -u PYTHONPATH HOME=%s FAR=%s sh" % (self.home, self.home)
        return "//".join((command,) + keys)

    def run(self, *args, **more):
        return self.project.run("--tx", more.pop("spec", None) or self.spec(), *(args + ("-p", "no:cacheprovider")), **more)

    def files(self):
        """What was brought, below the one folder of a project there."""
        work = self.home / ".cache" / "xd" / "work"
        project, = [p for p in work.iterdir() if p.is_dir()]
        return sorted(str(p.relative_to(project)) for p in project.rglob("*")
                      if (p.is_symlink() or not p.is_dir()) and "__pycache__" not in p.parts and not p.name.startswith(".xd-"))


@pytest.fixture
def far(project):
    return Far(project)


def make(project, files):
    for name, text in files.items():
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def passed(result, count=2):
    assert result.rc == 0 and result.summary == {"passed": count}, result


def test_the_seeds_conftest(far):
    """rsyncdirs = ['.', '../plugins'], rsyncignore = ['_cache'], relative to the conftest.py that they stand in."""
    make(far.project, {
        "mypkg/conftest.py": "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'plugins'))\n"
                             "rsyncdirs = ['.', '../plugins']\nrsyncignore = ['_cache']\n",
        "mypkg/test_a.py": SUITE + "\ndef test_plugin():\n    import helper\n    assert helper.X == 1\n",
        "mypkg/_cache/big": "x", "plugins/helper.py": "X = 1\n", "other/not_needed.py": ""})
    passed(far.run("-d", "mypkg"), 3)
    assert far.files() == ["mypkg/conftest.py", "mypkg/test_a.py", "plugins/helper.py"]


def test_ini_and_options_from_a_folder_below(far):
    make(far.project, {"pytest.ini": "[pytest]\nrsyncdirs = src\nrsyncignore = *.dat\npythonpath = src\n", "src/lib.py": "", "src/x.dat": "x",
                       "tests/unit/test_a.py": SUITE + "\ndef test_lib():\n    import lib\n", "tests/unit/y.tmp": "y"})
    result = far.run("--rsyncdir=.", "--rsyncignore", "*.tmp", "test_a.py", cwd=far.project.root / "tests" / "unit")
    passed(result, 3)
    assert far.files() == ["pytest.ini", "src/lib.py", "tests/unit/test_a.py"]
    assert {t["nodeid"] for t in result.tests} == {"tests/unit/test_a.py::" + t for t in ("test_a", "test_where", "test_lib")}


def test_two_roots_of_one_name(far):
    make(far.project, {"a/src/test_x.py": SUITE, "b/src/__init__.py": "", "b/src/test_y.py": SUITE})
    passed(far.run("--rsyncdir=a/src", "--rsyncdir", "b/src", "a/src", "b/src"), 4)
    assert far.files() == ["a/src/test_x.py", "b/src/__init__.py", "b/src/test_y.py"]


def test_what_is_beside_the_roots(far):
    """Fixtures of a conftest.py above what was named."""
    make(far.project, {"setup.cfg": "[tool:pytest]\nmarkers = slow\naddopts = --strict-markers\n", "conftest.py": "import pytest\n@pytest.fixture\ndef above():\n    return 1\n",
                       "pkg/__init__.py": "", "pkg/tests/__init__.py": "", "pkg/lib.py": "",
                       "pkg/tests/test_a.py": SUITE + "\nimport pytest\n@pytest.mark.slow\ndef test_above(above):\n    assert __name__ == 'pkg.tests.test_a'\n"})
    passed(far.run("--rsyncdir=pkg/tests", "pkg/tests"), 3)
    assert far.files() == ["conftest.py", "pkg/__init__.py", "pkg/tests/__init__.py", "pkg/tests/test_a.py", "setup.cfg"]


def test_links_on_the_way(far):
    make(far.project, {"proj/pytest.ini": "[pytest]\n", "data/tests/test_a.py": SUITE, "data/other/x": ""})
    (far.project.root / "proj" / "tests").symlink_to("../data/tests")
    passed(far.run("--rsyncdir=tests", "tests", cwd=far.project.root / "proj"))
    assert far.files() == ["data/tests/test_a.py", "proj/pytest.ini", "proj/tests"]


def test_absolute_paths(far):
    make(far.project, {"tests/test_a.py": SUITE, "tests/test_b.py": "assert 0\n"})
    tests = far.project.root / "tests"
    passed(far.run("--rsyncdir", tests, "--ignore=%s" % (tests / "test_b.py"), "%s::test_a" % (tests / "test_a.py"), tests / "test_a.py"))


def test_a_root_that_a_rule_leaves_out_is_brought_where_it_is_named(far):
    make(far.project, {".gitignore": "generated\n", "src/a.py": "", "generated/test_a.py": SUITE})
    passed(far.run("--rsyncdir=.", "--rsyncdir=generated", "generated"))
    assert "generated/test_a.py" in far.files()


def test_rules_above_what_is_named(far):
    """Of the working tree of git around it; conftest's own ignores stay relative to the conftest.py."""
    make(far.project, {".git": "gitdir: /nowhere\n", ".gitignore": "*.bin\n/py/pkg/out\n", "py/pytest.ini": "[pytest]\n", "py/pkg/test_a.py": SUITE, "py/pkg/big.bin": "b",
                       "py/pkg/out/x": "x", "py/pkg/conftest.py": "rsyncignore = ['sub/skip']\n", "py/pkg/sub/skip": "s", "py/pkg/sub/keep": "k"})
    passed(far.run("--rsyncdir=pkg", "pkg", cwd=far.project.root / "py"))
    assert far.files() == ["pkg/conftest.py", "pkg/sub/keep", "pkg/test_a.py", "pytest.ini"]


def test_nothing_is_named_in_a_worktree_of_git(far):
    make(far.project, {".git": "gitdir: /nowhere\n", "py/pytest.ini": "[pytest]\n", "py/tests/test_a.py": SUITE, "data/x.txt": "x"})
    passed(far.run(cwd=far.project.root / "py"))
    assert far.files() == ["data/x.txt", "py/pytest.ini", "py/tests/test_a.py"]


def test_a_package_in_editable_mode(far):
    """Here a .pth file leads to it, there PYTHONPATH."""
    make(far.project, {"src/edpkg/__init__.py": "X = 1\n", "tests/test_a.py": SUITE + "\ndef test_pkg():\n    import edpkg, os\n    assert edpkg.__file__.startswith(os.environ['FAR'])\n"})
    site = far.project.path / "lib" / "site-packages"
    site.mkdir(parents=True)
    (site / "__editable__.edpkg-1.0.pth").write_text("%s\n" % (far.project.root / "src"))
    result = far.run("-v", "tests", env={"PYTHONPATH": str(site)})
    passed(result, 3)
    assert "Python looks there for modules, too: src" in result.out, result


def test_a_configuration_file_of_another_name(far):
    make(far.project, {"etc/my.ini": "[pytest]\nrsyncdirs = ../tests\npython_files = check_*.py\n", "tests/check_a.py": SUITE})
    passed(far.run("-c", "etc/my.ini", "tests"))
    assert far.files() == ["etc/my.ini", "tests/check_a.py"]


def test_a_run_in_another_folder(far):
    make(far.project, {"proj/tests/test_a.py": SUITE})
    passed(far.run("--work-dir=proj", "--rsyncdir=tests", "tests"))


def test_popen_with_chdir_gets_what_is_named(far):
    make(far.project, {"tests/test_a.py": SUITE, "other/x": ""})
    there = far.project.path / "there"
    passed(far.run("--rsyncdir=tests", "tests", spec="popen//chdir=%s//env:FAR=%s" % (there, there)))
    assert (there / "tests" / "test_a.py").exists() and not (there / "other").exists()


def test_command_lines(far):
    make(far.project, {"list.txt": "test -f data/x\ntest ! -e other\n", "data/x": "x", "other/y": ""})
    result = far.project.run("--runner=command", "--tx", far.spec(), "--rsyncdir=data", "--list=list.txt", python=False)
    passed(result)
