"""Results as files: canonical JSON, digests, an atomic write and one safe container.

The container is a zip with `certificate.json` and `arrays/<name>.npy`. Reading it executes nothing, and every
size is checked against a limit before memory is taken, so that a hostile file gives an error and not a crash.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import math
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CertificateError, InputError

_DTYPES = {"|b1", "|i1", "|u1", "<i2", "<i4", "<i8", "<f4", "<f8"}
_MAX_DOCUMENT = 1 << 24  # as Python objects, lists of empty lists take about twenty times their text
_MAX_ENTRIES = 10_000
# what zipfile, json, ast and numpy raise on a damaged or hostile file
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, LookupError, ValueError, RuntimeError, OSError, struct.error, SyntaxError, TypeError, OverflowError, MemoryError)


def canonical_json(obj: Any) -> str:
    """One text per value: sorted keys, no spaces, floats by repr (they round-trip exactly), no NaN.

    >>> canonical_json({"b": 0.1, "a": (1, True)})
    '{"a":[1,true],"b":0.1}'
    """
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written to a record")


def digest_array(array: np.ndarray) -> str:
    """SHA-256 over dtype, shape and little-endian bytes.

    >>> digest_array(np.zeros(2)) == digest_array(np.zeros((2, 1)))
    False
    """
    a = np.asarray(array)
    a = np.ascontiguousarray(a.astype(a.dtype.newbyteorder("<"), copy=False)).reshape(a.shape)
    h = hashlib.sha256(f"{a.dtype.str}{a.shape}".encode())
    h.update(a.data if a.size else b"")
    return h.hexdigest()


def digest_graph(graph) -> str:
    """SHA-256 of structure, attributes and weights; nodes are numbered, so names and sources do not enter."""
    number = {node.name: i for i, node in enumerate(graph.nodes)}
    rows = [
        [node.op, [number[i] for i in node.inputs], node.shape, dict(node.attrs), {k: digest_array(a) for k, a in node.arrays.items()}]
        for node in graph.nodes
    ]
    return hashlib.sha256(canonical_json([rows, number[graph.output]]).encode()).hexdigest()


def as_path(path) -> Path:
    """A str or path-like as a Path; anything else is an InputError, not a TypeError from deep inside."""
    if isinstance(path, str | os.PathLike):
        return Path(path)
    raise InputError("this is not the name of a file", where="argument path", found=f"{path!r} ({type(path).__name__})"[:200], expected="a str or pathlib.Path")


@contextlib.contextmanager
def atomic_path(path) -> Iterator[Path]:
    """A temporary name beside `path`: renamed onto it when the block ends well, removed when it does not (error, Ctrl-C).

    Raises:
        InputError: the folder does not exist, is not writable, or the disk is full.
    """
    path = as_path(path)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise InputError(
            "a file could not be written",
            where=path,
            found=error.strerror or str(error),
            expected="a writable folder with enough space",
            hint="nothing was left half-written; choose another place or free some space",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_record(path, document: Mapping, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write document and arrays as one zip, atomically. Same content gives the same bytes (no time stamps).

    Raises:
        InputError: a number in the document is NaN or infinite (the reader refuses those), or the path cannot be written.
    """
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=_plain, allow_nan=False).encode()
    except ValueError as error:
        raise InputError("a record holds a number that is not finite", where=path, found=str(error)[:200], expected="finite numbers") from error
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _entry(archive, "certificate.json", text)
        for name, array in arrays.items():
            buffer = io.BytesIO()
            a = np.asarray(array)
            np.lib.format.write_array(buffer, a.astype(a.dtype.newbyteorder("<"), copy=False), allow_pickle=False)
            _entry(archive, f"arrays/{name}.npy", buffer.getbuffer())
    return Path(path)


def _entry(archive: zipfile.ZipFile, name: str, data) -> None:
    info = zipfile.ZipInfo(name)  # the fixed default date makes the file reproducible
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data, compresslevel=1)


