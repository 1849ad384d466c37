"""Where the report goes and how it looks while the run goes on: errors of usage, the live line, slow tests."""
import os

import pytest

NO_CACHE = ["-p", "no:cacheprovider"]
ONE = "def test_one(): pass"

# ---- errors of usage go to stderr --------------------------------------------------------------------------------------------------

USAGE_ERRORS = [
    (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    (["no_such_file.py"], "file or directory not found: no_such_file.py"),
    (["--maxfail=x"], "argument --maxfail: invalid int value"),
    (["-f"], "option -f/--looponfail"),
    (["--grace=soon"], "option --grace: 'soon' is not valid"),
    (["--tx", "teleport=x"], "teleport=x"),
]


@pytest.mark.parametrize("args, text", USAGE_ERRORS, ids=[" ".join(args) for args, _ in USAGE_ERRORS])
def test_usage_errors_on_stderr(project, args, text):
    """As pytest, whose own they mostly are: the report alone goes to stdout."""
    project.write(test_u=ONE)
    result = project.xdctl("run", "--python", project.python, *(args + NO_CACHE))
    assert result.rc == 4
    assert text in result.err and text not in result.out, result
    assert "error:" not in result.out.lower(), result


def test_usage_error_in_a_conftest(project):
    project.write(test_u=ONE, conftest="""
        import pytest
        def pytest_configure(config):
            raise pytest.UsageError("the conftest wants an option")
    """)
    result = project.xdctl("run", "--python", project.python, *NO_CACHE)
    assert result.rc == 4
    assert "ERROR: the conftest wants an option" in result.err and "the conftest wants" not in result.out, result


def test_errors_and_report_in_one_file(project):
    """`xdctl run > all 2>&1`: both are there, whole and in order."""
    project.write(test_u=ONE)
    with open(str(project.path / "all"), "wb") as f:
        process = project.start("run", "--python", project.python, "no_such_file.py", *NO_CACHE, stdout=f, stderr=f)
        assert process.wait(60) == 4
    lines = (project.path / "all").read_text().splitlines()
    assert "ERROR: file or directory not found: no_such_file.py" in lines and "collected 0 items" in lines, lines


def test_internal_error_stays_in_the_report(project):
    project.write(test_u=ONE, conftest="""
        def pytest_collection_modifyitems():
            raise RuntimeError("broken hook")
    """)
    result = project.xdctl("run", "--python", project.python, *NO_CACHE)
    assert result.rc == 3
    assert "INTERNALERROR> RuntimeError: broken hook" in result.out and "INTERNALERROR" not in result.err, result


def test_usage_error_is_shown_again(project):
    """`show` has one output: a past run's whole report."""
    project.write(test_u=ONE)
    project.xdctl("run", "--python", project.python, "-f", *NO_CACHE)
    shown = project.xdctl("show", "latest")
    assert shown.rc == 4 and "option -f/--looponfail" in shown.out, shown
