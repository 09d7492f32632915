"""Attack our own certificates: random, corner and gradient points inside every certified ball must keep the class, and broken
copies of the bounds (a factor dropped, the wrong dual norm, no error term) must be caught by exactly these attacks."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies.classifiers import NORMS, convnet, exact_margins, linear, mlp

from certify.constants import forward
from certify.core.errors import SoundnessError
from certify.core.rounding import norms_up
from certify.robustness import margins as margin_module
from certify.robustness import work
from certify.robustness.geometry import projected, sizes, steepest
from certify.robustness.radii import radius
from certify.robustness.work import Worker

ORDER = {"l2": 2, "linf": np.inf, "l1": 1}


def worker_of(result, attack=None) -> Worker:
    head = result.head
    steps = result.lipschitz.steps
    return Worker(work.Task(head, result.norm, {s.node: s.local for s in steps}, 1.0, 1.0, (), attack))


def inside(points: np.ndarray, centre: np.ndarray, r: float, norm: str) -> np.ndarray:
    """Directions scaled so that the rounded points provably lie in the open ball: |x' - x| < r."""
    size = np.linalg.norm(points.reshape(len(points), -1), ORDER[norm], axis=1)
    d = points[size > 0] / size[size > 0].reshape(-1, *[1] * (points.ndim - 1))
    for shrink in (1 - 1e-12, 1 - 1e-6, 0.999):
        x = centre + d * (r * shrink)
        if (norms_up(x - centre, norm) * (1 + 2**-50) < r).all():
            return x
    return centre + 0.9 * r * d


def directions(rng: np.random.Generator, shape: tuple[int, ...], norm: str) -> np.ndarray:
    """Random directions, sparse ones, all signs of a few entries (corners of the linf ball), all axes (corners of the l1 ball)."""
    size = int(np.prod(shape))
    rows = [rng.standard_normal((60, size)), rng.choice([-1.0, 1.0], (60, size)), rng.standard_normal((40, size)) * (rng.random((40, size)) < 0.2)]
    axes = np.eye(size)[: min(size, 100)]
    rows += [axes, -axes]
    if size <= 6:
        rows.append(np.array(list(itertools.product([-1.0, 1.0], repeat=size))))
    return np.concatenate(rows).reshape(-1, *shape)


def gradient_points(graph, x: np.ndarray, label: int, r: float, norm: str, steps: int = 12) -> np.ndarray:
    """Projected gradient towards every other class, in float64, from the centre and from two random starts."""
    module = graph.to_torch().double()
    classes = graph.output_shape[0]
    targets = torch.tensor([j for j in range(classes) if j != label] * 3)
    start = torch.randn((len(targets), *x.shape), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start[: classes - 1] = 0
    radius_ = torch.full((len(targets),), r, dtype=torch.float64)
    delta = projected(start * r, radius_, norm)
    centre = torch.as_tensor(x)
    for i in range(steps):
        point = (centre + delta).requires_grad_(True)
        z = module(point)
        (g,) = torch.autograd.grad((z[:, label] - z.gather(1, targets[:, None])[:, 0]).sum(), point)
        delta = projected(delta - steepest(g, "linf" if norm == "linf" else "l2") * (2 * r / (i + 1)), radius_, norm)
    exact = -steepest(g, norm) * r  # the best corner of the ball for the linear part
    both = torch.cat([delta, exact])
    return both[sizes(both, norm) > 0].numpy()


def assert_no_witness(graph, result, seed: int = 0) -> int:
    """No attacked point inside a certified ball may have another class, in exact arithmetic. Returns how many were tried."""
    rng, prove, tried = np.random.default_rng(seed), worker_of(result), 0
    for i in np.flatnonzero(result.radii > 0):
        x, label, r = result.inputs[i].astype(np.float64), int(result.labels[i]), float(result.radii[i])
        r = min(r, 1e6)
        moves = np.concatenate([directions(rng, x.shape, result.norm), gradient_points(result.head.graph, x, label, r, result.norm)])
        points = inside(moves, x, r, result.norm)
        upper = prove.margins(points, np.full(len(points), label)).upper
        upper[:, label] = np.inf
        assert not (upper < 0).any(), f"input {i}: another class inside radius {r} ({result.norm}, {result.methods[i]})"
        z = graph(points).reshape(len(points), -1)
        gap = z[:, [label]] - z
        gap[:, label] = np.inf
        assert (gap > -1e-9 * np.abs(z).max()).all()
        tried += len(points)
    return tried


@given(seed=st.integers(0, 2**32), norm=st.sampled_from(NORMS), kind=st.sampled_from(["relu", "tanh", "abs", "leaky"]), method=st.sampled_from(["auto", "global", "pairwise"]))
def test_dense_networks_keep_their_class_inside_every_radius(seed, norm, kind, method):
    rng = np.random.default_rng(seed)
    attrs = {"alpha": -1.5} if kind == "leaky" else {}
    sizes_ = [int(rng.integers(2, 6)) for _ in range(int(rng.integers(2, 5)))]
    graph = mlp(rng, sizes_, kind="leaky_relu" if kind == "leaky" else kind, scale=float(10 ** rng.uniform(-3, 3)), **attrs)
    x = rng.standard_normal((4, sizes_[0]))
    result = radius(graph, x, graph(x).argmax(1), norm, method, effort="fast")
    assert (result.radii <= result.upper).all()
    if (result.radii > 0).any():
        assert assert_no_witness(graph, result, seed) > 100


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("pool", [True, False])
def test_convolutional_networks_keep_their_class(norm, pool):
    rng = np.random.default_rng(7)
    graph = convnet(rng, pool=pool)
    x = rng.random((5, 1, 6, 6))
    result = radius(graph, x, graph(x).argmax(1), norm, effort="fast")
    assert (result.radii > 0).all() and (result.radii <= result.upper).all() and assert_no_witness(graph, result) > 500


def test_the_float32_weights_of_a_torch_model():
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 3), torch.nn.BatchNorm1d(3), torch.nn.Softmax(1)
    )
    model(torch.rand(64, 1, 6, 6))  # running statistics
    model.eval()
    x = torch.rand(6, 1, 6, 6)
    result = radius(model, x, model(x).argmax(1), effort="fast")
    assert (result.radii > 0).all() and "+" in result.head.last.node and assert_no_witness(result.graph, result) > 500
    assert len(result.head.stripped) == 1


