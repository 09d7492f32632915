"""Small random smooth networks in torch, their graphs, and the truth about their Hessians by automatic differentiation."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from certify.constants.curvature.minimise import minimise
from certify.constants.local import enclose_points
from certify.core.graph import Graph
from certify.core.trace import trace


class Sin(nn.Module):
    def forward(self, x):
        return torch.sin(x)


ACTIVATIONS = {
    "softplus": nn.Softplus, "softplus3": lambda: nn.Softplus(beta=3.0), "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "silu": nn.SiLU,
    "elu": nn.ELU, "celu": lambda: nn.CELU(0.5), "sin": Sin, "logsigmoid": nn.LogSigmoid, "tanhshrink": nn.Tanhshrink, "softsign": nn.Softsign, "mish": nn.Mish,
}  # fmt: skip
INPUTS, CLASSES = 5, 3


class Residual(nn.Module):
    def __init__(self, act, width):
        super().__init__()
        self.first, self.a, self.b, self.last = nn.Linear(INPUTS, width), nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, CLASSES)
        self.act = act

    def forward(self, x):
        x = self.act(self.first(x))
        x = x + self.b(self.act(self.a(x)))
        return self.last(self.act(x))


class Conv(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 2, 2, padding=1), act, nn.Conv2d(2, 2, 2, stride=2), act, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, CLASSES))

    def forward(self, x):
        return self.net(x)


def mlp(act, depth: int, width: int = 6) -> nn.Module:
    layers: list[nn.Module] = []
    for before in [INPUTS, *[width] * (depth - 1)]:
        layers += [nn.Linear(before, width), act]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


def network(kind: str, shape: str, seed: int, scale: float = 2.0) -> tuple[nn.Module, Graph]:
    """shape: a depth as text, "residual" or "conv"; weights `scale` times the default ones, the last bias such that all classes occur; double precision."""
    torch.manual_seed(seed)
    act = ACTIVATIONS[kind]()
    net = Residual(act, 5) if shape == "residual" else Conv(act) if shape == "conv" else mlp(act, int(shape))
    net = net.double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(scale)
        inputs = (1, 4, 4) if shape == "conv" else (INPUTS,)
        last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
        last.bias.sub_(net(torch.randn(400, *inputs, dtype=torch.float64)).mean(0))
    return net, trace(net, inputs)


def extremes(net: nn.Module, shape: tuple[int, ...], row: np.ndarray, count: int = 120, seed: int = 0) -> tuple[float, float]:
    """(most negative, most positive) Hessian eigenvalue of row . net over random points of several scales, then over points near the best ones."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.from_numpy(np.asarray(row, dtype=np.float64))
    size = int(np.prod(shape))
    net.requires_grad_(False)
    hessians = torch.func.vmap(torch.func.hessian(lambda x: (net(x.reshape(1, *shape))[0] * weights).sum()))
    points = 10 ** (2.0 * torch.rand(count, 1, generator=generator, dtype=torch.float64) - 1.5) * torch.randn(count, size, generator=generator, dtype=torch.float64)
    found = []
    for sign in (-1.0, 1.0):
        near, best = points, -np.inf
        for spread in (0.5, 0.1, 0.0):
            tops = torch.linalg.eigvalsh(sign * hessians(near))[:, -1]
            best = max(best, float(tops.max().detach()))
            near = near[tops.argmax()] + spread * torch.randn(count // 4, size, generator=generator, dtype=torch.float64)
        found.append(sign * best)
    return found[0], found[1]


def margins(graph, x, labels):
    low, high = enclose_points(graph, x.reshape(len(x), *graph.input_shape))
    return low[np.arange(len(x)), labels][:, None] - high


def attacked(net, x: np.ndarray, labels: np.ndarray, shape, steps: int = 60, restarts: int = 2) -> np.ndarray:
    """Distances at which the prediction has changed: penalised descent towards every class, then bisection along the segment; inf where none was found."""
    n, k = len(x), CLASSES
    start = torch.from_numpy(x.reshape(n, -1).astype(np.float64)).repeat(k * restarts, 1)
    label, target = torch.from_numpy(labels).repeat(k * restarts), torch.arange(k).repeat_interleave(n).repeat(restarts)

    def gap(p):
        z = net(p.reshape(len(p), *shape))
        return z.gather(1, label[:, None]) - z

    generator = torch.Generator().manual_seed(0)
    p = (start + 0.3 * torch.randn(start.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    optimizer, best = torch.optim.Adam([p], 0.1), torch.full((len(p),), torch.inf, dtype=torch.float64)
    for step in range(steps):
        optimizer.zero_grad()
        m = gap(p).gather(1, target[:, None])[:, 0]
        (((p - start) ** 2).sum(1) + 10.0 * (1 + step / 10) * torch.relu(m + 1e-6)).sum().backward()
        optimizer.step()
        if step % 15 == 14:
            with torch.no_grad():
                changed = (gap(p) <= 0).sum(1) > 1
                low, high = torch.zeros(len(p), 1, dtype=torch.float64), torch.ones(len(p), 1, dtype=torch.float64)
                for _ in range(25):
                    middle = 0.5 * (low + high)
                    there = ((gap(start + middle * (p - start)) <= 0).sum(1) > 1)[:, None]
                    low, high = torch.where(there, low, middle), torch.where(there, middle, high)
                best = torch.where(changed, torch.minimum(best, (high * (p - start)).norm(dim=1)), best)
    return best.reshape(k * restarts, n).min(0).values.numpy()


def question(kind, shape, seed=0, count=12):
    net, graph = network(kind, shape, seed)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *graph.input_shape)).astype(np.float32)
    labels = graph(x.astype(np.float64)).argmax(1)
    return net, graph, x, labels


def beyond(net, graph, x, labels, table, rounds: int = 20) -> tuple[bool, int]:
    """Whether random evidence (points, multipliers up to 1.5 / K-) proves a radius that an attack refutes; and how many positive radii it proves."""
    from certify.constants.curvature import radii

    n, x64, rng = len(x), x.reshape(len(x), -1).astype(np.float64), np.random.default_rng(0)
    reached = attacked(net, x, labels, graph.input_shape)
    work = radii._Pairs(graph, x64, labels, np.arange(n).repeat(2), np.stack([(labels + 1) % 3, (labels + 2) % 3], 1).ravel(), table)
    positive = 0
    for step in range(rounds):
        eta = rng.random(2 * n) / np.maximum(work.low, 1e-3) * 1.5
        y = (x64[work.i] + rng.normal(size=(2 * n, x64.shape[1])) * 10.0 ** -(step % 4)).astype(np.float32)
        if step < 2:  # minimisers for multipliers that K- forbids, and for legal ones
            share = (0.2, 1.0)[step]
            eta, y = minimise(work.values, x64[work.i], share * work.low, work.high, eta)
            y = y.astype(np.float32)
        q, _ = work.proved(np.arange(2 * n), eta, y)
        both = np.sqrt(np.maximum(2 * q, 0.0)).reshape(n, 2).min(1)
        positive += int((both > 0).sum())
        if (both > reached * (1 + 1e-6)).any():
            return True, positive
    return False, positive
