"""The targets of the layer norms, as figures computed from the rows of the benchmark: one value per candidate method and target, with its worst layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Table = dict[str, dict[str, Row]]
"""rows by layer and method"""

CANDIDATES = ("auto fast", "auto balanced", "auto tight", "twisted", "hybrid")
GRAM, SVD, TENSOR, DENSE_GRAM = "Gram, 6 its", "FFT + SVD", "tensor norm", "Gram, 10 its"


def table(rows: list[Row]) -> Table:
    found: Table = {}
    for row in rows:
        found.setdefault(row["layer"], {})[row["method"]] = row
    return found


@dataclass(frozen=True)
class Target:
    """`value(methods of a layer, candidate)` over the layers that `chosen` takes; the worst one counts, or the sum of all (`total`).

    `at_least`: large values are good. `partial`: layers without a value do not matter; else the candidate needs one on every layer.
    """

    text: str
    limit: float
    chosen: Callable[[Row], bool]
    value: Callable[[dict[str, Row], str], float | None]
    candidates: tuple[str, ...] = CANDIDATES
    at_least: bool = False
    total: bool = False
    partial: bool = False
    unit: str = ""

    def measured(self, data: Table, candidate: str) -> tuple[float, str] | None:
        """(worst value, its layer) or (total, ""); None if a layer has no value for this candidate."""
        values = [(self.value(methods, candidate), layer) for layer, methods in data.items() if self.chosen(next(iter(methods.values())))]
        numbers = [(v, layer) for v, layer in values if v is not None]
        if not numbers or len(numbers) < len(values) and not self.partial or self.chosen is resnet and not whole_resnet(data):
            return None
        if self.total:
            return sum(v for v, _ in numbers), ""
        return (min if self.at_least else max)(numbers)

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def ratio(methods: dict[str, Row], name: str) -> float | None:
    return methods[name]["ratio"] if name in methods else None


def seconds(methods: dict[str, Row], name: str) -> float | None:
    return methods[name]["seconds"] if name in methods else None


def time_over(peer: str) -> Callable[[dict[str, Row], str], float | None]:
    def value(methods: dict[str, Row], name: str) -> float | None:
        ours, theirs = seconds(methods, name), seconds(methods, peer)
        return None if ours is None or theirs is None else ours / theirs

    return value


def tighter_than_gram(methods: dict[str, Row], name: str) -> float | None:
    ours, theirs = ratio(methods, name), ratio(methods, GRAM)
    return None if ours is None or theirs is None else theirs / ours


def plain(low: float, high: float = math.inf) -> Callable[[Row], bool]:
    return lambda row: row["plain"] and low <= row["shape"][-1] <= high


def strided(row: Row) -> bool:
    """Strided convolutions with more than one tap per axis: on a 1x1 kernel ignoring the stride costs nothing."""
    return " s2" in row["layer"] and "1x1" not in row["layer"] and "dilation" not in row["layer"] and not row["layer"].startswith("transposed")


def resnet(row: Row) -> bool:
    return row["times"] > 0


def whole_resnet(data: Table) -> bool:
    return sum(next(iter(methods.values()))["times"] for methods in data.values()) == 21


def weighted_seconds(methods: dict[str, Row], name: str) -> float | None:
    value = seconds(methods, name)
    return None if value is None else value * methods[name]["times"]


def backward_share(methods: dict[str, Row], name: str) -> float | None:
    row = methods.get(name)
    return None if row is None or row["backward_seconds"] is None or not row["seconds"] else row["backward_seconds"] / row["seconds"]


def euler(methods: dict[str, Row], name: str) -> float | None:
    return methods[name]["euler"] if name in methods else None


def targets() -> list[Target]:
    any_size = ("any_size 16", "any_size")
    dense = ("dense", "auto fast", "auto balanced", "auto tight")
    grouped = ("auto fast", "auto balanced", "auto tight", "twisted", "dense")
    zero_padded_small = lambda row: row["side"] <= 4096 and row["group"] not in ("Dense", "Other padding modes") and "classifier" not in row["layer"]  # noqa: E731
    is_dense = lambda row: row["group"] == "Dense"  # noqa: E731
    return [
        Target("3x3 stride 1, n >= 56: ratio", 1.0006, plain(56), ratio),
        Target("3x3 stride 1, 28 <= n < 56: ratio", 1.001, plain(28, 55), ratio),
        Target("3x3 stride 1, n = 14 (and 16): ratio", 1.006, plain(14, 16), ratio),
        Target("3x3 stride 1, n = 7, 8: ratio", 1.02, plain(7, 8), ratio),
        Target("convolutions with min(rows, columns) <= 4096: ratio", 1.0001, zero_padded_small, ratio, (*CANDIDATES, "dense")),
        Target("3x3 stride 1, n >= 28: time / Gram (6 its)", 0.30, plain(28), time_over(GRAM)),
        Target("3x3 stride 1, n <= 16: time / Gram (6 its)", 0.65, plain(1, 16), time_over(GRAM)),
        Target("3x3 stride 1: time / (FFT + SVD)", 0.40, plain(1), time_over(SVD)),
        Target("strided, kernel > 1: Gram's ratio / ours", 1.3, strided, tighter_than_gram, at_least=True),
        Target("strided, kernel > 1: time / Gram (6 its)", 0.30, strided, time_over(GRAM)),
        Target("any-size, 64-64 3x3 @56: ratio", 1.045, lambda row: row["layer"] == "64-64 3x3 @56", ratio, any_size),
        Target("any-size, 64-64 3x3 @56: time / tensor norm (100 its)", 2.0, lambda row: row["layer"] == "64-64 3x3 @56", time_over(TENSOR), any_size),
        Target("any-size, 3x3 stride 1, n >= 28: ratio", 1.045, plain(28), ratio, any_size),
        Target("any-size, 3x3 stride 1, n >= 28: time / tensor norm (100 its)", 2.0, plain(28), time_over(TENSOR), any_size),
        Target("dense 1024 to 4096: ratio", 1.0001, is_dense, ratio, dense),
        Target("dense 1024 to 4096: time / Gram (10 its)", 0.25, is_dense, time_over(DENSE_GRAM), dense),
        Target("depthwise and grouped: ratio", 1.01, lambda row: "groups" in row["layer"] or "depthwise" in row["layer"], ratio, grouped),
        Target("depthwise, 256 channels: seconds", 0.020, lambda row: row["layer"].startswith("256-256 3x3 depthwise"), seconds, grouped, unit=" s"),
        Target("ResNet-18, 20 convolutions and classifier: largest ratio, balanced as in the first lines, fast <= 1.05", 1.05, resnet, ratio, CANDIDATES[:3]),
        Target("ResNet-18, 20 convolutions and classifier: seconds, balanced", 10.0, resnet, weighted_seconds, ("auto balanced",), total=True, unit=" s"),
        Target("ResNet-18, 20 convolutions and classifier: seconds, fast", 1.0, resnet, weighted_seconds, ("auto fast",), total=True, unit=" s"),
        Target("gradient / certified value (extra CPU time)", 0.1, lambda row: True, backward_share, ("differentiable",), partial=True),
        Target("<gradient, W> = value: relative error", 1e-9, lambda row: True, euler, ("differentiable",), partial=True),
    ]


def violations(rows: list[Row], kind: str) -> list[Row]:
    return [row for row in rows if row["kind"] == kind and row["sound"] is False]
