"""The checker's own reading of a folded graph: linear maps of earlier tensors, and blocks that carry a multiplier per group.

A block states, for any two runs of the network, dphi = m o dz + psi with |psi_g|_2 <= |(r o dz)_g|_2 for each of its groups g:
- an activation: one group per entry, from its slopes lo <= dphi_i / dz_i <= hi (`slopes.slope_range`), m and r the middle and half width of [lo, hi];
- max(a, b) = (a + b)/2 + |a - b|/2 and min(a, b) = (a + b)/2 - |a - b|/2: linear maps and NAME/abs, slopes [-1, 1], of NAME/difference. The largest of
  several entries by halves, NAME/0, NAME/1, .., NAME; the second half repeats entries of the first where it is shorter. GroupSort(2): the same, both ends;
- GroupSort of more: sorting keeps the sum of a group and is 1-Lipschitz, so sort(x) = mean + centred NAME/rest with |drest_g| <= |dNAME/centred_g| [P: both sides of
  |dsort(x)|^2 <= |dx|^2 split orthogonally into the same mean part and the rest];
- softmax, log_softmax, logsumexp, layer_norm: one group, m = 0, r = the node's own l2 constant (`local`).
Evidence is indexed by these names, this order and these groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..core.graph import Graph, Node
from ..core.midrad import MidRad, kept
from ..core.rounding import U
from . import fields
from .exact import root_up
from .local import local
from .pools import window_axes
from .slopes import slope_range
from .unroll import AFFINE, matrix_of

Term = tuple[str, MidRad]


@dataclass(frozen=True, eq=False)
class Linear:
    """size entries: the sum of matrix @ tensor over the terms."""

    size: int
    terms: tuple[Term, ...]


@dataclass(frozen=True, eq=False)
class Block:
    """size entries phi of the tensor `before`: slopes [lo, hi] entry by entry, or (inside and outside given: the group of every entry of z and of phi)
    |dphi_g| <= hi |dz_g| for the group."""

    size: int
    before: str
    lo: np.ndarray
    hi: np.ndarray
    inside: np.ndarray | None = None
    outside: np.ndarray | None = None

    @property
    def groups(self) -> int:
        return len(self.lo) if self.inside is None else int(self.inside.max(initial=-1)) + 1


@dataclass
class Reading:
    """Parts in an order in which each uses earlier ones; `output` names the last tensor."""

    input: str
    input_size: int
    output: str
    parts: dict[str, Linear | Block] = field(default_factory=dict)

    def size(self, name: str) -> int:
        return self.input_size if name == self.input else self.parts[name].size

    @property
    def blocks(self) -> list[tuple[str, Block]]:
        return [(name, part) for name, part in self.parts.items() if isinstance(part, Block)]

    def add(self, name: str, part: Linear | Block) -> str:
        if name in self.parts or name == self.input:
            raise fields.refuse("two tensors of the rewritten graph have one name", name)
        self.parts[name] = part
        return name

    def linear(self, name: str, *terms: Term) -> str:
        """Terms of one tensor are added up first: x + x is 2x, and x - x is exactly 0."""
        sums: dict[str, MidRad] = {}
        for tensor, matrix in terms:
            sums[tensor] = matrix if tensor not in sums else sums[tensor] + matrix
        return self.add(name, Linear(terms[0][1].shape[0] if terms else 0, tuple(sums.items())))


def read(graph: Graph, output: str) -> Reading:
    """The reading of the part of a folded graph that the tensor `output` depends on.

    Raises:
        CertificateError: an operator without a description here, by name.
    """
    graph = Graph(graph.nodes, output).pruned()
    out = Reading(graph.input_node.name, math.prod(graph.input_shape), output)
    for node in graph.nodes:
        if node.op != "input":
            _READ.get(node.op, _other)(out, node, graph.input_shapes(node))
    return out


def selection(index: np.ndarray, columns: int, weight: float | np.ndarray = 1.0) -> MidRad:
    """The matrix whose row i holds `weight` (one, or one per row) in column index[i], and nothing for a negative index."""
    used = np.flatnonzero(index >= 0)
    weights = np.broadcast_to(np.asarray(weight, dtype=np.float64), index.shape)[used]
    if len(index) * columns <= 1 << 22:
        dense = np.zeros((len(index), columns))
        dense[used, index[used]] = weights
        return MidRad(dense)
    import scipy.sparse as sp

    return MidRad(kept(sp.csr_array((weights, (used, index[used])), shape=(len(index), columns))))


def identity(size: int, weight: float = 1.0) -> MidRad:
    return selection(np.arange(size), size, weight)


def _other(out: Reading, node: Node, shapes: list[tuple[int, ...]]) -> None:
    if node.op in AFFINE:
        out.linear(node.name, (node.inputs[0], matrix_of(node, shapes[0])))
    elif node.op in ("softmax", "log_softmax", "logsumexp", "layer_norm"):
        found = local(node, shapes, "l2")
        constant = math.inf if found is None else 0.0 if found[0][0] == 0 else root_up(found[0][0])
        if not math.isfinite(constant):
            raise fields.refuse("an operator has no finite constant", node.name, node.op)
        before = math.prod(shapes[0])
        c = np.full(before, constant)
        out.add(node.name, Block(math.prod(node.shape), node.inputs[0], -c, c, np.zeros(before, np.int64), np.zeros(math.prod(node.shape), np.int64)))
    else:
        raise fields.refuse("the checker has no multipliers for this operator", node.name, node.op)


def _activation(out: Reading, node: Node, shapes: list[tuple[int, ...]]) -> None:
    lo, hi = slope_range(node)
    out.add(node.name, Block(lo.size, node.inputs[0], lo.ravel(), hi.ravel()))


def _sum(out: Reading, node: Node, shapes: list[tuple[int, ...]]) -> None:
    size = math.prod(node.shape)
    out.linear(node.name, (node.inputs[0], identity(size)), (node.inputs[1], identity(size, -1.0 if node.op == "sub" else 1.0)))


def _concat(out: Reading, node: Node, shapes: list[tuple[int, ...]]) -> None:
    axis = node.attrs["axis"] % len(node.shape)
    counts = [math.prod(shape) for shape in shapes]
    starts = np.cumsum([0, *counts])
    marks = np.concatenate([(np.arange(n) + s).reshape(shape) for n, s, shape in zip(counts, starts, shapes)], axis=axis).ravel()  # which entry of all inputs together
    out.linear(node.name, *((x, selection(np.where((marks >= s) & (marks < s + n), marks - s, -1), n)) for x, n, s in zip(node.inputs, counts, starts)))


def _constant(out: Reading, node: Node, shapes: list[tuple[int, ...]]) -> None:
    out.add(node.name, Linear(math.prod(node.shape), ()))


def larger(out: Reading, name: str, a: tuple[str, np.ndarray], b: tuple[str, np.ndarray], sign: float) -> None:
    """name = max (sign 1) or min (sign -1) of two choices (tensor, place of every entry)."""
    size = len(a[1])
    rows = {w: [(t, selection(places, out.size(t), w * s)) for (t, places), s in ((a, 1.0), (b, 1.0 if w == 0.5 else -1.0))] for w in (0.5, 1.0)}
    out.linear(f"{name}/difference", *rows[1.0])
    one = np.ones(size)
    out.add(f"{name}/abs", Block(size, f"{name}/difference", -one, one))
    out.linear(name, *rows[0.5], (f"{name}/abs", identity(size, 0.5 * sign)))


def _maximum(out: Reading, node: Node, shapes: list[tuple[int, ...]]) -> None:
    every = np.arange(math.prod(node.shape))
    larger(out, node.name, (node.inputs[0], every), (node.inputs[1], every), 1.0 if node.op == "maximum" else -1.0)


def _best(out: Reading, node: Node, choices: np.ndarray, sign: float) -> None:
    """The largest (smallest) of each row of places (outputs, k) in the input."""
    tensor, level = node.inputs[0], 0
    if choices.shape[1] == 1:
        out.linear(node.name, (tensor, selection(choices[:, 0], out.size(tensor))))
    while choices.shape[1] > 1:
        width = choices.shape[1]
        half = (width + 1) // 2
        second = np.concatenate([choices[:, half:], choices[:, width - half : half]], axis=1)  # of an odd width the last entry meets itself
        name = node.name if half == 1 else f"{node.name}/{level}"
        larger(out, name, (tensor, choices[:, :half].ravel()), (tensor, second.ravel()), sign)
        tensor, level, choices = name, level + 1, np.arange(len(choices) * half).reshape(-1, half)


def _max_pool(out: Reading, node: Node, shapes: list[tuple[int, ...]]) -> None:
    axes = window_axes(node, shapes[0])
    n, places, real = len(axes), np.zeros((1,) * (2 * len(axes)), np.int64), np.ones((1,) * (2 * len(axes)), bool)
    for i, axis in enumerate(axes):
        source = axis.source.reshape([axis.outputs if j == i else axis.taps if j == n + i else 1 for j in range(2 * n)])
        places, real = places * axis.inputs + source, real & (source >= 0)
    windows, real = (a.reshape(math.prod(axis.outputs for axis in axes), -1) for a in (places, real))
    if not real.any(axis=1).all():
        raise fields.refuse("a window of a max pool holds no pixel", node.name)
    first = np.take_along_axis(windows, real.argmax(axis=1)[:, None], axis=1)
    windows = np.where(real, windows, first)  # padding never wins
    pixels = math.prod(shapes[0][1:])
    _best(out, node, (np.arange(shapes[0][0])[:, None, None] * pixels + windows).reshape(-1, windows.shape[1]), 1.0)


def _reduce(out: Reading, node: Node, shapes: list[tuple[int, ...]]) -> None:
    if node.attrs["kind"] not in ("max", "min"):
        _other(out, node, shapes)
        return
    shape, axes = shapes[0], node.attrs["axes"]
    places = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axes, range(len(shape) - len(axes), len(shape)))
    _best(out, node, places.reshape(math.prod(node.shape), -1), 1.0 if node.attrs["kind"] == "max" else -1.0)


def _group_sort(out: Reading, node: Node, shapes: list[tuple[int, ...]]) -> None:
    shape, size, axis, x = shapes[0], node.attrs["size"], node.attrs["axis"], node.inputs[0]
    total, count = math.prod(shape), shape[axis] // size
    places = np.moveaxis(np.arange(total).reshape(shape), axis, -1).reshape(-1, shape[axis])
    first = np.arange(count)[:, None] * (size if node.attrs["layout"] == "consecutive" else 1)
    step = 1 if node.attrs["layout"] == "consecutive" else count
    groups = places[:, first + step * np.arange(size)].reshape(-1, size)  # row: one group, in the order in which its sorted entries are written
    group = np.empty(total, np.int64)
    group[groups] = np.arange(len(groups))[:, None]
    if size == 1:
        out.linear(node.name, (x, identity(total)))
    elif size == 2:
        one, other, sign = np.ones(len(groups)), np.empty(total, np.int64), np.empty(total)
        other[groups] = groups[:, ::-1]
        sign[groups] = np.array([0.5, -0.5] if node.attrs["descending"] else [-0.5, 0.5])
        out.linear(f"{node.name}/difference", (x, selection(groups[:, 0], total)), (x, selection(groups[:, 1], total, -1.0)))
        out.add(f"{node.name}/abs", Block(len(groups), f"{node.name}/difference", -one, one))
        out.linear(node.name, (x, identity(total, 0.5)), (x, selection(other, total, 0.5)), (f"{node.name}/abs", selection(group, len(groups), sign)))
    else:
        shares = np.where(group[:, None] == group[None, :], 1.0 / size, 0.0) if total * total <= 1 << 26 else None
        if shares is None:
            raise fields.refuse("a sorting layer is too large for the checker", node.name, total)
        mean = MidRad(shares, None if size & (size - 1) == 0 else 2 * U * shares)
        centre = identity(total).dense() - mean
        out.linear(f"{node.name}/centred", (x, centre))
        out.add(f"{node.name}/rest", Block(total, f"{node.name}/centred", -np.ones(total), np.ones(total), group, group))
        out.linear(node.name, (x, mean), (f"{node.name}/rest", centre))  # the rest has mean 0: centring changes nothing, and says so


_READ = {
    "activation": _activation, "add": _sum, "sub": _sum, "concat": _concat, "constant": _constant, "maximum": _maximum, "minimum": _maximum,
    "max_pool": _max_pool, "reduce": _reduce, "group_sort": _group_sort,
}  # fmt: skip
