"""Controller files of a problem: .onnx, .onnx.gz, .npz with W0, b0, W1, ..., or package.module:function with a file of weights."""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import certify
from certify.core.errors import InputError
from certify.core.graph import Graph, GraphBuilder

LINEAR = ("linear", "identity", "none")
_EXPECTED = "a .onnx, .onnx.gz or .npz file, or package.module:function"


def load_network(reference: str, folder: Path, weights: str | None = None, activations: Sequence[str] | None = None) -> Any:
    """The controller's network: a Graph, or a torch module for package.module:function.

    Args:
        reference: as the problem file names it; relative paths count from `folder`, that of the problem file.
        weights: for package.module:function, .safetensors or a state dict without code.
        activations: for .npz, one name per layer; "linear" for none.
    Raises:
        InputError: no such file, not readable, layers or activations that do not fit each other.
    """
    if ":" in reference:
        _require_none(activations, "activations", "a list of activations is for .npz only")
        return _from_code(reference, folder, weights)
    path = folder / reference
    if not path.is_file():
        raise InputError("there is no such controller file", where=path, found="a folder" if path.is_dir() else "nothing of this name", expected=_EXPECTED)
    _require_none(weights, "weights", "a controller in a file has its weights inside")
    if reference.endswith(".npz"):
        return load_npz(path, activations)
    _require_none(activations, "activations", "a list of activations is for .npz only")
    if reference.endswith((".onnx", ".onnx.gz")):
        return certify.load_onnx(path)
    raise InputError("this file is not a controller that can be read", where=path, expected=_EXPECTED, hint="torch.onnx.export(module, args, 'controller.onnx')")


def _require_none(value: Any, key: str, what: str) -> None:
    if value is not None:
        raise InputError(what, where=key, found=repr(value), hint=f"leave {key} out")


def load_npz(path: Path, activations: Sequence[str] | None) -> Graph:
    """y = act_k(W_k ... act_0(W_0 x + b_0) ... + b_k) from arrays W0 (out, in), b0 (out,), W1, ...; floats of any precision, used as float64 exactly."""
    arrays = _arrays(path)
    count = sum(1 for name in arrays if re.fullmatch(r"W\d+", name))
    wanted = [f"{letter}{i}" for i in range(count) for letter in "Wb"]
    if not count or sorted(wanted) != sorted(arrays):
        found = ", ".join(sorted(arrays)[:12]) or "no arrays"
        raise InputError("the arrays of the controller are not W0, b0, W1, b1, ...", where=path, found=found, expected=", ".join(wanted) or "W0, b0")
    if activations is None:
        expected = f'activations = [...], one of "relu", "tanh", "linear", ... for each of the {count} layers'
        raise InputError("a controller in .npz needs its activations", where=path, expected=expected)
    if len(activations) != count:
        raise InputError("the number of activations is not that of the layers", where="activations", found=f"{len(activations)} activations", expected=f"{count}, one per layer")
    builder = GraphBuilder()
    size = _layer(arrays, 0, None, path)[0].shape[1]
    x = builder.add("input", attrs={"shape": (size,)})
    for i, kind in enumerate(activations):
        weight, bias = _layer(arrays, i, size, path)
        x = builder.add("dense", [x], arrays={"weight": weight, "bias": bias}, name=f"layer {i}", source=f"{path}, W{i}")
        size = len(weight)
        if kind not in LINEAR:
            x = builder.add("activation", [x], {"kind": _known(kind, i)}, name=f"{kind} {i}", source=f"{path}, activation {i}")
    return builder.build(x)


def save_npz(path: Path, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> Path:
    """Write what `load_npz` reads, atomically and with the same bytes for the same arrays."""
    import io

    from certify.core.record import atomic_path

    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for i, (weight, bias) in enumerate(zip(weights, biases)):
            for name, array in ((f"W{i}", weight), (f"b{i}", bias)):
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue())  # the fixed default date: no time stamps
    return Path(path)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        found = f"{type(error).__name__}: {str(error)[:200]}"
        raise InputError("the controller file cannot be read", where=path, found=found, expected="an .npz file with W0, b0, W1, b1, ...") from error


def _exact(array: np.ndarray) -> bool:
    """Whether every entry is a float64: large integers may not be."""
    return array.dtype.kind == "f" or bool((np.abs(array.astype(object)) <= 2**53).all())


def _layer(arrays: dict[str, np.ndarray], i: int, size: int | None, path: Path) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = arrays[f"W{i}"], arrays[f"b{i}"]
    for name, array in ((f"W{i}", weight), (f"b{i}", bias)):
        if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8 or not np.isfinite(array).all() or not _exact(array):
            raise InputError("an array of the controller is not made of finite float64 numbers", where=f"{path}, {name}", found=f"{array.dtype}, shape {array.shape}")
    bias = bias.reshape(-1) if bias.size == max(bias.shape, default=1) else bias
    if weight.ndim != 2 or not weight.size or bias.shape != (len(weight),) or (size is not None and weight.shape[1] != size):
        expected = f"W{i} (out, {size or 'in'}) and b{i} (out,)" + (f": layer {i - 1} has {size} outputs" if size is not None else "")
        raise InputError("a layer of the controller does not fit", where=f"{path}, layer {i}", found=f"W{i} {weight.shape}, b{i} {arrays[f'b{i}'].shape}", expected=expected)
    return weight.astype(np.float64), bias.astype(np.float64)


def _known(kind: str, i: int) -> str:
    from certify.core.activation import activation

    try:
        activation(kind)
    except Exception as error:
        raise InputError(f"unknown activation {kind!r}", where=f"activations[{i}]", found=kind, expected="relu, tanh, sigmoid, ... or linear") from error
    return kind


def _from_code(reference: str, folder: Path, weights: str | None) -> Any:
    """package.module:function, or file.py:function beside the problem file; importing runs that code, which is the user's own."""
    place, _, name = reference.rpartition(":")
    if place.endswith(".py"):
        reference = f"{folder / place}:{name}"
    known = list(sys.path)
    sys.path.append(str(folder.resolve()))  # last: it must not hide anybody else's module
    try:
        return certify.load_model(reference, None if weights is None else folder / weights)
    finally:
        sys.path[:] = known
