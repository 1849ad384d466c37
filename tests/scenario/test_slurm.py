"""`xdctl run --slurm`: workers from a real Slurm.  munged, slurmctld and three slurmd on 127.0.0.1, in a folder of their own, started and ended by the fixture."""
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from conftest import XDCTL, Project, clean_environment, end
from faults import kill_at_once, stat_of, tree, wait_until
from test_join import HOLD, Run

PROGRAMS = "munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo"
CPUS = 4  # of each node; a task with -c 4 has it alone
CONF = """
ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={base}/munge.sock
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool-%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=1000,batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
SlurmctldTimeout=30
SlurmdTimeout=30
InactiveLimit=0
KillWait=2
MinJobAge=30
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName=n{n} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Sockets=1 CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory=1000 State=UNKNOWN"


def free_ports(count):
    all_of_them = [socket.socket() for _ in range(count)]
    for s in all_of_them:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in all_of_them]
    for s in all_of_them:
        s.close()
    return ports


class Slurm(object):
    def __init__(self, base):
        self.base, self.daemons, self.runs = base, [], []
        self.env = clean_environment(SLURM_CONF=str(base / "slurm.conf"), PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")

    def daemon(self, *argv):
        with open(str(self.base / ("%s.log" % len(self.daemons))), "wb") as log:
            self.daemons.append(subprocess.Popen(argv, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=str(self.base)))

    def start(self):
        """What is in the way; None = it runs."""
        missing = [p for p in PROGRAMS if not shutil.which(p, path=self.env["PATH"])]
        if missing:
            return "Slurm is not installed here: there is no " + ", ".join(missing)
        ports, host = free_ports(4), socket.gethostname().split(".")[0]
        nodes = [NODE.format(n=n, host=host, port=ports[n], cpus=CPUS) for n in (1, 2, 3)]
        (self.base / "slurm.conf").write_text(CONF.format(host=host, ports=ports, user=getpass.getuser(), base=self.base, nodes="\n".join(nodes)))
        (self.base / "munge.key").write_bytes(os.urandom(128))
        (self.base / "munge.key").chmod(0o400)
        (self.base / "state").mkdir()
        self.daemon("munged", "-F", "--force", *["--%s=%s" % (what, self.base / ("munge." + end)) for what, end in
                    (("key-file", "key"), ("socket", "sock"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed"))])
        if not self.within(5, lambda: (self.base / "munge.sock").exists()):
            return "munged does not start here: " + self.log
        self.daemon("slurmctld", "-D", "-c", "-f", self.env["SLURM_CONF"])
        for n in (1, 2, 3):
            (self.base / ("spool-n%d" % n)).mkdir()
            self.daemon("slurmd", "-D", "-N", "n%d" % n, "-f", self.env["SLURM_CONF"])
        if not self.within(30, lambda: self.tool("sinfo", "-h", "-N", "-o", "%t").split() == ["idle"] * 3):
            return "Slurm does not start here: " + self.log
        return None

    @staticmethod
    def within(seconds, true):
        until = time.monotonic() + seconds
        while not true():
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    @property
    def log(self):
        return " | ".join(p.read_text(errors="replace")[-300:] for p in sorted(self.base.glob("*.log")))

    def stop(self):
        for run in self.runs:
            end(run.process)
        if len(self.daemons) > 1:
            self.tool("scancel", "--user=" + getpass.getuser())
            self.within(10, lambda: not self.jobs)
        for d in reversed(self.daemons):
            d.terminate()
        for d in self.daemons:
            try:
                d.wait(10)
            except subprocess.TimeoutExpired:
                d.kill()
                d.wait()

    def tool(self, *argv, **more):
        done = subprocess.run(argv, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, **more)
        return done.stdout.decode(errors="replace")

    @property
    def jobs(self):
        """Of the queue, a line for each: 7_1 R, 7_[2-3] PD."""
        return self.tool("squeue", "-h", "-o", "%i %t").split("\n")[:-1]

    def run(self, project, *args, **more):
        self.runs.append(SlurmRun(self, project, *args, **more))
        return self.runs[-1]

    def steps(self):
        """{job and task: its slurmstepd}: what Slurm started here and has not ended."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/environ" % pid, "rb") as f:
                    env = dict(v.partition(b"=")[::2] for v in f.read().split(b"\0"))
            except OSError:
                continue
            if env.get(b"SLURM_CONF") != self.env["SLURM_CONF"].encode() or b"SLURM_ARRAY_TASK_ID" not in env:
                continue
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                if b"\0join\0" in f.read():
                    found[(env[b"SLURM_ARRAY_JOB_ID"] + b"_" + env[b"SLURM_ARRAY_TASK_ID"]).decode()] = stat_of(int(pid))[0]
        return found


