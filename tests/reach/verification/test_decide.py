"""Verdicts on systems with known solutions: right on both sides of the boundary, and never by rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest

import reach
from certify import InputError
from reach.integrators.picard import Picard
from reach.specification import Arrive, ArriveWithin, Avoid, HalfSpace, Stay
from reach.verification import prove, verify
from tests.reach.verification.systems import counting, halving, moving, rotation, turning

GAP = 1e-9


@pytest.fixture(scope="module")
def half():
    """x from [1, 2] to [1/4, 1/2] in two periods."""
    return reach.solve(halving(), reach.Box([1.0], [2.0]), 2.0)


@pytest.fixture(scope="module")
def wheel():
    """The oscillator from [0.9, 1.1] x [-0.1, 0.1], one turn nearly."""
    return reach.solve(rotation(), reach.Box([0.9, -0.1], [1.1, 0.1]), 6.0, integrator=Picard(order=8, substeps=4))


@pytest.fixture(scope="module")
def corner():
    """(t, 0) for t in [0, 4] from the box [-0.1, 0.1]^2."""
    return reach.solve(moving(), reach.Box([-0.1, -0.1], [0.1, 0.1]), 4.0)


def face(gap: float) -> list:
    """Specifications of `half` that hold with margin `gap`, and fail by -gap where it is negative."""
    return [
        Arrive(f"x <= {0.5 + gap!r}"),
        Arrive(f"x >= {0.25 - gap!r}"),
        Arrive({"x": (0.25 - gap, 0.5 + abs(gap))}),
        Arrive(HalfSpace([-2.0], -0.5 + 2 * gap)),
        Arrive(f"x**2 <= {(0.5 + gap) ** 2!r}"),
        Arrive(f"exp(x) <= {math.exp(0.5 + gap)!r}"),
        Arrive({"x": (0.5 - gap, 9)}, step=1),
        Stay(f"x >= {0.25 - gap!r}"),
        Stay(f"x <= {1 + gap!r}", steps=(1, 2)),
        Stay(f"x <= {2 + gap!r}", at="samples"),
        Stay(f"Abs(x) >= {0.25 - gap!r}"),
        Avoid(f"x <= {0.25 - gap!r}"),
        Avoid({"x": (2 + gap, 3)}),
        Avoid(f"x >= {0.5 + gap!r}", steps=(2, 2)),
        Avoid(f"x**2 >= {(2 + gap) ** 2!r}"),
        ArriveWithin(f"x <= {0.5 + gap!r}"),
        ArriveWithin({"x": (0.5 - gap, 1 + abs(gap))}, steps=(1, 1)),
    ]


@pytest.mark.parametrize("i", range(len(face(GAP))))
def test_a_billionth_on_either_side_is_decided(half, i):
    held, broken = face(GAP)[i], face(-GAP)[i]
    verdict = verify(half, held)
    assert verdict.status == "VERIFIED", (held, verdict)
    verdict = verify(half, broken)
    assert verdict.status == "FALSIFIED", (broken, verdict)
    replayed = verdict.witness.replay(half.loop)
    assert half.initial.contains(verdict.witness.initial) and np.isfinite(replayed).all()
    assert 0 <= verdict.witness.margin <= 5 * GAP


@pytest.mark.parametrize("i", range(len(face(0.0))))
def test_the_exact_boundary_is_not_verified_beyond_doubt_nor_falsified(half, i):
    """The claims hold with margin 0 (Avoid, closed sets, fail there): no verdict may be wrong."""
    spec = face(0.0)[i]
    verdict = verify(half, spec)
    assert verdict.status != ("VERIFIED" if isinstance(spec, Avoid) else "FALSIFIED"), (spec, verdict)


def test_a_goal_that_fails_by_less_than_a_float_is_not_verified():
    """From 1, x+ = x/3 gives 1/3; the float nearest to 1/3 is smaller."""
    from tests.reach.verification.systems import linear

    loop = reach.ClosedLoop(reach.DiscreteSystem(["x"], ["u"], ["x/3"]), linear([[0.0]]), 1.0)
    pipe = reach.solve(loop, reach.Box([1.0], [1.0]), 1.0)
    assert verify(pipe, Arrive("x <= 0.3333333333333333")).status != "VERIFIED"
    assert verify(pipe, Arrive({"x": (0, 1 / 3)})).status != "VERIFIED"
    assert verify(pipe, Avoid("x >= 0.3333333333333333")).status != "VERIFIED"
    assert verify(pipe, Arrive("x <= 0.33333333333334")).status == "VERIFIED"


def test_rotated_half_spaces_keep_their_correlation():
    """The discrete rotation maps the box to a turned box: its extent along the turned axes is the box's own."""
    pipe = reach.solve(turning(), reach.Box([0.0, -1.0], [2.0, 1.0]), 1.0)  # e = (3/5, 4/5) is the image of the x axis: 0 <= e.x <= 2
    for gap, status in ((GAP, "VERIFIED"), (-GAP, "FALSIFIED")):
        assert verify(pipe, Arrive(f"0.6*x + 0.8*y <= {2 + gap!r}")).status == status
        assert verify(pipe, Arrive(HalfSpace({"x": "-3/5", "y": "-4/5"}, gap))).status == status
        assert verify(pipe, Arrive(f"Abs(0.8*x - 0.6*y) <= {1 + gap!r}")).status == status
    assert verify(pipe, Arrive("0.6*x + 0.8*y <= 2")).status != "FALSIFIED"


