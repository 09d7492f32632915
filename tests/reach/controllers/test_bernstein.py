"""The Bernstein abstraction against its controller: attacked on whole sets, exact where the controller is simple, honest where the budget ends."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.controllers import Bound, escape, exact_control, network, state_set

from certify.core.errors import InputError
from certify.core.graph import GraphBuilder
from reach.controllers import bernstein, bernstein_error
from reach.controllers.bernstein import Bernstein
from reach.controllers.blackbox import BlackBox
from reach.errors import ReachError
from reach.sets.polyzonotope import PolynomialZonotope
from reach.sets.ring import ring

seeds = st.integers(0, 2**32 - 1)


def model_of(controller, state, **settings_):
    return Bernstein(**settings_).prepare(controller, state.ring.order)(state)


@settings(max_examples=12)
@given(seeds, st.sampled_from(["relu", "tanh", "sigmoid", "abs", "silu"]), st.integers(1, 3), st.sampled_from(["auto", "bernstein"]))
def test_no_control_of_a_network_escapes(seed, kind, n, operator):
    rng = np.random.default_rng(seed)
    graph = network(rng, (n, 6, 5, 2), kind, float(rng.choice([0.5, 1.5, 3.0])))
    state = state_set(rng, n, int(rng.integers(1, 5)), int(rng.integers(0, n + 1)), int(rng.integers(0, 4)), 10 ** rng.uniform(-3, 0.3), 10 ** rng.uniform(-4, -1))
    assert escape(model_of(Bound(graph), state, operator=operator, budget=60), state, graph, rng) <= 0


@settings(max_examples=10)
@given(seeds, st.sampled_from(["relu", "abs"]), st.integers(1, 2), st.sampled_from([0.0, 1.0, 1e5]))
def test_not_even_the_last_bit_escapes(seed, kind, n, offset):
    """In rationals, on sets from 1e-13 wide: here rounding is all there is."""
    rng = np.random.default_rng(seed)
    graph = network(rng, (n, 4, 1), kind, 1.5)
    state = state_set(rng, n, 2, symbols=2, width=10 ** rng.uniform(-13, -4), spread=10 ** rng.uniform(-14, -6))
    state = PolynomialZonotope(state.ring, state.coefficients + np.eye(1, state.ring.size) * offset, state.generators)
    model = model_of(Bound(graph), state, budget=20)
    for k in range(6):
        z = rng.uniform(-1, 1, n + 2)
        z = [Fraction(float(v)) for v in (np.sign(z) if k % 2 else z)]
        powers = [math.prod((v ** int(e) for v, e in zip(z, exponents)), start=Fraction(1)) for exponents in state.ring.exponents]

        def at(coefficients, generators, powers=powers, z=z):
            return [
                sum((Fraction(float(c)) * p for c, p in zip(row, powers)), Fraction(0)) + sum((Fraction(float(g)) * v for g, v in zip(e, z[n:])), Fraction(0))
                for row, e in zip(coefficients, generators)
            ]

        said = at(model.coefficients, model.generators)[0]
        assert abs(exact_control(graph, at(state.coefficients, state.generators))[0] - said) <= Fraction(float(model.box[0]))


BOXES = {
    "abs": (lambda x: np.abs(x).sum(axis=1), lambda n: np.ones((1, n))),
    "largest": (lambda x: x.max(axis=1), lambda n: 1.0),
    "distance": (lambda x: np.sqrt((x * x).sum(axis=1)), lambda n: 1.0),
    "saw": (lambda x: np.abs((3 * x[:, 0]) % 2 - 1), lambda n: 3.0),
    "cubic": (lambda x: np.clip(x[:, 0], -2, 2) ** 3 / 12, lambda n: 1.0),
}


@settings(max_examples=12)
@given(seeds, st.sampled_from(sorted(BOXES)), st.integers(1, 3), st.sampled_from(["auto", "bernstein"]))
def test_no_control_of_a_black_box_escapes(seed, name, n, operator):
    rng = np.random.default_rng(seed)
    f, constant = BOXES[name]
    box = BlackBox(f, constant(n), name=name).bind([f"x{i}" for i in range(n)], 1)
    state = state_set(rng, n, int(rng.integers(1, 4)), width=10 ** rng.uniform(-2, 0.3))
    model = model_of(box, state, operator=operator, budget=int(rng.choice([5, 100, 2000])))
    assert escape(model, state, box.evaluate, rng) <= 0
    assert name in model.evidence[0].hypotheses[0]


def test_more_samples_bring_a_black_box_closer():
    state = PolynomialZonotope.from_box([-1.0, -0.5], [1.0, 1.5], 4)
    box = BlackBox(lambda x: np.sin(x[:, 0]) * 0.5 + 0.3 * x[:, 1], [[0.5, 0.3]]).bind(("a", "b"), 1)
    sizes = [float(model_of(box, state, budget=k).box[0]) for k in (20, 500, 20_000)]
    assert sizes[0] > sizes[1] > sizes[2] and sizes[2] < 0.02


def test_a_linear_controller_is_exact_up_to_rounding():
    rng = np.random.default_rng(2)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    w = rng.normal(size=(2, 3))
    graph = b.build(b.add("dense", [x], arrays={"weight": w, "bias": np.array([0.1, -4.0])}))
    state = state_set(rng, 3, 2)
    model = model_of(Bound(graph), state)
    assert model.box.max() < 1e-11
    assert np.allclose(model.generators, w @ state.generators, atol=1e-12)
    assert escape(model, state, graph, rng) <= 0


def test_constants_points_and_coordinates_without_width():
    rng = np.random.default_rng(3)
    graph = network(rng, (3, 5, 1), "tanh")
    point = PolynomialZonotope.from_box([0.3, 0.1, -2.0], [0.3, 0.1, -2.0], 3)
    model = model_of(Bound(graph), point)
    assert model.coefficients.shape == (1, 1) and model.box[0] < 1e-12 and escape(model, point, graph, rng) <= 0
    flat = PolynomialZonotope.from_box([0.3, 0.1, -2.0], [0.3, 0.4, -2.0], 3)
    model = model_of(Bound(graph), flat)
    assert len(model.evidence[0].active) == 1 and escape(model, flat, graph, rng) <= 0
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)})
    constant = b.build(b.add("dense", [x], arrays={"weight": np.zeros((1, 3)), "bias": np.array([0.1])}))
    model = model_of(Bound(constant), state_set(rng, 3))
    assert model.box[0] < 1e-14 and abs(model.coefficients[0, 0] - 0.1) < 1e-15
    narrow = PolynomialZonotope.from_box([0.3, 0.1, -2.0], [0.3 + 1e-16, 0.4, -2.0 + 1e-15], 2)
    assert escape(model_of(Bound(graph), narrow), narrow, graph, rng) <= 0


def test_symbols_alone_carry_a_set():
    rng = np.random.default_rng(4)
    graph = network(rng, (2, 6, 1), "tanh")
    state = PolynomialZonotope(ring(0, 3), np.array([[0.2], [-0.4]]), rng.normal(size=(2, 5)) * 0.05)
    model = model_of(Bound(graph), state)
    assert escape(model, state, graph, rng) <= 0
    assert np.abs(model.generators).sum() > 10 * model.box[0]


def test_a_small_budget_gives_a_larger_box_and_says_so():
    rng = np.random.default_rng(5)
    graph = network(rng, (2, 10, 1), "tanh", 4.0)
    state = state_set(rng, 2, 4, width=0.8)
    small, large = (model_of(Bound(graph), state, budget=k) for k in (1, 2000))
    assert small.evidence[0].limited and small.box[0] > large.box[0]
    assert escape(small, state, graph, rng) <= 0


def test_the_same_set_gives_the_same_bits_and_the_settings_are_the_repr():
    rng = np.random.default_rng(6)
    graph, state = network(rng, (2, 6, 1)), state_set(rng, 2)
    first, second = model_of(Bound(graph), state), model_of(Bound(graph), state)
    assert (first.coefficients == second.coefficients).all() and (first.box == second.box).all()
    assert eval(repr(Bernstein(degree=(2, 3), budget=7))) == Bernstein(degree=(2, 3), budget=7)


@pytest.mark.parametrize("degree", [0, 1, 3, 14, (2, 3)])
@pytest.mark.parametrize("operator", ["auto", "bernstein"])
def test_any_degree_is_sound(degree, operator):
    rng = np.random.default_rng(7)
    graph, state = network(rng, (2, 6, 1), "relu", 2.0), state_set(rng, 2, 3)
    assert escape(model_of(Bound(graph), state, degree=degree, operator=operator, budget=40), state, graph, rng) <= 0


def test_too_many_states_name_the_other_method():
    rng = np.random.default_rng(8)
    with pytest.raises(ReachError, match="Layerwise"):
        model_of(Bound(network(rng, (6, 4, 1))), state_set(rng, 6, 1))
    partly = state_set(rng, 6, 1, free=3)
    assert len(model_of(Bound(network(rng, (6, 4, 1))), partly).evidence[0].active) == 3


def test_an_unbounded_set_and_a_strange_controller_are_refused():
    rng = np.random.default_rng(9)
    endless = PolynomialZonotope(ring(1, 1), np.array([[0.0, np.inf]]), np.zeros((1, 0)))
    with pytest.raises(ReachError, match="unbounded"):
        model_of(Bound(network(rng, (1, 3, 1))), endless)
    with pytest.raises(InputError, match="abstracted"):
        Bernstein().prepare(object(), 3)


@pytest.mark.parametrize(
    "wrong",
    [{"degree": d} for d in (-1, 2.5, True, (1, 99))] + [{"error": 0.0}, {"error": float("nan")}, {"budget": 0}, {"samples": 1.5}, {"partition": 0}, {"operator": "b"}],
)
def test_a_wrong_setting_is_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Bernstein(**wrong)


def test_a_setting_per_state_must_fit():
    rng = np.random.default_rng(10)
    with pytest.raises(InputError, match="degree"):
        model_of(Bound(network(rng, (2, 3, 1))), state_set(rng, 2), degree=(2, 2, 2))


# --- rules broken on purpose: the attack above must notice each of them ---------------------------------------------------------------------------------


def _attack_noise(rng):
    """The hypothesis is that values are within 0.05 of the identity: the identity itself must then be inside."""
    box = BlackBox(lambda x: x[:, 0] + 0.05, 1.0, evaluation_error=0.05).bind(("x",), 1)
    state = PolynomialZonotope.from_box([-0.5], [0.5], 2)
    return escape(model_of(box, state, budget=4000), state, lambda x: x[:, :1], rng)


def _attack_saw(rng):
    f, _ = BOXES["saw"]
    box = BlackBox(f, 3.0).bind(("x",), 1)
    state = PolynomialZonotope.from_box([-1.0], [1.0], 2)
    return escape(model_of(box, state, budget=2, samples=8), state, box.evaluate, rng)


def _attack_a_priori(rng):
    box = BlackBox(lambda x: np.abs(x[:, 0]), 1.0).bind(("x",), 1)
    state = PolynomialZonotope.from_box([-1.0], [1.0], 4)
    return escape(model_of(box, state, degree=4, budget=1, operator="bernstein"), state, box.evaluate, rng)


def _attack_deviation(rng):
    graph = network(rng, (1, 8, 1), "abs", 3.0)
    state = PolynomialZonotope(ring(1, 3), np.array([[0.1, 0.3, 0.0, 0.0]]), np.array([[0.6]]))
    return escape(model_of(Bound(graph), state, degree=6, operator="bernstein"), state, graph, rng)


def _attack_cells(rng):
    graph = network(rng, (2, 20, 1), "abs", 6.0)
    state = state_set(rng, 2, 2, width=1.0)
    return escape(model_of(Bound(graph), state, budget=1, partition=1, degree=1), state, graph, rng)


def _no_growth(original):
    return lambda constants, widths: np.zeros(np.broadcast_shapes(constants.shape, widths.shape)[:-1])


def _wrong_variance(original):
    return lambda domain, degrees, halves, columns, whole: original(domain, tuple(d * d for d in degrees), halves, columns, whole)


def _no_half(original):
    def broken(*arguments):
        e, _ = original(*arguments)
        return e, np.zeros(e.shape)

    return broken


def _flat_slopes(original):
    def broken(state, domain, form, shift, radius, record):
        low, high = form.slopes
        object.__setattr__(form, "slopes", ((low + high) / 2, (low + high) / 2))
        return original(state, domain, form, shift, radius, record)

    return broken


def _centres_only(original):
    def broken(*arguments):
        _, _, e, share = original(*arguments)
        return e, e, e, share

    return broken


MUTANTS = {
    "the sampled bound without the slopes inside a cell": (bernstein_error, "weighted", _no_growth, _attack_saw),
    "a variance of W^2 / (4 d^2)": (bernstein, "a_priori", _wrong_variance, _attack_a_priori),
    "node values taken for exact": (bernstein_error, "residual", _no_half, _attack_noise),
    "the deviation with one slope": (bernstein, "composed", _flat_slopes, _attack_deviation),
    "cells that know their centre only": (bernstein_error, "_cells", _centres_only, _attack_cells),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_caught(name, monkeypatch):
    module, attribute, breaks, attack = MUTANTS[name]
    assert max(attack(np.random.default_rng(k)) for k in range(4)) <= 0
    monkeypatch.setattr(module, attribute, breaks(getattr(module, attribute)))
    assert max(attack(np.random.default_rng(k)) for k in range(4)) > 0
