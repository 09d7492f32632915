"""Layers that are a matrix and a shift: the constant is an operator norm (`certify.norms`), a diagonal one is read off."""

from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from ..core.graph import Node
from ..core.rounding import TINY, U, add_up, down, gamma, mul_up, norm_up, sqrt_up, up
from ..linear.base import LinearMap
from ..linear.build import linear_map
from ..norms import auto
from .base import GOUK, SZEGEDY, Local, ones_norm, rule, size_of

CITE = SZEGEDY


@rule("dense", "conv", "conv_transpose", cite=CITE)
def affine(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """|A dx|_p <= ||A||_p |dx|_p, the bias cancels."""
    return linear_layer_facts(node, in_shapes[0], norm, effort, CITE)


def linear_layer_facts(node: Node, in_shape: tuple[int, ...], norm: str, effort: str, cite: str) -> Local:
    """The Local of a node with a `linear_map`.

    Rounding: y_j is a sum of at most `terms` products and a bias in any order, so |fl(y) - y| <= gamma(terms + 2) (M |x| + |b|) entrywise with the
    majorant M of the map, plus eta terms (TINY pays for 2^70 of them). A folded node also differs from the function that is meant: by
    `perturbation` M |x| and `bias_perturbation` per entry.
    """
    matrix = linear_map(node, in_shape)
    if matrix is None:
        raise InputError("an affine node has no linear map", where=node.name, found=node.op)
    bound = auto.enclose(matrix, norm, effort)
    share = add_up(gamma(matrix.terms + 2), mul_up(1.0 + 2 * gamma(matrix.terms + 2), matrix.perturbation))
    relative = mul_up(share, majorant_norm(matrix, norm))
    outputs, bias = ones_norm(size_of(node.shape), norm), node.float64("bias")
    absolute = TINY
    if matrix.underflow:
        relative = add_up(relative, mul_up(matrix.underflow, mul_up(float(matrix.input_size), outputs)))
    if bias is not None:
        channels = bias.reshape((1,) * (len(node.shape) - 1) + (-1,) if node.op == "dense" else (-1,) + (1,) * (len(node.shape) - 1))
        absolute = add_up(absolute, mul_up(gamma(matrix.terms + 2), norm_up(np.broadcast_to(channels, node.shape), norm)))
        absolute = add_up(absolute, mul_up(float(node.attrs.get("bias_perturbation", 0.0)), outputs) if outputs else 0.0)
    return Local(
        (float(bound.upper),),
        "sum",
        {"dense": "linear", "conv": "convolution", "conv_transpose": "transposed convolution", "avg_pool": "average pool"}.get(node.op, node.op),
        bound.method,
        (relative,),
        absolute,
        seconds=bound.seconds,
        evidence=bound.evidence,
        hypotheses=tuple(bound.hypotheses),
        cite=(cite, *bound.cite),
    )


def majorant_norm(matrix: LinearMap, norm: str) -> float:
    """Upper end of || M ||_p of the map's majorant M >= |A|: row and column sums are exact in linf and l1, sqrt(l1 linf) bounds l2.

    Both are sums of at most `terms` (`adjoint_terms`) products of nonnegative floats: true <= fl / (1 - gamma) + underflow.
    """
    absolute = matrix.absolute()
    rows = cols = 0.0
    if norm != "l1":
        rows = _sum_up(absolute.apply(np.ones((1, *matrix.input_shape))), matrix.terms + 1)
    if norm != "linf":
        cols = _sum_up(absolute.adjoint(np.ones((1, *matrix.output_shape))), matrix.adjoint_terms + 1)
    return {"linf": rows, "l1": cols}.get(norm, mul_up(sqrt_up(rows), sqrt_up(cols)))


def _sum_up(sums: np.ndarray, roundings: int) -> float:
    return add_up(mul_up(float(sums.max(initial=0.0)), 1.0 + 4 * gamma(roundings)), TINY)


def _array(node: Node, key: str) -> np.ndarray:
    array = node.float64(key)
    if array is None:
        raise InputError("a node lacks its array", where=f"{node.source or node.name}.{key}", expected=f"an array '{key}'")
    return array


@rule("scale", "divide", cite=GOUK)
def diagonal(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """x -> x * c or x / c entry by entry: max |c|, or 1 / min |c|; one rounding. A c that broadcasts x copies it first: times copies^(1/p)."""
    value = np.abs(_array(node, "value"))
    if node.op == "divide":
        if not (value > 0).all():
            raise InputError("division by zero", where=node.source or node.name, expected="a divisor without zeros")
        with np.errstate(over="ignore"):
            inverse = 1.0 / value
            value = np.where(np.abs(np.frexp(value)[0]) == 0.5, inverse, up(inverse))  # powers of two divide exactly
    inputs = size_of(in_shapes[0])
    copies = size_of(node.shape) // inputs if inputs else 0
    constant = float(value.max(initial=0.0))
    constant = constant if copies == 1 else mul_up(constant, ones_norm(copies, norm)) if constant and copies else 0.0
    return Local((constant,), "sum", node.op, "largest entry", (mul_up(U, constant) if constant else 0.0,), TINY, evidence={"copies": copies}, cite=(GOUK,))


@rule("batch_norm", cite=GOUK)
def batch_norm(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """Evaluation mode is diagonal: max over channels of |weight| / sqrt(var + eps).

    Rounding: weight, mean, bias and x meet at most eight roundings in either order of evaluation (s (x - mean) + b, or s x + (b - s mean)):
    |fl - exact| <= gamma_10 (|s| (|x| + |mean|) + |b|) entrywise, s the exact quotient; a subnormal s is off by a few 2^-1074 instead.
    """
    variance = _array(node, "var") + float(node.attrs["eps"])
    if not (variance > 0).all():
        raise InputError("a BatchNorm has var + eps <= 0", where=node.source or node.name, found=float(variance.min(initial=0.0)), expected="a positive variance")
    weight = node.float64("weight")
    gain = np.ones(variance.shape) if weight is None else np.abs(weight)
    mean, bias = np.abs(_array(node, "mean")), node.float64("bias")
    with np.errstate(all="ignore"):
        slope = np.where(gain > 0, up(gain / down(np.sqrt(down(variance)))), 0.0)  # inf for var + eps = 2^-1074
        shift = np.where(mean > 0, up(slope * mean), 0.0) + (0.0 if bias is None else np.abs(bias))
    constant = float(slope.max(initial=0.0))
    channels = shift.reshape((-1,) + (1,) * (len(node.shape) - 1))
    absolute = add_up(mul_up(gamma(12), norm_up(np.broadcast_to(channels, node.shape), norm)), TINY)
    relative = add_up(mul_up(gamma(10), constant), 2.0**-1060) if constant else 0.0
    hypotheses = ("running statistics are stored: evaluation mode", "var + eps > 0 in every channel")
    return Local((constant,), "sum", "batch norm", "largest entry", (relative,), absolute, hypotheses=hypotheses, cite=(GOUK,))
