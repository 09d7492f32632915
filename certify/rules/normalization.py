"""Softmax and its relatives."""

from __future__ import annotations

from ..core.graph import Node
from ..core.rounding import U, gamma, mul_up, sqrt_up
from .base import Local, ones_norm, rule, size_of

CITE = "Gao, Pavel: On the properties of the softmax function, arXiv:1704.00805 (2017); the constant 1/2 is proved in certify.rules.normalization"


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
