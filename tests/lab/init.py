"""The process that holds a lab: `python -m lab.init`, started by Lab (lab/__init__.py).

It reads a plan as one line of JSON, answers {"up": ...} or {"failed": reason}, and then takes one command a line.  When its input
ends, because the lab was closed or the process that made it was killed, all goes: with namespaces the kernel ends every process of
the lab's PID namespace, and interfaces and mounts go with the namespaces; without, this process ends all that stems from it."""
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

from . import host as a_host
from . import link, linux

PATIENCE = 30.0
BRIDGE = "02:00:0a:58:ff:01"
NOBODY = "02:00:0a:58:fe:fe"


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def mac(host):
    return "02:00:0a:58:00:%02x" % host["number"]


def run_ip(lines, inside=None):
    enter = ["nsenter", "--net=" + inside] if inside else []
    done = subprocess.run(enter + ["ip", "-batch", "-"], input="\n".join(lines + [""]).encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise OSError("ip: " + done.stdout.decode(errors="replace").strip())


class Network(object):
    """The hosts of a lab in namespaces, as seen from the first process of the lab's PID namespace."""

    def __init__(self, plan):
        self.plan, self.hosts = plan, {h["name"]: h for h in plan["hosts"]}
        self.links = {}

    def start(self):
        linux.private_mounts()
        for name, path in self.plan["files"].items():
            linux.bind(os.open(path, os.O_PATH), name)
        pipes = {}
        for host in self.plan["hosts"]:
            pipes[host["name"]] = self.fork(host)
        batch = ["link set lo up", "link add br0 address %s type bridge" % BRIDGE, "addr add %s/16 dev br0" % self.plan["address"], "link set br0 up"]
        for host in self.plan["hosts"]:
            batch += ["link add v%(number)d type veth peer name eth0 address {mac} netns %(init)d".format(mac=mac(host)) % host,
                      "link set v%(number)d master br0 up" % host, self.neighbour(host)]
        run_ip(batch)
        for host in self.plan["hosts"]:
            os.write(pipes[host["name"]][1], b"g")
        for host in self.plan["hosts"]:
            ready, go = pipes[host["name"]]
            line = ready.readline().strip()
            if line.startswith(b"lacks "):
                raise a_host.Lacking("host %s: %s" % (host["name"], line[6:].decode(errors="replace")))
            if line != b"up":
                raise OSError("host %s: %s" % (host["name"], line.decode(errors="replace") or "its first process ended"))
            ready.close()
            os.close(go)

    def neighbour(self, host):
        # Permanent: a host behind a partition is silent; without this the kernel would say "no route to host".
        return "neigh replace %s lladdr %s dev br0 nud permanent" % (host["address"], mac(host))

    def fork(self, host):
        """A host's first process in a PID namespace of its own, waiting for its network: (what it says, where to say go)."""
        ready, go = os.pipe(), os.pipe()
        between = os.fork()
        if between == 0:
            linux.unshare(linux.NEWPID)
            first = os.fork()
            if first == 0:
                os.close(go[1])
                a_host.main(host, ready[1], go[0])
            os.write(ready[1], b"init %d\n" % first)
            os._exit(0)
        os.waitpid(between, 0)
        os.close(ready[1])
        os.close(go[0])
        says = os.fdopen(ready[0], "rb")
        for _ in range(2):  # "init" = its pid here, "pid" = where the lab was asked for
            name, _, number = says.readline().decode().partition(" ")
            if name not in ("init", "pid"):
                raise OSError("host %s: %s %s" % (host["name"], name, number))
            host[name] = int(number)
        return says, go[1]

    def inside(self, name):
        return "/proc/%d/ns/net" % self.hosts[name]["pid"]

    def port(self, name):
        return ("t%d" if name in self.links else "v%d") % self.hosts[name]["number"]

    def do_partition(self, name, way=None):
        """`way`: "to" or "from" = only packets to the host, or from it, are dropped: they go to an address that nobody has."""
        if way == "to":
            run_ip(["neigh replace %s lladdr %s dev br0 nud permanent" % (self.hosts[name]["address"], NOBODY)])
        elif way == "from":
            run_ip(["neigh replace %s lladdr %s dev eth0 nud permanent" % (self.plan["address"], NOBODY)], self.inside(name))
        else:
            subprocess.run(["bridge", "link", "set", "dev", self.port(name), "state", "0"], check=True)

    def do_heal(self, name):
        run_ip([self.neighbour(self.hosts[name])])
        run_ip(["neigh replace %s lladdr %s dev eth0 nud permanent" % (self.plan["address"], BRIDGE)], self.inside(name))
        subprocess.run(["bridge", "link", "set", "dev", self.port(name), "state", "3"], check=True)

    def do_reset(self, name):
        """The host's connections with the controller end with RST, both ways."""
        subprocess.run(["nsenter", "--net=" + self.inside(name), "ss", "-K", "dst", self.plan["address"]], check=True, stdout=subprocess.DEVNULL)

    def do_power_off(self, name):
        self.do_partition(name)
        os.kill(self.hosts[name]["init"], signal.SIGKILL)

    def do_link(self, name, rtt_ms, loss):
        if self.plan["netem"]:
            for enter, device in (([], self.port(name)), (["nsenter", "--net=" + self.inside(name)], "eth0")):
                subprocess.run(enter + ["tc", "qdisc", "replace", "dev", device, "root", "netem", "limit", str(link.QUEUE),
                                        "delay", "%gms" % (rtt_ms / 2), "loss", "%g%%" % (loss * 100)], check=True)
            return
        wanted = {"rtt_ms": rtt_ms, "loss": loss}
        if name not in self.links:
            self.replace_link(name, wanted)
        else:
            os.write(self.links[name], json.dumps(wanted).encode() + b"\n")

    def replace_link(self, name, wanted):
        """A TAP pair instead of the veth pair: same address, so connections go on."""
        host = self.hosts[name]
        try:
            pair = link.open_pair(self.inside(name), "tap0", "t%d" % host["number"])
        except OSError as e:
            raise a_host.Lacking("a slow link needs netem in the kernel, or /dev/net/tun: %s" % e)
        run_ip(["link set eth0 down", "link set eth0 address 02:00:0a:58:01:%02x" % host["number"], "addr flush dev eth0", "link set eth0 name veth0",
                "link set tap0 name eth0", "link set eth0 address %s up" % mac(host), "addr add %(address)s/16 dev eth0" % host,
                "neigh replace %s lladdr %s dev eth0 nud permanent" % (self.plan["address"], BRIDGE)], self.inside(name))
        run_ip(["link set v%d down" % host["number"], "link set t%d master br0 up" % host["number"]])
        control = os.pipe()
        if os.fork() == 0:
            os.close(control[1])
            os.close(0)
            try:
                link.carry(pair, control[0], wanted)
            finally:
                os._exit(0)
        os.close(control[0])
        for fd in pair:
            os.close(fd)
        self.links[name] = control[1]


class Loopback(object):
    """The hosts of a lab without namespaces: an sshd each on 127.0.0.1."""

    def __init__(self, plan):
        self.plan, self.kept = plan, []

    def start(self):
        linux.adopt_orphans()
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", 0o755, exist_ok=True)  # what the service's start would make
        for host in self.plan["hosts"]:
            self.kept += a_host.serve(host)


def answers(host):
    """Is its port open, with the first line of an sshd where it has one?"""
    try:
        with socket.create_connection((host["address"], host["port"]), 1.0) as s:
            return host["server"] == "mute" or s.recv(4) != b""
    except OSError:
        return False


def wait_for_all(plan):
    until = time.monotonic() + PATIENCE
    for host in plan["hosts"]:
        while host["server"] != "none" and not answers(host):
            if time.monotonic() > until:
                log = os.path.join(host["folder"], "etc", "sshd.log")
                text = open(log, errors="replace").read()[-600:] if os.path.exists(log) else "it has no log"
                raise OSError("the server of %s does not listen on port %d: %s" % (host["name"], host["port"], text))
            time.sleep(0.01)


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def obey(network):
    """Commands until the input ends."""
    data = b""
    while True:
        if not select.select([0], [], [], 0.5)[0]:
            reap()
            continue
        more = os.read(0, 65536)
        if not more:
            return
        *lines, data = (data + more).split(b"\n")
        for line in lines:
            command = json.loads(line)
            try:
                getattr(network, "do_" + command.pop("do"))(**command)
                say(done=True)
            except a_host.Lacking as e:
                say(lacks=str(e))
            except Exception as e:
                say(failed="%s: %s" % (type(e).__name__, e))


def hold(plan):
    network = (Network if plan["namespaces"] else Loopback)(plan)
    try:
        network.start()
        wait_for_all(plan)
    except a_host.Lacking as e:
        say(lacks=str(e))
        return 1
    except Exception as e:
        say(failed="%s: %s" % (type(e).__name__, e))
        return 1
    say(up={h["name"]: h.get("pid", 0) for h in plan["hosts"]})
    obey(network)
    return 0


def end_rest(plan):
    """What is still there when the lab has ended: without namespaces its processes; with them, commands that a test left in its network."""
    me, until = os.getpid(), time.monotonic() + 10
    while time.monotonic() < until:
        rest = linux.processes("net", os.readlink("/proc/self/ns/net")) if plan["namespaces"] else linux.descendants(me)
        rest = [pid for pid in rest if pid != me]
        if not rest:
            return
        for pid in rest:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        reap()
        time.sleep(0.02)


def main():
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the end of the input ends the lab
    plan = json.loads(sys.stdin.buffer.raw.readline())
    if plan["namespaces"]:
        try:
            linux.unshare(linux.NEWPID | linux.NEWNET | linux.NEWNS)
        except OSError as e:
            say(lacks="no namespaces here: %s" % e)
            return 1
    else:
        linux.adopt_orphans()
    parent = os.getpid()
    held = os.fork()
    if held == 0:
        linux.die_with_parent(parent)
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_DFL)  # an ignored signal would be ignored by all that sshd starts
        os._exit(hold(plan))
    sys.stdout = open(os.devnull, "w")
    os.close(0)
    os.close(1)
    status = os.waitpid(held, 0)[1]
    end_rest(plan)
    if plan["remove"]:
        shutil.rmtree(plan["folder"], ignore_errors=True)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
