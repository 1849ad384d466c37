"""tools/dev lab N [--rtt MS] [--loss SHARE] [--no-namespaces] [-- COMMAND ...]: a shell, or a command, on the controller's side of a lab.

In it `ssh h1` and `xdctl run --tx ssh=h1 ...` work, and `lab` changes the network:
    lab partition h2      all packets from and to h2 are dropped, silently; lab heal h2
    lab link h3 50 0.01   50 ms of round-trip time, one packet in a hundred lost; lab link h3 0
    lab power-off h1      as if the plug were drawn
    lab ps h1             what runs there
All of it ends with the shell."""
import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

if not __package__:  # run by its path, as tools/dev does: the folder of the user stays the current one
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    __package__ = "lab"

from . import ROOT, Lab, LabError, Unavailable, write  # noqa: E402

SOCKET = "XD_LAB"  # in the environment of the shell: where this process listens


def act(lab, words):
    """One `lab ...` of the shell; gives the text to print."""
    what, names = words[0] if words else "", words[1:2]
    if not names or names[0] not in [h.name for h in lab.hosts]:
        raise LabError("lab partition|heal|power-off|link|ps HOST; the hosts: " + " ".join(h.name for h in lab.hosts))
    if what == "partition":
        lab.partition(*names)
    elif what == "heal":
        lab.heal(*names)
    elif what == "power-off":
        lab.power_off(*names)
    elif what == "link":
        lab.set_link(*names, rtt_ms=float((words + ["0"])[2]), loss=float(words[3]) if len(words) > 3 else 0)
    elif what == "ps":
        return "".join("%7d %s\n" % one for one in sorted(lab[names[0]].processes().items()))
    else:
        raise LabError("lab has no '%s'" % what)
    return ""


def listen(lab, path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(4)

    def serve():
        while True:
            with listener.accept()[0] as peer:
                try:
                    answer = [0, act(lab, json.loads(peer.recv(4096).decode()))]
                except (LabError, Unavailable, ValueError) as e:
                    answer = [1, "%s\n" % e]
                peer.sendall(json.dumps(answer).encode())
    threading.Thread(target=serve, daemon=True).start()


def tell(path, words):
    """`lab ...` in the shell."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.sendall(json.dumps(words).encode())
        data = b""
        for piece in iter(lambda: peer.recv(65536), b""):
            data += piece
    code, text = json.loads(data.decode())
    (sys.stderr if code else sys.stdout).write(text)
    return code


def programs(lab):
    """A folder for PATH: `lab`, and where the lab has no home of its own an ssh that reads the lab's configuration."""
    folder = lab.folder / "programs"
    folder.mkdir()
    write(str(folder / "lab"), '#!/bin/sh\nexec %s %s "$@"\n' % (sys.executable, os.path.abspath(__file__)), 0o755)
    if not lab.namespaces:
        write(str(folder / "ssh"), '#!/bin/sh\nexec %s -F %s "$@"\n' % (shutil.which("ssh"), lab.ssh_config), 0o755)
    return str(folder)


def main(argv):
    if os.environ.get(SOCKET):
        return tell(os.environ[SOCKET], argv)
    own = argv[:argv.index("--")] if "--" in argv else argv
    command = argv[len(own) + 1:]
    parser = argparse.ArgumentParser(prog="tools/dev lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hosts", type=int, nargs="?", default=3)
    parser.add_argument("--rtt", type=float, default=0, metavar="MS")
    parser.add_argument("--loss", type=float, default=0, metavar="SHARE")
    parser.add_argument("--no-namespaces", action="store_true")
    options = parser.parse_args(own)
    try:
        with (Lab(options.hosts, namespaces=False) if options.no_namespaces else Lab.best(options.hosts)) as lab:
            if options.rtt or options.loss:
                lab.set_link(*[h.name for h in lab.hosts], rtt_ms=options.rtt, loss=options.loss)
            return shell(lab, command)
    except (LabError, Unavailable, ValueError) as e:
        sys.stderr.write("tools/dev lab: %s\n" % e)
        return 2


def shell(lab, command):
    path = str(lab.folder / "socket")
    listen(lab, path)
    environment = dict(os.environ, PATH=os.pathsep.join([programs(lab), os.path.join(ROOT, "build", "bin"), os.environ["PATH"]]), **{SOCKET: path})
    environment.pop("XDG_STATE_HOME", None)
    environment.pop("XDG_CACHE_HOME", None)
    if not command:
        write(str(lab.home / ".bashrc"), "PS1='lab \\w\\$ '\n")
        command = ["bash", "--rcfile", str(lab.home / ".bashrc"), "-i"]
        names = [h.name for h in lab.hosts]
        print("The hosts: %s; exit ends them.  ssh %s hostname; lab partition %s.  In a project:\n  xdctl run %s"
              % (" ".join(names), names[0], names[-1], " ".join("--tx %s" % lab.spec(n) for n in names[:2])), flush=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the shell's business
    process = lab.popen(command, env=environment, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
