"""Temporary folders: those of all workers are below one, that the collector makes and cleans up, as below xdist's controller."""
from __future__ import absolute_import, division, print_function

import os

from xd_pytest import compat
from xd_pytest.pythons import fsdecode, fsencode


FACTORIES = frozenset(("tmp_path_factory", "tmpdir_factory"))  # before pytest 6.2 neither of them asks for the other


class BaseTemp(object):
    def __init__(self, path):
        self.path = path  # file that tells processes that collect by themselves; None: there is none
        self.base = None

    def share(self, config, items):
        """Where no test asks for a folder none is made; one that asks while it runs gets its worker's own."""
        if not any(FACTORIES.intersection(getattr(item, "fixturenames", ())) for item in items) and not config.option.basetemp:
            return
        if not compat.knows_temporary_folders(config):
            return  # every worker has its own
        factory = compat.TMP_PATH_FACTORY.of(config)
        try:
            self.base = None if factory is None else str(factory.getbasetemp())
        except Exception:
            self.base = None  # every worker then makes its own, or says why it cannot
        if self.path and self.base:
            try:
                with open(self.path + ".new", "wb") as f:
                    f.write(fsencode(self.base))
                os.rename(self.path + ".new", self.path)
            except (OSError, IOError):
                pass

    def give(self, config, factory, worker):
        """worker: its name; factory: that of a session that has one already."""
        if factory is not None and not compat.knows_temporary_folders(config):
            return
        base = self.base
        if base is None:
            try:
                with open(self.path or os.devnull, "rb") as f:
                    base = fsdecode(f.read())
            except (OSError, IOError):
                base = None
        if not base:
            if factory is not None:
                compat.renew_temporary_folders(factory, None)
            return
        mine = os.path.join(base, "popen-" + worker)
        config.option.basetemp = mine
        if factory is not None:
            compat.renew_temporary_folders(factory, mine)
