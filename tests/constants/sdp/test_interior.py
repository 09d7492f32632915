"""The interior point method: feasible in floats, close to the dual's value, the same from two starts, and at peace with degenerate input. Nothing is believed of it."""

from __future__ import annotations

import numpy as np
import pytest
from constants.sdp.small_chains import chain, floor, random_chain, scalar
from strategies.semidefinite import NETS, net

from certify.constants.sdp.chain import chain_of
from certify.constants.sdp.interior import InteriorPoint, program_of
from certify.constants.sdp.lowest import lowest
from certify.constants.sdp.recursion import absolute, closed_form, top, value
from certify.constants.sdp.solve import solve
from certify.core.errors import HypothesisError
from certify.core.midrad import full


def start_of(small, uniform=False, factor=2.0):
    """(point, tau, rho0): the program with its output scaled to 1 by the closed form, strictly feasible multipliers for rho = 1.5."""
    us, exponents, metric = closed_form(small, uniform, factor)
    last = full(small.last.mid)
    scale = top(last @ metric @ last.T) * 4.0 ** -sum(exponents)
    program = program_of(small)
    program.output = program.output / np.sqrt(scale)
    return InteriorPoint(program), 1.5 / (np.concatenate(absolute(us, exponents)) * 1.02), scale


def live_chains(count: int, seed: int = 0, depth: int = 2):
    rng = np.random.default_rng(seed)
    while count:
        small, _ = random_chain(rng, depth).reduced()
        if small.layers and np.abs(small.last.mid).max() > 1e-3:
            count -= 1
            yield small


def test_answers_are_feasible_and_close_to_the_optimum():
    rng = np.random.default_rng(1)
    for small in live_chains(12):
        point, tau, scale = start_of(small)
        found = point.solve(tau, 1.5)
        assert found is not None and (found.tau > 0).all()
        m = point.combination(found.rho, found.tau) - point.yy
        assert np.linalg.eigvalsh(m)[0] > 0
        us, exponents, _ = closed_form(small)
        bound = np.sqrt(found.rho * scale)
        assert bound <= value(small, us, exponents) * (1 + 1e-6)  # never above the closed form
        assert bound >= floor(small, rng) * (1 - 1e-6)
        assert -1e-8 <= found.gap <= 1e-3 and 0 < found.steps <= 60


def test_two_starts_agree():
    for small in live_chains(6, seed=2):
        ends = []
        for uniform, factor in ((False, 2.0), (True, 3.0)):
            point, tau, scale = start_of(small, uniform, factor)
            found = point.solve(tau, 1.5)
            assert found is not None
            ends.append(found.rho * scale)
        assert ends[0] == pytest.approx(ends[1], rel=2e-4)


def test_a_pair_costs_at_most_sqrt_two_of_the_whole():
    for name in ("relu", "residual", "maxmin", "groupsort"):
        whole_chain = chain_of(net(name))
        whole = solve(whole_chain).bound
        pair = solve(whole_chain.towards(np.array([[1.0, -1.0, 0.0]]))).bound
        one = solve(whole_chain.towards(np.array([[1.0, 0.0, 0.0]]))).bound
        assert 0 < pair <= np.sqrt(2) * whole * (1 + 1e-5) and 0 < one <= whole * (1 + 1e-5)


def test_infeasible_starts_give_none():
    small = next(live_chains(1))
    point, tau, _ = start_of(small)
    assert point.solve(tau, 1e-9) is None and point.solve(-tau, 1.5) is None and point.solve(tau * np.nan, 1.5) is None


def test_it_stops_when_told():
    small = next(live_chains(1))
    point, tau, _ = start_of(small)
    found = point.solve(tau, 1.5, stop=lambda: True)
    assert found is not None and found.steps == 1 and (found.tau == tau).all() and found.rho == 1.5
    assert point.solve(tau, 1.5, most=2).steps == 2
    a, b = point.solve(tau, 1.5), point.solve(tau, 1.5)
    assert a.rho == b.rho and (a.tau == b.tau).all()


