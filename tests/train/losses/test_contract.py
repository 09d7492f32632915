"""Every loss of the package through one contract: found by itself, frozen, pairs in all forms, gradients, one-sided facts, bad input."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import math
import pickle
import pkgutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from certify.core.errors import InputError
from certify.train import losses


def found() -> list[type]:
    """Every dataclass of the package that can be called."""
    modules = [importlib.import_module(f"{losses.__name__}.{info.name}") for info in pkgutil.iter_modules(losses.__path__)]
    kinds = {v for m in modules for v in vars(m).values() if isinstance(v, type) and dataclasses.is_dataclass(v) and "__call__" in vars(v)}
    return sorted(kinds, key=lambda kind: kind.__name__)


KINDS = found()
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
LABELS = torch.tensor([0, 2, 1, 3, 3, 0])


def logits(dtype: torch.dtype = torch.float64, seed: int = 0, classes: int = 4) -> Tensor:
    return torch.randn(6, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul_(2).to(dtype).requires_grad_()


def table(value: float, classes: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return value * (1 - torch.eye(classes, dtype=dtype))


def test_the_package_exports_what_it_has():
    assert {kind.__name__ for kind in KINDS} == {"EMMA", "CertifiedMargin", "GloRo", "HingeKR", "LogitAnnealing", "OffsetCrossEntropy"}
    assert {kind.__name__ for kind in KINDS} <= set(losses.__all__)


@every
def test_documented_frozen_and_constructible(kind: type):
    text = inspect.getdoc(kind) or ""
    assert all(word in text for word in ("Args:", "Guarantee:", "Raises:", "Source:", ">>>"))
    loss = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.epsilon = 1.0
    assert pickle.loads(pickle.dumps(loss)) == copy.deepcopy(loss) == loss and repr(loss).startswith(kind.__name__ + "(")
    assert dataclasses.replace(loss) == loss
    if hasattr(loss, "epsilon"):
        assert dataclasses.replace(loss, epsilon=2.0).epsilon == 2.0 and kind(2.0).epsilon == 2.0
    for field in dataclasses.fields(kind):
        assert field.name in text
        for bad in (math.nan, -1.0, "x", None):
            with pytest.raises(InputError, match=field.name):
                kind(**{field.name: bad})


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_scalar_with_the_derivative_for_gradient(kind: type, dtype: torch.dtype):
    z, pairs = logits(dtype), torch.rand(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).add(0.5).to(dtype)
    pairs = (pairs + pairs.T).fill_diagonal_(0).requires_grad_()
    loss = kind()
    value = loss(z, LABELS, pairs)
    assert value.shape == () and value.dtype == dtype and value.requires_grad
    gradients = torch.autograd.grad(value, (z, pairs))
    assert all(torch.isfinite(g).all() for g in gradients) and all(g.abs().sum() > 0 for g in gradients)
    if dtype == torch.float64 and "EMMA" not in kind.__name__:  # the shift of EMMA is held fixed in its gradient
        for tensor, gradient in zip((z, pairs), gradients):
            direction = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2), dtype=dtype)
            with torch.no_grad():
                ends = [loss(z + s * 1e-6 * direction, LABELS, pairs) if tensor is z else loss(z, LABELS, pairs + s * 1e-6 * direction) for s in (1, -1)]
            assert ((ends[0] - ends[1]) / 2e-6).item() == pytest.approx((gradient * direction).sum().item(), rel=1e-5, abs=1e-9)


@every
def test_pairs_as_none_number_scalar_and_table_agree(kind: type):
    loss, z = kind(), logits()
    root = math.sqrt(2)
    expected = loss(z, LABELS).item()
    for pairs in (root, torch.tensor(root, dtype=torch.float64), table(root), table(root) + 5 * torch.eye(4), table(root, dtype=torch.float64).float()):
        assert loss(z, LABELS, pairs).item() == pytest.approx(expected, rel=1e-6), pairs
    assert loss(z, LABELS, 3.0).item() == pytest.approx(loss(z, LABELS, table(3.0)).item(), rel=1e-12)


@every
def test_only_differences_and_only_the_labels_row_count(kind: type):
    """The same constant added to all logits changes nothing (HingeKR: its hinge sees the logits themselves); constants between two other classes neither."""
    loss, z = kind(), logits()
    if kind.__name__ != "HingeKR":
        assert loss(z + 7.5, LABELS).item() == pytest.approx(loss(z, LABELS).item(), rel=1e-9)
    other = table(2.0)
    other[2, 3] = other[3, 2] = 9.0
    right = torch.tensor([[5.0, 0.0, 1.0, 0.5]], dtype=torch.float64)
    assert loss(right, torch.tensor([0]), other).item() == loss(right, torch.tensor([0]), table(2.0)).item()


@every
@given(seed=st.integers(0, 2**20), constant=st.floats(0.1, 10), label=st.integers(0, 3))
def test_a_larger_label_logit_is_never_worse(kind: type, seed: int, constant: float, label: int):
    """For a single sample: raising the label's logit lowers the loss or leaves it, larger constants raise it or leave it (two losses measure in units of the constants instead)."""
    loss, z, y = kind(), logits(seed=seed).detach()[:1], torch.tensor([label])
    higher = z.clone()
    higher[0, label] += 0.5
    assert loss(higher, y, constant).item() <= loss(z, y, constant).item() + 1e-9
    if kind.__name__ not in ("HingeKR", "CertifiedMargin"):
        assert loss(z, y, 1.5 * constant).item() >= loss(z, y, constant).item() - 1e-9


