"""Deliberately broken rules: each one gives a wrong verdict on a system with a known answer, so the tests of verdicts would catch it."""

from __future__ import annotations

import numpy as np
import pytest

import reach
from reach.integrators.picard import Picard
from reach.specification import Arrive, ArriveWithin, Avoid, Stay
from reach.verification import inclusion, moments, patches, prove, settle, verify
from tests.reach.verification.systems import counting, halving, moving, rotation


def wrong(status_truth: list[tuple]) -> list:
    """The questions whose verdict contradicts the truth."""
    return [spec for pipe, spec, truth in status_truth if (prove(pipe, spec).status == "VERIFIED") and not truth]


@pytest.fixture(scope="module")
def questions():
    half = reach.solve(halving(), reach.Box([1.0], [2.0]), 2.0)
    sine = reach.solve(rotation(3.0), reach.Box([0.0, 1.0], [0.0, 1.0]), 3.0, integrator=Picard(order=8, substeps=16))
    strip = reach.solve(moving(), reach.Box([-0.1, -0.1], [0.1, 0.1]), 4.0)
    return [
        (half, Arrive("x <= 0.4999"), False),
        (half, Arrive("x >= 0.5001"), False),
        (half, Arrive("x <= 0.5001"), True),
        (half, Stay("x >= 0.2501"), False),
        (half, Stay("x*x >= 0.07"), False),
        (half, Avoid("x >= 1.9999"), False),
        (half, Avoid("x >= 2.0001"), True),
        (sine, Stay("x <= 0.5"), False),
        (sine, Avoid("x >= 0.5"), False),
        (strip, ArriveWithin({"x": (2, 2.1), "y": (0.05, 1)}), False),
        (strip, ArriveWithin({"x": (2, 2.1)}, steps=(0, 1)), False),
        (strip, Avoid({"x": (1, 2), "y": (0.0, 1)}), False),
        (strip, Avoid({"x": (1, 2), "y": (0.11, 1)}), True),
    ]


def test_the_rules_as_they_are(questions):
    assert not wrong(questions)
    assert [prove(pipe, spec).status == "VERIFIED" for pipe, spec, truth in questions] == [truth for _, _, truth in questions]


def test_a_flipped_comparison(questions, monkeypatch):
    held = inclusion._held
    monkeypatch.setattr(inclusion, "_held", lambda r, model: (lambda ok, slack: (slack <= 0, slack))(*held(r, model)))
    assert wrong(questions)


def test_a_slack_instead_of_its_sign(questions, monkeypatch):
    held = inclusion._held
    monkeypatch.setattr(inclusion, "_held", lambda r, model: (lambda ok, slack: (slack >= -1e-3, slack))(*held(r, model)))
    assert wrong(questions)


def test_the_tube_forgotten(questions, monkeypatch):
    def samples(pipe, first, last):
        return [patch for moment in patches.moments_at(pipe, range(first, last + 1)) for patch in moment]

    monkeypatch.setitem(prove.__globals__, "tube_pieces", samples)
    assert wrong(questions)


def test_a_union_over_time(questions, monkeypatch):
    """`meets the goal at some time` in place of `is inside at one time`."""
    monkeypatch.setattr(moments, "inside", lambda found, region, budget: inclusion.Answer(not inclusion.outside(found, region, budget).ok, 1.0, None, -1))
    assert wrong(questions)


def test_radii_forgotten(monkeypatch):
    """The disturbance lives in the generators: without them the goal is too small."""
    pipe = reach.solve(moving(w=(-0.1, 0.1)), reach.Box([0.0, 0.0], [0.0, 0.0]), 1.0)
    question = [(pipe, Arrive({"x": (0.95, 1.05)}), False)]
    assert not wrong(question)
    from reach.verification import models

    monkeypatch.setattr(models, "_generators", lambda patch, normal: np.zeros(len(normal)))
    assert wrong(question)


def test_half_of_the_parts_dropped(questions, monkeypatch):
    halves = settle._halves

    def one(r, rows, cut, root, axes):
        made = halves(r, rows, cut, root, axes)
        return tuple(x[: max(1, len(x) // 2)] for x in made)

    r_questions = [*questions, (reach.solve(halving(), reach.Box([-1.0], [1.0]), 1.0), Stay("x**2 - x <= 1.9", steps=(0, 0)), False)]
    assert not wrong(r_questions)
    monkeypatch.setattr(settle, "_halves", one)
    monkeypatch.setattr(inclusion, "_broken", lambda low, high: np.zeros(len(low), bool))
    assert wrong(r_questions)


def test_the_union_of_readings_instead_of_their_intersection():
    """0.1 as a float is more than 1/10; the motion ends at the float, so the decimal goal is missed."""
    pipe = reach.solve(counting(), reach.Box([0.0], [0.0]), 1.0)
    assert verify(pipe, Arrive({"x": (0, 0.1)})).status != "FALSIFIED"
    assert verify(pipe, Arrive({"x": (0.1000000000000001, 1)})).status != "VERIFIED"
