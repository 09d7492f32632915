"""`solve`: no simulated motion leaves a flowpipe, closed forms are inside, bad input is refused by name, divergence is honest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.loops import escapes, linear, network, pendulum

import reach
from certify.core.errors import CertifyError, InputError

PENDULUM_BOX = reach.Box([0.5, -0.1], [0.7, 0.1])


@pytest.mark.parametrize("kind", ["relu", "tanh", "sigmoid", "leaky_relu", "gelu", "silu", "softplus", "elu", "hardtanh", "abs"])
def test_no_motion_leaves_the_flowpipe_of_a_pendulum(kind):
    pipe = reach.solve(pendulum(3, kind), PENDULUM_BOX, 2.0)
    assert len(pipe) == 10 and escapes(pipe) == []


def test_no_motion_leaves_under_a_disturbance():
    pipe = reach.solve(pendulum(1, disturbance={"w": (-0.1, 0.2)}), PENDULUM_BOX, 2.0)
    assert escapes(pipe) == []


@given(st.integers(0, 10_000), st.sampled_from(["relu", "tanh", "sigmoid"]), st.sampled_from([0.0, 1e-9, 0.01, 0.3]), st.integers(0, 2))
def test_no_motion_leaves_whatever_the_network_and_the_box(seed, kind, width, flat):
    """Two states of three; `flat` coordinates have no width at all."""
    rng = np.random.default_rng(seed)
    plant = reach.ContinuousSystem(["a", "b", "c"], ["u", "v"], ["b*c - 0.5*a + u", "-a*c + 0.1*v", "cos(a) - c + 0.2*u*v"])
    centre = rng.uniform(-1, 1, 3)
    half = width * rng.uniform(0.1, 1, 3) * (np.arange(3) >= flat)
    loop = reach.ClosedLoop(plant, network([3, 8, 2], kind, seed, gain=1.5), 0.25)
    try:
        pipe = reach.solve(loop, reach.Box(centre - half, centre + half), 1.0)
    except reach.RemainderError as error:
        pipe = error.flowpipe
    assert escapes(pipe, count=60, seed=seed) == []


def test_a_linear_loop_has_its_closed_form_at_every_sample():
    """x' = v, v = -k x(kT): x(k) = (1 - T)^k x(0); the flowpipe is exact up to rounding and the reserve for the checker."""
    loop = reach.ClosedLoop(reach.ContinuousSystem(["x"], ["v"], ["v"]), linear([[-1.0]]), 0.25)
    pipe = reach.solve(loop, reach.Box([1.0], [2.0]), 5.0)
    for k in range(len(pipe) + 1):
        box = pipe.at(k).box()
        assert box.lower[0] <= 0.75**k and 2 * 0.75**k <= box.upper[0]
        assert box.upper[0] - box.lower[0] <= 0.75**k * (1 + 1e-9) + 1e-12


def test_a_point_without_control_or_remainder_runs():
    loop = reach.ClosedLoop(reach.ContinuousSystem(["x", "y"], ["u"], ["y", "u"]), linear([[0.0, 0.0]], [0.0]), 0.5)
    pipe = reach.solve(loop, reach.Box([0.0, 0.0], [0.0, 0.0]), 1.0)
    assert (np.abs(pipe.at(2).box().upper) <= 1e-12).all()


def test_a_horizon_of_zero_is_the_initial_box():
    pipe = reach.solve(pendulum(), PENDULUM_BOX, 0.0)
    assert len(pipe) == 0 and (pipe.at(0).box().lower <= PENDULUM_BOX.lower).all() and (pipe.box().upper >= PENDULUM_BOX.upper).all()


@pytest.mark.parametrize("integrator", [reach.Picard(order=1), reach.Picard(order=2, substeps=1), reach.Picard(order=8), reach.Picard(columns=20), reach.Picard(substeps=7)])
def test_settings_change_tightness_never_truth(integrator):
    try:
        pipe = reach.solve(pendulum(2), PENDULUM_BOX, 2.0, integrator=integrator)
    except reach.RemainderError as error:
        pipe = error.flowpipe
    assert escapes(pipe, count=100) == []


@pytest.mark.parametrize("degree", [1, 2, 3, 5, 8])
def test_degrees_of_the_abstraction_change_tightness_never_truth(degree):
    pipe = reach.solve(pendulum(2, "relu"), PENDULUM_BOX, 1.0, controller=reach.Layerwise(degree))
    assert escapes(pipe, count=100) == []