def read_record(path, max_bytes: int = 1 << 30) -> tuple[dict, dict[str, np.ndarray]]:
    """Document and arrays of a record; at most `max_bytes` for the arrays and about 30 times 16 MiB for the document.

    Raises:
        InputError: no such file.
        CertificateError: not a record, damaged, or larger than the limit.
    """
    path = as_path(path)
    if not path.is_file():
        raise InputError("there is no such certificate file", where=path, hint="give the path that `save` or `--out` wrote")
    try:
        _require_small_directory(path)
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if len({i.filename for i in infos}) != len(infos) or len(infos) > _MAX_ENTRIES:
                raise CertificateError("the record lists an entry twice or too many entries", where=path, found=len(infos))
            if any(i.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for i in infos):  # others allocate what the file asks for
                raise CertificateError("the record uses a compression that we do not write", where=path, expected="stored or deflated entries")
            if any(i.compress_size > path.stat().st_size for i in infos):  # zipfile asks the system for as many bytes as the directory says
                raise CertificateError("an entry of the record claims more bytes than the file has", where=path)
            size = sum(i.file_size for i in infos)
            if size > max_bytes:
                raise CertificateError("the record is larger than the limit", where=path, found=f"{size} bytes", expected=f"at most {max_bytes}")
            document = json.loads(_read(archive, "certificate.json", _MAX_DOCUMENT), parse_constant=_refuse_constant)
            names = [i.filename for i in infos if i.filename.startswith("arrays/") and i.filename.endswith(".npy")]
            arrays = {name[7:-4]: _array(archive, name) for name in names}
    except CertificateError:
        raise
    except _DAMAGE as error:
        raise CertificateError(
            "the file is not a readable record: damaged, truncated or something else",
            where=path,
            found=f"{type(error).__name__}: {str(error)[:300]}",
            expected="a zip with certificate.json and arrays/*.npy",
            hint="copy the file again, or write the certificate anew",
        ) from error
    if not isinstance(document, dict):
        raise CertificateError("certificate.json is not an object", where=path, found=type(document).__name__)
    return document, arrays


def _require_small_directory(path: Path) -> None:
    """Refuse a zip whose list of entries is longer than any that we write, before `zipfile` makes an object of each.

    Zip64 end records are refused altogether: they override the sizes seen here, and a record below 4 GiB has none.
    """
    with open(path, "rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 66_000))
        tail = stream.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < 22:
        raise ValueError("no end of a zip directory")
    entries, size = struct.unpack("<HI", tail[place + 10 : place + 16])
    if b"PK\6\7" in tail or entries > _MAX_ENTRIES or size > 1 << 24:
        raise ValueError(f"a zip directory of {entries} entries and {size} bytes, or zip64")


def _refuse_constant(name: str):
    raise ValueError(f"{name} is not allowed")


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise ValueError(f"{name} is larger than {limit} bytes")
    with archive.open(name) as stream:
        return stream.read()  # at most file_size bytes; also checks the CRC at the end of the entry


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """A .npy entry, by our own reading of the header: only plain little-endian numbers, memory taken for exactly the promised size."""
    with archive.open(name) as stream:
        start = stream.read(10)
        if start[:6] != b"\x93NUMPY" or len(start) < 10:
            raise ValueError(f"{name} is not an array")
        length, used = struct.unpack("<H", start[8:])[0], 10
        if start[6] != 1:
            length, used = struct.unpack("<I", start[8:] + stream.read(2))[0], 12
        if length > 4096:
            raise ValueError(f"{name}: header of {length} bytes")
        header = ast.literal_eval(stream.read(length).decode("latin1"))
        descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
        if descr not in _DTYPES or not isinstance(shape, tuple) or len(shape) > 32 or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape) or fortran not in (True, False):
            raise ValueError(f"{name}: header {str(header)[:200]}")
        dtype, count = np.dtype(descr), math.prod(shape)
        if count * dtype.itemsize != archive.getinfo(name).file_size - used - length:
            raise ValueError(f"{name}: {archive.getinfo(name).file_size} bytes for shape {shape}")
        flat = np.empty(count, dtype)
        _fill(stream, flat, name)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _fill(stream, flat: np.ndarray, name: str) -> None:
    """Read exactly the array's bytes, in pieces: no second copy. Reading to the end checks the CRC."""
    body = flat.view(np.uint8).data if flat.size else memoryview(b"")
    done = 0
    while done < len(body):
        piece = stream.read(min(1 << 20, len(body) - done))
        if not piece:
            raise EOFError(f"{name} ends after {done} of {len(body)} bytes")
        body[done : done + len(piece)] = piece
        done += len(piece)
    if stream.read(1):
        raise ValueError(f"{name} is longer than its header says")
