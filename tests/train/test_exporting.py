"""`export` on random stacks and on the models that break exporters: equal outputs, plain layers, an untouched model."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from train.stacks import SIDE, WEIGHTS, randomised, stacks

import certify
from certify.constants.product import walk
from certify.core.errors import InputError, UnsupportedLayerError
from certify.core.trace import trace
from certify.train.activations import GroupSort, Householder, MaxMin
from certify.train.blocks import Centering, LiResNetBlock, UnitNormLinear
from certify.train.exporting import export

OURS = (MaxMin, GroupSort)


def state(model: nn.Module) -> list:
    """All that must not change: values, flags, modes, classes, hooks."""
    values = [(name, t.clone(), t.requires_grad, t.grad) for name, t in [*model.named_parameters(), *model.named_buffers()]]
    return values + [(path, type(m), m.training, len(m._forward_pre_hooks), len(m._forward_hooks), sorted(m._modules)) for path, m in model.named_modules()]


def same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(torch.equal(x[1], y[1]) and x[2:] == y[2:] if isinstance(x[1], torch.Tensor) else x == y for x, y in zip(a, b))


@given(model=stacks())
def test_the_same_function_in_plain_layers(model):
    before, generator = state(model), torch.random.get_rng_state()
    plain = export(model)
    assert same(state(model), before) and torch.equal(torch.random.get_rng_state(), generator), "the model or the random numbers were touched"
    dtype = next(model.parameters()).dtype
    x = 3 * torch.randn(7, 1, SIDE, SIDE, dtype=dtype)
    truth = copy.deepcopy(model).eval()(x) if not _has_history(model) else model.eval()(x)
    assert torch.allclose(plain(x), truth, atol=1e-11 if dtype == torch.float64 else 1e-3)
    assert not any(part.training or parametrize.is_parametrized(part) or part._forward_pre_hooks for part in plain.modules())
    assert all(type(part).__module__.startswith("torch.nn.modules") or isinstance(part, OURS) for part in plain.modules())
    known = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert {key.rpartition(".")[2] for key in plain.state_dict()} <= known
    assert all(t.dtype == dtype for t in plain.parameters()) and all(t.is_leaf and t.requires_grad for t in plain.parameters())
    assert {t.data_ptr() for t in plain.parameters()}.isdisjoint({t.data_ptr() for t in model.parameters()})


def _has_history(model: nn.Module) -> bool:
    """Old hooks leave tensors behind that deepcopy refuses."""
    return any(isinstance(v, torch.Tensor) and not v.is_leaf for m in model.modules() for v in vars(m).values())


@given(model=stacks(certified=True))
def test_the_constant_is_that_of_the_model_or_better(model):
    """Better where a Centering stood between a convolution and its BatchNorm."""
    plain = export(model)
    of_export, of_model = (walk(trace(m, (1, SIDE, SIDE)), effort="fast")[-1].running for m in (plain, model.eval()))
    assert of_export <= of_model * (1 + 1e-5)


def test_radius_of_an_export():
    model = nn.Sequential(nn.Flatten(), LinearBlock(9, 8), Householder(8), LinearBlock(8, 3))
    result = certify.radius(export(model), torch.rand(4, 1, 3, 3).numpy(), [0, 1, 2, 0])
    assert (result.radii >= 0).all() and result.radii.max() > 0


def LinearBlock(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(parametrizations.orthogonal(nn.Linear(inputs, outputs)), Centering(outputs))


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_kind_of_computed_weight(name):
    layer = WEIGHTS[name](nn.Linear(4, 4))
    layer(torch.randn(2, 4))
    plain = export(layer)
    assert type(plain) is nn.Linear and sorted(plain.state_dict()) == ["bias", "weight"]
    layer.eval()(torch.zeros(1, 4))
    assert torch.equal(plain.weight, layer.weight)


def test_shared_and_tied_layers():
    layer = parametrizations.weight_norm(nn.Linear(4, 4))
    tied, other = nn.Linear(4, 4), nn.Linear(4, 4)
    other.weight = tied.weight
    plain = export(nn.Sequential(layer, MaxMin(), layer, tied, other))
    assert plain[0] is plain[2] and plain[3].weight is plain[4].weight
    block = LiResNetBlock(2)
    plain = export(nn.Sequential(block, nn.Sequential(block)))
    assert plain[0] is plain[1][0]


def test_tied_parametrizations_become_equal():
    first, second = (parametrizations.weight_norm(nn.Linear(3, 3)) for _ in range(2))
    second.parametrizations.weight.original0 = first.parametrizations.weight.original0
    second.parametrizations.weight.original1 = first.parametrizations.weight.original1
    plain = export(nn.Sequential(first, second))
    assert torch.equal(plain[0].weight, plain[1].weight)


def test_centering_is_folded_where_it_may_be():
    folded = export(randomised(nn.Sequential(nn.Conv2d(1, 2, 3), Centering(2), MaxMin(), nn.ConvTranspose2d(2, 2, 3), Centering(2))))
    assert [type(part) for part in folded] == [nn.Conv2d, nn.Identity, MaxMin, nn.ConvTranspose2d, nn.Identity]
    shared = Centering(2)
    kept = export(nn.Sequential(nn.Conv2d(1, 2, 3), shared, MaxMin(), nn.Conv2d(2, 2, 3), shared))
    assert [type(kept[i]) for i in (1, 4)] == [nn.Conv2d, nn.Conv2d] and kept[1] is kept[4]
    tokens = export(nn.Sequential(nn.Linear(5, 4), Centering(3)), (3, 5))  # the linear layer acts on the last axis, centering on the first
    assert [type(part) for part in tokens] == [nn.Linear, nn.Conv1d]


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(12, 2)),
        nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 2)),
        nn.Sequential(nn.Conv2d(1, 4, 5), nn.Flatten(), nn.Linear(4 * 24 * 24, 2)),
        nn.Sequential(nn.Conv1d(2, 4, 5), nn.Flatten(), nn.Linear(4 * 7, 2)),
        nn.Sequential(MaxMin(), nn.Flatten()),
        LiResNetBlock(4),
        UnitNormLinear(3, 2),
        Householder(6),
        nn.Sequential(Centering(3), nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1)),
    ],
    ids=lambda m: str(m).replace("\n", "")[:40],
)
def test_a_shape_is_found(model):
    assert isinstance(export(model), nn.Module)


def test_wrappers_and_dtypes():
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 4)), Householder(4), Centering(4))
    for wrapped in (torch.compile(model), nn.DataParallel(model)):
        assert type(export(wrapped)) is nn.Sequential
    assert all(t.dtype == torch.bfloat16 for t in export(model.bfloat16()).state_dict().values())


class FourierShift(nn.Module):
    """A circular convolution by a matrix per frequency, as a parametrization in the frequency domain would have it."""

    def __init__(self, wrong: float = 0.0):
        super().__init__()
        self.weight, self.wrong = nn.Parameter(torch.randn(2, 2)), wrong

    def forward(self, x):
        spectrum = torch.fft.rfft2(x.double())
        phase = torch.exp(-2j * torch.pi * torch.arange(x.shape[2], dtype=torch.float64) / x.shape[2]).reshape(-1, 1)
        return torch.fft.irfft2(torch.einsum("oi,nihw->nohw", self.weight.to(spectrum), spectrum) * phase, s=x.shape[2:]).to(x.dtype)

    def exported(self):
        layer = nn.Conv2d(2, 2, (3, 1), padding=(1, 0), padding_mode="circular", bias=False, dtype=self.weight.dtype)
        with torch.no_grad():
            layer.weight.zero_()[:, :, 0, 0] = self.weight * (1 + self.wrong)
        return layer


def test_any_module_can_say_what_it_is():
    plain = export(nn.Sequential(nn.Conv2d(3, 2, 3), FourierShift(), MaxMin()))
    assert type(plain[1]) is nn.Conv2d
    assert certify.lipschitz(plain, (3, 5, 5)).upper > 0


def _hooked() -> nn.Module:
    block = LiResNetBlock(2)
    block.register_forward_hook(lambda module, inputs, output: 2 * output)
    return nn.Sequential(block)


class ReachesInside(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = LiResNetBlock(2)

    def forward(self, x):
        return self.block(x) * self.block.depth


class NotAModule(nn.Linear):
    def exported(self):
        return self.weight


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.randn(4)


def _infinite() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight[0, 0] = float("nan")
    return model


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        ("a path", InputError, "str"),
        (None, InputError, "NoneType"),
        (torch.jit.script(nn.Linear(2, 2)), InputError, "eager"),
        (nn.LazyLinear(2), InputError, "lazy"),
        (nn.Linear(2, 2, device="meta"), InputError, "meta"),
        (nn.BatchNorm1d(2, track_running_stats=False), InputError, "running statistics"),
        (nn.Embedding(3, 2), InputError, "input_shape"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 4)), InputError, "input_shape"),
        (_infinite(), InputError, "where: +1"),
        (Noisy(3, 4), InputError, "random"),
        (_hooked(), UnsupportedLayerError, "LiResNetBlock"),
        (ReachesInside(), UnsupportedLayerError, "block"),
        (nn.Sequential(NotAModule(2, 2)), UnsupportedLayerError, "NotAModule"),
    ],
)
def test_refused_by_name(model, error, text):
    with pytest.raises(error, match=text):
        export(model)


def test_a_wrong_input_shape_is_told():
    with pytest.raises(InputError, match="input_shape"):
        export(nn.Linear(3, 2), (4,))
    with pytest.raises(InputError, match="positive integers"):
        export(nn.Linear(3, 2), "3")
