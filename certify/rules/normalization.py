"""Softmax and its relatives, layer normalisation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ..core.graph import Node
from ..core.rounding import TINY, U, add_up, fraction_up, gamma, ldexp_up, mul_up, norm_up, sqrt_up
from ..core.values import require_values
from .base import Local, ones_norm, rule, size_of

CITE = "Gao, Pavel: On the properties of the softmax function, arXiv:1704.00805 (2017); the constant 1/2 is proved in certify.rules.normalization"

LAYER_NORM = "Ba, Kiros, Hinton: Layer normalization, arXiv:1607.06450 (2016), the formula; its constants are proved in certify.rules.normalization"
_LEAST_EPS = 2.0**-900  # below, squares that underflow may matter and the rounding error is taken as unknown


def _groups(node: Node, shape: tuple[int, ...]) -> tuple[int, int]:
    """Entries of one group (the axis) and the number of groups."""
    length = shape[node.attrs["axis"]]
    return length, size_of(shape) // max(length, 1)


@rule("softmax", cite=CITE)
def softmax(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """J = diag(p) - pp': l2 1/2 (Var_p(v) <= (max v - min v)^2 / 4 <= 1/2 for |v| = 1), l1 and linf 2 p_i (1 - p_i) <= 1/2; one entry: 0.

    Float error per group of k entries, z = x - max <= 0 rounded once, S = sum of e_j >= 1: e_j is off by (8u + |z_j| u) e_j <= 8u e_j + 0.37u,
    S by 8u S + 0.37 k u + gamma_k S, the quotient by one more u. In l1, hence in every p: sum |dp_i| <= 16u + 0.74 k u + gamma_k + u
    <= gamma(20 + 2k). Groups add in l1, in squares in l2.
    """
    k, groups = _groups(node, in_shapes[0])
    constant = 0.0 if k <= 1 else 0.5
    return Local((constant,), "sum", "softmax", "largest variance", (0.0,), mul_up(gamma(20 + 2 * k), ones_norm(groups, norm)), cite=(CITE,))


@rule("log_softmax", cite=CITE)
def log_softmax(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """J = I - 1p' is an oblique projector: l2 |1||p| <= sqrt n, linf 2 (1 - p_i) <= 2, l1 1 + (n - 2) p_j <= n - 1 (n >= 2); n = 1: the zero map.

    Float error of an entry: z_i = x_i - max twice rounded with the last subtraction, 2u (|x_i| + |max|), plus the error of log S (see
    logsumexp) and u log S: below gamma(40 + 4k). The maximum stands in k entries of each group: |max 1|_p <= k^(1/p) |x|_p.
    """
    k, groups = _groups(node, in_shapes[0])
    constant = {"l2": sqrt_up(float(k)), "l1": float(max(k - 1, 1)), "linf": 2.0}[norm] if k > 1 else 0.0
    relative = mul_up(3 * U, 1.0 + ones_norm(k, norm))
    return Local((constant,), "sum", "log_softmax", "oblique projector", (relative,), mul_up(gamma(40 + 4 * k), ones_norm(k * groups, norm)), cite=(CITE,))


@rule("logsumexp", cite=CITE)
def logsumexp(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """The gradient is a probability vector: its dual norm is at most 1 in every p.

    Float error: S in [1, k] is off by (8u + gamma_k) S + 0.37 k u, so log S by (8 + 1.4 k + 2) u plus the library's 8u log k; the last
    addition u (|max| + log k): below gamma(40 + 4k) + 2u |max|, and the maxima of the groups are entries of x.
    """
    k, groups = _groups(node, in_shapes[0])
    return Local((1.0,), "sum", "logsumexp", "gradient is a probability vector", (2 * U,), mul_up(gamma(40 + 4 * k), ones_norm(groups, norm)), cite=(CITE,))


@rule("layer_norm", cite=LAYER_NORM)
def layer_norm(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """max |g| / sqrt(eps) in l2; times the root of `_peak` in linf and l1; 0 for a centred group of one entry.

    Proof, for one group of d entries (groups are blocks: their largest constant). y = g n + b, n = c / s, s^2 = |c|^2 / d + eps, c = P x with
    P = I - 11'/d (I without centring). Since Pc = c, dn/dx = M / s with M = P - n n'/d, and 0 <= n n'/d <= t P for t = |n|^2 / d < 1, so
    0 <= M <= P and |M|_2 <= 1. s >= sqrt(eps), and 1/s = sqrt(1 - t) / sqrt(eps), because s^2 (1 - t) = eps.
    linf: M_ii >= 0, so the sum of row i is at most P_ii + sum over j != i of |P_ij| + (|n_i| |n|_1 - 2 n_i^2) / d <= a + t b with a = 2 (1 - 1/d)
    (1 without centring) and b = (sqrt(d) - 1) / 2: for |n| = 1 and n_i = cos w, |n|_1 <= cos w + sqrt(d - 1) sin w, and sqrt(d - 1) cos w sin w - cos^2 w
    = (sqrt(d - 1) sin 2w - cos 2w - 1) / 2. So |dn/dx|_inf <= max over t in [0, 1) of sqrt(1 - t) (a + t b) / sqrt(eps). M is symmetric: l1 is the same.

    Float error. The computed c is off by e, |e|_p <= gamma_(d+3) |x|_p + TINY: the mean of x by gamma_d mean |x| (|1|_p mean |x| <= |x|_p), the
    difference by u (|c| + the error of the mean), |c|_p <= 2 |x|_p; no centring, no error. c -> c / s is the map without centring, so
    this moves n by K |e|_p, K its constant. From the computed c on every term of s^2 is positive: root, quotient, product and sum are
    within gamma_(d+9) (|g n|_p + |b|_p), |n|_2 < sqrt(d) in each group. Underflow: d squares lose d eta, against eps >= 2^-900.
    Overflow of |c|^2 gives n = 0, off by |n|_2 <= sqrt(d): then |x|_inf >= 2^509 / sqrt(d) and the term d max |g| 2^-300 |x| pays. Overflow of the sum
    of x: then d |x|_inf >= 2^1023 and d 2^-120 |x| >= 2^900, which no walker takes for a bound.
    """
    require_values(node, in_shapes)
    eps, d, center = float(node.attrs["eps"]), size_of(node.shape[-node.attrs["dims"] :]), bool(node.attrs["center"])
    weight, bias = node.float64("weight"), node.float64("bias")
    gain = 1.0 if weight is None else float(np.abs(weight).max())
    inverse = sqrt_up(fraction_up(1 / Fraction(eps)))
    constant = 0.0 if center and d == 1 else sqrt_up(fraction_up(_peak(d, center, norm) * Fraction(gain) ** 2 / Fraction(eps)))
    carried = mul_up(mul_up(gamma(d + 3), gain), mul_up(sqrt_up(fraction_up(_peak(d, False, norm))), inverse)) if center and gain else 0.0
    relative = add_up(carried, add_up(ldexp_up(mul_up(float(d), gain), -300), ldexp_up(float(d), -120)))
    total = {"l2": sqrt_up(float(size_of(node.shape))), "l1": float(size_of(node.shape)), "linf": sqrt_up(float(d))}[norm]
    shift = 0.0 if bias is None else norm_up(np.broadcast_to(bias, node.shape), norm)
    absolute = add_up(mul_up(gamma(d + 10), add_up(mul_up(gain, total), shift)), mul_up(TINY, add_up(1.0, mul_up(gain, inverse))))
    if not eps >= _LEAST_EPS:
        relative = absolute = math.inf
    name = "layer norm" if center else "RMS norm"
    method = "largest gain over sqrt(eps)" if norm == "l2" else "largest row sum over sqrt(eps)"
    return Local((constant,), "sum", name, method, (relative,), absolute, evidence={"entries": d}, hypotheses=("eps > 0",), cite=(LAYER_NORM,))


def _peak(d: int, center: bool, norm: str) -> Fraction:
    """Upper end of the square of max over t in [0, 1) of sqrt(1 - t) (a + b t); 1 in l2.

    Where 2b > a the maximum stands at t = (2b - a) / 3b and is (4 (a + b)^3 / 27 b)^(1/2), which grows with b; else at t = 0 and is a.
    """
    if norm == "l2":
        return Fraction(1)
    a = 2 * (1 - Fraction(1, d)) if center else Fraction(1)
    b = (Fraction(math.isqrt(d)) if math.isqrt(d) ** 2 == d else Fraction(sqrt_up(float(d)))) / 2 - Fraction(1, 2)
    return Fraction(4 * (a + b) ** 3, 27 * b) if 2 * b > a else a**2
