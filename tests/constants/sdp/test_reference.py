"""The proved semidefinite bound against a textbook LipSDP in cvxpy, written by hand for each network: never below its dual value, never far above its optimum."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from benchmarks.lipsdp_reference import Layer, activation, ask
from torch import nn

from certify.constants.sdp.chain import chain_of
from certify.constants.sdp.solve import solve
from certify.facade import as_graph
from certify.train.activations import GroupSort, MaxMin

pytestmark = pytest.mark.skipif(importlib.util.find_spec("cvxpy") is None, reason="cvxpy is not installed: there is no reference to compare with")
BELOW, ABOVE = 1e-5, 1e-4


def linear(a: int, b: int, scale: float = 1.0) -> nn.Linear:
    layer = nn.Linear(a, b)
    layer.weight.data *= scale
    return layer


def matrix(layer: nn.Linear) -> np.ndarray:
    return layer.weight.detach().numpy().astype(float)


def relu():
    a, b, c = linear(6, 12, 2.0), linear(12, 10, 2.0), linear(10, 4)
    return nn.Sequential(a, nn.ReLU(), b, nn.ReLU(), c), [activation(matrix(a)), activation(matrix(b))], matrix(c)


def leaky():
    a, b, c = linear(5, 9, 2.0), linear(9, 9, 2.0), linear(9, 3)
    slope = float(np.float64(-0.7))
    return nn.Sequential(a, nn.LeakyReLU(slope), b, nn.LeakyReLU(0.25), c), [activation(matrix(a), slope, 1.0), activation(matrix(b), 0.25, 1.0)], matrix(c)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d, self.out = linear(5, 8, 2.0), linear(8, 5, 2.0), linear(5, 8, 2.0), linear(8, 5, 2.0), linear(5, 3)

    def forward(self, x):
        x = x + self.b(torch.relu(self.a(x)))
        return self.out(x + self.d(torch.relu(self.c(x))))


def residual():
    m, one = Residual(), np.eye(5)
    blocks = [Layer(matrix(w), matrix(g), one, np.zeros(8), np.ones(8)) for w, g in ((m.a, m.b), (m.c, m.d))]
    return m, blocks, matrix(m.out)


def maxmin():
    """max(p, q), min(p, q) = (p + q)/2 +- |p - q|/2: a block of abs on the difference."""
    a, b, c = linear(4, 8, 2.0), linear(8, 8, 2.0), linear(8, 3)
    half = np.eye(4)
    difference, mean, spread = np.hstack([half, -half]), np.tile(half, (2, 2)) / 2, np.vstack([half, -half]) / 2

    def block(w: np.ndarray) -> Layer:
        return Layer(difference @ w, spread, mean @ w, -np.ones(4), np.ones(4))

    return nn.Sequential(a, MaxMin(), b, MaxMin(), c), [block(matrix(a)), block(matrix(b))], matrix(c)


def group_sort():
    """Sorting three keeps their mean and is nonexpansive on the rest; what it leaves has mean zero too."""
    a, b, c = linear(4, 9, 2.0), linear(9, 6, 2.0), linear(6, 3)

    def block(w: np.ndarray) -> Layer:
        n = len(w)
        mean = np.kron(np.eye(n // 3), np.full((3, 3), 1 / 3))
        group = np.arange(n) // 3
        return Layer((np.eye(n) - mean) @ w, np.eye(n) - mean, mean @ w, -np.ones(n), np.ones(n), group, group)

    return nn.Sequential(a, GroupSort(3, "consecutive"), b, GroupSort(3, "consecutive"), c), [block(matrix(a)), block(matrix(b))], matrix(c)


def softmax_between():
    """A softmax is one group with |d softmax| <= |dz| / 2."""
    a, b, c = linear(5, 6, 3.0), linear(6, 8, 3.0), linear(8, 3)
    one = np.zeros(6, np.int64)
    softmax = Layer(matrix(a), np.eye(6), np.zeros((6, 5)), np.full(6, -0.5), np.full(6, 0.5), one, one)
    return nn.Sequential(a, nn.Softmax(1), b, nn.Tanh(), c), [softmax, activation(matrix(b))], matrix(c)


@pytest.mark.parametrize("make", [relu, leaky, residual, maxmin, group_sort, softmax_between])
@pytest.mark.parametrize("seed", [0])
def test_the_proved_bound_is_the_optimum_of_the_reference(make, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, layers, last = make()
    chain = chain_of(as_graph(model.double().eval(), (layers[0].weight.shape[1],)))
    assert sum(layer.groups for layer in chain.layers) <= 40
    rows = np.zeros((1, len(last)))
    rows[0, :2] = 1.0, -1.0
    for part, matrix_ in ((chain, last), (chain.towards(rows), rows @ last)) if make is relu else ((chain, last),):
        found = ask(layers, matrix_)
        assert found["status"] == "optimal", found
        ours = solve(part, "tight").bound
        assert found["floor"] * (1 - BELOW) <= ours <= found["value"] * (1 + ABOVE), (ours, found)


def test_a_reference_that_runs_out_of_time_says_so():
    w = np.eye(4)
    assert ask([activation(w)], w, seconds=0.05) == {"status": "stopped", "limit": 0.05}
    assert ask([activation(w)], w, solver="NONE")["status"] == "ended"
