"""Every step of a certificate re-derived: local constants from the weights, running constants in exact rationals."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ..core.errors import CertificateError
from ..core.graph import Graph, Node
from ..core.record import canonical_json, digest_array
from ..core.rounding import fraction_up
from . import fields
from .check_norms import linear_below
from .exact import covers, covers_root, root_up
from .local import local


@dataclass(frozen=True)
class CheckedStep:
    """One line of a CheckReport: what was claimed, the stored number, the checker's own, and how long that took."""

    name: str
    what: str
    stored: Any
    recomputed: Any
    seconds: float = 0.0


@dataclass(frozen=True)
class Chain:
    """Verified constants of the folded graph: `running[name]` for every tensor with a step (and the input), `constants[name]` per input of a node,
    `combine[name]` how the checker combines them (never weaker than what was stored)."""

    running: dict[str, float]
    constants: dict[str, tuple[float, ...]] = field(default_factory=dict)
    combine: dict[str, str] = field(default_factory=dict)


def check_steps(graph: Graph, norm: str, steps: list[dict], report: list[CheckedStep]) -> Chain:
    """Check the steps in their order against the nodes of the folded `graph`.

    A step may use the input (running 1) and tensors of earlier steps only. Refused: a node that the graph does not have, a second step for
    one node, inputs other than the node's, a local constant below the checker's, a running constant below the exact combination.

    Raises:
        CertificateError: the first step that does not hold; names it, the stored and the recomputed value.
    """
    chain = Chain({graph.input_node.name: 1.0})
    known: dict[str, str] = {}
    for i, step in enumerate(steps):
        start = time.perf_counter()
        node = _node(graph, step, chain, i)
        stored = tuple(float(c) for c in step["constants"])
        own = local(node, graph.input_shapes(node), norm)
        if own is None:
            how, combine = _linear(node, graph.input_shapes(node)[0], norm, stored[0], step["evidence"], known), "sum"
        else:
            how, combine = "exact rule", own[1]
            for value, square in zip(stored, own[0], strict=True):
                _refuse_unless(covers_root(value, square), node, "local constant", value, root_up(square))
        chain.constants[node.name], chain.combine[node.name] = stored, combine
        chain.running[node.name] = _running(node, float(step["running"]), stored, combine, chain)
        numbers = {"constants": list(stored), "running": step["running"]}
        report.append(CheckedStep(node.name, f"{node.op}: {how}", numbers, "proved", time.perf_counter() - start))
    return chain


def _node(graph: Graph, step: dict, chain: Chain, i: int) -> Node:
    name = step["node"]
    if name not in graph.by_name or graph[name].op == "input":
        raise fields.refuse("a step is about a node that the (folded) graph does not have, or about its input", f"constants.steps[{i}]", name)
    node = graph[name]
    if node.op != step["op"] or list(node.inputs) != list(step["inputs"]):
        raise fields.refuse("a step does not describe its node", f"step {name}", f"{step['op']} of {step['inputs']}"[:200], f"{node.op} of {list(node.inputs)}")
    if name in chain.constants:
        raise fields.refuse("two steps for one node", f"step {name}")
    missing = [x for x in node.inputs if x not in chain.running]
    if missing:
        raise fields.refuse("a step uses a tensor that no earlier step bounds", f"step {name}", missing)
    return node


def _linear(node: Node, in_shape: tuple[int, ...], norm: str, stored: float, evidence: dict, known: dict[str, str]) -> str:
    """The operator norm of a linear layer, once per different layer and claim."""
    verify = evidence.get("verify")
    verify = verify if isinstance(verify, dict) else {}
    arrays = {name: digest_array(array) for name, array in node.arrays.items() if name != "bias"}
    key = canonical_json([node.op, dict(node.attrs), arrays, list(in_shape), norm, stored, verify])
    if key not in known:
        found = linear_below(node, in_shape, norm, stored, verify)
        _refuse_unless(bool(found.how), node, f"operator norm in {norm}", stored, found.own)
        known[key] = found.how
    return known[key]


def _running(node: Node, stored: float, constants: tuple[float, ...], combine: str, chain: Chain) -> float:
    """stored >= combine_i(constants_i running_i), in rationals (root: by squares)."""
    parts = [Fraction(c) * Fraction(chain.running[x]) for c, x in zip(constants, node.inputs, strict=True)]
    if combine == "root":
        square = sum((part * part for part in parts), Fraction(0))
        _refuse_unless(covers_root(stored, square), node, "running constant", stored, root_up(square))
    else:
        exact = max(parts, default=Fraction(0)) if combine == "max" else sum(parts, Fraction(0))
        _refuse_unless(covers(stored, exact), node, "running constant", stored, fraction_up(exact))
    return stored


def _refuse_unless(holds: bool, node: Node, what: str, stored: Any, recomputed: Any) -> None:
    if not holds:
        raise CertificateError(
            f"the {what} of a step is not proved",
            where=f"step {node.name} ({node.op})",
            found=f"stored {stored!r}",
            expected=f"recomputed {recomputed!r}: the stored number may not be smaller",
            hint="the certificate was changed, or was written for other weights; write it anew",
        )
