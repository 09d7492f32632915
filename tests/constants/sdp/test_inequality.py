"""One matrix inequality: the enclosed matrix against exact rationals, and no bound below what slopes of the chain can do; broken versions are caught."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from constants.sdp.mutants import mutant
from constants.sdp.small_chains import chain, encloses, exact_inequality, floor, random_chain, rational, scalar
from constants.sdp.truth_of_chain import chain_or_none, truth_of
from hypothesis import given
from hypothesis import strategies as st
from strategies.networks import random_graph

from certify.constants.sdp import inequality
from certify.constants.sdp.recursion import absolute, closed_form, value
from certify.constants.sdp.solve import Inequality, solve
from certify.core.errors import HypothesisError, InputError
from certify.core.midrad import MidRad, full


def multipliers(rng: np.random.Generator, c, spread: float = 2.0) -> list[np.ndarray]:
    return [10.0 ** rng.uniform(-spread, spread, layer.groups) * (rng.random(layer.groups) < 0.9) for layer in c.layers]


def enclosure_holds(module, seed: int) -> bool:
    rng = np.random.default_rng(seed)
    c = random_chain(rng, depth=int(rng.integers(1, 4)), radius=bool(seed % 2), scale=float(rng.choice([1.0, 1e3, 1e-5])))
    taus = multipliers(rng, c)
    mid, rad = module.matrix(c, taus)

    def member(a: MidRad) -> np.ndarray:
        signs = rng.choice([-1, 1], size=a.shape).astype(object)
        return rational(full(a.mid)) + signs * rational(a.radius())

    return bool((mid == mid.T).all()) and encloses(mid, rad, exact_inequality(c, taus)) and encloses(mid, rad, exact_inequality(c, taus, member))


@given(st.integers(0, 2**32 - 1))
def test_the_matrix_encloses_the_exact_one(seed):
    assert enclosure_holds(inequality, seed)


def test_the_radius_is_small():
    rng = np.random.default_rng(1)
    c = random_chain(rng, 2, scale=1.0)
    mid, rad = inequality.matrix(c, multipliers(rng, c))
    assert rad.max() <= 1e-12 * (1 + np.abs(mid).max())


def below_the_floor(module, seed: int) -> bool:
    """Whether some multipliers "prove" a bound below what slopes of the chain reach."""
    rng = np.random.default_rng(seed)
    c = random_chain(rng, depth=int(rng.integers(1, 4)))
    truth = floor(c, rng)
    if not truth > 1e-6:
        return False
    choices = [[t * truth**2 * 0.5 for t in multipliers(rng, c)] for _ in range(3)]
    small, alive = c.reduced()
    if small.layers:
        us, exponents, _ = closed_form(small)
        taus = [truth**2 / u for u in absolute(us, exponents)]
        choices += [_widened(c, alive, [factor * t for t in taus]) for factor in (1.0, 1.3, 3.0)]
        try:
            found = solve(c)
            assert found.bound >= truth * (1 - 1e-9)
            choices += [found.taus, [t * 0.998 for t in found.taus]] if isinstance(found, Inequality) else []
        except HypothesisError:
            pass
    return any(module.least(c, [truth * share], taus) is not None for taus in choices for share in (0.999, 0.8))


def _widened(c, alive, values):
    given, wide = iter(values), []
    for layer, live in zip(c.layers, alive, strict=True):
        wide.append(np.zeros(layer.groups))
        if live.any():
            wide[-1][live] = next(given)
    return wide


def test_nothing_below_a_witness_is_proved():
    assert not any(below_the_floor(inequality, seed) for seed in range(16))


def test_nothing_below_a_difference_quotient_of_a_network_is_proved():
    rng, tried = np.random.default_rng(5), 0
    for seed in range(12):
        graph = random_graph(rng, scale=1.0)
        c = chain_or_none(graph)
        if c is None or not c.reduced()[0].layers:
            continue
        t = truth_of(graph, seed, 60)
        with np.errstate(all="ignore"):
            witnessed = float(np.nanmax((np.linalg.norm(t.d[t.parts.output], axis=1) - t.room) / t.inputs))
        if not witnessed > 1e-3:
            continue
        tried += 1
        found = solve(c)
        assert found.bound >= witnessed
        taus = found.taus if isinstance(found, Inequality) else multipliers(rng, c)
        assert not inequality.holds(c, witnessed * (1 - 1e-6), taus)
        assert not any(inequality.holds(c, witnessed * 0.999, [x * witnessed**2 for x in multipliers(rng, c)]) for _ in range(3))
    assert tried >= 5


def test_closed_form_multipliers_prove_the_bound_of_the_recursion():
    rng = np.random.default_rng(2)
    for _ in range(10):
        small, _ = random_chain(rng, 2).reduced()
        if small.layers:
            us, exponents, _ = closed_form(small)
            bound = value(small, us, exponents) * (1 + 1e-3)
            assert inequality.holds(small, bound, [bound**2 / u for u in absolute(us, exponents)])


def test_what_is_no_multiplier_or_no_bound_proves_nothing():
    """Found in review: negative bounds were squared, float32 bounds rounded up, and a tau of one entry was spread over the groups."""
    c = chain([scalar(np.eye(2), np.eye(2))], np.eye(2))
    good = [np.full(2, 2.1)]
    assert inequality.holds(c, 1.5, good) and inequality.holds(c, np.float32(1.5), good)
    assert not any(inequality.holds(c, b, good) for b in (-1.5, -math.inf, math.nan, math.inf, 0.0, 1e-200, 1e200))
    for bad in (-2.1, math.nan, math.inf, -0.1, 2.0**-901, 2.0**901):
        assert not inequality.holds(c, 1.5, [np.array([2.1, bad])])
    for taus in ([np.array([2.1])], [np.array(2.1)], [], good * 2, [np.full((2, 1), 2.1)], [np.full(3, 2.1)]):
        with pytest.raises(InputError):
            inequality.holds(c, 1.5, taus)
    assert inequality.least(c, [0.5, math.nan, 1.5, 1.4], good) == 1.5


def test_single_precision_multipliers_do_not_underflow():
    """Found in review: half of the smallest float32 is zero in float32, and the cross terms were gone. Truth 2^-76."""
    c = chain([scalar([[1.0]], [[1.0]])], [[2.0**-76]])
    with np.errstate(over="ignore"):
        assert not inequality.holds(c, 2.0**-90, [np.array([2.0**-149], np.float32)])


@pytest.mark.parametrize("group", [False, True])
def test_powers_of_two_next_to_the_ends_of_floats(group):
    """Found in review: constraints were skipped where a product of multiplier and slopes underflowed. phi = r z, C: the truth is exact, 2^(w + r + c)."""
    for w, r, out in itertools.product((-538, -300, 0, 500), (-538, -60, 0, 300), (-516, 0, 510)):
        truth = w + r + out
        if not -1000 < truth - 20 < truth < 1000:
            continue
        c = chain([scalar([[2.0**w]], [[1.0]], -(2.0**r), 2.0**r, group=group)], [[2.0**out]])
        for t in {2 * out + 1, 2 * out + 10, -1074, -1030, -900, -890, 880}:
            if -1074 <= t <= 1000:
                for less in (1, 20):
                    with np.errstate(all="ignore"):
                        assert not inequality.holds(c, 2.0 ** (truth - less), [np.array([2.0**t])]), (w, r, out, t, less)


def test_powers_of_two_through_two_layers():
    for w, v, t in itertools.product((500, 540, 100), (-538, -516, -100), (-1074, -1030, -1028, -899, -500, 1)):
        c = chain([scalar([[2.0**w]], [[1.0]], 0.0, 2.0**-60), scalar([[2.0**v]], [[1.0]])], [[1.0]])
        assert not inequality.holds(c, 2.0 ** (w + v - 60 - 6), [np.array([2.0**t]), np.array([1.5])]), (w, v, t)


class Spy:
    """Stands in for verified_pd and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, whole, radius):
        self.asked.append((whole, radius))
        return False


