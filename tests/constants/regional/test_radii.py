"""Radii: no sampled or attacked misclassified point inside, evidence that proves again, and broken versions that are caught."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import classifiers

from certify.constants.regional import farthest, onesided
from certify.constants.regional.boxes import Reach, boxes
from certify.constants.regional.radii import Point, network_of, regional_radii
from certify.constants.regional.slopes import slopes


def problem_of(seed: int, sizes=(4, 6, 5, 3), kind: str = "relu", count: int = 3, **attrs):
    rng = np.random.default_rng(seed)
    graph = classifiers.mlp(rng, sizes, kind, 1.5, **attrs)
    x = rng.normal(size=(count, sizes[0]))
    logits = graph(x)
    y = logits.argmax(axis=1)
    return graph, x, y, (logits[np.arange(count), y][:, None] - logits) * (1 - 1e-9) - 1e-9


def nearest(graph, x, y, rng, norm="l2", start=3.0, rounds=25, count=150):
    """The distance of the nearest misclassified point that a shrinking random search finds."""
    best, center = np.inf, np.zeros_like(x)
    size = {"l2": lambda d: np.linalg.norm(d, axis=1), "linf": lambda d: np.abs(d).max(1), "l1": lambda d: np.abs(d).sum(1)}[norm]
    spread = start
    for _ in range(rounds):
        d = center + spread * rng.normal(size=(count, len(x)))
        d = np.concatenate([d, d * rng.uniform(0.5, 1, size=(count, 1))])
        wrong = graph(x + d).argmax(axis=1) != y
        if wrong.any():
            sizes = np.where(wrong, size(d), np.inf)
            if sizes.min() < best:
                best, center = sizes.min(), d[sizes.argmin()]
        spread *= 0.8
    return best


@pytest.mark.parametrize("kind, attrs", [("relu", {}), ("leaky_relu", {"alpha": 0.1}), ("tanh", {}), ("gelu", {"approximate": "none"}), ("abs", {})])
def test_no_misclassified_point_inside(kind, attrs):
    rng, ratios = np.random.default_rng(0), []
    for seed in range(1):
        graph, x, y, margins = problem_of(seed, kind=kind, **attrs)
        found = regional_radii(graph, x, y, margins, np.zeros(3), np.full(3, np.inf))
        for i in range(3):
            distance = nearest(graph, x[i], y[i], rng)
            assert found.radii[i] <= distance
            ratios.append(found.radii[i] / distance)
    assert max(ratios) > (0.9 if kind in ("relu", "leaky_relu") else 0.3)


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_other_norms_by_linear_bounds(norm):
    rng = np.random.default_rng(0)
    graph, x, y, margins = problem_of(5)
    found = regional_radii(graph, x, y, margins, np.zeros(3), np.full(3, np.inf), norm=norm)
    assert (found.radii > 0).all() and (found.mode == 0).all()
    assert all(found.radii[i] <= nearest(graph, x[i], y[i], rng, norm) for i in range(3))


def test_pools_and_images():
    rng = np.random.default_rng(4)
    graph = classifiers.convnet(rng)
    x = rng.normal(size=(1, 1, 6, 6))
    logits = graph(x)
    y = logits.argmax(axis=1)
    found = regional_radii(graph, x, y, logits.max() - logits - 1e-9, np.zeros(1), np.full(1, np.inf))
    d = rng.normal(size=(2000, 1, 6, 6))
    d *= found.radii[0] / np.sqrt((d**2).sum(axis=(1, 2, 3), keepdims=True))
    assert found.radii[0] > 0 and (graph(x + d).argmax(axis=1) == y[0]).all()


def test_the_evidence_proves_again_and_nothing_more():
    """Boxes, modes and theta as stored give the radius; a radius beyond the nearest misclassified point is refused with the same theta."""
    graph, x, y, margins = problem_of(1)
    network, found = network_of(graph), regional_radii(graph, x, y, margins, np.zeros(3), np.full(3, np.inf))
    assert (found.mode == 1).any()
    for i in range(3):
        point = Point(network, x[i], int(y[i]), margins[i], "l2", "balanced")
        lower, upper, _ = boxes(network.form, point.z, Reach("l2", found.radii[i : i + 1]))
        assert (lower[0] >= found.lower[i]).all() and (upper[0] <= found.upper[i]).all()
        ends = slopes(network.form, point.z, (found.lower[i : i + 1], found.upper[i : i + 1]), anchored=True)
        chain = network.form.chain(ends[0][0], ends[1][0])
        for j in np.flatnonzero(found.mode[i]):
            reduced, alive = chain.towards(point.rows[j : j + 1]).reduced()
            p = onesided.problem(reduced, alive, point.facts, float(margins[i, j]))
            theta = found.theta[i, j][np.concatenate([[0], 1 + p.place])].astype(np.float64)
            assert onesided.holds(p, theta, found.radii[i]) and not onesided.holds(p, theta, 2 * found.radii[i])
            assert not onesided.holds(p, -theta, found.radii[i]) and not onesided.holds(p, np.full_like(theta, np.nan), found.radii[i])


def test_true_points_satisfy_every_line():
    """left(w) right(w) <= 0 for what really happens, and the margin row is the margin: the hypotheses of the claim."""
    for kind in ("relu", "leaky_relu"):
        graph, x, y, margins = problem_of(2, kind=kind)
        network = network_of(graph)
        point = Point(network, x[0], int(y[0]), margins[0], "l2", "balanced")
        lower, upper, _ = boxes(network.form, point.z, Reach("l2", np.array([1.0])))
        ends = slopes(network.form, point.z, (lower, upper), anchored=True)
        j = int(np.flatnonzero(np.arange(3) != y[0])[0])
        reduced, alive = network.form.chain(ends[0][0], ends[1][0]).towards(point.rows[j : j + 1]).reduced()
        p = onesided.problem(reduced, alive, point.facts, float(margins[0, j]))
        left, right = p.rows(p.left, p.uncertain).mid, p.rows(p.right, p.uncertain).mid
        rng = np.random.default_rng(0)
        z0 = 0.5 * (point.z[0][0] + point.z[1][0])
        for _ in range(200):
            d = rng.normal(size=4)
            d *= rng.uniform() / np.linalg.norm(d)
            w, state, at = [1.0, *d], d, 0
            for step, live in zip(network.form.steps, alive):
                dz = step.weight.mid @ state
                dphi = np.maximum(z0[at : at + len(dz)] + dz, 0) - np.maximum(z0[at : at + len(dz)], 0)
                w += list(dphi[live])
                state = step.inject.mid @ dphi + (0 if step.keep is None else step.keep.mid @ state)
                at += len(dz)
            w = np.array(w)
            assert ((left @ w) * (right @ w) <= 1e-9).all()
            logits = graph((x[0] + d)[None])[0]
            assert abs((p.margin.mid @ w)[0] - (logits[y[0]] - logits[j])) < 1e-7


def test_nothing_is_proved_from_nothing():
    graph, x, y, margins = problem_of(0)
    for broken in (margins * np.nan, margins - 1e3):
        assert (regional_radii(graph, x, y, broken, np.zeros(3), np.full(3, np.inf)).radii == 0).all()
    assert (regional_radii(graph, x, y, margins, np.full(3, 9.0), np.full(3, 9.0)).radii == 0).all()
    assert (regional_radii(graph, x, y, margins, np.zeros(3), np.full(3, np.inf), stop=lambda: True).radii == 0).all()


def test_any_batch_gives_the_same():
    graph, x, y, margins = problem_of(7)
    together = regional_radii(graph, x, y, margins, np.zeros(3), np.full(3, np.inf))
    alone = [regional_radii(graph, x[i : i + 1], y[i : i + 1], margins[i : i + 1], np.zeros(1), np.full(1, np.inf)) for i in range(3)]
    assert np.array_equal(together.radii, [a.radii[0] for a in alone]) and np.array_equal(together.theta, np.concatenate([a.theta for a in alone]))


def test_a_wrong_line_is_caught(monkeypatch):
    """A mutant that drops z0 from the rectifier's lines proves radii that contain misclassified points."""
    real, rng = onesided._Table.scalar, np.random.default_rng(0)

    def broken(self, layer, z, at, facts, entries, groups):
        low = np.abs(facts.z[0]) + 5.0  # as if every neuron were far on the active side
        real(self, layer, z, at, onesided.Facts((low, low), facts.relu, facts.sizes), entries, groups)

    monkeypatch.setattr(onesided._Table, "scalar", broken)
    caught = 0
    for seed in range(2):
        graph, x, y, margins = problem_of(seed)
        found = regional_radii(graph, x, y, margins, np.zeros(3), np.full(3, np.inf))
        caught += sum(found.radii[i] > nearest(graph, x[i], y[i], rng) for i in range(3))
    assert caught > 0 and farthest.SMALL > 0
