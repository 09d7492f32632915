"""CIFAR-10 and CIFAR-100: the python batches (pickles, read without executing anything) and the binary version."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from .files import read_file
from .pickles import read_plain

_PIXELS = 3 * 32 * 32
_LIMIT = 1 << 28  # the largest original file has 154 MB
_MAX_STEPS = 1_000_000  # CIFAR-100's training file needs about 300,000
_FILES = {
    ("py10", "train"): [f"data_batch_{i}" for i in range(1, 6)],
    ("py10", "test"): ["test_batch"],
    ("py100", "train"): ["train"],
    ("py100", "test"): ["test"],
    ("bin10", "train"): [f"data_batch_{i}.bin" for i in range(1, 6)],
    ("bin10", "test"): ["test_batch.bin"],
    ("bin100", "train"): ["train.bin"],
    ("bin100", "test"): ["test.bin"],
}


class _Array:
    """What a pickled numpy array becomes here: its state as plain data. numpy's own unpickling is never entered."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype:
    def __init__(self, *arguments: Any):
        self.name = arguments[0] if arguments else None

    def __setstate__(self, state: Any) -> None:
        pass


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """What protocol-2 pickles of bytes call: codecs.encode(text, "latin1")."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("an encoding that is not latin1")
    return text.encode("latin1")


_ADMITTED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("_codecs", "encode"): _encode,
}


def _plain(value: Any, where: str) -> np.ndarray:
    """An inert array as a numpy uint8 matrix."""
    state = value.state if isinstance(value, _Array) else None
    if not isinstance(state, tuple) or len(state) != 5:
        raise InputError("the pixels of a CIFAR batch are not a numpy array", where=where, found=type(value).__name__)
    _, shape, dtype, fortran, data = state
    raw = data.encode("latin1") if isinstance(data, str) else data
    good = isinstance(dtype, _Dtype) and dtype.name in ("u1", "|u1", b"u1", b"|u1") and isinstance(raw, bytes) and not fortran
    if not good or not isinstance(shape, tuple) or len(shape) != 2 or shape[1] != _PIXELS or not isinstance(shape[0], int) or shape[0] * _PIXELS != len(raw):
        raise InputError("the pixels of a CIFAR batch have a wrong shape or dtype", where=where, found=str(shape)[:80], expected=f"(n, {_PIXELS}) uint8 in C order")
    return np.frombuffer(raw, dtype=np.uint8).reshape(shape)


def _python_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        found = read_plain(bytes(read_file(path, "CIFAR batch", _LIMIT)), _ADMITTED, (_Array, _Dtype), most=_MAX_STEPS)
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can raise anything, but it can call nothing
        raise InputError(
            "the CIFAR batch cannot be read as plain data",
            where=path,
            found=f"{type(error).__name__}: {str(error)[:200]}",
            expected="a python batch of the original archive",
            hint="download it again, or use the binary version",
        ) from error
    if not isinstance(found, dict):
        raise InputError("the CIFAR batch is not a dict", where=path, found=type(found).__name__)
    entries = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in found.items()}
    name = next((n for n in ("labels", "fine_labels") if n in entries), None)
    if name is None or "data" not in entries:
        raise InputError("the CIFAR batch has no data or no labels", where=path, found=", ".join(map(str, entries))[:200], expected="data and labels (or fine_labels)")
    labels = entries[name]
    if not isinstance(labels, list) or not all(type(v) is int and 0 <= v < 100 for v in labels):
        raise InputError("the labels of a CIFAR batch are not a list of small integers", where=f"{path}, {name}", found=type(labels).__name__)
    return _plain(entries["data"], f"{path}, data"), np.array(labels, dtype=np.int64)


def _binary_batch(path: Path, fine: bool) -> tuple[np.ndarray, np.ndarray]:
    data = read_file(path, "CIFAR batch", _LIMIT)
    record = _PIXELS + 1 + fine
    if not data or len(data) % record:
        raise InputError("the binary CIFAR batch is truncated or something else", where=path, found=f"{len(data)} bytes", expected=f"a multiple of {record}")
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
    return rows[:, 1 + fine :], rows[:, int(fine)].astype(np.int64)  # a bool would index as a mask


def read_cifar(path, split: str) -> tuple[np.ndarray, np.ndarray, int] | None:
    """(images (n, 3, 32, 32) uint8, labels int64, classes) from the folder of a CIFAR archive or one of its files; None where there is none.

    Raises:
        InputError: damaged or truncated files, a pickle that asks for code, labels without meaning.
    """
    path = Path(path)
    for (kind, part), names in _FILES.items():
        fine = kind.endswith("100")
        if path.is_dir() and part == split and all((path / n).is_file() for n in names):
            if kind == "py100" and not (path / "meta").is_file() and not (path / "file.txt~").is_file():
                continue  # a folder that merely has files called train and test
            files = [path / n for n in names]
        elif path.is_file() and path.name in names and (kind != "py100" or _is_pickle(path)):
            files = [path]
        else:
            continue
        batches = [_binary_batch(f, fine) if kind.startswith("bin") else _python_batch(f) for f in files]
        for f, (pixels, labels) in zip(files, batches):
            if len(pixels) != len(labels):
                raise InputError("a CIFAR batch has a different number of images and labels", where=f, found=f"{len(pixels)} images, {len(labels)} labels")
        images = np.concatenate([pixels for pixels, _ in batches]).reshape(-1, 3, 32, 32)
        return images, np.concatenate([labels for _, labels in batches]), 100 if fine else 10
    return None


def _is_pickle(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(1) == b"\x80"
