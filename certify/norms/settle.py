"""The smallest shift that proves every piece of a frequency grid, each with the period and twist that suits it (or its exact section)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..core.errors import SoundnessError
from .cholesky import chunk_rows, unfinished
from .eigenpair import lanczos_each, top_eigenpair
from .pieces import EXACT, Found, Option, Piece

_DELTA = 1e-6  # relative height of a shift above the estimate it comes from
_NEAR, _LARGE = 3, 256  # failing points per piece around which other options are looked at; one for matrices of this size on
_MOST = 60  # the shift is then a million million times the estimate: the library is broken
_TRIES = 4  # options that are tried on a piece before the shift rises to the best of them
_SECTION_STEP = 1e-4  # how much higher a failed section is tried again, at least
_EXACT_PAYS = 1e-4  # relative gain in the eigenvalue from which an exact section is worth its time


class Exact(Protocol):
    """What `settle` needs of the finite section of a piece: an estimate of its largest eigenvalue, and the factorisation at a shift."""

    size: int
    slack: float

    def estimate(self) -> Found: ...

    def below(self, shift: float) -> bool: ...


ExactPiece = Callable[[Piece], Exact]


@dataclass
class Settled:
    """`shift`: if `complete`, shift I - Gh was factorised at every point of the chosen option of every piece. `top` is where it was set (search only)."""

    shift: float
    top: Found | None
    chosen: list[Option] = field(default_factory=list)
    piece: Piece | None = None  # where `top` is, None if it is the one given
    sections: list[Exact] = field(default_factory=list)
    complete: bool = True


def settle(
    pieces: list[Piece], first: list[Option], shift: float, top: Found | None, exact: ExactPiece | None = None, limit: float = math.inf, enough: float = 0.0,
) -> Settled:  # fmt: skip
    """Factorise every piece at `shift` with its `first` option; give the failing ones, worst first, other options before the shift rises.

    What is proved: for each piece, shift I - Gh has a finite Cholesky factor at every point of its chosen option (a success at a smaller
    shift is one at a larger shift), or `exact` proved its section below the shift. Estimates only choose.
    Sections are asked only for what would lift the shift above `enough`.
    Given up (not `complete`: nothing is proved) as soon as the shift would rise above `limit`: another layout is known to be better.
    """
    done = Settled(shift, top, list(first), complete=shift <= limit)
    if not done.complete:
        return done
    failing = []
    for k, (piece, option) in enumerate(zip(pieces, first)):
        bad = failing_points(piece, option, shift)
        if len(bad):
            values, vectors = _estimates(piece, option, bad)
            failing.append((float(values.max()), k, bad, values, vectors))
        else:
            piece.forget()
    for _, k, bad, values, vectors in sorted(failing, key=lambda row: (-row[0], row[1])):
        _repair(done, k, _Options(pieces[k], done.chosen[k], bad, values, vectors, done.shift, exact, enough), limit)
        pieces[k].forget()
        if done.shift > limit:
            done.complete = False
            return done
    return done


def _repair(done: Settled, k: int, options: _Options, limit: float) -> None:
    """Settle one failing piece: the option of the lowest estimate, then the next, then a higher shift."""
    delta = _DELTA
    for tried in range(_MOST):
        option, found = options.lowest(tried, done.shift)
        raised = found.value * (1 + delta)
        if raised > done.shift:
            done.shift, done.top, done.piece = raised, found, options.piece
            if raised > limit:
                return
        if options.below(option, done.shift):
            done.chosen[k] = option
            if option == EXACT and options.section is not None:
                done.sections.append(options.section)
            return
        delta *= 2  # growing: the loop ends
    raise SoundnessError("a Cholesky factorisation fails far above the largest eigenvalue", where=f"line {k} of {len(done.chosen)}", found=f"shift {done.shift!r}")


class _Options:
    """The options of a failing piece with an estimate for each, which failed attempts correct; the exact section joins when every grid seems too high."""

    def __init__(
        self, piece: Piece, first: Option, bad: np.ndarray, values: np.ndarray, vectors: np.ndarray, shift: float, exact: ExactPiece | None, enough: float
    ):  # fmt: skip
        self.piece, self.section, self.enough = piece, None if exact is None else exact(piece), enough
        period, best = piece.period(first), int(values.argmax())
        self.found = {first: Found(float(values[best]), bad[best], period, vectors[best])}
        self.left = {first: bad}  # the points of an option that were not factorised yet
        if self.found[first].value > shift:
            near = np.argsort(-values)[: _near(piece)]
            others = [o for o in piece.options() if o != first]
            self.found |= piece.estimates(bad[near] / np.array(period), vectors[near], others)

    def lowest(self, tried: int, shift: float) -> tuple[Option, Found]:
        """The most promising option; after `_TRIES` grids (one beside a section) only those that were tried, and the section.

        Estimates of grids are too low rather than too high: where one has failed, or all are above the shift, the section is asked.
        """
        if self.section is not None and EXACT not in self.found:
            lowest = min(f.value for o, f in self.found.items() if o in self.left or tried == 0)
            if lowest > max(shift, self.enough) * (1 + _EXACT_PAYS) or (tried > 0 and shift >= self.enough):
                self.found[EXACT] = self._hoped(shift) if self.enough > 0.0 else self.section.estimate()
        candidates = self.found if tried < (_TRIES if self.section is None else 1) else {o: f for o, f in self.found.items() if o in self.left or o == EXACT}
        option = min(candidates, key=lambda o: (candidates[o].value, o))
        return option, self.found[option]

    def _hoped(self, shift: float) -> Found:
        """In place of a section's estimate: that it will do at the level that is good enough. A factorisation there tells as much as the search."""
        first = next(iter(self.found.values()))
        return Found(max(shift, self.enough) * (1 - 2 * _DELTA), first.numerators, first.period, first.vector)

    def below(self, option: Option, shift: float) -> bool:
        """Whether the option is proved at this shift; if not, its estimate rises to the shift at least."""
        old = self.found[option]
        if option == EXACT:
            if self.section is not None and self.section.below(shift):
                return True
            again = max(old.value, shift) * (1 + _SECTION_STEP)  # a factorisation is dear here
            estimate = self.section.estimate() if self.section is not None else old
            self.found[option] = estimate if estimate.value > again else Found(again, old.numerators, old.period, old.vector)
            return False
        bad = failing_points(self.piece, option, shift, self.left.get(option))
        if not len(bad):
            return True
        self.left[option] = bad
        values, vectors = _estimates(self.piece, option, bad)
        best = int(values.argmax())
        self.found[option] = Found(max(float(values[best]), shift), bad[best], self.piece.period(option), vectors[best])
        return False