class SlurmRun(Run):
    """`xdctl run --slurm`, left running."""
    def __init__(self, slurm, project, options, n, *args, **more):
        project.count += 1
        self.project, self.slurm = project, slurm
        self.jsonl = str(project.path / ("run%d.jsonl" % project.count))
        self.out, self.err, self.changed = b"", b"", threading.Condition()
        env = dict(SLURM_CONF=slurm.env["SLURM_CONF"], MARKS=str(project.path), NAME="task", **more.pop("env", {}))
        self.process = project.start("run", "--jsonl=" + self.jsonl, "--python=" + sys.executable, "--keys=%s" % (project.path / "keys"), "--slurm", options, "-n", str(n),
                                     "--slurm-address=127.0.0.1", *(list(args) + ["-p", "no:cacheprovider"]), env=env, **more)
        self.readers = [threading.Thread(target=self.read, args=one) for one in (("out", self.process.stdout), ("err", self.process.stderr))]
        for one in self.readers:
            one.start()

    @property
    def job(self):
        return self.says(r"slurm job (\d+): ").group(1)

    def no_job(self, seconds=10):
        """Of it is in the queue."""
        wait_until(lambda: not [j for j in self.slurm.jobs if j.startswith(self.job)], "the job is gone: %s" % self.slurm.jobs, seconds)

    def tasks(self, state):
        return [j for j in self.slurm.jobs if j.startswith(self.job) and j.endswith(" " + state)]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    s = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        why = s.start()
        if why:
            print(why)
            pytest.skip(why)
        yield s
    finally:
        s.stop()


@pytest.fixture(scope="module")
def limited(slurm, tmp_path_factory):
    """A run whose only task has a time limit of a minute, on which Slurm looks each 30 seconds: it goes on beside the other tests. A worker here runs what is left."""
    p = Project(tmp_path_factory.mktemp("limited"), sys.executable)
    p.write(test_a="""
        import os, time, pytest
        @pytest.mark.parametrize("n", range(2000))
        def test_n(n):
            where = os.environ.get("SLURM_ARRAY_TASK_ID", "here")
            with open(os.path.join(os.environ["MARKS"], "ran"), "a") as f: f.write("%d %s\\n" % (n, where))
            time.sleep(0.2 if where != "here" else 0.0)
            if where == "here" and n > 20: pytest.exit("enough") if os.path.exists(os.path.join(os.environ["MARKS"], "enough")) else time.sleep(0.2)
    """)
    return slurm.run(p, "--time=1 -w n1", 1, "--tx=popen")


def let_go(project):
    (project.path / "hold").unlink()


def ran(project):
    return [m for m in os.listdir(str(project.path)) if m.endswith(".task")]


def test_a_run(slurm, project, limited):
    """Two tasks of two workers run 40 tests; their number and their words come from Slurm. The token is in nothing that others see."""
    project.write(test_a=HOLD % 36, test_env="""
        import os, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_env(n): assert "XD_TOKEN" not in os.environ and os.environ["SLURM_ARRAY_TASK_ID"] in "01" and os.environ["MINE"] == "a b"
    """)
    (project.path / "hold").write_text("")
    run = slurm.run(project, "-c 2 --comment 'a comment'", 4, env={"MINE": "a b"})
    wait_until(lambda: len(ran(project)) == 4, "a test in each worker: %r" % run.out)
    assert set(slurm.steps()) >= {run.job + "_0", run.job + "_1"}
    shown = slurm.tool("scontrol", "show", "job", "-d") + slurm.tool("squeue", "-o", "%all") + slurm.tool("scontrol", "write", "batch_script", run.job + "_0", "-")
    for pid in set(tree(run.process.pid)).union(*map(tree, slurm.steps().values())):
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            shown += f.read().decode(errors="replace").replace("\0", " ") + "\n"
    assert "a comment" in shown and "exec " in shown and " join --workers 2 " in shown and "xd-slurm-guard" in shown and "xdt1." not in shown, shown
    let_go(project)
    result = run.ends()
    assert result.rc == 0 and result.summary == {"passed": 40} and {t["worker"] for t in result.tests} == {"gw0", "gw1", "gw2", "gw3"}, result
    assert "slurm job %s: 2 tasks with 2 workers each, to join at tcp://127.0.0.1:" % run.job in result.out, result
    assert "tags slurm job=%s_0 node=n" % run.job in result.out
    run.no_job()