def rho_rounds_down(module) -> bool:
    spy = Spy()
    module = mutant(inequality, *module, verified_pd=spy)
    c = chain([scalar([[0.0]], [[1.0]])], [[0.0]])
    bounds = np.random.default_rng(0).uniform(0.5, 2, 200).tolist()
    module.least(c, bounds, [np.array([1.0])])
    return len(spy.asked) == 200 and all(Fraction(float(whole[0, 0])) <= Fraction(b) ** 2 for (whole, _), b in zip(spy.asked, bounds))


def test_rho_is_rounded_down():
    assert rho_rounds_down(())
    assert not rho_rounds_down((("float(down(bound * bound))", "float(bound * bound)"),))


CROSS = "total.add(own, before, cross, -1.0)\n        total.add(before, own, cross.T, -1.0)"
ENCLOSURE = {
    "output not subtracted": ("y.T @ y, -1.0)", "y.T @ y, 0.0)"),
    "output exact": ("y.T @ y, -1.0)", "MidRad((y.T @ y).mid), -1.0)"),
    "sign of cross terms": (CROSS, CROSS.replace("-1.0", "1.0")),
    "cross terms exact": ("cross = (low + high).rows(0.5 * inside)", "cross = MidRad((low + high).rows(0.5 * inside).mid)"),
    "slopes the same": ("low, high = z.rows(layer.lo), z.rows(layer.hi)", "low, high = z.rows(layer.hi), z.rows(layer.hi)"),
    "product of slopes left out": ("if ((layer.lo != 0) & (layer.hi != 0)).any()", "if False"),
    "groups exact": ("reach.T @ reach.rows(inside)", "MidRad((reach.T @ reach.rows(inside)).mid)"),
    "groups left out": ("if layer.half.any()", "if False"),
    "groups of z on phi": ("MidRad(np.diag(outside))", "MidRad(np.diag(np.resize(inside, count)))"),
    "residual forgotten": ("if layer.keep is None else layer.keep.dense() @ state", "if True else None"),
    "sums exact": ("+ U * np.abs(mid)) * (1 + 8 * U))", ") * 1.0)"),
    "weights exact": ("z = layer.weight.dense() @ state", "z = MidRad((layer.weight.dense() @ state).mid)"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENCLOSURE)
def test_broken_enclosures_are_caught(name):
    broken = mutant(inequality, ENCLOSURE[name])
    assert not all(enclosure_holds(broken, seed) for seed in range(40)), name


WITNESS = [
    ("y.T @ y, -1.0)", "y.T @ y, 0.0)"), ("if ((layer.lo != 0) & (layer.hi != 0)).any()", "if False"), ("if layer.half.any()", "if False"),
    ("rho = float(down(bound * bound))", "rho = float(down(2 * bound * bound))"), (CROSS, "pass"),
]  # fmt: skip


@pytest.mark.parametrize("change", WITNESS)
def test_broken_proofs_claim_less_than_a_witness(change):
    broken = mutant(inequality, change)
    assert any(below_the_floor(broken, seed) for seed in range(25)), change
