"""One unit of work of a radius run: the task that every unit shares, and how a unit of inputs is answered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import SoundnessError
from ..core.graph import Graph
from .heads import Head
from .margins import Margins, PairNorms, global_constant, margin_enclosure, radii_from_margins
from .witness import proved_distances

if TYPE_CHECKING:
    from .attack import Attack
    from .extensions import Extension

METHODS = ("global", "pairwise", "sdp", "curvature", "local")
_BLOCK_BYTES = 1 << 24  # what the largest tensor of a block may take
_LARGEST_BLOCK = 256


def block_size(graph: Graph) -> int:
    """How many inputs are evaluated together: a power of two that depends on the graph alone, so that no result depends on the run.

    The last bits of a matrix product depend on its shape; with fixed blocks at fixed places they depend on nothing else.
    """
    largest = max(math.prod(node.shape) for node in graph.nodes)
    return 1 << max(0, min(_LARGEST_BLOCK, _BLOCK_BYTES // (8 * max(1, largest))).bit_length() - 1)


@dataclass(frozen=True)
class Task:
    """Everything that answers a unit; it crosses process boundaries.

    `backbone` is the constant of x -> features, `total` that of x -> logits (upper ends); `methods` those of METHODS that are wanted;
    `locals` the local facts that the forward error needs; `attack` None for no attack; `table` (k, k) proved constants of z_i - z_j ("sdp") or None;
    `extensions` the methods that work input by input.
    """

    head: Head
    norm: str
    locals: Any
    backbone: float
    total: float
    methods: tuple[str, ...]
    attack: Attack | None = None
    table: np.ndarray | None = None
    extensions: tuple[Extension, ...] = ()

    @property
    def rows(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """The arrays of an answer: the shape of one row and the dtype."""
        plain = {"radii": ((), np.float64), "upper": ((), np.float64), "predictions": ((), np.int64), "method": ((), np.int8)}
        return {**plain, **{name: row for extension in self.extensions for name, row in extension.shapes().items()}}

    @property
    def block(self) -> int:
        return block_size(self.head.graph)

    def unit(self, batch_size: int | None) -> int:
        """Inputs per unit of work (progress, journal, process): `batch_size`, or a default, rounded up to whole blocks."""
        wanted = batch_size or (256 if self.attack else 4096)
        return -(-wanted // self.block) * self.block


class Worker:
    """Answers units of a task; keeps what it can reuse between them."""

    def __init__(self, task: Task):
        self.task = task
        self.pairs = PairNorms(task.head.last, task.norm) if task.head.last is not None else None

    def margins(self, points: np.ndarray, classes: np.ndarray) -> Margins:
        """Margins of `classes` at points of any real dtype (exact in float64), block by block."""
        from ..constants.forward import forward_with_error

        task, parts = self.task, []
        for i in range(0, len(points), task.block):
            values, errors = forward_with_error(task.head.body, points[i : i + task.block].astype(np.float64), task.norm, task.locals)
            parts.append(margin_enclosure(values.reshape(len(values), -1), errors, classes[i : i + task.block], task.norm, self.pairs))
        return Margins(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("logits", "lower", "upper")))

    def __call__(self, inputs: np.ndarray, labels: np.ndarray, first: int) -> dict[str, np.ndarray]:
        """radii, upper, predictions and method (-1 none, else a place in METHODS) of the inputs first, first + 1, ...

        Raises:
            SoundnessError: an adversarial input was proved inside a certified radius.
        """
        margins = self.margins(inputs, labels)
        predictions = np.argmax(np.where(np.isnan(margins.logits), -np.inf, margins.logits), axis=1).astype(np.int64)
        radii, method = self.certified(margins.lower, labels)
        correct = predictions == labels
        radii[~correct] = 0.0
        method[radii == 0] = -1
        upper = np.where(correct, np.inf, 0.0)
        if self.task.attack is not None:
            for i in range(0, len(inputs), self.task.block):
                place = i + np.flatnonzero(correct[i : i + self.task.block])
                if len(place):
                    upper[place] = self.attacked(inputs[place].astype(np.float64), labels[place], margins.logits[place], first + place)
        answer = {"radii": radii, "upper": upper, "predictions": predictions, "method": method}
        answer |= self.extended(inputs, labels, margins.lower, radii, upper, method)
        self.confirm(radii, upper, method, labels, first)
        return answer

    def extended(self, inputs: np.ndarray, labels: np.ndarray, lower: np.ndarray, radii: np.ndarray, upper: np.ndarray, method: np.ndarray) -> dict[str, np.ndarray]:
        """Enlarge `radii` in place by the methods that work input by input, naming them in `method`; their rows, zero where another method won."""
        rows: dict[str, np.ndarray] = {}
        for extension in self.task.extensions:
            found, arrays = extension(inputs, labels, lower, radii, upper)
            better = (found > radii) & (upper > 0)
            radii[better], method[better] = found[better], METHODS.index(extension.name)
            rows |= {name: np.array(arrays[name], dtype=dtype) for name, (_, dtype) in extension.shapes().items()}
        for extension in self.task.extensions:
            for name in extension.shapes():
                rows[name][method != METHODS.index(extension.name)] = 0
        return rows

    def certified(self, lower: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The largest of the wanted radii, and which it was; the later one of METHODS where two are equal."""
        task, best = self.task, np.zeros(len(labels))
        method = np.full(len(labels), -1, dtype=np.int8)
        for name in task.methods:
            if name == "pairwise" and self.pairs is not None:
                constants = self.pairs.constants(labels, task.backbone)
            elif name == "sdp" and task.table is not None:
                constants = task.table[labels]
            else:
                constants = np.full_like(lower, global_constant(task.norm, task.total))
            radii = radii_from_margins(lower, constants, labels)
            method[radii >= best] = METHODS.index(name)
            best = np.maximum(best, radii)
        return best, method

    def attacked(self, points: np.ndarray, labels: np.ndarray, logits: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Proved upper ends (inf where nothing was proved) for correctly classified inputs of one block."""
        if self.task.attack is None:
            return np.full(len(points), np.inf)
        with np.errstate(all="ignore"):
            gaps = logits[np.arange(len(labels)), labels][:, None] - logits
        steps = self.task.attack(self.task.head.graph, points, labels, gaps, indices)
        return proved_distances(self.margins, points, labels, steps, self.task.norm)

    def confirm(self, radii: np.ndarray, upper: np.ndarray, method: np.ndarray, labels: np.ndarray, first: int) -> None:
        """radius <= attack for every input, else both witnesses are named."""
        broken = ~(radii <= upper)  # NaN is broken too
        if broken.any():
            i = int(np.argmax(broken))
            raise SoundnessError(
                "a certified radius contains a proved adversarial input",
                where=f"input {first + i}, label {int(labels[i])}",
                found=f"{METHODS[method[i]]} radius {float(radii[i])!r} ({self.task.norm}), adversarial input at distance at most {float(upper[i])!r}",
                expected="radius <= distance",
                hint="one of the two bounds is wrong: please report this with the model and the input",
            )
