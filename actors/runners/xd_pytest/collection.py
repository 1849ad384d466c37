"""Collected items as COLLECT_IDS frames, and where they are in the source."""
from __future__ import absolute_import, division, print_function

import os
import struct

from xd_pytest import wire
from xd_pytest.page import PAGE_FILES, PAGE_ITEMS
from xd_pytest.text import encode_id
from xd_pytest.xdistlike import Groups

IDS_LIMIT = 60 * 1024     # bytes of one COLLECT_IDS frame
NOTHING_SHARED = b"\0\0"  # the agent shortens what travels on
FRAME_HEADER = struct.Struct("<IHHQ")
LENGTH, LENGTHS, LINE_LENGTH = struct.Struct("<I"), struct.Struct("<II"), struct.Struct("<iI")

FunctionType = type(encode_id)


class CollectProgress(object):
    """Keeps on the page, where the agent looks, how far the collection is."""

    def __init__(self, page):
        import pytest
        self.words, self.file_type, self.folder_type, self.item_type = page.words, pytest.File, pytest.Package, pytest.Item

    def begins(self, node):
        if isinstance(node, self.file_type) and not isinstance(node, self.folder_type):
            self.words[PAGE_FILES] += 1

    def found(self, nodes):
        self.words[PAGE_ITEMS] += sum(isinstance(node, self.item_type) for node in nodes or ())


def collection_frames(items):
    """COLLECT_IDS, made without the generic codec: there may be a hundred thousand (tests compare the two)."""
    part, size, first = [], 0, 0
    groups = Groups()
    for index, item in enumerate(items):
        nodeid = item.nodeid
        try:
            data = nodeid.encode("utf-8")
        except UnicodeEncodeError:
            data = nodeid.encode("utf-8", "surrogatepass")
        line = plain_line(item, nodeid)
        file = ""
        if line is None:
            file, line, _domain = item.location
        file = b"" if not file or (nodeid.startswith(file) and nodeid[len(file):len(file) + 2] in ("::", "")) else encode_id(file)
        group = groups.of(item)
        entry = b"".join((NOTHING_SHARED, LENGTH.pack(len(data)), data, LINE_LENGTH.pack(-1 if line is None else line, len(file)), file,
                          LENGTH.pack(len(group)), group))
        if size + len(entry) > IDS_LIMIT and part:
            yield ids_frame(first, part)
            part, size, first = [], 0, index
        size += len(entry)
        part.append(entry)
    if part:
        yield ids_frame(first, part)


def ids_frame(first, part):
    body = b"".join([LENGTHS.pack(first, len(part))] + part)
    return FRAME_HEADER.pack(len(body), wire.COLLECT_IDS, 0, 0) + body


def put_in_order(items, places):
    """ORDER: the same tests as they are numbered in the run."""
    items[:] = [items[place.item] for place in places]


def plain_line(item, nodeid):
    """item.location[1] of an undecorated test function in the file of its node id, without the file system, which item.location asks;
    None: ask it."""
    function = getattr(item, "_obj", None)
    function = getattr(function, "__func__", function)
    if type(item).__module__ != "_pytest.python" or type(function) is not FunctionType:
        return None
    for name in function.__dict__:
        if name != "pytestmark":
            return None
    code = function.__code__
    path = os.fspath(item.path)
    if code.co_filename != path or "reportinfo" in item.__dict__ or path != os.path.join(root_of(item), nodeid.partition("::")[0]):
        return None
    return code.co_firstlineno - 1


def root_of(item):
    return os.fspath(item.config.rootpath)


def give_location(item):
    """item.location of such a function, before pytest computes the same."""
    if "location" not in item.__dict__:
        nodeid = item.nodeid
        try:
            line = plain_line(item, nodeid)
        except Exception:  # an item that is like none of pytest's
            line = None
        if line is not None:
            item.__dict__["location"] = (nodeid.partition("::")[0], line, item.getmodpath())
