"""Every penalty of the package through one contract: found by itself, one scalar, finite gradients, copies, pickles, bad settings."""

from __future__ import annotations

import copy
import gc
import importlib
import inspect
import math
import pickle
import pkgutil

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from train.penalties.truth import LAYERS, fresh

from certify.core.errors import CertifyError, InputError
from certify.train import penalties
from certify.train.penalties import Curvature, LayerMemory, Penalty


def found() -> list[type[Penalty]]:
    """Every class of the package that is a Penalty, wherever it is."""
    modules = [importlib.import_module(f"{penalties.__name__}.{info.name}") for info in pkgutil.iter_modules(penalties.__path__)]
    kinds = {value for module in modules for value in vars(module).values() if isinstance(value, type) and issubclass(value, Penalty) and value is not Penalty}
    return sorted(kinds, key=lambda kind: kind.__name__)


KINDS = found()
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Smooth and fully connected, so that every penalty takes it."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Softplus(), weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)).to(dtype)


def settled(penalty: Penalty, module: nn.Module, calls: int = 15) -> torch.Tensor:
    for _ in range(calls):
        value = penalty(module)
    return value


def test_the_package_exports_what_it_has():
    assert {kind.__name__ for kind in KINDS} == {"Curvature", "FantasticFour", "Orthogonality", "SpectralNorm", "StableRank"}
    assert {kind.__name__ for kind in KINDS} <= set(penalties.__all__)


@every
def test_documented_and_constructible(kind: type[Penalty]):
    text = inspect.getdoc(kind) or ""
    assert all(word in text for word in ("Args:", "Guarantee:", "Raises:", "Source:", ">>>"))
    assert kind().weight == 1.0 and kind(0.5).weight == 0.5 and list(inspect.signature(kind).parameters)[0] == "weight"
    assert repr(kind(0.25)).startswith(f"{kind.__name__}(weight=0.25")
    for bad in (math.nan, math.inf, "much", None, True):
        with pytest.raises(InputError, match="weight"):
            kind(bad)
    with pytest.raises(InputError, match="called on a module"):
        kind()(torch.zeros(2, 2))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_scalar_with_finite_gradients_that_scales_with_the_weight(kind: type[Penalty], dtype: torch.dtype):
    model = network(dtype)
    one = settled(kind(), model)
    half = settled(kind(0.5), model)
    assert one.shape == () and one.dtype == dtype and one.item() > 0
    assert half.item() == pytest.approx(one.item() / 2, rel=1e-3)
    gradients = torch.autograd.grad(one, list(model.parameters()), allow_unused=True)
    assert all(torch.isfinite(g).all() for g in gradients if g is not None)
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in gradients) >= 3  # the parametrized layer's factors too
    with torch.no_grad():
        assert not kind()(model).requires_grad


@every
def test_it_joins_any_loss(kind: type[Penalty]):
    """loss + penalty(model): backward works, state of the model and the random generator are left alone."""
    model, penalty = network(), kind(0.1)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    loss = model(torch.ones(2, 6)).square().mean() + penalty(model)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters()) and torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@every
@pytest.mark.parametrize("name", LAYERS)
def test_bare_layers_of_every_kind(kind: type[Penalty], name: str):
    layer, _ = fresh(name, torch.float32)
    if kind is Curvature and not isinstance(layer, nn.Linear):
        with pytest.raises(CertifyError, match=type(layer).__name__):
            kind()(layer)
        return
    value = kind()(layer)
    assert value.shape == () and torch.isfinite(value)
    if value.requires_grad:
        value.backward()
        assert torch.isfinite(layer.weight.grad).all()


@every
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e12])
def test_no_nan_at_any_scale_and_zero_layers_come_back(kind: type[Penalty], scale: float):
    model = network(torch.float64 if scale else torch.float32)
    good = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for layer in (model[1], model[5]):
            layer.weight.mul_(scale)
    penalty = kind()
    value = settled(penalty, model, 3)
    value.backward()
    assert torch.isfinite(value) and all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    model.load_state_dict(good)  # a warm start of zeros must not be kept
    assert settled(penalty, model).item() == pytest.approx(settled(kind(), model).item(), rel=1e-3)


@every
def test_nothing_to_do_is_zero_and_lazy_layers_are_named(kind: type[Penalty]):
    value = kind()(nn.Sequential(nn.Flatten(), nn.Identity()))
    assert value.item() == 0.0 and value.shape == ()
    with pytest.raises(InputError, match="no weight yet"):
        kind()(nn.Sequential(nn.LazyLinear(3), nn.Tanh()))


@every
def test_copies_and_pickles_go_on_where_the_original_was(kind: type[Penalty]):
    model, penalty = network(torch.float64), kind(0.5)
    model[3] = nn.Linear(5, 4).double()  # parametrized modules do not pickle
    settled(penalty, model, 3)
    twin = copy.deepcopy(penalty)
    assert all(set(kept) <= set(vars(twin)[name]) for name, kept in vars(penalty).items() if isinstance(kept, LayerMemory))
    expected = twin(model).item()
    model2, penalty2 = copy.deepcopy((model, penalty))
    penalty3, model3 = pickle.loads(pickle.dumps((penalty, model)))
    assert repr(penalty2) == repr(penalty3) == repr(penalty)
    assert penalty2(model2).item() == pytest.approx(expected, rel=1e-12) and penalty3(model3).item() == pytest.approx(expected, rel=1e-12)
    assert penalty(model).item() == pytest.approx(expected, rel=1e-12)
    alone = pickle.loads(pickle.dumps(penalty))
    assert not any(len(kept) for kept in vars(alone).values() if isinstance(kept, LayerMemory))


@every
def test_what_is_remembered_dies_with_the_layer(kind: type[Penalty]):
    model, penalty = network(), kind()
    penalty(model)
    del model
    gc.collect()  # parametrized modules hold cycles
    assert not any(len(kept) for kept in vars(penalty).values() if isinstance(kept, LayerMemory))


@every
def test_gradient_steps_on_the_penalty_alone_lower_it(kind: type[Penalty]):
    model = nn.Sequential(nn.Linear(6, 6), nn.Softplus(), nn.Linear(6, 3)).double()
    penalty = kind()
    first = settled(penalty, model).item()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        penalty(model).backward()
        optimizer.step()
    assert settled(penalty, model).item() < 0.95 * first
