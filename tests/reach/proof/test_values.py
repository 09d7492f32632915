"""Functions and their Taylor coefficients against ball arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.core.errors import CertificateError
from certify.core.interval import Interval
from reach.proof import univariate, values

flint = pytest.importorskip("flint")
ORDER = 7


@pytest.fixture(autouse=True)
def _precision():
    before = flint.ctx.prec, flint.ctx.cap
    flint.ctx.prec, flint.ctx.cap = 500, ORDER + 1
    yield
    flint.ctx.prec, flint.ctx.cap = before


def outside(x, low: float, high: float) -> bool:
    """Whether the ball is certainly not inside."""
    return bool(x < flint.arb(float(low))) or bool(x > flint.arb(float(high)))


def truth(name: str, x, p: Fraction):
    s = flint.arb_series([x, 1])
    if name == "tanh":
        e = (-2 * s).exp() if x > 0 else (2 * s).exp()
        return (1 - e) / (1 + e) if x > 0 else (e - 1) / (e + 1)
    if name == "power":
        return s ** int(p) if p.denominator == 1 and p > 0 else (s.log() * flint.arb(flint.fmpq(p.numerator, p.denominator))).exp()
    return getattr(s, name)()


NAMES = st.sampled_from(["exp", "log", "sin", "cos", "tanh", "atan", "power"])
WIDTHS = st.sampled_from([0.0, 1e-9, 0.01, 0.4, 3.0])
EXPONENTS = st.sampled_from(["-1", "-3", "1/2", "-1/2", "3/2", "1/3"])


@settings(max_examples=4 * settings.default.max_examples)
@given(NAMES, st.floats(-40, 40), WIDTHS, EXPONENTS)
def test_coefficients_enclose(name, a, width, text):
    p = Fraction(text)
    if name in ("log", "power"):
        a = abs(a) + 0.01
    x = Interval(np.array([a]), np.array([a + width]))
    found = univariate.coefficients(name, x, ORDER, p)
    for t in (0.0, 0.37, 1.0):
        at = flint.arb(float(x.lower[0])) * (1 - flint.arb(t)) + flint.arb(float(x.upper[0])) * flint.arb(t)
        series = truth(name, at, p)
        for i, c in enumerate(found):
            assert not outside(series[i], c.lower[0], c.upper[0]), (name, i)


@given(st.floats(-1e6, 1e6))
def test_sine_and_cosine_are_sharp(x):
    sine, cosine = values.sine_cosine(np.array([x]))
    assert not outside(flint.arb(x).sin(), sine.lower[0], sine.upper[0]) and not outside(flint.arb(x).cos(), cosine.lower[0], cosine.upper[0])
    assert max(sine.width[0], cosine.width[0]) < 1e-14


@given(st.floats(-800, 800), st.floats(0, 5))
def test_logistic_encloses(x, width):
    box = Interval(np.array([x]), np.array([x + width]))
    value, slope = values.logistic(box), values.logistic_slope(box)
    for at in (x, float(box.upper[0]), 0.5 * x + 0.5 * float(box.upper[0])):
        e = (-abs(flint.arb(at))).exp()
        s = e / (1 + e) if at < 0 else 1 / (1 + e)
        assert not outside(s, value.lower[0], value.upper[0]) and not outside(e / (1 + e) ** 2, slope.lower[0], slope.upper[0])


@pytest.mark.parametrize(
    ("name", "low", "high", "p"), [("log", -1.0, 1.0, "1"), ("power", -1.0, 1.0, "-1"), ("power", 0.0, 1.0, "1/2"), ("exp", 0.0, np.inf, "1"), ("gamma", 1.0, 2.0, "1")]
)
def test_undefined_is_refused(name, low, high, p):
    with pytest.raises(CertificateError):
        univariate.coefficients(name, Interval(np.array([low]), np.array([high])), 2, Fraction(p))
