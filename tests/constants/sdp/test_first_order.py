"""The gradient search: its value is what the proof confirms, never worse than where it started, the same in every run."""

from __future__ import annotations

import numpy as np
import pytest
from constants.sdp.small_chains import chain, random_chain, scalar
from strategies.semidefinite import net

from certify.constants.sdp import layers
from certify.constants.sdp.chain import chain_of
from certify.constants.sdp.first_order import first_order
from certify.constants.sdp.recursion import closed_form, value
from certify.constants.sdp.solve import solve

NAMES = ["relu", "residual", "maxmin", "groupsort", "softmax"]


@pytest.mark.parametrize("name", NAMES)
def test_the_value_is_proved(name):
    small, _ = chain_of(net(name)).reduced()
    found = first_order(small, 25)
    proved = layers.prove(small, found.us, exponents=found.exponents)
    bound = layers.whole_bound(proved.metrics[-1], small.last)
    assert found.value * (1 - 1e-9) <= bound <= found.value * (1 + 1e-6)
    assert all(u.shape == (layer.groups,) and (u > 0).all() for u, layer in zip(found.us, small.layers, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_never_worse_than_the_start_nor_better_than_the_optimum(name):
    small, _ = chain_of(net(name)).reduced()
    us, exponents, _ = closed_form(small)
    start, end = value(small, us, exponents), first_order(small, 40).value
    assert solve(small).bound * (1 - 1e-5) <= end <= start * (1 + 1e-12)
    if name == "relu":
        assert end < 0.999 * start


def test_every_number_of_steps_has_an_answer():
    small, _ = chain_of(net("relu")).reduced()
    values = [first_order(small, steps).value for steps in (0, 1, 2, 10)]
    assert values[0] == pytest.approx(values[1], rel=1e-9) and min(values) > 0 and max(values) <= values[0] * (1 + 1e-12)
    assert first_order(small, 10, seconds=1e-9).steps <= 1


def test_the_same_in_every_run():
    small, _ = chain_of(net("extremes")).reduced()
    a, b = first_order(small, 10), first_order(small, 10)
    assert a.value == b.value and a.exponents == b.exponents and all((u == v).all() for u, v in zip(a.us, b.us, strict=True))


def test_fifty_layers():
    rng = np.random.default_rng(0)
    small, _ = chain([scalar(rng.normal(size=(4, 4)) * 30, np.eye(4)) for _ in range(50)], np.eye(4)).reduced()
    found = first_order(small, 2)
    assert 0 < found.value < np.inf and sum(found.exponents) < -100
    assert layers.whole_bound(layers.prove(small, found.us, exponents=found.exponents).metrics[-1], small.last) == pytest.approx(found.value, rel=1e-5)


def test_random_chains_and_progress():
    rng, seen = np.random.default_rng(1), []
    for _ in range(5):
        small, _ = random_chain(rng, 2).reduced()
        if small.layers:
            us, exponents, _ = closed_form(small)
            found = first_order(small, 4, progress=lambda *a: seen.append(a))
            assert found.value <= value(small, us, exponents) * (1 + 1e-9)
    assert seen[:2] == [(0, 4, "semidefinite bound, first order"), (1, 4, "semidefinite bound, first order")]
