"""The smallest shift that proves every piece of a frequency grid, each with the period and twist that suits it (or its exact section)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .cholesky import chunk_rows, unfinished
from .eigenpair import lanczos_each, top_eigenpair
from .pieces import EXACT, Found, Option, Piece

_DELTA = 1e-6  # relative height of a shift above the estimate it comes from
_NEAR, _LARGE = 3, 256  # failing points per piece around which other options are looked at; one for matrices of this size on
_TRIES = 4  # options that are tried on a piece before the shift rises to the best of them
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


def settle(pieces: list[Piece], first: list[Option], shift: float, top: Found | None, exact: ExactPiece | None = None, limit: float = math.inf) -> Settled:
    """Factorise every piece at `shift` with its `first` option; give the failing ones, worst first, other options before the shift rises.

    What is proved: for each piece, shift I - Gh has a finite Cholesky factor at every point of its chosen option (a success at a smaller
    shift is one at a larger shift), or `exact` proved its section below the shift. Estimates only choose.
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
        _repair(done, k, pieces[k], bad, values, vectors, exact, limit)
        pieces[k].forget()
        if done.shift > limit:
            done.complete = False
            return done
    return done


def _repair(done: Settled, k: int, piece: Piece, bad: np.ndarray, values: np.ndarray, vectors: np.ndarray, exact: ExactPiece | None, limit: float) -> None:
    default = done.chosen[k]
    order = np.argsort(-values)[: _near(piece)]
    period = piece.period(default)
    best = int(values.argmax())
    found = {default: Found(float(values[best]), bad[best], period, vectors[best])}
    left = {default: bad}
    sections: dict[Option, Exact] = {}
    if found[default].value > done.shift:
        others = [o for o in piece.options() if o != default]
        found |= piece.estimates(bad[order] / np.array(period), vectors[order], others)
        least = min(f.value for f in found.values())
        if exact is not None and least > done.shift * (1 + _EXACT_PAYS):
            sections[EXACT] = exact(piece)
            found[EXACT] = sections[EXACT].estimate()
            if found[EXACT].value > least * (1 - _EXACT_PAYS):
                del found[EXACT]
    delta, tried = _DELTA, 0
    while True:
        candidates = found if tried < _TRIES else {o: f for o, f in found.items() if o in left or o == EXACT}
        option = min(candidates, key=lambda o: (candidates[o].value, o))
        raised = found[option].value * (1 + delta)
        if raised > done.shift:
            done.shift, done.top, done.piece = raised, found[option], piece
            if raised > limit:
                return
        if option == EXACT:
            ok = sections[EXACT].below(done.shift)
            still = None
        else:
            still = failing_points(piece, option, done.shift, left.get(option))
            ok = len(still) == 0
        if ok:
            done.chosen[k] = option
            if option == EXACT:
                done.sections.append(sections[EXACT])
            return
        tried, delta = tried + 1, 2 * delta  # growing: the loop ends
        if still is not None:
            left[option] = still
            values, vectors = _estimates(piece, option, still)
            best = int(values.argmax())
            found[option] = Found(max(float(values[best]), done.shift), still[best], piece.period(option), vectors[best])
        else:
            found[option] = Found(max(found[option].value, done.shift), *_where(found[option]))


def _where(found: Found) -> tuple[np.ndarray, tuple[int, ...], np.ndarray]:
    return found.numerators, found.period, found.vector


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
