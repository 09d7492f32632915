"""Flowpipes of switching controllers: a tree of sets, one branch per mode and control that may be chosen."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from certify.core.errors import CertifyError, InputError
from certify.core.regions import Box

from .controllers.layerwise import Layerwise
from .controllers.model import ControlModel
from .controllers.switching import Switching, candidates
from .dynamics.system import ContinuousSystem
from .errors import RemainderError
from .flowpipe import Flowpipe, Step, Tube
from .integrators import continuous, discrete
from .integrators.picard import Picard
from .integrators.reduce import reduce
from .loop import ClosedLoop
from .sets.polyzonotope import PolynomialZonotope
from .sets.union import SetUnion

SUBSTEPS = 2  # per period where none are given: branches do not adapt
LARGEST = 256  # branches of one step; beyond it, those of one mode are merged into their hull


@dataclass(frozen=True, eq=False)
class Branch:
    """A set with the mode it is in, the step that led there (None at the start), and the position of its parent in the level before."""

    mode: Hashable
    state: PolynomialZonotope
    step: Step | None = None
    parent: int = 0


@dataclass(frozen=True, eq=False)
class BranchingFlowpipe(Flowpipe):
    """The flowpipe of a switching controller: `levels[k]` holds the branches after step k, `segments[k - 1]` every step that led there; `at(k)` and `tube(k)` are
    unions (`.parts`)."""

    levels: tuple[tuple[Branch, ...], ...] = field(default=())
    segments: tuple[tuple[Step, ...], ...] = field(default=())

    def __len__(self) -> int:
        return len(self.levels) - 1

    @property
    def horizon(self) -> float:
        return len(self) * self.loop.period

    def at(self, k: int) -> Any:
        self._require(k, 0)
        return SetUnion(tuple(b.state for b in self.levels[k]))

    def tube(self, k: int) -> Any:
        """Over step k: tubes of a continuous plant; for a discrete one the sets before and after the step."""
        self._require(k, 1)
        if not self.loop.continuous:
            return SetUnion(tuple(b.state for level in (self.levels[k - 1], self.levels[k]) for b in level))
        return SetUnion(tuple(Tube(tuple(p.tube(s, e) for p, s, e in zip(step.pieces, step.times, step.times[1:]))) for step in self.segments[k - 1]))

    def modes(self, k: int) -> set[Hashable]:
        """The modes that may hold after step k."""
        self._require(k, 0)
        return {b.mode for b in self.levels[k]}

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) members of all branches, spread over the steps."""
        which = np.random.default_rng(seed).integers(0, len(self.levels), count)
        rows = [(self.at(0) if k == 0 else self.tube(int(k))).sample(int((which == k).sum()), seed + int(k)) for k in np.unique(which)]
        return np.concatenate(rows) if rows else np.zeros((0, self.dimension))

    def save(self, path, specs=()):
        """Refused: there is no certificate for switching controllers yet."""
        raise InputError("a flowpipe with branches has no certificate yet", where="BranchingFlowpipe.save", hint="pipe.verify(...) and pipe.to_csv(path) work")

    def __repr__(self) -> str:
        return f"BranchingFlowpipe({len(self)} steps to t = {self.horizon:g}, {', '.join(self.loop.states)}, {len(self.levels[-1])} branches)"

    def _require(self, k: int, least: int) -> None:
        if not (isinstance(k, int | np.integer) and least <= k <= len(self)):
            raise InputError("a flowpipe has no such step", found=repr(k), expected=f"a whole number from {least} to {len(self)}")


def solve_switching(loop: ClosedLoop, initial: Box, start: PolynomialZonotope, steps: int, method: Any, settings: Picard, order: int, say) -> BranchingFlowpipe:
    """All branches of a switching loop; see `reach.solve`.

    Claim: for every initial state, every disturbance, and every sequence of choices that the rule admits, the motion is in one of the branches at every time.
    """
    rule: Any = loop.controller
    began = time.process_time()
    if not isinstance(method, Layerwise):
        raise InputError("a switching controller is abstracted layer by layer", where="solve, argument controller", found=repr(method), expected='"auto" or reach.Layerwise(...)')
    networks = rule.prepare(method, order)
    settings = dataclasses.replace(settings, order=order, substeps=settings.substeps or SUBSTEPS)
    levels: list[tuple[Branch, ...]] = [(Branch(rule.initial, start),)]
    segments: list[tuple[Step, ...]] = []
    record: dict[str, Any] = {"steps": steps, "controller": repr(method), "integrator": repr(settings), "assumptions": loop.assumptions, "hypotheses": list(rule.hypotheses)}
    for k in range(steps):
        made: list[Branch] = []
        for parent, branch in enumerate(levels[-1]):
            try:
                made += _children(loop, rule, networks, branch, parent, settings, k)
            except InputError:
                raise
            except CertifyError as error:
                pipe = BranchingFlowpipe(loop, initial, (), record, time.process_time() - began, tuple(levels), tuple(segments))
                where = f"control step {k + 1}, mode {branch.mode!r}"
                raise RemainderError(f"the flowpipe cannot be continued: {error.what}", time=k * loop.period, step=k + 1, flowpipe=pipe, where=where, hint=error.hint) from error
        levels.append(_merged(made, order))
        segments.append(tuple(b.step for b in made if b.step is not None))
        say(k + 1, steps, f"t = {(k + 1) * loop.period:.6g}, {len(levels[-1])} branches")
    return BranchingFlowpipe(loop, initial, (), record, time.process_time() - began, tuple(levels), tuple(segments))


def _children(loop: ClosedLoop, rule: Switching, networks, branch: Branch, parent: int, settings: Picard, k: int) -> list[Branch]:
    generators, kept = reduce(branch.state.generators, settings.columns)
    state = PolynomialZonotope(branch.state.ring, branch.state.coefficients, generators)
    rule._network(branch.mode)
    scores = networks[branch.mode](state)
    box = state.box()
    found = []
    for i in candidates(scores, state):
        new = rule.modes[i]
        for row in rule.admissible(branch.mode, new, box):
            P = np.zeros((len(row), state.ring.size))
            P[:, 0] = row
            control = ControlModel(P, np.zeros((len(row), state.generators.shape[1])), np.spacing(np.abs(row)))  # both readings of a decimal
            start = k * loop.period
            if isinstance(loop.plant, ContinuousSystem):
                run = continuous.period(loop.plant, state, control, loop.period, settings.substeps or SUBSTEPS, start, settings.halvings)
                if run.failed is not None:
                    raise RemainderError(run.failed.reason, time=run.failed.time, step=k + 1)
                step = Step(state, control, run.pieces, run.times, run.end, kept)
            else:
                one = discrete.update(loop.plant, state, control)
                step = Step(state, control, (one,), (start, start + loop.period), one.end, kept)
            found.append(Branch(new, step.end, step, parent))
    return found


def _merged(branches: list[Branch], order: int) -> tuple[Branch, ...]:
    """The branches, or the box hulls of those of one mode where there are too many: never dropped."""
    if len(branches) <= LARGEST:
        return tuple(branches)
    made = []
    for mode in dict.fromkeys(b.mode for b in branches):
        boxes = [b.state.box() for b in branches if b.mode == mode]
        lower, upper = np.min([b.lower for b in boxes], axis=0), np.max([b.upper for b in boxes], axis=0)
        made.append(Branch(mode, PolynomialZonotope.from_box(lower, upper, order)))
    return tuple(made)
