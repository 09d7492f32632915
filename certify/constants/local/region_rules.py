"""Constants of single nodes on a convex set of inputs, in l2: `RULES[op](node, inputs)` gives one per input (math in the docstrings)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...core.activation import activation_of
from ...core.evaluate_attention import causal_mask
from ...core.graph import Node
from ...core.rounding import TINY, div_up, down, gamma, mul_up, sqrt_down, sqrt_up, sub_down, up
from . import attention as attention_rows
from .linear import Prepared
from .normalization import centred, mean_square
from .rows import Rows, ends, middle

Constants = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a tensor on the region: it lies in the box [lower, upper] and within `reach` (l2) of a point of [centre_lower, centre_upper]."""

    lower: np.ndarray
    upper: np.ndarray
    centre_lower: np.ndarray
    centre_upper: np.ndarray
    reach: float

    def cut(self) -> Known:
        """The box cut with the one around the ball."""
        with np.errstate(all="ignore"):
            low, high = down(np.asarray(self.centre_lower - self.reach)), up(np.asarray(self.centre_upper + self.reach))
        lower, upper = np.where(low > self.lower, low, self.lower), np.where(high < self.upper, high, self.upper)  # NaN cuts nothing
        return replace(self, lower=lower, upper=upper)


Rule = Callable[[Node, list[Known]], Constants]
RULES: dict[str, Rule] = {}


def _rule(*ops: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, function))
        return function

    return register


def _sizes(lower: np.ndarray, upper: np.ndarray, axes: int = 1) -> np.ndarray:
    """Upper ends of the l2 norms over the last axes of everything between the ends; inf for NaN."""
    size = np.maximum(np.abs(lower), np.abs(upper)).reshape(*lower.shape[: lower.ndim - axes], -1)
    with np.errstate(all="ignore"):
        total = (size * size).sum(axis=-1) * (1.0 + 2.0 * gamma(size.shape[-1] + 16)) + TINY
        root = np.where(size.any(axis=-1), up(np.asarray(np.sqrt(total))), 0.0)
    return np.where(np.isnan(root), np.inf, root)


def _between(x: Known, point: np.ndarray | float = 0.0, axes: int = 1) -> np.ndarray:
    """Upper ends of |x - point|_2 over the last axes, the better of box and ball."""
    with np.errstate(all="ignore"):
        box = _sizes(down(np.asarray(x.lower - point)), up(np.asarray(x.upper - point)), axes)
        ball = up(np.asarray(_sizes(down(np.asarray(x.centre_lower - point)), up(np.asarray(x.centre_upper - point)), axes) + x.reach))
    return np.fmin(box, ball)


@_rule("activation")
def activation(node: Node, inputs: list[Known]) -> Constants:
    """|f(a) - f(b)| <= c |a - b| entry by entry, c the largest slope on the entries' ranges."""
    least, most = activation_of(node).slope_range_on(inputs[0].lower, inputs[0].upper)
    return (float(np.maximum(np.abs(least), np.abs(most)).max(initial=0.0)),)


@_rule("multiply")
def multiply(node: Node, inputs: list[Known]) -> Constants:
    """|d(ab)|_2 <= max |b| |da|_2 + max |a| |db|_2, from ab - a'b' = (a - a') b + a' (b - b')."""
    a, b = (float(np.maximum(np.abs(x.lower), np.abs(x.upper)).max(initial=0.0)) for x in inputs)
    return b, a


@_rule("matmul")
def matmul(node: Node, inputs: list[Known]) -> Constants:
    """|d(AB)|_F <= |B|_2 |dA|_F + |A|_2 |dB|_F for each index of the leading axes, which are blocks; the spectral norms by Frobenius norms."""
    a, b = (float(_between(x, axes=2).max(initial=0.0)) for x in inputs)
    return b, a


@_rule("layer_norm")
def layer_norm(node: Node, inputs: list[Known]) -> Constants:
    """max |g| / sqrt(v + eps) where every group has variance |c|^2 / d >= v: dn/dx = M / s with |M| <= 1 (`rules.normalization`), and s^2 = |c|^2 / d + eps.

    v on the box: the least squares of the entries of c. On the ball: |c|_2 >= |c at the centre|_2 - reach, P being a projector.
    """
    x, d = inputs[0], math.prod(node.shape[len(node.shape) - node.attrs["dims"] :])
    if node.attrs["center"] and d == 1:
        return (0.0,)
    weight = node.float64("weight")
    gain = 1.0 if weight is None else float(np.abs(weight).max())
    cut = lambda a: a.reshape(1, -1, d)  # noqa: E731
    least = 0.0
    with np.errstate(all="ignore"):
        lower, upper = (e[0] for e in centred(Rows(*middle(cut(x.lower), cut(x.upper))), node.attrs["center"]))
        if float(np.maximum(np.abs(lower), np.abs(upper)).max()) < 1e150:
            least = float(mean_square(lower, upper).lower.min())
        lower, upper = (e[0] for e in centred(Rows(*middle(cut(x.centre_lower), cut(x.centre_upper))), node.attrs["center"]))
        if x.reach < 1e150 and float(np.maximum(np.abs(lower), np.abs(upper)).max()) < 1e150:
            deviation = sub_down(sqrt_down(float(mean_square(lower, upper).lower.min())), div_up(x.reach, sqrt_down(float(d))) if x.reach else 0.0)
            if deviation > 0:
                least = max(least, float(down(down(deviation * deviation))))
    below = max(down(least + float(node.attrs["eps"])), float(node.attrs["eps"]))
    return (div_up(gain, sqrt_down(below)) if gain else 0.0,)


