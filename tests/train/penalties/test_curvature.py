"""Curvature: never below the Hessian of a margin, closed forms, gradients, labels and targets, refusals by name."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from train.penalties.truth import derivative

from certify.core.errors import CertifyError, InputError, UnsupportedLayerError
from certify.train.penalties import Curvature, curvature

ACTIVATIONS = [nn.Softplus, nn.Sigmoid, nn.Tanh, nn.GELU, lambda: nn.GELU("tanh"), nn.SiLU, nn.Mish, nn.ELU, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, lambda: nn.Softplus(3.0)]


def network(activation, widths=(4, 6, 5, 3), seed: int = 0, scale: float = 2.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), activation())][:-1]
        model = nn.Sequential(nn.Flatten(), *parts).double()
    with torch.no_grad():
        for part in parts[::2]:
            part.weight.mul_(scale)
    return model


@pytest.fixture(autouse=True)
def exact_norms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """The norms by SVD: what is looked at here is the formula."""
    if "converges" not in request.node.name:
        monkeypatch.setattr(curvature, "matrix_norm", lambda matrix, start, steps: (torch.linalg.matrix_norm(matrix, 2), None))


def constants(model: nn.Module) -> torch.Tensor:
    return Curvature().constants(model)


def test_it_converges_to_the_exact_norms():
    model = network(nn.Tanh, (4, 6, 3))
    penalty = Curvature()
    for _ in range(40):
        found = penalty.constants(model)
    w1, w2 = model[1].weight.detach(), model[3].weight.detach()
    expected = 4 / (3 * math.sqrt(3)) * torch.linalg.matrix_norm(w1, 2) ** 2 * (w2[:, None] - w2[None]).abs().amax(2)
    assert torch.allclose(found, expected, rtol=1e-5)


def largest_hessian(model: nn.Module, i: int, j: int, points: torch.Tensor) -> float:
    margin = lambda x: model(x[None])[0, i] - model(x[None])[0, j]  # noqa: E731
    return max(torch.linalg.matrix_norm(torch.autograd.functional.hessian(margin, x), 2).item() for x in points)


@given(kind=st.integers(0, len(ACTIVATIONS) - 1), depth=st.integers(1, 3), seed=st.integers(0, 2**16), scale=st.sampled_from([0.5, 2.0, 5.0]))
def test_never_below_the_hessian(kind: int, depth: int, seed: int, scale: float):
    model = network(ACTIVATIONS[kind], (3, *([4] * depth), 3), seed, scale)
    points = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / scale
    k = constants(model).detach()
    assert torch.equal(k, k.T) and bool((k.diagonal() == 0).all())
    assert largest_hessian(model, 0, 2, points) <= k[0, 2].item() * (1 + 1e-9)


def test_one_hidden_layer_in_closed_form():
    model = network(nn.Tanh, (4, 6, 3))
    w1, w2 = model[1].weight.detach(), model[3].weight.detach()
    h, s = 4 / (3 * math.sqrt(3)), torch.linalg.matrix_norm(w1, 2)
    expected = h * s**2 * (w2[:, None] - w2[None]).abs().amax(2)
    assert torch.allclose(constants(model), expected, rtol=1e-9)


def test_two_hidden_layers_in_closed_form():
    """The formula of the class, term by term: g = 1/4 enters both."""
    model = network(nn.Sigmoid, (4, 6, 5, 3))
    w1, w2, w3 = (model[k].weight.detach() for k in (1, 3, 5))
    norm = lambda w: torch.linalg.matrix_norm(w, 2)  # noqa: E731
    row = (w3[0] - w3[2]).abs()
    first, second = (row / 4 @ w2.abs()).max() * norm(w1) ** 2, row.max() * (norm(w2) * norm(w1) / 4) ** 2
    assert constants(model)[0, 2].item() == pytest.approx((first + second).item() * math.sqrt(3) / 18, rel=1e-9)


def test_a_bound_that_would_be_too_small_is_noticed():
    """The test above has teeth: a hundredth of a curvature bound is beaten by the Hessian of a one-layer network at the inflection of sigmoid."""
    model = network(nn.Sigmoid, (1, 1, 2))
    with torch.no_grad():
        model[1].bias.fill_(1.3169578969)
    found = largest_hessian(model, 0, 1, torch.zeros(1, 1, dtype=torch.float64))
    assert 0.99 * constants(model)[0, 1].item() < found <= constants(model)[0, 1].item() * (1 + 1e-9)


@pytest.mark.parametrize("activation", [nn.Softplus, nn.GELU])
def test_gradient(activation):
    model = network(activation)
    value = lambda: Curvature()(model)  # noqa: E731
    gradients = torch.autograd.grad(value(), [model[k].weight for k in (1, 3, 5)])
    for k, gradient in zip((1, 3, 5), gradients):
        direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        assert (gradient * direction).sum().item() == pytest.approx(derivative(value, model[k].weight, direction), rel=1e-4)


def test_all_pairs_or_those_of_labels_and_targets():
    model, penalty = network(nn.Softplus), Curvature(0.5)
    k = penalty.constants(model).detach()
    labels, targets = torch.tensor([0, 2, 1, 1]), torch.tensor([1, 0, 2, 1])
    assert penalty(model).item() == pytest.approx(0.5 * k[torch.triu(torch.ones(3, 3), 1) > 0].mean().item(), rel=1e-6)
    assert penalty(model, labels, targets).item() == pytest.approx(0.5 * k[labels, targets].mean().item(), rel=1e-6)
    for bad in ((labels, None), (labels, targets[:2]), (labels, targets.float()), (labels + 1, targets)):
        with pytest.raises(InputError):
            penalty(model, *bad)


def test_one_output_nested_containers_and_no_hidden_layer():
    model = network(nn.Tanh, (3, 4, 1))
    nested = nn.Sequential(nn.Sequential(model[0], model[1]), nn.Identity(), nn.Dropout(0.5), nn.Sequential(model[2], model[3]))
    assert constants(model).shape == (1, 1) and constants(nested).item() == pytest.approx(constants(model).item())
    assert Curvature()(model).item() == pytest.approx(constants(model).item(), rel=1e-6)
    assert Curvature()(nn.Linear(3, 2)).item() == 0.0
    stacked = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Tanh(), nn.Sigmoid(), nn.Linear(3, 3), nn.Linear(3, 2)).double()
    points = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert largest_hessian(stacked, 0, 1, points) <= constants(stacked)[0, 1].item() * (1 + 1e-9)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.ReLU(), "1.1 .ReLU"),
        (nn.ELU(0.5), "1.1 .ELU"),
        (nn.Conv1d(4, 4, 1), "1.1 .Conv1d"),
        (nn.BatchNorm1d(4), "1.1 .BatchNorm1d"),
        (nn.Softplus(threshold=2.0), "1.1 .Softplus"),
        (nn.TransformerEncoderLayer(4, 2), "1.1 .TransformerEncoderLayer"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "",
)
def test_what_has_no_curvature_is_named(layer: nn.Module, words: str):
    with pytest.raises(UnsupportedLayerError, match=words):
        Curvature()(nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Tanh(), layer), nn.Linear(4, 2)))
    with pytest.raises(CertifyError, match="linear layer"):
        Curvature()(nn.Sequential(nn.Tanh()))
