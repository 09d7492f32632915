"""A flowpipe as CSV: the box of every state at every sample and over every step, in decimals that enclose the proved ends."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from certify.core.decimals import decimal_down, decimal_up
from certify.core.record import atomic_path

if TYPE_CHECKING:
    from ..flowpipe import Flowpipe

COLUMNS = ("step", "time", "state", "lower", "upper", "tube lower", "tube upper")
DIGITS = 9


def to_csv(pipe: Flowpipe, path: str | Path) -> Path:
    """Write one row per sample and state, atomically; returns the path.

    Columns: step k (0: the initial set), time k * period, state, lower and upper end at that time, and lower and upper end over the step before it
    (empty for step 0 and for discrete plants, which have nothing between samples). Guarantee: lower ends are rounded down and upper ends up to 9
    significant digits, so the decimals enclose what the flowpipe encloses. The time is k times the period, to 12 digits.

    Raises:
        InputError: the path cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for k in range(len(pipe) + 1):
            at = pipe.at(k).box()
            tube = pipe.tube(k).box() if k and pipe.loop.continuous else None
            for i, state in enumerate(pipe.loop.states):
                between = ["", ""] if tube is None else _ends(tube, i)
                writer.writerow([k, f"{k * pipe.loop.period:.12g}", state, *_ends(at, i), *between])
    return Path(path)


def _ends(box, i: int) -> list[str]:
    return [decimal_down(float(box.lower[i]), DIGITS), decimal_up(float(box.upper[i]), DIGITS)]
