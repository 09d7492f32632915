"""What hostile reviewers found, kept from coming back: false bounds at the edge of the floats, false records, tracebacks from bad input."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from strategies.loops import linear, network, pendulum

import reach
from certify.core.errors import CertifyError, InputError
from certify.core.fold import fold_affine
from certify.core.graph import GraphBuilder
from reach.controllers.controller import Controller
from reach.controllers.layerwise import Layerwise
from reach.sets.polyzonotope import PolynomialZonotope

ONE = reach.ContinuousSystem(["x"], ["u"], ["u"])


@pytest.mark.parametrize("period", [5e-324, 1e-309, 1e-300, True])
def test_a_period_too_short_for_relative_rounding_is_refused(period):
    with pytest.raises(InputError, match="period"):
        reach.ClosedLoop(ONE, linear([[-1.0]]), period)


def test_the_shortest_periods_are_still_enclosed():
    plant = reach.ContinuousSystem(["x"], ["u"], ["1e290 + 0*u"])
    loop = reach.ClosedLoop(plant, linear([[-1.0]]), 1e-289)
    try:
        box = reach.solve(loop, reach.Box([0.0], [0.0]), 1e-289).at(1).box()
    except reach.RemainderError:
        return
    for t in (Fraction(1e-289), Fraction("1e-289")):
        assert Fraction(float(box.lower[0])) <= t * 10**290 <= Fraction(float(box.upper[0]))


@pytest.mark.parametrize("seed", range(10))
def test_a_folded_batch_norm_pays_for_its_moved_bias(seed):
    """Biases cancel to about 1e-17, which is what folding may have lost; Layerwise must not claim less."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    mean, beta = rng.standard_normal(1), rng.standard_normal(1)
    x = b.add("dense", [b.add("input", attrs={"shape": (1,)})], arrays={"weight": np.ones((1, 1)), "bias": rng.standard_normal(1)}, name="fc")
    y = b.add("batch_norm", [x], {"eps": 1e-5}, {"mean": mean, "var": rng.uniform(0.5, 2, 1), "weight": rng.standard_normal(1), "bias": beta}, name="bn")
    graph = b.build(y)
    folded = fold_affine(graph)
    shifted = fold_affine(graph)[folded.output]
    b2 = GraphBuilder()
    z = b2.add("dense", [b2.add("input", attrs={"shape": (1,)})], dict(shifted.attrs), dict(shifted.arrays), name="folded")
    cancelled = b2.build(b2.add("dense", [z], arrays={"weight": np.eye(1), "bias": -shifted.arrays["bias"]}))
    state = PolynomialZonotope.from_box([0.0], [0.0], 2)
    model = Layerwise().prepare(Controller(cancelled).bind(("x",), 1), 2)(state)
    exact = _exact_bias(graph) - Fraction(float(shifted.arrays["bias"][0]))
    low, high = (Fraction(float(model.coefficients[0, 0])) + sign * Fraction(float(model.box[0])) for sign in (-1, 1))
    assert low <= exact <= high


def _exact_bias(graph) -> Fraction:
    """The value at 0 of dense + batch norm to 60 digits, as a rational near enough."""
    import mpmath

    with mpmath.workdps(60):
        fc, bn = graph["fc"], graph["bn"]
        number = lambda node, key: mpmath.mpf(float(node.arrays[key][0]))  # noqa: E731
        root = mpmath.sqrt(number(bn, "var") + mpmath.mpf(float(bn.attrs["eps"])))
        value = number(bn, "weight") * (number(fc, "bias") - number(bn, "mean")) / root + number(bn, "bias")
        return Fraction(int(mpmath.floor(value * mpmath.mpf(10) ** 50)), 10**50)


@pytest.mark.parametrize("bad", [{"scale": 1.2345e-320}, {"scale": "1e400"}, {"offset": "1e400"}, {"inputs": ["1e400*x"]}])
def test_processing_out_of_the_range_of_relative_rounding_is_refused(bad):
    with pytest.raises(InputError, match="range"):
        reach.ClosedLoop(ONE, Controller(linear([[1.0]]), **bad), 0.5)


