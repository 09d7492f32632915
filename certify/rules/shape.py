"""Operators that move or copy entries: their constant is a count, their float64 value is exact."""

from __future__ import annotations

import math

import numpy as np

from ..core.graph import Node
from .base import GOUK, Local, exact, ones_norm, rule

CITE = GOUK


def copies(node: Node, most: int, norm: str) -> Local:
    """y holds each entry of x at most `most` times, and nothing else that moves: |dy|_p <= most^(1/p) |dx|_p, attained at that entry."""
    return exact(node, "sum", (ones_norm(most, norm),), "copies counted", CITE, evidence={"copies": most})


@rule("reshape", "transpose", cite=CITE)
def permutation(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """The same entries in another order: 1 in every p."""
    return copies(node, 1, norm)


@rule("slice", cite=CITE)
def part(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """Some of the entries, each once: 1 (0 if nothing is left)."""
    return copies(node, 1 if math.prod(node.shape) else 0, norm)


@rule("gather", cite=CITE)
def gather(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """Index i taken m_i times: copies = max m_i."""
    index = np.where(node.arrays["index"] < 0, node.arrays["index"] + in_shapes[0][node.attrs["axis"]], node.arrays["index"])
    return copies(node, int(np.unique(index, return_counts=True)[1].max(initial=0)), norm)


@rule("expand", cite=CITE)
def expand(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """Broadcasting: every entry appears size(out) / size(in) times."""
    inputs = math.prod(in_shapes[0])
    return copies(node, math.prod(node.shape) // inputs if inputs else 0, norm)


@rule("upsample", cite=CITE)
def upsample(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """Nearest neighbour by integer factors: every pixel becomes a block of prod(factors)."""
    return copies(node, math.prod(node.attrs["factors"]), norm)


@rule("pad", cite=CITE)
def pad(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """A constant border adds nothing that moves; reflect, replicate and circular borders copy: the copies per axis multiply."""
    most = 1
    for length, (low, high) in zip(in_shapes[0], node.attrs["pads"]):
        most *= _axis_copies(length, low, high, node.attrs["mode"])
    return copies(node, most, norm)


def _axis_copies(length: int, low: int, high: int, mode: str) -> int:
    """How often the most frequent index of an axis appears after padding; negative pads crop."""
    index = np.arange(length)
    if mode != "constant" and (low > 0 or high > 0):
        numpy_mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
        index = np.pad(index, (max(low, 0), max(high, 0)), mode=numpy_mode)  # type: ignore[call-overload]
    index = index[max(-low, 0) : len(index) - max(-high, 0)]
    return int(np.bincount(index, minlength=1).max()) if len(index) else 0


@rule("concat", cite=CITE)
def concatenation(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """|(a, b)|_p: root of squares in l2, sum in l1, maximum in linf; exact for disjoint parts, so the same tensor twice gives sqrt 2 in l2."""
    combine = {"l2": "root", "l1": "sum", "linf": "max"}[norm]
    return exact(node, combine, (1.0,) * len(in_shapes), "norm of the parts", CITE)
