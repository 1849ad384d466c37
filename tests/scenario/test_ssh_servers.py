"""ssh servers as their administrators have set them up: each gives a working run or one line that says why not, over libssh and over
the ssh program."""
import os
import re
import subprocess
import time

import pytest

from test_run_ssh import Terminal, far, lost_lines, ours, seconds_until  # noqa: F401 (far is a fixture)
from test_ssh_auth import make_key

TEST = "def test_it(): pass\n"
# So many that every worker gets some.
SPREAD = """
    import pytest, time
    @pytest.mark.parametrize("n", range(%d))
    def test_n(n): time.sleep(0.2)
"""
ORIGINAL = 'ForceCommand exec sh -c "$SSH_ORIGINAL_COMMAND"'
PASSWORD = "let me in"


def crypted():
    done = subprocess.run(["openssl", "passwd", "-6", PASSWORD], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip() + ":19000:0:99999:7:::"


def spread(far, plans):  # noqa: F811
    """All of these hosts in one run, and each of them runs tests."""
    lab = far.hosts(plans, test_it=SPREAD % (4 * len(plans)))
    tx = ["--tx=" + lab.spec(h.name, chdir="proj", **({"python": "/usr/local/bin/python3"} if h.server == "dropbear" else {})) for h in lab.hosts]
    result = far.run(*(tx + ["--", "-v"]))
    assert result.rc == 0 and result.summary == {"passed": 4 * len(plans)}, result
    assert len({e["worker"] for e in result.tests}) == len(plans), result
    for host in lab.hosts:
        seconds_until(lambda: not ours(host), 5)
    return result


def one_line(far, *words, args=None, most=25, **more):  # noqa: F811
    """The host cannot be used, and one line says why."""
    begin = time.monotonic()
    result = far.run(*(args or far.tx()), **more)
    lines = lost_lines(result)
    assert result.rc == 6 and not result.tests and len(lines) == 1, result
    assert all(word in lines[0] for word in words), result
    assert time.monotonic() - begin < most
    return lines[0]


# ---- servers that are strict, and work ---------------------------------------------------------------------------------------


def test_what_a_server_forbids_is_not_needed(far):  # noqa: F811
    spread(far, [{"sshd": lines} for lines in (
        ["PermitTTY no", "MaxSessions 1", "DisableForwarding yes"],
        ["AllowTcpForwarding no", "PermitOpen none", "AllowStreamLocalForwarding no", "AllowAgentForwarding no", "X11Forwarding no", "PermitTunnel no"],
        [ORIGINAL, "PermitUserRC no", "PermitUserEnvironment no"],
        ["MaxAuthTries 1", "LoginGraceTime 2"],
        ["ClientAliveInterval 1", "ClientAliveCountMax 1"],
        ["Compression no", "TCPKeepAlive no"],
        ["RekeyLimit 1M 2s"],
        ["ChrootDirectory /"],
        ["UsePAM yes"],
    )])


def test_restricted_keys_of_a_user(far):  # noqa: F811
    """authorized_keys can forbid as much as sshd_config."""
    options = ["restrict", 'command="exec sh -c \\"$SSH_ORIGINAL_COMMAND\\""', 'no-pty,from="10.88.0.1"']
    make = far.make

    def with_options(plans, **more):
        lab = make(plans, **more)
        for host, option in zip(lab.hosts, options):
            path = host.folder / "etc" / "authorized_keys"
            path.write_text(option + " " + path.read_text())
        return lab
    far.make = with_options
    spread(far, [{} for _ in options])


@pytest.mark.parametrize("kind, algorithm", [("ed25519", "ssh-ed25519"), ("rsa", "rsa-sha2-512"), ("ecdsa", "ecdsa-sha2-nistp256")])
def test_one_kind_of_keys_only(far, kind, algorithm, tmp_path):  # noqa: F811
    """Of hosts and of users."""
    key = make_key(tmp_path / "key", kind)
    far.hosts([{"keys": [kind], "sshd": ["HostKeyAlgorithms " + algorithm, "PubkeyAcceptedAlgorithms " + algorithm]}], test_it=TEST)
    (far.lab["h1"].folder / "etc" / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    far.lab.ssh_config.write_text(far.lab.ssh_config.read_text().replace(str(far.lab.key), str(key)))
    result = far.run(*far.tx())
    assert result.rc == 0 and result.summary == {"passed": 1}, result


def test_few_algorithms_that_both_know(far):  # noqa: F811
    spread(far, [{"sshd": lines} for lines in (
        ["Ciphers chacha20-poly1305@openssh.com", "KexAlgorithms curve25519-sha256"],
        ["Ciphers aes256-gcm@openssh.com", "KexAlgorithms curve25519-sha256@libssh.org"],
        ["Ciphers aes128-gcm@openssh.com", "KexAlgorithms ecdh-sha2-nistp521"],
        ["Ciphers aes128-ctr", "MACs hmac-sha2-256", "KexAlgorithms diffie-hellman-group14-sha256"],
        ["Ciphers aes256-ctr", "MACs hmac-sha2-512-etm@openssh.com", "KexAlgorithms diffie-hellman-group16-sha512"],
        ["Ciphers aes192-ctr", "MACs hmac-sha2-256-etm@openssh.com", "KexAlgorithms diffie-hellman-group-exchange-sha256"],
    )])


def test_the_fast_cipher_comes_first(far):  # noqa: F811
    """AES where the processor knows it, unless ssh_config says something else."""
    if far.way != "libssh":
        pytest.skip("ssh chooses for itself")
    with open("/proc/cpuinfo") as f:
        knows = " aes" in f.read()
    far.hosts([{"sshd": ["LogLevel DEBUG1"]}], test_it=TEST)
    log = far.lab["h1"].folder / "etc" / "sshd.log"
    config = far.lab.ssh_config.read_text()
    for asked, used in (("", "aes128-gcm@openssh.com" if knows else "chacha20-poly1305@openssh.com"), ("Ciphers aes256-ctr\n", "aes256-ctr")):
        far.lab.ssh_config.write_text("Host *\n    " + asked + config if asked else config)
        log.write_text("")
        result = far.run(*far.tx())
        assert result.rc == 0, result
        assert re.findall(r"kex: \S+ cipher: (\S+)", log.read_text()) == [used] * 2, log.read_text()


@pytest.mark.parametrize("line", ["KexAlgorithms sntrup761x25519-sha512@openssh.com", "MACs umac-128-etm@openssh.com\nCiphers aes128-ctr"], ids=["kex", "mac"])
def test_algorithms_that_libssh_lacks(far, line):  # noqa: F811
    """With --ssh=auto, the ssh program takes over by itself."""
    far.hosts([{"sshd": line.splitlines()}], test_it=TEST)
    if far.way == "libssh":
        said = one_line(far, "Unable to negotiate")
        assert "--ssh=openssh" in said, said
        far.way = "auto"
    result = far.run(*far.tx())
    assert result.rc == 0 and result.summary == {"passed": 1}, result


def test_no_algorithm_in_common(far):  # noqa: F811
    far.hosts([{"sshd": ["Ciphers aes128-cbc"]}], test_it=TEST)
    far.lab.ssh_config.write_text("Host *\n    Ciphers aes256-ctr\n" + far.lab.ssh_config.read_text())
    one_line(far, "Unable to negotiate")


def test_dropbear(far):  # noqa: F811
    """A server of another make, with each kind of key that it has."""
    spread(far, [{"server": "dropbear", "keys": [kind]} for kind in ("ed25519", "rsa", "ecdsa")] + [{"server": "dropbear", "user": "tester"}])


def test_dropbear_carries_much_and_is_cut(far):  # noqa: F811
    far.hosts([{"server": "dropbear"}], test_it="""
        import os, pytest, time
        @pytest.mark.parametrize("n", range(24))
        def test_n(n):
            with open(os.path.expanduser("~/log"), "a") as f: f.write("x")
            os.write(1, b"x" * 512 * 1024)
            time.sleep(0.2)
        """)
    host = far.lab["h1"]
    process = far.start("--jsonl=j", *(far.tx(2, python="/usr/local/bin/python3") + ["--", "-v"]))
    seconds_until(lambda: (host.home / "log").exists(), 30)
    sessions = [pid for pid, line in host.processes().items() if line.startswith("dropbear")]
    os.kill(max(sessions), 9)
    result = far.project.finish(process, str(far.project.root / "j"))
    assert result.rc == 0 and result.summary == {"passed": 24} and "taken up again" in result.out, result
    assert (host.home / "log").read_text() == "x" * 24


# ---- much in both directions ---------------------------------------------------------------------------------------------------


def test_rekeying_while_much_travels(far):  # noqa: F811
    """New keys after every MiB: 24 MB come from there, and as many as a command line takes go there."""
    far.hosts([{"sshd": ["RekeyLimit 1M", "LogLevel DEBUG1"]}], test_it="""
        import os, pytest, zlib
        @pytest.mark.parametrize("n", range(24))
        def test_n(n): print(os.urandom(500000).hex()); assert n not in (3, 9, 20)
        @pytest.mark.parametrize("n", range(6000))
        def test_LONG(n): pass
        """.replace("LONG", "long" * 50))
    wanted = ["test_it.py::test_%s[%d]" % ("long" * 50, n) for n in range(6000)]
    result = far.run(*(far.tx(2) + ["--", "-rP", "--show-capture=all", "test_it.py::test_n"] + wanted))
    assert result.rc == 1 and result.summary == {"passed": 6021, "failed": 3}, (result.rc, result.summary, result.err[-2000:])
    assert len(result.out) > 24000000
    log = far.lab["h1"].log.read_text()
    assert log.count("set_newkeys: mode 0") > 20 or log.count("rekey in") > 20, log[-3000:]


# ---- many that dial one server ---------------------------------------------------------------------------------------------------


def test_max_startups_2(far):  # noqa: F811
    """24 connections at once to a server that takes two at a time that are not through with logging in."""
    far.hosts([{"sshd": ["MaxStartups 2"]}], test_it=SPREAD % 48)
    result = far.run(*["--tx=" + far.lab.spec("h1", chdir="proj") + "//env:N=%d" % n for n in range(24)])
    assert result.rc == 0 and result.summary == {"passed": 48}, result
    assert "drop connection" in far.lab["h1"].log.read_text()


# ---- servers that let nobody in, or nothing run -----------------------------------------------------------------------------------


@pytest.mark.parametrize("plan, words", [
    ({"shell": "/no/such/shell"}, ["Permission denied"]),
    ({"shadow": {"root": "*:19000:0:99999:7::19001:"}}, ["Permission denied"]),
    ({"shadow": {"root": "*:0:0:99999:7:::"}, "sshd": ["UsePAM yes"]}, ["assword"]),
    ({"shadow": {"root": "!:19000:0:99999:7:::"}, "sshd": ["UsePAM yes", "DenyUsers root"]}, ["Permission denied"]),
    ({"sshd": ["ForceCommand /bin/false"]}, ["status 1"]),
    ({"sshd": ["ForceCommand internal-sftp"]}, ["sftp|closed before the agent ran"]),
    ({"sshd": ["ForceCommand internal-sftp", "ChrootDirectory /srv"]}, ["closed before the agent ran"]),
    ({"sshd": ["ChrootDirectory /run"]}, ["No such file or directory"]),
    ({"sshd": ["ChrootDirectory /tmp"]}, ["closed|status 255"]),
    ({"sshd": ["ChrootDirectory /no/such/folder"]}, ["closed|status 255"]),
    ({"sshd": ["PubkeyAuthentication no"]}, ["Permission denied"]),
    ({"sshd": ["PermitRootLogin no"]}, ["Permission denied"]),
    ({"sshd": ["AuthenticationMethods publickey,publickey"]}, ["Permission denied"]),
], ids=["no-shell", "account-expired", "password-expired", "pam", "false", "sftp-only", "sftp-chroot", "empty-chroot", "unsafe-chroot", "no-chroot",
        "no-keys", "no-root", "two-keys"])
def test_one_line_says_what_a_server_does(far, plan, words):  # noqa: F811
    far.hosts([plan], test_it=TEST)
    line = one_line(far, start_new_session=True)
    assert any(w in line for word in words for w in word.split("|")), line


def test_nologin(far):  # noqa: F811
    """An administrator keeps users out for a while."""
    far.hosts([{"user": "tester", "sshd": ["UsePAM yes"]}], test_it=TEST)
    far.lab["h1"].run(["sh", "-c", "echo closed for today >/run/nologin"])
    one_line(far)


def test_a_mute_host_beside_one_that_answers(far):  # noqa: F811
    far.hosts([{"server": "mute"}, {}, {"server": "cut"}], test_it=TEST)
    result = far.run(*(far.tx() + ["--min-workers=1"]))
    assert result.rc == 0 and result.summary == {"passed": 1}, result
    assert any("lost ssh=h3" in line for line in lost_lines(result)), result


# ---- two methods, and questions ------------------------------------------------------------------------------------------------------


def test_two_keys_one_after_another(far, tmp_path):  # noqa: F811
    first, second = make_key(tmp_path / "first"), make_key(tmp_path / "second", "ecdsa")
    far.hosts([{"sshd": ["AuthenticationMethods publickey,publickey"]}], test_it=TEST)
    (far.lab["h1"].folder / "etc" / "authorized_keys").write_text("".join(k.with_suffix(".pub").read_text() for k in (first, second)))
    far.lab.ssh_config.write_text("Host *\n    IdentityFile %s\n    IdentityFile %s\n" % (first, second) + far.lab.ssh_config.read_text())
    result = far.run(*far.tx())
    assert result.rc == 0 and result.summary == {"passed": 1}, result


def with_password(far, *sshd):  # noqa: F811
    far.hosts([{"shadow": {"root": crypted()}, "sshd": list(sshd)}], test_it=TEST)


def test_a_key_and_a_password(far):  # noqa: F811
    with_password(far, "PasswordAuthentication yes", "AuthenticationMethods publickey,password")
    one_line(far, "Permission denied", "terminal", start_new_session=True)
    terminal = Terminal(far, *far.tx())
    terminal.until("password")
    terminal.say(PASSWORD + "\n")
    assert terminal.end() == 0 and "1 passed" in terminal.out and PASSWORD not in terminal.out, terminal.out


def test_an_answer_that_comes_too_late(far):  # noqa: F811
    with_password(far, "PasswordAuthentication yes", "PubkeyAuthentication no", "LoginGraceTime 2")
    terminal = Terminal(far, *far.tx())
    terminal.until("password")
    begin = time.monotonic()
    while time.monotonic() - begin < 4:
        terminal.read()
    terminal.say(PASSWORD + "\n")
    code = terminal.end()
    assert code == 6 and len([line for line in terminal.out.splitlines() if "lost ssh=" in line]) == 1, (code, terminal.out)
    assert any(w in terminal.out for w in ("closed", "reset", "broke off")), terminal.out
