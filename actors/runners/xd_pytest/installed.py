"""The packages that this interpreter has, as lines for tools/xdagent/look.c:
    package FLAGS NAME VERSION   one that is installed; the name as PEP 503 has it, FLAGS as in wire.def
    packages COUNT               these are all
    unlisted TEXT                why there is no list"""
from __future__ import absolute_import, division, print_function

import json
import os
import re
import threading

from xd_pytest.constants import PACKAGE_OWN, PACKAGE_PLUGIN
from xd_pytest.pythons import metadata
from xd_pytest.text import encode

PACKAGES_MOST = 10000
BYTES_MOST = 900 << 10  # of all lines
TEXT_MOST = 200         # characters of a name, or of a version
SECONDS = 20            # a slow disk is not waited for longer: nothing fails without a list


class Unlisted(Exception):
    pass


def of_metadata(module):
    """Of importlib.metadata, and of the package that stands in for it: a reader of its files, and the folder that has it."""
    for one in module.distributions():
        yield one.read_text, str(one.locate_file(""))


def of_resources(module):
    def reader(one):
        return lambda name: one.get_metadata(name) if one.has_metadata(name) else None
    for one in module.WorkingSet():
        yield reader(one), one.location


def found():
    try:
        return of_metadata(metadata())
    except ImportError:
        pass
    try:
        import pkg_resources as module
    except ImportError:
        raise Unlisted("its Python has neither importlib.metadata nor pkg_resources")
    return of_resources(module)


def text_of(read, *names):
    for name in names:
        try:
            text = read(name)
        except Exception:  # no UTF-8, no permission, broken in another way
            text = None
        if text:
            return text
    return ""


def header_of(text):
    """Name and version; the long description behind them costs ten times more in a parser of mail."""
    fields = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not line.strip():
            break
        if colon:
            fields.setdefault(key.strip().lower(), value)
    return fields.get("name", ""), fields.get("version", "")


def normal(name):
    return re.sub(r"[-_.\s]+", "-", name.strip()).lower()


def is_plugin(read):
    return any(re.sub(r"\s", "", line) == "[pytest11]" for line in text_of(read, "entry_points.txt").splitlines())


def is_editable(read):
    try:
        return bool(json.loads(text_of(read, "direct_url.json") or "{}")["dir_info"]["editable"])
    except (KeyError, TypeError, ValueError):
        return False


def project_root(folder):
    """The top of its git repository, or itself."""
    at = folder
    while not os.path.exists(os.path.join(at, ".git")):
        if os.path.dirname(at) == at:
            return folder
        at = os.path.dirname(at)
    return at


def is_source(folder, root):
    """Of the project, whose virtual environment is none of it; or one that setup.py has linked (its .egg-info is in the source)."""
    rest = os.path.relpath(os.path.realpath(folder), root).split(os.sep)
    if rest[0] != os.pardir and "site-packages" not in rest and "dist-packages" not in rest:
        return True
    return any(os.path.exists(os.path.join(folder, name)) for name in ("setup.py", "pyproject.toml"))


def lines():
    names, size, sources = set(), 0, {}
    root = project_root(os.path.realpath(os.getcwd()))
    for read, folder in found():
        name, version = header_of(text_of(read, "METADATA", "PKG-INFO", ""))
        name, version = normal(name)[:TEXT_MOST], " ".join(version.split())[:TEXT_MOST]
        if not name or name in names:  # the first on sys.path is the one that is imported
            continue
        names.add(name)
        if folder not in sources:
            sources[folder] = is_source(folder, root)
        flags = PACKAGE_PLUGIN if is_plugin(read) else 0
        if sources[folder] or is_editable(read):
            flags |= PACKAGE_OWN
        line = encode("package %d %s %s" % (flags, name, version))
        size += len(line) + 1
        if len(names) > PACKAGES_MOST or size > BYTES_MOST:
            raise Unlisted("its Python has more than 10,000 packages, or very long names")
        yield line
    yield encode("packages %d" % len(names))


def say(write, seconds=SECONDS):
    """write: takes all lines, as bytes.  They are made in a thread: nothing else leaves a disk that hangs."""
    done = []

    def take():
        try:
            done.append(list(lines()))
        except Unlisted as e:
            done.append([encode("unlisted %s" % e)])
        except Exception as e:
            done.append([encode("unlisted its packages cannot be read: %s: %s" % (type(e).__name__, " ".join(str(e).split())))])

    thread = threading.Thread(target=take)
    thread.daemon = True
    thread.start()
    thread.join(seconds)
    if not done:
        done.append([encode("unlisted its packages could not be read within %g s" % seconds)])
    write(b"\n".join(done[0]) + b"\n")
