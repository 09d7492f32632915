"""The checks of training.md 1.3, against an SVD and a grid search."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from train.parametrizations.parametrized import true_norm

from certify.core.errors import InputError
from certify.train.parametrizations import stable_rank, stable_rank_normalization
from certify.train.parametrizations.stable_rank import nearest_stable_rank

LAYERS = {
    "wide": lambda: nn.Linear(60, 40),
    "tall": lambda: nn.Linear(30, 50),
    "convolution": lambda: nn.Conv2d(20, 30, 3, padding=1),
    "groups": lambda: nn.Conv2d(20, 30, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(20, 30, 2),
    "transposed, groups": lambda: nn.ConvTranspose2d(20, 30, 2, groups=2),
}


def output_matrices(layer: nn.Module) -> list[Tensor]:
    """(outputs, everything else) of each group, written out entry by entry for transposed layers."""
    weight, groups = layer.weight.detach(), getattr(layer, "groups", 1)
    if getattr(layer, "transposed", False):
        size = weight.shape[0] // groups
        return [torch.stack([weight[g * size : (g + 1) * size, o].flatten() for o in range(weight.shape[1])]) for g in range(groups)]
    return [part.flatten(1) for part in weight.chunk(groups)]


def rank_and_norm(matrix: Tensor) -> tuple[float, float]:
    s = torch.linalg.svdvals(matrix.detach().double())
    return float(s.square().sum() / s[0] ** 2), float(s[0])


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("name", LAYERS)
def test_stable_rank_and_norm(name: str, k: int):
    """Exactly ratio * min(rows, columns), largest singular value exactly 1 (at most 1 where the operator norm is divided out)."""
    layer = LAYERS[name]().double()
    smaller = min(output_matrices(layer)[0].shape)
    before = [rank_and_norm(m)[0] for m in output_matrices(layer)]
    stable_rank_normalization(layer, ratio=0.1, k=k, norm="reshaped")
    for matrix, rank in zip(output_matrices(layer), before):
        found, norm = rank_and_norm(matrix)
        assert found == pytest.approx(min(max(1.0, 0.1 * smaller), rank), abs=1e-6)
        assert norm == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", LAYERS)
def test_idempotent(name: str):
    layer = LAYERS[name]().double()
    stable_rank_normalization(layer, ratio=0.15, norm="reshaped")
    once = layer.weight.detach().clone()
    again = LAYERS[name]().double()
    again.weight.data.copy_(once)
    stable_rank_normalization(again, ratio=0.15, norm="reshaped")
    assert torch.allclose(again.weight, once, atol=1e-10)


def test_a_large_target_changes_nothing_but_the_norm():
    layer = nn.ConvTranspose2d(4, 6, 3).double()
    before = layer.weight.detach().clone()
    stable_rank_normalization(layer, ratio=1.0, norm="reshaped")
    scale = (before / layer.weight).detach()
    assert torch.allclose(scale, scale.flatten()[0].expand_as(scale)), "a permuted kernel comes back"


def test_a_head_with_one_output_and_a_zero_weight():
    head = stable_rank_normalization(nn.Linear(7, 1), ratio=0.3)
    assert rank_and_norm(head.weight) == pytest.approx((1.0, 1.0), abs=1e-6)
    zero = nn.Linear(3, 2)
    nn.init.zeros_(zero.weight)
    stable_rank_normalization(zero)
    zero.weight.sum().backward()
    assert not zero.weight.any() and torch.isfinite(zero.parametrizations.weight.original.grad).all()


def test_the_operator_norm_of_a_convolution():
    """norm="operator" keeps the stable rank and makes the layer's own norm at most 1; "reshaped" does not."""
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, 3, padding=1)
    published = stable_rank_normalization(copy.deepcopy(plain), 0.4, norm="reshaped")
    ours = stable_rank_normalization(plain, 0.4)
    assert true_norm(published, (8, 9, 9)) > 1.2 and published.parametrizations.weight[0].lipschitz == 3.0
    assert true_norm(ours, (8, 9, 9)) <= 1 + 1e-4
    assert rank_and_norm(ours.weight.detach().flatten(1))[0] == pytest.approx(3.2, abs=1e-5)


