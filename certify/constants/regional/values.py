"""Enclosures of the pre-activations z0 of every block at points x0.

Graph nodes come from the enclosures of `constants.local` over boxes of one point; the tensors that the chain introduced (NAME/difference, NAME/0, ...)
are linear maps and absolute values of those. Claim: lower <= z0 <= upper entry by entry, in exact real arithmetic, with the stored weights.
"""

from __future__ import annotations

import math

import numpy as np

from ...core.errors import UnsupportedLayerError
from ...core.fold import fold_affine
from ...core.graph import Graph
from ...core.midrad import MidRad
from ..local.plan import plan_of
from ..local.rows import Rows, clean, ends
from ..sdp.primitives import Block, Parts


def values_of(graph: Graph, parts: Parts, blocks: tuple[str, ...], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(lower, upper), each (n, entries): z0 of the blocks, joined in chain order.

    Args:
        graph: as handed to `chain_of`; parts: `parts_of(graph)`; points: float64 (n, *input shape).
    Raises:
        UnsupportedLayerError: an operator without a local rule. Cost: one evaluation in midpoint-radius form, and again per point nothing else.
    """
    graph = fold_affine(graph).pruned()
    wanted = [parts.parts[name].before for name in blocks]  # type: ignore[union-attr]
    known = _nodes(graph, points, _sources(parts, wanted, {node.name for node in graph.nodes}))
    found = [_tensor(parts, name, known) for name in wanted]
    lower, upper = zip(*(ends(v.mid, v.rad) for v in found), strict=True)
    return np.concatenate(lower, axis=1), np.concatenate(upper, axis=1)


def _sources(parts: Parts, wanted: list[str], nodes: set[str]) -> set[str]:
    """The graph nodes from which the wanted tensors follow."""
    todo, found, seen = list(wanted), set(), set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in nodes:
            found.add(name)
            continue
        part = parts.parts[name]
        todo += [part.before] if isinstance(part, Block) else [t for t, _ in part.terms]
    return found


def _nodes(graph: Graph, points: np.ndarray, wanted: set[str]) -> dict[str, Rows]:
    """Flat enclosures (n, size) of the wanted nodes."""
    values: dict[str, Rows] = {}
    found: dict[str, Rows] = {}
    n = len(points)
    with np.errstate(all="ignore"):
        for operand, rule, dead in plan_of(graph).steps:
            node = operand.node
            if rule is not None:
                rows = rule(operand, *(values[name] for name in node.inputs))
            else:
                mid = points.reshape(n, 1, *node.shape) if node.op == "input" else np.broadcast_to(operand.arrays["value"], (n, 1, *node.shape))
                rows = clean(np.array(mid, dtype=np.float64), np.zeros((n, 1, *node.shape)))
            values[node.name] = rows
            if node.name in wanted:
                found[node.name] = Rows(rows.mid[:, 0].reshape(n, math.prod(node.shape)), rows.rad[:, 0].reshape(n, math.prod(node.shape)))
            for name in dead:
                del values[name]
    return found


def _tensor(parts: Parts, name: str, known: dict[str, Rows]) -> Rows:
    """A tensor of the chain from known ones; what is found is kept."""
    if name not in known:
        part = parts.parts[name]
        if isinstance(part, Block):
            known[name] = _absolute(_tensor(parts, part.before, known), name, part)
        else:
            total: MidRad | None = None
            for source, matrix in part.terms:
                value = _tensor(parts, source, known)
                term = matrix.dense() @ MidRad(value.mid.T, value.rad.T)
                total = term if total is None else total + term
            if total is None:
                raise UnsupportedLayerError("a rewritten tensor without terms has no value", where=name)
            known[name] = clean(total.mid.T, total.radius().T)
    return known[name]


def _absolute(z: Rows, name: str, part: Block) -> Rows:
    """| z | for a rewritten block: ||a| - |b|| <= |a - b|."""
    if part.node or part.inside is not None:
        raise UnsupportedLayerError("the value of this block is not known outside its graph node", where=name)
    return Rows(np.abs(z.mid), z.rad)
