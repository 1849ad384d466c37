"""Is it the user: keys, certificates, the agent, passwords and questions, over libssh; with and without a terminal."""
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from conftest import XDCTL
from test_ssh_hostkeys import LIBSSH, passes, refused

TEST = "def test_a(): pass\n"


def make_lab(lab, project, hosts=({},), **more):
    one = lab(list(hosts), project=project, **more)
    for host in one.hosts:
        (host.home / "proj").mkdir()
        (host.home / "proj" / "test_a.py").write_text(TEST)
        os.chmod(str(host.home / "proj"), 0o755)
    return one


def spec(one, name="h1", **more):
    return one.spec(name, chdir=one[name].there(one[name].home / "proj"), **more)


def make_key(path, kind="ed25519", passphrase=""):
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)], check=True)
    return path


def allow(one, *keys, **more):
    """These keys only."""
    for host in one.hosts:
        (host.folder / "etc" / "authorized_keys").write_text("".join(more.get("options", "") + key.with_suffix(".pub").read_text() for key in keys))


def config(one, *lines):
    """In the place of what the lab's ssh_config says for all hosts."""
    text = one.ssh_config.read_text()
    one.ssh_config.write_text(text[:text.index("Host *")] + "Host *\n    UserKnownHostsFile %s\n" % one.known_hosts + "".join("    %s\n" % line for line in lines))


@pytest.fixture
def agent(tmp_path):
    """A key agent: agent(path to a key, ...) gives the environment for it."""
    started = []

    def start(*keys):
        socket = str(tmp_path / "agent")
        started.append(subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL))
        until = time.monotonic() + 10
        while not os.path.exists(socket) and time.monotonic() < until:
            time.sleep(0.01)
        for key in keys:
            subprocess.run(["ssh-add", "-q", str(key)], env=dict(os.environ, SSH_AUTH_SOCK=socket), check=True)
        return socket
    yield start
    for process in started:
        process.kill()
        process.wait()


class Terminal(object):
    """xdctl on a terminal of its own: `say` waits for a text and types an answer."""

    def __init__(self, project, *args):
        env = project.environment(TERM="dumb")
        argv = project.lab.prefix(str(project.root)) + [XDCTL, "run"] + [str(a) for a in args]
        self.seen, self.taken = "", 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(str(project.root))
                os.execvpe(argv[0], argv, env)
            finally:
                os._exit(127)

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, text, seconds=30):
        until = time.monotonic() + seconds
        while text not in self.seen[self.taken:] and time.monotonic() < until and self.read(0.1):
            pass
        assert text in self.seen[self.taken:], self.seen
        self.taken = self.seen.index(text, self.taken) + len(text)

    def echoes(self):
        import termios
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def answer(self, prompt, text):
        self.wait_for(prompt)
        until = time.monotonic() + 5
        while self.echoes() and time.monotonic() < until:  # what is typed must not be seen
            time.sleep(0.01)
        assert not self.echoes()
        os.write(self.fd, text.encode() + b"\n")

    def end(self, seconds=60):
        """The exit code; what is left of the output is read."""
        until = time.monotonic() + seconds
        while self.read(0.1) and time.monotonic() < until:
            pass
        if time.monotonic() >= until:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal(project):
    made = []

    def make(*args):
        made.append(Terminal(project, *args))
        return made[-1]
    yield make
    for one in made:
        one.close()


# ---- keys ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_default_key(project, lab, kind):
    one = make_lab(lab, project)
    one.key.unlink()
    one.key.with_suffix(".pub").unlink()
    key = make_key(one.home / ".ssh" / ("id_" + kind), kind)
    allow(one, key)
    config(one)
    passes(project.run("--tx", spec(one), *LIBSSH, python=False))


def test_a_named_key_of_the_spec(project, lab, tmp_path):
    one = make_lab(lab, project, namespaces=None)
    key = make_key(tmp_path / "key")
    allow(one, key)
    config(one)
    refused(project.run("--tx", spec(one), *LIBSSH, python=False), "Permission denied (publickey)", "id_ed25519" if one.namespaces else "Permission")
    parts = dict(chdir=one["h1"].there(one["h1"].home / "proj"))
    if not one.namespaces:
        parts["ssh_config"] = one.ssh_config
    passes(project.run("--tx", "ssh=-i %s h1%s" % (key, "".join("//%s=%s" % p for p in parts.items())), *LIBSSH, python=False))


