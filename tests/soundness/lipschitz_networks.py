"""Random torch networks for the sweep of semidefinite bounds: each family is a construction on which some published package returns a constant below the truth,
or which the chain must rewrite (maxima, sorts, concatenations, skips)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from strategies.zoo import Functional, randomize
from torch import nn

FAMILIES: dict[str, Callable[[np.random.Generator], tuple[nn.Module, tuple[int, ...]]]] = {}


def family(function):
    FAMILIES[function.__name__] = function
    return function


def network(name: str, seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """The network of that family and seed in eval mode and float64, with its input shape; the process's random numbers do not move."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        module, shape = FAMILIES[name](rng)
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d) and rng.random() < 0.5:
                layer.weight.data *= float(rng.uniform(0.5, 3.0))
        return randomize(module).double().eval(), shape


def activation(rng: np.random.Generator) -> nn.Module:
    kinds = [
        nn.ReLU, nn.GELU, lambda: nn.GELU(approximate="tanh"), lambda: nn.ELU(3.0), lambda: nn.LeakyReLU(-0.7), lambda: nn.LeakyReLU(0.1), lambda: nn.LeakyReLU(-3.0),
        nn.SiLU, nn.Mish, nn.Tanh, nn.Softplus, nn.Hardswish, nn.SELU, lambda: nn.PReLU(1, -0.4), nn.Sigmoid, lambda: nn.Softshrink(0.2), lambda: nn.CELU(2.0), nn.Tanhshrink,
        lambda: nn.Hardtanh(-0.5, 1.0),
    ]  # fmt: skip
    return kinds[int(rng.integers(len(kinds)))]()


def size(rng: np.random.Generator, low: int = 1, high: int = 8) -> int:
    return int(rng.integers(low, high + 1))


@family
def mlp(rng):
    dims = [size(rng) for _ in range(size(rng, 3, 6))]
    layers: list[nn.Module] = []
    for a, b in zip(dims, dims[1:]):
        layers += [nn.Linear(a, b, bias=rng.random() < 0.6), activation(rng)]
    return nn.Sequential(*(layers if rng.random() < 0.2 else layers[:-1])), (dims[0],)


@family
def residual(rng):
    n, k = size(rng, 2, 6), float(rng.choice([1.0, 10.0, 0.1]))
    blocks = size(rng, 1, 3)
    parts = {f"a{i}": nn.Linear(n, size(rng), bias=rng.random() < 0.5) for i in range(blocks)}
    parts |= {f"b{i}": nn.Linear(parts[f"a{i}"].out_features, n) for i in range(blocks)}
    parts |= {f"act{i}": activation(rng) for i in range(blocks)} | {"out": nn.Linear(n, size(rng))}

    def forward(m, x):
        for i in range(blocks):
            x = k * x + getattr(m, f"b{i}")(getattr(m, f"act{i}")(getattr(m, f"a{i}")(x)))
        return m.out(x)

    return Functional(forward, **parts), (n,)


@family
def long_skips(rng):
    n = size(rng, 2, 6)
    parts = {name: nn.Linear(n, n) for name in "abc"} | {"p": activation(rng), "q": activation(rng), "out": nn.Linear(2 * n, size(rng))}

    def forward(m, x):
        a = m.p(m.a(x))
        b = m.q(m.b(a) - 0.5 * x)
        c = m.c(b) + a
        return m.out(torch.cat([c, a.flip(1) + x], 1)) if n % 2 else m.out(torch.cat([c + x, m.q(c)], 1))

    return Functional(forward, **parts), (n,)


@family
def concatenations(rng):
    n, k = size(rng, 2, 5), size(rng, 1, 4)
    parts = {"a": nn.Linear(n, k), "b": nn.Linear(n, k), "c": nn.Linear(2 * k, n), "d": nn.Linear(n + 2 * k, size(rng)), "p": activation(rng), "q": activation(rng)}

    def forward(m, x):
        h = torch.cat([m.p(m.a(x)), m.q(m.b(x))], 1)
        return m.d(torch.cat([m.p(m.c(h)) + x, h], 1))

    return Functional(forward, **parts), (n,)


@family
def maxmin(rng):
    from certify.train.activations import MaxMin

    n = 2 * size(rng, 1, 4)
    k = 2 * size(rng, 1, 4)
    return nn.Sequential(nn.Linear(n, k), MaxMin(("halves", "consecutive")[size(rng, 0, 1)]), nn.Linear(k, n), MaxMin(), nn.Linear(n, size(rng))), (n,)


@family
def group_sort(rng):
    from certify.train.activations import GroupSort

    g = size(rng, 2, 4)
    n = g * size(rng, 1, 3)
    return nn.Sequential(nn.Linear(size(rng, 2, 2), n), GroupSort(g), nn.Linear(n, n), activation(rng), nn.Linear(n, n), GroupSort(n), nn.Linear(n, size(rng))), (2,)


