"""IDX files, the format of MNIST and its family: two zero bytes, a type, a number of axes, sizes, numbers; all big-endian."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import InputError
from .files import GZIP_MAGIC, regular_file

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_AXES, _CHUNK = 8, 1 << 20
_DEFLATE = 1032  # the most that deflate can expand


def read_idx(path, max_bytes: int = 4 << 30) -> np.ndarray:
    """The array of an IDX file, plain or gzip.

    Guarantee: memory is taken for the size in the header only when the file is large enough to hold it, and nothing may follow.

    Raises:
        InputError: not IDX, truncated, something behind the data, or larger than `max_bytes`.
    """
    path = regular_file(path, "IDX file")
    try:
        with open(path, "rb") as stream:
            packed = stream.read(2) == GZIP_MAGIC
            stream.seek(0)
            size = path.stat().st_size
            if not packed:
                return _read(stream, size, path, max_bytes)
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return _read(unpacked, _DEFLATE * size, path, max_bytes)  # type: ignore[arg-type]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError("the IDX file is damaged: its gzip data cannot be unpacked", where=path, found=str(error), hint="download the file again") from error
    except MemoryError as error:
        raise InputError("there is not enough memory for the IDX file", where=path) from error
    except OSError as error:
        raise InputError("the IDX file cannot be read", where=path, found=error.strerror or str(error)) from error


def _read(stream: BinaryIO, available: int, path: Path, max_bytes: int) -> np.ndarray:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not 1 <= head[3] <= _MAX_AXES:
        raise InputError(
            "this is not an IDX file",
            where=path,
            found=head.hex(" ") or "an empty file",
            expected="00 00, a type from 08 to 0e, 1 to 8 axes",
            hint="MNIST images start with 00 00 08 03, labels with 00 00 08 01",
        )
    sizes = stream.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise InputError("the IDX file ends inside its header", where=path, found=f"{4 + len(sizes)} bytes")
    shape = struct.unpack(f">{head[3]}I", sizes)
    dtype = np.dtype(_TYPES[head[2]])
    count = math.prod(shape) * dtype.itemsize
    if count > max_bytes:
        raise InputError("the IDX file is too large", where=path, found=f"{shape} {dtype.name}, {count} bytes", expected=f"at most {max_bytes}")
    if count > available:
        raise _truncated(path, f"at most {available} bytes", shape, dtype, count)
    flat = np.empty(math.prod(shape), dtype=dtype)
    view, done = flat.view(np.uint8), 0
    while done < count:
        piece = stream.read(min(_CHUNK, count - done))
        if not piece:
            raise _truncated(path, f"{done} bytes", shape, dtype, count)
        view[done : done + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
        done += len(piece)
    if stream.read(1):
        raise InputError(
            "the IDX file holds more than its header says", where=path, expected=f"{count} bytes for {shape} {dtype.name}", hint="the file is damaged: download it again"
        )
    return flat.astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _truncated(path: Path, found: str, shape: tuple, dtype: np.dtype, count: int) -> InputError:
    return InputError("the IDX file is truncated", where=path, found=found, expected=f"{count} bytes for {shape} {dtype.name}", hint="download the file again")


def idx_pair(path, split: str) -> tuple[Path, Path] | None:
    """(images, labels) of an MNIST-like data set from its folder, or from either file; None where there is none.

    Files are found by "images" with "idx3" and "labels" with "idx1" in the name, in any of the usual spellings; `split` is "test"
    (names with t10k or test) or "train", and only matters for a folder.
    """
    path = Path(path)
    if path.is_file():
        name = path.name
        for a, b in (("images", "labels"), ("labels", "images")):
            if a in name:
                partner = name.replace(a, b).replace("idx3", "idx?").replace("idx1", "idx?").replace("idx?", "idx1" if b == "labels" else "idx3")
                other = next((p for p in (path.with_name(partner), path.with_name(partner + ".gz"), path.with_name(partner.removesuffix(".gz"))) if p.is_file()), None)
                if other is None:
                    raise InputError(f"the {b} that belong to these {a} are missing", where=path, expected=path.with_name(partner), hint="both IDX files must lie in one folder")
                return (path, other) if a == "images" else (other, path)
        raise InputError(
            "the name of the IDX file does not say whether it holds images or labels",
            where=path,
            expected="a name with 'images' or 'labels'",
            hint="rename the pair like MNIST: train-images-idx3-ubyte, train-labels-idx1-ubyte",
        )
    if not path.is_dir():
        return None
    words = ("t10k", "test") if split == "test" else ("train",)
    names = sorted(p for p in path.iterdir() if p.is_file() and "idx" in p.name and any(w in p.name for w in words))
    images, labels = [p for p in names if "images" in p.name], [p for p in names if "labels" in p.name]
    if not images or not labels:
        return None
    return images[0], labels[0]
