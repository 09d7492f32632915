"""The walker: composes the local facts of the rules along a graph. The only place where constants are multiplied and added.

Claim: for every tensor t of the graph, |t(x) - t(y)|_p <= running(t) |x - y|_p for all inputs x, y, in exact real arithmetic with
the stored weights. Proof: induction over the topological order; running(input) = 1 and running(node) = combine_i(constants_i
running(input_i)), which is monotone in each argument. Inputs count with multiplicity: x + x gives 2, a shared layer used k times is
applied k times. Source: methods/network_lipschitz.md section 1; Szegedy et al. 2014, section 4.3, for the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..core.errors import SoundnessError
from ..core.fold import fold_affine
from ..core.graph import Graph, Node
from ..core.record import canonical_json, digest_array
from ..core.regions import require_norm
from ..core.rounding import add_up, mul_up, require_ieee, sqrt_up
from ..rules.base import Local, rule_for

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Step:
    """One node of the (folded) graph with its local facts and the constant of its output with respect to the network's input."""

    node: str
    op: str
    inputs: tuple[str, ...]
    local: Local
    running: float
    source: str = ""

    @property
    def rule(self) -> str:
        return self.local.rule

    @property
    def method(self) -> str:
        return self.local.method

    @property
    def constants(self) -> tuple[float, ...]:
        return self.local.constants

    @property
    def combine(self) -> str:
        return self.local.combine

    @property
    def evidence(self) -> Any:
        return self.local.evidence


def walk(graph: Graph, norm: str = "l2", effort: str = "balanced", progress: Progress | None = None) -> list[Step]:
    """The product bound, step by step, of `fold_affine(graph)`; the last step is the output's.

    Args:
        graph: any graph; BatchNorms are folded into the layer before them first (folding a folded graph changes nothing).
        norm: p, the same on every tensor.
        effort: how much time the layer norms may take.
        progress: called as progress(done, total, node name); an exception of it cancels.
    Returns:
        one Step per node except the input, in topological order. Empty if the output is the input.
    Raises:
        UnsupportedLayerError: a node has no finite constant; names it.
    Cost: the layer norms; equal layers (same weights and shapes) are bounded once.
    """
    require_norm(norm)
    require_ieee()
    graph = fold_affine(graph).pruned()
    running = {graph.input_node.name: 1.0}
    known: dict[str, Local] = {}
    steps = []
    nodes = [node for node in graph.nodes if node.op != "input"]
    for done, node in enumerate(nodes):
        if progress is not None:
            progress(done, len(nodes), node.name)
        shapes = graph.input_shapes(node)
        key = _key(node, shapes)
        if key not in known:
            known[key] = rule_for(node.op, node.source or node.name).local(node, shapes, norm, effort)
        local = known[key]
        running[node.name] = combined(local.combine, local.constants, [running[name] for name in node.inputs])
        steps.append(Step(node.name, node.op, node.inputs, local, running[node.name], node.source))
    if progress is not None:
        progress(len(nodes), len(nodes), "done")
    return steps


def combined(combine: str, constants: Iterable[float], incoming: Iterable[float]) -> float:
    """combine_i(constants_i incoming_i), rounded up; exact values stay exact, so x + x gives exactly 2.

    >>> combined("sum", (1.0, 1.0), (1.0, 1.0)), combined("root", (3.0, 4.0), (1.0, 1.0)), combined("max", (2.0, 1.0), (1.0, 5.0))
    (2.0, 5.0, 5.0)
    """
    parts = [mul_up(c, r) if c and r else 0.0 for c, r in zip(constants, incoming, strict=True)]
    if combine == "max":
        total = max(parts, default=0.0)  # no NaN can be among them: mul_up refuses it
    elif combine == "root" and len(parts) > 1:
        total = 0.0
        for part in parts:
            total = add_up(total, mul_up(part, part))
        total = sqrt_up(total)
    else:
        total = 0.0
        for part in parts:
            total = add_up(total, part)
    if not total >= 0:
        raise SoundnessError("a running constant is not a number", found=total)
    return total


def _key(node: Node, shapes: list[tuple[int, ...]]) -> str:
    """Equal for nodes with the same local facts: op, attributes, weights and shapes."""
    arrays = {name: digest_array(array) for name, array in node.arrays.items()}
    return canonical_json([node.op, dict(node.attrs), arrays, shapes, node.shape])