# --- mutants: each must be caught by the attack or by rationals -----------------------------------------------------------------


def opposite(norm: str):
    """Two opposite rows: the global and the pairwise bound are both exact, so nothing can be dropped."""
    graph = linear([[1.0, -2.0, 0.5], [-1.0, 2.0, -0.5]] if norm != "l1" else [[2.0, -2.0, 2.0], [-2.0, 2.0, -2.0]])
    x = np.array([[1.0, -1.0, 2.0], [0.3, -0.2, 0.1]])
    return graph, x, np.array([0, 0])


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_mutant_gap_factor_dropped(norm, monkeypatch):
    graph, x, y = opposite(norm)
    honest = radius(graph, x, y, norm, "global")
    assert (honest.radii >= honest.upper * 0.99).all()
    monkeypatch.setattr(margin_module, "gap_factor", lambda norm: 1.0)
    with pytest.raises(SoundnessError, match="global radius"):
        radius(graph, x, y, norm, "global")


@pytest.mark.parametrize("norm", NORMS)
def test_mutant_radius_a_thousandth_too_large(norm, monkeypatch):
    graph, x, y = opposite(norm)
    monkeypatch.setattr(margin_module, "SHRINK", 1.001)
    with pytest.raises(SoundnessError):
        radius(graph, x, y, norm)


@pytest.mark.parametrize(("norm", "wrong"), [("linf", "linf"), ("linf", "l2"), ("l2", "linf")])
def test_mutant_dual_norm_swapped(norm, wrong, monkeypatch):
    graph, x, y = opposite(norm)
    monkeypatch.setattr(margin_module, "dual_norm", lambda norm: wrong)
    with pytest.raises(SoundnessError, match="pairwise radius"):
        radius(graph, x, y, norm, "pairwise")


def test_mutant_backbone_constant_forgotten(monkeypatch):
    rng = np.random.default_rng(0)
    graph = mlp(rng, (4, 6, 3), scale=3.0)
    x = rng.standard_normal((10, 4))
    constants = margin_module.PairNorms.constants
    monkeypatch.setattr(margin_module.PairNorms, "constants", lambda self, classes, backbone: constants(self, classes, 1.0))
    with pytest.raises(SoundnessError, match="pairwise radius"):
        radius(graph, x, graph(x).argmax(1))


def cancelling() -> tuple[list, np.ndarray]:
    """Linear classifiers whose float64 margin has the wrong sign: sums that lose their small terms in 2^53."""
    found = []
    x = np.ones((1, 4))
    for order in itertools.permutations([2.0**53, 3.0, -(2.0**53), 0.0]):
        for bias in (-3.5, -2.5, -1.5, 0.5, 1.5, -0.5):
            graph = linear([list(order), [0.0] * 4], [bias, 0.0])
            exact = exact_margins(graph["fc"].arrays["weight"], graph["fc"].arrays["bias"], x[0], 0)[1]
            if graph(x)[0, 0] > 0 and exact < 0:
                found.append(graph)
    return found, x


def test_mutant_error_term_dropped(monkeypatch):
    graphs, x = cancelling()
    assert graphs, "no order of summation loses the small term: look for another example"
    for graph in graphs:
        assert radius(graph, x, [0], attack=False).radii[0] == 0
    monkeypatch.setattr(margin_module, "ROOM", 0.0)
    assert any(radius(graph, x, [0], attack=False).radii[0] > 0 for graph in graphs), "the error term is not what protects us"


def test_mutant_forward_error_dropped(monkeypatch):
    """The same cancellation one layer below: the last layer is harmless, the error comes in through its features."""
    from certify.core.graph import GraphBuilder

    graphs, x = cancelling()
    deep = []
    for graph in graphs:
        b = GraphBuilder()
        y = b.add("dense", [b.add("input", attrs={"shape": (4,)})], arrays=dict(graph["fc"].arrays), name="hidden")
        y = b.add("activation", [y], {"kind": "leaky_relu", "alpha": 0.5}, name="act")
        deep.append(b.build(b.add("dense", [y], arrays={"weight": np.eye(2)}, name="fc")))
    for graph in deep:
        assert radius(graph, x, [0], attack=False).radii[0] == 0
    honest = forward.forward_with_error

    def mutant(*args, **kwargs):
        values, errors = honest(*args, **kwargs)
        return values, np.zeros_like(errors)

    monkeypatch.setattr(forward, "forward_with_error", mutant)
    assert any(radius(graph, x, [0], attack=False).radii[0] > 0 for graph in deep), "the forward error is not what protects us"


def test_a_margin_below_the_rounding_is_never_certified():
    """The true margin is one unit in the last place of numbers 2^30 times as large: right by luck is not proved."""
    eps = Fraction(1, 2**40)
    graph = linear([[2.0**30, 2.0**30, 1.0], [2.0**30, 2.0**30, 1.0 - float(eps)]])
    result = radius(graph, [[1.0, -1.0, 2.0**-20]], [0], attack=False)
    assert result.radii[0] == 0