def failing_points(piece: Piece, option: Option, shift: float, points: np.ndarray | None = None) -> np.ndarray:
    """The points of an option (or the given ones) where shift I - Gh was not factorised."""
    points = piece.points(option) if points is None else points
    period = piece.period(option)
    bad = [part[unfinished(piece.gram(part, period, -1.0), shift)] for part in _parts(piece, points)]
    return np.concatenate(bad) if bad else points[:0]


def _parts(piece: Piece, points: np.ndarray) -> Iterator[np.ndarray]:
    step = chunk_rows(piece.symbol)
    for i in range(0, len(points), step):
        yield points[i : i + step]


def _estimates(piece: Piece, option: Option, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalue estimates and vectors at failing points: a few Lanczos steps on all, then the most promising ones converged."""
    period = piece.period(option)
    values, vectors = [], []
    for part in _parts(piece, points):
        v, x = lanczos_each(piece.gram(part, period), 8)
        values.append(v)
        vectors.append(x)
    value, vector = np.concatenate(values), np.concatenate(vectors)
    for j in np.argsort(value)[-_near(piece) :]:
        value[j], vector[j] = top_eigenpair(piece.gram(points[j : j + 1], period)[0], vector[j])
    return value, vector


def _near(piece: Piece) -> int:
    return _NEAR if piece.symbol.a < _LARGE else 1