def test_a_user_who_is_not_there_and_one_who_is(project, lab):
    one = make_lab(lab, project)
    where = "//chdir=/tmp"
    (one["h1"].folder / "tmp" / "test_a.py").write_text(TEST)
    refused(project.run("--tx", "ssh=nobody-there@h1" + where, *LIBSSH, python=False), "nobody-there@", "Permission denied (publickey)")
    passes(project.run("--tx", "ssh=tester@h1" + where, *LIBSSH, python=False))
    passes(project.run("--tx", "ssh=-l tester h1" + where, *LIBSSH, python=False))


def test_a_key_that_others_can_read_is_ignored(project, lab):
    one = make_lab(lab, project)
    one.key.chmod(0o644)
    refused(project.run("--tx", spec(one), *LIBSSH, python=False), "UNPROTECTED PRIVATE KEY FILE", str(one.key))


def asked(one):
    """The methods that sshd was asked for, in order; its LogLevel must be DEBUG1."""
    log = (one["h1"].folder / "etc" / "sshd.log").read_text(errors="replace")
    return re.findall(r"userauth-request for user \S+ service ssh-connection method (\S+)", log)


def test_a_key_at_hand_is_offered_at_once(project, lab):
    """Which methods the host has would be a round trip before it."""
    one = make_lab(lab, project, [{"sshd": ["LogLevel DEBUG1"]}])
    passes(project.run("--tx", spec(one), *LIBSSH, python=False))
    assert asked(one) == ["publickey"]


def test_a_key_that_is_refused_is_offered_once(project, lab, tmp_path):
    one = make_lab(lab, project, [{"sshd": ["LogLevel DEBUG1"]}])
    keys = [make_key(tmp_path / name) for name in ("first", "second")]
    allow(one, keys[1])
    config(one, *["IdentityFile %s" % key for key in keys])
    passes(project.run("--tx", spec(one), *LIBSSH, python=False))
    assert asked(one) == ["publickey"] * 2
    allow(one)
    refused(project.run("--tx", spec(one), *LIBSSH, python=False), "Permission denied (publickey)", "first, %s" % keys[1])
    assert asked(one) == ["publickey"] * 4


def test_a_host_that_takes_no_keys_is_not_offered_all_of_them(project, lab, tmp_path):
    """There each of them is a failed try, of which it allows only so many."""
    one = make_lab(lab, project, [{"sshd": ["LogLevel DEBUG1", "PubkeyAuthentication no", "PasswordAuthentication yes"]}])
    config(one, *["IdentityFile %s" % make_key(tmp_path / ("key%d" % n)) for n in range(4)])
    refused(project.run("--tx", spec(one), *LIBSSH, python=False), "Permission denied (password)", "no terminal")
    assert asked(one) == ["publickey"]


def test_a_certificate_beside_the_key(project, lab, tmp_path):
    authority = make_key(tmp_path / "authority")
    one = make_lab(lab, project, [{"sshd": ["TrustedUserCAKeys /run/lab/authority.pub"]}])
    (one["h1"].folder / "etc" / "authority.pub").write_text(authority.with_suffix(".pub").read_text())
    allow(one)
    refused(project.run("--tx", spec(one), *LIBSSH, python=False), "Permission denied (publickey)")
    subprocess.run(["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", "root", str(one.key.with_suffix(".pub"))], check=True)
    passes(project.run("--tx", spec(one), *LIBSSH, python=False))


def test_the_agent(project, lab, agent, tmp_path):
    one = make_lab(lab, project)
    key = make_key(tmp_path / "key", "rsa")
    socket = agent(make_key(tmp_path / "another"), key)
    allow(one, key)
    config(one, "IdentityAgent %s" % socket)
    passes(project.run("--tx", spec(one), *LIBSSH, python=False))
    config(one, "IdentityAgent none")
    refused(project.run("--tx", spec(one), *LIBSSH, python=False), "Permission denied (publickey)")


