"""The checker on curvature radii: true evidence is confirmed, changed evidence refused, and its parts enclose the truth."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from torch import nn

from certify.constants.curvature import curvature_radii
from certify.constants.local import enclose_points
from certify.core.errors import CertificateError
from certify.core.fold import fold_affine
from certify.core.trace import trace
from certify.proof import check_curvature
from certify.proof.curvature_points import Backward, Points
from certify.proof.parts import read


class Residual(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.first, self.a, self.b, self.last, self.act = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3), act

    def forward(self, x):
        x = self.act(self.first(x))
        return self.last(self.act(x + self.b(self.act(self.a(x)))))


def mlp(act, depth: int) -> nn.Module:
    layers: list[nn.Module] = []
    for width in [5, *[6] * (depth - 1)]:
        layers += [nn.Linear(width, 6), act]
    return nn.Sequential(*layers, nn.Linear(6, 3))


def conv(act) -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 3, 3, padding=1), nn.BatchNorm1d(3), act, nn.AvgPool1d(2), nn.Flatten(), nn.Linear(6, 3))


NETS = {
    "softplus 1": lambda: mlp(nn.Softplus(), 1), "softplus 3": lambda: mlp(nn.Softplus(), 3), "tanh 2": lambda: mlp(nn.Tanh(), 2), "gelu 2": lambda: mlp(nn.GELU(), 2),
    "silu 2": lambda: mlp(nn.SiLU(), 2), "celu 2": lambda: mlp(nn.CELU(0.7), 2), "sigmoid residual": lambda: Residual(nn.Sigmoid()), "softplus conv": lambda: conv(nn.Softplus()),
}  # fmt: skip


def evidence(name: str, seed: int = 0, count: int = 12):
    """(folded graph, ending, arrays of a certificate) of a random network."""
    torch.manual_seed(seed)
    net = NETS[name]().double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(2.0)
        last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
        last.bias.sub_(net(torch.randn(300, 5, dtype=torch.float64)).mean(0))
    graph = fold_affine(trace(net, (5,)))
    x = np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)
    labels = graph(x.astype(np.float64)).argmax(1)
    low, high = enclose_points(graph, x)
    found = curvature_radii(graph, x, labels, low[np.arange(count), labels][:, None] - high)
    end = types.SimpleNamespace(logits=graph[graph.output], classes=3)
    return graph, end, {**found.arrays(), "labels": labels, "inputs": x, "radii": found.radii}


def confirmed(graph, end, arrays) -> np.ndarray:
    return check_curvature.proves(graph, "l2", end, arrays, np.flatnonzero(arrays["radii"] > 0))


@pytest.mark.parametrize("name", list(NETS))
def test_true_radii_are_confirmed_and_larger_ones_are_not(name):
    graph, end, arrays = evidence(name)
    assert (arrays["radii"] > 0).all() and confirmed(graph, end, arrays).all()
    assert not confirmed(graph, end, {**arrays, "radii": arrays["radii"] * (1 + 1e-5)}).any()


def test_forged_evidence_is_refused():
    graph, end, arrays = evidence("softplus 3")
    lower, tau, eta, labels = (arrays[n] for n in ("curvature_lower", "curvature_tau", "curvature_eta", "labels"))
    wrong = [("lower", lower * share) for share in (0.99, 0.0, -1.0, np.nan)] + [("tau", tau * share) for share in (0.0, 0.5, -1.0)]
    for name, forged in wrong:
        with pytest.raises(CertificateError, match="curvature bound"):
            confirmed(graph, end, {**arrays, f"curvature_{name}": forged})
    far = arrays["curvature_points"] + np.float32(0.5)
    biggest = 1.0 / lower[labels]
    for name, forged in [("points", far), ("eta", np.maximum(eta, biggest))] + [("eta", eta * share) for share in (0.0, -1.0, 2.0, np.nan)]:
        assert not confirmed(graph, end, {**arrays, f"curvature_{name}": np.asarray(forged)}).any()
    here = np.flatnonzero(labels == labels[0])
    swapped = {**arrays, "labels": np.full_like(labels, next(c for c in labels.tolist() if c != labels[0]))}  # K- of that label is in the file
    assert not check_curvature.proves(graph, "l2", end, swapped, here).any()
    for name in ("lower", "tau", "eta", "points"):
        with pytest.raises(CertificateError, match="missing or of another shape"):
            confirmed(graph, end, {**arrays, f"curvature_{name}": arrays[f"curvature_{name}"][..., :1]})
    with pytest.raises(CertificateError, match="l2"):
        check_curvature.proves(graph, "linf", end, arrays, np.arange(1))


def test_kinks_are_refused():
    _, end, arrays = evidence("softplus 1")
    torch.manual_seed(0)
    graph = trace(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)).double(), (5,))
    with pytest.raises(CertificateError, match="kink"):
        confirmed(graph, types.SimpleNamespace(logits=graph[graph.output], classes=3), arrays)


@pytest.mark.parametrize("name", list(NETS))
def test_margins_and_gradients_are_enclosed_tightly(name):
    graph, _, arrays = evidence(name)
    reading = read(graph, graph.output)
    points = Points(graph, reading, Backward(reading))
    y = arrays["curvature_points"].reshape(-1, 5).astype(np.float64)
    first, second = np.zeros(len(y), np.int64), np.ones(len(y), np.int64)
    lower, gradient = points.margins(y, first, second)
    module = graph.to_torch().double()
    x = torch.from_numpy(y).requires_grad_()
    z = module(x)
    (exact,) = torch.autograd.grad((z[:, 0] - z[:, 1]).sum(), x)
    margin = (z[:, 0] - z[:, 1]).detach().numpy()
    slack = 1e-7 if name == "celu 2" else 1e-13  # torch divides by a float32 alpha in its vectorised CELU
    assert (lower <= margin + slack).all() and (margin - lower < 1e-10 + slack).all()
    assert (np.abs(exact.numpy() - gradient.mid) <= gradient.radius() + slack).all() and gradient.radius().max() < 1e-10


def test_a_checker_without_the_last_layer_or_with_the_wrong_sign_would_be_noticed(monkeypatch):
    graph, end, arrays = evidence("softplus 3")
    true = check_curvature.weights

    def forged(low, high, kinds, constant):
        return true(-high, -low, kinds, constant)

    monkeypatch.setattr(check_curvature, "weights", forged)
    with pytest.raises(CertificateError):
        confirmed(graph, end, arrays)
