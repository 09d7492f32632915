"""Sums of hinges: broken twins, and the pieces of hardswish."""

from __future__ import annotations

import numpy as np
import pytest

from certify.core.activation import activation
from reach.controllers.fits import Fits, piecewise


def fits_of(module, kind, parameters, lower, upper, degree=4):
    act = activation(kind, **parameters)
    return act, module.piecewise_fits(act, np.array(lower), np.array(upper), degree, "auto")


CASES = [("leaky_relu", {"alpha": 0.01}), ("leaky_relu", {"alpha": -3.3})]
CASES += [("hardtanh", {"min": -1.0, "max": 1.0}), ("hardsigmoid", {}), ("softshrink", {"lambda": 0.3}), ("abs", {})]
LOWER, UPPER = [-1.0, -2.0, 0.7, -1e9, -0.4, 3e8, -4.0], [1.0, 0.1, 1.2, -1e9 + 1.3, 0.9, 3e8 + 1.1, 5.0]

BROKEN = {
    "rounding at scale": ("error = (error + (len(breaks) + 4) * UNIT * size) * (1 + 1e-14)", "error = error * (1 + 1e-14)"),
    "errors of one hinge only": ("error = error + np.abs(jump) * bound", "error = np.maximum(error, np.abs(jump) * bound)"),
    "sign of the jump": ("_middle(low1 - high0, high1 - low0)", "_middle(high0 - low1, low0 - high1)"),
    "slope of a sixth taken as exact": (", np.where(r > 0, np.nextafter(r, np.inf), 0.0)", ", np.zeros_like(r) - 1e-17"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_twins_are_caught(name, broken, violations):
    twin, seen = broken(piecewise, BROKEN[name]), 0
    twin.generic_fits = lambda *a: Fits(*(np.full((len(a[1]), 5), np.inf) if i == 2 else np.full(len(a[1]), np.inf) for i in range(6)))  # no second opinion
    for kind, parameters in CASES:
        act, honest = fits_of(piecewise, kind, parameters, LOWER, UPPER)
        assert not violations(act, parameters, LOWER, UPPER, honest, slopes=False)[0]
        act, false = fits_of(twin, kind, parameters, LOWER, UPPER)
        seen += len(violations(act, parameters, LOWER, UPPER, false, slopes=False)[0])
    assert seen


def test_hardswish_pieces(violations):
    act, lower, upper = activation("hardswish"), [-9.0, 3.0, -3.0, -2.5, -3.0, -4.0, 2.0], [-3.0, 8.0, 3.0, 1.0, -3.0, 4.0, 3.5]
    fits = piecewise.hardswish_fits(act, np.array(lower), np.array(upper), 4, "auto")
    assert not violations(act, {}, lower, upper, fits)[0]
    assert fits.error[:2].tolist() == [0.0, 0.0] and (fits.error[2:5] < 1e-14).all() and (fits.error[5:] > 1e-3).all()
    line = piecewise.hardswish_fits(act, np.array(lower), np.array(upper), 1, "auto")
    assert not violations(act, {}, lower, upper, line)[0] and line.error[2] > 0.1
