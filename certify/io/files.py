"""Reading a file into memory with a bound: plain or gzip, never more than it may become."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from ..core.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
MAX_FILE = 2 << 30  # protobuf itself ends at 2 GiB
_FLOOR, _RATIO, _CHUNK = 64 << 20, 100, 1 << 20  # weights and images compress by 1.1 to 20; deflate cannot pass 1032


def regular_file(path, kind: str = "file") -> Path:
    """`path` as an existing regular file (not a folder, pipe or device, which could block for ever).

    Raises:
        InputError: it is none.
    """
    try:
        path = Path(path)
        if path.is_file():
            return path
        found = "a folder" if path.is_dir() else "something that is not a regular file" if path.exists() else "nothing there"
    except (TypeError, ValueError, OSError) as error:  # not a path at all, an embedded NUL, a name too long
        raise InputError(f"this is not the path of a {kind}", where=repr(path)[:200], found=str(error), expected="a path") from error
    raise InputError(f"the {kind} cannot be read", where=path, found=found, expected="an existing file", hint="check the spelling and the current folder")


def unpacked_limit(packed: int, limit: int = MAX_FILE) -> int:
    """How many bytes a gzip file of `packed` bytes may become: 100 times its size, at least 64 MiB, at most `limit`."""
    return min(limit, max(_FLOOR, _RATIO * packed))


def read_file(path, kind: str = "file", limit: int = MAX_FILE) -> bytes | bytearray:
    """The bytes of a file, unpacked when they are gzip (told by its first two bytes, not by its name).

    Guarantee: at most `limit` bytes, and from gzip at most `unpacked_limit`, are ever held; unpacking stops there.

    Raises:
        InputError: no such file, not readable, too large, or damaged gzip data.
    """
    path = regular_file(path, kind)
    try:
        with open(path, "rb") as stream:
            size = path.stat().st_size
            if size > limit:
                raise InputError(f"the {kind} is too large", where=path, found=f"{size} bytes", expected=f"at most {limit} bytes")
            if stream.read(2) != GZIP_MAGIC:
                stream.seek(0)
                return stream.read(size)  # not `limit`: a raw read takes memory for what is asked
            stream.seek(0)
            return _unpack(stream, unpacked_limit(size, limit), path, kind)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"the {kind} is damaged: its gzip data cannot be unpacked", where=path, found=str(error), expected="a complete gzip file", hint="copy or download the file again"
        ) from error
    except MemoryError as error:
        raise InputError(f"there is not enough memory for the {kind}", where=path, found=f"{path.stat().st_size} bytes") from error
    except OSError as error:
        raise InputError(f"the {kind} cannot be read", where=path, found=error.strerror or str(error), expected="a readable file") from error


def _unpack(stream, limit: int, path: Path, kind: str) -> bytearray:
    data = bytearray()
    with gzip.GzipFile(fileobj=stream) as unpacked:
        while chunk := unpacked.read(_CHUNK):
            data += chunk
            if len(data) > limit:
                raise InputError(
                    f"the packed {kind} unpacks to more than is allowed",
                    where=path,
                    found=f"more than {limit} bytes from {path.stat().st_size}",
                    expected=f"at most {_RATIO} times the packed size (or {_FLOOR >> 20} MiB, if that is more)",
                    hint="if you trust the file, unpack it with gunzip and give the plain file",
                )
    return data