def test_the_program_is_the_one_of_the_chain():
    """Scalar and grouped rows: combination - yy is M of the inequality, in the coordinates psi = dphi - m dz."""
    rng = np.random.default_rng(3)
    for small in live_chains(8, seed=4):
        point = InteriorPoint(program_of(small))
        tau = 10.0 ** rng.uniform(-1, 1, point.p.groups)
        form = point.combination(2.0, tau) - point.yy
        x = rng.normal(size=(point.p.size, 5))
        state, parts, place, first = x[: small.input_size], 0.0, small.input_size, 0
        for layer in small.layers:
            z, n = full(layer.weight.mid) @ state, layer.inject.shape[1]
            psi = x[place : place + n]
            inside, outside = layer.spread(tau[first : first + layer.groups])
            parts = parts + outside @ psi**2 - inside @ (layer.half[:, None] * z) ** 2
            state = full(layer.through().mid) @ state + full(layer.inject.mid) @ psi
            place, first = place + n, first + layer.groups
        exact = 2.0 * (x[: small.input_size] ** 2).sum(0) + parts - ((full(small.last.mid) @ state) ** 2).sum(0)
        assert np.einsum("ik,ij,jk->k", x, form, x) == pytest.approx(exact, rel=1e-9, abs=1e-9)


RNG = np.random.default_rng(7)
WIDE = RNG.normal(size=(6, 4))
DEAD = WIDE * np.array([1, 0, 1, 1e-12, 1, 1])[:, None]
END = RNG.normal(size=(3, 6))
ZERO_ROW = END * np.array([1, 0, 1])[:, None]
DEGENERATE = {
    "zero output row": chain([scalar(WIDE, np.eye(6))], ZERO_ROW), "zero output": chain([scalar(WIDE, np.eye(6))], 0 * END),
    "one neuron": chain([scalar([[2.0]], [[1.0]])], [[3.0]]),
    "dead neurons": chain([scalar(DEAD, np.eye(6))], END), "dead outputs": chain([scalar(WIDE, np.eye(6))], END * np.array([1, 0, 0, 1e-13, 1, 1])),
    "one slope range of a point": chain([scalar(WIDE, np.eye(6), 0.5, 0.5)], END), "nearly known slopes": chain([scalar(WIDE, np.eye(6), 0.5, 0.5 + 1e-9)], END),
    "equal rows": chain([scalar(np.ones((6, 4)), np.eye(6)), scalar(np.ones((2, 6)), np.eye(2))], np.ones((2, 2))), "all zero": chain([scalar(0 * WIDE, np.eye(6))], END),
    "one group": chain([scalar(WIDE, np.eye(6), -0.5, 0.5, group=True)], END), "output without the block": chain([scalar(WIDE, np.zeros((4, 6)), keep=np.eye(4))], np.eye(4)),
} | {f"scale {s:g}": chain([scalar(WIDE * s, np.eye(6)), scalar(END * s, np.eye(3))], np.eye(3)) for s in (1e-8, 1e-4, 1e4, 1e8)}  # fmt: skip


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_programs_end_in_an_answer_or_a_refusal(name):
    c = DEGENERATE[name]
    try:
        found = solve(c)
    except HypothesisError:
        assert name in ("one slope range of a point", "all zero", "zero output", "output without the block"), "this has an answer"
        return
    truth = floor(c, np.random.default_rng(0))
    assert truth * (1 - 1e-9) <= found.bound <= 12 * truth + 1e-6


def test_scaling_the_weights_scales_the_answer():
    one = solve(chain([scalar(WIDE, np.eye(6)), scalar(END, np.eye(3))], np.eye(3))).bound
    for s in (2.0**-20, 2.0**20):
        assert solve(chain([scalar(WIDE * s, np.eye(6)), scalar(END * s, np.eye(3))], np.eye(3))).bound == pytest.approx(one * s * s, rel=1e-4)


@pytest.mark.parametrize("name", ["line", "concat", "extremes", "softmax", "groupsort halves", "layer_norm", "pool"])
def test_every_kind_of_block_has_an_answer(name):
    assert name in NETS and solve(chain_of(net(name))).kind == "inequality"


def test_lowest_is_close_and_never_far_above():
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 40):
        a = rng.normal(size=(n, n))
        a = a + a.T
        low = np.linalg.eigvalsh(a)[0]
        assert lowest(lambda v, a=a: a @ v, n) <= low + 0.05 * abs(low) + 1e-9
