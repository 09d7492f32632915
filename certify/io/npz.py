"""Arrays from .npz and .npy files, without pickles and with every size checked before memory is taken."""

from __future__ import annotations

import os
import zipfile

import numpy as np

from ..core.errors import InputError
from ..core.npy import read_npy
from .files import regular_file
from .zips import DAMAGED, DEFLATE, require_sane_sizes, require_small_directory

MAX_BYTES = 4 << 30


def read_npy_file(path, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The array of a .npy file.

    Raises:
        InputError: not such a file, objects, damaged, or larger than `max_bytes`.
    """
    path = regular_file(path, "array file")
    try:
        with open(path, "rb") as stream:
            return read_npy(stream, os.fstat(stream.fileno()).st_size, str(path), max_bytes)
    except OSError as error:
        raise InputError("the array file cannot be read", where=path, found=error.strerror or str(error)) from error
    except MemoryError as error:
        raise InputError("there is not enough memory for the array", where=path, found=f"a file of {path.stat().st_size} bytes") from error


class Archive:
    """The arrays of an .npz file by name; `read` takes memory for one at a time.

    Raises:
        InputError: not a zip archive, damaged, entries that expand beyond what deflate can do, more than `max_bytes` in all.
    """

    def __init__(self, path, max_bytes: int = MAX_BYTES):
        self.path, self._left = regular_file(path, "npz file"), max_bytes
        try:
            require_small_directory(self.path)
            with zipfile.ZipFile(self.path) as archive:
                infos = archive.infolist()
                require_sane_sizes(infos, self.path)
        except DAMAGED as error:
            raise self._damaged(error) from error
        self._infos = {i.filename.removesuffix(".npy"): i for i in infos if i.filename.endswith(".npy")}
        if len({i.filename for i in infos}) != len(infos):
            raise InputError("the npz file lists an entry twice", where=self.path)

    @property
    def names(self) -> list[str]:
        return list(self._infos)

    def read(self, name: str) -> np.ndarray:
        """One array.

        Raises:
            InputError: no such array, damaged, objects, or too large.
        """
        where = f"{self.path}, array '{name}'"
        info = self._infos.get(name)
        if info is None:
            raise InputError("the npz file does not hold this array", where=where, found=", ".join(self.names)[:300] or "no arrays", expected=name)
        if info.file_size > self._left:
            raise InputError("the arrays of the npz file are too large", where=where, found=f"{info.file_size} bytes", expected=f"at most {self._left}")
        if info.file_size > DEFLATE * info.compress_size + 4096:
            raise InputError(
                "an entry claims to expand further than deflate can",
                where=where,
                found=f"{info.compress_size} to {info.file_size} bytes",
                hint="the file is damaged: copy it again",
            )
        self._left -= info.file_size
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(info) as stream:
                array = read_npy(stream, info.file_size, where)  # type: ignore[arg-type]
                if stream.read(1):  # the end of the entry: zipfile compares its checksum there
                    raise InputError("an entry is longer than it says", where=where)
                return array
        except InputError:
            raise
        except MemoryError as error:
            raise InputError("there is not enough memory for the array", where=where, found=f"{info.file_size} bytes") from error
        except DAMAGED as error:
            raise self._damaged(error, where) from error

    def _damaged(self, error: Exception, where: object = None) -> InputError:
        return InputError(
            "the npz file is damaged, truncated or something else",
            where=where or self.path,
            found=f"{type(error).__name__}: {str(error)[:200]}",
            expected="a zip archive as numpy.savez writes it",
            hint="copy the file again, or write it anew",
        )