def test_distances_of_the_notes():
    """A 40 x 60 Gaussian at r = 2: about 23.55 and 33.30; one drawn elsewhere comes close to both."""
    distances = []
    matrix = torch.randn(40, 60, dtype=torch.float64)
    for k in (0, 1, 2):
        near = nearest_stable_rank(matrix, 2.0, k)
        assert rank_and_norm(near)[0] == pytest.approx(2.0, abs=1e-9)
        distances.append(float((near - matrix).norm()))
    assert distances == sorted(distances)
    assert distances[:2] == pytest.approx([23.55, 33.30], rel=0.05)


@given(rows=st.integers(1, 7), columns=st.integers(1, 7), r=st.floats(1, 4), seed=st.integers(0, 10**6))
def test_nothing_nearer_is_found(rows: int, columns: int, r: float, seed: int):
    """k = 0 against a search over g_1 S + g_2 R, k = 1 against g_1 = 1; the published order of distances; the target is met."""
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    near = [nearest_stable_rank(matrix, r, k) for k in (0, 1)]
    distance = [float((n - matrix).norm()) for n in near]
    assert all(rank_and_norm(n)[0] <= r + 1e-9 for n in near) and distance[0] <= distance[1] + 1e-9
    rest = float(s[1:].norm())
    for top in torch.linspace(0.5, 3, 41).tolist():
        shrink = min(1.0, (r - 1) ** 0.5 * top * float(s[0]) / rest) if rest > 0 else 1.0
        if shrink * float(s[1] if len(s) > 1 else 0) > top * float(s[0]):
            continue  # another singular value would be the largest
        found = (((top - 1) * float(s[0])) ** 2 + ((1 - shrink) * rest) ** 2) ** 0.5
        assert distance[0] <= found + 1e-9


def test_an_infeasible_k_is_lowered():
    matrix = torch.diag(torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64))
    assert torch.allclose(nearest_stable_rank(matrix, 1.5, 2), nearest_stable_rank(matrix, 1.5, 1))
    assert torch.allclose(nearest_stable_rank(matrix, 2.1, 2).diagonal()[:2], torch.tensor([2.0, 2.0], dtype=torch.float64))


def test_zero_and_one_are_the_same_layer():
    """Divided by its norm the k = 0 matrix is the k = 1 matrix: g_2 / g_1 = g."""
    matrix = torch.randn(9, 12, dtype=torch.float64)
    near = [nearest_stable_rank(matrix, 2.0, k) for k in (0, 1)]
    assert torch.allclose(*(n / torch.linalg.matrix_norm(n, 2) for n in near))


@pytest.mark.parametrize("k", [1, 2])
def test_the_gradient_holds_singular_vectors_fixed(k: int, monkeypatch):
    """As published: the derivative of W -> (S + g R) / s_1 with u and v frozen, by finite differences."""
    layer = stable_rank_normalization(nn.Linear(8, 6).double(), ratio=0.4, k=k)
    raw = layer.parametrizations.weight.original
    frozen = stable_rank._top_vectors(raw.detach()[None], k)
    monkeypatch.setattr(stable_rank, "_top_vectors", lambda *_: frozen)
    target, direction, start = torch.randn_like(raw), torch.randn_like(raw), raw.detach().clone()
    (layer.weight * target).sum().backward()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            raw.copy_(start + sign * 1e-6 * direction)
            values.append(float((layer.weight * target).sum()))
    assert float((raw.grad * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_arguments():
    for arguments in ({"ratio": 0.0}, {"ratio": 1.2}, {"ratio": True}, {"k": -1}, {"k": 1.5}, {"norm": "conv"}, {"steps": 0}):
        with pytest.raises(InputError) as caught:
            stable_rank_normalization(nn.Linear(3, 3), **arguments)
        assert next(iter(arguments)) in str(caught.value)
    with pytest.raises(InputError):
        nearest_stable_rank(torch.eye(2), 0.5)
