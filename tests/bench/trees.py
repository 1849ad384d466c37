"""Trees of files for measurements of the synchronisation: make(KIND, FOLDER), or `trees.py KIND FOLDER` [SEED].

Numbers of files, folders and bytes are those of real projects (django, cpython), or of larger ones (many, fifty); sizes are distributed lognormally. The contents are cut from the library of the
interpreter that runs this, so they compress as source text does; a line of its own in each file keeps files from being equal. One seed always makes the same tree, on one interpreter."""
import os
import random
import sys
import sysconfig

KINDS = {  # files, folders below the top, bytes, sigma of the sizes' logarithm, most names in a path
    "django": (6484, 3110, 39700000, 1.5, 8),
    "cpython": (4450, 320, 95700000, 1.6, 6),
    "many": (80000, 4441, 291000000, 1.2, 8),
    "fifty": (50000, 2500, 75000000, 0.8, 7),
}
BIG_BYTES = 1 << 30
WORDS = "core utils models views forms tests admin api client server parser data io net text cache auth locale templates backends".split()
SUFFIXES = [".py"] * 12 + [".txt", ".html", ".json", ".c", ".h", ".cfg"]


def corpus(limit=48 << 20):
    """Source text of the standard library, in one piece."""
    parts, size = [], 0
    top = sysconfig.get_path("stdlib")
    for folder, below, names in os.walk(top):
        below[:] = sorted(b for b in below if b not in ("site-packages", "dist-packages", "__pycache__"))
        for name in sorted(names):
            if name.endswith(".py") and size < limit:
                with open(os.path.join(folder, name), "rb") as f:
                    parts.append(f.read())
                size += len(parts[-1])
    return b"".join(parts)


def sizes(rng, count, total, sigma):
    """Lognormal, with exactly this sum."""
    raw = [rng.lognormvariate(0, sigma) for _ in range(count)]
    scale = total / sum(raw)
    ret = [int(r * scale) for r in raw]
    for i in range(total - sum(ret)):
        ret[i % count] += 1
    return ret


def folder_paths(rng, count, depth):
    """Relative paths, each behind the one that it is in; "" first."""
    paths, depths = [""], [0]
    while len(paths) <= count:
        at = rng.randrange(len(paths))
        if depths[at] < depth:
            paths.append(os.path.join(paths[at], "%s_%d" % (rng.choice(WORDS), len(paths))))
            depths.append(depths[at] + 1)
    return paths


def content(rng, text, size, path):
    head = ("# %s %d\n" % (path, rng.randrange(1 << 30))).encode()
    if size <= len(head):
        return head[:size]
    begin = rng.randrange(max(1, len(text) - size))
    body = text[begin:begin + size - len(head)]
    while len(head) + len(body) < size:
        body += text[:size - len(head) - len(body)]
    return head + body


def make_big(folder, rng):
    with open(os.path.join(folder, "big.bin"), "wb") as f:
        for _ in range(BIG_BYTES >> 20):
            f.write(rng.getrandbits(8 << 20).to_bytes(1 << 20, "little"))


def make(kind, folder, seed=1):
    """Makes the tree below `folder`, which must not exist or be empty."""
    rng = random.Random("%s %d" % (kind, seed))
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise SystemExit("trees.py: %s is not empty" % folder)
    if kind == "big":
        return make_big(folder, rng)
    files, folders, total, sigma, depth = KINDS[kind]
    text = corpus()
    paths = folder_paths(rng, folders, depth)
    for path in paths[1:]:
        os.mkdir(os.path.join(folder, path))
    names = []
    for number, size in enumerate(sizes(rng, files, total, sigma)):
        name = "%s_%d%s" % (rng.choice(WORDS), number, rng.choice(SUFFIXES))
        names.append((os.path.join(rng.choice(paths), name), size))
    for path, size in sorted(names):  # folder by folder, as a checkout or an archive does it: neighbours have neighbouring inodes
        mode = 0o755 if rng.random() < 0.02 else 0o644
        fd = os.open(os.path.join(folder, path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(fd, "wb") as f:
            f.write(content(rng, text, size, path))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in list(KINDS) + ["big"]:
        raise SystemExit("usage: trees.py %s|big FOLDER [SEED]" % "|".join(KINDS))
    make(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) == 4 else 1)
