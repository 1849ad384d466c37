"""What a run promises holds however its workers are reached: scenarios of local runs, once more over an sshd on this machine, each way that
ssh= can be carried, and over the command of a shell.  In these, -n N and popen stand for workers there."""
import re
import sys

import pytest

from conftest import Lab, Project, Unavailable, end
from test_run_fixtures import (test_a_crash_in_the_last_teardown, test_a_failing_last_teardown_is_an_error_of_the_last_test,  # noqa: F401
                               test_a_replacement_sets_up_its_own, test_once_per_worker_in_other_ways, test_once_per_worker_in_two_environments,
                               test_one_worker_is_as_plain_pytest, test_stop_after_a_failure)
from test_run_faults import (test_all_is_run_after_many_crashes, test_crash_behind_the_last_test, test_crash_in_collection,  # noqa: F401
                             test_crash_is_blamed_on_its_test, test_crash_shows_last_output, test_crash_while_collecting_names_the_file,
                             test_hook_that_fails_behind_the_collection, test_internal_error_of_a_worker, test_processes_left_by_tests_end,
                             test_restart_budget, test_stopped_worker_goes_on, test_threads_that_are_no_daemons_are_waited_for,
                             test_what_failed_before_a_crash_is_not_lost, test_worker_killed_from_outside)
from test_run_interrupt import (test_ctrl_c_once_and_the_grace_is_over, test_ctrl_c_once_lets_running_tests_end, test_ctrl_c_twice_kills,  # noqa: F401
                                test_ctrl_c_while_it_collects, test_signal_drains)
from test_run_outcomes import (test_a_test_that_ends_the_session, test_all_deselected, test_collection_error, test_duplicate_node_ids,  # noqa: F401
                               test_exit_codes_that_plugins_make, test_jsonl, test_junit_is_that_of_pytest, test_last_failed, test_missing_path, test_pytest_exit,
                               test_short_summary_and_failures, test_show, test_stops_after_failures, test_subtests, test_zero_tests)

WAYS = ["openssh", "libssh", "command"]


@pytest.fixture(scope="module")
def server():
    """An sshd on this machine that sees the files of the tests."""
    try:
        with Lab(1, namespaces=False) as one:
            yield one
    except Unavailable as e:
        pytest.skip(str(e))


class Over(Project):
    def __init__(self, path, python, server, way):
        super(Over, self).__init__(path, python)
        self.server, self.way = server, way

    def arguments(self, args, env):
        args = [str(a) for a in args]
        return ["run"] + self.there(args[1:], env) if args[0] == "run" else args

    def finish(self, process, jsonl=None):
        result = super(Over, self).finish(process, jsonl)
        if jsonl:  # it went where it should
            specs = [e["spec"] for e in result.events if e["event"] == "environment"]
            assert all(spec.startswith("command=sh//" if self.way == "command" else "ssh=h1//") for spec in specs), specs
        return result

    def spec(self, rest, python, env):
        """What a user writes who has the project, and what it needs of the environment, on that host."""
        parts = ["command=sh"] if self.way == "command" else [self.server.spec("h1")]
        parts += ["chdir=%s" % self.root, "python=%s" % python] + ["env:%s=%s" % item for item in sorted(env.items())]
        return "//".join(parts) + rest

    def there(self, args, env):
        python, workers, specs, kept = self.python, 2, [], []
        args = iter(args)
        for arg in args:
            name, _, value = arg.partition("=")
            if name in ("-n", "--python", "--tx"):
                value = value or next(args)
            if name == "--python":
                python = value
            elif name == "--tx":
                specs.append(re.match(r"(\d+\*)?popen(.*)", value).groups())
            elif re.match(r"-n\d*$", name):
                workers = int(value or name[2:])
            else:
                kept.append(arg)
        specs = specs or [("%d*" % workers, "")]
        how = [] if self.way == "command" else ["--ssh=" + self.way]
        return how + ["--tx=%s%s" % (times or "", self.spec(rest, python, env)) for times, rest in specs] + kept


@pytest.fixture(params=WAYS)
def project(request, tmp_path, server):
    p = Over(tmp_path, sys.executable, server, request.param)
    yield p
    for process in p.started:
        end(process)
