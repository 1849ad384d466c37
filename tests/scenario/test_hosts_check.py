"""`xdctl hosts check` over ssh: twenty hosts at once, of which many fail, each in a way of its own; every cause is named, in the column of what is missing."""
import json
import re
import time

import pytest

COLUMNS = ("reach", "key", "agent", "python", "pytest", "disk")
G, B, N = True, False, None  # good, bad, not looked at

# name of a host, what it is, its row, what is said of it
HOSTS = [
    ("good", {}, (G, G, G, G, G, G), None),
    ("refused", {"server": "none"}, (B, N, N, N, N, N), "refused"),
    ("mute", {"server": "mute"}, (B, N, N, N, N, N), "does not answer|timed out|in time"),
    ("cut", {"server": "cut"}, None, "closed|broke off|reset"),
    ("unknown", {}, (G, B, N, N, N, N), "Host key verification failed|--ssh-accept-new"),
    ("changed", {}, (G, B, N, N, N, N), "CHANGED"),
    ("denied", {"sshd": ["DenyUsers root"]}, (G, B, N, N, N, N), "Permission denied"),
    ("nokey", {"sshd": ["PubkeyAuthentication no", "PasswordAuthentication no"]}, (G, B, N, N, N, N), "Permission denied"),
    ("nologin", {"shell": "/usr/sbin/nologin"}, (G, G, B, N, N, N), "not available"),
    ("forced", {"sshd": ["ForceCommand echo only this"]}, (G, G, B, N, N, N), "only this"),
    ("nosession", {"sshd": ["MaxSessions 0"]}, (G, G, B, N, N, N), "MaxSessions|session"),
    ("nopython", {"python": None}, (G, G, G, B, N, G), "no Python interpreter|python3 does not exist"),
    ("nopytest", {"python": "bare"}, (G, G, G, G, B, G), "has no pytest"),
    ("full", {"storage": {"~": "full"}}, (G, G, G, G, G, B), "there is no room on the disk of /root/here: less than 1 MiB is free"),
    ("readonly", {"storage": {"~": "readonly"}}, (G, G, G, N, N, B), "chdir=here: Read-only file system"),
    ("noisy", {"banner": 50, "profile": "echo hello"}, (G, G, G, G, G, G), None),
]


@pytest.fixture(params=["openssh", "libssh"])
def way(request):
    return request.param


def test_every_cause_is_named(lab, project, way):
    made = lab([dict(plan, name=name) for name, plan, _row, _said in HOSTS] + [{} for _ in range(4)], project=project)
    lines = made.known_hosts.read_text().splitlines()
    key = made.key.with_suffix(".pub").read_text().split()[1]
    of = {host.name: host for host in made.hosts}

    keys = {name: next(line.split()[2] for line in lines if line.startswith("[%s]:" % name)) for name in ("unknown", "changed")}
    lines = [line.replace(keys["changed"], key) for line in lines if keys["unknown"] not in line]
    made.known_hosts.write_text("".join(line + "\n" for line in lines))
    rest = [host.name for host in made.hosts if host.name not in {name for name, *_ in HOSTS}]
    names = [name for name, *_ in HOSTS] + rest + ["nowhere.invalid"]
    project.write(**{"hosts.txt": "# twenty-one\r\n" + "".join("%s\r\n" % made.spec(name, chdir="here").replace("ssh=", "2*ssh=") for name in names)})
    args = ["--ssh=" + way, "--hosts=hosts.txt"]
    begin = time.monotonic()
    result = project.xdctl("hosts", "check", "--json", *args)
    assert time.monotonic() - begin < 40 and result.rc == 6 and result.err == "", result
    found = dict(zip(names, json.loads(result.out)))
    for name, _plan, row, said in HOSTS + [(name, {}, (G, G, G, G, G, G), None) for name in rest] + [("nowhere.invalid", {}, (B, N, N, N, N, N), "resolve")]:
        host = found[name]
        assert host["ok"] == (said is None), host
        assert row is None or tuple(host[c] for c in COLUMNS) == row, (name, host)
        assert said is None or (re.search(said, host["error"]) and "\n" not in host["error"]), (name, host)
        assert host["workers"] == 2 and (host["host"] == name or not host["reach"] or not host["agent"]), (name, host)
    assert len(of) == 20 and found["good"]["cpus"] >= 1 and found["good"]["framework"] == "pytest " + pytest.__version__
    table = project.xdctl("hosts", "check", *args).out.splitlines()
    assert len(table) == 1 + 21 + sum(not h["ok"] for h in found.values())
    place = table[0].index("REACH")
    for line, name in zip(table[1:22], names):
        assert line.startswith("ssh=%s//" % name) and line[place - 2:place] == "  " and line[place] != " " and len(line) == len(table[0]), line
    assert [line.partition("//")[0] for line in table[22:]] == ["ssh=" + name for name in names if not found[name]["ok"]]
