"""Dot-product attention: why it has no constant on the whole space, and where it has one."""

from __future__ import annotations

from ..core.errors import UnsupportedLayerError
from ..core.graph import Node
from .base import Local, rule

CITE = "Kim, Papamakarios, Mnih: The Lipschitz constant of self-attention, ICML (2021), theorem 3.1"


@rule("attention", cite=CITE, finite=False)
def attention(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """o_1 = sum_j P_1j x_j V with x_1 = 0 has uniform weights whatever the other tokens are, and d o_1 / d x_1 = A Cov(x) V grows with their square."""
    raise UnsupportedLayerError(
        "'attention': dot-product attention has no finite global constant: with x_1 = 0 the first row's weights are uniform for any other tokens, "
        "and d o_1 / d x_1 = A Cov(x) V is unbounded",
        where=node.source or node.name,
        found=f"attention of queries {in_shapes[0]}, keys {in_shapes[1]}, values {in_shapes[2]}",
        expected="a bounded region of inputs, where it has a constant",
        hint="certify.constants.local.local_constant(graph, Ball(center, radius)), or a Box; L2 attention is refused too: the proof of its constant is not written here yet",
    )