def test_the_circle_between_samples(wheel):
    """|x| <= sqrt(1.22): radius of the corner (1.1, 0.1); the samples are 0.5 apart."""
    radius = math.hypot(1.1, 0.1)
    assert verify(wheel, Stay(f"x**2 + y**2 <= {radius**2 + 1e-6!r}")).status == "VERIFIED"
    assert verify(wheel, Stay(f"sqrt(x**2 + y**2) <= {radius + 1e-6!r}")).status == "VERIFIED"
    assert verify(wheel, Stay(f"x**2 + y**2 <= {radius**2 - 1e-6!r}")).status == "FALSIFIED"
    assert verify(wheel, Stay({"x": (-radius - 1e-6, None), "y": (None, radius + 1e-6)})).status == "VERIFIED"
    assert verify(wheel, Avoid(f"x**2 + y**2 <= {0.9**2 - 1e-6!r}")).status == "VERIFIED"
    assert verify(wheel, Avoid(f"x**2 + y**2 <= {0.9**2 + 1e-6!r}")).status == "FALSIFIED"
    assert verify(wheel, Avoid({"x": (-0.6, 0.6), "y": (-0.6, 0.6)})).status == "VERIFIED"
    assert verify(wheel, Avoid({"x": (0.6, 1), "y": (0.6, 1)})).status == "FALSIFIED"


def test_what_happens_between_samples_counts():
    """sin t at t = 0 and 3 is small, in between it is 1."""
    pipe = reach.solve(rotation(3.0), reach.Box([0.0, 1.0], [0.0, 1.0]), 3.0, integrator=Picard(order=8, substeps=16))
    assert verify(pipe, Stay("x <= 0.5", at="samples")).status == "VERIFIED"
    verdict = verify(pipe, Stay("x <= 0.5"))
    assert verdict.status == "FALSIFIED" and 0.5 < verdict.witness.time < 2.7
    assert verify(pipe, Avoid("x >= 0.5", at="samples")).status == "VERIFIED"
    assert verify(pipe, Avoid("x >= 0.5")).status == "FALSIFIED"
    assert verify(pipe, ArriveWithin("x >= 0.99")).status == "VERIFIED"  # at a time that is no sample
    assert verify(pipe, ArriveWithin("x >= 1.01")).status == "FALSIFIED"


def test_a_motion_past_a_corner(corner):
    """The strip |y| <= 0.1 passes the box [1, 2] x [0.1 + gap, 1] and, turned, a corner that no face separates from a whole step of the tube."""
    assert verify(corner, Avoid({"x": (1, 2), "y": (0.1 + GAP, 1)})).status == "VERIFIED"
    assert verify(corner, Avoid({"x": (1, 2), "y": (0.1 - GAP, 1)})).status == "FALSIFIED"
    diagonal = reach.ClosedLoop(reach.ContinuousSystem(["x", "y"], ["u"], ["1", "-1"]), corner.loop.controller, 1.0)
    pipe = reach.solve(diagonal, reach.Box([0.0, 1.9], [0.0, 1.9]), 2.0)  # x + y = 1.9 all along: past the corner (1, 1), below it
    assert verify(pipe, Avoid({"x": (1, 2), "y": (1, 2)})).status == "VERIFIED"
    near = reach.solve(diagonal, reach.Box([0.0, 2 - 1e-7], [0.0, 2 - 1e-7]), 2.0)
    assert verify(near, Avoid({"x": (1, 2), "y": (1, 2)})).status == "VERIFIED"
    through = reach.solve(diagonal, reach.Box([0.0, 2 + 1e-7], [0.0, 2 + 1e-7]), 2.0)
    assert verify(through, Avoid({"x": (1, 2), "y": (1, 2)})).status != "VERIFIED"
    touching = reach.solve(diagonal, reach.Box([0.0, 2.0], [0.0, 2.0]), 2.0)
    assert verify(touching, Avoid({"x": (1, 2), "y": (1, 2)})).status != "VERIFIED"


def test_different_times_for_different_motions_stay_open(corner):
    """Each motion passes 2 <= x <= 2.1, but no time has the whole set (0.2 wide) inside; nor does any motion miss it."""
    spec = ArriveWithin({"x": (2, 2.1)})
    verdict = verify(corner, spec)
    assert verdict.status == "UNKNOWN" and "different times" in verdict.reason
    assert verify(corner, ArriveWithin({"x": (2, 2.201)})).status == "VERIFIED"
    assert verify(corner, ArriveWithin({"x": (2, 2.1), "y": (0.2, 1)})).status == "FALSIFIED"
    assert verify(corner, ArriveWithin({"x": (2, 2.3)}, steps=(0, 1))).status == "FALSIFIED"