@pytest.mark.parametrize("box", [([0.0], [0.0]), ([0.5], [0.5])])
@pytest.mark.parametrize("constant", [0.0, 0.1, 2.0])
def test_bernstein_from_a_point(box, constant):
    loop = reach.ClosedLoop(ONE, reach.BlackBox(lambda x: -0.1 * x * min(constant, 1), constant), 0.5)
    pipe = reach.solve(loop, reach.Box(*box), 1.0)
    start = np.array(box[0])
    assert (pipe.at(2).box().lower <= reach.simulate(loop, start, 1.0)[0, -1]).all() and (reach.simulate(loop, start, 1.0)[0, -1] <= pipe.at(2).box().upper + 1e-12).all()


def test_a_set_with_many_free_states_can_be_read():
    n = 17
    plant = reach.ContinuousSystem([f"x{i}" for i in range(n)], ["u"], [f"-x{i} + 0.1*u" for i in range(n)])
    loop = reach.ClosedLoop(plant, linear([[0.01] * n]), 0.1)
    pipe = reach.solve(loop, reach.Box([0.0] * n, [0.1] * n), 0.1, integrator=reach.Picard(order=2, substeps=1))
    assert pipe.at(1).box().upper.shape == (n,) and pipe.tube(1).box().upper.shape == (n,)
    with pytest.raises(InputError, match="pieces"):
        pipe.at(1).box(10**6)


@pytest.mark.parametrize("horizon", [math.inf, 1e308, 1e-10, 0.2 * (1 + 1e-6)])
def test_horizons_that_are_no_whole_number_of_periods(horizon):
    with pytest.raises(InputError, match="horizon"):
        pendulum().steps(horizon)


