"""The checker's own local constants: what one node does to distances, for every operator of the vocabulary.

`local(node, shapes, norm)` gives (squares, combine): the square of the least constant that the checker accepts, per input, as an exact
rational, and how the inputs combine; or None for a linear layer, whose constant is an operator norm (`check_norms`). Squares, because
sqrt(k) is what counting gives in l2; a stored c is accepted when c^2 >= square.

Sources: methods/network_lipschitz.md sections 1 and 3. c(k) below is k^(1/p): sqrt k, k, 1 in l2, l1, linf.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ..core.graph import Node
from . import fields
from .pools import most_readers, window_axes
from .slopes import slope
from .windows import Axis

Shapes = list[tuple[int, ...]]
Local = tuple[list[Fraction], str]

LINEAR = frozenset({"dense", "conv", "conv_transpose", "avg_pool"})
_SAME = frozenset({"reshape", "transpose", "group_sort", "logsumexp", "slice"})  # a permutation, a part, a probability gradient: 1 in every p


def copies(count: int, norm: str) -> Fraction:
    """The square of count^(1/p): what copying one entry `count` times does."""
    return {"l2": Fraction(count), "l1": Fraction(count) ** 2, "linf": Fraction(min(count, 1))}[norm]


def local(node: Node, shapes: Shapes, norm: str) -> Local | None:
    """Squares of the constants and the combination; None for a linear layer."""
    op = node.op
    if op in LINEAR:
        return None
    if op == "constant":
        return [], "sum"
    if op in ("add", "sub"):
        return [Fraction(1), Fraction(1)], "sum"
    if op in ("concat", "maximum", "minimum"):  # disjoint parts, or one of the two entries: never more than both together
        return [Fraction(1)] * len(shapes), {"l2": "root", "l1": "sum", "linf": "max"}[norm]
    if op in _SAME:
        return [Fraction(1)], "sum"
    if op in ("attention", "matmul", "multiply"):
        raise fields.refuse("a product of tensors, as in dot-product attention, has no constant on the whole space", node.name, op)
    if op not in _UNARY:
        raise fields.refuse("the checker knows no finite constant for this operator", node.name, op)
    return [_UNARY[op](node, shapes[0], norm)], "sum"


def _activation(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    return slope(node) ** 2


def _softmax(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    return Fraction(1, 4) if shape[node.attrs["axis"]] > 1 else Fraction(0)


def _log_softmax(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    n = shape[node.attrs["axis"]]
    return {"l2": Fraction(n), "l1": Fraction(max(n - 1, 1)) ** 2, "linf": Fraction(4)}[norm] if n > 1 else Fraction(0)


def _scale(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    value = np.abs(node.arrays["value"].astype(np.float64))
    if node.op == "scale":
        return Fraction(float(value.max())) ** 2
    if not float(value.min()) > 0:
        raise fields.refuse("a division by zero", node.name)
    return 1 / Fraction(float(value.min())) ** 2


def _batch_norm(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    variance, weight = node.float64("var"), node.float64("weight")
    eps = Fraction(float(node.attrs["eps"]))
    sums = [Fraction(float(v)) + eps for v in np.asarray(variance)]
    if not all(s > 0 for s in sums):
        raise fields.refuse("a BatchNorm has var + eps <= 0", node.name)
    gains = [Fraction(1)] * len(sums) if weight is None else [Fraction(float(w)) for w in weight]
    return max(g * g / s for g, s in zip(gains, sums, strict=True))


def _expand(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    return copies(math.prod(node.shape) // math.prod(shape), norm)


def _upsample(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    return copies(math.prod(node.attrs["factors"]), norm)


def _gather(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    n = shape[node.attrs["axis"]]
    counts: dict[int, int] = {}
    for index in node.arrays["index"].tolist():
        if not -n <= index < n:
            raise fields.refuse("an index leaves its axis", node.name, index, f"-{n} .. {n - 1}")
        counts[index % n] = counts.get(index % n, 0) + 1
    return copies(max(counts.values()), norm)


def _pad(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    if node.attrs["mode"] == "constant":
        return Fraction(1)
    most = 1
    for n, (low, high) in zip(shape, node.attrs["pads"], strict=True):
        axis = Axis(n, n + low + high, 1, 1, 1, low, high, node.attrs["mode"])
        most *= int(axis.readers.max(initial=0.0))
    return copies(most, norm)


def _max_pool(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    return copies(most_readers(window_axes(node, shape)), norm)


def _reduce(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    count, kind = math.prod(shape[i] for i in node.attrs["axes"]), node.attrs["kind"]
    if kind in ("max", "min"):
        return Fraction(1)
    total = {"l2": Fraction(count), "l1": Fraction(1), "linf": Fraction(count) ** 2}[norm]  # disjoint groups of `count`: Hoelder, attained
    return total if kind == "sum" else total / count**2


def _layer_norm(node: Node, shape: tuple[int, ...], norm: str) -> Fraction:
    """g^2 / eps in l2, g = max |weight|: the Jacobian of c / s is (P - n n'/d) / s with n = c / s, 0 <= P - n n'/d <= I and s^2 >= eps.

    linf, and l1 by symmetry. With t = |n|^2 / d in [0, 1), s^2 = eps / (1 - t). Row i of P - n n'/d: its diagonal entry is not negative, so the
    row's absolute sum is at most r + (|n_i| |n|_1 - 2 n_i^2) / d with r = 2 - 2/d (1 without centring), and |n_i| |n|_1 - 2 n_i^2 <= (sqrt(d) - 1) |n|^2 / 2
    (set |n_i| = |n| cos w, |n|_1 <= |n| (cos w + sqrt(d - 1) sin w)). Of (1 - t)(r + h t)^2, h = (sqrt(d) - 1) / 2, the derivative vanishes at
    t = (2h - r) / (3h): the maximum is 4 (r + h)^3 / (27 h) if that is positive, else r^2. sqrt(d) is taken above its value by less than 2^-200.
    """
    eps, d = Fraction(float(node.attrs["eps"])), math.prod(shape[len(shape) - int(node.attrs["dims"]) :])
    if not eps > 0:
        raise fields.refuse("a LayerNorm with eps <= 0 has no finite constant", node.name, float(eps), "eps > 0")
    if node.attrs["center"] and d == 1:
        return Fraction(0)
    weight = node.float64("weight")
    scale = (Fraction(1) if weight is None else max(Fraction(float(w)) ** 2 for w in weight.ravel())) / eps
    if norm == "l2":
        return scale
    root = math.isqrt(d << 400)
    h = (Fraction(root + (root * root != d << 400), 1 << 200) - 1) / 2
    r = 2 - Fraction(2, d) if node.attrs["center"] else Fraction(1)
    return scale * (4 * (r + h) ** 3 / (27 * h) if 2 * h > r else r * r)


_UNARY = {
    "activation": _activation, "softmax": _softmax, "log_softmax": _log_softmax, "scale": _scale, "divide": _scale, "batch_norm": _batch_norm,
    "expand": _expand, "upsample": _upsample, "gather": _gather, "pad": _pad, "max_pool": _max_pool, "reduce": _reduce,
    "layer_norm": _layer_norm,
}  # fmt: skip
