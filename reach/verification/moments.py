"""One common time: the search for a moment of a window at which the whole set is inside a region, or outside of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..specification import Bound
from .inclusion import Answer, inside, look, outside
from .patches import Moment, Patch, at_tau, moments_at, single_pieces

_CUT, _ZOOMS = 12, 6  # how many moments are tried with cuts; how often the grid of times is refined


class _Entry(NamedTuple):
    """A moment with its plain slack; `place` is (number of the piece) + tau, None for a sample."""

    slack: float
    moment: Moment
    place: float | None = None


def some_moment(pipe: Any, bound: Bound, inner: bool, budget: int) -> tuple[Answer | None, Moment]:
    """A time of the window at which the whole set is inside (or outside, `inner` False): (answer, moment), or (None, the moment nearest to it).

    Samples come first, then times in between on a grid that is refined around the best one; plain ranges for all, then cuts for the most promising.
    """
    samples = moments_at(pipe, range(bound.first, bound.last + 1))
    best = _scored([_Entry(0.0, moment) for moment in samples], bound, inner)
    answer = _shown(best[:1], bound, inner, 0)
    pieces = [] if answer or bound.at == "samples" else single_pieces(pipe, bound.first, bound.last)
    step = 0.25
    places = [j * step for j in range(4 * len(pieces) + 1)] if pieces else []
    for _ in range(_ZOOMS if pieces else 0):
        best = sorted(best + _scored([_at(pieces, place) for place in places], bound, inner), key=lambda entry: -entry.slack)
        answer = _shown(best[:1], bound, inner, 0)
        if answer:
            break
        near = next(entry.place for entry in best if entry.place is not None)
        step /= 4
        places = [near + j * step for j in (-3, -2, -1, 1, 2, 3) if 0 <= near + j * step <= len(pieces)]
    return answer or _shown(best[:_CUT], bound, inner, budget // _CUT) or (None, best[0].moment)


def _at(pieces: list[Patch], place: float) -> _Entry:
    i = min(int(place), len(pieces) - 1)
    return _Entry(0.0, (at_tau(pieces[i], place - i),), place)


def _scored(found: list[_Entry], bound: Bound, inner: bool) -> list[_Entry]:
    """The entries with their slacks, the largest first."""
    slack = iter(look([patch for entry in found for patch in entry.moment], bound.region, inner).tolist())
    return sorted((entry._replace(slack=min(next(slack) for _ in entry.moment)) for entry in found), key=lambda entry: -entry.slack)


def _shown(found: list[_Entry], bound: Bound, inner: bool, budget: int) -> tuple[Answer, Moment] | None:
    for entry in found:
        answer = (inside if inner else outside)(entry.moment, bound.region, budget)
        if answer.ok:
            return answer, entry.moment
    return None