BAD = {
    "tolerance text": lambda: reach.Picard(tolerance="a"),
    "tolerance none": lambda: reach.Picard(tolerance=None),
    "bernstein error": lambda: reach.Bernstein(error="a"),
    "evaluation error": lambda: reach.BlackBox(abs, 1.0, evaluation_error="a"),
    "clamp": lambda: Controller(linear([[1.0]]), clamp=3),
    "inputs": lambda: Controller(linear([[1.0]]), inputs=5),
    "inputs text": lambda: Controller(linear([[1.0]]), inputs="x"),
    "class for method": lambda: reach.solve(pendulum(), reach.Box([0, 0], [0, 0]), 0.2, controller=reach.Layerwise),
    "class for controller": lambda: reach.ClosedLoop(ONE, reach.Controller, 0.5),
    "class for black box": lambda: reach.ClosedLoop(ONE, reach.BlackBox, 0.5),
    "method": lambda: reach.Layerwise(method="foo"),
    "rule none": lambda: reach.Switching({"a": linear([[1.0]])}, "a", None),
    "unhashable mode": lambda: reach.Switching({"a": linear([[1.0]])}, ["a"], lambda *_: []),
    "networks list": lambda: reach.Switching([linear([[1.0]])], "a", lambda *_: []),
    "direction": lambda: PolynomialZonotope.from_box([0.0], [1.0], 2).support(["a"]),
    "matrix": lambda: PolynomialZonotope.from_box([0.0], [1.0], 2).affine("a"),
    "pieces": lambda: PolynomialZonotope.from_box([0.0], [1.0], 2).box(2.5),
    "simulate": lambda: reach.simulate("a", [0.0], 1.0),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gives_our_own_error(name):
    with pytest.raises(CertifyError):
        BAD[name]()


def test_a_scale_given_as_an_array_works():
    assert reach.ClosedLoop(ONE, Controller(linear([[1.0]]), scale=np.array(2.0)), 0.5).controller.evaluate([[3.0]]).tolist() == [[6.0]]


def test_a_setting_that_does_not_fit_is_not_called_a_divergence():
    with pytest.raises(InputError):
        reach.solve(reach.ClosedLoop(ONE, network([1, 4, 1]), 0.5), reach.Box([0.0], [1.0]), 0.5, controller=reach.Bernstein(degree=(1, 2)))


def test_a_complex_black_box_is_refused():
    loop = reach.ClosedLoop(ONE, reach.BlackBox(lambda x: x + 1j, 1.0), 0.5)
    with pytest.raises(CertifyError, match="black box failed"):
        reach.solve(loop, reach.Box([0.0], [1.0]), 0.5)


def switching(initial="a", modes=("a", "b"), rule=None):
    nets = {m: linear([[1.0], [0.0]]) for m in "ab"}
    made = reach.Switching(nets, initial, rule or (lambda previous, new, box: [[0.1]]), modes=list(modes))
    return reach.ClosedLoop(reach.DiscreteSystem(["x"], ["u"], ["x + u"]), made, 1.0)


def test_switching_says_what_ran_and_refuses_what_it_cannot_run():
    loop, box = switching(), reach.Box([0.5], [1.0])
    with pytest.raises(InputError, match="layer by layer"):
        reach.solve(loop, box, 2.0, controller=reach.Bernstein())
    pipe = reach.solve(loop, box, 2.0)
    assert "order=6" in pipe.settings["integrator"] or "order=7" in pipe.settings["integrator"]
    assert pipe.sample(200).max() > 1.1 and "branches" in repr(pipe)
    with pytest.raises(InputError, match="no certificate"):
        pipe.save("nowhere")
    assert len({switching().digest, switching("b").digest, switching(modes="ba").digest}) == 3


@pytest.mark.parametrize("rows", [None, 3.0, ["a"]])
def test_a_rule_that_gives_nonsense_is_named(rows):
    with pytest.raises(InputError, match="Switching.controls"):
        reach.solve(switching(rule=lambda *_: rows), reach.Box([0.5], [1.0]), 1.0)


@pytest.mark.parametrize("promise", [{"positive": True}, {"integer": True}, {"nonnegative": True}, {"zero": True}])
def test_a_symbol_that_promises_more_than_a_real_number_is_refused(promise):
    """sympy would have simplified sqrt(x**2) to x, or sin(pi*x) to 0, under a promise that no state keeps."""
    import sympy as sp

    x = sp.Symbol("x", **promise)
    with pytest.raises(InputError, match="assumption"):
        reach.ContinuousSystem([x], ["u"], [-sp.sqrt(x**2)])
    pipe = reach.solve(reach.ClosedLoop(ONE, linear([[-1.0]]), 0.5), reach.Box([0.5], [1.0]), 0.5)
    with pytest.raises(InputError, match="assumption"):
        pipe.verify(reach.Stay({x: (-5, 5)}))
    if "zero" not in promise:
        with pytest.raises(InputError, match="assumption"):
            pipe.verify(reach.Stay(sp.sin(sp.pi * x) + x / 10 <= 5))
    y = sp.Symbol("x", real=True)
    assert pipe.verify(reach.Stay(y <= 2)).status == "VERIFIED"


def test_the_checker_pays_for_moved_weights_and_biases(tmp_path):
    """A certificate about a network is none about the same stored numbers with a stated distance from the exact ones."""
    import json

    from certify.core.record import read_record, write_record

    def graph(attrs):
        b = GraphBuilder()
        x = b.add("input", attrs={"shape": (1,)})
        h = b.add("activation", [b.add("dense", [x], attrs, {"weight": np.array([[1.5], [-0.7]]), "bias": np.array([0.1, 0.2])})], {"kind": "tanh"})
        return b.build(b.add("dense", [h], attrs, {"weight": np.array([[0.3, -0.4]]), "bias": np.array([0.05])}))

    plain, moved = (reach.ClosedLoop(ONE, graph(a), 0.25) for a in ({}, {"perturbation": 4, "bias_perturbation": 0.05}))
    path = reach.solve(plain, reach.Box([0.4], [0.5]), 0.5).save(tmp_path / "a")
    assert reach.check(path, plain).ok
    document, arrays = read_record(path)
    text = json.dumps(document).replace(plain.controller.graph.digest, moved.controller.graph.digest)
    write_record(tmp_path / "forged", json.loads(text), arrays)
    with pytest.raises(CertifyError):
        reach.check(tmp_path / "forged", moved)
    assert reach.check(reach.solve(moved, reach.Box([0.4], [0.5]), 0.5).save(tmp_path / "b"), moved).ok


def test_one_specification_may_be_saved_without_a_list(tmp_path):
    loop = reach.ClosedLoop(ONE, linear([[-1.0]]), 0.5)
    pipe = reach.solve(loop, reach.Box([0.5], [1.0]), 0.5)
    assert reach.check(pipe.save(tmp_path / "c", reach.Arrive({"x": (-5, 5)})), loop).ok
