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
    if op == "layer_norm":
        return _layer_norm(node, norm)
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


def _layer_norm(node: Node, norm: str) -> Terms:
    """Groups of d entries: c = x - mean, s = sqrt(mean c^2 + eps), out = (c / s) weight + bias; g = max |weight|.

    The mean meets d roundings and two of 1/d: off by gamma_(d+2) mean |x|, and the difference by u |x - mean|; in p-norm over a group, where
    |(1, .., 1)|_p mean |x| <= |x|_p and |x - mean|_p <= 2 |x|_p, together e <= gamma_(d+5) |x|_p (0 without centring). The map c -> c / s, s >= sqrt(eps),
    stretches e by at most 1 / sqrt(eps) in l2 and, its Jacobian (I - n n'/d) / s having rows with sum at most 1 + |n_i| |n|_1 / d <= 1 + sqrt(d), by
    (1 + sqrt(d)) / sqrt(eps) in linf and l1. The rest are products of positive terms: d + 4 roundings under the root, the root, quotient, product and sum:
    gamma_(d+12) of g |n|_p + |bias|_p, where |n|_2 <= sqrt(d) in a group; squares that underflow lose 2 eta against eps >= 2^-900, below which nothing is said.
    Squares that overflow give n = 0: wrong by |n|_2 <= sqrt(d) where some |x_i| >= 2^509 / sqrt(d): g d 2^-300 |x| is more. A sum that overflows has
    d |x|_inf >= 2^1023: d 2^-120 |x| >= 2^900 is the mark of an overflow.
    """
    d, eps = math.prod(node.shape[len(node.shape) - node.attrs["dims"] :]), float(node.attrs["eps"])
    if not eps >= 2.0**-900:
        return [math.inf], math.inf
    weight, bias = node.float64("weight"), node.float64("bias")
    gain, root = 1.0 if weight is None else float(np.abs(weight).max()), sqrt_up(float(d))
    slope = mul_up(gain, mul_up(sqrt_up(div_up(1.0, eps)), 1.0 if norm == "l2" else add_up(1.0, root)))
    relative = mul_up(gamma(d + 5), slope) if node.attrs["center"] else 0.0
    relative = add_up(relative, add_up(mul_up(mul_up(gain, float(d)), 2.0**-300), d * 2.0**-120))
    size = {"l2": ones(math.prod(node.shape), "l2"), "l1": float(math.prod(node.shape)), "linf": root}[norm]
    shift = 0.0 if bias is None else norm_up(np.broadcast_to(bias, node.shape), norm)
    return [relative], add_up(mul_up(gamma(d + 12), add_up(mul_up(gain, size), shift)), mul_up(TINY, add_up(1.0, slope)))


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
