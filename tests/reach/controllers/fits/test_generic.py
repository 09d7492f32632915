"""The generic bound: its lemma on slopes, kinks inside cells, and broken twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.core.activation import activation
from certify.core.errors import CertifyError
from reach.controllers.fits import Fits, generic
from reach.controllers.fits.frame import frames


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=12), st.floats(0.01, 5))
def test_chord_lemma(slopes, h):
    """A piecewise linear function with slopes in [a, b] is within h (b - a) / 4 of its chord."""
    x = np.linspace(0, h, len(slopes) + 1)
    f = np.r_[0.0, np.cumsum(slopes) * h / len(slopes)]
    assert np.abs(f - f[-1] * x / h).max() <= h * (max(slopes) - min(slopes)) / 4 + 1e-12


def test_chord_lemma_is_sharp():
    assert generic.cell_bounds.__doc__ and abs(-1) - 0 == 2 * (1 - -1) / 4  # |x| on [-1, 1]: slopes -1, 1, length 2, deviation 1


def excess(module, kind: str, lower: float, upper: float, p: list[float]) -> float:
    act, (lo, up) = activation(kind), (np.array([lower]), np.array([upper]))
    m, w = frames(lo, up)
    low, high = module.error_range(act, lo, up, m, w, np.array([p]))
    z = np.clip(np.r_[m + w * np.linspace(-1, 1, 40001), 0.0, 3.0, -3.0], lower, upper)
    e = np.polynomial.polynomial.polyval((z - m) / w, np.array(p)) - act.value(z)
    return float(max(e.max() - high[0], low[0] - e.min()))


KINDS = ["gelu", "silu", "elu", "selu", "abs", "hardswish", "softsign", "erf", "mish", "sin", "softplus", "hardtanh"]


@given(st.sampled_from(KINDS), st.floats(-10, 10), st.floats(1e-4, 30), st.lists(st.floats(-3, 3), min_size=2, max_size=9))
def test_hunt(kind, m, w, p):
    assert excess(generic, kind, m - w, m + w, p) <= 1e-12 * (1 + np.abs(p).sum() + abs(m) + w)


def best(kind: str, lower: float, upper: float, degree: int) -> list[float]:
    fits = generic.generic_fits(activation(kind), np.array([lower]), np.array([upper]), degree, "auto")
    assert isinstance(fits, Fits)
    return fits.coefficients[0].tolist()


BROKEN = {
    "chord of curved f": [("chord = h * (s1 - s0) / 4 * (1 + 1e-14)", "chord = 0.0 * h")],
    "curvature": [("h * h * (curvature / 8) * (1 + 1e-14) + TINY", "0.0 * h")],
    "kinks between points, an eighth for a quarter": [("np.array(kinks(activation))[:, None]", "np.zeros((0, 1))"), ("chord = h * (s1 - s0) / 4 *", "chord = h * (s1 - s0) / 8 *")],
    "gap of the polynomial": [("own = step * step / 8 * second_derivative(p, t, step) * (1 + 1e-13)", "own = 0.0 * step")],
    "monotone where it is not": [("plain = (s0 >= 0) | (s1 <= 0)", "plain = s0 > -np.inf")],
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_twins_are_caught(name, broken):
    twin = broken(generic, *BROKEN[name])
    twin.CELLS, twin.LEVELS = 11, 0
    cases = [(k, a, b, [0.0] * d) for k in ("gelu", "silu", "softsign", "elu", "sin") for a, b in ((-3.0, 2.0), (-1.0, 1.3)) for d in (2,)]
    cases += [(k, a, b, best(k, a, b, d)) for k in ("gelu", "silu", "softsign", "abs", "sin") for a, b in ((-3.0, 2.0), (-1.0, 1.3)) for d in (2, 5)]
    cases += [("abs", -1.0, 1.0, [0.9, 0.0])]  # worst at the kink, the middle of one of 11 cells
    assert max(excess(generic, *case) for case in cases) <= 1e-12 < 1e-7 < max(excess(twin, *case) for case in cases)


def test_forgotten_rounding_at_scale_is_caught(broken, violations):
    """At |z| = 1e9 the product 0.01 z is known to 1e-9 only."""
    text = "(relative * np.maximum(np.abs(lower), np.abs(upper)) + absolute) * (1 + 4 * UNIT) + 4 * UNIT * (total + size) + TINY"
    start = "noise = (2 * p.shape[1] * UNIT * total + 2.1 * UNIT * (np.abs(p) @ j)) * (1 + 1e-12)"
    lower, upper = 1e9 + np.arange(8.0), 1e9 + 0.1 + np.arange(8.0)
    act, parameters = activation("leaky_relu", alpha=0.01), {"alpha": 0.01}
    careless = broken(generic, (text, "0.0"), (start, "noise = 0.0 * total"), (" + UNIT * (np.abs(p[:, 0]) + np.abs(middle))", ""))
    for module, sound in ((generic, True), (careless, False)):
        fits = module.generic_fits(act, -upper, -lower, 4, "auto")
        assert bool(violations(act, parameters, -upper, -lower, fits, slopes=False)[0]) is not sound


def test_a_description_with_infinite_values_is_refused():
    act = activation("softplus", beta=1e-320)
    with pytest.raises(CertifyError):
        generic.generic_fits(act, np.array([-1.0]), np.array([1.0]), 3, "auto")
