"""Local constants: above every sampled quotient in the region, below the global constant, exact where nothing is open."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import classifiers, semidefinite

import certify.constants.regional.constant as module
from certify.constants.local import global_constant
from certify.constants.regional.constant import regional_constant
from certify.core.errors import HypothesisError, InputError, UnsupportedLayerError
from certify.core.regions import Ball, Box

ORDER = {"l2": 2, "linf": np.inf, "l1": 1}


def quotients(graph, rng, center, radius, norm, box, count=300):
    """The largest sampled |N(x) - N(y)| / |x - y| in the region, far pairs and near ones."""
    n = center.size
    d = rng.uniform(-1, 1, size=(2 * count, n))
    d = d * radius if box else d / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-9) * radius * rng.uniform(size=(2 * count, 1))
    a, b = d[:count], d[count:]
    b[: count // 2] = a[: count // 2] + 1e-4 * (b[: count // 2] - a[: count // 2])
    first, second = (graph((center.ravel() + e).reshape(count, *graph.input_shape)).reshape(count, -1) for e in (a, b))
    return (np.linalg.norm(first - second, ORDER[norm], axis=1) / np.linalg.norm(a - b, ORDER[norm], axis=1)).max()


@pytest.mark.parametrize("name", sorted(semidefinite.NETS))
def test_above_every_quotient_and_below_the_global_constant(name):
    shape, build = semidefinite.NETS[name]
    net = semidefinite.Net(np.random.default_rng(0), *shape)
    graph, rng = net.build(build(net)), np.random.default_rng(1)
    center = rng.normal(size=shape)
    for box in (False, True):
        for radius, norm in ((0.3, "l2"), (0.3, "linf" if box else "l1")):
            region = Box(center - radius, center + radius) if box else Ball(center, radius)
            for method in ("sdp", "interval") if norm == "l2" else ("interval",):
                try:
                    found = regional_constant(graph, region, norm, method)
                except (UnsupportedLayerError, HypothesisError):
                    continue
                assert quotients(graph, rng, center, radius, norm, box) <= found.upper * (1 + 1e-7) <= global_constant(graph, norm) * (1 + 1e-6)


def test_tight_on_a_small_ball_and_never_above_what_is_given():
    graph, rng = classifiers.mlp(np.random.default_rng(3), (4, 8, 8, 3)), np.random.default_rng(0)
    center = rng.normal(size=4)
    found = regional_constant(graph, Ball(center, 1e-3))
    assert found.upper <= 1.05 * max(quotients(graph, rng, center, 1e-3, "l2", False, 800), 1e-9)
    assert regional_constant(graph, Ball(center, 10.0), bound=0.25).upper == 0.25
    assert regional_constant(graph, Ball(center, 0.0)).upper <= found.upper * (1 + 1e-6)


def test_refusals():
    graph = classifiers.mlp(np.random.default_rng(3), (4, 8, 3))
    for region, words in ((Ball(np.zeros(4), 1.0), ("linf", "sdp")), (Ball(np.zeros(5), 1.0), ("l2", "auto")), (Box(np.full(4, -np.inf), np.zeros(4)), ("l2", "auto"))):
        with pytest.raises(InputError):
            regional_constant(graph, region, *words)


def test_anchored_slopes_are_wrong_for_two_free_ends(monkeypatch):
    real = module.slopes
    monkeypatch.setattr(module, "slopes", lambda form, z, box, anchored: real(form, z, box, True))
    rng, broken = np.random.default_rng(0), 0
    for seed in range(8):
        graph = classifiers.mlp(np.random.default_rng(seed), (2, 2, 1))
        center = rng.normal(size=2)
        found = regional_constant(graph, Ball(center, 2.0), method="sdp", bound=np.inf).upper
        broken += quotients(graph, rng, center, 2.0, "l2", False, 800) > found * (1 + 1e-6)
    assert broken > 0


def test_the_boxes_of_another_layer_are_wrong(monkeypatch):
    """A mutant that uses the previous layer's boxes for a layer of the same width."""
    real = module.slopes

    def shifted(form, z, box, anchored):
        first, second = form.places[:2]
        box = tuple(b.copy() for b in box)
        for b in box:
            b[:, second] = 0.01 * b[:, first]
        return real(form, z, box, anchored)

    monkeypatch.setattr(module, "slopes", shifted)
    rng, broken = np.random.default_rng(0), 0
    for seed in range(8):
        graph = classifiers.mlp(np.random.default_rng(seed), (3, 4, 4, 1))
        center = rng.normal(size=3)
        found = regional_constant(graph, Ball(center, 1.0), method="sdp", bound=np.inf).upper
        broken += quotients(graph, rng, center, 1.0, "l2", False, 800) > found * (1 + 1e-6)
    assert broken > 0
