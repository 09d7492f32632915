"""A Bernstein form on a state model: the polynomial part by composition, the deviation by the mean value theorem."""

from __future__ import annotations

from typing import Any

import numpy as np

from certify.core.rounding import U

from ..sets.polyzonotope import PolynomialZonotope, row_sums
from .bernstein_error import GROW
from .bernstein_form import Tensor
from .bernstein_source import Domain
from .model import ControlModel


def composed(state: PolynomialZonotope, domain: Domain, form: Tensor, shift: np.ndarray, radius: np.ndarray, record: Any) -> ControlModel:
    """B(t(x)) + shift +- radius on the state's own s and eps: t = T(s) + (E / h) eps, B(T + d) in B(T) + [dB/dt] d."""
    r, active = state.ring, domain.active
    h = domain.radius[active]
    X = state.coefficients[active].copy()
    X[:, 0] -= domain.centre[active]
    X /= h[:, None]
    rest = (4e-16 * (1 + (r.size + 2) * U)) * np.abs(X).sum(axis=1) + 1e-290
    P, lost = form.compose(r, X, rest)
    lower, upper = form.slopes
    mid = 0.5 * lower + 0.5 * upper
    bend = np.maximum(upper - mid, mid - lower)
    E = state.generators[active]
    slope = mid / h
    spread = row_sums(E)
    size = np.abs(slope) @ spread
    P[:, 0] += shift
    box = (radius + lost + (bend / h) @ spread + (len(active) + 6) * 2 * U * size + 4 * U * (np.abs(P[:, 0]) + np.abs(shift))) * GROW + 1e-290
    return ControlModel(P, slope @ E, box, (record,))
