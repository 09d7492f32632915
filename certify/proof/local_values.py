"""One network prepared for radii near single inputs, and enclosures of all its tensors at points: the checker's own evaluation, entry by entry.

`Network` writes every block's z, and the logits, as sums of matrix @ source over the input and the outputs of earlier blocks. `tensors` evaluates the parts of the
reading in midpoint-radius form, all points as columns:
- linear parts: the sum of matrix @ tensor (`MidRad`), and what the graph's node adds: its value at 0. That value is exact: every product with 0 is 0 and the one term
  left is the bias, or the pad's value, or the constant; a folded bias is off by the node's own statement, that of a batch norm, (0 - mean) factor + bias with
  the factor within 4u, by less than 16 u of the sum of both sizes;
- activations: |f(x) - f(x')| <= max(|lo|, |hi|) |x - x'|, and the float error of `values.value_of`; absolute values of rewritten blocks: no error;
- sorting of groups: a group's outputs move no more than the largest of its inputs; softmax and its kind: the node's l2 constant, and `rounding_terms` in l2.
Claim: every tensor of exact real arithmetic lies within its radius. What is not known has an infinite radius, and whatever uses it must say no.
"""

from __future__ import annotations

import math

import numpy as np

from ..core.activation import activation_of
from ..core.graph import Graph, Node
from ..core.midrad import MidRad, full
from ..core.rounding import TINY, U, down, norms_up, up
from . import fields
from .chain import Values
from .forward import evaluate_node
from .parts import Block, Linear, Reading, identity, read
from .rounding_terms import terms
from .slopes import parameter
from .values import value_of

LIMIT = 2.0**200  # of matrices, boxes and radii: the underflow terms of `local_boxes` count on it
MOST_ENTRIES = 20_000  # z entries of all blocks together
MOST_MATRIX = 1 << 27  # entries of all matrices between blocks together
MOST_PAIRS = 1 << 16  # of those matrices
_LARGE = 2.0**900
Ends = tuple[np.ndarray, np.ndarray]


