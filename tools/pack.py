"""Packs an agent for its way to hosts where nothing is installed (gateways/deliver.h): AGENT.xz, AGENT.gz and AGENT.sums.

AGENT.sums is one line of words: build id, size, SHA-256, cksum(1), size of AGENT.gz, size of AGENT.xz (0 = there is none).
"""
import gzip
import hashlib
import os
import sys

try:
    import lzma
except ImportError:  # a Python that was built without it: agents then travel as gzip
    lzma = None


def cksum(data):
    """What the POSIX utility cksum prints."""
    crc = 0
    length = len(data)
    tail = bytearray()
    while length:
        tail.append(length & 0xFF)
        length >>= 8
    table = []
    for n in range(256):
        c = n << 24
        for _ in range(8):
            c = (c << 1 ^ 0x04C11DB7 if c & 0x80000000 else c << 1) & 0xFFFFFFFF
        table.append(c)
    for byte in data + bytes(tail):
        crc = crc << 8 & 0xFFFFFFFF ^ table[crc >> 24 ^ byte]
    return crc ^ 0xFFFFFFFF


def write(path, data):
    with open(path + ".new", "wb") as f:
        f.write(data)
    os.rename(path + ".new", path)


def main(program, out, build_id):
    with open(program, "rb") as f:
        data = f.read()
    packed = gzip.compress(data, 9, mtime=0)
    small = b""
    if lzma:  # the check and the dictionary that the smallest decompressors know
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 21}]
        small = lzma.compress(data, check=lzma.CHECK_CRC32, filters=filters)
        write(out + ".xz", small)
    write(out + ".gz", packed)
    sums = (build_id, len(data), hashlib.sha256(data).hexdigest(), cksum(data), len(packed), len(small))
    write(out + ".sums", (" ".join(map(str, sums)) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