@every
def test_the_mean_over_samples(kind: type):
    z = logits()
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    parts = [kind()(z[k : k + 1], labels[k : k + 1]).item() for k in range(4)]
    assert kind()(z[:4], labels[:4]).item() == pytest.approx(sum(parts) / 4, rel=1e-9)


@every
@pytest.mark.parametrize("size", [1e-30, 1e4])
def test_extreme_logits_and_equal_rows_stay_finite(kind: type, size: float):
    z = (logits(torch.float32).detach() * size).requires_grad_()
    pairs = table(2.0, dtype=torch.float32)
    pairs[0, 1] = pairs[1, 0] = 0.0  # two equal rows of the last layer
    value = kind()(z, LABELS, pairs)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(z.grad).all()


@every
def test_half_precision_logits_are_computed_in_float32(kind: type):
    z = logits(torch.float32).detach().bfloat16().requires_grad_()
    value = kind()(z, LABELS)
    assert value.dtype == torch.float32 and value.item() == pytest.approx(kind()(z.detach().float(), LABELS).item(), rel=1e-6)
    value.backward()
    assert z.grad.dtype == torch.bfloat16


@every
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (([[1.0, 2.0]], torch.tensor([0])), "logits"),
        ((torch.zeros(2, 3, dtype=torch.int64), torch.tensor([0, 1])), "logits"),
        ((torch.zeros(3), torch.tensor([0])), "logits"),
        ((torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)), "logits"),
        ((torch.zeros(2, 1), torch.tensor([0, 0])), "two classes"),
        ((torch.zeros(2, 3), torch.tensor([0])), "labels"),
        ((torch.zeros(2, 3), torch.tensor([0.0, 1.0])), "labels"),
        ((torch.zeros(2, 3), torch.tensor([[0], [1]])), "labels"),
        ((torch.zeros(2, 3), torch.tensor([0, 3])), "names no class"),
        ((torch.zeros(2, 3), torch.tensor([0, -1])), "names no class"),
        ((torch.zeros(2, 3), torch.tensor([0, 1]), torch.ones(3)), "pairs"),
        ((torch.zeros(2, 3), torch.tensor([0, 1]), torch.ones(2, 2)), "pairs"),
        ((torch.zeros(2, 3), torch.tensor([0, 1]), torch.ones(3, 3, dtype=torch.int64)), "pairs"),
        ((torch.zeros(2, 3), torch.tensor([0, 1]), 0.0), "pairs"),
        ((torch.zeros(2, 3), torch.tensor([0, 1]), math.nan), "pairs"),
        ((torch.zeros(2, 3), torch.tensor([0, 1]), "two"), "pairs"),
    ],
    ids=str,
)
def test_bad_input_is_named(kind: type, arguments: tuple, word: str):
    with pytest.raises(InputError, match=word):
        kind()(*arguments)
