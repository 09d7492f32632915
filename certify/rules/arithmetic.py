"""Sums, differences, entrywise maxima; and the products of two tensors, which have no constant."""

from __future__ import annotations

from ..core.errors import UnsupportedLayerError
from ..core.graph import Node
from ..core.rounding import U
from .base import GOUK, Local, exact, rule

CITE = GOUK


@rule("constant", cite=CITE)
def constant(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """A stored tensor does not move with the input."""
    return exact(node, "sum", (), "does not depend on the input", CITE)


@rule("add", "sub", cite=CITE)
def addition(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """|d(a +- b)|_p <= |da|_p + |db|_p; inputs count with multiplicity, so x + x gives 2. One rounding: u |a +- b| <= u |a| + u |b|, no underflow."""
    return Local((1.0, 1.0), "sum", node.op, "triangle inequality", (U, U), 0.0, hypotheses=("both inputs have the output's shape",), cite=(CITE,))


@rule("maximum", "minimum", cite=CITE)
def extremum(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """Entrywise |d max(a, b)| <= max(|da|, |db|): in linf the maximum, in l2 the root of the sum of squares, in l1 the sum."""
    combine = {"l2": "root", "l1": "sum", "linf": "max"}[norm]
    return exact(node, combine, (1.0, 1.0), "entrywise selection", CITE, hypotheses=("both inputs have the output's shape",))


@rule("multiply", "matmul", cite="Kim, Papamakarios, Mnih: The Lipschitz constant of self-attention, ICML (2021)", finite=False)
def product(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """d(ab) = a db + b da grows with a and b: x -> x^2 has no finite constant, nor has dot-product attention."""
    what = "a product of two tensors has no finite constant: d(ab) = a db + b da grows without bound with a and b"
    if node.op == "matmul":
        what = "a matrix product of two tensors has no finite constant on an unbounded domain; dot-product attention neither"
    raise UnsupportedLayerError(
        f"'{node.op}': {what}",
        where=node.source or node.name,
        found=f"{node.op} of shapes {' and '.join(map(str, in_shapes))}",
        expected="a product with a constant (op scale or dense), or an operator with bounded slope",
        hint="multiply by a constant or a parameter instead, or ask for a region: certify.constants.local.local_constant(graph, Ball(center, radius))",
    )
