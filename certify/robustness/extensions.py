"""Methods that work input by input and leave evidence per input: curvature (smooth networks) and regional bounds. Each is tried after the constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from ..core.errors import HypothesisError, UnsupportedLayerError
from ..core.record import digest_array

if TYPE_CHECKING:
    from ..constants.curvature import CurvatureBounds
    from ..core.graph import Graph
    from .heads import Head

Progress = Callable[[int, int, str], None]
NEAR = {"fast": 0.0, "balanced": 10.0, "tight": 7200.0}  # seconds for bounds near single inputs, all inputs together
NEURONS = {"fast": 0, "balanced": 400, "tight": 2000}  # of a smooth network whose curvature is bounded without being asked


class Extension(Protocol):
    """One method: radii of inputs from their proved margins, and arrays that prove them, one row per input."""

    name: ClassVar[str]

    def shapes(self) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """Per array: the shape of one row, and the dtype."""
        ...

    def tables(self) -> Mapping[str, np.ndarray]:
        """Arrays about the whole network."""
        ...

    def settings(self) -> list[Any]:
        """What else an answer depends on."""
        ...

    def __call__(self, inputs: np.ndarray, labels: np.ndarray, lower: np.ndarray, radii: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        """Radii (n,) (0 where nothing better was found) and the rows."""
        ...


@dataclass(frozen=True, eq=False)
class Curvature:
    """Radii from a bound on the Hessian of every logit difference."""

    graph: Graph
    bounds: CurvatureBounds
    name: ClassVar[str] = "curvature"

    def shapes(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        k = self.graph.output_shape[0]
        return {"curvature_eta": ((k,), np.float64), "curvature_points": ((k, *self.graph.input_shape), np.float32)}

    def settings(self) -> list[Any]:
        return []

    def tables(self) -> dict[str, np.ndarray]:
        lower = np.where(np.isfinite(self.bounds.lower), self.bounds.lower, 0.0)
        return {"curvature_lower": lower, "curvature_tau": self.bounds.taus}

    def __call__(self, inputs, labels, lower, radii, upper):
        from ..constants.curvature import curvature_radii

        found = curvature_radii(self.graph, inputs, labels, lower, self.bounds)
        rows = {"curvature_eta": found.eta, "curvature_points": found.points}
        return _confirmed(self, found.radii, inputs, labels, rows), rows


def _confirmed(method: Curvature, radii: np.ndarray, inputs: np.ndarray, labels: np.ndarray, rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """The radii that the checker confirms, 0 for the others: its ranges of the gradient differ from ours, and this proof is not monotone in them."""
    from ..core.errors import CertificateError
    from ..proof.check_curvature import proves
    from ..proof.ends import Ending

    logits, places = method.graph[method.graph.output], np.flatnonzero(radii > 0)
    end = Ending(logits, logits.shape[0], logits.name, None, None, None)
    try:
        holds = proves(method.graph, "l2", end, {**method.tables(), **rows, "radii": radii, "labels": labels, "inputs": np.asarray(inputs)}, places)
    except CertificateError:
        return np.zeros(len(radii))
    confirmed = np.zeros(len(radii))
    confirmed[places[holds]] = radii[places[holds]]
    return confirmed


def _agreed(graph: Graph, bounds: CurvatureBounds, classes: np.ndarray) -> bool:
    """Give up the pairs whose bound the checker does not prove again (in place); whether any pair is left."""
    from ..proof.check_curvature import Curvature as Checker
    from ..proof.parts import read

    checker = Checker(graph, read(graph, graph.output))
    for i in classes.tolist():
        for j in range(len(bounds.lower)):
            if i != j and np.isfinite(bounds.lower[i, j]) and not checker.holds(i, j, float(bounds.lower[i, j]), bounds.taus[i, j]):
                bounds.lower[i, j], bounds.taus[i, j] = np.inf, 0.0
    others = ~np.eye(len(bounds.lower), dtype=bool)[classes]
    return bool((np.isfinite(bounds.lower[classes]) | ~others).all(axis=1).any())


@dataclass(frozen=True, eq=False)
class Local:
    """Radii from what the network does near each input: backward linear bounds, and (l2) one matrix inequality per class that they leave open."""

    graph: Graph
    norm: str
    effort: str
    entries: int
    multipliers: int
    name: ClassVar[str] = "local"

    def shapes(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        k = self.graph.output_shape[0]
        box = ((self.entries,), np.float32)
        return {"local_lower": box, "local_upper": box, "local_theta": ((k, self.multipliers), np.float32), "local_mode": ((k,), np.int8)}

    def settings(self) -> list[Any]:
        return [self.norm, self.effort, self.entries, self.multipliers]

    def tables(self) -> dict[str, np.ndarray]:
        return {}

    def __call__(self, inputs, labels, lower, radii, upper):
        from ..constants.regional.radii import regional_radii

        found = regional_radii(self.graph, inputs, labels, lower, radii, upper, self.norm, self.effort)
        return found.radii, {"local_lower": found.lower, "local_upper": found.upper, "local_theta": found.theta, "local_mode": found.mode}


def extensions(head: Head, labels: np.ndarray, norm: str, method: str, effort: str) -> tuple[Extension, ...]:
    """The extensions of a run: those that method and effort ask for and that the network allows.

    Raises:
        HypothesisError, UnsupportedLayerError: a method asked for by name does not apply; with the reason.
    """
    found: list[Extension] = []
    for name, build in (("curvature", _curvature), ("local", _local)):
        if method not in ("auto", name):
            continue
        try:
            extension = build(head, labels, norm, effort, method == name)
        except (HypothesisError, UnsupportedLayerError):
            if method == name:
                raise
            continue
        if extension is not None:
            found.append(extension)
    return tuple(found)


def _curvature(head: Head, labels: np.ndarray, norm: str, effort: str, asked: bool) -> Curvature | None:
    from ..constants.curvature import curvature_bounds
    from ..constants.semidefinite import cost_of

    if norm != "l2":
        raise HypothesisError("the method 'curvature' is about the l2 norm", where="argument norm", found=repr(norm), expected="'l2'", hint="method='auto'")
    if not asked and cost_of(head.graph).rows > NEURONS[effort]:
        return None
    classes = np.unique(labels)
    bounds = curvature_bounds(head.graph, classes)
    if not _agreed(head.graph, bounds, classes):
        raise HypothesisError("no curvature bound of this network is proved by prover and checker alike", where=f"logits '{head.logits}'", hint="method='auto' goes on without it")
    return Curvature(head.graph, bounds)


def _local(head: Head, labels: np.ndarray, norm: str, effort: str, asked: bool) -> Local | None:
    """Matrix inequalities where the effort pays for them, else the linear bounds alone, else nothing (unless asked by name)."""
    from ..constants.semidefinite import cost_of

    linear, inequality = seconds_near(head.graph)
    budget = NEAR[effort]
    if not asked and len(labels) * linear > budget:
        return None
    from ..constants.regional.onesided import KINDS
    from ..constants.regional.radii import network_of

    if cost_of(head.graph).rows > 20_000:
        raise HypothesisError("too many neurons for bounds near single inputs", found=cost_of(head.graph).rows, expected="at most 20000", hint="method='auto'")
    network = network_of(head.graph)
    thorough = norm == "l2" and effort != "fast" and (asked or len(labels) * inequality <= budget)
    return Local(head.graph, norm, effort if thorough else "fast", network.form.entries, 1 + KINDS * network.groups)


def seconds_near(graph: Graph) -> tuple[float, float]:
    """About the seconds per input of the linear bounds and of the matrix inequalities, from the sizes of the tensors alone."""
    from ..constants.semidefinite import cost_of

    sizes = [math.prod(node.shape) for node in graph.nodes if node.op in ("activation", "group_sort", "maximum", "minimum", "max_pool")]
    before, work = [float(math.prod(graph.input_shape))], 0.0
    for size in sizes:
        work += size * sum(a * b for a, b in zip(before, before[1:]))
        before.append(float(size))
    return 3e-2 + 14 * 12 * work / 5e9, 0.6 + 1e-7 * float(cost_of(graph).rows) ** 3


def question(found: tuple[Extension, ...]) -> list[Any]:
    """What a journal's unit depends on."""
    return [[e.name, e.settings(), {name: digest_array(a) for name, a in e.tables().items()}] for e in found]
