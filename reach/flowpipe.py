"""Flowpipe: the proved sets of a closed loop, at every sample and in between, with what proved them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from certify.core.errors import InputError
from certify.core.regions import Box

from .sets.kernels import TINY, U
from .sets.polyzonotope import PolynomialZonotope, range_of
from .sets.readings import enclose_decimals
from .sets.ring import Ring, lift

if TYPE_CHECKING:
    from .controllers.model import ControlModel
    from .loop import ClosedLoop


@dataclass(frozen=True, eq=False)
class TubePiece:
    """x(t) in P(s, tau) +- radius for every t in [start, end], tau = (t - start) / (end - start): one integration step of the tube.

    Times are floats near the exact ones; the claim is about the step between them, whatever the exact length is.
    """

    start: float
    end: float
    ring: Ring
    coefficients: np.ndarray
    radius: np.ndarray

    @property
    def dimension(self) -> int:
        return len(self.coefficients)

    def box(self, pieces: int | None = None) -> Box:
        lower, upper = range_of(self.ring, self.coefficients, pieces)
        return Box(np.nextafter(lower - self.radius, -math.inf), np.nextafter(upper + self.radius, math.inf))

    def support(self, direction, pieces: int | None = None) -> float:
        """An upper bound of c . x(t) over the piece."""
        return self.as_set().support(direction, pieces)

    def as_set(self) -> PolynomialZonotope:
        """The piece as a set in the variables (s, tau), its radius as generators."""
        return PolynomialZonotope(self.ring, self.coefficients, np.diag(self.radius))

    def affine(self, matrix, offset=None) -> PolynomialZonotope:
        return self.as_set().affine(matrix, offset)

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """Members of the piece: tau is drawn from [0, 1]."""
        rng = np.random.default_rng(seed)
        f = self.ring.variables
        s = np.hstack([rng.uniform(-1, 1, (count, f - 1)), rng.uniform(0, 1, (count, 1))])
        return self.as_set().at(s, rng.uniform(-1, 1, (count, self.dimension)))


@dataclass(frozen=True, eq=False)
class Tube:
    """All states met over one control step: the union of its pieces, in order of time."""

    pieces: tuple[TubePiece, ...]

    @property
    def dimension(self) -> int:
        return self.pieces[0].dimension

    @property
    def start(self) -> float:
        return self.pieces[0].start

    @property
    def end(self) -> float:
        return self.pieces[-1].end

    def box(self, pieces: int | None = None) -> Box:
        boxes = [p.box(pieces) for p in self.pieces]
        return Box(np.min([b.lower for b in boxes], axis=0), np.max([b.upper for b in boxes], axis=0))

    def support(self, direction) -> float:
        return max(p.support(direction) for p in self.pieces)

    def affine(self, matrix, offset=None):
        from .sets.union import SetUnion

        return SetUnion(tuple(p.affine(matrix, offset) for p in self.pieces))

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        share = [count // len(self.pieces) + (i < count % len(self.pieces)) for i in range(len(self.pieces))]
        return np.concatenate([p.sample(c, seed + i) for i, (p, c) in enumerate(zip(self.pieces, share))])


@dataclass(frozen=True, eq=False)
class Piece:
    """One proved integration step: what Theorems A to C need to be checked again. Jacobians are times h, (n, n + nu + nw); transition (n, n + nu)."""

    h: float
    start: PolynomialZonotope
    held_generators: np.ndarray
    coefficients: np.ndarray
    picard: np.ndarray
    deviation: np.ndarray
    bound: np.ndarray
    jacobian: np.ndarray
    jacobian_radius: np.ndarray
    transition: np.ndarray
    transition_radius: np.ndarray
    end: PolynomialZonotope
    parts: np.ndarray

    def tube(self, start: float, end: float) -> TubePiece:
        f, k = self.start.ring.variables, self.start.ring.order
        radius = (self.picard + self.bound) * (1 + 4 * U) + TINY
        return TubePiece(start, end, lift(f, k).time, self.coefficients, radius)


@dataclass(frozen=True, eq=False)
class Step:
    """One control step: the set at its start (after reduction), the control model there, and the proved pieces (one for a discrete plant)."""

    state: PolynomialZonotope
    control: ControlModel
    pieces: tuple[Any, ...]
    times: tuple[float, ...]
    end: PolynomialZonotope
    kept: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Flowpipe:
    """The sets that contain every motion of `loop` from `initial`, for every admissible disturbance and choice.

    `len` is the number of control steps that are proved; `settings["steps"]` were asked for: fewer are here when a RemainderError carries the pipe.
    `at(k)` is the set after step k (0: the initial set), `tube(k)` the set over step k = 1 .. len; both have `box()`, `support(direction)` and
    `sample(count)`. A flowpipe is itself a set: everything that is met at any time.
    """

    loop: ClosedLoop
    initial: Box
    steps: tuple[Step, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def dimension(self) -> int:
        return len(self.loop.states)

    @property
    def horizon(self) -> float:
        """The time up to which everything is proved."""
        return len(self.steps) * self.loop.period

    def at(self, k: int) -> PolynomialZonotope:
        """The set at time k * period, k = 0 .. len."""
        if not (isinstance(k, int | np.integer) and 0 <= k <= len(self)):
            raise InputError("a flowpipe has no such step", where="Flowpipe.at", found=repr(k), expected=f"a whole number from 0 to {len(self)}")
        if k == 0:
            if self.steps:
                return self.steps[0].state
            box = enclose_decimals(self.initial.lower, self.initial.upper)
            return PolynomialZonotope.from_box(box.lower, box.upper, 1)
        return self.steps[k - 1].end

    def tube(self, k: int) -> Any:
        """The set over step k, times (k - 1) * period to k * period, k = 1 .. len; a discrete plant has only the sets before and after the step."""
        if not (isinstance(k, int | np.integer) and 1 <= k <= len(self)):
            raise InputError("a flowpipe has no such step", where="Flowpipe.tube", found=repr(k), expected=f"a whole number from 1 to {len(self)}")
        step = self.steps[k - 1]
        if not self.loop.continuous:
            from .sets.union import SetUnion

            return SetUnion((self.at(k - 1), self.at(k)))
        return Tube(tuple(p.tube(a, b) for p, a, b in zip(step.pieces, step.times, step.times[1:])))

    def box(self) -> Box:
        boxes = [self.tube(k).box() for k in range(1, len(self) + 1)] or [self.at(0).box()]
        return Box(np.min([b.lower for b in boxes], axis=0), np.max([b.upper for b in boxes], axis=0))

    def support(self, direction) -> float:
        """An upper bound of c . x(t) over everything that is met."""
        return max([self.tube(k).support(direction) for k in range(1, len(self) + 1)] or [self.at(0).support(direction)])

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) members of the tube, spread over its steps."""
        if not self.steps:
            return self.at(0).sample(count, seed)
        rng = np.random.default_rng(seed)
        which = rng.integers(1, len(self) + 1, count)
        rows = [self.tube(int(k)).sample(int((which == k).sum()), seed + int(k)) for k in np.unique(which)]
        return np.concatenate(rows) if rows else np.zeros((0, self.dimension))

    def affine(self, matrix, offset=None):
        from .sets.union import SetUnion

        return SetUnion(tuple(self.tube(k).affine(matrix, offset) for k in range(1, len(self) + 1)) or (self.at(0).affine(matrix, offset),))

    def verify(self, spec):
        """Decide a specification: VERIFIED, FALSIFIED (with a proved witness that replays) or UNKNOWN with the reason; see `reach.verification`."""
        from .verification import verify

        return verify(self, spec)

    def save(self, path, specs=()):
        """Write the certificate of this flowpipe, and of the specifications that it proves, to exactly `path`; `reach.check(path, loop)` proves it again."""
        from .proof.writer import save

        return save(self, path, specs)

    def plot(self, x, y, ax=None):
        """Draw the projection on two states (names or numbers), or one against "t"; returns the matplotlib axes."""
        from .app.plot import plot

        return plot(self, x, y, ax)

    def to_csv(self, path):
        """Write lower and upper ends of every state, at the samples and over the tube, outward-rounded, one row per step and state."""
        from .app.table import to_csv

        return to_csv(self, path)

    def __repr__(self) -> str:
        return f"Flowpipe({len(self)} steps to t = {self.horizon:g}, {', '.join(self.loop.states)})"
