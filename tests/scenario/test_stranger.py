"""engine/PROTOCOL.md suffices: a program that was written from it alone (stranger.py) joins real runs."""
import os
import re
import subprocess
import sys
import time

import pytest

from conftest import HERE, clean_environment, end
from faults import wait_until
from joining import Listening

pytest.importorskip("zmq")
pytest.importorskip("xxhash")
PROGRAM = os.path.join(HERE, "stranger.py")


def told(*arguments):
    return subprocess.run([sys.executable, PROGRAM] + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, env=clean_environment()).stdout.decode()


class Stranger(object):
    def __init__(self, run, authorized=True):
        self.run = run
        self.secret, self.public = told("--keygen").split()
        if authorized:
            done = run.project.xdctl("keys", "authorize", "--keys", run.keys, "--worker", "xdk1 %s stranger" % self.public)
            assert done.rc == 0, done

    def join(self, workers, *ids):
        log = open(str(self.run.project.path / "stranger.log"), "wb")
        with log:
            self.process = subprocess.Popen([sys.executable, PROGRAM, self.secret, "127.0.0.1", str(self.run.port), str(workers)] + list(ids), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=clean_environment())
        self.run.joins.append(self.process)
        return self

    def ended(self):
        return self.process.wait(timeout=30), (self.run.project.path / "stranger.log").read_text()


@pytest.fixture
def run(project):
    r = Listening(project)
    yield r
    r.end()


def start(run, *more):
    """A run that waits for who joins; its own project has no tests, and they are not looked for here."""
    run.project.count += 1
    jsonl = str(run.project.path / ("run%d.jsonl" % run.project.count))
    process = run.project.start("run", "--jsonl=" + jsonl, "--no-sync", *(run.options() + list(more)))
    wait_until(run.listens, "it listens")
    return process, jsonl


def test_two_items(run):
    stranger = Stranger(run)
    process, jsonl = start(run)
    stranger.join(1, "abacus.py::test_one", "abacus.py::test_two")
    result = run.project.finish(process, jsonl)
    code, said = stranger.ended()
    assert code == 0, (said, result)
    assert result.rc == 0 and result.summary == {"passed": 2}, (result, said)
    assert result.outcomes == {"abacus.py::test_one": "passed", "abacus.py::test_two": "passed"}
    assert re.findall(r"ran (\d+) attempt 1", said) and "counted by an abacus" in result.out, result


def test_many_items_on_many_workers(run):
    """More than its credit allows at once; some are taken back, by a run that gives them to another host of its kind."""
    ids = ["abacus.py::test_%d" % n for n in range(5000)]
    first, second = Stranger(run), Stranger(run)
    process, jsonl = start(run, "--min-workers=3")
    first.join(1, *ids)
    second.join(2, *ids)
    result = run.project.finish(process, jsonl)
    assert first.ended()[0] == second.ended()[0] == 0, (first.ended(), result)
    assert result.rc == 0 and result.summary == {"passed": 5000}, result
    assert {e["worker"] for e in result.tests} == {"gw0", "gw1", "gw2"}


def test_a_key_that_is_not_in_the_list(run):
    process, _jsonl = start(run)
    stranger = Stranger(run, authorized=False).join(1, "a.py::test_a")
    code, said = stranger.ended()
    assert code == 1 and "refused: 1 it does not know your key" in said and stranger.public in said, said
    end(process)


def test_one_that_goes_without_a_word_holds_nothing_up(run):
    """It ends when the run has closed its pipe, and tells of no end."""
    stranger = Stranger(run)
    process, jsonl = start(run)
    begun = time.monotonic()
    stranger.join(1, "--mute", "a.py::test_a")
    result = run.project.finish(process, jsonl)
    assert result.rc == 0 and result.summary == {"passed": 1} and time.monotonic() - begun < 6, (time.monotonic() - begun, result)
    assert stranger.ended()[0] == 9
