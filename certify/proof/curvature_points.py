"""Margins and their gradients at float points, enclosed: the checker's own forward pass, and backward through the matrices between the blocks.

Every block's z and the logits are sums of matrices times the input and the outputs of earlier blocks (`chain.Values` with every block a source), plus a constant.
So F_b = dm/dphi_b = O_b' row + sum over later blocks c of M_cb' (f'(z_c) o F_c), and the gradient of m is the same sum for the input: intervals of the slopes
give ranges of F over all inputs, enclosures of f' at z(y) give the gradient at y. z(y) and the logits come from `forward` with proved errors e (in l2, hence per
entry); its constants are Frobenius norms and the exact local ones. f' is Lipschitz with the largest |f''|, and its float value within core.activation's stated error.
"""

from __future__ import annotations

import numpy as np

from ..core.activation import activation_of
from ..core.graph import Graph
from ..core.midrad import MidRad
from ..core.rounding import U, down, norm_up, up
from . import fields
from .chain import Values
from .check_steps import Chain
from .curvature_table import majorants
from .exact import root_up
from .forward import forward
from .local import local
from .parts import Reading
from .unroll import matrix_of

Range = tuple[np.ndarray, np.ndarray]


class Backward:
    """The matrices from the input and every block's output to every later block's z and to the output."""

    def __init__(self, reading: Reading):
        self.reading, self.blocks = reading, reading.blocks
        names = [name for name, _ in self.blocks]
        values = Values(reading, [reading.input, *names])
        self.into = [{source: matrix if matrix is None else matrix.dense() for source, matrix in values[block.before].items()} for _, block in self.blocks]
        self.last = {source: matrix if matrix is None else matrix.dense() for source, matrix in values[reading.output].items()}
        self.classes = reading.size(reading.output)

    def ranges(self, rows: np.ndarray) -> list[Range]:
        """(low, high), each (len(rows), entries), of F for every block, over all inputs."""
        found: dict[str, Range] = {}
        self._run(MidRad(rows), lambda place, f: found.setdefault(str(place), self._all_slopes(place, f)), found)
        return [found[f"range {i}"] for i in range(len(self.blocks))]

    def _all_slopes(self, place: int, f: MidRad) -> Range:
        block = self.blocks[place][1]
        return _hull((np.broadcast_to(block.lo, f.shape), np.broadcast_to(block.hi, f.shape)), _ends(f))

    def gradient(self, rows: np.ndarray, slopes: list[Range]) -> MidRad:
        """grad m (n, inputs) for rows (n, outputs) and enclosures of the slopes (n, entries) of every block."""
        return self._run(MidRad(rows), lambda place, f: _hull(slopes[place], _ends(f)), {})

    def _run(self, rows: MidRad, multiply, found: dict) -> MidRad:
        sums: dict[str, MidRad] = {}
        _spread(sums, rows, self.last)
        for place in range(len(self.blocks) - 1, -1, -1):
            name, block = self.blocks[place]
            f = sums.get(name, MidRad(np.zeros((rows.shape[0], block.size))))
            found[f"range {place}"] = _ends(f)
            low, high = multiply(place, f)
            mid = 0.5 * low + 0.5 * high
            _spread(sums, MidRad(mid, up(np.maximum(high - mid, mid - low))), self.into[place])
        return sums.get(self.reading.input, MidRad(np.zeros((rows.shape[0], self.reading.input_size))))


def _spread(sums: dict[str, MidRad], f: MidRad, matrices: dict[str, MidRad | None]) -> None:
    for source, matrix in matrices.items():
        term = f if matrix is None else f @ matrix
        sums[source] = term if source not in sums else sums[source] + term


def _ends(f: MidRad) -> Range:
    return (f.mid, f.mid) if f.rad is None else (down(f.mid - f.rad), up(f.mid + f.rad))


def _hull(a: Range, b: Range) -> Range:
    """Ends of the products of two ranges."""
    corners = np.stack([x * y for x in a for y in b])
    return np.asarray(down(corners.min(axis=0))), np.asarray(up(corners.max(axis=0)))


class Points:
    """Enclosures of z_y - z_j and its gradient at float points."""

    def __init__(self, graph: Graph, reading: Reading, backward: Backward):
        self.graph, self.reading, self.backward = Graph(graph.nodes, reading.output).pruned(), reading, backward
        self.chain = _constants(self.graph)
        self.functions = []
        for name, _ in reading.blocks:
            node = self.graph[name]
            self.functions.append((activation_of(node), max(q.peak for q in majorants(node))))

    def margins(self, points: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, MidRad]:
        """(lower ends (n,), gradient (n, inputs)); NaN or infinite where nothing is known."""
        n, unique = len(points), np.arange(len(points))
        befores = [block.before for _, block in self.reading.blocks]
        output = self.reading.output
        values, errors = forward(self.graph, points.reshape(n, *self.graph.input_shape), "l2", self.chain, list(dict.fromkeys([*befores, output])))
        logits = values[output].reshape(n, -1)
        gap = logits[unique, first] - logits[unique, second]
        lower = down(down(gap) - up(2.0 * errors[output]))
        slopes = []
        for (f, peak), before in zip(self.functions, befores):
            z = values[before].reshape(n, -1)
            d = f.derivative(z)
            error = up(up(peak * errors[before])[:, None] + f.derivative_rounding() + U * np.abs(d))
            slopes.append((down(d - error), up(d + error)))
        rows = np.zeros((n, self.backward.classes))
        rows[unique, first] = 1.0
        rows[unique, second] -= 1.0
        return lower, self.backward.gradient(rows, slopes)


def _constants(graph: Graph) -> Chain:
    """l2 constants of single nodes for the error of `forward`: exact local ones, Frobenius norms of matrices."""
    chain = Chain({})
    for node in graph.nodes:
        if node.op == "input":
            continue
        shapes = graph.input_shapes(node)
        own = local(node, shapes, "l2")
        if own is None:
            matrix = matrix_of(node, shapes[0])
            data = matrix.mid if isinstance(matrix.mid, np.ndarray) else matrix.mid.data
            rad = 0.0 if matrix.rad is None else norm_up(matrix.rad if isinstance(matrix.rad, np.ndarray) else matrix.rad.data, "l2")
            chain.constants[node.name], chain.combine[node.name] = (up(norm_up(data, "l2") + rad),), "sum"
        else:
            chain.constants[node.name], chain.combine[node.name] = tuple(root_up(square) for square in own[0]), own[1]
        if not all(np.isfinite(c) for c in chain.constants[node.name]):
            raise fields.refuse("a layer has no finite constant", node.name, node.op)
    return chain