def test_either_side_of_an_absolute_value(corner):
    """Abs(x - 5) >= 0.5 holds all along; Abs(x - 2) >= 0.5 fails between t = 1.4 and 2.6, and holds at t = 1 and 3 on two different sides."""
    assert verify(corner, Stay("Abs(x - 5) >= 0.5")).status == "VERIFIED"
    assert verify(corner, Stay("Abs(x - 2) >= 0.5")).status == "FALSIFIED"
    assert verify(corner, Stay("Abs(y) >= 0.01", steps=(1, 1))).status == "FALSIFIED"
    two = reach.solve(reach.ClosedLoop(reach.DiscreteSystem(["x"], ["u"], ["x**3"]), halving().controller, 1.0), reach.Box([-2.0], [2.0]), 1.0)
    assert verify(two, Stay("Abs(x) >= -0.1")).status == "VERIFIED"  # left half by one side, right half by the other


def test_disturbances_are_part_of_the_claim():
    pipe = reach.solve(moving(w=(-0.1, 0.1)), reach.Box([0.0, 0.0], [0.0, 0.0]), 1.0)
    assert verify(pipe, Arrive({"x": (0.9 - GAP, 1.1 + GAP)})).status == "VERIFIED"
    verdict = verify(pipe, Arrive({"x": (0.9 + 1e-6, 2)}))
    assert verdict.status == "FALSIFIED"
    assert verdict.witness.disturbance.tolist() == [-0.1]
    assert verdict.witness.replay(pipe.loop)[-1, 0] == pytest.approx(0.9, abs=1e-9)


def test_discrete_plants_have_samples_only():
    pipe = reach.solve(counting(), reach.Box([0.0], [0.0]), 10.0)
    assert verify(pipe, Stay("x <= 1.000000001")).status == "VERIFIED"
    assert verify(pipe, Avoid({"x": (0.11, 0.19)})).status == "VERIFIED"
    assert verify(pipe, ArriveWithin({"x": (0.49, 0.51)})).status == "VERIFIED"
    assert verify(pipe, ArriveWithin({"x": (0.51, 0.59)})).status == "FALSIFIED"
    assert verify(pipe, Stay("x <= 0.999999999")).status == "FALSIFIED"


def test_a_short_flowpipe_proves_nothing_about_later(half):
    """The partial flowpipe of a RemainderError remembers how many steps were asked for."""
    import dataclasses

    short = dataclasses.replace(half, steps=half.steps[:1], settings={**half.settings, "steps": 2})
    for spec in (Arrive("x <= 5"), Stay("x <= 5"), Avoid("x >= 5"), Stay("x <= 5", steps=(2, 2)), ArriveWithin("x <= 5")):
        verdict = verify(short, spec)
        assert verdict.status == "UNKNOWN" and "ends at time 1" in verdict.reason, verdict
    assert verify(short, Stay("x <= 5", steps=(0, 1))).status == "VERIFIED"
    assert verify(short, Arrive("x >= 1")).status == "FALSIFIED"  # refuted by its own thin flowpipe to the end


def test_a_flowpipe_says_how_far_it_was_asked(half):
    assert half.settings.get("steps") == 2


def test_horizon_zero_asks_about_the_initial_box():
    pipe = reach.solve(halving(), reach.Box([0.1], [0.3]), 0.0)
    assert verify(pipe, Stay("x <= 0.3")).status != "FALSIFIED"
    assert verify(pipe, Arrive("x <= 0.30000001")).status == "VERIFIED"
    assert verify(pipe, Avoid("x <= 0.2")).status == "FALSIFIED"


def test_only_specifications_are_asked(half):
    for nothing in ("x >= 0", None, reach.Box([0], [1])):
        with pytest.raises(InputError, match="not a specification"):
            verify(half, nothing)
    with pytest.raises(InputError, match="another dimension"):
        verify(half, Arrive(reach.Box([0, 0], [1, 1])))


def test_a_proof_needs_no_simulation(half, monkeypatch):
    import reach.simulation as simulation

    def never(*arguments, **options):
        raise AssertionError("simulated")

    monkeypatch.setattr(simulation, "simulate", never)
    monkeypatch.setattr(simulation, "simulate_dense", never)
    assert verify(half, Stay("x >= 0")).status == "VERIFIED"
    assert prove(half, Stay("x >= 1")).status == "UNKNOWN"


def test_reasons_name_time_step_condition_and_margin(half):
    verdict = prove(half, Stay("x >= 0.3"))
    assert verdict.status == "UNKNOWN" and "x >= 0.3" in verdict.reason and "control step 2" in verdict.reason and "0.05" in verdict.reason
    verdict = verify(half, Stay("x >= 0.2"))
    assert "with a margin of at least 0.0" in verdict.reason
    verdict = verify(half, Stay("x >= 0.3"))
    assert "x = 1.0" in verdict.reason and "time 2" in verdict.reason and "x >= 0.3" in verdict.reason
