"""The constant of an affine network from its own matrix: x + Gx is one linear map, so |I + G| and not 1 + |G|.

Claim: f(x) = A x + b on the whole space, with |A - M| <= R entrywise for the float matrix M that is assembled here, so
||A||_p <= ||M||_p + ||R||_p. Proof: the columns of M are pushed through the graph as a batch. A node with matrix B (majorant |B|, at most
`terms` roundings, stored within a relative `perturbation` and an absolute `underflow`) turns (M, R) into (fl(B M), R') with
    R' = (gamma(terms) + perturbation) |B| |M| + underflow sum |M| + |B|(1 + perturbation) R + tiny,  every product and sum rounded up;
sums of tensors add the radii and one rounding. Hypothesis: every node is linear in one tensor, a sum, a difference, a concatenation or a constant.
Cost: three evaluations of as many inputs as the input has entries, memory input size times largest tensor.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from ..core.errors import HypothesisError
from ..core.fold import fold_affine
from ..core.graph import Graph, Node
from ..core.rounding import TINY, U, add_up, gamma, norm_up, up
from ..linear.build import linear_map
from ..linear.dense import DenseMap
from ..norms import auto
from ..norms.base import NormBound

_PLAIN = ("add", "sub", "concat", "constant", "input")
LARGEST = 20_000_000  # entries of input size x largest tensor: about half a GiB of work space
WORTH_IT = {"fast": 300_000, "balanced": 3_000_000, "tight": LARGEST}  # what method "auto" assembles without being asked


@dataclass(frozen=True, eq=False)
class _Columns:
    """Matrix of one tensor with respect to the input, transposed: `value` (inputs, *shape) and its entrywise `radius`."""

    value: np.ndarray
    radius: np.ndarray


def why_not(graph: Graph, most: int = LARGEST) -> str:
    """ "" if the closed form applies to the graph and needs at most that many entries, else the reason."""
    for node in graph.nodes:
        if node.op not in _PLAIN and linear_map(node, graph[node.inputs[0]].shape) is None:
            return f"'{node.name}' ({node.op}) is not affine"
    largest = max(int(np.prod(node.shape)) for node in graph.nodes) * int(np.prod(graph.input_shape))
    return "" if largest <= most else f"the matrix would need {largest} entries, more than {most}"


def closed_form(graph: Graph, norm: str, effort: str = "balanced") -> NormBound:
    """Both ends of the constant of an affine graph; its `lower` end is proved too, by the same radius.

    Raises:
        HypothesisError: the graph is not affine, or too large to assemble.
    """
    start = time.perf_counter()
    graph = fold_affine(graph).pruned()
    reason = why_not(graph)
    if reason:
        raise HypothesisError("the closed form needs a small affine network", found=reason, expected="linear layers, sums, concatenations", hint="method='product'")
    size = int(np.prod(graph.input_shape))
    columns: dict[str, _Columns] = {}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            columns[node.name] = _pushed(node, [columns[name] for name in node.inputs], size)
    matrix = columns[graph.output].value.reshape(size, -1).T
    radius = columns[graph.output].radius.reshape(size, -1)
    slack = radius_norm(radius, norm)
    if not (np.isfinite(matrix).all() and slack < np.inf):
        return NormBound(0.0, np.inf, norm, "closed form", time.perf_counter() - start, {}, ("overflow: nothing is known",), ())
    bound = auto.enclose(DenseMap(np.ascontiguousarray(matrix)), norm, effort)
    evidence = {"by": "closed_form", "method": bound.method, "matrix_norm": bound.upper, "radius_norm": slack}
    lower = max(0.0, float(np.nextafter(bound.lower - slack, -np.inf)))
    hypotheses = ("every node is affine", *bound.hypotheses)
    seconds, method = time.perf_counter() - start, f"closed form, {bound.method}"
    return replace(bound, lower=lower, upper=add_up(bound.upper, slack), method=method, seconds=seconds, evidence=evidence, hypotheses=hypotheses)


def _pushed(node: Node, inputs: list[_Columns], size: int) -> _Columns:
    if node.op == "input":
        return _Columns(np.eye(size).reshape(size, *node.shape), np.zeros((size, *node.shape)))
    if node.op == "constant":
        return _Columns(np.zeros((size, *node.shape)), np.zeros((size, *node.shape)))
    if node.op in ("add", "sub"):
        a, b = inputs
        value = a.value + b.value if node.op == "add" else a.value - b.value
        return _Columns(value, up(up(a.radius + b.radius) + up(2 * U * np.abs(value))))
    if node.op == "concat":
        axis = node.attrs["axis"] % len(node.shape) + 1
        return _Columns(np.concatenate([c.value for c in inputs], axis), np.concatenate([c.radius for c in inputs], axis))
    matrix = linear_map(node, inputs[0].value.shape[1:])
    if matrix is None:
        raise HypothesisError("the closed form needs affine nodes", where=node.name, found=node.op)
    majorant, absolute = matrix.absolute(), np.abs(inputs[0].value)
    share, grow = gamma(matrix.terms) + matrix.perturbation + 4 * U, 1.0 + matrix.perturbation + 4 * gamma(matrix.terms + 2)
    radius = up(majorant.apply(absolute) * (share * grow)) + up(majorant.apply(inputs[0].radius) * grow)
    if matrix.underflow:
        radius = radius + up(matrix.underflow * 2 * (absolute + inputs[0].radius).reshape(size, -1).sum(axis=1)).reshape(size, *(1,) * len(node.shape))
    return _Columns(matrix.apply(inputs[0].value), up(radius * (1 + 8 * U)) + TINY)


def radius_norm(radius: np.ndarray, norm: str) -> float:
    """Upper end of the p norm of a nonnegative matrix given transposed, (inputs, outputs): column and row sums; l2 by the Frobenius norm."""
    if norm == "l2":
        return norm_up(radius, "l2") if not np.isnan(radius).any() else np.inf
    sums = radius.sum(axis=1 if norm == "l1" else 0)
    return float(up(sums.max(initial=0.0) * (1 + 2 * gamma(max(radius.shape) + 1)))) + TINY if not np.isnan(sums).any() else np.inf
