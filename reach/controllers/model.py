"""ControlModel: what an abstraction says about the control on a set of states; `Abstraction`: who says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..sets.polyzonotope import PolynomialZonotope

if TYPE_CHECKING:
    from .controller import Controller


@dataclass(frozen=True, eq=False)
class ControlModel:
    """For every state x = p(s) + E eps of the set it was made for, the control satisfies v(x) in P(s) + E_v eps +- box, entrywise, with the SAME s and eps.

    Args:
        coefficients: (nu, M) on the ring of the set.
        generators: (nu, m), m the number of the set's symbols.
        box: (nu,) radii >= 0.
        evidence: one record per layer (or per fit), what a checker needs to prove the model again.
    """

    coefficients: np.ndarray
    generators: np.ndarray
    box: np.ndarray
    evidence: tuple[Any, ...] = field(default=(), repr=False)


Prepared = Callable[[PolynomialZonotope], ControlModel]


class Abstraction(Protocol):
    """Frozen settings of a method; `prepare` does what depends on the controller alone and returns the map from sets to models."""

    def prepare(self, controller: Controller, order: int) -> Prepared: ...
