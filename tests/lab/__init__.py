"""A lab: hosts with an sshd each, on this machine, for tests and for people (`tools/dev lab 3`).

    with Lab(3) as lab:                                  # h1, h2, h3, each a network namespace on one bridge
        lab.run(["ssh", "h1", "hostname"])               # a command of the controller
        lab.partition("h2"); lab.heal("h2")              # all packets dropped, silently; carried again
        lab.set_link("h3", rtt_ms=50, loss=0.01)
        (lab["h1"].home / "proj").mkdir()                # the host's home folder, seen from here

    Lab([{"sshd": ["MaxSessions 1"]}, {"shell": "/usr/bin/fish"}, {"server": "mute"}])     # what a host can be: HOST below

What is a host's own: network, hostname, PIDs, IPC, sshd with its key, configuration and port, /root and /home, /tmp, /var/tmp, /run,
/dev/shm, and a Python (`python3`, `pytest`: those of the interpreter asked for, at another path).  The source tree and the homes of
this machine are not there; the rest of its file system is, read-only.  The controller has a home folder of its own, with
.ssh/config, a key and known_hosts; commands run by `run` and `popen` see it as theirs, and h1 ... in /etc/hosts.

Without namespaces (`Lab(n, namespaces=False)`, or where none can be made: `Lab.best`) the hosts are sshds on 127.0.0.1 under the
user who asks.  HOME is the host's own then, and PATH begins with its Python; there is no partition, no link, no storage of its own.

A lab that cannot be made raises Unavailable, which says why: a test then skips.  The lab ends with the process that made it, however
that ends; nothing of it stays (lab/init.py)."""
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading

from . import linux

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
ROOT = os.path.dirname(TESTS)
MOST = 100
CONTROLLER = "10.88.0.1"
TESTER = 64123
SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib64", "media", "mnt", "opt", "proc", "run", "sbin", "srv", "sys", "usr", "var")
SHARED = ("root", "home", "tmp")  # a host has its own

HOST = {
    "name": None,       # h1, h2, ... when not given
    "server": "sshd",   # "dropbear".  "mute": accepts, says nothing.  "cut": cuts each connection in authentication.  "none": nothing listens
    "sshd": (),         # lines of sshd_config, in front of the lab's
    "keys": ("ed25519",),  # kinds of host keys (dropbear has the first one)
    "shadow": {},       # {user: what follows the name in /etc/shadow}; default: no password, nothing expires
    "banner": 0,        # so many lines before authentication
    "shell": None,      # the users' login shell; default /bin/bash (without namespaces: the user's own, always)
    "profile": "",      # shell commands at the start of what the shells read: .bashrc, .profile, .cshrc, .zshenv, config.fish
    "user": "root",     # who logs in; "tester" is there too (without namespaces: whoever asks)
    "python": "same",   # the interpreter of the tests, with its packages; PATH of another; "bare": without packages; None: no Python
    "storage": {},      # {"~" or a folder of its own: "full", "readonly", "noexec"}
}


class Unavailable(Exception):
    """The machine lacks what a lab needs; the text says what."""


class LabError(Exception):
    pass


def need(*programs):
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    missing = [p for p in programs if not shutil.which(p, path=path)]
    if missing:
        raise Unavailable("no %s here (apt-get install openssh-server openssh-client iproute2 util-linux dropbear-bin)" % ", ".join(missing))
    return [shutil.which(p, path=path) for p in programs]