def test_a_shared_folder(slurm, project):
    """With --no-sync nothing is brought: the tests run where xdctl does."""
    project.write(test_a="""
        import os
        def test_a(): assert os.getcwd() == os.environ["HERE"]
    """)
    (project.path / "bin").mkdir()
    (project.path / "bin" / "join").write_text("#!/bin/sh\nexec %s join --tag mine \"$@\"\n" % XDCTL)
    (project.path / "bin" / "join").chmod(0o755)
    result = slurm.run(project, "-D /", 1, "--no-sync", "--require=mine", "--slurm-join=%s" % (project.path / "bin" / "join"), env={"HERE": str(project.root)}).ends()
    assert result.rc == 0 and result.summary == {"passed": 1}, result


def test_late_ones_are_taken_in(slurm, project):
    """A task that waits for a node joins when it gets one, and has its share."""
    blocker = slurm.tool("sbatch", "--parsable", "-c", str(CPUS), "-w", "n3", "-o", "/dev/null", "--wrap", "sleep 100", cwd=str(project.path)).strip()
    wait_until(lambda: blocker + " R" in slurm.jobs, "it blocks n3")
    project.write(test_a=HOLD % 40)
    (project.path / "hold").write_text("")
    run = slurm.run(project, "-c %d -x n1" % CPUS, 2 * CPUS)
    wait_until(lambda: len(ran(project)) == CPUS, "a test in each worker of the first task: %r %r" % (run.out, slurm.tool("squeue")))
    assert run.tasks("PD")
    slurm.tool("scancel", blocker)
    wait_until(lambda: len(ran(project)) == 2 * CPUS, "a test in each worker of the second task")
    let_go(project)
    result = run.ends()
    assert result.rc == 0 and result.summary == {"passed": 40} and len({t["worker"] for t in result.tests}) == 2 * CPUS, result


@pytest.mark.parametrize("how", ["scancel", "node"])
def test_a_task_is_lost(slurm, project, how):
    """Cancelled, or killed with what belongs to it, as when its node dies: what ran there runs elsewhere."""
    project.write(test_a=HOLD % 20)
    (project.path / "hold").write_text("")
    run = slurm.run(project, "--spread-job", 3, "--reconnect-timeout=1s")
    wait_until(lambda: len(ran(project)) == 3, "a test in each worker")
    task = run.job + "_1"
    if how == "scancel":
        slurm.tool("scancel", task)
    else:
        kill_at_once(tree(slurm.steps()[task]))
    run.says(r"lost join=")
    let_go(project)
    result = run.ends()
    assert result.rc == 0 and result.summary == {"passed": 20} and "crashed" not in result.out, result
    run.no_job()


def test_a_queue_that_does_not_start(slurm, project):
    """Slurm's own reason is told once, and is part of why the run ends."""
    project.write(test_a="def test_a(): pass\n")
    run = slurm.run(project, "--hold", 2, "--wait=5s")
    result = run.ends()
    assert result.rc == 6 and len(re.findall(r"(?m)^xd: slurm job %s waits: JobHeldUser$" % run.job, result.out)) == 1, result
    assert re.search(r"no test was run: 0 workers can start, 1 were waited for .*; slurm job \d+ waits: JobHeldUser", result.out), result
    run.no_job()