def test_a_discrete_plant_with_a_fresh_disturbance_in_every_step():
    """x+ = x + w, |w| <= 1: after k steps every |x| <= k is reached; one symbol for all steps would do as well, but x+ = w - w_before would not."""
    plant = reach.DiscreteSystem(["x", "last"], ["u"], ["w + last", "-w"], {"w": (-1, 1)})
    pipe = reach.solve(reach.ClosedLoop(plant, linear([[0.0, 0.0]], [0.0]), 1.0), reach.Box([0.0, 0.0], [0.0, 0.0]), 3.0)
    box = pipe.at(3).box()
    assert box.lower[0] <= -2 and box.upper[0] >= 2 and box.upper[0] <= 2 + 1e-9


def test_a_motion_without_end_gives_a_remainder_error_with_what_is_proved():
    loop = reach.ClosedLoop(reach.ContinuousSystem(["x"], ["u"], ["x**2 + u"]), linear([[0.0]], [0.0]), 0.1)
    with pytest.raises(reach.RemainderError) as caught:
        reach.solve(loop, reach.Box([1.0], [1.1]), 2.0)
    error = caught.value
    assert 1 <= error.step <= 10 and error.time < 1.0 and len(error.flowpipe) == error.step - 1
    assert "step" in str(error) and "try" in str(error)
    assert escapes(error.flowpipe, count=50) == []


def test_a_division_by_an_interval_with_zero_ends_by_name():
    loop = reach.ClosedLoop(reach.ContinuousSystem(["x"], ["u"], ["1/x + u"]), linear([[0.0]], [0.0]), 0.1)
    with pytest.raises(CertifyError) as caught:
        reach.solve(loop, reach.Box([-0.5], [0.5]), 1.0)
    assert isinstance(caught.value, reach.RemainderError) and "a division by" in str(caught.value)


def test_progress_is_told_and_may_cancel():
    seen = []

    def stop(done, total, message):
        seen.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        reach.solve(pendulum(), PENDULUM_BOX, 2.0, progress=stop)
    assert seen[-1] == (3, 10) and len(caught.value.flowpipe) == 3 and caught.value.flowpipe.settings["steps"] == 10


def test_the_same_call_gives_the_same_numbers():
    one, two = (reach.solve(pendulum(5), PENDULUM_BOX, 1.0).at(5) for _ in range(2))
    assert (one.coefficients == two.coefficients).all() and (one.generators == two.generators).all()


BAD = {
    "dimension": ((pendulum, reach.Box([0.0], [1.0]), 1.0), "dimension"),
    "unbounded": ((pendulum, reach.Box([0.0, -math.inf], [1.0, 0.0]), 1.0), "speed"),
    "horizon": ((pendulum, PENDULUM_BOX, 0.3), "multiple"),
    "negative horizon": ((pendulum, PENDULUM_BOX, -0.2), "horizon"),
    "nan horizon": ((pendulum, PENDULUM_BOX, math.nan), "horizon"),
    "not a box": ((pendulum, [[0, 1], [0, 1]], 1.0), "box"),
    "not a loop": ((lambda: "loop", PENDULUM_BOX, 1.0), "closed loop"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_by_name(name):
    (make, box, horizon), word = BAD[name]
    with pytest.raises(InputError, match=word):
        reach.solve(make(), box, horizon)


@pytest.mark.parametrize("options", [{"controller": "layers"}, {"controller": 3}, {"integrator": "euler"}, {"integrator": reach.Layerwise()}])
def test_unknown_methods_are_refused(options):
    with pytest.raises(InputError, match="expected"):
        reach.solve(pendulum(), PENDULUM_BOX, 0.2, **options)


@pytest.mark.parametrize("period", [0, -1, math.nan, math.inf, "soon", None])
def test_periods_that_are_not_positive_are_refused(period):
    with pytest.raises(InputError, match="period"):
        reach.ClosedLoop(pendulum().plant, network([2, 3, 1]), period)


def test_a_controller_of_another_size_is_refused():
    plant = pendulum().plant
    with pytest.raises(InputError, match="inputs"):
        reach.ClosedLoop(plant, network([3, 4, 1]), 0.1)
    with pytest.raises(InputError, match="controls"):
        reach.ClosedLoop(plant, network([2, 4, 2]), 0.1)
    with pytest.raises(InputError):
        reach.ClosedLoop(plant, "no such file.onnx", 0.1)
    with pytest.raises(InputError):
        reach.ClosedLoop("plant", network([2, 4, 1]), 0.1)
