"""Edits of a tree (trees.py), as a person makes them; the same seed makes the same."""
import os
import random

BLOCK = 4096


def links(folder, seed=3):
    """Symbolic links, to a file beside each of a few."""
    rng = random.Random(seed)
    paths = sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    for path in rng.sample(paths, len(paths) // 500):
        os.symlink(os.path.basename(path), path + ".link")


class Edits(object):
    """Of one tree."""

    def __init__(self, folder, seed=2):
        self.folder, self.rng, self.count = folder, random.Random(seed), 0
        self.files = sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if not name.endswith(".link"))
        self.files = [path for path in self.files if 200 < os.path.getsize(path) < 100000]

    def change(self, count):
        """A line more somewhere in each of so many files."""
        for path in self.rng.sample(self.files, count):
            self.count += 1
            with open(path, "r+b") as f:
                data = f.read()
                at = self.rng.randrange(len(data))
                f.seek(at)
                f.write(b"    changed = %d\n" % self.count + data[at:])

    def rename(self):
        self.count += 1
        n = self.rng.randrange(len(self.files))
        new = "%s.%d" % (self.files[n], self.count)
        os.rename(self.files[n], new)
        if os.path.islink(self.files[n] + ".link"):
            os.unlink(self.files[n] + ".link")
        self.files[n] = new


def rewrite_blocks(path, seed, share=0.01):
    """Random blocks of a big file."""
    rng = random.Random(seed)
    with open(path, "r+b", buffering=0) as f:
        blocks = os.path.getsize(path) // BLOCK
        for n in rng.sample(range(blocks), int(blocks * share)):
            f.seek(n * BLOCK)
            f.write(rng.randbytes(BLOCK))


def insert(path, seed, length=100):
    """A few bytes after a third of it."""
    with open(path, "rb") as f:
        data = f.read()
    third = len(data) // 3
    with open(path, "wb", buffering=0) as f:
        for piece in (memoryview(data)[:third], random.Random(seed).randbytes(length), memoryview(data)[third:]):
            while len(piece):
                piece = piece[f.write(piece):]
