"""The lab itself: hosts that can be reached, slow and lossy links, partitions, what is a host's own, odd sshds, and nothing left."""
import fcntl
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time

import pytest

from conftest import HERE
from lab import ROOT


def rtts(lab, name, count=5):
    """Round-trip times in ms, of echoes over one connection: the least is that of the link."""
    program = ("import socket, sys, time\n"
               "s = socket.create_connection((sys.argv[1], 7000)); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n"
               "for _ in range(int(sys.argv[2])):\n"
               "    t = time.monotonic(); s.sendall(b'x'); s.recv(1); print((time.monotonic() - t) * 1000)\n")
    server = ("import socket\ns = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 7000)); s.listen(1); print('up', flush=True); c = s.accept()[0]\n"
              "c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\nd = c.recv(1)\nwhile d: c.sendall(d); d = c.recv(1)\n")
    echo = lab.popen(lab.ssh_argv(name) + ["python3 -c \"%s\"" % server], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert echo.stdout.readline() == b"up\n"
        done = lab.run([sys.executable, "-c", program, lab[name].address, count])
        assert done.returncode == 0, done
        return [float(line) for line in done.stdout.split()]
    finally:
        echo.kill()
        echo.communicate()


def test_hosts_can_be_reached_and_are_their_own(lab):
    three = lab(3)
    for host in three.hosts:
        done = three.ssh(host.name, "hostname; pwd; echo $HOME; ls -A /tmp; ls -d %s; python3 -c 'import pytest, sys; print(sys.executable)'" % ROOT)
        assert done.stdout.split("\n") == [host.name, "/root", "/root", "/srv/venv/bin/python3", ""], done
        assert "No such file" in done.stderr  # the source tree is not there
    (three["h2"].home / "only here").write_text("two")
    assert three.ssh("h2", "cat 'only here'").stdout == "two"
    assert three.ssh("h1", "cat 'only here'").returncode == 1
    done = three.ssh("h1", "touch /usr/bin/of-a-test")
    assert done.returncode == 1 and "Read-only" in done.stderr
    assert three.ssh("h1", "id -un", "-l", "tester").stdout == "tester\n"
    assert len({(host.folder / "etc" / "host_key.pub").read_text() for host in three.hosts}) == 3


def test_a_host_without_namespaces(lab):
    local = lab([{}, {"sshd": ["PermitTTY no"]}], namespaces=False)
    for name in ("h1", "h2"):
        done = local.ssh(name, "echo $HOME; python3 -c 'import pytest, sys; print(sys.prefix)'")
        assert done.stdout == "%s\n%s\n" % (local[name].home, sys.prefix), done
    assert "PTY allocation request failed" in local.ssh("h2", "true", "-tt").stderr
    sleeper = local.popen(local.ssh_argv("h1") + ["sleep 60"])
    until = time.monotonic() + 10
    while not any("sleep 60" in line for line in local["h1"].processes().values()) and time.monotonic() < until:
        time.sleep(0.05)
    mine = [pid for pid, line in local["h1"].processes().items() if "sleep 60" in line]
    assert mine
    local.close()
    assert sleeper.wait(10) == 255
    assert not any(os.path.exists("/proc/%d" % pid) for pid in mine)


def test_the_controller_has_a_home_of_its_own(lab):
    one = lab(1)
    done = one.run(["sh", "-c", "echo $HOME; echo ~; python3 -c 'import os, pwd; print(pwd.getpwuid(os.getuid()).pw_dir)'; ssh h1 true && ssh -p %d root@h1 true" % one["h1"].port])
    assert (done.returncode, done.stdout) == (0, "%s\n" % one.home * 3), done


def test_twenty_hosts_start_within_a_few_seconds(lab):
    begin = time.monotonic()
    many = lab(20)
    took = time.monotonic() - begin
    clients = [many.popen(many.ssh_argv(host.name) + ["hostname"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for host in many.hosts]
    assert [client.communicate(timeout=60)[0].decode().strip() for client in clients] == [host.name for host in many.hosts]
    print("20 hosts: %.1f s" % took)
    assert took < 20  # 1.5 s on two idle cores


def test_a_slow_link(lab):
    two = lab(2)
    two.set_link("h1", rtt_ms=60)
    slow, fast = min(rtts(two, "h1")), min(rtts(two, "h2"))
    assert 58 < slow < 200 and fast < 30, (slow, fast)
    two.set_link("h1", rtt_ms=10)
    again = min(rtts(two, "h1"))
    assert 8 < again < slow


def test_a_lossy_link_loses_and_tcp_repeats(lab):
    one = lab(1)
    one.set_link("h1", loss=0.1)
    (one["h1"].home / "data").write_bytes(b"0123456789abcdef" * 16384)
    done = one.run(one.ssh_argv("h1") + ["cat data; grep Tcp: /proc/net/snmp"])
    assert done.returncode == 0
    data, _, rest = done.stdout.partition("Tcp:")
    assert data == "0123456789abcdef" * 16384
    names, numbers = ("Tcp:" + rest).splitlines()[:2]
    assert int(dict(zip(names.split(), numbers.split()))["RetransSegs"]) > 0


def test_a_partition_is_silent_and_heals(lab):
    two = lab(2)
    open_one = two.popen(two.ssh_argv("h1") + ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    open_one.stdin.write(b"before\n")
    open_one.stdin.flush()
    assert open_one.stdout.readline() == b"before\n"
    two.partition("h1")
    open_one.stdin.write(b"during\n")
    open_one.stdin.flush()
    done = two.ssh("h1", "true", "-oConnectTimeout=2")
    assert done.returncode == 255 and "timed out" in done.stderr, done
    assert two.ssh("h2", "true").returncode == 0
    assert open_one.poll() is None
    two.heal("h1")
    assert open_one.stdout.readline() == b"during\n"
    assert open_one.communicate(timeout=30)[0] == b"" and open_one.returncode == 0


def test_a_partition_of_a_slow_link(lab):
    one = lab(1)
    one.set_link("h1", rtt_ms=20)
    one.partition("h1")
    assert one.ssh("h1", "true", "-oConnectTimeout=2").returncode == 255
    one.heal("h1")
    assert one.ssh("h1", "true").returncode == 0


def test_power_off_is_silent(lab):
    one = lab(1)
    client = one.popen(one.ssh_argv("h1") + ["echo up; sleep 60"], stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"up\n"
    running = list(one["h1"].processes())
    one.power_off("h1")
    until = time.monotonic() + 10
    while any(os.path.exists("/proc/%d" % pid) for pid in running) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(os.path.exists("/proc/%d" % pid) for pid in running)
    assert client.poll() is None  # no FIN and no RST came
    client.kill()
    client.communicate()


@pytest.mark.parametrize("plan, command, options, expected", [
    ({"sshd": ["PermitTTY no"]}, "true", ["-tt"], "PTY allocation request failed"),
    ({"sshd": ["ForceCommand echo forced"]}, "echo asked", [], "forced"),
    ({"banner": 100}, "true", [], "line 100 of the banner"),
    ({"profile": "echo noise of the profile"}, "true", [], "noise of the profile"),
    ({"profile": "echo noise of the profile", "shell": "/bin/csh"}, "true", [], "noise of the profile"),
    ({"profile": "echo noise of the profile", "shell": "/usr/bin/fish"}, "true", [], "noise of the profile"),
    ({"shell": "/bin/csh"}, "echo $shell", [], "/bin/csh"),
    ({"shell": "/usr/bin/fish"}, "echo $version", [], "."),
    ({"shell": "/usr/sbin/nologin"}, "true", [], "This account is currently not available"),
    ({"python": None}, "python3 -V", [], "not found"),
    ({"python": "bare"}, "python3 -m pytest", [], "No module named pytest"),
    ({"server": "none"}, "true", [], "Connection refused"),
    ({"server": "cut"}, "true", [], "Connection closed by"),
    ({"server": "mute"}, "true", ["-oConnectTimeout=2"], "Connection timed out during banner exchange"),
    ({"storage": {"~": "readonly"}}, "touch ~/x", [], "Read-only file system"),
    ({"storage": {"~": "full"}}, "echo more > ~/x", [], "No space left on device"),
    ({"storage": {"~": "noexec"}}, "cp /bin/true ~; ~/true", [], "Permission denied"),
    ({"storage": {"/tmp": "full", "/dev/shm": "noexec"}}, "echo more > /tmp/x", [], "No space left on device"),
    ({"user": "tester"}, "id -un; pwd", [], "tester\n/home/tester"),
], ids=str)
def test_odd_hosts(lab, plan, command, options, expected):
    if plan.get("shell") and not os.path.exists(plan["shell"]):
        pytest.skip("no %s here" % plan["shell"])
    one = lab([plan])
    done = one.ssh("h1", command, *options)
    assert expected in done.stdout + done.stderr, done


def test_max_sessions_and_rekeying(lab):
    two = lab([{"sshd": ["MaxSessions 1"]}, {"sshd": ["RekeyLimit 1M"]}])
    control = "-oControlPath=%s/control" % two.home
    master = two.popen(two.ssh_argv("h1", "-M", control) + ["echo up; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert master.stdout.readline() == b"up\n"
    refused = two.ssh("h1", "true", control, "-oControlMaster=no", "-oProxyCommand=false")
    assert refused.returncode == 255 and "Session open refused" in refused.stderr, refused
    master.communicate()
    done = two.run(two.ssh_argv("h2", "-v") + ["head -c 8000000 /dev/zero"])
    assert done.returncode == 0 and done.stderr.count("rekey") > 3 and len(done.stdout) == 8000000


def test_max_startups(lab):
    one = lab([{"sshd": ["MaxStartups 2"]}])
    taken = "import socket, time\ns = [socket.create_connection(('%s', %d)) for _ in range(2)]\nprint('up', [c.recv(4) for c in s], flush=True)\ntime.sleep(60)" % (one["h1"].address, one["h1"].port)
    holder = one.popen([sys.executable, "-c", taken], stdout=subprocess.PIPE)
    assert holder.stdout.readline().startswith(b"up")
    done = one.ssh("h1", "true")
    assert done.returncode == 255 and ("Connection closed" in done.stderr or "reset" in done.stderr), done
    holder.kill()
    holder.communicate()


def interfaces():
    return sorted(os.listdir("/sys/class/net"))


@pytest.mark.parametrize("how", ["closed", "killed"])
@pytest.mark.parametrize("namespaces", [True, False], ids=["namespaces", "loopback"])
def test_nothing_is_left(tmp_path, how, namespaces):
    """The owner is another process; it ends, or is killed with -9 while sessions and a command of the controller run."""
    owner = """if True:
        import subprocess, sys, time
        sys.path.insert(0, %r)
        from lab import Lab, Unavailable
        try:
            lab = Lab(3, namespaces=%r)
        except Unavailable as e:
            print("no", e, flush=True); sys.exit()
        if lab.namespaces:
            lab.set_link("h2", rtt_ms=10)
        clients = [lab.popen(lab.ssh_argv(h.name) + ["sleep 61 & setsid sleep 62 & sleep 63"], stdin=subprocess.DEVNULL) for h in lab.hosts]
        while not all(len([l for l in h.processes().values() if l.startswith("sleep 6")]) == 3 for h in lab.hosts):
            time.sleep(0.05)
        hosts, now = None, []
        while hosts != now:  # some of a login's live a moment only
            time.sleep(0.2)
            hosts, now = now, sorted(pid for h in lab.hosts for pid in h.processes())
        print(lab.folder, lab.process.pid, *([c.pid for c in clients] + hosts), flush=True)
        sys.stdin.read()
        lab.close()
        [c.wait() for c in clients]
    """ % (os.path.dirname(HERE), namespaces)
    before = interfaces(), open("/proc/mounts").read()
    process = subprocess.Popen([sys.executable, "-c", owner], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    words = process.stdout.readline().decode().split()
    if words and words[0] == "no":
        process.communicate()
        pytest.skip(" ".join(words[1:]))
    folder, pids = words[0], [int(w) for w in words[1:]]
    assert os.path.isdir(folder) and len(pids) > 12 and all(os.path.exists("/proc/%d" % pid) for pid in pids)
    if how == "killed":
        process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    until = time.monotonic() + 20
    gone = lambda: not os.path.exists(folder) and not [p for p in pids if alive(p)]  # noqa: E731
    while not gone() and time.monotonic() < until:
        time.sleep(0.05)
    assert gone(), (os.path.exists(folder), [p for p in pids if alive(p)])
    assert (interfaces(), open("/proc/mounts").read()) == before


def alive(pid):
    """A zombie whose parent is not ours to make wait does not count."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_labs_side_by_side(lab):
    first, second = lab(1), lab(1)
    assert first["h1"].address == second["h1"].address
    (first["h1"].home / "first").write_text("")
    assert (first.ssh("h1", "ls").stdout, second.ssh("h1", "ls").stdout) == ("first\n", "")


def test_a_lab_says_why_it_cannot_be(open_folder):
    """A user without rights gets a reason; the mode without namespaces works for him."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    if not shutil.which("runuser"):
        pytest.skip("no runuser here")
    copy = open_folder / "tests"
    copy.mkdir()
    shutil.copytree(os.path.join(os.path.dirname(HERE), "lab"), str(copy / "lab"), ignore=shutil.ignore_patterns("__pycache__"))
    program = ("import sys; sys.path.insert(0, %r)\nfrom lab import Lab, Unavailable\n"
               "try: Lab(1)\nexcept Unavailable as e: print(e)\n"
               "with Lab.best(1) as lab: print(lab.namespaces, lab.ssh('h1', 'id -un').stdout)" % str(copy))
    python = "/usr/bin/python3"
    if not os.path.exists(python):
        pytest.skip("no Python here that every user can run")
    done = subprocess.run(["runuser", "-u", "backup", "--", python, "-c", program], cwd="/", env={"PATH": os.environ["PATH"], "HOME": "/var/backups", "TMPDIR": "/tmp"},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60)
    assert "need root" in done.stdout, done
    closed = "nologin" in pwd.getpwnam("backup").pw_shell  # sshd answered, and its shell says so
    assert ("False This account" if closed else "False backup") in done.stdout, done


def test_the_shell_of_the_lab(tmp_path):
    """tools/dev lab: on a terminal, with commands that change the network; what the shell leaves running ends with it."""
    master, slave = os.openpty()
    process = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(HERE), "lab", "__main__.py"), "2"], cwd=str(tmp_path), stdin=slave, stdout=slave,
                               stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(slave)
    # -n: ssh would read what is typed ahead for the shell.
    os.write(master, b"ssh -n h2 hostname -s | sed s/^/from:/; lab partition h2; ssh -n -oConnectTimeout=1 h2 true; lab heal h2; ssh -n h2 echo heal''ed; pwd\n"
                     b"sleep 64 & echo left:$!:\nexit 7\n")
    out, until = b"", time.monotonic() + 60
    try:
        while select.select([master], [], [], max(0, until - time.monotonic()))[0]:
            out += os.read(master, 65536)
    except OSError:
        pass  # EIO: the last process of the terminal has ended
    os.close(master)  # of a shell that still waits: it is hung up
    code = process.wait(30)
    if b"no namespaces" in out or b"needs network namespaces" in out:
        pytest.skip("no namespaces here")
    assert code == 7, out
    assert b"from:h2\r\n" in out and b"timed out" in out and b"healed\r\n" in out and str(tmp_path).encode() in out, out
    assert not alive(int(re.search(rb"left:(\d+):", out).group(1)))
