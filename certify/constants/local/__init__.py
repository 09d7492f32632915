"""Local constants: slopes of a network between any two points of a box, by intervals through the Graph.

Claim, for a box X and the network N with its stored weights in exact real arithmetic: `jacobian_bound` returns an interval matrix [J] such that
for all x, y in X there is a J in [J] with N(x) - N(y) = J (x - y). Everything else is read off it. Proof: node by node, each rule in `rows` terms
(`linear`, `activations`, `selections`, `products`); the box is convex, so the slopes of every tensor on it are slopes of a difference quotient.
Source: methods/network_lipschitz.md section 8; Clarke, Optimization and Nonsmooth Analysis (1983), 2.6, for the piecewise linear operators.
"""

from __future__ import annotations

import numpy as np

from ...core.evaluate import require_batch
from ...core.graph import Graph
from ...core.interval import Interval
from ...core.regions import Ball, Box, require_norm
from ...core.rounding import TINY, add_up, gamma, mul_up, norm_up, sqrt_up, up
from .facts import facts_of
from .plan import plan_of, region_ends
from .region_walk import region_product
from .rows import ends

__all__ = ["column_constants", "enclose", "enclose_points", "global_constant", "jacobian_bound", "local_constant", "region_product", "slopes_and_values"]


def jacobian_bound(graph: Graph, region: Box | Ball) -> Interval:
    """Enclose every generalized Jacobian and every secant slope matrix on a region.

    Claim: for all x, y in the region, N(x) - N(y) = J (x - y) for some J in the result.

    Args:
        graph: the network.
        region: Box of the input's shape (or flat, of the input's size), or a Ball, which is replaced by its box.
    Returns:
        Interval (outputs, inputs), both flattened; an entry is (-inf, inf) where nothing is known.
    Raises:
        UnsupportedLayerError: an operator without a local rule. InputError: a region of another shape.
    Cost: one pass with 1 + inputs rows, about twice that of evaluating as many inputs.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (1,)})
    >>> square = b.build(b.add("multiply", [x, x]))
    >>> jacobian_bound(square, Box([1.0], [2.0])).contains(np.array([[2.0]])), jacobian_bound(square, Box([1.0], [2.0])).contains(np.array([[1.9]]))
    (True, False)
    """
    return slopes_and_values(graph, *(e[None] for e in region_ends(graph, region)))[1][0]


def enclose(graph: Graph, region: Box | Ball) -> Interval:
    """N(region) lies in the result, entry by entry, shaped like the output. A box of one point is a rigorous evaluation of the network.

    Raises and cost as `jacobian_bound`, without its rows.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (1,)})
    >>> enclose(b.build(b.add("activation", [x], {"kind": "abs"})), Box([-1.0], [2.0])).contains(np.array([0.0]))
    True
    """
    lower, upper = region_ends(graph, region)
    rows = plan_of(graph).run(lower[None], upper[None], slopes=False)
    return Interval(*ends(rows.mid[0, 0], rows.rad[0, 0]))


def enclose_points(graph: Graph, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arrays (lower, upper), each (n, *output shape), with lower <= N(x_i) <= upper in exact real arithmetic, for a batch of float points (n, *input shape)."""
    x = np.asarray(require_batch(points, graph.input_shape), dtype=np.float64)
    rows = plan_of(graph).run(x, x, slopes=False)
    return ends(rows.mid[:, 0], rows.rad[:, 0])


def slopes_and_values(graph: Graph, lower: np.ndarray, upper: np.ndarray) -> tuple[Interval, Interval]:
    """`enclose` and `jacobian_bound` of many boxes at once: lower, upper (n, *input shape) -> (n, *output shape) and (n, outputs, inputs)."""
    rows = plan_of(graph).run(lower, upper, slopes=True)
    values = Interval(*ends(rows.mid[:, 0], rows.rad[:, 0]))
    first, last = ends(rows.mid[:, 1:], rows.rad[:, 1:])
    turned = [np.swapaxes(e.reshape(*e.shape[:2], -1), 1, 2) for e in (first, last)]
    return values, Interval(*turned)


def column_constants(graph: Graph, region: Box | Ball) -> np.ndarray:
    """c (outputs, inputs) with |N_j(x) - N_j(x + h e_i)| <= c_ji |h| whenever both points lie in the region: sup |dN_j / dx_i|.

    Guarantee: rounded up, and at most the global l2 constant of the network where it has one (|dN_j / dx_i| <= ||J||_2).
    Raises and cost as `jacobian_bound`; the global constant is computed once per graph.
    """
    j = jacobian_bound(graph, region)
    return np.minimum(np.maximum(-j.lower, j.upper), global_constant(graph, "l2"))


def local_constant(graph: Graph, region: Box | Ball, norm: str = "l2") -> float:
    """L with |N(x) - N(y)|_p <= L |x - y|_p for all x, y in the region, p = `norm`, on flattened inputs and outputs.

    Guarantee: an upper end, rounded up, and never above the global product constant of `certify.lipschitz` for the same norm (effort "fast").
    l1 and linf: the largest column and row sum of sup |J|. l2: the least of the norm of sup |J|, sqrt(l1 linf), and |mid J|_2 + |rad J|_2,
    and the product rule with the constants of the layers on the region (`region_product`).
    Raises and cost as `jacobian_bound`; the global constant is computed once per graph.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (2,)})
    >>> local_constant(b.build(b.add("add", [x, x])), Ball([0.0, 0.0], 1.0))
    2.0
    """
    require_norm(norm)
    best = min(_norm_of(jacobian_bound(graph, region), norm), global_constant(graph, norm))
    return min(best, region_product(graph, region)) if norm == "l2" else best


def global_constant(graph: Graph, norm: str) -> float:
    """The product constant on the whole space, or inf where there is none; computed once per graph and norm."""
    return facts_of(graph, norm).constant


def _norm_of(j: Interval, norm: str) -> float:
    size = np.maximum(-j.lower, j.upper)
    if not np.isfinite(size).all():
        return np.inf
    rows, columns = (_largest_sum(size, axis) for axis in (1, 0))
    if norm != "l2":
        return rows if norm == "linf" else columns
    best = min(norm_up(size, "l2"), sqrt_up(mul_up(rows, columns)))
    if min(size.shape) > 1:
        from ...linear.dense import DenseMap
        from ...norms import auto

        middle = 0.5 * j.lower + 0.5 * j.upper
        radius = up(np.maximum(j.upper - middle, middle - j.lower))
        split = add_up(auto.enclose(DenseMap(middle), "l2", "fast").upper, norm_up(radius, "l2"))
        best = min(best, split, auto.enclose(DenseMap(size), "l2", "fast").upper)
    return best


def _largest_sum(size: np.ndarray, axis: int) -> float:
    return add_up(mul_up(float(size.sum(axis=axis).max(initial=0.0)), 1.0 + 2 * gamma(size.shape[axis] + 4)), TINY) if size.any() else 0.0