def test_a_named_key_goes_before_those_of_an_agent_that_has_many(project, lab, agent, tmp_path):
    """A host takes six keys at most: the agent's would use them up."""
    one = make_lab(lab, project, [{"sshd": ["MaxAuthTries 3"]}])
    socket = agent(*[make_key(tmp_path / ("key%d" % n)) for n in range(4)])
    config(one, "IdentityAgent %s" % socket, "IdentityFile %s" % one.key)
    passes(project.run("--tx", spec(one), *LIBSSH, python=False))


def test_an_agent_that_does_not_answer_is_given_up_with_the_run(project, lab, tmp_path):
    import socket
    path = str(tmp_path / "mute")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(path)
        mute.listen(5)
        one = make_lab(lab, project)
        config(one, "IdentityAgent %s" % path)
        process = project.start("run", "--tx", spec(one), *LIBSSH)
        connection = mute.accept()[0]
        assert connection.recv(1)  # it has been asked
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        r = project.finish(process)
        assert time.monotonic() - begun < 3, r
        assert r.rc == 2, r


def test_two_methods_one_after_another(project, lab, tmp_path):
    first, second = make_key(tmp_path / "first"), make_key(tmp_path / "second", "ecdsa")
    one = make_lab(lab, project, [{"sshd": ["AuthenticationMethods publickey,publickey"]}])
    allow(one, first, second)
    config(one, "IdentityFile %s" % first, "IdentityFile %s" % second)
    passes(project.run("--tx", spec(one), *LIBSSH, python=False))


# ---- what has to be asked ------------------------------------------------------------------------------------------------

def locked(one, tmp_path, name="locked"):
    key = make_key(tmp_path / name, passphrase="open sesame")
    allow(one, key)
    config(one, "IdentityFile %s" % key)
    return key


def test_an_encrypted_key_without_a_terminal(project, lab, tmp_path):
    one = make_lab(lab, project)
    key = locked(one, tmp_path)
    r = project.run("--tx", spec(one), *LIBSSH, python=False, start_new_session=True)
    refused(r, "Permission denied (publickey)", str(key), "no terminal")
    assert len([line for line in (r.out + r.err).splitlines() if line.strip()]) == 1, r


def test_an_encrypted_key_on_a_terminal(project, lab, terminal, tmp_path):
    one = make_lab(lab, project)
    key = locked(one, tmp_path)
    t = terminal("--tx", spec(one), *LIBSSH)
    t.answer("Enter passphrase for key '%s': " % key, "wrong")
    t.answer("Enter passphrase for key '%s': " % key, "open sesame")
    assert t.end() == 0 and "1 passed" in t.seen and "sesame" not in t.seen, t.seen


def test_a_wrong_passphrase_three_times(project, lab, terminal, tmp_path):
    one = make_lab(lab, project)
    key = locked(one, tmp_path)
    t = terminal("--tx", spec(one), *LIBSSH)
    for _ in range(3):
        t.answer("Enter passphrase for key '%s': " % key, "wrong")
    assert t.end() == 6 and "a wrong passphrase" in t.seen, t.seen


def test_batch_mode_asks_nothing(project, lab, terminal, tmp_path):
    one = make_lab(lab, project)
    key = locked(one, tmp_path)
    config(one, "IdentityFile %s" % key, "BatchMode yes")
    t = terminal("--tx", spec(one), *LIBSSH)
    assert t.end() == 6 and "Enter passphrase" not in t.seen and "Permission denied" in t.seen, t.seen


def test_ctrl_c_while_it_is_asked(project, lab, terminal, tmp_path):
    one = make_lab(lab, project)
    key = locked(one, tmp_path)
    t = terminal("--tx", spec(one), *LIBSSH)
    t.wait_for("Enter passphrase for key '%s': " % key)
    while t.echoes():
        time.sleep(0.01)
    begun = time.monotonic()
    os.write(t.fd, b"\x03")
    assert t.end() == 2, t.seen
    assert time.monotonic() - begun < 3
    assert t.echoes()  # as it was