class Network:
    """The blocks of a reading with dense matrices; `kinds` says how each is bounded: "bent" (a z below 0, b z above), "slopes" (an activation), "groups"."""

    def __init__(self, graph: Graph, logits: str):
        self.reading: Reading = read(graph, logits)
        self.graph = Graph(graph.nodes, logits).pruned()
        self.blocks = self.reading.blocks
        self.entries = sum(len(block.lo) for _, block in self.blocks)
        self.groups = sum(block.groups for _, block in self.blocks)
        if not self.blocks:
            raise fields.refuse("an affine network has no evidence near single inputs", "methods", "local")
        if max(self.entries, self.reading.input_size) > MOST_ENTRIES:
            raise fields.refuse("a network is too large for evidence near single inputs", "methods", f"{self.entries} pre-activations", f"at most {MOST_ENTRIES}")
        values = Values(self.reading, [self.reading.input, *(name for name, _ in self.blocks)])
        self.used = self.pairs = 0
        self.into = [self._dense(values, block.before) for _, block in self.blocks]
        self.last = self._dense(values, self.reading.output)
        for name, value in values.known.items():  # also what was only met on the way: NaN there may be 0 further on
            if not all(m is None or bounded(m, LIMIT).all() for m in value.values()):
                raise fields.refuse("a matrix entry is too large for evidence near single inputs", name, expected="at most 2^200")
        self.patterns = [patterns(into) for into in self.into]
        self.kinds = [self._kind(name, block) for name, block in self.blocks]
        ends = np.cumsum([0, *(len(block.lo) for _, block in self.blocks)]).tolist()
        self.places = [slice(a, b) for a, b in zip(ends, ends[1:])]
        starts = np.cumsum([0, *(block.groups for _, block in self.blocks)]).tolist()
        self.multipliers = [slice(a, b) for a, b in zip(starts, starts[1:])]

    def _dense(self, values: Values, name: str) -> dict[str, MidRad]:
        found = {s: (identity(self.reading.size(s)) if m is None else m).dense() for s, m in values[name].items()}
        self.used, self.pairs = self.used + sum(m.mid.size for m in found.values()), self.pairs + len(found)
        if self.used > MOST_MATRIX or self.pairs > MOST_PAIRS:
            found_ = f"{self.pairs} matrices of {self.used} entries"
            raise fields.refuse("a network is too large for evidence near single inputs", name, found_, f"at most {MOST_PAIRS} of {MOST_MATRIX} entries")
        return found

    def _kind(self, name: str, block: Block) -> tuple:
        if block.inside is not None:
            return ("groups",)
        if name not in self.graph.by_name:  # the absolute value of a rewritten maximum or sort
            return ("bent", -np.ones(block.size), np.ones(block.size))
        node = self.graph[name]
        kind = node.attrs["kind"]
        if kind == "prelu":
            below = np.broadcast_to(np.asarray(node.float64("slope")), node.shape).ravel()
        elif kind in ("relu", "abs", "leaky_relu"):
            below = np.full(block.size, {"relu": 0.0, "abs": -1.0}[kind] if kind != "leaky_relu" else parameter(node, "alpha", 0.01))
        else:
            return ("slopes", activation_of(node))
        return ("bent", below, np.ones(block.size))

    def pair_rows(self, label: int, others: np.ndarray) -> dict[str, MidRad]:
        """The logits z_label - z_j for j in `others` as sums over sources; a difference of equal exact weights is exactly 0 (sums do not underflow)."""
        rows = {}
        for source, m in self.last.items():
            mid = m.mid[[label]] - m.mid[others]
            rad = up(up(m.radius()[[label]] + m.radius()[others]) + U * np.abs(mid))
            rows[source] = MidRad(mid, np.where((mid == 0) & (m.radius()[[label]] == 0) & (m.radius()[others] == 0), 0.0, rad))
        return rows

    def at(self, points: np.ndarray) -> tuple[Ends, MidRad]:
        """(both ends (n, entries) of the z of all blocks, the logits (classes, n)) at float points (n, inputs); 0 for the z of groups, which nobody asks for."""
        known = tensors(self.graph, self.reading, points)
        n = len(points)
        low, high = np.zeros((n, self.entries)), np.zeros((n, self.entries))
        for (_, block), kind, place in zip(self.blocks, self.kinds, self.places):
            if kind[0] != "groups":
                z = known[block.before]
                low[:, place], high[:, place] = down(z.mid - z.radius()).T, up(z.mid + z.radius()).T
        return (low, high), known[self.reading.output]

    @property
    def width(self) -> int:
        return max(self.reading.input_size, *(part.size for part in self.reading.parts.values()))


def bounded(m: MidRad, limit: float) -> np.ndarray:
    """Which columns hold only numbers of at most that size; False for NaN."""
    return (np.abs(full(m.mid)).max(axis=0, initial=0.0) <= limit) & (m.radius().max(axis=0, initial=0.0) <= limit)


def patterns(values: dict[str, MidRad]) -> dict[str, np.ndarray]:
    """Where an entry may be other than 0."""
    return {source: (m.mid != 0) if m.rad is None else (m.mid != 0) | (m.rad != 0) for source, m in values.items()}


def margins(logits: MidRad, label: int, place: int) -> np.ndarray:
    """Lower ends (k,) of z_label - z_j at one point; NaN where nothing is known."""
    mid, rad = logits.mid[:, place], logits.radius()[:, place]
    return down(down(mid[label] - mid) - up(rad[label] + rad))


