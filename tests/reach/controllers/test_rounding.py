"""Layers at the level of rounding: sums that cancel, where nothing but the rounding terms stands between the model and the exact rational value."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import reach.controllers.layerwise as layerwise
from certify.core.graph import GraphBuilder
from reach.controllers.controller import Controller
from reach.controllers.layerwise import Layerwise
from reach.sets.polyzonotope import PolynomialZonotope

N = 9


def covers(seed: int, point: bool) -> bool:
    """w x + b with terms of size 1 that cancel to about 1e-16, at a point, or at the corner s = eps = 1 of a set: is the exact value in the model?"""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(N)
    w = rng.standard_normal(N)
    spread = np.zeros(N) if point else 0.1 * rng.standard_normal(N)
    corner = [Fraction(a) + Fraction(s) for a, s in zip(x.tolist(), spread.tolist())]
    bias = -float(sum(Fraction(a) * c for a, c in zip(w.tolist(), corner)))
    b = GraphBuilder()
    graph = b.build(b.add("dense", [b.add("input", attrs={"shape": (N,)})], arrays={"weight": w[None], "bias": np.array([bias])}))
    state = PolynomialZonotope.from_box(x, x, 2)
    if not point:
        state = PolynomialZonotope(state.ring, state.coefficients, spread[:, None])
    model = Layerwise().prepare(Controller(graph).bind(tuple(f"x{i}" for i in range(N)), 1), 2)(state)
    exact = sum((Fraction(a) * c for a, c in zip(w.tolist(), corner)), Fraction(bias))
    middle = Fraction(float(model.coefficients[0, 0])) + sum((Fraction(float(g)) for g in model.generators[0]), Fraction(0))
    return abs(exact - middle) <= Fraction(float(model.box[0]))


@pytest.mark.parametrize("point", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_a_sum_that_cancels_keeps_its_exact_value(seed, point):
    assert covers(seed, point)


def test_without_the_rounding_of_the_products_it_does_not(monkeypatch):
    monkeypatch.setattr(layerwise, "affine_rounding", lambda size, *rest: np.zeros(len(size)))
    assert not all(covers(seed, True) for seed in range(20))
