"""What the Bernstein abstraction asks of a controller, on the coordinates that matter: proved values at float points, column constants, slopes on cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from certify.core.errors import InputError
from certify.core.rounding import U

Slopes = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Domain(NamedTuple):
    """The box {c + h t : t in [-1, 1]^n} of all states; coordinates outside `active` are frozen at c. Floats c, h define it exactly."""

    centre: np.ndarray
    radius: np.ndarray
    active: np.ndarray

    @property
    def lower(self) -> np.ndarray:
        """Float ends of a box that contains the domain and every float point that `points` makes of it."""
        return np.where(self.radius > 0, self.centre - self.radius - self.blur, self.centre)

    @property
    def upper(self) -> np.ndarray:
        return np.where(self.radius > 0, self.centre + self.radius + self.blur, self.centre)

    @property
    def blur(self) -> np.ndarray:
        """At least twice |fl(c + h t) - (c + h t)| and the rounding of the ends, for |t| <= 1."""
        return np.where(self.radius > 0, 8 * U * (np.abs(self.centre) + self.radius) + 2.0**-1060, 0.0)

    def points(self, t: np.ndarray) -> np.ndarray:
        """Float states (N, ns) near c + h t for t (N, active)."""
        x = np.broadcast_to(self.centre, (len(t), len(self.centre))).copy()
        x[:, self.active] += self.radius[self.active] * t
        return x


@dataclass(frozen=True, eq=False)
class Source:
    """A controller with a budget of evaluations.

    Attributes:
        values: (N, ns) states -> (mid, half), each (N, nu): |u(x) - mid| <= half at those float states.
        columns: (lower, upper) -> (nu, ns) bounds of |du_j / dx_i| on the box.
        slopes: many boxes (N, ns) -> (lower, upper), each (N, nu, ns), of the secant slopes on each; None for a black box.
        whole: (lower, upper) -> (nu,) l2 constants, or None where the columns say it all.
    """

    values: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    columns: Callable[[np.ndarray, np.ndarray], np.ndarray]
    slopes: Slopes | None
    whole: Callable[[np.ndarray, np.ndarray], np.ndarray] | None
    hypotheses: tuple[str, ...]


def source_of(controller: Any) -> Source:
    """The source of a `reach.Controller` (through its graph), a `BlackBox`, or anything with enclose_points and column_constants.

    Raises:
        InputError: the object offers neither.
    """
    graph = getattr(controller, "graph", None)
    hypotheses = tuple(getattr(controller, "hypotheses", ()))
    if graph is not None:
        from certify.constants.local import enclose_points, jacobian_bound, slopes_and_values
        from certify.core.regions import Box

        def slopes(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            _, found = slopes_and_values(graph, lower, upper)
            return found.lower, found.upper

        def columns(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
            j = jacobian_bound(graph, Box(lower, upper))
            return np.maximum(-j.lower, j.upper)

        return Source(lambda x: _halves(*enclose_points(graph, x)), columns, slopes, None, hypotheses)
    if not (hasattr(controller, "enclose_points") and hasattr(controller, "column_constants")):
        raise InputError(
            "this controller cannot be abstracted by its values",
            found=type(controller).__name__,
            expected="a reach.Controller, or reach.BlackBox(f, lipschitz=...)",
        )
    whole = getattr(controller, "l2_constants", None)
    return Source(lambda x: _halves(*controller.enclose_points(x)), controller.column_constants, None, whole, hypotheses)


def _halves(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Midpoints and radii of proved ends; a value that is unbounded or NaN has radius inf."""
    lower, upper = (np.asarray(e, np.float64).reshape(len(e), -1) for e in (lower, upper))
    with np.errstate(all="ignore"):
        mid = 0.5 * lower + 0.5 * upper
        half = np.maximum(upper - mid, mid - lower) * (1 + 8 * U) + 2.0**-1060
        good = np.isfinite(mid) & (half >= 0)
    return np.where(good, mid, 0.0), np.where(good, half, np.inf)
