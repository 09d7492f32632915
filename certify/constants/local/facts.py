"""The rules' constants of every node of a graph on the whole space, found once per graph and norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from ...core.errors import UnsupportedLayerError
from ...core.fold import fold_affine
from ...core.graph import Graph
from ...rules.base import Local, rule_for

_KNOWN: WeakKeyDictionary[Graph, dict[str, Facts]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Facts:
    """The folded graph, the Local of every node (None where the whole space has no constant), and the product constant (inf if one is None)."""

    graph: Graph
    locals: Mapping[str, Local | None]
    constant: float


def facts_of(graph: Graph, norm: str) -> Facts:
    """Facts of a graph, kept as long as the graph lives. Cost: the layer norms, effort "fast", the first time."""
    known = _KNOWN.setdefault(graph, {})
    if norm not in known:
        known[norm] = _found(graph, norm)
    return known[norm]


def _found(graph: Graph, norm: str) -> Facts:
    from ..product import walk  # loads the layer norms, which many callers do without

    folded = fold_affine(graph).pruned()
    try:
        steps = walk(graph, norm, "fast")
        return Facts(folded, {step.node: step.local for step in steps}, steps[-1].running if steps else 1.0)
    except UnsupportedLayerError:
        locals: dict[str, Local | None] = {}
        for node in folded.nodes:
            if node.op != "input":
                try:
                    locals[node.name] = rule_for(node.op, node.source or node.name).local(node, folded.input_shapes(node), norm, "fast")
                except UnsupportedLayerError:
                    locals[node.name] = None
        return Facts(folded, locals, np.inf)
