"""Warm-started estimates of sup_w ||F(w)|| of many convolutions at once, with their gradients, for training. Estimates, never bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import InputError
from .estimate import weight_of
from .grid import half_grid
from .pair_vectors import alive, beside, unit
from .taps import Taps, all_taps

_FEWEST, _MOST = 2, 24  # peaks of the last full search that are followed, per group
_PRODUCTS = 1 << 19  # weights times peaks: small kernels follow more of them (few channels: peaks of very different height)
_SEARCH_STEPS = 6  # power steps at every point of the coarse grid
_COLD_STEPS = 24  # alternating steps that follow a full search
_STIR = 0.1  # part of y that is moved by one channel in every call
_FINEST = 1 / 64  # of the coarse spacing: the value is off by less than 1e-5 there
_STACKED = 1 << 16  # on a CPU, copying larger kernels into one stack costs more than one product each

Tables = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class SymbolState:
    """What a step hands to the next, per group and peak: frequency w (g, K, D), unit vectors x and y (g, K, 2, a) (real, imaginary part), spacing h, anchor (g, K, D)."""

    w: Tensor
    x: Tensor
    y: Tensor
    h: Tensor
    anchor: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        return self.w, self.x, self.y, self.h, self.anchor


def symbol_estimate(layer: nn.Module, input_shape: Sequence[int], state: SymbolState | None = None, steps: int = 2) -> tuple[Tensor, SymbolState]:
    """`symbol_estimates` of one layer."""
    values, states = symbol_estimates([layer], [input_shape], [state], steps)
    return values[0], states[0]


def symbol_estimates(
    layers: Sequence[nn.Module], input_shapes: Sequence[Sequence[int]], states: Sequence[SymbolState | None] | None = None, steps: int = 2
) -> tuple[list[Tensor], list[SymbolState]]:
    """For each layer sigma = Re <x, F(w) v> with unit x, v: an estimate of sup_w ||F(w)|| from below, F the symbol of its polyphase kernel.

    ||A|| <= sup_w ||F(w)|| for every input size (layer_norms.md 4.4); the difference is O(1/n^2). sigma <= sup ||F(w)|| up to rounding for any w, x, v, and
    it follows changing weights: each step maximises over w near the last one with x fixed (a trigonometric polynomial: free once W'x is known)
    and takes one power step at that w, for the best few peaks of the first call's full search. A peak that rises from nowhere is found by the next
    full search only (state None): every hundred calls or so. With groups: the largest group.
    w, x and v are held fixed in the gradient, so d sigma / dW = Re(conj(x) v' e^{i<w,j>}) on live taps and <gradient, W> = sigma.

    Args:
        layers: nn.Conv1d-3d or nn.ConvTranspose1d-3d with zero (or block-circulant) padding; parametrized ones too.
        input_shapes: of one sample, without the batch axis, one per layer: they decide about dead taps only.
        states: what the last call returned, None where there was none: then a coarse grid of 4 J points per axis is searched first.
        steps: alternating steps, each one product with the kernel and one with its transpose for 8 real vectors (more for small kernels).

    Returns 0-dim tensors with gradients, and the new states. Zero weights give 0 with gradient 0; there is no eps, so 1e-30 keeps its scale.

    Raises:
        HypothesisError: another padding. UnsupportedLayerError: no convolution. InputError: shapes or states that do not fit.

    Layers with equal kernels and taps go through one batched product (on a CPU only small ones: there, large kernels gain nothing from it). No value
    is read back to the host but in the first call. Works in the dtype and on the device of the weights. Source: layer_norms.md, section 6.

    >>> layer = nn.Conv1d(1, 1, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[[3.0, 4.0]]]))
    >>> round(symbol_estimate(layer, (1, 9))[0].item(), 4)
    7.0
    """
    given: Sequence[SymbolState | None] = [None] * len(layers) if states is None else states
    taps = all_taps(layers, input_shapes, given)
    kernels = [_kernel(weight_of(layer), layer) for layer in layers]
    ready = [_checked(s, k, t) if s is not None else full_search(k.detach(), t) for s, k, t in zip(given, kernels, taps)]
    batches: dict[object, list[int]] = {}
    for i, kernel in enumerate(kernels):
        alone = kernel.device.type == "cpu" and kernel.numel() > _STACKED
        batches.setdefault((kernel.shape[1:], ready[i].w.shape, taps[i], kernel.dtype, kernel.device, i if alone else -1), []).append(i)
    values: dict[int, Tensor] = {}
    after: dict[int, SymbolState] = {}
    for members in batches.values():
        kernel = torch.cat([kernels[i] for i in members]) if len(members) > 1 else kernels[members[0]]
        state = SymbolState(*map(torch.cat, zip(*(ready[i].tensors() for i in members))))
        sigma, new = follow(kernel, state, tables_of(taps[members[0]], kernel), steps)
        sizes = [len(kernels[i]) for i in members]
        for i, part, *rest in zip(members, sigma.split(sizes), *(t.split(sizes) for t in new.tensors())):
            values[i], after[i] = part.max(dim=0).values, SymbolState(*rest)
    return [values[i] for i in range(len(layers))], [after[i] for i in range(len(layers))]


def tables_of(taps: Taps, like: Tensor) -> Tables:
    """(shifts (T, D), assignment (T, P) of zeros and ones, neighbour offsets (N, D), the point itself first), dtype and device of `like`."""
    assign = np.equal.outer(taps.column, range(taps.columns)).astype(np.float64)
    shifts = np.array(taps.shifts, dtype=np.float64).reshape(len(taps.column), -1)
    offsets = np.array(list(product(*((0.0, -1.0, 1.0) if j > 1 else (0.0,) for j in taps.degrees))))
    return torch.from_numpy(shifts).to(like), torch.from_numpy(assign).to(like), torch.from_numpy(offsets).to(like)


def _kernel(weight: Tensor, layer: nn.Module) -> Tensor:
    """(groups, a, c, taps)."""
    g = int(layer.groups)  # type: ignore[arg-type]
    return weight.reshape(g, weight.shape[0] // g, weight.shape[1], -1)


def _checked(state: SymbolState, kernel: Tensor, taps: Taps) -> SymbolState:
    g, a = kernel.shape[:2]
    if state.x.shape[::3] != (g, a) or state.w.shape[::2] != (g, len(taps.degrees)):
        raise InputError("the state belongs to another layer", where="argument states", found=tuple(state.x.shape), expected=(g, state.x.shape[1], 2, a))
    return SymbolState(*(t.to(kernel) for t in state.tensors()))


def full_search(kernel: Tensor, taps: Taps) -> SymbolState:
    """The best peaks on a coarse half grid, by power steps at all its points from one fixed start, then followed for a few steps. Proves nothing."""
    period = tuple(1 if j == 1 else (4 * j if len(taps.degrees) < 3 else 2 * j + 2) for j in taps.degrees)
    points = half_grid(period, (0,) * len(period))
    grid = math.pi * points / np.array(period)
    g, a = kernel.shape[:2]
    tables = tables_of(taps, kernel)
    start = torch.from_numpy(np.random.default_rng(0).standard_normal((2, a))).to(kernel)
    x = start.expand(g, len(grid), 2, a)
    w = torch.from_numpy(grid).to(kernel).expand(g, *grid.shape)
    x, sizes = survey(kernel, x, w, tables, _SEARCH_STEPS)
    good = sizes.topk(-(-len(points) // 3), dim=1).indices  # so early the order is a guess: the better third gets more steps
    better = survey(kernel, torch.take_along_dim(x, good[:, :, None, None], 1), torch.take_along_dim(w, good[:, :, None], 1), tables, 2 * _SEARCH_STEPS)
    x, sizes = x.scatter(1, good[:, :, None, None].expand(*good.shape, 2, a), better[0]), sizes.scatter(1, good, better[1])
    count = max(1, max(_FEWEST, min(_MOST, _PRODUCTS // kernel[0].numel())) // g) if len(points) > 1 else 1  # several groups are several candidates already
    half = math.pi / max(period)
    w, x = _apart(w, x, sizes, count, 0.0 if count == _MOST else 2.02 * half)  # few rows: no neighbours among them
    y = beside(x, start.roll(1, 1).expand(x.shape))
    return follow(kernel, SymbolState(w, x, y, torch.full(w.shape[:2], half).to(w), w), tables, _COLD_STEPS)[1]


def survey(kernel: Tensor, x: Tensor, w: Tensor, tables: Tables, steps: int) -> tuple[Tensor, Tensor]:
    """Power steps at the fixed frequencies w (g, Q, D) from x (g, Q, 2, a): the unit vectors and the estimates (g, Q) of ||F(w)||, all from below."""
    with torch.no_grad():
        turn = _turn(w[:, :, None], tables)
        for _ in range(steps):
            v, _ = unit(_fold(_products(kernel, x), turn)[0][..., 0, :], (2, 3))
            x, size = unit(_forth(kernel, v, turn[:, :, :, 0]), (2, 3))
    return x, size[:, :, 0, 0]


def _apart(w: Tensor, x: Tensor, sizes: Tensor, count: int, distance: float) -> tuple[Tensor, Tensor]:
    """In each group at most `count` frequencies, highest first, further apart than `distance` (on the torus, up to conjugation), then the highest again."""
    places, order = w.double().cpu().numpy(), np.argsort(-sizes.double().cpu().numpy(), axis=1, kind="stable")
    rows = []
    for place, row in zip(places, order):
        found: list[int] = []
        for k in row.tolist():
            gaps = [np.abs((place[k] - s * place[found] + math.pi) % (2 * math.pi) - math.pi).max(axis=1, initial=0.0) for s in (1, -1)]
            if (gaps[0] > distance).all() and (gaps[1] > distance).all():
                found.append(k)
        rows.append((found + found[:1] * count)[:count])
    chosen = torch.tensor(rows).to(w.device)
    return torch.take_along_dim(w, chosen[:, :, None], 1), torch.take_along_dim(x, chosen[:, :, None, None], 1)


def follow(kernel: Tensor, state: SymbolState, tables: Tables, steps: int) -> tuple[Tensor, SymbolState]:
    """sigma (g,) with its gradient and the new state, the best peak first: tensors only, fixed shapes, no branch on a value (what torch.compile asks for).

    A penalty presses the largest singular value down until another one is larger, and a converged x has next to nothing of that vector in it: power
    steps alone would not notice for long. So each x has a companion y at the same w, orthogonal to it, stirred a little in every call; they change
    places when y is stretched more. All peaks but the best stay near their anchors, so that they do not all climb the same one.
    """
    fixed = kernel.detach()
    with torch.no_grad():
        w, x, h, count = state.w, alive(state.x), state.h, state.w.shape[1]
        y = alive(unit(state.y + _STIR * state.y.roll(1, 3), (2, 3))[0], 1)
        widest = h.new_full((), math.pi) / (4 * (tables[0].amax() + 1))
        box = torch.full((count, 1, 1), math.inf).to(h)
        box[1:] = 3 * widest
        for _ in range(max(1, steps)):
            near = state.anchor[:, :, None] + (w - state.anchor)[:, :, None].add(h[:, :, None, None] * tables[2]).clamp(-box, box)
            turn = _turn(near, tables)
            z = _products(fixed, torch.cat([x, y], dim=1))
            v, sizes = _fold(z[:, :count], turn)
            best = sizes.argmax(dim=2, keepdim=True)
            w = torch.take_along_dim(near, best[..., None], 2)[:, :, 0]
            v = torch.take_along_dim(v, best[:, :, None, :, None], 3)[..., 0, :]
            turn = torch.take_along_dim(turn, best[:, :, None, :, None], 3)
            h = torch.where(best[:, :, 0] == 0, (h / 2).clamp_min(_FINEST * widest), (h * 2).clamp_max(widest))
            v, _ = unit(torch.cat([v, _fold(z[:, count:], turn)[0][..., 0, :]], dim=1), (2, 3))
            turn = turn[:, :, :, 0]
            reached, size = unit(_forth(fixed, v, torch.cat([turn, turn], dim=1)), (2, 3))
            (x, y), (v, other), (size, less) = (t.split(count, dim=1) for t in (reached, v, size))
            swap = less > size
            x, y, v, size = torch.where(swap, y, x), torch.where(swap, x, y), torch.where(swap, other, v), torch.where(swap, less, size)
            y = beside(x, y)
        top = size[:, :, 0, 0].argmax(dim=1, keepdim=True)
        v, turn, first = (torch.take_along_dim(t, top[:, :, None, None], 1) for t in (v, turn, x))
        row = torch.arange(count, device=w.device).expand(w.shape[:2])
        row = torch.where(row == 0, top, torch.where(row == top, torch.zeros_like(row), row))  # the best one changes places with the first
        new = SymbolState(*(torch.take_along_dim(t, row.reshape(*row.shape, *(1,) * (t.ndim - 2)), 1) for t in (w, x, y, h, state.anchor)))
    return (first * _forth(kernel, v, turn)).sum(dim=(1, 2, 3)), new




def _turn(w: Tensor, tables: Tables) -> Tensor:
    """E(w)* as a real matrix: (g, K, 2T, N, 2P) for w (g, K, N, D); rows (part, tap), columns (part, polyphase column)."""
    shifts, assign, _ = tables
    angle = torch.matmul(w, shifts.T).transpose(2, 3)  # (g, K, T, N)
    cos, sin = angle.cos()[..., None] * assign[:, None], angle.sin()[..., None] * assign[:, None]
    return torch.cat([torch.cat([cos, -sin], dim=-1), torch.cat([sin, cos], dim=-1)], dim=2)


def _products(kernel: Tensor, x: Tensor) -> Tensor:
    """W' x for every tap, (g, K, 2, c, T), for x (g, K, 2, a)."""
    g, a, c, t = kernel.shape
    return torch.matmul(x.reshape(g, -1, a), kernel.reshape(g, a, c * t)).reshape(g, -1, 2, c, t)


