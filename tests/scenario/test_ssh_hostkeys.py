"""Is it the host that it is meant to be: known_hosts, over libssh."""
import base64
import hashlib
import hmac
import os
import subprocess

import pytest

LIBSSH = ("--ssh=libssh",)


@pytest.fixture
def host(project, lab):
    """A project of one passing test on a lab's host, and how to run it there."""
    one = lab(1, namespaces=None, project=project)
    folder = one["h1"].home / "proj"
    folder.mkdir()
    (folder / "test_a.py").write_text("def test_a(): pass\n")

    class On(object):
        lab, known, name = one, one.known_hosts, "[%s]:%d" % (one["h1"].address, one["h1"].port)
        key = " ".join((one["h1"].folder / "etc" / "host_key.pub").read_text().split()[:2])

        def config(self, text):
            """Lines that count before the lab's own."""
            own = one.ssh_config.read_text().replace("    StrictHostKeyChecking yes\n", "")
            one.ssh_config.write_text("Host *\n%s\n%s" % (text, own))

        def run(self, *args, **more):
            return project.run("--tx", one.spec("h1", chdir=one["h1"].there(folder)), *(LIBSSH + args), python=False, **more)
    return On()


def other_key(tmp_path, kind="ed25519"):
    path = tmp_path / ("other-" + kind)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def passes(r):
    assert r.rc == 0 and "1 passed" in r.out, r


def refused(r, *texts):
    assert r.rc == 6, r
    said = " ".join((r.out + r.err).split())
    for text in texts:
        assert text in said, (text, r)


def hashed(name):
    salt = os.urandom(20)
    return "|1|%s|%s" % tuple(base64.b64encode(b).decode() for b in (salt, hmac.new(salt, name.encode(), hashlib.sha1).digest()))


def test_unknown(host):
    host.known.write_text("")
    r = host.run()
    refused(r, "No ED25519 host key is known for %s and you have requested strict checking" % host.name, "SHA256:", "Host key verification failed.",
            "--ssh-accept-new", "ssh h1 true" if host.lab.namespaces else "h1 true")
    assert host.known.read_text() == ""


def test_unknown_is_taken_once_when_asked_to(host):
    host.config("HashKnownHosts no")
    host.known.write_text("elsewhere ssh-ed25519 AAAA")  # no newline at its end
    passes(host.run("--ssh-accept-new"))
    assert host.known.read_text() == "elsewhere ssh-ed25519 AAAA\n%s %s\n" % (host.name, host.key)
    passes(host.run())
    passes(host.run("--ssh-accept-new"))
    assert len(host.known.read_text().splitlines()) == 2


def test_a_new_key_is_written_hashed_when_ssh_config_says_so(host):
    host.config("HashKnownHosts yes")
    host.known.write_text("")
    passes(host.run("--ssh-accept-new"))
    text = host.known.read_text()
    assert text.startswith("|1|") and text.endswith(" %s\n" % host.key) and host.name not in text
    passes(host.run())
    assert "found: line 1" in subprocess.run(["ssh-keygen", "-F", host.name, "-f", str(host.known)], stdout=subprocess.PIPE).stdout.decode()


def test_accept_new_of_ssh_config(host):
    host.config("StrictHostKeyChecking accept-new")
    host.known.write_text("")
    passes(host.run())
    assert host.key in host.known.read_text()


@pytest.mark.parametrize("args", [(), ("--ssh-accept-new",)], ids=["strict", "accept-new"])
def test_changed(host, tmp_path, args):
    text = "# a comment\n%s %s\n" % (host.name, other_key(tmp_path))
    host.known.write_text(text)
    r = host.run(*args)
    refused(r, "REMOTE HOST IDENTIFICATION HAS CHANGED!", "Offending ED25519 key in %s:2" % host.known, "Host key verification failed.",
            "ssh-keygen -f %s -R" % host.known)
    assert host.known.read_text() == text


def test_the_command_that_removes_a_changed_key_works(host, tmp_path):
    host.known.write_text("%s %s\n" % (host.name, other_key(tmp_path)))
    said = " ".join(host.run().out.split())
    command = said[said.index("ssh-keygen -f"):].split(" =")[0].split("'\"")[0]
    done = subprocess.run(["sh", "-c", command[:command.index(host.name) + len(host.name)] + ("'" if "'" in command else "")], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done
    passes(host.run("--ssh-accept-new"))


def test_a_key_of_another_kind_is_not_taken_for_new(host, tmp_path):
    host.known.write_text("%s %s\n" % (host.name, other_key(tmp_path, "ecdsa")))
    refused(host.run("--ssh-accept-new"), "REMOTE HOST IDENTIFICATION HAS CHANGED!", "the known one is ECDSA, in %s:1" % host.known)


def test_revoked(host):
    host.known.write_text("%s %s\n@revoked * %s\n" % (host.name, host.key, host.key))
    refused(host.run("--ssh-accept-new"), "REVOKED HOST KEY DETECTED!", "%s:2" % host.known)


def test_certificates_are_left_to_ssh(host, tmp_path):
    host.known.write_text("@cert-authority * %s\n" % other_key(tmp_path))
    refused(host.run("--ssh-accept-new"), "certificate", "--ssh=openssh")


@pytest.mark.parametrize("line", ["{hashed} {key}", "other,{name} {key} a comment", "\t{name}\t{key}", "*:{port} {key}", "[*]:{port} {key}", "{plain} {key}"])
def test_known(host, line):
    address, port = host.name[1:].split("]:")
    host.known.write_text("\n# \n" + line.format(hashed=hashed(host.name), name=host.name, key=host.key, plain=address, port=port) + "\n")
    passes(host.run())


@pytest.mark.parametrize("line", ["*,!{name},!{plain} {key}", "other {key}", "[{plain}]:1 {key}"])
def test_not_known(host, line):
    host.known.write_text(line.format(name=host.name, key=host.key, plain=host.name[1:].split("]")[0]) + "\n")
    refused(host.run(), "No ED25519 host key is known")


def test_several_files(host, tmp_path):
    second = tmp_path / "second known"
    second.write_text("%s %s\n" % (host.name, host.key))
    host.known.write_text("")
    host.config("UserKnownHostsFile %s \"%s\"" % (host.known, second))
    passes(host.run())
    host.config("UserKnownHostsFile %s\nGlobalKnownHostsFile \"%s\"" % (host.known, second))
    passes(host.run())


def test_alias(host):
    host.known.write_text("the-alias %s\n" % host.key)
    host.config("HostKeyAlias the-alias")
    passes(host.run())


def test_a_host_of_several_keys_shows_the_known_one(project, lab, tmp_path):
    """It would show ed25519 first; only its ecdsa key is known."""
    ecdsa = tmp_path / "ecdsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(ecdsa)], check=True)
    one = lab([{"sshd": ["HostKey %s" % ecdsa]}], namespaces=False, project=project)
    host = one["h1"]
    one.known_hosts.write_text("[%s]:%d %s\n" % (host.address, host.port, " ".join(ecdsa.with_suffix(".pub").read_text().split()[:2])))
    (host.home / "test_a.py").write_text("def test_a(): pass\n")
    passes(project.run("--tx", one.spec("h1", chdir=host.home), *LIBSSH, python=False))
