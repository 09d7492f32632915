"""Refutations carry a motion that replays and is proved; a simulation alone never refutes."""

from __future__ import annotations

import numpy as np
import pytest

import reach
from certify import Verdict
from reach.specification import Arrive, ArriveWithin, Avoid, Stay
from reach.verification import falsify, verify
from reach.verification.decide import _bind
from reach.verification.search import Candidate, Search
from reach.verification.witness import prove_violation, with_disturbance
from tests.reach.verification.systems import counting, halving, linear, moving


@pytest.fixture(scope="module")
def curved():
    """x+ = x - x^2/... : after one update x (1 - x), whose largest value 1/4 is met in the middle of [0, 1], far from corners."""
    loop = reach.ClosedLoop(reach.DiscreteSystem(["x"], ["u"], ["x*(1 - x)"]), linear([[0.0]]), 1.0)
    return reach.solve(loop, reach.Box([0.0], [1.0]), 1.0)


def test_the_search_leaves_the_corners(curved):
    verdict = verify(curved, Arrive("x <= 0.2499"))
    assert verdict.status == "FALSIFIED" and abs(verdict.witness.initial[0] - 0.5) < 0.02
    assert verdict.witness.replay(curved.loop)[-1, 0] > 0.2499
    assert verify(curved, Arrive("x <= 0.250001")).status == "VERIFIED"


def test_a_witness_is_short_inside_and_proved(curved):
    w = verify(curved, Arrive("x <= 0.24")).witness
    assert len(repr(float(w.initial[0]))) <= 6 and curved.initial.contains(w.initial)
    thin = w.flowpipe
    assert thin.initial.lower.tolist() == thin.initial.upper.tolist() == w.initial.tolist()
    box = thin.at(w.steps).box()
    assert box.lower[0] > 0.24 and 0 < w.margin <= box.lower[0] - 0.24 + 1e-15
    assert "Witness(initial=" in repr(w) and "margin" in repr(w)


def test_a_simulated_violation_by_rounding_is_not_a_refutation():
    """0.2 + 1/10 is 3/10, in floats it is more: the simulation violates x <= 0.3, the motion does not."""
    pipe = reach.solve(counting(), reach.Box([0.2], [0.2]), 1.0)
    assert reach.simulate(pipe.loop, [[0.2]], 1.0)[0, -1, 0] > 0.3
    verdict = verify(pipe, Arrive("x <= 0.3"))
    assert verdict.status == "UNKNOWN"
    assert verify(pipe, Arrive("x <= 0.299999999")).status == "FALSIFIED"


def test_refuting_by_simulation_would_be_caught(monkeypatch):
    """The mutant: every candidate of the simulation counts as proved."""
    monkeypatch.setattr(falsify, "_proved", lambda pipe, bound, search, found: Verdict("FALSIFIED", "simulated", found))
    pipe = reach.solve(counting(), reach.Box([0.2], [0.2]), 1.0)
    assert verify(pipe, Arrive("x <= 0.3")).status == "FALSIFIED"


def test_a_candidate_that_does_not_violate_is_not_proved():
    pipe = reach.solve(halving(), reach.Box([1.0], [2.0]), 2.0)
    for spec in (Arrive("x <= 0.5"), Stay("x >= 0.25"), Avoid("x >= 2.1")):
        bound = _bind(pipe, spec)
        for x in (1.0, 1.5, 2.0):
            assert prove_violation(pipe.loop, bound, np.array([x]), None, 2) is None


def test_a_candidate_outside_the_initial_box_is_not_used(monkeypatch):
    pipe = reach.solve(halving(), reach.Box([1.0], [2.0]), 2.0)
    bound = _bind(pipe, Arrive("x <= 0.6"))
    search = Search(pipe.loop, bound, pipe.initial.lower, pipe.initial.upper)
    assert falsify._proved(pipe, bound, search, Candidate(np.array([4.0]), 0.4, 2)) is None


def test_the_open_verdict_names_the_worst_motion_as_an_estimate():
    """Different motions arrive at different times: neither proved nor refuted."""
    pipe = reach.solve(moving(), reach.Box([-0.1, 0.0], [0.1, 0.0]), 3.0)
    verdict = verify(pipe, ArriveWithin({"x": (2, 2.05)}))
    assert verdict.status == "UNKNOWN" and "estimate" in verdict.reason and verdict.witness is None


def test_the_time_of_a_violation_between_samples():
    """x = t - t^2/2 ... a parabola that returns: (0, 1/2) is left upwards in the middle of the only period."""
    plant = reach.ContinuousSystem(["x", "v"], ["u"], ["v", "u"])
    loop = reach.ClosedLoop(plant, linear([[0.0, 0.0]], [-2.0]), 2.0)
    pipe = reach.solve(loop, reach.Box([0.0, 2.0], [0.01, 2.0]), 2.0)
    verdict = verify(pipe, Stay("x <= 0.9"))
    assert verdict.status == "FALSIFIED" and 0.6 < verdict.witness.time < 1.4
    assert verify(pipe, Stay("x <= 0.9", at="samples")).status == "VERIFIED"
    assert verify(pipe, Stay("x <= 1.011")).status == "VERIFIED"


def test_a_disturbance_at_its_end_stays_admissible():
    """1/3 is no float: the plant's interval was rounded outward, the witness covers a constant inside the exact one."""
    from fractions import Fraction

    plant = reach.ContinuousSystem(["x", "y"], ["u"], ["w", "0"], {"w": ("-1/3", "1/3")})
    loop = reach.ClosedLoop(plant, linear([[0.0, 0.0]]), 1.0)
    for end in (plant.disturbance_lower, plant.disturbance_upper):
        thin = with_disturbance(loop, end)
        low, high = Fraction(float(thin.plant.disturbance_lower[0])), Fraction(float(thin.plant.disturbance_upper[0]))
        exact = Fraction(1, 3) if end[0] > 0 else Fraction(-1, 3)
        assert low <= exact <= high and high - low <= Fraction(1, 10**15)
    inner = with_disturbance(loop, np.array([0.25])).plant
    assert inner.disturbance_lower[0] == inner.disturbance_upper[0] == 0.25


def test_a_search_that_fails_leaves_the_question_open(monkeypatch):
    from certify import InputError

    def broken(self):
        raise InputError("no simulation here")

    monkeypatch.setattr(Search, "start", broken)
    pipe = reach.solve(halving(), reach.Box([1.0], [2.0]), 2.0)
    verdict = verify(pipe, Arrive("x <= 0.4"))
    assert verdict.status == "UNKNOWN" and "no simulation here" in verdict.reason
