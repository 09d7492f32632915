"""The search behind a lower end, in torch and without any claim: power iteration on Jacobians, then ascent of pairs.

Rectifier networks have no second derivatives, so pairs are ascended and not the norm of the Jacobian; Jacobians at both ends and the midpoint
of the best pairs finish the work (methods/network_lipschitz.md section 4).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.graph import Graph

_STEP = 1e-6  # of the difference quotient that stands for J v
_LENGTHS = (1e-4, 1e-2, 1.0)


@dataclass(frozen=True)
class Plan:
    """How much is searched: starting points, ascent steps, power iterations, seconds."""

    restarts: int
    steps: int
    powers: int
    seconds: float


PLANS = {"fast": Plan(12, 20, 6, 0.4), "balanced": Plan(32, 150, 12, 1.5), "tight": Plan(128, 600, 30, 10.0)}
_RATE = 0.2  # of Adam, falling linearly to a hundredth of it


class Search:
    """Batched f, its slopes and its adjoints at points (n, *shape), float64."""

    def __init__(self, graph: Graph, norm: str):
        self.module = graph.to_torch().double().eval()
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)
        self.norm = norm

    def flat(self, x: Tensor) -> Tensor:
        return self.module(x).reshape(len(x), -1)

    def size(self, x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x.reshape(len(x), -1), {"l2": 2, "linf": torch.inf, "l1": 1}[self.norm], dim=1)

    def push(self, x: Tensor, v: Tensor) -> Tensor:
        """About J(x) v."""
        with torch.no_grad():
            return (self.flat(x + _STEP * v) - self.flat(x - _STEP * v)) / (2 * _STEP)

    def pull(self, x: Tensor, w: Tensor) -> Tensor:
        """J(x)' w."""
        x = x.detach().requires_grad_(True)
        return torch.autograd.grad((self.flat(x) * w).sum(), x)[0]

    def power(self, x: Tensor, v: Tensor, rounds: int, deadline: float) -> Tensor:
        """Directions v with |v|_p = 1 and large |J(x) v|_p: Boyd's power method."""
        for _ in range(rounds):
            v = steepest(self.pull(x, dual(self.push(x, v), self.norm)), v, self.norm)
            if time.perf_counter() > deadline:
                break
        return v

    def ratio(self, a: Tensor, b: Tensor) -> Tensor:
        return self.size(self.flat(a) - self.flat(b)) / self.size(a - b).clamp_min(1e-300)


def dual(y: Tensor, norm: str) -> Tensor:
    """w with <w, y> = |y|_p and dual norm 1 (0 for y = 0), rows of a flat batch."""
    if norm == "l2":
        return y / y.norm(dim=1, keepdim=True).clamp_min(1e-300)
    if norm == "l1":
        return y.sign()
    place = y.abs().argmax(1, keepdim=True)
    return torch.zeros_like(y).scatter_(1, place, y.gather(1, place).sign())


def steepest(g: Tensor, fallback: Tensor, norm: str) -> Tensor:
    """v with |v|_p = 1 and the largest <g, v>; where g = 0 or NaN the fallback stays."""
    flat = torch.nan_to_num(g.reshape(len(g), -1))  # not flatten(1): an input may have no axis but the batch
    if norm == "l2":
        v = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-300)
    elif norm == "linf":
        v = torch.where(flat >= 0, 1.0, -1.0).to(flat)
    else:
        place = flat.abs().argmax(1, keepdim=True)
        v = torch.zeros_like(flat).scatter_(1, place, flat.gather(1, place).sign())
    keep = flat.abs().amax(1, keepdim=True) > 0
    return torch.where(keep, v, fallback.reshape(len(g), -1)).view_as(g)


def candidate_pairs(graph: Graph, norm: str, effort: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (a, b), each (m, *input_shape): no claim is attached to them."""
    plan, start = PLANS[effort], time.perf_counter()
    deadline = start + plan.seconds
    search = Search(graph, norm)
    generator = torch.Generator().manual_seed(seed)
    x = _starts(graph.input_shape, plan.restarts, generator)
    if not x.numel():
        return np.zeros((0, *graph.input_shape)), np.zeros((0, *graph.input_shape))
    x = x[: _affordable(search, x, plan, start)]
    v = steepest(torch.randn(x.shape, generator=generator, dtype=x.dtype), x, norm)
    v = search.power(x, v, plan.powers, deadline)
    pairs = [_around(x, v, length) for length in _LENGTHS]
    a, b = _ascended(search, x, v, plan, deadline)
    pairs.append((a, b))
    places = torch.cat([a, b, (a + b) / 2])
    directions = steepest((b - a).repeat(3, *[1] * (x.dim() - 1)), v.repeat(3, *[1] * (x.dim() - 1)), "l2")
    directions = search.power(places, directions, plan.powers, deadline + 0.25 * plan.seconds)
    pairs += [_around(places, directions, length) for length in _LENGTHS]
    return torch.cat([p for p, _ in pairs]).numpy(), torch.cat([q for _, q in pairs]).numpy()


def _starts(shape: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
    """The origin and normal points at scales from a tenth to three."""
    scales = torch.logspace(-1, 0.5, count, dtype=torch.float64)
    scales[0] = 0.0
    return torch.randn((count, *shape), generator=generator, dtype=torch.float64) * scales.reshape(-1, *[1] * len(shape))


def _affordable(search: Search, x: Tensor, plan: Plan, start: float) -> int:
    """Fewer starting points for a network so large that the plan would not end in time (counted in pulls of a whole batch)."""
    count, trial = len(x), min(len(x), 4)
    search.pull(x[:1], torch.ones((1, 1), dtype=x.dtype))  # the first call pays for loading
    before = time.perf_counter()
    search.pull(x[:trial], torch.ones((1, 1), dtype=x.dtype))
    each = max(time.perf_counter() - before, 1e-9) / trial
    left = max(plan.seconds - (before - start), 0.0)
    return int(min(count, max(2.0, left / (each * (8 * plan.powers + 2 * plan.steps)))))


def _around(x: Tensor, v: Tensor, length: float) -> tuple[Tensor, Tensor]:
    return x - (length / 2) * v, x + (length / 2) * v


def _ascended(search: Search, x: Tensor, v: Tensor, plan: Plan, deadline: float) -> tuple[Tensor, Tensor]:
    """Ascent of log |f(a) - f(b)| - log |a - b| over both ends; the best pair of each start."""
    lengths = torch.logspace(-1, 1, len(x), dtype=x.dtype).reshape(-1, *[1] * (x.dim() - 1))
    a, b = ((x + sign * lengths / 2 * v).detach().requires_grad_(True) for sign in (-1, 1))
    best_a, best_b, best = a.detach().clone(), b.detach().clone(), torch.full((len(x),), -torch.inf, dtype=x.dtype)
    optimizer = torch.optim.Adam([a, b], lr=_RATE)
    for done in range(plan.steps):
        optimizer.param_groups[0]["lr"] = _RATE * (1.01 - done / plan.steps)
        ratio = search.ratio(a, b)
        better = ratio.detach() > best
        best = torch.where(better, ratio.detach(), best)
        mask = better.reshape(-1, *[1] * (x.dim() - 1))
        best_a, best_b = torch.where(mask, a.detach(), best_a), torch.where(mask, b.detach(), best_b)
        if time.perf_counter() > deadline:
            break
        optimizer.zero_grad()
        (-torch.log(ratio.clamp_min(1e-300))).sum().backward()
        for end in (a, b):
            end.grad = None if end.grad is None else torch.nan_to_num(end.grad, posinf=0.0, neginf=0.0)
        optimizer.step()
    return best_a, best_b
