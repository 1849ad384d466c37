"""One host of the lab: the first process of its PID namespace.  It makes the host's view of the file system, starts its sshd and
reaps what ends.  The host ends with it."""
import os
import subprocess
import time

from . import linux, servers


class Lacking(Exception):
    """The machine has not what was asked for."""


def serve(host):
    """Starts what listens on the host's port; gives the processes, which are to be kept."""
    etc, kind, started = host["etc"], host["server"], []
    if kind in ("mute", "cut") and os.fork() == 0:
        try:
            servers.main(kind, host["port"], host["behind"])
        finally:
            os._exit(1)
    if kind in ("sshd", "cut", "dropbear"):
        argv = [host["sshd"], "-D", "-E", etc + "/sshd.log", "-f", etc + "/sshd_config"]
        if kind == "dropbear":
            argv = ["dropbear", "-F", "-E", "-s", "-P", "/run/dropbear.pid", "-p", str(host["port"]), "-r", "%s/%s.dropbear" % (etc, host["key"])]
        with open(etc + "/server.log", "ab") as log:
            started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True))
    return started


def tmpfs(target, mode="755", size="64m"):
    linux.mount("tmpfs", target, "tmpfs", data="mode=%s,size=%s" % (mode, size))


def make_folder(path):
    os.makedirs(path, exist_ok=True)


def fill(path):
    with open(os.path.join(path, "full"), "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"\0" * 4096)
        except OSError:
            pass


def store(path, kind):
    """Makes a folder of the host "full", "readonly" or "noexec"."""
    if kind == "full":
        fill(path)
    elif kind == "readonly":
        linux.remount(path, linux.MS_RDONLY)
    else:
        linux.remount(path, linux.MS_NOEXEC)


def hide_pythons():
    for name in ("upper", "work"):
        make_folder("/srv/bin/" + name)
    try:
        linux.mount("overlay", "/usr/bin", "overlay", data="lowerdir=/usr/bin,upperdir=/srv/bin/upper,workdir=/srv/bin/work")
    except OSError as e:
        raise Lacking("a host without Python needs overlayfs: %s" % e)
    for name in os.listdir("/usr/bin"):
        if name.startswith("python"):
            os.unlink("/usr/bin/" + name)


def mounts(host):
    """The host sees this machine's system, read-only; instead of the controller's homes, temporary folders and source tree it has its own."""
    linux.private_mounts()
    folder, python = host["folder"], host["python"]
    full = [path for path, kind in host["storage"].items() if kind == "full"]
    own = {"/root": "root", "/tmp": "tmp", "/var/tmp": "vartmp"}
    fds = {target: os.open(os.path.join(folder, name), os.O_PATH) for target, name in own.items()}
    files = {name: os.open(os.path.join(folder, "files", name), os.O_PATH) for name in os.listdir(os.path.join(folder, "files"))}
    tester, etc, bin_ = (os.open(os.path.join(folder, name), os.O_PATH) for name in ("tester", "etc", "bin"))
    prefix = site = None
    if python:
        prefix = os.open(python["prefix"], os.O_PATH)
        site = os.open(python["site"], os.O_PATH) if python["site"] else None

    for path in host["hidden"]:
        tmpfs(path)
    for path in ("/home", "/srv", "/run"):
        tmpfs(path)
    for target, fd in fds.items():
        tmpfs(target, "1777" if "tmp" in target else "755", "256k") if target in full else linux.bind(fd, target)
    make_folder("/home/tester")
    tmpfs("/home/tester", "777", "256k") if "/home/tester" in full else linux.bind(tester, "/home/tester")
    tmpfs("/dev/shm", "1777", "256k" if "/dev/shm" in full else "512m")
    make_folder("/run/sshd")
    make_folder("/run/lab")
    linux.bind(etc, "/run/lab")
    if python:
        if not python["prefix"].startswith("/usr"):
            make_folder(python["prefix"])
            linux.bind(prefix, python["prefix"])
        lib = "/srv/venv/lib/%s/site-packages" % python["name"]
        make_folder(lib)
        make_folder("/srv/venv/bin")
        with open("/srv/venv/pyvenv.cfg", "w") as f:
            f.write("home = %s\ninclude-system-site-packages = false\nversion = %s\n" % (os.path.dirname(python["base"]), python["version"]))
        for name in ("python", "python3", python["name"]):
            os.symlink(python["base"], "/srv/venv/bin/" + name)
        if site is not None:
            linux.bind(site, lib)
    else:
        hide_pythons()
    linux.bind(bin_, "/usr/local/bin")
    for name, fd in files.items():
        if os.path.exists("/etc/" + name):
            linux.bind(fd, "/etc/" + name)
    for fd in list(fds.values()) + list(files.values()) + [tester, etc, bin_, prefix, site]:
        if fd is not None:
            os.close(fd)
    linux.mount("proc", "/proc", "proc")
    linux.remount("/", linux.MS_RDONLY)
    for path, kind in host["storage"].items():
        store(path, kind)


def reap():
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.2)  # nothing runs here; an orphan may come


def main(host, ready, go):
    """`ready` says the pid as the lab's makers see it, then "up" or what failed; `go` is written when the network is there."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        linux.unshare(linux.NEWNET | linux.NEWNS | linux.NEWUTS | linux.NEWIPC)
        subprocess.run(["hostname", host["name"]], check=True)
        os.write(ready, ("pid %s\n" % os.readlink("/proc/self")).encode())
        if not os.read(go, 1):
            os._exit(1)
        batch = "link set lo up\naddr add %(address)s/16 dev eth0\nlink set eth0 up\n" % host
        subprocess.run(["ip", "-batch", "-"], input=batch.encode(), check=True)
        mounts(host)
        os.environ.clear()
        os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        kept = serve(host)
        os.write(ready, b"up\n")
    except Lacking as e:
        os.write(ready, ("lacks %s\n" % e).encode())
        os._exit(1)
    except Exception as e:
        os.write(ready, ("%s: %s\n" % (type(e).__name__, e)).replace("\n", " ").encode() + b"\n")
        os._exit(1)
    os.close(ready)
    os.close(go)
    try:
        reap()
    finally:
        del kept
