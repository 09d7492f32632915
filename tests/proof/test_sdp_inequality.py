"""The matrix of one inequality: inside its radius in exact rationals, and negative on what really happens, for any multipliers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from strategies.classifiers import mlp
from strategies.increments import increments, inequality_holds
from strategies.semidefinite import NETS, Net, folded, net

from certify.core.errors import CertificateError
from certify.core.graph import Graph
from certify.proof import sdp_inequality
from certify.proof.parts import read
from certify.proof.sdp_inequality import Inequality


def exact(a) -> np.ndarray:
    """The float matrix as rationals."""
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(np.asarray(a))


def exact_matrix(graph: Graph, tau: np.ndarray, slopes: list[tuple[Fraction, Fraction]], skip: bool, pair=None) -> np.ndarray:
    """M without rho E_0 of x -> W2 f(W1 x [+ x]), W3 (..): written out by hand from the definition, in rationals."""
    weights = [exact(node.float64("weight")) for node in graph.nodes if node.op == "dense"]
    d, sizes = weights[0].shape[1], [len(w) for w in weights[:-1]]
    size = d + sum(sizes)
    one = exact(np.eye(size))
    state, place, first, m = one[:d], d, 0, exact(np.zeros((size, size)))
    for weight, n, (lo, hi) in zip(weights, sizes, slopes):
        z, phi = weight.dot(state), one[place : place + n]
        for i in range(n):
            a, b = phi[i] - lo * z[i], phi[i] - hi * z[i]
            m = m + Fraction(float(tau[first + i])) * (np.outer(a, b) + np.outer(b, a)) / 2
        state, place, first = phi + state if skip and len(phi) == len(state) else phi, place + n, first + n
    y = weights[-1].dot(state)
    y = y if pair is None else y[[pair[0]]] - y[[pair[1]]]
    return m - y.T.dot(y)


def skipping(rng: np.random.Generator, kind: str, **attrs) -> Graph:
    n = Net(rng, 3)
    x = n.x
    for _ in range(2):
        x = n.op("add", n.act(n.dense(x, 3), kind, **attrs), x, name=f"sum_{x}")
    return n.build(n.dense(x, 2))


SLOPES = {"relu": {}, "leaky_relu": {"alpha": -0.3}, "gelu": {"approximate": "none"}, "abs": {}, "mish": {}}


@pytest.mark.parametrize("kind", SLOPES)
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e-120, 1e60])
def test_the_matrix_is_inside_its_radius_in_exact_rationals(kind, skip, scale):
    rng = np.random.default_rng(3)
    graph = skipping(rng, kind, **SLOPES[kind]) if skip else mlp(rng, [3, 4, 2, 3], kind, **SLOPES[kind])
    graph = folded(graph)
    found = Inequality(read(graph, graph.output))
    tau = rng.uniform(0.1, 2, found.groups) * 10.0 ** rng.uniform(-3, 3, found.groups) * scale
    slopes = [(Fraction(float(block.lo[0])), Fraction(float(block.hi[0]))) for _, block in found.values.reading.blocks]
    for pair in (None, (0, 1)):
        m = found.matrix(tau, pair)
        truth = exact_matrix(graph, tau, slopes, skip, pair)
        assert (m.mid == m.mid.T).all() and (m.rad == m.rad.T).all()
        assert m.radius().max() <= 1e-13 * np.abs(m.mid).max()
        off = [abs(truth[i, j] - Fraction(m.mid[i, j])) <= Fraction(m.radius()[i, j]) for i, j in np.ndindex(*m.mid.shape)]
        assert all(off)


@pytest.mark.parametrize("name", NETS)
def test_the_multipliers_terms_are_never_positive_on_true_increments(name):
    graph = folded(net(name))
    reading = read(graph, graph.output)
    found, rng = Inequality(reading), np.random.default_rng(5)
    d = increments(graph, reading, rng, 100)
    for _ in range(3):
        assert inequality_holds(found, reading, d, 10.0 ** rng.uniform(-2, 2, found.groups))


def test_known_slopes_and_neurons_that_never_move_are_left_out():
    """A slope range of one point, and a row of zeros: with tau = 0 there M is positive definite all the same."""
    n = Net(np.random.default_rng(0), 3)
    weight = n.rng.normal(size=(4, 3))
    weight[2] = 0.0
    y = n.op("dense", n.x, arrays={"weight": weight})
    y = n.act(y, "prelu", {"slope": np.array([0.5, 1.0, 0.1, -0.5])})
    graph = n.build(n.dense(y, 2))
    found = Inequality(read(graph, graph.output))
    assert found.groups == 4 and found.size == 3 + 2
    tau = np.array([30.0, 0.0, 0.0, 30.0])
    assert found.holds(20.0, tau) and not found.holds(20.0, tau[[1, 0, 2, 3]])
    assert found.holds(20.0, np.array([30.0, 7.0, 9.0, 30.0]))  # what is not looked at may say anything


def test_what_is_not_finite_or_not_positive_proves_nothing():
    graph = folded(net("relu"))
    found = Inequality(read(graph, graph.output))
    tau = np.full(found.groups, 50.0)
    assert found.holds(1e3, tau)
    for bound in (0.0, -1.0, np.nan, np.inf, 1e-200):
        assert not found.holds(bound, tau)
    for changed in (tau * np.nan, tau * np.inf, -tau, tau[1:], np.full(found.groups, 1e308), tau[None]):
        with np.errstate(all="ignore"):
            assert not found.holds(1e3, changed)


def test_a_matrix_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(sdp_inequality, "LARGEST", 8)
    graph = folded(net("relu"))
    with pytest.raises(CertificateError, match="too large"):
        Inequality(read(graph, graph.output))
