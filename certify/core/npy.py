"""Reading one .npy body without numpy's loader: plain numbers only, and every size is compared with what is there before memory is taken."""

from __future__ import annotations

import ast
import math
import re
from typing import Any, BinaryIO

import numpy as np

from .errors import InputError

_KINDS = "|b1 |i1 |u1 <i2 <i4 <i8 <u2 <u4 <u8 <f2 <f4 <f8 >i2 >i4 >i8 >u2 >u4 >u8 >f2 >f4 >f8".split()
_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 4096
_CHUNK = 1 << 20


def read_npy(stream: BinaryIO, size: int, where: str, max_bytes: int = 1 << 32) -> np.ndarray:
    """The array of a .npy file or archive entry.

    Args:
        stream: at the first byte of the .npy; only read forward.
        size: how many bytes the file or entry says it has; the header must give exactly this many.
        where: named in errors.
        max_bytes: the largest array that is read.

    Returns:
        The array in the dtype and memory order of the file (native byte order), owning its memory.

    Raises:
        InputError: not .npy, objects or structures (which numpy stores as pickles: code), a size that contradicts the header, truncation.
    """
    start, dtype, fortran, shape = _header(stream, where)
    count = math.prod(shape)
    expected = start + count * dtype.itemsize
    if expected != size:
        raise InputError(
            "the size of an array does not fit its header",
            where=where,
            found=f"{size} bytes",
            expected=f"{expected} for {dtype} {shape}",
            hint="the file is truncated or damaged: copy it again",
        )
    if count * dtype.itemsize > max_bytes:
        raise InputError("an array is too large", where=where, found=f"{count * dtype.itemsize} bytes", expected=f"at most {max_bytes}")
    flat = np.empty(count, dtype=dtype)
    _fill(stream, flat, where)
    if dtype.kind == "b" and count and flat.view(np.uint8).max() > 1:
        raise InputError("a bool array holds a byte that is neither 0 nor 1", where=where)
    native = flat.astype(dtype.newbyteorder("="), copy=False)
    return native.reshape(shape[::-1]).T if fortran else native.reshape(shape)


def _exactly(stream: BinaryIO, count: int, where: str) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise InputError("an array ends inside its header", where=where, found=f"{len(data)} bytes", expected=f"{count} more")
    return data


def _header(stream: BinaryIO, where: str) -> tuple[int, np.dtype, bool, tuple[int, ...]]:
    """(offset of the data, dtype, Fortran order, shape)."""
    first = stream.read(8)
    if len(first) < 8 or first[:6] != _MAGIC or first[6] not in (1, 2, 3) or first[7] != 0:
        raise InputError("this is not a .npy array", where=where, found=repr(first), expected=f"{_MAGIC!r} and version 1 to 3", hint="write it with numpy.save")
    wide = 2 if first[6] == 1 else 4
    length = int.from_bytes(_exactly(stream, wide, where), "little")
    if length > _MAX_HEADER:
        raise InputError("the header of an array is too long", where=where, found=f"{length} bytes", expected=f"at most {_MAX_HEADER}")
    text = _exactly(stream, length, where).decode("latin1")
    try:
        header: Any = ast.literal_eval(text) if re.fullmatch(r"[\s\w{}'\":,()<>|=]*", text) else None
        descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise InputError("the header of an array cannot be read", where=where, found=text[:100], expected="a dict with descr, fortran_order and shape") from error
    if descr not in _KINDS:
        hint = "objects are stored as pickles, which are code and never read here; save plain numbers" if "O" in str(descr) else "convert it first: array.astype(numpy.float32)"
        raise InputError("an array of a dtype that is not read", where=where, found=str(descr)[:80], expected="bool, integers or floats of at most 64 bits", hint=hint)
    good = isinstance(shape, tuple) and len(shape) <= 32 and all(type(n) is int and 0 <= n < 1 << 40 for n in shape)
    if not good or type(fortran) is not bool or len(header) != 3:
        raise InputError("the header of an array makes no sense", where=where, found=text.strip()[:100], expected="a shape of at most 32 sizes, fortran_order True or False")
    return 8 + wide + length, np.dtype(descr), fortran, shape


def _fill(stream: BinaryIO, flat: np.ndarray, where: str) -> None:
    """Read in pieces, so that memory is touched only as data arrives."""
    view, done = flat.view(np.uint8), 0
    while done < len(view):
        piece = stream.read(min(_CHUNK, len(view) - done))
        if not piece:
            raise InputError("an array is truncated", where=where, found=f"{done} bytes", expected=len(view), hint="copy the file again")
        view[done : done + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
        done += len(piece)
