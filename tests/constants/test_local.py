"""Local constants against the thing itself: sampled difference quotients of random networks over the whole vocabulary, exact rational Jacobians, mpmath."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies.activations import CASES, IDS
from strategies.networks import NODES, random_graph, single_node

from certify.constants.local import activations as local_activations
from certify.constants.local import (
    column_constants,
    enclose,
    enclose_points,
    global_constant,
    jacobian_bound,
    local_constant,
    products,
    rows,
    selections,
    slopes_and_values,
)
from certify.core.activation import activation
from certify.core.errors import InputError
from certify.core.graph import Graph, GraphBuilder
from certify.core.regions import Ball, Box

seeds = st.integers(0, 2**32 - 1)


def random_box(rng: np.random.Generator, shape) -> Box:
    """Mixed widths: points, tiny, ordinary and wide, some touching zero."""
    centre = np.round(rng.normal(size=shape) * 10 ** rng.uniform(-1, 0.7), int(rng.integers(0, 4)))
    width = 10 ** rng.uniform(-6, 0.7) * rng.random(shape) * (rng.random(shape) < 0.85)
    return Box(centre - width * (rng.random(shape) < 0.8), centre + width)


def samples(rng: np.random.Generator, box: Box, count: int) -> np.ndarray:
    t = rng.random((count, *box.lower.shape))
    corner = rng.random(t.shape) < 0.4
    t = np.where(corner, np.round(t), t)
    return np.clip(box.lower + t * (box.upper - box.lower), box.lower, box.upper)


def violations(graph: Graph, box: Box, rng: np.random.Generator, count: int = 40) -> list[str]:
    """Sampled points and pairs that contradict the enclosures by more than the rounding of the float evaluation; near pairs give derivatives."""
    with np.errstate(all="ignore"):
        value, j = enclose(graph, box), jacobian_bound(graph, box)
        x = samples(rng, box, count)
        y = np.clip(x + rng.normal(size=x.shape) * 10 ** rng.uniform(-7, 0, size=(count, *(1,) * (x.ndim - 1))) * (rng.random(x.shape) < 0.5), box.lower, box.upper)
        fx, fy = graph(x), graph(y)
        largest = max(float(np.abs(fx).max()), float(np.abs(fy).max()), 1.0)
        slack = 1e-10 * largest * max(1.0, float(np.abs(x).max()))
        found = [] if ((fx >= value.lower - slack) & (fx <= value.upper + slack)).all() else ["value"]
        mid, rad = np.where(np.isinf(j.lower), 0.0, 0.5 * j.lower + 0.5 * j.upper), np.where(np.isinf(j.lower), np.inf, 0.5 * j.upper - 0.5 * j.lower)
        step = (x - y).reshape(count, -1)
        reach = np.where(np.isinf(rad)[None] & (step[:, None] != 0), np.inf, np.where(np.isinf(rad), 0.0, rad)[None] * np.abs(step)[:, None]).sum(axis=2)
        gap = np.abs((fx - fy).reshape(count, -1) - step @ mid.T) - reach - slack * 10
        return found if (gap <= 0).all() else [*found, "slope"]


def checked(graph: Graph, seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = random_box(rng, graph.input_shape)
    assert violations(graph, box, rng) == []


@given(seeds)
def test_random_networks_stay_inside(seed):
    checked(random_graph(np.random.default_rng(seed)), seed + 1)


@pytest.mark.parametrize("op", sorted(set(NODES) - {"constant"}))
@settings(max_examples=8)
@given(seed=seeds)
def test_each_operator_stays_inside(op, seed):
    checked(single_node(np.random.default_rng(seed), op), seed + 1)


@pytest.mark.parametrize(("kind", "parameters"), CASES, ids=IDS)
def test_each_activation_stays_inside(kind, parameters):
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (6,)})
    arrays = {k: v for k, v in parameters.items() if k == "slope"}
    y = b.add("activation", [x], {"kind": kind, **{k: v for k, v in parameters.items() if k != "slope"}}, arrays)
    graph = b.build(y)
    for seed in range(12):
        checked(graph, seed)


def product_graph(op: str, same: bool) -> Graph:
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (4,)})
    a = b.add("reshape", [b.add("dense", [x], arrays={"weight": np.arange(16.0).reshape(4, 4) / 7 - 1, "bias": np.ones(4) / 3})], {"shape": (2, 2)})
    other = a if same else b.add("reshape", [b.add("activation", [x], {"kind": "tanh"})], {"shape": (2, 2)})
    return b.build(b.add(op, [a, other]))


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("op", ["multiply", "matmul"])
def test_products_of_tensors_have_local_constants(op, same):
    graph = product_graph(op, same)
    for seed in range(15):
        checked(graph, seed)
    assert global_constant(graph, "l2") == np.inf
    assert np.isfinite(local_constant(graph, Box(-np.ones(4), np.ones(4))))


def dense_net(rng: np.random.Generator, sizes, kind: str, scale: float = 1.0) -> tuple[Graph, list[tuple[np.ndarray, np.ndarray]]]:
    b, layers = GraphBuilder(), []
    x = b.add("input", attrs={"shape": (sizes[0],)})
    for k, (n, m) in enumerate(zip(sizes, sizes[1:])):
        w, c = rng.normal(size=(m, n)) * scale, rng.normal(size=m) * 0.3 * scale
        layers.append((w, c))
        x = b.add("dense", [x], arrays={"weight": w, "bias": c})
        if k < len(sizes) - 2:
            x = b.add("activation", [x], {"kind": kind})
    return b.build(x), layers


def exact_relu(layers, x) -> tuple[list[Fraction], list[list[Fraction]]]:
    """Value and Jacobian of a relu net at x in rational arithmetic (the derivative of relu at 0 taken as 0)."""
    value = [Fraction(float(v)) for v in x]
    jac = [[Fraction(int(i == k)) for k in range(len(value))] for i in range(len(value))]
    for depth, (w, c) in enumerate(layers):
        rows_ = [[Fraction(float(v)) for v in row] for row in w]
        value, jac = (
            [sum((a * v for a, v in zip(row, value)), Fraction(float(bias))) for row, bias in zip(rows_, c)],
            [[sum((a * j[k] for a, j in zip(row, jac)), Fraction(0)) for k in range(len(x))] for row in rows_],
        )
        if depth < len(layers) - 1:
            jac = [[d if v > 0 else Fraction(0) for d in row] for v, row in zip(value, jac)]
            value = [max(v, Fraction(0)) for v in value]
    return value, jac


@settings(max_examples=15)
@given(seeds, st.sampled_from([1.0, 1.0, 1e-160, 1e80]))
def test_exact_values_and_jacobians_of_relu_nets(seed, scale):
    rng = np.random.default_rng(seed)
    graph, layers = dense_net(rng, (2, 4, 3, 2), "relu", scale)
    box = random_box(rng, (2,))
    j, value = jacobian_bound(graph, box), enclose(graph, box)
    for x in samples(rng, box, 4):
        exact, slopes = exact_relu(layers, x)
        low, high = enclose_points(graph, x[None])
        for k in range(2):
            assert Fraction(float(low[0, k])) <= exact[k] <= Fraction(float(high[0, k]))
            assert Fraction(float(value.lower[k])) <= exact[k] <= Fraction(float(value.upper[k]))
            for i in range(2):
                assert Fraction(float(j.lower[k, i])) <= slopes[k][i] <= Fraction(float(j.upper[k, i]))


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "softplus", "silu", "gelu"])
def test_points_against_high_precision(kind):
    functions = {
        "tanh": mpmath.tanh,
        "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
        "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
        "silu": lambda z: z / (1 + mpmath.exp(-z)),
        "gelu": lambda z: z * mpmath.ncdf(z),
    }
    rng = np.random.default_rng(3)
    graph, layers = dense_net(rng, (3, 5, 5, 1), kind)
    with mpmath.workdps(40):
        for x in rng.normal(size=(10, 3)) * 3:
            value = mpmath.matrix(x.tolist())
            for depth, (w, c) in enumerate(layers):
                value = mpmath.matrix(w.tolist()) * value + mpmath.matrix(c.tolist())
                if depth < len(layers) - 1:
                    value = value.apply(functions[kind])
            for low, high in (enclose_points(graph, x[None]), [e[None] for e in (enclose(graph, Box(x, x)).lower, enclose(graph, Box(x, x)).upper)]):
                assert mpmath.mpf(float(low[0, 0])) <= value[0] <= mpmath.mpf(float(high[0, 0]))
                assert high[0, 0] - low[0, 0] < 1e-12


@given(seeds, st.sampled_from(["l2", "linf", "l1"]))
def test_constants_are_above_slopes_and_not_above_the_global_one(seed, norm):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    box = random_box(rng, graph.input_shape)
    with np.errstate(all="ignore"):
        bound, columns = local_constant(graph, box, norm), column_constants(graph, box)
        assert bound <= global_constant(graph, norm)
        assert (columns <= global_constant(graph, "l2")).all()
        x, y = samples(rng, box, 60), samples(rng, box, 60)
        order = {"l2": 2, "linf": np.inf, "l1": 1}[norm]
        up = np.linalg.norm((graph(x) - graph(y)).reshape(60, -1), order, axis=1)
        across = np.linalg.norm((x - y).reshape(60, -1), order, axis=1)
        noise = 1e-10 * (1 + np.abs(graph(x)).max()) * max(1.0, float(np.abs(x).max()))
        assert (up <= bound * across * (1 + 1e-12) + noise).all()
        moved = x.reshape(60, -1).copy()
        i = int(rng.integers(moved.shape[1]))
        moved[:, i] = y.reshape(60, -1)[:, i]
        change = np.abs(graph(moved.reshape(x.shape)) - graph(x)).reshape(60, -1)
        assert (change <= columns[:, i] * np.abs(moved - x.reshape(60, -1))[:, i : i + 1] * (1 + 1e-12) + noise).all()


def test_a_ball_contains_its_points_and_a_batch_is_its_boxes():
    graph, _ = dense_net(np.random.default_rng(5), (3, 6, 2), "tanh")
    ball = Ball(np.array([0.1, -0.2, 0.3]), 0.1)
    whole = jacobian_bound(graph, ball)
    assert whole.contains(jacobian_bound(graph, Box(ball.center - 0.05, ball.center + 0.05)))
    boxes = np.stack([ball.center - 0.1, ball.center]), np.stack([ball.center, ball.center + 0.1])
    values, slopes = slopes_and_values(graph, *boxes)
    for k in range(2):
        one = Box(boxes[0][k], boxes[1][k])
        assert np.allclose(slopes[k].lower, jacobian_bound(graph, one).lower, atol=1e-12)
        assert np.allclose(values[k].upper, enclose(graph, one).upper, atol=1e-12)


def _two_uses(op: str) -> Graph:
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (1,)})
    return b.build(b.add(op, [x, x]))


@pytest.mark.parametrize(("op", "low", "high"), [("add", 2, 2), ("sub", 0, 0), ("multiply", 2, 4), ("maximum", 1, 1), ("minimum", 1, 1)])
def test_an_input_used_twice(op, low, high):
    j = jacobian_bound(_two_uses(op), Box([1.0], [2.0]))
    assert j.lower[0, 0] <= low <= high <= j.upper[0, 0]
    assert j.upper[0, 0] - j.lower[0, 0] <= high - low + 1e-13


def test_a_square_is_not_negative_and_an_abs_has_its_minimum():
    assert -1e-14 <= float(enclose(_two_uses("multiply"), Box([-1.0], [2.0])).lower[0]) <= 0
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (1,)})
    value = enclose(b.build(b.add("activation", [x], {"kind": "abs"})), Box([-1.0], [2.0]))
    assert value.lower[0] >= -1e-12 and value.upper[0] <= 2 + 1e-12


def test_an_unbounded_box_gives_the_global_slopes():
    graph, _ = dense_net(np.random.default_rng(1), (2, 5, 1), "sigmoid")
    everything = Box([-np.inf, -np.inf], [np.inf, np.inf])
    j, near = jacobian_bound(graph, everything), jacobian_bound(graph, Box([-1.0, 0.0], [1.0, 2.0]))
    assert np.isfinite(j.lower).all() and j.contains(near)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2,)})
    assert enclose(b.build(b.add("multiply", [x, x])), everything).upper[0] == np.inf


def test_huge_weights_end_in_infinity_never_in_a_number():
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2,)})
    for _ in range(3):
        x = b.add("dense", [x], arrays={"weight": np.full((2, 2), 1e200)})
    graph = b.build(b.add("sub", [x, x]))
    j = jacobian_bound(graph, Box([1.0, 1.0], [2.0, 2.0]))
    assert (j.upper == np.inf).all() and (j.lower == -np.inf).all()
    assert column_constants(graph, Box([1.0, 1.0], [2.0, 2.0])).max() == np.inf


@pytest.mark.parametrize("region", [Box([0.0], [1.0]), Box(np.zeros((2, 1)), np.ones((2, 1))), Ball(np.zeros(3), 1.0), "box", None])
def test_a_wrong_region_is_refused(region):
    graph, _ = dense_net(np.random.default_rng(0), (2, 3, 1), "relu")
    with pytest.raises(InputError, match="region"):
        jacobian_bound(graph, region)


def test_relu_slopes_are_those_of_the_activation():
    ends = np.array([-np.inf, -2.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, np.inf])
    lower, upper = (a.ravel() for a in np.meshgrid(ends, ends))
    lower, upper = lower[lower <= upper], upper[lower <= upper]
    own, general = local_activations._relu_slopes(lower, upper), activation("relu").slope_range_on(lower, upper)
    assert (own[0] == general[0]).all() and (own[1] == general[1]).all()


def test_stated_perturbations_of_weights_are_covered():
    """0.1 as a float stands for the exact tenth when the layer says so; without that it stands for itself."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (1,)})
    y = b.add("dense", [x], {"perturbation": 1.0, "bias_perturbation": 2.0**-54}, {"weight": np.array([[0.1]]), "bias": np.array([0.3])})
    graph = b.build(y)
    low, high = enclose_points(graph, np.array([[3.0]]))
    for value in (Fraction(3, 10) + Fraction(3, 10), 3 * Fraction(0.1) + Fraction(0.3)):
        assert Fraction(float(low[0, 0])) <= value <= Fraction(float(high[0, 0]))
    j = jacobian_bound(graph, Box([0.0], [1.0]))
    for slope in (Fraction(1, 10), Fraction(0.1)):
        assert Fraction(float(j.lower[0, 0])) <= slope <= Fraction(float(j.upper[0, 0]))


