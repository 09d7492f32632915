"""The fast sort of pairs: the values and gradients of chunk, max, min and cat, in every mode of differentiation; and its speed."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.train.sort_pairs import joined, pairs, sort_pairs

LAYOUTS = ("halves", "consecutive")


def slow(x: torch.Tensor, layout: str) -> torch.Tensor:
    """What autograd makes of the definition."""
    a, b = pairs(x, layout)
    return joined(torch.maximum(a, b), torch.minimum(a, b), x, layout)


@given(
    layout=st.sampled_from(LAYOUTS),
    half=st.integers(1, 4),
    rest=st.lists(st.integers(1, 3), max_size=3),
    batch=st.integers(0, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_values_and_gradients_are_those_of_the_definition(layout, half, rest, batch, dtype):
    x = torch.randn(batch, 2 * half, *rest, dtype=dtype)
    up = torch.randn_like(x)
    results = []
    for function in (sort_pairs, slow):
        leaf = x.clone().requires_grad_()
        y = function(leaf, layout)
        y.backward(up)
        results.append((y.detach(), leaf.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ties_pass_the_gradient_through(layout):
    x = torch.ones(1, 4, requires_grad=True)
    up = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    sort_pairs(x, layout).backward(up)
    assert torch.equal(x.grad, up)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_formats_and_strides(layout):
    x = torch.randn(2, 4, 3, 5)
    for other in (x.contiguous(memory_format=torch.channels_last), x.transpose(0, 3).contiguous().transpose(0, 3), x.expand(2, 4, 3, 5)):
        leaf = other.clone().requires_grad_()
        sort_pairs(leaf, layout).sum().backward()
        assert torch.equal(sort_pairs(other, layout), slow(x, layout)) and torch.equal(leaf.grad, torch.ones_like(x))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_mode_of_differentiation(layout):
    """Second derivatives, forward mode, batched gradients, torch.func: gradient penalties and Jacobians need them."""
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    square = lambda v: sort_pairs(v, layout) ** 2  # noqa: E731
    assert torch.autograd.gradcheck(square, (x,), check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    assert torch.autograd.gradgradcheck(square, (x,))
    fixed = x.detach()
    for make in (torch.func.jacrev, torch.func.jacfwd):
        assert torch.equal(make(lambda v: sort_pairs(v, layout))(fixed), make(lambda v: slow(v, layout))(fixed))
    assert torch.equal(torch.vmap(lambda v: sort_pairs(v, layout), in_dims=1)(torch.stack((fixed, -fixed), 1))[1], slow(-fixed, layout))
    assert torch.allclose(torch.func.hessian(lambda v: square(v).sum())(fixed), torch.func.hessian(lambda v: (slow(v, layout) ** 2).sum())(fixed))


def test_nothing_is_lost_in_half_precision():
    x = torch.randn(3, 4).bfloat16().requires_grad_()
    sort_pairs(x, "halves").sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_faster_than_the_definition():
    """About five times on this machine; twice is asked for, because machines are busy."""
    x = torch.randn(64, 32, 14, 14, requires_grad=True)
    up = torch.randn_like(x)

    def seconds(function) -> float:
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            function(x, "halves").backward(up)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(sort_pairs) < seconds(slow) / 2
