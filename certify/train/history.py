"""What is noted after every epoch, and how it is read back as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

History = Sequence[Mapping[str, Any]]


def message(row: Mapping[str, Any]) -> str:
    """One line for a progress bar. The certified accuracy of the validation split is an estimate, and called one.

    >>> message({"epoch": 2, "loss": 0.5, "clean": 0.9, "certified": {"0.5": 0.625}})
    'epoch 2: loss 0.500, validation 90.0 % clean, 62.5 % at 0.5 (estimate)'
    """
    text = f"epoch {row['epoch']}: loss {row['loss']:.3f}"
    if row.get("clean") is not None:
        text += f", validation {100 * row['clean']:.1f} % clean" + "".join(f", {100 * share:.1f} % at {float(eps):g}" for eps, share in row["certified"].items())
        text += " (estimate)" if row["certified"] else ""
    return text


def column(history: History, *keys: str) -> list[float]:
    """One number per epoch, NaN where there is none: column(history, "loss"), column(history, "certified", "0.5"), column(history, "layers", "0", "norm").

    >>> column([{"certified": {"0.5": 0.25}}, {"certified": {}}], "certified", "0.5")
    [0.25, nan]
    """
    values = []
    for row in history:
        value: Any = row
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        values.append(float("nan") if value is None else float(value))
    return values


def layer_names(history: History) -> list[str]:
    """The layers of the first epoch, in the order of the model."""
    return list(history[0].get("layers", {})) if history else []
