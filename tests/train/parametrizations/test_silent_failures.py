"""What would go wrong without a word: dead gradients, dead singular vectors, forgotten retractions, halves, entries whose squares leave the dtype."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from train.parametrizations.parametrized import true_norm

from certify.core.errors import HypothesisError, InputError
from certify.train.pairs import pair_constants
from certify.train.parametrizations import bjorck, cayley, orthogonal_convolution, retract_, spectral_normalization, stable_rank_normalization
from certify.train.parametrizations.retraction import newton_schulz, retracted

GROUPED = lambda: nn.Conv2d(4, 4, 3, padding=1, groups=2)  # noqa: E731


@pytest.mark.parametrize("function", [spectral_normalization, stable_rank_normalization])
@pytest.mark.parametrize(("make", "shape", "part"), [(lambda: nn.Linear(7, 5), (7,), None), (GROUPED, (4, 6, 6), None), (GROUPED, (4, 6, 6), 2)])
def test_a_layer_that_starts_at_zero_is_followed_once_it_moves(function, make, shape, part):
    """Zero weights (of one group) have zero singular vectors, from which power steps never leave."""
    layer = make()
    with torch.no_grad():
        layer.weight[:part] = 0
    function(layer).train()
    with torch.no_grad():
        layer.parametrizations.weight.original[:part].normal_()
    for _ in range(3):
        _ = layer.weight
    assert true_norm(layer, shape) <= 1.01


def test_a_singular_value_is_found_that_rises_where_both_vectors_are_zero():
    """After convergence the two vectors that are followed are e_1 and e_2, to the last bit; then e_3 becomes the largest."""
    layer = nn.Linear(3, 3, bias=False).double()
    layer.weight.data.copy_(torch.diag(torch.tensor([3.0, 2.0, 1e-9])))
    spectral_normalization(layer).train()
    _ = layer.weight
    layer.parametrizations.weight.original.data.copy_(torch.diag(torch.tensor([1.0, 0.9, 3.0])))
    for _ in range(30):
        _ = layer.weight
    assert true_norm(layer, (3,)) <= 1.01


@pytest.mark.parametrize("function", [bjorck, lambda m: bjorck(m, "retraction"), cayley])
def test_matrices_with_one_entry_are_refused(function):
    for layer in (nn.Linear(1, 1), nn.Conv2d(3, 3, 1, groups=3)):
        with pytest.raises(HypothesisError, match="nothing to train"):
            function(layer)


def test_one_row_trains_at_stable_rank_one_and_more_rows_are_refused():
    """u v' of the one row is the row over its norm, with the gradient of that; of more rows it has none."""
    for seed in range(10):
        torch.manual_seed(seed)
        layer = stable_rank_normalization(nn.Linear(7, 1), ratio=0.3)
        raw, target = layer.parametrizations.weight.original, torch.randn(1, 7)
        (layer.weight * target).sum().backward()
        unit = raw.detach() / raw.detach().norm()
        assert torch.allclose(raw.grad, (target - (target * unit).sum() * unit) / raw.detach().norm(), atol=1e-5)
    with pytest.raises(HypothesisError, match="nothing would train"):
        stable_rank_normalization(nn.Linear(7, 3), ratio=0.3)


@pytest.mark.parametrize(("mode", "padding"), [("reflect", 1), ("replicate", 2), ("circular", 4)])
def test_the_reshaped_norm_promises_nothing_where_pixels_are_copied(mode, padding):
    layer = nn.Conv2d(2, 2, 3, padding=padding, padding_mode=mode)
    nn.init.ones_(layer.weight)
    stable_rank_normalization(layer, 1.0, norm="reshaped")
    head = nn.Linear(layer(torch.zeros(1, 2, 5, 5)).numel(), 2)
    states: dict = {}
    for _ in range(20):
        constants = pair_constants(nn.Sequential(layer, nn.Flatten(), head), (2, 5, 5), states).detach()
    truth = true_norm(layer, (2, 5, 5)) * float((head.weight[0] - head.weight[1]).norm().detach())
    assert float(constants[0, 1]) >= 0.95 * truth  # a power step at a time; sqrt(overlap) would be 0.55 of it


def test_a_loop_without_retraction_is_told_once_and_one_with_it_never():
    model = nn.Sequential(bjorck(nn.Linear(6, 6), "retraction"))
    optimizer = torch.optim.SGD(model.parameters(), 0.5)

    def step() -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 6)).square().sum().backward()
        optimizer.step()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            step()
            retract_(model)
        _ = copy.deepcopy(model)(torch.ones(1, 6))
    with pytest.warns(RuntimeWarning, match=r"retract_\(model\) after each optimizer step"):
        step()
        step()


@pytest.mark.parametrize("function", [bjorck, lambda m: bjorck(m, "retraction"), cayley, spectral_normalization, stable_rank_normalization])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_and_metas_are_refused_by_name(function, dtype):
    """1e-3 above 1 in float16, 2e-3 in bfloat16, or an error of LAPACK."""
    layer = function(nn.Linear(6, 6))
    for moved in (copy.deepcopy(layer).to(dtype), copy.deepcopy(layer).to("meta")):
        with pytest.raises(InputError, match="float32 or float64"):
            _ = moved.weight


@pytest.mark.parametrize("function", [bjorck, lambda m: bjorck(m, "retraction"), cayley])
def test_an_assigned_weight_that_is_not_finite_is_refused(function):
    layer = function(nn.Linear(4, 3))
    with pytest.raises(InputError, match="no finite values"):
        layer.weight = torch.full((3, 4), float("nan"))


@pytest.mark.parametrize("function", [bjorck, cayley, spectral_normalization, stable_rank_normalization, orthogonal_convolution])
def test_empty_weights_are_refused(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that there is nothing to initialize
        layer = nn.Conv2d(0, 3, 2)
    with pytest.raises(InputError, match="empty"):
        function(layer)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e19, 1e30])
def test_entries_whose_squares_leave_the_dtype(scale: float):
    """In float32 X'X of such entries is zero or infinite: the matrix would become zero, and a zero matrix never trains again."""
    x = torch.randn(12, 5) * scale
    u, _, vh = torch.linalg.svd(x.double(), full_matrices=False)
    assert torch.allclose(retracted(x).double(), u @ vh, atol=1e-5)
    assert torch.allclose(newton_schulz(x, 40).double(), u @ vh, atol=1e-5)
