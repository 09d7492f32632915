"""A folder that remembers finished units of a long run, so that a killed or cancelled one goes on where it stopped."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.record import atomic_path, canonical_json

_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Journal:
    """Finished units of runs below `folder`, one sub-folder per question and one `.npz` file per unit.

    A run opens its sub-folder with `of(...)`: the name is a digest of everything the answer depends on (graph, data, settings,
    constants), so a unit of another question is never read. A file is written under a temporary name and renamed: it is whole or
    absent. A damaged one counts as absent. Removing the folder is always safe.

    >>> import tempfile
    >>> journal = Journal(Path(tempfile.mkdtemp())).of({"graph": "abc", "seed": 0})
    >>> journal.write("unit-000000", {"radii": np.zeros(2)})
    >>> journal.read("unit-000000", {"radii": (2,)})["radii"].shape
    (2,)
    >>> journal.read("unit-000001", {"radii": (2,)}) is None
    True
    """

    folder: Path

    def of(self, question: Mapping[str, Any]) -> Journal:
        """The journal of one question; the folder is created."""
        text = canonical_json(dict(question))
        folder = Path(self.folder) / hashlib.sha256(text.encode()).hexdigest()[:32]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            readable = folder / "question.json"
            if not readable.exists():
                with atomic_path(readable) as temporary:
                    temporary.write_text(text)
        except OSError as error:
            raise InputError("the journal folder cannot be used", where=folder, found=error.strerror or str(error), expected="a writable folder") from error
        return Journal(folder)

    def write(self, unit: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays of a finished unit."""
        with atomic_path(self.folder / f"{unit}.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    def read(self, unit: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray] | None:
        """The arrays of a unit with exactly these names and shapes, or None if it is not there or not whole."""
        path = self.folder / f"{unit}.npz"
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except _DAMAGED:
            return None
        return arrays if {name: a.shape for name, a in arrays.items()} == dict(shapes) else None