@_rule("attention")
def attention(node: Node, inputs: list[Known]) -> Constants:
    """|do|_F <= c_q |dq|_F + c_k |dk|_F + c_v |dv|_F, for one head o_i = sum_j P_ij v_j, P = softmax(scale q k'), over a convex set of (q, k, v).

    Proof. With E_i, Cov_i the mean and covariance under row i of P, the derivative is
        do_i = E_i[dv] + scale Cov_i(dq_i.k, v) + scale Cov_i(q_i.dk, v),      Cov_i(a, v) = sum_j P_ij (a_j - E_i a)(v_j - E_i v).
    Jensen: |E_i[dv]|^2 <= sum_j P_ij |dv_j|^2, so the first terms together have square at most S |dv|_F^2, S >= the column sums of P, S <= the number of
    queries. Cauchy-Schwarz for the second: |Cov_i(dq_i.k, v)| <= |dq_i| K_i V_i, where K_i^2 >= E_i |k - E_i k|^2 bounds the largest eigenvalue of the
    covariance of the keys, V_i likewise; hence c_q = |scale| max K_i V_i. For the third, centring v alone: |Cov_i(q_i.dk, v)| <=
    (sum_j P_ij |q_i|^2 |dk_j|^2)^(1/2) V_i, and summed over i: c_k = |scale| max_i (|q_i| V_i) sqrt(S). The three parts of (do_i)_i add by Minkowski.
    A covariance is centred: E_i |k - E_i k|^2 <= E_i |k - m|^2 for every point m, at most max_j |k_j - m|^2 and at most sum_j (upper end of P_ij) |k_j - m|^2;
    a row that reads one key has none. m = 0 gives B of the methods document. Heads (leading axes) are blocks: the largest constant of
    each kind serves all, since the l2 norm over heads of c_q |dq| + ... is at most c_q |dq|_F + ... A mask only removes keys. The bound holds at
    every point of the convex set, so it holds for differences. []
    """
    q, k, v = inputs
    p = _weights(node, q, k)
    reads = causal_mask(*p.shape[-2:]) if node.attrs["causal"] else np.ones(p.shape[-2:], dtype=bool)
    with np.errstate(all="ignore"):
        keys, values = _roots(k, p, reads), _roots(v, p, reads)
        columns = p.sum(axis=-2) * (1.0 + 2.0 * gamma(p.shape[-2] + 16)) + TINY
        most = sqrt_up(float(np.minimum(columns, reads.sum(axis=0)).max()))
        both, mixed = _product(keys, values), _product(_between(q), values)
    scale = abs(float(node.attrs["scale"]))
    return (mul_up(scale, both) if scale else 0.0, mul_up(mul_up(scale, mixed), most) if scale and mixed else 0.0, most)


def _product(a: np.ndarray, b: np.ndarray) -> float:
    """Upper end of the largest product of two nonnegative arrays; 0 times anything is 0, NaN is inf."""
    found = np.where((a == 0) | (b == 0), 0.0, up(np.asarray(a * b)))
    return float(np.where(np.isnan(found), np.inf, found).max(initial=0.0))


def _weights(node: Node, q: Known, k: Known) -> np.ndarray:
    """Upper ends of P over the region, (..., N, M)."""
    operand = Prepared(node, [q.lower.shape, k.lower.shape, k.lower.shape])
    with np.errstate(all="ignore"):
        rows = [Rows(*(e[None, None] for e in middle(x.lower, x.upper))) for x in (q, k)]
        p = attention_rows.weights(operand, *rows)
        return np.clip(ends(p.mid[0, 0], p.rad[0, 0])[1], 0.0, 1.0)


def _roots(x: Known, p: np.ndarray, reads: np.ndarray) -> np.ndarray:
    """Upper ends (..., N) of the root of E_i |x - E_i x|^2 for the tokens x (..., M, width): the best over m = 0 and a point near their middle."""
    middle_ = 0.5 * x.lower.min(axis=-2, keepdims=True) + 0.5 * x.upper.max(axis=-2, keepdims=True)
    best = np.full(p.shape[:-1], np.inf)
    for m in (0.0, np.where(np.isfinite(middle_), middle_, 0.0)):
        size = _between(x, m)[..., None, :]
        largest = np.where(reads, size, 0.0).max(axis=-1)
        total = np.where(reads & (p > 0) & (size > 0), p * size * size, 0.0).sum(axis=-1) * (1.0 + 2.0 * gamma(p.shape[-1] + 16)) + TINY
        best = np.fmin(best, np.fmin(largest, up(np.asarray(np.sqrt(total)))))
    return np.where(reads.sum(axis=-1) == 1, 0.0, best)
