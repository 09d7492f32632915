"""Zip archives from strangers: sizes are looked at before `zipfile` makes objects of them."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path

MAX_ENTRIES, _MAX_DIRECTORY = 10_000, 1 << 24
DEFLATE = 1032  # the most that deflate can expand
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError, RuntimeError, OSError, struct.error, OverflowError, IndexError)


def require_small_directory(path: Path) -> None:
    """Refuse what is not a zip archive, and a list of entries longer than any that is read here.

    It looks where `zipfile` looks: the last end record, and the zip64 record right before its locator.

    Raises:
        zipfile.BadZipFile: either of these.
    """
    with open(path, "rb") as stream:
        if stream.read(4) != b"PK\3\4":
            raise zipfile.BadZipFile("it does not start like a zip archive")
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 66_000))
        tail = stream.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < 22:
        raise zipfile.BadZipFile("no end of a zip directory")
    entries, size = struct.unpack("<HI", tail[place + 10 : place + 16])
    if tail[max(0, place - 20) : place].startswith(b"PK\6\7"):
        wide = tail[max(0, place - 76) : place - 20]
        if len(wide) == 56 and wide.startswith(b"PK\6\6"):
            entries, size = struct.unpack("<QQ", wide[32:48])
    if entries > MAX_ENTRIES or size > _MAX_DIRECTORY:
        raise zipfile.BadZipFile(f"a directory of {entries} entries and {size} bytes")


def require_sane_sizes(infos: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse entries that reach beyond the file: `zipfile` asks the system for as many bytes as the directory says.

    Raises:
        zipfile.BadZipFile: naming the entry.
    """
    held = path.stat().st_size
    for info in infos:
        if info.compress_size > held or not 0 <= info.header_offset <= held:
            raise zipfile.BadZipFile(f"{info.filename[:80]!r} claims {info.compress_size} bytes at {info.header_offset} of a file of {held}")
