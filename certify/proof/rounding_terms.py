"""How far the checker's float value of one node can be from the exact node at the same inputs: the terms of the error recursion.

`terms(node, shapes, norm)` gives (relative per input, absolute): |fl(out) - out(v)|_p <= sum_i relative_i |v_i|_p + absolute for the
formulas of `forward`, `convolve` and `values`, p on flattened tensors. TINY = 2^-1000 pays for the underflows of a node.
"""

from __future__ import annotations

import math

import numpy as np

from ..core.graph import Node
from ..core.rounding import TINY, U, add_up, div_up, gamma, ldexp_up, mul_up, norm_up, sqrt_up, up
from . import fields
from .check_norms import dense_sums
from .local import Shapes
from .pools import AveragePool
from .values import value_of
from .windows import scaled, windows_of

Terms = tuple[list[float], float]
_EXACT = frozenset("constant maximum minimum group_sort concat slice gather reshape transpose expand pad max_pool upsample".split())


def ones(count: int, norm: str) -> float:
    """Upper end of |(1, .., 1)|_p."""
    return {"l2": sqrt_up(float(count)), "l1": float(count), "linf": 1.0}[norm]


def terms(node: Node, shapes: Shapes, norm: str) -> Terms:
    op, size = node.op, math.prod(node.shape)
    if op in _EXACT:
        return [0.0] * len(shapes), 0.0
    if op in ("add", "sub"):
        return [U, U], 0.0  # u |a + b| <= u |a| + u |b|; a sum does not underflow
    if op == "activation":
        _, relative, absolute = value_of(node)
        return [relative], mul_up(absolute, ones(size, norm))
    if op in ("dense", "conv", "conv_transpose"):
        return _affine(node, shapes[0], norm)
    if op == "avg_pool":
        pool, count = AveragePool(node, shapes[0]), math.prod(node.attrs["kernel"])
        return [mul_up(gamma(count + 2), pool.majorant(norm))] if pool.usable else [math.inf], TINY
    if op == "batch_norm":
        return _batch_norm(node, norm)
    if op in ("scale", "divide"):
        value = np.abs(np.asarray(node.float64("value")))
        most = float(value.max()) if op == "scale" else div_up(1.0, float(value.min()))
        return [mul_up(U, most)], TINY
    if op == "reduce":
        count = math.prod(shapes[0][i] for i in node.attrs["axes"])
        if node.attrs["kind"] in ("max", "min"):
            return [0.0], 0.0
        power = {"l2": sqrt_up(float(count)), "l1": 1.0, "linf": float(count)}[norm]
        return [mul_up(gamma(count + 2), power if node.attrs["kind"] == "sum" else div_up(power, float(count)))], TINY
    if op in ("softmax", "log_softmax", "logsumexp"):
        return _soft(op, shapes[0][node.attrs["axis"]], math.prod(shapes[0]), norm)
    raise fields.refuse("the checker does not evaluate this operator", node.name, op)


def _affine(node: Node, in_shape: tuple[int, ...], norm: str) -> Terms:
    """Sums of K products and a bias in any order: gamma_(K+2) (|A||x| + |b|) entrywise; a folded node's weights and bias are off besides."""
    weight = np.asarray(node.float64("weight"))
    relative = float(node.attrs.get("perturbation", 0)) * U
    if node.op == "dense":
        matrix, e = scaled(weight)
        rows, columns = dense_sums(matrix, relative)
        count = weight.shape[1]
    else:
        a = windows_of(node, in_shape)
        if a is None:
            raise fields.refuse("a linear layer without weights", node.name)
        (rows, columns), e = a.sums, a.exponent
        count = weight[0].size if node.op == "conv" else weight[:, 0].size // int(node.attrs["groups"])
    majorant = {"linf": rows, "l1": columns}.get(norm) or sqrt_up(mul_up(rows, columns))
    share = gamma(count + 2)
    share = add_up(share, mul_up(relative, 1.0 + 2.0 * share))
    absolute, bias = TINY, node.float64("bias")
    if bias is not None:
        shape = (1,) * (len(node.shape) - 1) + (-1,) if node.op == "dense" else (-1,) + (1,) * (len(node.shape) - 1)
        absolute = add_up(absolute, mul_up(gamma(count + 2), norm_up(np.broadcast_to(bias.reshape(shape), node.shape), norm)))
        off = float(node.attrs.get("bias_perturbation", 0.0))
        absolute = add_up(absolute, mul_up(off, mul_up(ones(math.prod(node.shape), norm), 1.0 + 2.0 * gamma(2)))) if off else absolute
    return [mul_up(share, ldexp_up(majorant, e))], absolute


def _batch_norm(node: Node, norm: str) -> Terms:
    """(x - mean) s + bias with s = gamma / sqrt(var + eps): three roundings of s, one each of the difference, product and sum; a subnormal s is off by 2^-1074."""
    mean, variance, weight, bias = (node.float64(name) for name in ("mean", "var", "weight", "bias"))
    root = np.sqrt(np.asarray(variance) + float(node.attrs["eps"]))
    size = np.abs((1.0 if weight is None else weight) / root) * (1.0 + 8 * U) + 2.0**-1070
    shift = up(size * np.abs(np.asarray(mean))) + (0.0 if bias is None else np.abs(bias))
    whole = np.broadcast_to(shift.reshape((-1,) + (1,) * (len(node.shape) - 1)), node.shape)
    return [mul_up(gamma(10), float(size.max()))], add_up(mul_up(gamma(10), norm_up(whole, norm)), TINY)


def _soft(op: str, k: int, size: int, norm: str) -> Terms:
    """Groups of k entries, z = x - max <= 0 (one rounding, u |z|), e = exp(z) off by 8u e + u |z| e^z <= 8u e + 0.37u, S = sum e in [1, k] off by
    8u S + 0.37 k u + gamma_k S.

    softmax, e / S: in l1 over a group 16u + 0.74 k u + gamma_k + u <= gamma_(20+2k), hence in every p; groups add in l1, in squares in l2.
    log S = log1p(S - 1): the difference u (S - 1), the log moves by the relative error of S, the library 8u log k: below (20 + 3k) u, since
    log k <= k. logsumexp = max + log S: u (|max| + log k) more; the maxima are entries of x. log_softmax = z - log S: 2u |z| + u log k,
    |z| <= |x| + |max|, and the maximum stands in k entries of its group.
    """
    groups = size // max(k, 1)
    if op == "softmax":
        return [0.0], mul_up(gamma(20 + 2 * k), ones(groups, norm))
    if op == "logsumexp":
        return [2 * U], mul_up(gamma(40 + 4 * k), ones(groups, norm))
    return [mul_up(3 * U, 1.0 + ones(k, norm))], mul_up(gamma(40 + 4 * k), ones(size, norm))
