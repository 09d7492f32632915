"""`load_weights`: named arrays from .safetensors or a torch state dict. Nothing in a file is ever executed."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from .files import read_file, regular_file
from .torch_archive import StoredTensor, more_than_weights, read_archive

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1", "U16": "<u2", "U32": "<u4", "BOOL": "|b1"}
_NESTED = ("state_dict", "model_state_dict", "model")
MAX_BYTES = 8 << 30


def load_weights(path) -> dict[str, np.ndarray]:
    """The arrays of a weight file by name, as stored (bfloat16 becomes float32, which is exact).

    Args:
        path: .safetensors (gzip allowed), or a file that `torch.save(model.state_dict(), path)` wrote; told apart by content. A
            checkpoint that holds the state dict under "state_dict", "model_state_dict" or "model" is understood.

    Raises:
        InputError: no such file, damaged, a pickled module or other objects (unpickling them would run code), complex or quantised
            tensors, tensors without numbers of their own, NaN or infinite weights.

    >>> import tempfile
    >>> from safetensors.numpy import save
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(save({"bias": np.float32([1, 2])}))
    ...     file.flush()
    ...     load_weights(file.name)
    {'bias': array([1., 2.], dtype=float32)}
    """
    path = regular_file(path, "weight file")
    with open(path, "rb") as stream:
        magic = stream.read(2)
    arrays = _torch(path, magic == b"PK") if magic == b"PK" or magic[:1] == b"\x80" else _safetensors(path)
    if not arrays:
        raise InputError("the weight file holds no tensors", where=path)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(np.argmin(np.isfinite(array).ravel()))
            raise InputError(
                "a weight is not finite",
                where=f"{path}, '{name}', flat index {bad}",
                found=array.ravel()[bad],
                expected="finite numbers",
                hint="the training run diverged, or the file is damaged",
            )
    return arrays


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, deserialize

    data = read_file(path, "weight file", MAX_BYTES)
    try:
        rows = deserialize(bytes(data))
    except (SafetensorError, ValueError, OverflowError, MemoryError) as error:
        raise InputError(
            "this is not a weight file that can be read: damaged, truncated or something else",
            where=path,
            found=str(error)[:200],
            expected=".safetensors, or a torch state dict",
            hint="copy the file again",
        ) from error
    arrays: dict[str, np.ndarray] = {}
    for name, row in rows:
        if name in arrays:
            raise InputError("two tensors have one name", where=f"{path}, '{name}'")
        arrays[name] = _tensor(row, f"{path}, '{name}'")
    return arrays


def _tensor(row: Mapping[str, Any], where: str) -> np.ndarray:
    shape, data, kind = tuple(row["shape"]), row["data"], row["dtype"]
    if kind == "BF16":  # the upper half of a float32
        flat = (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    elif kind in _TYPES:
        flat = np.frombuffer(data, dtype=_TYPES[kind]).copy()
    else:
        raise InputError("a tensor of a type that is not supported", where=where, found=kind, expected=", ".join([*_TYPES, "BF16"]))
    if flat.size != math.prod(shape) or (kind == "BOOL" and flat.size and flat.view(np.uint8).max() > 1):
        raise InputError("a tensor's bytes do not fit its shape or type", where=where, found=f"{flat.size} entries", expected=f"{math.prod(shape)} for {kind} {list(shape)}")
    return flat.reshape(shape)


def _legacy(path: Path) -> Any:
    """What torch before 1.6 wrote: a row of pickles, read by torch's own restricted unpickler."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds; with weights_only it executes nothing
        text = str(error)
        if "weights_only" in text or "Unsupported global" in text or "WeightsUnpickler" in text:
            raise more_than_weights(path, text.partition("\n")[0]) from error
        raise InputError(
            "the weight file is damaged, truncated or something else", where=path, found=f"{type(error).__name__}: {text[:200]}", expected=".safetensors, or a torch state dict"
        ) from error


def _torch(path: Path, archive: bool) -> dict[str, np.ndarray]:
    found = read_archive(path) if archive else _legacy(path)
    while isinstance(found, Mapping) and (inner := next((k for k in _NESTED if isinstance(found.get(k), Mapping)), None)):
        found = found[inner]
    if not isinstance(found, Mapping):
        raise InputError("the file is not a state dict", where=path, found=type(found).__name__, expected="tensors by name", hint="torch.save(model.state_dict(), path)")
    return {str(name): value.array() if isinstance(value, StoredTensor) else _from_torch(value, f"{path}, '{name}'") for name, value in found.items()}


def _from_torch(value: Any, where: str) -> np.ndarray:
    """A torch tensor as numpy; what owns fewer numbers than it shows (a stride of 0) is refused before it is copied."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        raise InputError("an entry of the state dict is not a tensor", where=where, found=type(value).__name__, expected="tensors by name")
    if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type != "cpu":
        raise InputError(
            "a tensor of a kind that is not supported",
            where=where,
            found=f"{value.dtype}, {value.layout}, {value.device}",
            expected="dense real numbers",
            hint="dequantise or densify it first",
        )
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InputError(
            "a tensor shows more entries than it stores", where=where, found=f"{tuple(value.shape)} from {value.untyped_storage().nbytes()} bytes", hint="save value.contiguous()"
        )
    value = value.detach()
    if value.dtype == torch.bfloat16:
        value = value.float()
    try:
        return np.array(value.numpy())
    except (TypeError, RuntimeError) as error:
        raise InputError("a tensor of a type that is not supported", where=where, found=value.dtype, expected="floats, integers or bool") from error
