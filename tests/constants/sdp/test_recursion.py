"""The recursion in floats: its metrics hold what the layers allow, its closed forms are feasible, scaling changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from constants.sdp.small_chains import chain, floor, random_chain, scalar

from certify.constants.sdp.recursion import absolute, advance, closed_form, exponent, feasible, gram, top, value


def live_chain(rng: np.random.Generator, depth: int = 2):
    while True:
        small, _ = random_chain(rng, depth).reduced()
        if small.layers:
            return small


def test_one_dimension_is_sharp():
    """relu behind relu, weights 1: u = r^2 2, S stays 1."""
    c = chain([scalar([[1.0]], [[1.0]])] * 3, [[1.0]])
    us, exponents, metric = closed_form(c)
    assert [u.tolist() for u in us] == [[0.5]] * 3 and exponents == [0] * 3 and metric == [[1.0]]
    assert value(c, us, exponents) == 1.0


def test_one_step_contains_what_a_layer_can_do():
    """(c'ds+)^2 <= c'S+c for ds in the ellipsoid of S and any psi within its groups (Theorem 1)."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        layer = live_chain(rng, 1).layers[0]
        n = layer.weight.shape[1]
        root = rng.normal(size=(n, n))
        metric = root @ root.T
        u = feasible(layer, gram(layer, metric), 10.0 ** rng.uniform(-3, 3, layer.groups))
        following = advance(layer, metric, u)
        assert (following == following.T).all()
        w = rng.normal(size=(200, n))
        ds = (w / np.linalg.norm(w, axis=1)[:, None]) @ root.T
        dz = ds @ layer.weight.mid.T
        psi = rng.choice([-1.0, 0.3, 1.0], size=(200, layer.inject.shape[1]))
        if layer.inside is None:
            psi = psi * np.abs(layer.half * dz)
        else:
            for g in range(layer.groups):
                i, o = layer.inside == g, layer.outside == g
                psi[:, o] *= (np.linalg.norm((layer.half * dz)[:, i], axis=1) / np.linalg.norm(psi[:, o], axis=1))[:, None]
        after = ds @ layer.through().mid.T + psi @ layer.inject.mid.T
        for c in [*rng.normal(size=(20, after.shape[1])), *np.linalg.pinv(following) @ after[:20].T @ np.eye(20)]:
            c = c if c.shape == (after.shape[1],) else rng.normal(size=after.shape[1])
            assert (np.square(after @ c) <= (c @ following @ c) * (1 + 1e-9) + 1e-12).all()


def test_values_lie_above_what_the_chain_can_do():
    rng = np.random.default_rng(1)
    for _ in range(30):
        c = live_chain(rng, int(rng.integers(1, 4)))
        for uniform in (False, True):
            us, exponents, _ = closed_form(c, uniform)
            assert value(c, us, exponents) >= floor(c, rng) * (1 - 1e-9)


def test_any_multipliers_become_feasible():
    rng = np.random.default_rng(2)
    for _ in range(20):
        layer = live_chain(rng, 1).layers[0]
        metric = np.eye(layer.weight.shape[1])
        scaled = gram(layer, metric)
        u = feasible(layer, scaled, 10.0 ** rng.uniform(-6, 6, layer.groups))
        assert np.linalg.eigvalsh(np.diag(layer.spread(u)[0]) - scaled)[0] > 0
        assert (feasible(layer, scaled, 4 * u) == 4 * u).all()


def test_scaling_by_powers_of_two_changes_nothing():
    rng = np.random.default_rng(3)
    c = random_chain(rng, 3, scale=2.0**40, groups=False)
    while not c.reduced()[0].layers:
        c = random_chain(rng, 3, scale=2.0**40, groups=False)
    c = c.reduced()[0]
    us, exponents, metric = closed_form(c)
    plain = absolute(us, exponents)
    assert any(exponents) and value(c, plain, [0] * len(plain)) == pytest.approx(value(c, us, exponents), rel=1e-9)
    last = c.last.mid
    assert value(c, us, exponents) == pytest.approx(np.sqrt(top(last @ metric @ last.T)) * 2.0 ** -sum(exponents), rel=1e-12)


def test_exponents():
    for scale in (1.0, 3.9, 4.0, 0.24, 1e-200, 1e200):
        k = exponent(np.eye(3) * scale)
        assert 1.0 <= scale * 4.0**k < 4.0
    assert exponent(np.zeros((2, 2))) == 0 and exponent(np.array([[np.inf]])) == 0 and exponent(np.zeros((0, 0))) == 0


def test_top():
    assert top(np.zeros((0, 0))) == 0.0 and top(np.diag([1.0, 3.0, -9.0])) == pytest.approx(3.0)