def _narrow_slopes(original):
    def broken(mid_values, slopes, x):
        middle = None if slopes is None else ((slopes[0] + slopes[1]) / 2,) * 2
        return original(mid_values, middle, x)

    return broken


def _one_term(original):
    def broken(a, b):
        return original(a, rows.Rows(b.mid * 0, b.rad * 0)) if a.mid.shape == b.mid.shape else original(a, b)

    return broken


def _ends_only(original):
    return lambda f, a, b: (np.minimum(f.value(a), f.value(b)), np.maximum(f.value(a), f.value(b)))


MUTANTS = {
    "the slope at the middle only": (local_activations, "chained", _narrow_slopes, lambda rng: dense_net(rng, (2, 6, 1), "tanh")[0]),
    "values at the ends of a function that turns": (local_activations, "_pieces", _ends_only, lambda rng: dense_net(rng, (2, 6, 1), "abs")[0]),
    "only half of the product rule": (products, "added", lambda f: lambda a, b, sign=1.0: a, lambda rng: product_graph("multiply", False)),
    "the winner at the middle of a maximum": (
        selections,
        "ends",
        lambda f: lambda mid, rad: (mid, mid),
        lambda rng: single_node(rng, "max_pool"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_caught(name, monkeypatch):
    module, attribute, breaks, make = MUTANTS[name]
    monkeypatch.setattr(module, attribute, breaks(getattr(module, attribute)))
    caught = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        graph = make(rng)
        centre = rng.normal(size=graph.input_shape)
        caught += bool(violations(graph, Box(centre - 0.5, centre + 0.5), rng, 100))
    assert caught > 0
