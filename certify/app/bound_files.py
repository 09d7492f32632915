"""The files of `certify bound`: is their place writable, before any work; and the table as CSV."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.record import atomic_path

if TYPE_CHECKING:
    from .bound_rows import Row

PICTURES = (".png", ".svg", ".pdf")


def require_target(path: Path | None, option: str, suffixes: tuple[str, ...] = ()) -> None:
    """Raises InputError, naming the option, unless a file can be written there now and has one of the suffixes. None is fine."""
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError("the kind of picture is not known", where=f"{option} {path}", found=path.suffix or "no suffix", expected=" or ".join(suffixes))
    found = "a folder" if path.is_dir() else "" if path.is_file() or not path.exists() else "not a plain file"
    try:
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent):
            pass
    except OSError as error:
        found = found or error.strerror or str(error)
    if found:
        raise InputError("the file cannot be written", where=f"{option} {path}", found=found, expected="a file name in a folder that exists and can be written")


def written(rows: Sequence[Row], norm: str, title: str, table: Path | None, picture: Path | None) -> tuple[dict[str, str], Exception | None]:
    """Write what was asked for: kind -> path, and the error if one could not be written (the rows must be printed all the same)."""
    files: dict[str, str] = {}
    try:
        if table is not None:
            write_csv(table, rows)
            files["csv"] = str(table)
        if picture is not None:
            from .bound_plot import save_bounds

            save_bounds(picture, rows, norm, title)
            files["plot"] = str(picture)
    except InputError as error:
        return files, error
    return files, None


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """One line per layer, every digit: layer, op, operator, lower, upper, gap, method, seconds, the unfoldings, and the upper end per compared method."""
    unfoldings = list(dict.fromkeys(u["name"] for row in rows for u in row.unfoldings or []))
    compared = [(c, end) for c in dict.fromkeys(c["method"] for row in rows for c in row.compared) for end in ("lower", "upper")]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream)
        fixed = ["layer", "op", "operator", "lower", "upper", "gap", "method", "seconds", "same_as", "reason"]
        writer.writerow([*fixed, *(f"unfolding {name}" for name in unfoldings), *(f"{name} {end}" for name, end in compared)])
        for row in rows:
            uppers = {u["name"]: u["upper"] for u in row.unfoldings or []}
            ends = {c["method"]: c for c in row.compared}
            known = [*(getattr(row, key) for key in fixed), *(uppers.get(name, "") for name in unfoldings)]
            writer.writerow([*known, *(ends.get(name, {}).get(end, "") for name, end in compared)])
