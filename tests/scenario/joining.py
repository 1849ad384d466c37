"""Hosts that join a run (`xdctl run --listen`, `xdctl join`), for the scenarios: the run's keys and port, tokens, and joins that end with the test."""
import os
import socket
import subprocess

from conftest import XDCTL, clean_environment, end


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Listening(object):
    """A run that listens: `options` for it, and `join` for those who come.  The run's name is known before it is started, so all may be started in any order."""

    def __init__(self, project, name="joined"):
        self.project, self.name = project, name
        self.keys = project.path / ("keys-" + name)
        self.port = free_port()
        self.joins = []
        assert project.xdctl("keygen", "--keys", self.keys, "-C", name).rc == 0

    @property
    def at(self):
        return "127.0.0.1:%d" % self.port

    def listens(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def options(self, least=1):
        return ["--keys=%s" % self.keys, "--listen=" + self.at, "--testrunuid=" + self.name, "--min-workers=%d" % least, "--wait=60s"]

    def token(self, *args):
        made = self.project.xdctl("token", "--keys", self.keys, "--run", self.name, *args)
        assert made.rc == 0, made
        return made.out.strip()

    def join(self, workers=1, *args, **env):
        """Popen of `xdctl join`, on a host with a home of its own."""
        home = self.project.path / ("host%d" % len(self.joins))
        home.mkdir()
        env = dict(dict(HOME=str(home), XDG_CACHE_HOME=str(home / "cache"), XD_TOKEN=self.token()), **env)
        with open(str(home / "log"), "wb") as log:
            self.joins.append(subprocess.Popen([XDCTL, "join", self.at, "--workers=%d" % workers] + list(args), stdin=subprocess.DEVNULL, stdout=log,
                                               stderr=log, cwd=str(home), env=clean_environment(**env)))
        self.joins[-1].home = home
        return self.joins[-1]

    def end(self):
        for process in self.joins:
            end(process)