def tensors(graph: Graph, reading: Reading, points: np.ndarray) -> dict[str, MidRad]:
    """Every part of the reading at the points, (entries, n); without the rest of a sorting layer, whose node is evaluated instead.

    A point at which something exceeds 2^900 gets the value 0 with an infinite radius, there and in all that follows."""
    known = {reading.input: MidRad(points.T.copy())}
    legal = bounded(known[reading.input], _LARGE)
    with np.errstate(all="ignore"):
        known[reading.input] = MidRad(np.where(legal, points.T, 0.0))
        for name, part in reading.parts.items():
            node = graph[name] if name in graph.by_name else None
            if isinstance(part, Linear):
                sorting = node is not None and node.op == "group_sort" and f"{name}/rest" in reading.parts
                known[name] = _sorted(graph, reading, node, known) if sorting else _linear(graph, node, part, known, len(points))
            elif node is not None:
                known[name] = _node(graph, node, part, known[part.before])
            elif part.inside is None:
                known[name] = MidRad(np.abs(known[part.before].mid), known[part.before].rad)
            if name in known:
                found = known[name]
                legal &= bounded(found, _LARGE)
                known[name] = MidRad(np.where(legal, found.mid, 0.0), None if found.rad is None else np.where(legal, found.rad, 0.0))
    if not legal.all():
        known = {name: MidRad(m.mid, np.where(legal, m.radius(), np.inf)) for name, m in known.items()}
    return known


def _linear(graph: Graph, node: Node | None, part: Linear, known: dict[str, MidRad], n: int) -> MidRad:
    total = MidRad(np.zeros((part.size, n)))
    for tensor, matrix in part.terms:
        product = matrix @ known[tensor]
        total = product if total.rad is None and not total.mid.any() else total + product
    if node is None or node.op in ("add", "sub", "concat", "maximum", "minimum", "max_pool", "group_sort") or (node.op == "reduce" and node.attrs["kind"] in ("max", "min")):
        return total
    shift, slack = _shift(graph, node)
    mid = total.mid + shift[:, None]
    return MidRad(mid, up(up(total.radius() + slack[:, None]) + U * np.abs(mid)))


def _shift(graph: Graph, node: Node) -> Ends:
    """What the node adds to its linear map, (size,), and how far that may be off."""
    zeros = [np.zeros((1, *shape)) for shape in graph.input_shapes(node)]
    shift = np.broadcast_to(evaluate_node(node, zeros), (1, *node.shape)).ravel()
    slack = np.full(shift.shape, float(node.attrs.get("bias_perturbation", 0.0)))
    if node.op == "batch_norm":
        bias = node.float64("bias")
        slack = up(32 * U * (np.abs(shift) + (0.0 if bias is None else float(np.abs(bias).max(initial=0.0))))) + TINY
    return shift, slack


def _node(graph: Graph, node: Node, block: Block, z: MidRad) -> MidRad:
    """An activation, or a node with one constant."""
    value = _evaluated(node, graph.input_shapes(node)[0], z)
    if node.op == "activation":
        _, relative, absolute = value_of(node)
        steepest = np.maximum(np.abs(block.lo), np.abs(block.hi))[:, None]
        rad = steepest * z.radius() + relative * np.abs(z.mid) + absolute
        return MidRad(value, up(rad * (1 + 16 * U)) + TINY)
    relative_all, absolute = terms(node, graph.input_shapes(node), "l2")
    sizes, errors = (norms_up(a.T, "l2") for a in (z.mid, z.radius()))
    rad = up((float(block.hi.max()) * errors + relative_all[0] * sizes + absolute) * (1 + 16 * U)) + TINY
    return MidRad(value, np.broadcast_to(rad, value.shape).copy())


def _sorted(graph: Graph, reading: Reading, node: Node | None, known: dict[str, MidRad]) -> MidRad:
    if node is None:
        raise fields.refuse("a sorting layer without its node", "graph")
    x, block = known[node.inputs[0]], reading.parts[f"{node.name}/rest"]
    if not isinstance(block, Block) or block.inside is None:
        raise fields.refuse("a sorting layer without groups", node.name)
    largest = np.zeros((block.groups, x.shape[1]))
    np.maximum.at(largest, block.inside, x.radius())
    return MidRad(_evaluated(node, graph.input_shapes(node)[0], x), largest[block.inside])


def _evaluated(node: Node, shape: tuple[int, ...], x: MidRad) -> np.ndarray:
    """The node's float value at the midpoints, (entries, n)."""
    points = np.ascontiguousarray(full(x.mid).T).reshape(-1, *shape)
    return np.ascontiguousarray(evaluate_node(node, [points]).reshape(len(points), math.prod(node.shape)).T)