def can_make_namespaces():
    """Why not, or None."""
    if os.geteuid() != 0:
        return "network namespaces with sshds need root"
    try:
        need("ip", "bridge", "nsenter", "unshare")
    except Unavailable as e:
        return str(e)
    done = subprocess.run(["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "ip", "link", "add", "br0", "type", "bridge"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    return "no namespaces here: " + done.stdout.decode(errors="replace").strip().replace("\n", " ") if done.returncode else None


def interpreter(python):
    """What a host must be given of an interpreter of this machine."""
    ask = ("import json, sys, sysconfig; print(json.dumps(dict(prefix=sys.base_prefix, site=sysconfig.get_paths()['purelib'], "
           "version='%d.%d.%d' % sys.version_info[:3], name='python%d.%d' % sys.version_info[:2], base=getattr(sys, '_base_executable', sys.executable))))")
    facts = json.loads(subprocess.run([python, "-c", ask], stdout=subprocess.PIPE, check=True).stdout.decode())
    facts["base"] = os.path.realpath(facts["base"])
    facts["executable"] = python
    return facts


def hidden_folders():
    """Where the source tree and its virtual environment lie, so that no host sees them."""
    hidden = set()
    for path in (ROOT, os.path.realpath(sys.prefix)):
        top = path.split("/")[1]
        if top in SHARED or path == "/usr" or path == sys.base_prefix:
            continue
        hidden.add(path if top in SYSTEM else "/" + top)
    return sorted(h for h in hidden if not any(h.startswith(other + "/") for other in hidden))


def write(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


class Host(object):
    """A host as a test sees it.  `folder` has what is its own; `home` is the home folder of its user, `log` that of its sshd."""

    def __init__(self, lab, number, plan):
        unknown = set(plan) - set(HOST)
        if unknown:
            raise ValueError("a host of the lab has no %s" % ", ".join(sorted(unknown)))
        self.__dict__.update(dict(HOST, **plan))
        self.lab, self.number, self.pid = lab, number, 0
        self.name = self.name or "h%d" % number
        self.folder = lab.folder / self.name
        self.namespaces = lab.namespaces
        if lab.namespaces:
            self.address, self.port = "10.88.0.%d" % (10 + number), 2200 + number
            self.home_there = "/root" if self.user == "root" else "/home/" + self.user
            self.etc_there = "/run/lab"
        else:
            if self.storage or self.user not in ("root", lab.user) or self.shell or self.shadow or self.server == "dropbear":
                raise Unavailable("storage, user, shell, shadow and dropbear of a host need namespaces, and there are none here")
            self.address, self.port, self.user = "127.0.0.1", free_port(), lab.user
            self.home_there = str(self.folder / "root")
            self.etc_there = str(self.folder / "etc")
        self.behind = self.port if self.server != "cut" else self.port + 1000 if lab.namespaces else free_port()
        self.home = self.folder / ("tester" if self.user == "tester" else "root")
        self.log = self.folder / "etc" / "sshd.log"
        self.host_keys = [self.folder / "etc" / ("host_key" + ("_" + kind if n else "")) for n, kind in enumerate(self.keys)]
        self.facts = None

    def there(self, path):
        """A path below `home` as the host calls it."""
        return os.path.join(self.home_there, str(pathlib.Path(path).relative_to(self.home)))

    def prepare(self):
        for name, mode in (("root", 0o755), ("tester", 0o755), ("tmp", 0o1777), ("vartmp", 0o1777), ("etc", 0o755), ("bin", 0o755), ("files", 0o755)):
            (self.folder / name).mkdir(parents=True)
            os.chmod(str(self.folder / name), mode)
        if os.geteuid() == 0:
            os.chown(str(self.folder / "tester"), TESTER, TESTER)
        if self.server in ("sshd", "cut"):
            self.write_sshd()
        self.write_profile()
        if self.python is not None:
            self.facts = dict(self.lab.interpreter(sys.executable if self.python in ("same", "bare") else self.python))
            if self.python == "bare":
                self.facts["site"] = None
            self.write_programs()
        if self.namespaces:
            self.write_files()

    def write_sshd(self):
        etc = self.folder / "etc"
        there = self.etc_there
        lines = list(self.sshd)
        if self.banner:
            write(str(etc / "banner"), "".join("line %d of the banner\n" % (n + 1) for n in range(self.banner)))
            lines.append("Banner %s/banner" % there)
        if not self.namespaces:
            lines.append("SetEnv HOME=%s PATH=%s:%s" % (self.home_there, self.folder / "bin", "/usr/local/bin:/usr/bin:/bin"))
        lines += ["Port %d" % self.behind, "ListenAddress %s" % ("127.0.0.1" if self.server == "cut" or not self.namespaces else "0.0.0.0"),
                  "AuthorizedKeysFile %s/authorized_keys" % there, "PidFile none", "StrictModes no", "UsePAM no",
                  "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin yes", "PrintMotd no", "PrintLastLog no",
                  "LogLevel VERBOSE"] + ["HostKey %s/%s" % (there, key.name) for key in self.host_keys]
        write(str(etc / "sshd_config"), "\n".join(lines) + "\n", 0o600)

    def prepare_dropbear(self, authorized):
        """It has a format of its own for keys, and looks for those of users in their homes only."""
        key = self.host_keys[0]
        subprocess.run(["dropbearconvert", "openssh", "dropbear", str(key), str(key.with_suffix(".dropbear"))], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        folder = self.home / ".ssh"
        folder.mkdir(mode=0o700)
        write(str(folder / "authorized_keys"), authorized, 0o600)
        if self.user == "tester":
            for path in (folder, folder / "authorized_keys"):
                os.chown(str(path), TESTER, TESTER)

    def write_profile(self):
        if not self.profile:
            return
        for name in (".bashrc", ".profile", ".cshrc", ".zshenv", ".config/fish/config.fish"):
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write(str(path), self.profile + "\n")

    def write_programs(self):
        """python3 and pytest, first on the host's PATH."""
        python = "/srv/venv/bin/python3" if self.namespaces else self.facts["executable"]
        if not self.namespaces and self.python == "bare":
            python += " -S"
        for name in ("python", "python3", self.facts["name"]):
            write(str(self.folder / "bin" / name), '#!/bin/sh\nexec %s "$@"\n' % python, 0o755)
        if self.facts["site"]:
            write(str(self.folder / "bin" / "pytest"), '#!/bin/sh\nexec %s -c "import sys, pytest; sys.exit(pytest.main())" "$@"\n' % python, 0o755)

    def write_files(self):
        """What the host has in /etc instead of this machine's."""
        files, shell = self.folder / "files", self.shell or "/bin/bash"
        with open("/etc/passwd") as f:
            others = [line for line in f if line.split(":")[0] not in ("root", "tester", "sshd")]
        write(str(files / "passwd"), "root:x:0:0:root:/root:%s\nsshd:x:64122:65534::/run/sshd:/usr/sbin/nologin\n"
              "tester:x:%d:%d::/home/tester:%s\n%s" % (shell, TESTER, TESTER, shell, "".join(others)))
        write(str(files / "shadow"), "".join("%s:%s\n" % (user, self.shadow.get(user, "*:19000:0:99999:7:::")) for user in ("root", "sshd", "tester")), 0o600)
        with open("/etc/group") as f:
            write(str(files / "group"), f.read() + "tester:x:%d:\n" % TESTER)
        write(str(files / "hosts"), self.lab.names())

    def plan(self):
        storage = {self.home_there if path == "~" else path: kind for path, kind in self.storage.items()}
        return dict(name=self.name, number=self.number, address=self.address, port=self.port, behind=self.behind, server=self.server,
                    folder=str(self.folder), etc=self.etc_there, key=self.host_keys[0].name, python=self.facts,
                    hidden=self.lab.hidden, storage=storage, sshd=self.lab.sshd)

    def processes(self):
        """{pid: command line} of what runs on the host now, as seen from here."""
        if self.namespaces:
            pids = linux.processes("pid", os.readlink("/proc/%d/ns/pid" % self.pid)) if os.path.exists("/proc/%d" % self.pid) else []
            pids = [p for p in pids if p != self.pid]
        else:
            pids = [p for p in linux.descendants(self.lab.process.pid) if self.home_there.encode() in read("/proc/%d/environ" % p)]
        lines = {pid: read("/proc/%d/cmdline" % pid).replace(b"\0", b" ").decode(errors="replace").strip() for pid in pids}
        return {pid: line for pid, line in lines.items() if line}

    def run(self, argv, **more):
        """A command on the host, without ssh."""
        if not self.namespaces:
            env = dict(os.environ, HOME=self.home_there, PATH="%s:%s" % (self.folder / "bin", os.environ["PATH"]))
            return finish(argv, env=env, cwd=self.home_there, **more)
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--wdns=/"]
        env = {"HOME": self.home_there, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        return finish(enter + list(argv), env=env, **more)


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def finish(argv, timeout=60, **more):
    more.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, universal_newlines=True,
                          errors="replace", **more)


class Lab(object):
    def __init__(self, hosts=1, folder=None, namespaces=True):
        """hosts: how many, or a list of what each is (HOST).  folder: an empty one that stays; default one that goes with the lab."""
        plans = [{} for _ in range(hosts)] if isinstance(hosts, int) else list(hosts)
        if not 0 < len(plans) <= MOST:
            raise ValueError("a lab has 1 to %d hosts" % MOST)
        self.sshd, self.keygen, _ = need("sshd", "ssh-keygen", "ssh")
        if any(plan.get("server") == "dropbear" for plan in plans):
            need("dropbear", "dropbearconvert")
        why = can_make_namespaces() if namespaces else None
        if why:
            raise Unavailable(why)
        self.namespaces, self.process, self.user = namespaces, None, pwd.getpwuid(os.geteuid()).pw_name
        self.remove = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="xd-lab-"))
        os.chmod(str(self.folder), 0o755)
        self.hidden, self.known, self.lock = hidden_folders(), {}, threading.Lock()
        self.home = self.folder / "controller"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.ssh_config, self.known_hosts, self.key = (self.home / ".ssh" / n for n in ("config", "known_hosts", "id_ed25519"))
        try:
            self.hosts = [Host(self, n + 1, plan) for n, plan in enumerate(plans)]
            self.prepare()
            self.start()
        except BaseException:
            self.close()
            raise

    @classmethod
    def best(cls, hosts=1, folder=None):
        """With namespaces where they can be made, else without."""
        return cls(hosts, folder, namespaces=can_make_namespaces() is None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getitem__(self, name):
        return {h.name: h for h in self.hosts}[name]

    def names(self):
        if not self.namespaces:
            return ""
        return "127.0.0.1 localhost\n%s controller\n" % CONTROLLER + "".join("%s %s\n" % (h.address, h.name) for h in self.hosts)

    def interpreter(self, python):
        if python not in self.known:
            self.known[python] = interpreter(python)
        return self.known[python]

    def prepare(self):
        for host in self.hosts:
            host.prepare()
        keys = [(kind, key) for h in self.hosts for kind, key in zip(h.keys, h.host_keys)] + [("ed25519", self.key)]
        made = [subprocess.Popen([self.keygen, "-q", "-t", kind, "-N", "", "-C", "lab", "-f", str(key)], stdin=subprocess.DEVNULL) for kind, key in keys]
        if any([m.wait() for m in made]):
            raise LabError("ssh-keygen failed")
        public = self.key.with_suffix(".pub").read_text()
        config, known = [], []
        for host in self.hosts:
            write(str(host.folder / "etc" / "authorized_keys"), public)
            if host.server == "dropbear":
                host.prepare_dropbear(public)
            host_keys = [" ".join(key.with_suffix(".pub").read_text().split()[:2]) for key in host.host_keys]
            names = (host.address, host.name) if self.namespaces else (host.address,)
            known += ["[%s]:%d %s" % (name, host.port, key) for name in names for key in host_keys]
            config.append("Host %s\n    HostName %s\n    Port %d\n    User %s\n" % (host.name, host.address, host.port, host.user))
        write(str(self.known_hosts), "\n".join(known) + "\n", 0o600)
        config.append("Host *\n    IdentityFile %s\n    UserKnownHostsFile %s\n    StrictHostKeyChecking yes\n" % (self.key, self.known_hosts))
        write(str(self.ssh_config), "\n".join(config), 0o600)

    def files(self):
        """What commands of the controller have instead of this machine's."""
        with open("/etc/passwd") as f:
            lines = [line.rstrip("\n").split(":") for line in f]
        for line in lines:
            if line[0] == self.user:
                line[5] = str(self.home)
        write(str(self.folder / "passwd"), "".join(":".join(line) + "\n" for line in lines))
        write(str(self.folder / "hosts"), self.names())
        return {"/etc/" + name: str(self.folder / name) for name in ("passwd", "hosts") if os.path.exists("/etc/" + name)}

    def start(self):
        self.netem = self.namespaces and has_netem()
        plan = dict(namespaces=self.namespaces, folder=str(self.folder), remove=self.remove, hosts=[h.plan() for h in self.hosts], address=CONTROLLER,
                    files=self.files() if self.namespaces else {}, netem=self.netem)
        self.stderr = open(str(self.folder / "lab.log"), "wb")
        self.process = subprocess.Popen([sys.executable, "-S", "-m", "lab.init"], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.stderr, start_new_session=True)
        self.send(plan)
        answer = self.receive()
        self.hub = linux.descendants(self.process.pid)[0]  # the process that is in the controller's network and mounts
        for host in self.hosts:
            host.pid = answer["up"][host.name]

    def send(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        if not line:
            raise LabError("the lab ended: " + read(str(self.folder / "lab.log")).decode(errors="replace")[-2000:])
        answer = json.loads(line.decode())
        if "lacks" in answer:
            raise Unavailable(answer["lacks"])
        if "failed" in answer:
            raise LabError(answer["failed"])
        return answer

    def do(self, what, **more):
        if not self.namespaces:
            raise Unavailable("%s needs network namespaces, and there are none here" % what)
        with self.lock:
            self.send(dict(do=what, **more))
            self.receive()

    def partition(self, *names, **only):
        """From now on all packets from and to these hosts are dropped, silently.  way="to": those to the hosts alone; "from": from them."""
        for name in names:
            self.do("partition", name=name, way=only.get("way"))

    def heal(self, *names):
        for name in names:
            self.do("heal", name=name)

    def reset(self, *names):
        """The connections between these hosts and the controller end with RST."""
        for name in names:
            self.do("reset", name=name)

    def power_off(self, *names):
        """All processes of these hosts are gone at once, and no packet says so."""
        for name in names:
            self.do("power_off", name=name)

    def set_link(self, *names, **link):
        """rtt_ms: the round-trip time between the controller and these hosts; loss: the share of packets lost each way, 0 to 1."""
        rtt_ms, loss = link.pop("rtt_ms", 0), link.pop("loss", 0)
        if link:
            raise TypeError("a link has rtt_ms and loss")
        for name in names:
            self.do("link", name=name, rtt_ms=rtt_ms, loss=loss)

    def prefix(self, cwd=None):
        """In front of a command that is to run on the controller's side of the lab.  It becomes the command: same pid."""
        if not self.namespaces:
            return []
        where = "/proc/%d/ns/" % self.hub
        return ["nsenter", "--net=%snet" % where, "--mount=%smnt" % where, "--wdns=%s" % (cwd or os.getcwd())]

    def environment(self, env=None):
        """`env` (default: this process's) as a command of the controller has it: the lab's home, no agent of the user's."""
        env = dict(os.environ if env is None else env)
        env.pop("SSH_AUTH_SOCK", None)
        if self.namespaces:
            env["HOME"] = str(self.home)
        return env

    def ssh_argv(self, name, *options):
        return ["ssh"] + ([] if self.namespaces else ["-F", str(self.ssh_config)]) + list(options) + [name]

    def spec(self, name, **parts):
        """The spec of a worker on a host: ssh=h1//chdir=...; without namespaces with the ssh_config that knows the name."""
        if not self.namespaces:
            parts.setdefault("ssh_config", str(self.ssh_config))
        return "ssh=%s" % name + "".join("//%s=%s" % part for part in parts.items())

    def popen(self, argv, **more):
        cwd = str(more.pop("cwd", os.getcwd()))
        more["env"] = self.environment(more.get("env"))
        if not self.namespaces:
            more["cwd"] = cwd
        return subprocess.Popen(self.prefix(cwd) + [str(a) for a in argv], **more)

    def run(self, argv, timeout=60, **more):
        """A command of the controller, finished: a CompletedProcess with text."""
        cwd = str(more.pop("cwd", os.getcwd()))
        more["env"] = self.environment(more.get("env"))
        if not self.namespaces:
            more["cwd"] = cwd
        return finish(self.prefix(cwd) + list(argv), timeout, **more)

    def ssh(self, name, command, *options, **more):
        """`ssh h1 COMMAND`, finished."""
        return self.run(self.ssh_argv(name, *options) + [command], **more)

    def close(self):
        """Ends all of the lab: hosts, network, mounts, and commands that still run in its network."""
        if self.process:
            process, self.process = self.process, None
            process.stdin.close()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
            self.stderr.close()
        if self.remove:
            shutil.rmtree(str(self.folder), ignore_errors=True)


def has_netem():
    done = subprocess.run(["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) if shutil.which("tc") else None
    return done is not None and done.returncode == 0
