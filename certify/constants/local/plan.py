"""A graph prepared for enclosures over boxes, made once per graph: operands, their rules, and the moment each tensor is needed last."""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import numpy as np

from ...core.errors import InputError, UnsupportedLayerError
from ...core.graph import Graph
from ...core.regions import Ball, Box
from ...core.rounding import down, require_ieee, up
from . import activations, attention, normalization, products, selections  # noqa: F401  (they register their operators)
from .linear import Prepared
from .rows import RULES, Rows, clean, ends, middle

_PLANS: WeakKeyDictionary[Graph, Plan] = WeakKeyDictionary()
_CHUNK = 1 << 17  # entries of the largest tensor of a chunk of boxes: 1 MiB


def plan_of(graph: Graph) -> Plan:
    """The plan of a graph, kept as long as the graph lives.

    Raises:
        UnsupportedLayerError: an operator without a local rule, by name.
    """
    plan = _PLANS.get(graph)
    if plan is None:
        plan = _PLANS[graph] = Plan(graph)
    return plan


class Plan:
    """Encloses every tensor of a graph over boxes; the claim is that of `rows`, by induction over the nodes."""

    def __init__(self, graph: Graph):
        require_ieee()
        last = {name: i for i, node in enumerate(graph.nodes) for name in (node.name, *node.inputs)}
        self.shape, self.size, self.output = graph.input_shape, math.prod(graph.input_shape), graph.output
        self.largest = max(math.prod(node.shape) for node in graph.nodes)
        self.steps = []
        for i, node in enumerate(graph.nodes):
            if node.op not in RULES and node.op not in ("input", "constant"):
                raise UnsupportedLayerError("an operator without a local rule", where=node.source or node.name, found=node.op, expected=", ".join(sorted(RULES)))
            operand = Prepared(node, graph.input_shapes(node))
            self.steps.append((operand, RULES.get(node.op), [name for name, k in last.items() if k == i and name != graph.output]))

    def run(self, lower: np.ndarray, upper: np.ndarray, slopes: bool) -> Rows:
        """Rows (boxes, 1 or 1 + inputs, *output shape) for boxes `lower`, `upper` (boxes, *input shape); in chunks that stay in the cache."""
        rows = 1 + self.size if slopes else 1
        step = max(1, _CHUNK // (self.largest * rows))
        if len(lower) <= step:
            return self._run(lower, upper, slopes)
        parts = [self._run(lower[i : i + step], upper[i : i + step], slopes) for i in range(0, len(lower), step)]
        return Rows(np.concatenate([p.mid for p in parts]), np.concatenate([p.rad for p in parts]))

    def boxes(self, lower: np.ndarray, upper: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Ends of every tensor over boxes, each (boxes, *shape), by node name."""
        kept: dict[str, Rows] = {}
        self._run(lower, upper, False, kept)
        return {name: ends(x.mid[:, 0], x.rad[:, 0]) for name, x in kept.items()}

    def _run(self, lower: np.ndarray, upper: np.ndarray, slopes: bool, kept: dict[str, Rows] | None = None) -> Rows:
        values: dict[str, Rows] = {}
        rows = 1 + self.size if slopes else 1
        with np.errstate(all="ignore"):
            for operand, rule, dead in self.steps:
                node = operand.node
                if rule is not None:
                    values[node.name] = rule(operand, *(values[name] for name in node.inputs))
                elif node.op == "input":
                    values[node.name] = self._input(lower, upper, slopes)
                else:
                    mid = np.zeros((len(lower), rows, *node.shape))
                    mid[:, 0] = operand.arrays["value"]
                    values[node.name] = Rows(mid, np.zeros(mid.shape))
                if kept is not None:
                    kept[node.name] = values[node.name]
                for name in dead:
                    del values[name]
        return values[self.output]

    def _input(self, lower: np.ndarray, upper: np.ndarray, slopes: bool) -> Rows:
        mid, rad = middle(lower, upper)
        if not slopes:
            return clean(mid[:, None], rad[:, None])
        eye = np.broadcast_to(np.eye(self.size).reshape(self.size, *self.shape), (len(lower), self.size, *self.shape))
        return clean(np.concatenate([mid[:, None], eye], axis=1), np.concatenate([rad[:, None], np.zeros(eye.shape)], axis=1))


def region_ends(graph: Graph, region: Box | Ball) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the region's box, in the shape of the graph's input."""
    if isinstance(region, Ball):
        lower, upper = down(np.asarray(region.center - region.radius)), up(np.asarray(region.center + region.radius))
        if region.radius == 0:
            lower = upper = np.asarray(region.center)
    elif isinstance(region, Box):
        lower, upper = region.lower, region.upper
    else:
        raise InputError("a region is a Box or a Ball", where="argument region", found=type(region).__name__)
    shape = graph.input_shape
    if lower.shape != shape and lower.shape != (int(np.prod(shape)),):
        raise InputError("the region has another shape than the network's input", where="argument region", found=lower.shape, expected=shape)
    return lower.reshape(shape), upper.reshape(shape)
