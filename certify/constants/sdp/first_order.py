"""Search for multipliers by gradient steps, any size: every iterate is feasible, so it may stop at any time. Proves nothing: its answer is verified elsewhere.

Per layer u = (1 + e^c) lambda_max(D^-1/2 A D^-1/2) D with A = r W S W' r, D = e^p o (shape of the closed form): feasible for every (p, c), and
p = c = 0 is the closed form. Adam on log(bound) through the metrics of the whole chain (torch autograd; metrics scaled by powers of two, so fifty
layers neither overflow nor vanish). A step costs a few n^3 per layer, n the state and the neurons of that layer; sparse weights stay sparse.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...core.midrad import full, is_sparse
from .chain import Chain, Layer
from .recursion import closed_form, exponent, proportional

RATE = 0.1


@dataclass(frozen=True)
class Reached:
    """Multipliers relative to the scaled metrics, the exponents they belong to, the value in floats, steps taken."""

    us: list[np.ndarray]
    exponents: list[int]
    value: float
    steps: int


class _Step:
    """One layer's matrices as tensors."""

    def __init__(self, layer: Layer, device: str):
        self.layer = layer
        self.weight, self.through = (_tensor(a, device) for a in (layer.weight.mid, layer.through().mid))
        self.inject = _tensor(full(layer.inject.mid), device)
        self.half = torch.as_tensor(layer.half, dtype=torch.float64, device=device)
        index = None if layer.inside is None or layer.outside is None else (layer.inside, layer.outside)
        self.index = None if index is None else [torch.as_tensor(i, device=device) for i in index]

    def spread(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return (u, u) if self.index is None else (u[self.index[0]], u[self.index[1]])

    def __call__(self, s: Tensor, p: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The next metric (not rescaled) and u."""
        zs = self.half[:, None] * (self.weight @ s)
        a = (self.weight @ zs.T).T * self.half
        a = 0.5 * (a + a.T)
        shape = torch.as_tensor(proportional(self.layer, a.detach().cpu().numpy()), device=s.device)
        d = torch.exp(p) * shape
        scale = self.spread(d)[0].rsqrt()
        u = (1 + torch.exp(c)) * torch.linalg.eigvalsh(scale[:, None] * a * scale)[-1].clamp_min(1e-300) * d
        inside, outside = self.spread(u)
        ks = self.through @ s
        cross = self.half[:, None] * (self.weight @ ks.T)
        k = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.diag(inside) - a), cross, upper=False)
        nxt = (self.through @ ks.T).T + k.T @ k + (self.inject * outside) @ self.inject.T
        return 0.5 * (nxt + nxt.T), u


def first_order(chain: Chain, steps: int = 150, seconds: float = math.inf, device: str = "cpu", progress: Callable[[int, int, str], None] | None = None) -> Reached:
    """The best multipliers met in `steps` gradient steps or `seconds` (whichever ends first; the start counts, so there is always an answer).

    Args:
        chain: reduced (all neurons live), its `last` the rows whose largest gain is wanted.
        device: where torch computes.
    Guarantee: none; verify with `layers.prove` or `inequality`.
    """
    start = time.perf_counter()
    us, exponents, metric = closed_form(chain)
    last = full(chain.last.mid)
    shift = exponent(last @ metric @ last.T)  # keeps the very first value in range; exact powers of two
    best = Reached(us, exponents, _value(last, metric, exponents), 0)
    layers = [_Step(layer, device) for layer in chain.layers]
    free = [torch.zeros(layer.groups, dtype=torch.float64, device=device, requires_grad=True) for layer in chain.layers]
    factors = [torch.zeros((), dtype=torch.float64, device=device, requires_grad=True) for _ in chain.layers]
    optimizer = torch.optim.Adam([*free, *factors], lr=RATE, betas=(0.9, 0.99))
    rows, one = torch.as_tensor(np.array(last), device=device), torch.eye(chain.input_size, dtype=torch.float64, device=device)
    lowest = math.inf
    for step in range(steps):
        spent = time.perf_counter() - start
        if step and spent + spent / step > seconds:
            break
        if progress is not None:
            progress(step, steps, "semidefinite bound, first order")
        optimizer.param_groups[0]["lr"] = RATE * (0.05 + 0.475 * (1 + math.cos(math.pi * max(step / steps, min(1.0, spent / seconds)))))
        try:
            s, logs, used, powers = one, 0.0, [], []
            for layer, p, c in zip(layers, free, factors, strict=True):
                s, u = layer(s, p, c)
                k = exponent(s.detach().cpu().numpy())
                s, logs = s * 4.0**k, logs - k * math.log(4.0)
                used.append(u)
                powers.append(k)
            loss = 0.5 * (torch.log(torch.linalg.eigvalsh(rows @ (s * 4.0**shift) @ rows.T)[-1]) + logs - shift * math.log(4.0))
        except torch.linalg.LinAlgError:
            break
        if not math.isfinite(loss.item()):
            break
        if loss.item() < lowest:
            lowest = loss.item()
            best = Reached([u.detach().cpu().numpy() for u in used], powers, math.exp(min(lowest, 700.0)), step + 1)
        optimizer.zero_grad()
        loss.backward()
        if not all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in (*free, *factors)):
            break
        optimizer.step()
    return best


def _value(last: np.ndarray, metric: np.ndarray, exponents: list[int]) -> float:
    from .recursion import top

    root = math.sqrt(max(top(last @ metric @ last.T), 0.0))
    power = -sum(exponents)
    return math.ldexp(root, power) if power < 1000 else math.inf


def _tensor(a, device: str) -> Tensor:
    if not is_sparse(a):
        return torch.as_tensor(np.array(a, dtype=np.float64), device=device)
    return torch.sparse_csr_tensor(torch.as_tensor(a.indptr.astype(np.int64)), torch.as_tensor(a.indices.astype(np.int64)), torch.as_tensor(a.data), size=a.shape).to(device)