@family
def maxima(rng):
    n = size(rng, 2, 6)
    parts = {"a": nn.Linear(n, n), "b": nn.Linear(n, n), "out": nn.Linear(n + 2, size(rng))}

    def forward(m, x):
        y = torch.maximum(m.a(x), x) - torch.minimum(m.b(x), m.a(x).tanh())
        return m.out(torch.cat([y, y.amax(1, keepdim=True), x.amin(1, keepdim=True)], 1))

    return Functional(forward, **parts), (n,)


@family
def convolutional(rng):
    c, g = size(rng, 1, 2), size(rng, 1, 2)
    mode = ("zeros", "circular", "reflect", "replicate")[size(rng, 0, 3)]
    layers = [nn.Conv2d(c, 2 * g, 3, stride=size(rng, 1, 2), padding=1, bias=rng.random() < 0.5, padding_mode=mode), nn.BatchNorm2d(2 * g), activation(rng)]
    layers += [nn.Conv2d(2 * g, 2 * g, 2, groups=2, padding=1, dilation=size(rng, 1, 2)), activation(rng)] if rng.random() < 0.6 else []
    pool = [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 1, 1),
        nn.MaxPool2d(2, 1, ceil_mode=True),
        nn.AvgPool2d(2, 1),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.Identity(),
    ]
    layers += [pool[size(rng, 0, 5)], nn.Flatten(), nn.LazyLinear(size(rng, 1, 4))]
    module = nn.Sequential(*layers)
    module.eval()(torch.zeros(1, c, 4, 4))
    return module, (c, 4, 4)


@family
def convolutional_residual(rng):
    c = size(rng, 1, 3)
    parts = {
        "a": nn.Conv1d(c, c, 3, padding=1),
        "b": nn.Conv1d(c, c, 3, padding=1, bias=False),
        "n": nn.BatchNorm1d(c),
        "act": activation(rng),
        "out": nn.Linear(5 * c, size(rng, 1, 4)),
    }

    def forward(m, x):
        return m.out((m.act(x + m.n(m.b(m.act(m.a(x)))))).flatten(1))

    return Functional(forward, **parts), (c, 5)


@family
def twice(rng):
    n = size(rng, 2, 6)
    layer, act = nn.Linear(n, n), activation(rng)
    return nn.Sequential(layer, act, layer, act, *([layer] if rng.random() < 0.5 else [])), (n,)


@family
def single_linear(rng):
    n = size(rng)
    return nn.Sequential(nn.Linear(n, size(rng), bias=rng.random() < 0.5), *([activation(rng)] if rng.random() < 0.7 else [])), (n,)


@family
def softmax_inside(rng):
    n, k = size(rng, 2, 5), size(rng, 2, 5)
    inner = [nn.Softmax(1), nn.LogSoftmax(1), nn.Softmin(1)][size(rng, 0, 2)]
    return nn.Sequential(nn.Linear(n, k), inner, nn.Linear(k, k), activation(rng), nn.Linear(k, size(rng))), (n,)


@family
def softmax_residual(rng):
    n = size(rng, 2, 5)
    parts = {"a": nn.Linear(n, n), "b": nn.Linear(n, n), "out": nn.Linear(n, size(rng)), "act": activation(rng)}

    def forward(m, x):
        y = x + 2 * torch.softmax(m.a(x), 1)
        return m.out(m.act(m.b(y)) - torch.logsumexp(y, 1, keepdim=True))

    return Functional(forward, **parts), (n,)


@family
def layer_norm(rng):
    n = size(rng, 2, 6)
    norm = nn.LayerNorm(n, eps=float(rng.choice([1e-5, 0.1, 1.0])))
    norm.weight.data.normal_()
    return nn.Sequential(nn.Linear(n, n), norm, activation(rng), nn.Linear(n, size(rng))), (n,)


@family
def near_dead(rng):
    """Rows of zeros, rows of 1e-9, zero columns, equal rows: what makes semidefinite programs ill-conditioned."""
    n, k = size(rng, 2, 5), size(rng, 3, 8)
    a, b = nn.Linear(n, k), nn.Linear(k, k)
    a.weight.data[0] = 0.0
    a.weight.data[1] *= 1e-9
    b.weight.data[:, 2] = 0.0
    b.weight.data[1] = b.weight.data[0]
    return nn.Sequential(a, activation(rng), b, activation(rng), nn.Linear(k, size(rng))), (n,)


@family
def scaled(rng):
    """Weights from 1e-8 to 1e8 in one network."""
    dims = [size(rng, 2, 6) for _ in range(4)]
    module = nn.Sequential(nn.Linear(dims[0], dims[1]), activation(rng), nn.Linear(dims[1], dims[2]), activation(rng), nn.Linear(dims[2], dims[3]))
    for k in (0, 2, 4):
        module[k].weight.data *= 10.0 ** rng.uniform(-8, 8)
    return module, (dims[0],)


@family
def deep(rng):
    n, layers = size(rng, 2, 4), []
    for _ in range(size(rng, 8, 14)):
        layers += [nn.Linear(n, n), activation(rng)]
    return nn.Sequential(*layers, nn.Linear(n, 2)), (n,)
