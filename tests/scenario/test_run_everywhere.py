"""One suite over every way to reach workers, and over all of them at once: the same outcomes, and the same JUnit report but for times and hosts."""
import re
import sys

import pytest

from conftest import Lab, Unavailable, junit_cases
from joining import Listening
from test_socket import Controller, Server

SUITE = '''
    import os, signal, pytest
    @pytest.mark.parametrize("n", range(12))
    def test_pass(n): pass
    def test_fail(): print("said"); assert [1] == [2]
    def test_skip(): pytest.skip("not here")
    @pytest.mark.xfail(reason="known")
    def test_xfail(): assert 0
    @pytest.mark.xfail
    def test_xpass(): pass
    @pytest.fixture
    def bad(): raise ValueError("begin")
    def test_error(bad): pass
    @pytest.fixture
    def bad_end():
        yield
        raise ValueError("end")
    def test_teardown(bad_end): pass
    def test_crash(): os.kill(os.getpid(), signal.SIGSEGV)
'''


class Places(object):
    """What one run needs of each way: options, joins, and how many workers all have."""

    def __init__(self, project, tmp_path):
        self.project, self.tmp_path = project, tmp_path
        self.ends = []

    def popen(self):
        return ["--tx=2*popen//python=" + self.project.python]

    def ssh(self):
        try:
            lab = Lab(1, namespaces=False)
        except Unavailable as e:
            pytest.skip(str(e))
        self.ends.append(lab.close)
        self.project.lab = lab
        return ["--tx=2*%s" % lab.spec("h1", chdir=str(self.project.root), python=self.project.python)]

    def socket(self):
        server = Server(self.tmp_path)
        self.ends.append(server.stop)
        me = Controller(self.project, server=server)
        me.trusts(server.at)
        return ["--keys=%s" % me.keys, "--tx=2*socket=%s" % server.at]

    def joined(self, keys=None):
        run = Listening(self.project)
        self.ends.append(run.end)
        if keys:
            run.keys = keys
        run.join(2)
        return run.options(2)

    def all(self):
        socket = self.socket()
        keys = socket[0].partition("=")[2]
        joined = [o for o in self.joined(keys) if not o.startswith(("--keys", "--min-workers"))]
        return self.popen() + self.ssh() + socket + joined + ["--min-workers=8"]

    def end(self):
        for one in self.ends:
            one()


@pytest.fixture
def places(project, tmp_path):
    p = Places(project, tmp_path)
    yield p
    p.end()


def told(path):
    """The JUnit cases; who ran them, and in which folder, is no part of an outcome."""
    return re.sub(r"\bgw\d+|/\S*/(?=test_a)", "", repr([(attributes, children) for attributes, children, _properties in junit_cases(path)]))


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Of two local workers."""
    from conftest import Project
    project = Project(tmp_path_factory.mktemp("here"), sys.executable)
    project.write(test_a=SUITE)
    result = project.run("-n2", "--", "--junitxml=out.xml")
    assert result.rc == 1, result
    return result, told(project.root / "out.xml")


@pytest.mark.parametrize("way", ["popen", "ssh", "socket", "joined", "all"])
def test_the_same_outcomes(here, places, project, way):
    expected, junit = here
    project.write(test_a=SUITE)
    options = getattr(places, way)()
    result = project.run(*(options + ["--", "--junitxml=out.xml"]))
    assert (result.rc, result.summary) == (expected.rc, expected.summary), result
    assert result.outcomes == expected.outcomes and result.categories == expected.categories, result
    assert set(expected.outcomes.values()) >= {"passed", "failed", "skipped", "xfailed", "xpassed", "error", "crashed"}
    assert told(project.root / "out.xml") == junit
    specs = {e["spec"].partition("=")[0].partition("//")[0] for e in result.events if e["event"] == "environment"}
    assert specs == {"popen": {"popen"}, "ssh": {"ssh"}, "socket": {"socket"}, "joined": {"join"}, "all": {"popen", "ssh", "socket", "join"}}[way], specs


def test_a_crash_on_one_of_three_hosts_that_joined(places, project):
    """The numbers of replacements are of no host but that of the worker that crashed, however many have joined."""
    project.write(test_a="""
        import os, pytest, time
        @pytest.mark.parametrize("n", range(30))
        def test_n(n):
            time.sleep(0.05)
            if n % 10 == 9: os.abort()
        """)
    run = Listening(project)
    places.ends.append(run.end)
    for _ in range(3):
        run.join(1)
    result = project.run(*(run.options(3) + ["--", "--max-worker-restart=6"]))
    assert result.rc == 1 and sorted(set(result.outcomes.values())) == ["crashed", "passed"], result
    assert list(result.outcomes.values()).count("crashed") == 3 and len(result.outcomes) == 30, result
    assert "lost" not in result.out and "none of this environment" not in result.out, result
