"""The product rule with constants that hold on a region only: a finite l2 constant where the whole space has none (attention, products of tensors).

Claim: |N(x) - N(y)|_2 <= L |x - y|_2 for all x, y of a box or a ball X. Proof, by induction over the nodes: X is convex, so t(x) of every tensor t stays in
a convex set S(t), and running(t) bounds |t(x) - t(y)|_2 / |x - y|_2 on X. S(t) is the tensor's box over X (`plan`) cut with the ball of radius
running(t) rho around t(c), c the middle of X and rho >= |x - c|_2. A node that is Lipschitz on S of its inputs, constant by constant, then obeys the
sum rule of `constants.product`; for a differentiable one it is enough to bound its derivative on the convex S(inputs), since a difference is
the integral of the derivative along a segment. The constants of activations, products, layer norms and attention are in `region_rules`; every other node
has its constant on the whole space. Source: methods/network_lipschitz.md, sections 1 and 2.
"""

from __future__ import annotations

import numpy as np

from ...core.errors import UnsupportedLayerError
from ...core.graph import Graph, Node
from ...core.regions import Ball, Box
from ...core.rounding import mul_up, norm_up, up
from .facts import facts_of
from .plan import plan_of, region_ends
from .region_rules import RULES, Known


def region_product(graph: Graph, region: Box | Ball) -> float:
    """L with |N(x) - N(y)|_2 <= L |x - y|_2 for all x, y in the region: the product of the layers' constants on what they see of it.

    Args:
        graph: the network.
        region: Box of the input's shape (or flat), or a Ball of any norm.
    Guarantee: rounded up, and at most the product constant of the whole space; inf where nothing is known (an unbounded region of an attention).
    Raises:
        UnsupportedLayerError: an operator without a local rule. InputError: a region of another shape.
    Cost: two enclosures of the network (the region and its middle); the layer norms once per graph.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (2, 2)})
    >>> attention = b.build(b.add("attention", [x, x, x], {"scale": 1.0, "causal": False}))
    >>> small, large = (region_product(attention, Ball([[1.0, 0.0], [0.0, 1.0]], r)) for r in (0.1, 1.0))
    >>> 1.0 <= small < large < 30.0
    True
    """
    facts = facts_of(graph, "l2")
    lower, upper = region_ends(graph, region)
    middle, reach = _middle(region, lower, upper)
    boxes = plan_of(facts.graph).boxes(np.stack([lower, middle]), np.stack([upper, middle]))
    known = {facts.graph.input_node.name: Known(lower, upper, middle, middle, reach)}
    running = {facts.graph.input_node.name: 1.0}
    from ..product import combined  # loads the layer norms, which many callers do without

    for node in facts.graph.nodes:
        if node.op == "input":
            continue
        constants, combine = _constants(facts.graph, node, facts.locals[node.name], [known[name] for name in node.inputs])
        running[node.name] = combined(combine, constants, [running[name] for name in node.inputs])
        (low, centre_low), (high, centre_high) = boxes[node.name]
        distance = mul_up(running[node.name], reach) if reach and running[node.name] else 0.0
        known[node.name] = Known(low, high, centre_low, centre_high, distance).cut()
    return min(running[facts.graph.output], facts.constant)


def _constants(graph: Graph, node: Node, local, inputs: list[Known]) -> tuple[tuple[float, ...], str]:
    """The node's constants on the region, never above its constants on the whole space."""
    if node.op in RULES:
        found = RULES[node.op](node, inputs)
        return tuple(np.minimum(found, local.constants).tolist() if local is not None else found), "sum"
    if local is None:
        raise UnsupportedLayerError("an operator without a constant on a region", where=node.source or node.name, found=node.op, expected=", ".join(sorted(RULES)))
    return local.constants, local.combine


def _middle(region: Box | Ball, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, float]:
    """A point of the region and an upper end of the l2 distance to it: of a ball its centre, |.|_2 <= |.|_1 and <= sqrt(n) |.|_inf."""
    if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        return np.where(np.isfinite(lower), lower, np.where(np.isfinite(upper), upper, 0.0)), np.inf
    if isinstance(region, Ball) and region.norm != "linf":
        return region.center.reshape(lower.shape), region.radius
    middle = np.clip(0.5 * lower + 0.5 * upper, lower, upper)
    half = np.where(lower == upper, 0.0, up(np.asarray(np.maximum(upper - middle, middle - lower))))
    return middle, norm_up(half, "l2")
