"""Where bench sync works: a file system of its own, a lab on it, and what compares two trees.

Sources, destinations and the homes of the lab's hosts lie on one ext4 with a journal, loop-mounted where root can mount: some machines' own disk has
none, and removing and making ten thousand files there costs seconds that are no program's.  The mount is seen by this process and its children alone,
and its image has no name: nothing of it stays, however the bench ends."""
import ctypes
import hashlib
import mmap
import os
import shutil
import stat
import subprocess

import measure
from lab import linux

IMAGE_GIB = 24
OURS = b".xd-sync"  # what xd remembers in a destination
SEEN = b".xd-sync-seen"  # the same of a tree that was only looked at; left when the end came while it was written, which harms nobody
UNFINISHED = b".xd-sync-new"  # the same, of a synchronisation that was cut; left after a whole one it is a fault, though no wrong copy
left_over = []  # destinations with one


def mount(image, folder):
    """Why there is no file system of our own, or None."""
    if os.geteuid() != 0:
        return "not root: no loop mount"
    free = shutil.disk_usage(os.path.dirname(image)).free >> 30
    if free < 12:
        return "%d GiB free: too little for an image" % free
    device = None
    try:
        linux.unshare(linux.NEWNS)
        linux.private_mounts()
        with open(image, "wb") as f:
            f.truncate(min(IMAGE_GIB, free - 4) << 30)
        for command in (["mkfs.ext4", "-q", "-E", "lazy_itable_init=1,lazy_journal_init=1", image], ["losetup", "--direct-io=on", "--find", "--show", image]):
            device = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, universal_newlines=True).stdout.strip()
        # noinit_itable: the kernel would write the inode tables while we measure
        subprocess.run(["mount", "-t", "ext4", "-o", "noinit_itable", device, folder], stderr=subprocess.PIPE, check=True, universal_newlines=True)
    except (OSError, subprocess.CalledProcessError) as e:
        return "no loop mount: %s" % (getattr(e, "stderr", None) or e)
    finally:
        if device:
            subprocess.run(["losetup", "-d", device])  # goes with the last mount of it
        if os.path.exists(image):
            os.unlink(image)
    return None


def settle(folder):
    """What is to be written to that file system is written."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(fd)
    finally:
        os.close(fd)


def warm_memory(size=3 << 30):
    """Touches free memory once. A virtual machine gives unused memory back to its host, and getting it again costs a fault per page, up to seconds per GiB, to the first program that writes there."""
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000).close()  # MAP_POPULATE


def digest(path):
    sha = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        while True:
            data = f.read(1 << 20)
            if not data:
                return sha.hexdigest()[:16]
            sha.update(data)


def snapshot(folder):
    """{path: what stands there}, contents by digest; reads all, so it warms the page cache too."""
    found, todo = {}, [b""]
    top = os.fsencode(folder)
    while todo:
        at = todo.pop()
        with os.scandir(os.path.join(top, at)) as entries:
            for entry in entries:
                path = os.path.join(at, entry.name)
                st = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(st.st_mode):
                    found[path] = ("folder", stat.S_IMODE(st.st_mode))
                    todo.append(path)
                elif stat.S_ISLNK(st.st_mode):
                    found[path] = ("link", os.readlink(entry.path))
                else:
                    found[path] = ("file", digest(entry.path), stat.S_IMODE(st.st_mode), st.st_mtime_ns)
    return found


def difference(source, folder, strict=True):
    """The first difference between a snapshot and a destination, or None.  strict: modes and times too; else kinds, contents and links."""
    there = snapshot(folder)
    there.pop(OURS, None)
    there.pop(SEEN, None)
    if there.pop(UNFINISHED, None):
        left_over.append(folder)
    for path in sorted(set(source) | set(there)):
        a, b = source.get(path), there.get(path)
        if not strict:
            a, b = a and a[:1 if a[0] == "folder" else 2], b and b[:1 if b[0] == "folder" else 2]
        if a != b:
            return "%s: %s at the source, %s there" % (os.fsdecode(path), a, b)
    return None


def check(source, folder, who, strict=True):
    found = difference(source, folder, strict)
    if found:
        raise Wrong("%s made a wrong copy: %s" % (who, found))


class Wrong(measure.Failure):
    """A program did not do what it is measured at."""
