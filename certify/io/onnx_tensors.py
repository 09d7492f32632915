"""ONNX tensors to numpy, by our own reading: dtype, dims and bytes must agree before anything is allocated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError, UnsupportedLayerError

# TensorProto.DataType -> numpy dtype and the field that holds the values when raw_data does not
TYPES: dict[int, tuple[str, str]] = {
    1: ("<f4", "float_data"),
    2: ("|u1", "int32_data"),
    3: ("|i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("|b1", "int32_data"),
    10: ("<f2", "int32_data"),  # float16 as bit patterns
    11: ("<f8", "double_data"),
}
NAMES = {
    0: "UNDEFINED",
    1: "FLOAT",
    2: "UINT8",
    3: "INT8",
    4: "UINT16",
    5: "INT16",
    6: "INT32",
    7: "INT64",
    8: "STRING",
    9: "BOOL",
    10: "FLOAT16",
    11: "DOUBLE",
    12: "UINT32",
    13: "UINT64",
    14: "COMPLEX64",
    15: "COMPLEX128",
    16: "BFLOAT16",
}
FLOATS = (1, 10, 11)
_EXTERNAL = 1


def type_name(number: int) -> str:
    return NAMES.get(number, f"data type {number}")


def decode_tensor(tensor: Any, folder: Path | None, where: str) -> np.ndarray:
    """The values of a TensorProto: float16 and float32 as float32 (exact), float64, integers as int64, bool.

    Args:
        folder: where external data may lie; None refuses it.

    Raises:
        InputError: dims, bytes and dtype contradict each other, external data is outside its folder or too short.
        UnsupportedLayerError: strings, complex, bfloat16, 8-bit and 4-bit floats.
    """
    dims = tuple(tensor.dims)
    if tensor.data_type not in TYPES:
        raise UnsupportedLayerError(
            "a tensor of a type that is not supported",
            where=where,
            found=type_name(tensor.data_type),
            expected="FLOAT, DOUBLE, FLOAT16, an integer type or BOOL",
            hint="export the model in float32",
        )
    if len(dims) > 32 or any(d < 0 for d in dims):
        raise InputError("a tensor's dims make no sense", where=where, found=dims[:40], expected="at most 32 numbers, none negative")
    count = 1
    for d in dims:
        count *= d
    name, field = TYPES[tensor.data_type]
    dtype = np.dtype(name)
    if tensor.HasField("segment"):
        raise UnsupportedLayerError("a tensor cut into segments", where=where, hint="save the model with a current version of onnx")
    if tensor.data_location == _EXTERNAL:
        flat = np.frombuffer(_external(tensor, folder, count * dtype.itemsize, where), dtype=dtype)
    elif tensor.HasField("raw_data"):
        if len(tensor.raw_data) != count * dtype.itemsize:
            raise InputError(
                "a tensor's bytes do not fit its dims",
                where=where,
                found=f"{len(tensor.raw_data)} bytes",
                expected=f"{count * dtype.itemsize} for {type_name(tensor.data_type)} {list(dims)}",
            )
        flat = np.frombuffer(tensor.raw_data, dtype=dtype)
    else:
        values = getattr(tensor, field)
        if len(values) != count:
            raise InputError(
                "a tensor's values do not fit its dims", where=where, found=f"{len(values)} values in {field}", expected=f"{count} for {type_name(tensor.data_type)} {list(dims)}"
            )
        flat = _from_field(values, dtype, where)
    return _plain(flat, where).reshape(dims)


def _from_field(values: Any, dtype: np.dtype, where: str) -> np.ndarray:
    wide = np.array(values, dtype=np.float64 if dtype.kind == "f" and dtype.itemsize > 2 else np.int64)
    if dtype == np.float16:
        if wide.size and not (0 <= wide.min() and wide.max() < 1 << 16):
            raise InputError("a float16 bit pattern out of range", where=where, found=f"{wide.min()} .. {wide.max()}", expected="0 .. 65535")
        return wide.astype(np.uint16).view(np.float16)
    narrow = wide.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(narrow, wide):
        raise InputError("an integer does not fit its type", where=where, found=f"{wide.min()} .. {wide.max()}", expected=str(dtype))
    return narrow


def _plain(flat: np.ndarray, where: str) -> np.ndarray:
    """The few dtypes that the rest of the loader sees; each conversion is exact."""
    if flat.dtype == np.bool_:
        if flat.size and flat.view(np.uint8).max() > 1:
            raise InputError("a BOOL tensor holds a byte that is neither 0 nor 1", where=where)
        return flat.copy()
    if flat.dtype.kind == "f":
        return flat.astype(np.float64 if flat.dtype.itemsize == 8 else np.float32)
    return flat.astype(np.int64)


def _external(tensor: Any, folder: Path | None, size: int, where: str) -> bytes:
    """Bytes of external data: a plain file in the model's own folder (no "..", no link out of it), cut at offset and length."""
    entries = {str(entry.key): str(entry.value) for entry in tensor.external_data}
    location = entries.get("location", "")
    hint = "keep the model and its data files in one folder, or save one file: onnx.save(model, path, save_as_external_data=False)"
    if folder is None or not location or "\0" in location or os.path.isabs(location) or ".." in Path(location).parts:
        raise InputError("external data is refused", where=where, found=f"location {location!r}", expected="a file name inside the model's folder", hint=hint)
    path = Path(folder, location)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        inside = path.resolve().is_relative_to(Path(folder).resolve()) and path.is_file()
        held = path.stat().st_size if inside else 0
    except (ValueError, OSError) as error:
        raise InputError("external data cannot be read", where=where, found=str(error), expected="whole numbers for offset and length", hint=hint) from error
    if not inside:
        raise InputError("external data is missing, or lies outside the model's folder", where=where, found=str(path), expected=f"a plain file in {folder}", hint=hint)
    if length != size or offset < 0 or offset + size > held:
        raise InputError(
            "external data does not fit the tensor",
            where=where,
            found=f"offset {offset}, length {length}, file of {held} bytes",
            expected=f"{size} bytes inside the file",
            hint=hint,
        )
    with open(path, "rb") as stream:
        stream.seek(offset)
        data = stream.read(size)
    if len(data) != size:
        raise InputError("external data ended early", where=where, found=f"{len(data)} bytes", expected=size)
    return data