def test_two_hosts_that_ask_do_not_mix(project, lab, terminal, tmp_path):
    one = make_lab(lab, project, [{}, {}])
    keys = {}
    for name in ("h1", "h2"):
        keys[name] = make_key(tmp_path / ("key-" + name), passphrase="of " + name)
        (one[name].folder / "etc" / "authorized_keys").write_text(keys[name].with_suffix(".pub").read_text())
    text = one.ssh_config.read_text()
    one.ssh_config.write_text("Host h1\n    IdentityFile %s\nHost h2\n    IdentityFile %s\n" % (keys["h1"], keys["h2"]) +
                              text[:text.index("Host *")] + "Host *\n    UserKnownHostsFile %s\n" % one.known_hosts)
    t = terminal("--tx", spec(one, "h1"), "--tx", spec(one, "h2"), *LIBSSH)
    for _ in range(2):
        t.wait_for("Enter passphrase for key '")
        until = time.monotonic() + 10
        while "': " not in t.seen[t.taken:] and time.monotonic() < until:
            t.read(0.1)
        name = re.match(r"\S*key-(h\d)': ", t.seen[t.taken:]).group(1)
        time.sleep(0.3)
        t.read(0.1)
        assert t.seen[t.taken:].endswith("key-%s': " % name), t.seen  # the other one waits
        os.write(t.fd, b"of %s\n" % name.encode())
        t.taken = len(t.seen)
    assert t.end() == 0 and "1 passed" in t.seen, t.seen




def test_a_question_stays_alone_while_another_host_collects(project, lab, terminal, tmp_path):
    """Neither the header nor the live line is written behind it."""
    one = make_lab(lab, project, [{}, {}])
    free, key = make_key(tmp_path / "free"), make_key(tmp_path / "key", passphrase="open sesame")
    for name, allowed in (("h1", free), ("h2", key)):
        (one[name].folder / "etc" / "authorized_keys").write_text(allowed.with_suffix(".pub").read_text())
    config(one, "IdentityFile %s" % free, "IdentityFile %s" % key)
    os.chmod(str(one["h1"].home / "proj"), 0o777)
    (one["h1"].home / "proj" / "conftest.py").write_text("def pytest_collection_finish(session): open('collected', 'w').close()\n")
    t = terminal("--live=always", "--tx", spec(one, "h1"), "--tx", spec(one, "h2"), *LIBSSH)
    prompt = "Enter passphrase for key '%s': " % key
    t.wait_for(prompt)
    until = time.monotonic() + 20
    while not (one["h1"].home / "proj" / "collected").exists() and time.monotonic() < until:
        t.read(0.1)
    assert (one["h1"].home / "proj" / "collected").exists()
    for _ in range(12):  # a live line is drawn after a second
        t.read(0.1)
    assert t.seen.endswith(prompt), t.seen
    os.write(t.fd, b"open sesame\n")
    assert t.end() == 0 and "1 passed" in t.seen, t.seen
    line = [line for line in t.seen.splitlines() if "test session starts" in line]
    assert len(line) == 1 and "passphrase" not in line[0], t.seen


def password_lab(lab, project, *sshd):
    """A host whose root has a password."""
    crypted = subprocess.run(["openssl", "passwd", "-6", "let me in"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    real = None
    import lab as labs
    real = labs.Host.write_files

    def write_files(self):
        real(self)
        path = self.folder / "files" / "shadow"
        path.write_text(path.read_text().replace("root:*:", "root:%s:" % crypted))
    labs.Host.write_files = write_files
    try:
        one = make_lab(lab, project, [{"sshd": list(sshd)}])
    finally:
        labs.Host.write_files = real
    config(one)
    one.key.unlink()
    return one


def test_a_password(project, lab, terminal):
    one = password_lab(lab, project, "PasswordAuthentication yes")
    t = terminal("--tx", spec(one), *LIBSSH)
    t.answer("root@%s's password: " % one["h1"].address, "wrong")
    t.answer("root@%s's password: " % one["h1"].address, "let me in")
    assert t.end() == 0 and "1 passed" in t.seen and "let me in" not in t.seen, t.seen


def test_a_password_without_a_terminal(project, lab):
    one = password_lab(lab, project, "PasswordAuthentication yes")
    r = project.run("--tx", spec(one), *LIBSSH, python=False, start_new_session=True)
    refused(r, "Permission denied (publickey,password)", "no terminal")


def test_keyboard_interactive(project, lab, terminal):
    one = password_lab(lab, project, "KbdInteractiveAuthentication yes", "UsePAM yes")
    t = terminal("--tx", spec(one), *LIBSSH)
    t.answer("(root@%s) Password: " % one["h1"].address, "let me in")
    assert t.end() == 0 and "1 passed" in t.seen, t.seen
