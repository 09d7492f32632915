"""Broken arithmetic must be seen by the tests of the arithmetic: each mutant here drops one term of a proof."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from certify.core.interval import Interval
from reach.proof import monomials, plant, taylor
from reach.proof.transition import Transition

pytest.importorskip("flint")
from . import test_monomials, test_plant, test_transition

COEFFICIENTS, PRODUCT, MULTIPLY, TRANSITION = taylor.coefficients, monomials.product, taylor.multiply, test_transition.transition


def _no_lagrange(name, x, order, exponent=None):
    out = COEFFICIENTS(name, x, order, exponent)
    if (x.lower != x.upper).any():
        out[-1] = Interval.point(np.zeros(x.shape))
    return out


def _no_radii(a, b):
    return MULTIPLY(taylor.Model(a.table, a.c, 0 * a.r), taylor.Model(b.table, b.c, 0 * b.r))


def _half_product_rule(self, a, b):
    return plant.Slope(a.value * b.value, plant._times(a.value, b.slope))


def _no_radius(a, r):
    found = TRANSITION(a, r)
    return Transition(found.middle, 1e-3 * found.radius, found.majorant)


def _small_majorant(a, r):
    found = TRANSITION(a, 0 * r)
    return Transition(found.middle, found.radius, np.abs(found.middle))


def _seeds(test: Callable, *arguments) -> None:
    """A Hypothesis test's body on many seeds."""
    for seed in range(25):
        test.hypothesis.inner_test(*arguments, seed)


def _exponential_of_a_line() -> None:
    """In a ring of order 1 nothing is cut off by products: Lagrange's remainder is all there is."""
    t = monomials.monomials(1, 1)
    made = taylor.compose(taylor.Model(t, np.array([[0.3], [0.5]]), np.zeros(1)), "exp")
    for s in (-1.0, 0.0, 1.0):
        assert abs(np.exp(0.3 + 0.5 * s) - (made.c[0, 0] + made.c[1, 0] * s)) <= made.r[0]


MUTANTS = {
    "truncation": (monomials, "product", lambda t, a, b: (PRODUCT(t, a, b)[0], 1e-14 * PRODUCT(t, a, b)[1]), lambda: _seeds(test_monomials.test_product_encloses, 2, 3, True)),
    "Lagrange": (taylor, "coefficients", _no_lagrange, _exponential_of_a_line),
    "remainders": (taylor, "multiply", _no_radii, lambda: _seeds(test_plant.test_models_contain_the_formula, "x**5 - y**4 + x*y*x*y")),
    "product rule": (plant.Forward, "multiply", _half_product_rule, lambda: _seeds(test_plant.test_derivatives_contain_the_formulas, "0.1*x*y**2 - x/3 + 2")),
    "Peano-Baker": (test_transition, "transition", _no_radius, lambda: _seeds(test_transition.test_switching_systems_are_enclosed, 3, 1.0, 0.3)),
    "majorant": (test_transition, "transition", _small_majorant, lambda: _seeds(test_transition.test_constant_matrices_are_sharp_and_enclosed, 3, 2.0)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_broken_arithmetic_is_caught(mutant, monkeypatch):
    module, name, broken, run = MUTANTS[mutant]
    run()  # the right one passes
    monkeypatch.setattr(module, name, broken)
    with pytest.raises(AssertionError):
        run()
