"""Boxes hold every pre-activation increment that sampling finds, on every kind of block; the error vector is needed, and mutants are caught."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from strategies import increments, semidefinite

import certify.constants.regional.boxes as boxes_module
from certify.constants.regional.boxes import Reach, boxes, outward
from certify.constants.regional.radii import network_of
from certify.constants.regional.slopes import slopes
from certify.constants.regional.values import values_of
from certify.core.errors import UnsupportedLayerError
from certify.core.fold import fold_affine
from certify.proof.parts import read

NORMS = ("l2", "linf", "l1")


def made(name: str, seed: int = 0):
    shape, build = semidefinite.NETS[name]
    net = semidefinite.Net(np.random.default_rng(seed), *shape)
    graph = net.build(build(net))
    return graph, network_of(graph)


def truth(graph, network, points):
    """(n, entries) of z at the points, in floats."""
    folded = fold_affine(graph).pruned()
    found = increments.values(folded, read(folded, folded.output), points)
    return np.concatenate([found[network.parts.parts[name].before] for name in network.chain.blocks], axis=1)


def sample(rng, shape, norm, radius, count=120):
    """Displacements in the ball, many of them on its surface."""
    d = rng.normal(size=(count, int(np.prod(shape))))
    d[: count // 4] = np.sign(d[: count // 4])
    d[count // 4 : count // 2] = np.eye(d.shape[1])[rng.integers(d.shape[1], size=count // 2 - count // 4)] * rng.choice([-1.0, 1.0], size=(count // 2 - count // 4, 1))
    size = {"l2": np.linalg.norm(d, axis=1), "linf": np.abs(d).max(1), "l1": np.abs(d).sum(1)}[norm]
    return (d / size[:, None] * radius * np.minimum(1, rng.uniform(0.3, 1.6, size=(count, 1)))).reshape(count, *shape)


def violations(graph, network, rng, norm, radius, run=boxes):
    points = rng.normal(size=(2, *graph.input_shape))
    z = values_of(graph, network.parts, network.chain.blocks, points)
    lower, upper, _ = run(network.form, z, Reach(norm, np.full(2, radius)))
    bad = 0
    for i in range(2):
        base = truth(graph, network, points[i : i + 1])
        assert ((z[0][i] <= base[0] + 1e-9) & (base[0] - 1e-9 <= z[1][i])).all()
        d = truth(graph, network, points[i] + sample(rng, graph.input_shape, norm, radius)) - base
        bad += int((d < lower[i] - 1e-9).sum() + (d > upper[i] + 1e-9).sum())
    return bad


@pytest.mark.parametrize("name", sorted(semidefinite.NETS))
def test_boxes_hold_what_sampling_finds(name):
    try:
        graph, network = made(name)
    except UnsupportedLayerError:
        pytest.skip("no chain")
    rng = np.random.default_rng(1)
    for norm in NORMS:
        for radius in (0.02, 1.5):
            assert violations(graph, network, rng, norm, radius) == 0


@pytest.mark.parametrize("name", ["relu", "leaky", "prelu", "maxmin", "pool", "gelu", "tanh", "extremes", "residual"])
def test_slopes_hold_what_sampling_finds(name):
    """Free slopes between two points, anchored ones from the centre; groups of the same blocks."""
    graph, network = made(name, 3)
    rng = np.random.default_rng(2)
    for radius in (0.05, 1.0):
        x = rng.normal(size=(1, *graph.input_shape))
        z = values_of(graph, network.parts, network.chain.blocks, x)
        lower, upper, _ = boxes(network.form, z, Reach("l2", np.array([radius])))
        points = x + sample(rng, graph.input_shape, "l2", radius)
        base, found = truth(graph, network, x), truth(graph, network, points)
        for anchored in (True, False):
            lo, hi = slopes(network.form, z, (lower, upper), anchored)
            first = np.repeat(base, len(found), 0) if anchored else np.roll(found, 1, axis=0)
            for step, p in zip(network.form.steps, network.form.places):
                if step.kind == "groups":
                    continue
                f = (lambda v: np.maximum(v, 0.0)) if step.kind == "relu" else step.activation.value
                dz, dphi = found[:, p] - first[:, p], f(found[:, p]) - f(first[:, p])
                assert ((dphi - lo[0, p] * dz) * (dphi - hi[0, p] * dz) <= 1e-11 * (1 + dz * dz)).all()


def test_one_input_gives_the_same_numbers_in_any_batch():
    graph, network = made("relu")
    x = np.random.default_rng(0).normal(size=(7, *graph.input_shape))
    z = values_of(graph, network.parts, network.chain.blocks, x)
    reach = Reach("l2", np.linspace(0.1, 1, 7))
    lower, upper, _ = boxes(network.form, z, reach)
    for i in range(7):
        alone = boxes(network.form, (z[0][i : i + 1], z[1][i : i + 1]), reach[i : i + 1])
        assert np.array_equal(alone[0][0], lower[i]) and np.array_equal(alone[1][0], upper[i])


def test_zero_radius_and_huge_radius():
    graph, network = made("relu")
    z = values_of(graph, network.parts, network.chain.blocks, np.ones((1, *graph.input_shape)))
    lower, upper, _ = boxes(network.form, z, Reach("l2", np.zeros(1)))
    assert (lower <= 0).all() and (upper >= 0).all() and float((upper - lower).max()) < 1e-9
    lower, upper, _ = boxes(network.form, z, Reach("l2", np.full(1, 1e6)))
    lo, hi = slopes(network.form, z, (lower, upper), anchored=False)
    assert (lo == 0).all() and (hi == 1).all()  # everything is open


def test_a_point_on_a_kink():
    """z0 = 0 in every neuron: slopes [0, 1], anchored too."""
    net = semidefinite.Net(np.random.default_rng(0), 2)
    weight = {"weight": np.array([[1.0, 0.5], [-1.0, 0.25]])}
    graph = net.build(net.op("dense", net.act(net.op("dense", net.x, arrays=weight, name="a")), arrays=weight, name="b"))
    network = network_of(graph)
    z = values_of(graph, network.parts, network.chain.blocks, np.zeros((1, 2)))
    lower, upper, _ = boxes(network.form, z, Reach("l2", np.ones(1)))
    for anchored in (True, False):
        lo, hi = slopes(network.form, z, (lower, upper), anchored)
        assert (lo == 0).all() and (hi == 1).all()


def test_outward_contains_and_has_room():
    rng = np.random.default_rng(0)
    low, high = -np.exp(rng.normal(size=100) * 9), np.exp(rng.normal(size=100) * 9)
    first, last = outward(low, high)
    assert (first < low).all() and (last > high).all() and first.dtype == np.float32
    assert np.isinf(outward(np.array([np.nan]), np.array([1.0]))[0][0])


def mutant(*changes):
    text = Path(boxes_module.__file__).read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"the source no longer has {old!r} once: adapt the mutant"
        text = text.replace(old, new)
    space = {"__name__": boxes_module.__name__, "__package__": boxes_module.__package__}
    exec(compile(text, boxes_module.__file__, "exec", dont_inherit=True), space)
    return space


@pytest.mark.parametrize(
    "change",
    [
        ("dual_norm(self.norm)", "self.norm"),  # the dual norm is what bounds a row; in l2 the two are the same
        ("_rows(above, lines.low0) + _rows(below, lines.high0)", "_rows(above, lines.low0)"),
        ("above * lines.low[:, None] + below * lines.high[:, None]", "above * lines.high[:, None] + below * lines.low[:, None]"),
        ("np.concatenate([step.weight.mid, -step.weight.mid])[None]", "np.concatenate([step.weight.mid, step.weight.mid])[None]"),
    ],
)
def test_mutants_are_caught(change):
    run = mutant(change)["boxes"]
    graph, network = made("relu")
    rng, found = np.random.default_rng(1), 0
    for norm in NORMS:
        found += sum(violations(graph, network, rng, norm, radius, lambda f, z, reach: run(f, z, mutant_reach(run, reach))) for radius in (0.3, 2.0))
    assert found > 0


def mutant_reach(run, reach):
    return run.__globals__["Reach"](reach.norm, reach.radius, reach.halves)


def test_the_error_vector_is_needed():
    """Exact rationals: without the error vector a bound of a chain of stable neurons lies above the truth; with it, never."""
    rng, broken = np.random.default_rng(0), mutant(("down(c - e)", "down(c)"), ("e = up(e * GROW) + FLOOR", "e = 0 * e + 0 * FLOOR"))
    wrong = {"real": 0, "mutant": 0}
    for _ in range(20):
        net = semidefinite.Net(rng, 3)
        a, b, c = rng.normal(size=(4, 3)), rng.normal(size=(4, 4)) * 1e3, np.array([[1.0, -1.0, 1.0, -1.0]])
        b[1], b[3] = b[0] * (1 + 1e-12), b[2]  # what is left after cancelling is mostly rounding
        h = net.op("dense", net.x, arrays={"weight": a, "bias": np.full(4, 1e3)}, name="a")
        h = net.op("dense", net.act(h), arrays={"weight": b, "bias": np.full(4, 1e9)}, name="b")
        graph = net.build(net.op("dense", net.act(h), arrays={"weight": c}, name="c"))
        network = network_of(graph)
        z = values_of(graph, network.parts, network.chain.blocks, np.zeros((1, 3)))
        product = [[sum(Fraction(float(b[i, k])) * Fraction(float(a[k, j])) for k in range(4)) for j in range(3)] for i in range(4)]
        exact = [sum(Fraction(float(c[0, i])) * product[i][j] for i in range(4)) for j in range(3)]
        radius = Fraction(1, 2)
        for name, space in (("real", boxes_module.__dict__), ("mutant", broken)):
            passed = space["boxes"](network.form, z, space["Reach"]("linf", np.array([0.5])))[2]
            value = passed.lower(network.form.last.mid[None], None)[0, 0]
            wrong[name] += Fraction(float(value)) > -radius * sum(abs(e) for e in exact)
    assert wrong["real"] == 0 and wrong["mutant"] > 0
