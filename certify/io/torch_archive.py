"""The zip archives of `torch.save`, read without torch.

torch's own reader is not used although it has a safe mode: it does not verify checksums, and takes sizes from the pickle and from the
zip directory without comparing them, so that a damaged file gives tensors of uninitialised memory (measured: other numbers in every
run). Here every record is checked against its checksum and its size against the tensor that claims it.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from .pickles import AsksForCode, read_plain
from .zips import DAMAGED, require_sane_sizes, require_small_directory

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
_MAX_PICKLE = 1 << 26


@dataclass(frozen=True)
class _Kind:
    dtype: str


@dataclass(frozen=True)
class _Storage:
    dtype: str
    key: str
    count: int


class _Dict(dict):
    """An OrderedDict of a state dict; its state (module versions) says nothing about the weights."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Archive:
    """Records of one archive by key, each read once and checked."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        names = [n for n in archive.namelist() if n == "data.pkl" or n.endswith("/data.pkl")]
        if len(names) != 1 or len(set(archive.namelist())) != len(archive.namelist()):
            raise InputError(
                "the archive is not one that torch.save writes", where=path, found=", ".join(archive.namelist()[:8]) or "nothing", expected="one data.pkl, each name once"
            )
        self.path, self.zip, self.prefix, self._read = path, archive, names[0].removesuffix("data.pkl"), dict[str, bytes]()
        if f"{self.prefix}byteorder" in archive.namelist() and archive.read(f"{self.prefix}byteorder") != b"little":
            raise InputError("the numbers of the archive are not little-endian", where=path)

    def record(self, key: str) -> bytes:
        """The bytes of one storage; zipfile compares the checksum."""
        if key not in self._read:
            self._read[key] = self.zip.read(f"{self.prefix}data/{key}")
        return self._read[key]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the pickle describes it: a window on a storage."""

    archive: _Archive
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Its entries; bfloat16 as float32, which is exact.

        Raises:
            InputError: the record is missing, damaged or of another size, or the window leaves it or shows entries twice.
        """
        where = f"{self.archive.path}, storage {self.storage.key}"
        try:
            data = self.archive.record(self.storage.key)
        except DAMAGED as error:
            raise InputError("the weight file is damaged", where=where, found=f"{type(error).__name__}: {str(error)[:200]}", hint="copy the file again") from error
        kind = np.dtype("<u2" if self.storage.dtype == "bf16" else self.storage.dtype)
        if len(data) != self.storage.count * kind.itemsize:
            raise InputError("a stored tensor has another size than it should", where=where, found=f"{len(data)} bytes", expected=self.storage.count * kind.itemsize)
        count = math.prod(self.shape)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides)) if count else self.offset
        if count > self.storage.count or (count and last >= self.storage.count):
            raise InputError(
                "a tensor shows more entries than it stores",
                where=where,
                found=f"{self.shape} at {self.offset}, strides {self.strides}",
                expected=f"within {self.storage.count} entries",
                hint="save value.contiguous()",
            )
        flat = np.frombuffer(data, dtype=kind)
        if kind == np.bool_ and flat.size and flat.view(np.uint8).max() > 1:
            raise InputError("a bool tensor holds a byte that is neither 0 nor 1", where=where)
        index = sum((np.arange(n).reshape(-1, *(1,) * (len(self.shape) - i - 1)) * s for i, (n, s) in enumerate(zip(self.shape, self.strides))), np.int64(self.offset))
        values = np.array(flat[index]).reshape(self.shape) if count else np.empty(self.shape, dtype=kind)
        return (values.astype(np.uint32) << 16).view(np.float32) if self.storage.dtype == "bf16" else values


def more_than_weights(path: Path, found: str) -> InputError:
    return InputError(
        "the file holds more than weights (a pickled module?), and unpickling that would run code",
        where=path,
        found=found[:200],
        expected="tensors by name, dense and real",
        hint="where you trust the file: torch.save(model.state_dict(), path), or safetensors.torch.save_file, or export the model to ONNX",
    )


def read_archive(path: Path) -> Any:
    """What the archive holds, with `StoredTensor` for every tensor.

    Raises:
        InputError: not such an archive, damaged, expanding beyond its size, or a pickle that asks for more than plain data and tensors.
    """
    try:
        require_small_directory(path)
        with open(path, "rb") as stream:  # stays open in the archive for as long as a tensor refers to it
            archive = zipfile.ZipFile(stream)
            require_sane_sizes(archive.infolist(), path)
            expanded = sum(i.file_size for i in archive.infolist())
            if expanded > path.stat().st_size + (1 << 20):
                raise InputError("the weight file expands beyond its size, which torch's files do not", where=path, found=f"{expanded} bytes from {path.stat().st_size}")
            records = _Archive(path, archive)
            if archive.getinfo(f"{records.prefix}data.pkl").file_size > _MAX_PICKLE:
                raise InputError("the description of the tensors is too large", where=path, expected=f"at most {_MAX_PICKLE} bytes")
            found = _described(records, archive.read(f"{records.prefix}data.pkl"))
            _read_all(found)
            return found
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            "the weight file is damaged, truncated or something else",
            where=path,
            found=f"{type(error).__name__}: {str(error)[:200]}",
            expected=".safetensors, or a torch state dict",
        ) from error


def _read_all(found: Any) -> None:
    """Take the records of all tensors that can be asked for while the file is open."""
    stack = [found]
    while stack:
        value = stack.pop()
        if isinstance(value, StoredTensor):
            value.array()
        elif isinstance(value, dict):
            stack.extend(v for v in value.values() if isinstance(v, StoredTensor | dict))


def _described(records: _Archive, data: bytes) -> Any:
    def storage(pid: Any) -> _Storage:
        good = isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], _Kind) and isinstance(pid[2], str) and pid[2].isdigit()
        if not good or type(pid[4]) is not int or not 0 <= pid[4] < 1 << 40:
            raise ValueError("a reference to a storage that makes no sense")
        return _Storage(pid[1].dtype, pid[2], pid[4])

    def tensor(source: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> StoredTensor:
        sizes = [offset, *shape, *strides]
        if not isinstance(source, _Storage) or len(shape) != len(strides) or len(shape) > 32 or not all(type(n) is int and 0 <= n < 1 << 40 for n in sizes):
            raise ValueError("a tensor that makes no sense")
        return StoredTensor(records, source, offset, tuple(shape), tuple(strides))

    admitted: dict[tuple[str, str], Any] = {("torch", name): _Kind(dtype) for name, dtype in _STORAGES.items()}
    admitted |= {("collections", "OrderedDict"): _Dict, ("torch._utils", "_rebuild_tensor_v2"): tensor, ("torch._utils", "_rebuild_parameter"): lambda data, *rest: data}
    try:
        return read_plain(data, admitted, (_Dict,), storage, encoding="latin1")
    except AsksForCode as error:
        raise more_than_weights(records.path, str(error)) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(
            "the weight file is damaged: its description of the tensors cannot be read", where=records.path, found=f"{type(error).__name__}: {str(error)[:200]}"
        ) from error
