"""The checker's table of activations against mpmath: every slope is an upper end and attained to 1e-12, every value within its error."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from strategies.activations import CASES, IDS, INSTANCES, REFUSED
from truth.activations import exact_quotient, exact_value

from certify.core.activation import KINDS, activation
from certify.core.errors import CertificateError
from certify.core.graph import Node
from certify.proof.slopes import _LEAST, increasing, slope, slope_range
from certify.proof.values import KINDS as VALUES
from certify.proof.values import value_of

cases = pytest.mark.parametrize(("kind", "parameters"), CASES, ids=IDS)


def node_of(kind: str, parameters: dict) -> Node:
    attrs = {k: v for k, v in parameters.items() if k != "slope"}
    return Node("act", "activation", ("x",), (1,), {"kind": kind, **attrs}, {"slope": parameters["slope"]} if "slope" in parameters else {})


def test_the_checker_knows_every_activation():
    assert VALUES == set(KINDS) == set(INSTANCES)


def _scale(kind: str, parameters: dict) -> float:
    """Where the function bends."""
    return float(parameters["alpha"]) if kind == "celu" else 1 / abs(float(parameters["beta"])) if kind == "softplus" else 1.0


@cases
def test_slopes_bound_every_quotient_and_are_attained(kind, parameters):
    """Quotients of near pairs on a dense grid around every critical point, in 80 digits."""
    most = slope(node_of(kind, parameters))
    assert most <= Fraction(activation(kind, **parameters).lipschitz()) * (1 + Fraction(1, 10**12))
    worst, scale = mpf(0), _scale(kind, parameters)
    critical = [math.sqrt(2), math.pi / 2, 1.41850400879082835, 2.39935728051546767, 1.49057117945428545, 2.2563763963607931, 1.4097281319127097, 1e-9, 40.0, 700.0]
    for x in [*np.linspace(-6, 6, 241), *critical, *np.negative(critical)]:
        for step in (1e-7, -1e-7, 0.5):
            quotient = abs(exact_quotient(kind, parameters, float(x) * scale, float(x) * scale + step * scale))
            with mp.workdps(60):
                assert quotient <= mpf(most.numerator) / most.denominator * (1 + mpf(10) ** -50)
            worst = max(worst, quotient)
    assert worst >= float(most) * (1 - 1e-6)


@cases
def test_slope_ranges_hold_every_quotient_and_both_ends_are_attained(kind, parameters):
    """Signed quotients on a dense grid around every critical point, in 80 digits; outward within one float."""
    lo, hi = (float(end[0]) for end in slope_range(node_of(kind, parameters)))
    scale, least, most = _scale(kind, parameters), mpf("inf"), mpf("-inf")
    critical = [
        math.sqrt(2),
        math.pi / 2,
        1.41850400879082835,
        2.39935728051546767,
        2.39935728051546767 / 1.702,
        2.2563763963607931,
        1.49057117945428545,
        1e-9,
        2.9,
        math.pi,
        40.0,
        700.0,
    ]
    for x in [*np.linspace(-6, 6, 61), *critical, *np.negative(critical)]:
        for step in (1e-7, -1e-7, 0.5):
            quotient = exact_quotient(kind, parameters, float(x) * scale, float(x) * scale + step * scale)
            with mp.workdps(60):
                assert mpf(lo) - mpf(10) ** -50 <= quotient <= mpf(hi) * (1 + mpf(10) ** -50)
            least, most = min(least, quotient), max(most, quotient)
    assert least <= lo + 3e-6 and most >= hi - 1e-6 * abs(hi)
    assert max(abs(lo), abs(hi)) >= float(slope(node_of(kind, parameters))) * (1 - 2.0**-52)


def test_slope_ranges_are_of_the_nodes_shape():
    node = Node("act", "activation", ("x",), (2, 3), {"kind": "prelu"}, {"slope": np.array([[0.5], [-2.0]])})
    lo, hi = slope_range(node)
    assert lo.tolist() == [[0.5] * 3, [-2.0] * 3] and hi.tolist() == [[1.0] * 3] * 2
    free = Node("act", "activation", ("x",), (2,), {"kind": "hardtanh", "min": -math.inf, "max": math.inf})
    assert [end.tolist() for end in slope_range(free)] == [[1.0, 1.0]] * 2


def test_the_least_slope_of_mish_to_thirty_digits():
    with mp.workdps(60):
        mish = lambda x: x * mp.tanh(mp.log1p(mp.exp(x)))  # noqa: E731
        at = mp.findroot(lambda t: mp.diff(mish, t, 2), mpf("-2.2563763963607931"))
        stored = mpf(_LEAST["mish"].numerator) / _LEAST["mish"].denominator
        assert 0 <= mp.diff(mish, at) - stored <= mpf(10) ** -28


@cases
@given(data=st.data())
@settings(max_examples=max(5, settings.default.max_examples // 4))
def test_values_are_within_their_errors(kind, parameters, data):
    function, relative, absolute = value_of(node_of(kind, parameters))
    strategy = st.one_of(st.floats(-10, 10), st.floats(-800, 800), st.floats(allow_nan=False, allow_infinity=False, width=64).filter(lambda v: abs(v) < 1e200))
    for x in data.draw(st.lists(strategy, min_size=1, max_size=8)):
        if kind in ("sin", "cos") and abs(x) > 1e6:
            continue  # the reference needs more digits
        with np.errstate(all="ignore"):
            computed = float(function(np.array([x]))[0])
        with mp.workdps(60):
            assert abs(mpf(computed) - exact_value(kind, parameters, x)) <= mpf(relative) * abs(mpf(x)) + mpf(absolute), x


@cases
def test_increasing_functions_are_increasing(kind, parameters):
    if increasing(node_of(kind, parameters)):
        values = [exact_value(kind, parameters, x) for x in np.linspace(-4, 4, 301) * _scale(kind, parameters)]
        assert all(a < b for a, b in zip(values, values[1:]))


@pytest.mark.parametrize(("kind", "parameters"), [r for r in REFUSED if r != ("prelu", {})])
def test_what_has_no_slope_is_refused(kind, parameters):
    with pytest.raises(CertificateError):
        slope(node_of(kind, parameters))
