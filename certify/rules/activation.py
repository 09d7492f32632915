"""Elementwise activations: the constant and the float error come from `core.activation`, for every kind at once."""

from __future__ import annotations

from ..core.activation import activation_of
from ..core.graph import Node
from .base import Local, rule, size_of, spread

CITE = "slope ranges of certify.core.activations: exact extrema of f', checked by a dense search in 60 digits"


@rule("activation", cite=CITE)
def elementwise(node: Node, in_shapes: list[tuple[int, ...]], norm: str, effort: str) -> Local:
    """|f(a) - f(b)| <= c |a - b| entry by entry with c = max(|lo|, |hi|) of the slope range, hence the same c in l2, l1 and linf."""
    f = activation_of(node)
    relative, absolute = f.rounding()
    lo, hi = f.slope_range()
    return Local(
        (f.lipschitz(),),
        "sum",
        node.attrs["kind"],
        "slope range",
        (relative,),
        spread(absolute, size_of(node.shape), norm),
        evidence={"slopes": [lo, hi]},
        hypotheses=("the same function of one real variable on every entry (prelu: one per channel)",),
        cite=(CITE,),
    )