def _fold(z: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """F(w)* x (g, K, c, N, 2P), each row scaled by a factor of its own, and its norms (g, K, N), from the products z and turn (g, K, 2T, N, 2P)."""
    g, k, _, c, t = z.shape
    peak = z.abs().amax(dim=(2, 3, 4), keepdim=True)  # squares of 1e-30 vanish in float32
    z = z / torch.where(peak > 0, peak, torch.ones_like(peak))
    v = torch.matmul(z.transpose(2, 3).reshape(g, k, c, 2 * t), turn.reshape(g, k, 2 * t, -1)).reshape(g, k, c, turn.shape[3], -1)
    return v, v.square().sum(dim=(2, 4)).sqrt()


def _forth(kernel: Tensor, v: Tensor, turn: Tensor) -> Tensor:
    """F(w) v (g, K, 2, a) for v (g, K, c, 2P), turn (g, K, 2T, 2P); differentiable in the kernel."""
    g, a, c, t = kernel.shape
    k = v.shape[1]
    columns = torch.matmul(v, turn.transpose(2, 3)).reshape(g, k, c, 2, t).transpose(2, 3)
    return torch.matmul(columns.reshape(g, 2 * k, c * t), kernel.reshape(g, a, c * t).transpose(1, 2)).reshape(g, k, 2, a)
