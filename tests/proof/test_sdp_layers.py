"""Metrics of the states: true increments lie in their ellipsoids, whatever multipliers and deltas; bounds follow and no others."""

from __future__ import annotations

import numpy as np
import pytest
from strategies.increments import increments, metric_holds
from strategies.semidefinite import NETS, Net, by_layers, folded, net

from certify.core.errors import CertificateError
from certify.core.midrad import MidRad
from certify.proof import sdp_layers
from certify.proof.parts import read
from certify.proof.sdp_layers import Metric, carried, output_gram, pairs_below, whole_below


def metric_of(graph, entry, arrays, factor=1.0, deltas=None):
    reading = read(graph, graph.output)
    return carried(reading, arrays["proof0.u"] * factor, entry["exponents"], deltas or entry["deltas"], entry["states"])


@pytest.mark.parametrize("name", NETS)
def test_true_increments_lie_in_the_ellipsoid(name):
    graph = folded(net(name))
    reading, rng = read(graph, graph.output), np.random.default_rng(2)
    d = increments(graph, reading, rng, 200)
    entry, arrays = by_layers(graph, pairs=False)
    for k, (factor, deltas) in enumerate(((1.0, None), (rng.uniform(1, 2, arrays["proof0.u"].shape), None), (1.0, [0.01] * len(entry["deltas"])))):
        try:
            metric = metric_of(graph, entry, arrays, factor, deltas)
        except CertificateError:
            assert k > 0  # after a larger metric the stored multipliers need not be feasible any more
            continue
        assert metric_holds(output_gram(metric).mid, metric.exponent, d[reading.output], d[reading.input])


def test_feasibility_is_proved_and_not_believed():
    """One layer z = x in one dimension, slopes [-1, 1]: Q = u - 1 must be positive, and S+ = u then."""
    n = Net(np.random.default_rng(0), 1)
    y = n.op("dense", n.act(n.x, "abs"), arrays={"weight": np.eye(1)})
    graph = n.build(y)
    reading = read(graph, graph.output)
    for u, proved in ((0.5, False), (1.0, False), (1.0 - 1e-12, False), (1.0 + 1e-9, True), (4.0, True)):
        if not proved:
            with pytest.raises(CertificateError, match="not proved"):
                carried(reading, np.array([u]), [0], [1e-9], [["abs_x"]])
            continue
        metric = carried(reading, np.array([u]), [0], [1e-9], [["abs_x"]])
        gram = output_gram(metric)
        assert whole_below(metric, gram, np.sqrt(u) * (1 + 1e-8)) and not whole_below(metric, gram, np.sqrt(u) * (1 - 1e-8))


@pytest.mark.parametrize("exponent", [0, 5, -7, 400, -400])
def test_pairs_and_the_whole_follow_from_the_metric_and_nothing_less(exponent):
    """Against exact products of small integers; also where c_i and c_j nearly cancel."""
    s = np.array([[4.0, 1.0], [1.0, 3.0]])
    last = np.array([[1.0, 2.0], [1.0, 2.0 + 2.0**-40], [0.0, -5.0]])
    metric = Metric(s, exponent, MidRad(last))
    gram = output_gram(metric)
    d = last[:, None, :] - last[None, :, :]
    truth = np.ldexp(np.sqrt(np.einsum("ija,ab,ijb->ij", d, s, d)), exponent)
    assert pairs_below(metric, gram, truth * (1 + 1e-13)).all()
    low = pairs_below(metric, gram, truth * (1 - 1e-13))
    assert (low == np.eye(3, dtype=bool)).all()
    top = np.ldexp(np.sqrt(np.linalg.eigvalsh(last @ s @ last.T)[-1]), exponent)
    assert whole_below(metric, gram, top * (1 + 1e-12)) and not whole_below(metric, gram, top * (1 - 1e-12))
    for bound in (0.0, -top, np.nan, np.inf):
        assert not whole_below(metric, gram, bound)


def test_scaling_by_an_exponent_loses_nothing():
    metric = np.array([[1.0, 2.0**-1000], [2.0**-1000, 1.0]])
    assert (sdp_layers._scaled(metric, 3) == metric * 64).all()
    small = sdp_layers._scaled(metric, -100)  # the off-diagonal entries are lost: the diagonal pays
    assert small[0, 1] == 0 and small[0, 0] > 2.0**-200
    with pytest.raises(CertificateError, match="out of the range"):
        sdp_layers._scaled(np.eye(2), 600)


def test_a_metric_beyond_the_limit_is_refused(monkeypatch):
    graph = folded(net("relu"))
    entry, arrays = by_layers(graph, pairs=False)
    monkeypatch.setattr(sdp_layers, "LARGEST", 6)
    with pytest.raises(CertificateError, match="too large"):
        metric_of(graph, entry, arrays)


def test_deep_nets_need_their_exponents():
    """20 layers whose constants are around 30 each: S overflows nothing, and the bound is 1e30 or so."""
    n = Net(np.random.default_rng(0), 4)
    x = n.x
    for i in range(20):
        weight = 30 * n.rng.normal(size=(4, 4))
        x = n.act(n.op("dense", x, arrays={"weight": weight}, name=f"d{i}"))
    graph = folded(n.build(n.dense(x, 2)))
    entry, arrays = by_layers(graph)
    metric = metric_of(graph, entry, arrays)
    assert metric.exponent == -sum(entry["exponents"]) > 60 and entry["bound"] > 1e20
    assert whole_below(metric, output_gram(metric), entry["bound"]) and not whole_below(metric, output_gram(metric), entry["bound"] * (1 - 1e-6))
