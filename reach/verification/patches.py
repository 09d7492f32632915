"""Patch: a piece of a proved set or tube, p(s) + E eps +- radius on a ring, with its time; what specifications are tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from certify.core.rounding import TINY, gamma, norms_up, up

from ..sets.ring import Ring, lift, ring


@dataclass(frozen=True, eq=False)
class Patch:
    """Every state that some motion has at some time in [start, end] (and in this branch) is p(s) + E eps + e with |e_i| <= radius_i.

    A tube piece has the variables (s, tau) and no symbols; the set at one time has start == end. `step` is the control step it belongs to.
    A patch with an entry that is not finite becomes 0 +- infinity, from which nothing can be proved.
    """

    ring: Ring
    coefficients: np.ndarray
    generators: np.ndarray
    radius: np.ndarray
    start: float
    end: float
    step: int

    def __post_init__(self):
        if not (np.isfinite(self.coefficients).all() and np.isfinite(self.generators).all() and (self.radius >= 0).all()):
            n = len(self.coefficients)
            object.__setattr__(self, "coefficients", np.zeros((n, self.ring.size)))
            object.__setattr__(self, "generators", np.zeros((n, 0)))
            object.__setattr__(self, "radius", np.full(n, np.inf))

    @property
    def when(self) -> str:
        """The time, for a reader."""
        if self.start == self.end:
            return f"at time {self.start:.6g} (control step {self.step})"
        return f"between the times {self.start:.6g} and {self.end:.6g} (control step {self.step})"

    def middle(self) -> float:
        return 0.5 * (self.start + self.end)


Moment = tuple[Patch, ...]
"""All patches of one time: what is true of each of them is true of every motion at that time."""


def moments_at(pipe: Any, steps: range) -> list[Moment]:
    """The sets after the given control steps."""
    return [tuple(_set(part, k * pipe.loop.period, k) for part in _parts(pipe.at(k))) for k in steps]


def tube_pieces(pipe: Any, first: int, last: int) -> list[Patch]:
    """Patches that together hold every state at every time between the control steps first and last, in order of time."""
    if first == last or not pipe.loop.continuous:
        return [patch for moment in moments_at(pipe, range(first, last + 1)) for patch in moment]
    return [_piece(piece, k) for k in range(first + 1, last + 1) for tube in _parts(pipe.tube(k)) for piece in tube.pieces]


def single_pieces(pipe: Any, first: int, last: int) -> list[Patch]:
    """The pieces of the tube where it has no branches; none elsewhere, because the pieces of branches may not share their times."""
    if not pipe.loop.continuous:
        return []
    tubes = [(_parts(pipe.tube(k)), k) for k in range(first + 1, last + 1)]
    return [_piece(piece, k) for parts, k in tubes if len(parts) == 1 for piece in parts[0].pieces]


def at_tau(patch: Patch, tau: float) -> Patch:
    """The patch of a tube piece at one time, tau in [0, 1].

    Claim: it holds p(s, tau) for every s. Proof: coefficient t of the result sums c_m tau^e over at most order + 1 monomials m; powers by repeated products
    have at most `order` roundings, the sum as many and the product one, so the errors of a row add to at most gamma_(2 order + 2) |c|_1 plus underflows below
    TINY (Higham 2002, Lemma 3.1).
    """
    space = lift(patch.ring.variables - 1, patch.ring.order)
    powers = np.ones(patch.ring.order + 1)
    for e in range(1, len(powers)):
        powers[e] = powers[e - 1] * tau
    made = np.zeros((len(patch.coefficients), space.space.size))
    np.add.at(made.T, space.at_end, (patch.coefficients * powers[space.time_power]).T)
    error = up(up(norms_up(patch.coefficients, "l1") * gamma(2 * patch.ring.order + 4)) + TINY)
    time = (1 - tau) * patch.start + tau * patch.end
    return Patch(space.space, made, patch.generators, up(patch.radius + error), time, time, patch.step)


def _parts(value: Any) -> list[Any]:
    """The branches of a set; the set itself where it has none."""
    return [leaf for part in value.parts for leaf in _parts(part)] if hasattr(value, "parts") else [value]


def _piece(piece: Any, k: int) -> Patch:
    return Patch(piece.ring, piece.coefficients, np.zeros((piece.dimension, 0)), np.asarray(piece.radius), piece.start, piece.end, k)


def _set(value: Any, time: float, k: int) -> Patch:
    """A polynomial zonotope as it is, any other set by its box."""
    if hasattr(value, "ring") and hasattr(value, "generators"):
        return Patch(value.ring, value.coefficients, value.generators, np.zeros(value.dimension), time, time, k)
    box = value.box()
    middle = 0.5 * box.lower + 0.5 * box.upper
    radius = up(np.maximum(up(box.upper - middle), up(middle - box.lower)))
    return Patch(ring(0, 0), middle[:, None], np.zeros((len(middle), 0)), radius, time, time, k)