def test_tasks_that_fail(slurm, project):
    """Nobody waits for a job that is over."""
    project.write(test_a="def test_a(): pass\n")
    begin = time.monotonic()
    run = slurm.run(project, "-o %s" % (project.path / "said-%a"), 2, "--slurm-join=/nonexistent/xdctl join --agent x")
    result = run.ends()
    assert result.rc == 6 and time.monotonic() - begin < 20, result
    assert re.search(r"no test was run: .*; slurm job %s has ended: FAILED NonZeroExitCode" % run.job, result.out), result
    assert "/nonexistent/xdctl" in (project.path / "said-0").read_text()


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGINT])
def test_the_end_of_the_controller(slurm, project, sig):
    """Nothing of the job is left in the queue, neither what runs nor what waits."""
    project.write(test_a=HOLD % 20)
    (project.path / "hold").write_text("")
    run = slurm.run(project, "-c %d -w n2" % CPUS, 3 * CPUS, "--grace=0s")
    wait_until(lambda: len(ran(project)) == CPUS, "a test in each worker of the only task that can run")
    assert run.tasks("R") and run.tasks("PD")
    steps = slurm.steps()
    started = set(tree(run.process.pid)).union(*(tree(s) for t, s in steps.items() if t.startswith(run.job)))
    run.process.send_signal(sig)
    assert run.ends().rc == (-signal.SIGKILL if sig == signal.SIGKILL else 2)
    run.no_job()
    wait_until(lambda: not [p for p in started if (stat_of(p) or (0, "X"))[1] not in "ZX"], "the end of what it started")


def test_killed_while_it_submits(slurm, project):
    """A job that nobody has heard of yet is cancelled, too."""
    project.write(test_a="def test_a(): pass\n")
    (project.path / "bin").mkdir()
    sbatch, begun, job = project.path / "bin" / "sbatch", project.path / "begun", project.path / "job"
    sbatch.write_text('#!/bin/sh\n>%s\nsleep 0.7\nid=$(%s "$@") && echo "$id" >%s.new && mv %s.new %s && echo "$id"\n' % (begun, shutil.which("sbatch"), job, job, job))
    sbatch.chmod(0o755)
    run = slurm.run(project, "--hold", 2, env={"PATH": "%s:%s" % (project.path / "bin", os.environ["PATH"])})
    wait_until(begun.exists, "sbatch runs")
    run.process.kill()
    wait_until(job.exists, "the job is submitted")
    wait_until(lambda: not [j for j in slurm.jobs if j.startswith(job.read_text().strip() + "_")], "it is gone: %s" % slurm.jobs, 5)
    run.ends()


def test_what_cannot_be(slurm, project):
    """Exit code 4: the command line is wrong; 6: Slurm says no, or is not there."""
    project.write(test_a="def test_a(): pass\n")
    for options, n, words in (("--array=0-9", "2", "option --slurm: --array=0-9: xd sets it"), ("job.sh", "2", "'job.sh' is no option of sbatch"),
                              ("", "auto", "-n N says how many workers"), ("-c x", "2", "-c x: a number from 1 to 1024 is expected")):
        result = slurm.run(project, options, n).ends()
        assert result.rc == 4 and words in result.err and result.err.count("\n") == 1, result
    result = project.xdctl("run", "--slurm-address=h", ".")
    assert result.rc == 4 and "--slurm-address: it is of use with --slurm alone" in result.err, result
    result = slurm.run(project, "-p nix", 2).ends()
    assert result.rc == 6 and "the job was not submitted: sbatch: error: invalid partition specified: nix" in result.err and result.err.count("\n") == 1, result
    (project.path / "bin").mkdir()
    result = slurm.run(project, "", 2, env={"PATH": str(project.path / "bin")}).ends()
    assert result.rc == 6 and "there is no sbatch on PATH" in result.err and result.err.count("\n") == 1, result


def test_before_its_time_limit_a_task_leaves(slurm, limited):
    """Slurm's SIGTERM reaches the join alone: its tests end as they would, nothing is lost, and the others go on."""
    limited.says(r"joins: 1 worker")
    limited.says(r"leaves: what it has not begun goes to others", 95)
    limited.no_job()
    (limited.project.path / "enough").write_text("")
    result = limited.ends()
    lines = [line.split() for line in (limited.project.path / "ran").read_text().splitlines()]
    assert "lost" not in result.out and {where for _, where in lines} == {"0", "here"} and len({n for n, _ in lines}) == len(lines), result
