"""Pictures: polygons that enclose their sets, what is drawn for which specification, and every kind of plant."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.reach_problems import swing

import reach
from certify.core.errors import InputError
from reach.app.plot import plot, save_plot
from reach.app.polygons import outline, piece_plane, sample_plane
from reach.sets.polyzonotope import PolynomialZonotope
from reach.sets.ring import ring
from reach.simulation import simulate_dense
from reach.specification import Arrive, ArriveWithin, Avoid, Stay


def inside(corners: np.ndarray, points: np.ndarray) -> bool:
    """All points in the convex polygon, up to 1e-9 of its size (the corners are rounded)."""
    edges = np.roll(corners, -1, axis=0) - corners
    normal = np.stack([edges[:, 1], -edges[:, 0]], axis=1)
    length = np.linalg.norm(normal, axis=1)
    size = np.ptp(corners, axis=0).max() + 1e-6 * np.abs(corners).max()
    real = length > 1e-7 * size
    normal, start = normal[real] / length[real, None], corners[real]
    return bool(((points[:, None] - start) * normal).sum(-1).max(initial=0.0) <= 1e-9 * size)


@given(st.integers(0, 10_000), st.integers(0, 2), st.integers(0, 4), st.sampled_from([1e-9, 1.0, 1e6]))
def test_an_outline_encloses_its_set_and_is_convex(seed, variables, columns, stretch):
    rng = np.random.default_rng(seed)
    r = ring(variables, 3)
    z = PolynomialZonotope(r, rng.normal(size=(2, r.size)) * [[1.0], [stretch]], rng.normal(size=(2, columns)) * [[1.0], [stretch]] * 0.3)
    corners = outline(z)
    points = z.sample(300, seed)
    scale = np.array([1.0, stretch])
    assert inside(corners / scale, points / scale)
    edges = np.roll(corners / scale, -1, axis=0) - corners / scale
    turns = edges[:, 0] * np.roll(edges[:, 1], -1) - edges[:, 1] * np.roll(edges[:, 0], -1)
    assert (turns >= -1e-9 * np.abs(edges).max() ** 2).all()
    box = z.box()
    assert (corners >= box.lower - 1e-9 * scale).all() and (corners <= box.upper + 1e-9 * scale).all()


def test_a_slanted_needle_has_a_narrow_outline():
    z = PolynomialZonotope(ring(0, 1), np.zeros((2, 1)), np.array([[1.0, 1e-3], [1.0, -1e-3]]))
    x, y = outline(z).T
    area = 0.5 * abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())
    assert 8e-3 * (1 - 1e-9) <= area <= 1.2 * 8e-3


def test_points_and_unbounded_sets():
    point = PolynomialZonotope(ring(0, 1), np.array([[1.0], [2.0]]), np.zeros((2, 0)))
    assert np.allclose(outline(point), [1.0, 2.0])
    assert len(outline(PolynomialZonotope(ring(0, 1), np.array([[1.0], [np.inf]]), np.zeros((2, 0))))) == 0


@pytest.fixture(scope="module")
def pipe():
    return swing()


def test_the_drawn_polygons_contain_simulated_motions(pipe):
    starts = pipe.at(0).sample(200)
    dense = simulate_dense(pipe.loop, np.clip(starts, [0.9, -0.1], [1.1, 0.1]), pipe.horizon, 10)
    for k in range(1, len(pipe) + 1):
        pieces = pipe.tube(k).pieces
        times = (k - 1 + np.arange(11) / 10) * pipe.loop.period
        for piece in pieces:
            now = (piece.start - 1e-12 <= times) & (times <= piece.end + 1e-12)
            states = dense[:, k - 1, now]
            assert inside(outline(piece_plane(piece, 0, 1)), states.reshape(-1, 2))
            with_time = np.stack([np.broadcast_to(times[now], states.shape[:2]), states[..., 1]], axis=-1)
            assert inside(outline(piece_plane(piece, None, 1)), with_time.reshape(-1, 2))
        assert inside(outline(sample_plane(pipe.at(k), 0, 1, 0.0)), dense[:, k - 1, -1])


def labels(ax) -> list[str]:
    return ax.get_legend_handles_labels()[1]


@pytest.mark.parametrize("axes", [("x", "v"), ("t", "x"), ("v", "t"), (0, 1)])
def test_axes_by_name_number_and_time(pipe, axes):
    ax = pipe.plot(*axes)
    names = {"x": "x", "v": "v", "t": "time", 0: "x", 1: "v"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == (names[axes[0]], names[axes[1]])
    ax.figure.draw_without_rendering()
    assert labels(ax) == ["tube: every motion, at every time", "sets at the samples", "initial set"]
    polygons = {c.get_label(): len(c.get_paths()) for c in ax.collections}
    assert polygons["sets at the samples"] == len(pipe) and polygons["initial set"] == 1
    plt.close("all")


@pytest.mark.parametrize("axes", [("x", "y"), ("x", "x"), ("t", "t"), ("x", 5), (None, "x")])
def test_wrong_axes(pipe, axes):
    with pytest.raises(InputError):
        pipe.plot(*axes)
    plt.close("all")


def test_all_kinds_of_specifications_are_drawn(pipe, tmp_path):
    specifications = [
        Arrive({"x": (0, 1)}), Arrive({"x": (0, 1)}, step=2), ArriveWithin({"x": (0.3, 0.6), "v": (-1, 0)}, steps=(2, 4)), Stay("x <= 1.2"), Stay({"x": (-2, 2)}, steps=(1, 3)),
        Avoid(["x >= 0.5", "v >= 0.4"]), Avoid("x + v >= 1.3"), Avoid("x**2 + v**2 <= 0.01"), Stay("x**2 <= 4", at="samples"), Arrive(reach.Box([-np.inf, -1], [np.inf, 1])),
    ]  # fmt: skip
    for x, y in (("x", "v"), ("t", "x")):
        ax = plot(pipe, x, y, specifications=specifications, motions=np.zeros((3, 9, 2)))
        ax.figure.draw_without_rendering()
        names = labels(ax)
        assert len(names) == len(set(names)) and "goal" in " ".join(names) and "never met" in " ".join(names) and "3 simulated motions" in names
        assert ("where v agrees" in " ".join(names)) == (x == "t") and ("from 0.25 to 0.75" in " ".join(names)) == (x == "x")
        plt.close("all")
    path = save_plot(tmp_path / "p.png", pipe, "x", "v", title="all", specifications=specifications)
    first = path.read_bytes()
    assert first[:4] == b"\x89PNG" and save_plot(path, pipe, "x", "v", title="all", specifications=specifications).read_bytes() == first


def test_a_goal_far_away_does_not_shrink_the_picture(pipe):
    near, far = (plot(pipe, "x", "v", specifications=[Arrive({"x": (0, end)})]) for end in (1.2, 1e6))
    assert far.get_xlim()[1] < 3 and near.get_xlim()[1] >= 1.2
    plt.close("all")


def test_discrete_plants_have_sets_at_the_samples_only(tmp_path):
    pipe = swing("discrete")
    ax = plot(pipe, "x", "v", motions=np.zeros((2, 5, 2)))
    assert labels(ax) == ["sets at the samples", "2 simulated motions", "initial set"]
    plot(pipe, "t", "x")
    plt.close("all")


@pytest.mark.parametrize("time", ["continuous", "discrete"])
def test_every_branch_of_a_switching_controller_is_drawn(time):
    from strategies.loops import network

    rates = ["y", "u - x"] if time == "continuous" else ["x + 0.5*y", "0.9*y + u"]
    plant = (reach.ContinuousSystem if time == "continuous" else reach.DiscreteSystem)(["x", "y"], ["u"], rates)
    values = {"a": [0.1], "b": [0.0], "c": [-0.1]}
    nets = {mode: network([2, 6, 3], "relu", i, gain=2.0) for i, mode in enumerate(values)}
    rule = reach.Switching(nets, "a", lambda previous, new, box: [values[new]])
    pipe = reach.solve(reach.ClosedLoop(plant, rule, 0.5 if time == "continuous" else 1.0), reach.Box([-1, -0.2], [1, 0.2]), 2)
    branches = sum(len(pipe.at(k).parts) for k in range(1, len(pipe) + 1))
    assert branches > len(pipe), "no branching: the example is too tame"
    for axes in (("x", "y"), ("t", "x")):
        ax = plot(pipe, *axes)
        ax.figure.draw_without_rendering()
        assert {c.get_label(): len(c.get_paths()) for c in ax.collections}["sets at the samples"] == branches
    plt.close("all")


def test_counterexamples_are_drawn(pipe):
    verdict = pipe.verify(Stay("x <= 1"))
    assert verdict.status == "FALSIFIED"
    assert "counterexample" in labels(plot(pipe, "x", "v", witnesses=[verdict.witness]))
    plt.close("all")
