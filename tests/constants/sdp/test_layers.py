"""Metrics verified layer by layer: above everything that runs of a network do to its states; broken versions are caught."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from constants.sdp.mutants import mutant
from constants.sdp.small_chains import chain, floor, random_chain, scalar
from constants.sdp.truth_of_chain import chain_or_none, truth_of
from hypothesis import given
from hypothesis import strategies as st
from strategies.networks import random_graph
from strategies.semidefinite import NETS, net

from certify.constants.sdp import layers
from certify.constants.sdp.chain import chain_of
from certify.constants.sdp.recursion import ROOM, closed_form
from certify.core.errors import HypothesisError, InputError
from certify.core.midrad import MidRad, full


def proved(c, us=None, module=layers, room=ROOM):
    """Metrics of the whole chain from the closed form, or from `us` of the live groups."""
    small, alive = c.reduced()
    found, exponents, _ = closed_form(small)
    given_us, given_exponents, wide = iter(found if us is None else us), iter(exponents), []
    for layer, live in zip(c.layers, alive, strict=True):
        wide.append(np.zeros(layer.groups))
        if live.any():
            wide[-1][live] = next(given_us)
    return module.prove(c, wide, room, [next(given_exponents) if live.any() else 0 for live in alive])


def metric_holds(metric, ds: np.ndarray, size: np.ndarray, room: float, rng: np.random.Generator) -> bool:
    """|c'ds| <= 2^e sqrt(c'Sc) |dx_0| for random c, and for the c that each ds likes least."""
    s = metric.matrix
    worst = np.linalg.lstsq(s + 1e-13 * np.trace(s) * np.eye(len(s)), ds.T, rcond=None)[0].T
    worst = worst / np.maximum(np.linalg.norm(worst, axis=1), 1e-300)[:, None]
    for c in (rng.normal(size=ds.shape), worst):
        left = np.abs(np.einsum("ni,ni->n", c, ds)) - room * np.abs(c).sum(axis=1)
        right = np.ldexp(np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", c, s, c), 0.0)), metric.exponent) * size
        if not (left <= right * (1 + 1e-9)).all():
            return False
    return True


def states_hold(graph, seed: int) -> bool | None:
    c = chain_or_none(graph)
    if c is None or not c.reduced()[0].layers:
        return None
    t, rng = truth_of(graph, seed), np.random.default_rng(seed)
    try:
        found = proved(c)
    except HypothesisError:
        return None
    assert found.metrics[0].exponent == 0 and (found.metrics[0].matrix == np.eye(c.input_size)).all()
    room = 100 * t.room
    if not all(metric_holds(m, t.stacked(state), t.inputs, room, rng) for m, state in zip(found.metrics[1:], c.states, strict=True)):
        return False
    y, last = t.d[t.parts.output], found.metrics[-1]
    table = layers.pair_table(last, c.last)
    whole = layers.whole_bound(last, c.last)
    for i, j in itertools.combinations(range(min(4, y.shape[1])), 2):
        row = np.zeros((1, y.shape[1]))
        row[0, i], row[0, j] = 1.0, -1.0
        one = layers.row_bound(last, c.towards(row).last)
        assert (np.abs(y[:, i] - y[:, j]) - room <= min(one, table[i, j]) * t.inputs).all() and table[i, j] == table[j, i]
        assert min(one, table[i, j]) <= math.sqrt(2) * whole * (1 + 1e-6)
        scale = max(layers.row_bound(last, c.towards(abs(row)[:, :]).last), one)
        assert abs(one - table[i, j]) <= 1e-6 * scale + 1e-6 * max(np.abs(table).max(), whole) + 1e-100
    assert (np.diag(table) == 0).all()
    return bool((np.linalg.norm(y, axis=1) - room <= whole * t.inputs).all())


@given(st.integers(0, 2**32 - 1))
def test_metrics_of_random_networks(seed):
    assert states_hold(random_graph(np.random.default_rng(seed), scale=1.0), seed) is not False


def test_most_random_networks_are_proved():
    rng = np.random.default_rng(6)
    found = [states_hold(random_graph(rng, scale=1.0), seed) for seed in range(15)]
    assert found.count(True) >= 8 and found.count(False) == 0


@pytest.mark.parametrize("name", sorted(NETS))
def test_metrics_of_every_kind_of_block(name):
    assert states_hold(net(name), 3)


def test_bounds_lie_above_what_the_chain_can_do():
    rng = np.random.default_rng(4)
    for seed in range(20):
        c = random_chain(rng, depth=1 + seed % 3, radius=bool(seed % 2))
        if c.reduced()[0].layers:
            us = None if seed % 3 else [10.0 ** rng.uniform(-4, 4, layer.groups) for layer in c.reduced()[0].layers]  # any multipliers are repaired
            found = proved(c, us, room=1e-3)  # weights known to 1e-9 alone need room
            assert layers.whole_bound(found.metrics[-1], c.last) >= floor(c, rng) * (1 - 1e-8)


@pytest.mark.parametrize("scale", [3.0, 1e-3, 1e3])
def test_fifty_layers_do_not_overflow(scale):
    rng = np.random.default_rng(0)
    c = chain([scalar(rng.normal(size=(6, 6)) * scale, np.eye(6)) for _ in range(50)], np.eye(6))
    found = proved(c)
    bound = layers.whole_bound(found.metrics[-1], c.last)
    assert 0 < bound < math.inf and sum(found.exponents) == -found.metrics[-1].exponent
    state = np.eye(6)  # slopes 1 everywhere are allowed
    for layer in c.layers:
        state = layer.weight.mid @ state
    assert bound >= np.linalg.norm(state, 2) and all(np.isfinite(m.matrix).all() for m in found.metrics)


def test_nothing_is_proved_from_numbers_beyond_floats():
    c = chain([scalar([[1e200]], [[1e200]]), scalar([[1e200]], [[1.0]])], [[1.0]])
    with np.errstate(all="ignore"), pytest.raises((HypothesisError, np.linalg.LinAlgError, ValueError, OverflowError)):
        found = proved(c)
        assert layers.whole_bound(found.metrics[-1], c.last) == math.inf
        raise HypothesisError("infinite")


RELU = scalar([[1.0]], [[1.0]])  # S = 1, u = 1: Q = 3, K = 1/2, S+ >= (1 + 1/3)/4 + 1 = 4/3
SKIP = scalar([[1.0]], [[1.0]], keep=[[1.0]])  # K = 3/2: S+ >= 9/4 (4/3) + 1 = 4
ONE = np.ones((1, 1))


def step(module, layer, candidate: float, u: float = 1.0):
    return module.proved_step(layer, ONE, np.array([u]), candidate * ONE)[0]


def test_one_step_against_the_exact_smallest_metric():
    for layer, least in ((RELU, Fraction(4, 3)), (SKIP, Fraction(4))):
        for share in (1e-9, 1e-6, 1e-4, 1e-2, 1.0):
            metric = step(layers, layer, float(least) * (1 + share))
            assert metric is not None and Fraction(float(metric[0, 0])) >= least
        for share in (-1e-13, -1e-9, -1e-6):  # delta makes up for it
            metric = step(layers, layer, float(least) * (1 + share))
            assert metric is not None and Fraction(float(metric[0, 0])) >= least
        for share in (0.5, 0.9, 0.99):
            assert step(layers, layer, float(least) * share) is None
    assert step(layers, RELU, 100.0, u=0.25) is None and step(layers, RELU, 100.0, u=0.2) is None  # Q = 0, Q < 0
    with pytest.raises(InputError):
        step(layers, RELU, math.nan)


STEPS = {
    "K = H only": ("k, w, g = layer.through(),", "k, w, g = layer.keep or MidRad(np.zeros((len(layer.inject.mid), layer.weight.shape[1]))),", RELU, 1.001),
    "K without H": ("k, w, g = layer.through(),", "k, w, g = layer.inject @ layer.weight.rows(layer.middle),", SKIP, 1.4),
    "U forgotten": ("self.rest = full(y.mid) + full(z.mid)", "self.rest = full(y.mid)", RELU, 0.34),
    "correction forgotten": ("self.side, self.side_radius = full(x.mid),", "self.side, self.side_radius = 0 * full(x.mid),", RELU, 1.26),
    "r forgotten in Q": ("layer.weight.rows(layer.half)", "layer.weight.rows(0.1 * layer.half)", RELU, 1.26),
    "K S K' forgotten": ("self.rest = full(y.mid) + full(z.mid)", "self.rest = full(z.mid)", RELU, 1.1),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_broken_steps_are_caught(name):
    old, new, layer, candidate = STEPS[name]
    assert step(layers, layer, candidate) is None
    assert step(mutant(layers, (old, new)), layer, candidate) is not None, "the mutant no longer proves what is false: adapt it"


def test_a_negative_delta_is_caught():
    broken, least = mutant(layers, ("return candidate + np.diag(delta", "return candidate - np.diag(delta")), Fraction(4, 3)
    found = [step(broken, RELU, float(least) * (1 + share)) for share in (2e-12, 5e-12, 2e-11)]
    assert any(m is not None and Fraction(float(m[0, 0])) < least for m in found)
    assert all(Fraction(float(step(layers, RELU, float(least) * (1 + share))[0, 0])) >= least for share in (2e-12, 5e-12, 2e-11))


@pytest.mark.parametrize("change", [("metric.exponent - k", "metric.exponent + k"), ("metric.exponent - k", "metric.exponent"), ("_scaled(following, k)", "following")])
def test_broken_exponents_are_caught(change):
    ends = []
    for scale in (9.0, 1 / 9):
        c = chain([scalar([[scale]], [[1.0]])] * 3, [[1.0]])
        found = proved(c, module=mutant(layers, change))
        ends.append(layers.row_bound(found.metrics[-1], c.last) >= scale**3)
        assert layers.row_bound(proved(c).metrics[-1], c.last) >= scale**3
    assert not all(ends) or change[1] == "following"


def test_radii_of_the_weights_reach_the_bound():
    """A weight in 1 +- 2^-13: the bound is above 1 + 2^-13, whichever matrix holds it."""
    radius = 2.0**-13 * ONE
    for weight, inject in itertools.product((None, radius), repeat=2):
        layer = type(RELU)(MidRad(ONE, weight), MidRad(ONE, inject), None, np.zeros(1), np.ones(1))
        found = layers.prove(chain([layer], [[1.0]]), [np.array([0.5])], 1e-2)
        truth = Fraction(1 + 2.0**-13) ** sum(r is not None for r in (weight, inject))
        assert Fraction(layers.row_bound(found.metrics[-1], MidRad(ONE))) >= truth
    start = layers.Metric(ONE, 0)
    assert layers.row_bound(start, MidRad(ONE, 0.5 * ONE)) >= 1.5 and layers.whole_bound(start, MidRad(ONE, 0.5 * ONE)) >= 1.5
    assert layers.pair_table(start, MidRad(np.array([[1.0], [0.0]]), np.array([[0.5], [0.0]])))[0, 1] >= 1.5


def test_scaling_a_metric_never_makes_it_smaller():
    """Entries that leave the normal range are made up for on the diagonal."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    metric = root @ root.T + np.eye(4)
    for k in (-300, -530, -520, -533, 3, 0):
        scaled = layers._scaled(metric, k)
        difference = [[Fraction(float(a)) * Fraction(4) ** -k - Fraction(float(b)) for a, b in zip(x, y)] for x, y in zip(scaled, metric)]
        assert all(difference[i][i] >= sum(abs(difference[i][j]) for j in range(4) if j != i) for i in range(4))


def test_equal_rows_and_long_tables():
    metric = layers.Metric(np.eye(3), 5)
    rows = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    table = layers.pair_table(metric, MidRad(rows))
    assert 0 <= table[0, 1] <= 1e-5 * 32 and 32 * math.sqrt(14) <= table[0, 2] <= 32 * math.sqrt(14) * (1 + 1e-12)
    assert (layers.pair_table(metric, MidRad(rows), 1.5) >= 1.5 * table * (1 - 1e-12)).all()


def test_the_proof_is_deterministic_and_states_its_exponents():
    c = chain_of(net("extremes"))
    a, b = proved(c), proved(c)
    assert all((x.matrix == y.matrix).all() and x.exponent == y.exponent for x, y in zip(a.metrics, b.metrics)) and a.deltas == b.deltas
    assert all((m.matrix == m.matrix.T).all() for m in a.metrics) and all(d > 0 for d in a.deltas)
    assert full(c.last.mid).shape[1] == len(a.metrics[-1].matrix)
