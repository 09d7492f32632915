"""Pooling, reductions and sorting."""

from __future__ import annotations

import math

import numpy as np

from ..core.graph import Node
from ..core.rounding import TINY, div_up, gamma, mul_up, sqrt_up
from .affine import linear_layer_facts
from .base import GOUK, Local, exact, ones_norm, rule

CITE = GOUK
SORTING = "Anil, Lucas, Grosse: Sorting out Lipschitz function approximation, ICML (2019)"


@rule("max_pool", cite=CITE)
def max_pool(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """l2 sqrt(O), l1 O, linf 1; O = most windows that hold one pixel, counted on the actual shape.

    Proof: |dy_j| <= max over its window of |dx_i|, attained at some i(j), and each i serves at most O windows. A single bump attains it.
    """
    most = 1
    attrs = node.attrs
    axes = zip(in_shapes[0][1:], node.shape[1:], attrs["kernel"], attrs["stride"], attrs["padding"], attrs["dilation"])
    for length, outputs, kernel, stride, (low, _), dilation in axes:
        pixel = (stride * np.arange(outputs)[:, None] - low + dilation * np.arange(kernel)).ravel()
        pixel = pixel[(pixel >= 0) & (pixel < length)]
        most *= int(np.bincount(pixel, minlength=1).max()) if len(pixel) else 0
    return exact(node, "sum", (ones_norm(most, norm),), "windows counted", CITE, evidence={"windows": most}, hypotheses=("padding never wins a window",))


@rule("avg_pool", cite=CITE)
def avg_pool(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """A linear map: its norm, with the divisors of the border as they are."""
    return linear_layer_facts(node, in_shapes[0], norm, effort, CITE)


@rule("reduce", cite=CITE)
def reduction(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """Over disjoint groups of k entries. max, min: 1 in every p. sum: sqrt k, k^0 = 1, k in l2, l1, linf (exact: Cauchy-Schwarz, k equal
    entries); mean: divided by k. A sum meets k roundings in any order, the division one more."""
    count = math.prod(in_shapes[0][axis] for axis in node.attrs["axes"])
    kind = node.attrs["kind"]
    if kind in ("max", "min"):
        return exact(node, "sum", (1.0,), "selection from disjoint groups", CITE, name=f"reduce {kind}")
    constant = {"l2": sqrt_up(float(count)), "l1": 1.0, "linf": float(count)}[norm]
    if kind == "mean":
        constant = {"l2": div_up(1.0, math.sqrt(count)) if math.isqrt(count) ** 2 == count else sqrt_up(div_up(1.0, count)), "l1": div_up(1.0, count), "linf": 1.0}[norm]
    return Local((constant,), "sum", f"reduce {kind}", "disjoint groups", (mul_up(gamma(count + 2), constant),), TINY, evidence={"count": count}, cite=(CITE,))


@rule("group_sort", cite=SORTING)
def group_sort(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """Sorting is a permutation on each of finitely many cones that cover the space, and continuous: 1 in every p, exact."""
    return exact(node, "sum", (1.0,), "piecewise a permutation", SORTING)
