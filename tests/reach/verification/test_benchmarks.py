"""The published questions about the benchmark systems are decided: 18 of ReachNN's 24 goals verified, 6 falsified, and others of benchmarks.json."""

from __future__ import annotations

import numpy as np
import pytest

import reach
from reach.specification import Arrive, ArriveWithin, Avoid, Stay
from reach.verification import verify

FALSE = {"b3_relu_sigmoid", "b5_sigmoid", "b5_tanh", "b5_relu_tanh", "b6_sigmoid", "b6_tanh"}
LAST = ("relu", "sigmoid", "tanh", "relu_tanh")
GOALS = [f"b{i}_{'relu_sigmoid' if (i, a) == (3, 'relu_tanh') else a}" for i in range(1, 7) for a in LAST]
PROBLEMS = ["acc", "single_pendulum", "attitude_control", "nav_robust", "unicycle", "tora_reach_sigmoid", "tora_reach_tanh", "quad"]


@pytest.fixture(scope="module")
def entries(data_folder):
    if not (data_folder / "controllers").is_dir():
        pytest.skip(f"no benchmark systems: {data_folder / 'controllers'} is absent")
    from tests.benchmarks import reach_set

    return reach_set.load(data_folder / "controllers"), data_folder / "controllers"


def flowpipe(entries, name: str, steps: int | None = None) -> reach.Flowpipe:
    from tests.benchmarks import reach_set

    entry = entries[0][name]
    return reach.solve(reach_set.loop_of(entry, entries[1]), reach_set.initial_of(entry), (steps or entry["steps"]) * entry["control_step"])


def question(entry: dict, spec: dict):
    """The specification that an entry's record describes."""
    if spec["kind"].startswith("reach"):
        kind = Arrive if spec["kind"] == "reach_at_end" else ArriveWithin
        return kind({state: tuple(ends) for state, ends in spec["goal"].items()})
    if spec["kind"] == "avoid_box":
        return Avoid({state: tuple(ends) for state, ends in spec["unsafe"].items()})
    window = tuple(round(t / entry["control_step"]) for t in spec["time"]) if "time" in spec else None
    return Stay([f"{g} >= 0" for g in spec["safe_ge0"]], steps=window)


@pytest.mark.parametrize("name", GOALS)
def test_the_goals_of_reachnn(entries, name):
    entry = entries[0][name]
    spec = next(s for s in entry["specs"] if s["id"] == "goal_reachnnstar")
    pipe = flowpipe(entries, name, spec["steps"])
    verdict = verify(pipe, question(entry, spec))
    assert verdict.status == ("FALSIFIED" if name in FALSE else "VERIFIED"), verdict
    if name in FALSE:
        w = verdict.witness
        end = w.replay(pipe.loop)[-1]
        ends = np.array([spec["goal"].get(state, (-np.inf, np.inf)) for state in entry["states"]])
        assert pipe.initial.contains(w.initial) and w.margin > 0
        assert ((end < ends[:, 0]) | (end > ends[:, 1])).any()


@pytest.mark.parametrize("name", PROBLEMS)
def test_other_problems_are_verified_unsplit(entries, name):
    entry = entries[0][name]
    pipe = flowpipe(entries, name)
    for spec in entry["specs"]:
        verdict = verify(pipe, question(entry, spec))
        assert verdict.status == "VERIFIED", (spec["id"], verdict)


@pytest.mark.parametrize(("climb", "status"), [(-19.5, "VERIFIED"), (-22.5, "VERIFIED"), (-25.5, "FALSIFIED"), (-28.5, "FALSIFIED")])
def test_the_collision_advisory_with_its_central_accelerations(entries, climb, status):
    from tests.benchmarks import reach_set

    loop, box = reach_set.switching_of(entries[0]["vcas"], False, climb, entries[1])
    pipe = reach.solve(loop, box, 10.0)
    verdict = verify(pipe, Stay("Abs(h) >= 100"))
    assert verdict.status == status, verdict
    if status == "FALSIFIED":
        assert box.contains(verdict.witness.initial) and (np.abs(verdict.witness.replay(loop)[:, 0]) < 100).any()


def test_a_point_past_the_corner_of_the_obstacle(entries):
    """nav_standard from (3.1, 2.9) passes near a corner of the obstacle: the tube's boxes touch it, its pieces do not."""
    from tests.benchmarks import reach_set

    entry = entries[0]["nav_standard"]
    loop = reach_set.loop_of(entry, entries[1])
    pipe = reach.solve(loop, reach.Box([3.1, 2.9, 0, 0], [3.1, 2.9, 0, 0]), 6.0)
    verdict = verify(pipe, Avoid({"x1": (1, 2), "x2": (1, 2)}))
    assert verdict.status == "VERIFIED", verdict
