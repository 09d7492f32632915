"""The frequency at which a certified grid bound is attained, its top singular pair, and the direction d ||F(w)|| / dW there. Search only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from ..linear.conv import ConvMap
from .eigenpair import top_eigenpair
from .grid import half_grid
from .search import top_vector
from .subgradient import singular_pair
from .symbol_estimate import SymbolState, follow, full_search, survey, tables_of
from .taps import Taps

_LARGE = 1 << 16  # weights above which the search runs in float32
_NEAR, _FAR = 3, 10  # power steps per grid point beside a peak, and where all points are looked at
_TRIED = 3  # of all points, these are looked at closely
_CLOSE = {"grid": 2e-5, "lines": 3e-3}  # how far a certificate may be above its maximum: shifts grow in steps; a line may leave the option that set the shift
_AROUND = (-1, 0, 1, 2)  # inner grid points of a line that are looked at, from the one below the peak


@dataclass(frozen=True, eq=False)
class Active:
    """Group and frequency w (radians), or the outer frequencies of an exact section (w[inner] is nan), with an estimate of the norm and its vector x."""

    group: int
    w: np.ndarray
    value: float
    vector: np.ndarray | None = None


def grid_direction(conv: ConvMap, taps: Taps, verify: dict[str, Any], level: float, memory: SymbolState | None) -> tuple[np.ndarray, SymbolState]:
    """(D, memory) with D = Re(conj(x) v' e^(i<w,j>)) on live taps of the active group, 0 elsewhere: d sigma / dW, sigma = ||F(w)||, at unit x, v.

    Args:
        conv: scaled weights. taps: of the claim. verify: the entry "grid" or "lines" of `norms.base`. memory: of the last call.
        level: what the certificate says the maximum is (0: not known). Where the points beside the peaks stay below it, all points are looked at.
    """
    g = conv.groups
    kernel = torch.from_numpy(np.ascontiguousarray(conv.weight)).reshape(g, conv.weight.shape[0] // g, conv.weight.shape[1], -1)
    kernel = kernel.float() if kernel.numel() > _LARGE else kernel  # the pair itself is float64 in any case
    memory = SymbolState(*(t.to(kernel) for t in memory.tensors())) if memory is not None else None
    memory = full_search(kernel, taps) if memory is None else follow(kernel, memory, tables_of(taps, kernel), 2)[1]
    best, size, chosen = np.zeros(tuple(kernel.shape)), 0.0, None
    enough = level * (1 - _CLOSE[verify["by"]])
    for everywhere in (False, True):
        for active in active_peaks(conv, taps, kernel, verify, memory, everywhere):
            out = np.zeros(best.shape)
            if np.isnan(active.w).any():
                out[active.group] = _section_direction(conv, taps, active, verify["inner"])
            else:
                out[active.group] = _symbol_direction(conv.weight.reshape(out.shape)[active.group], taps, active)
            sigma = float(np.vdot(out, conv.weight))
            if sigma > size:
                best, size, chosen = out, sigma, active
            if size >= enough:
                break
        if size >= enough:
            break
    if everywhere and chosen is not None and chosen.vector is not None:  # the peaks missed it: follow it from now on, in place of the last peak
        memory.w[chosen.group, -1] = memory.anchor[chosen.group, -1] = torch.from_numpy(chosen.w).to(kernel)
        memory.x[chosen.group, -1] = torch.from_numpy(np.stack([chosen.vector.real, chosen.vector.imag])).to(kernel)
    return best.reshape(conv.weight.shape), memory


def active_peaks(conv: ConvMap, taps: Taps, kernel: torch.Tensor, verify: dict[str, Any], memory: SymbolState, everywhere: bool) -> list[Active]:
    """Points of the certified grid where ||F(w)|| seems largest, best first: beside the peaks of `memory` (one), or among all points (a few)."""
    found: list[Active] = []
    tables = tables_of(taps, kernel)
    signs = (1,) if verify["by"] == "grid" else (1, -1)  # a grid is symmetric, and F(-w) = conj F(w)
    for group in range(len(kernel)):
        if not kernel[group].any():
            continue
        if everywhere:
            points = np.array(_all(verify, group))
            start = memory.x[group, :1].expand(len(points), -1, -1)
        else:
            rows = [(w, k, sign) for k in range(memory.w.shape[1]) for sign in signs for w in _beside(verify, memory.w[group, k].double().numpy() * sign, group)]
            points = np.array([w for w, _, _ in rows])
            start = torch.stack([memory.x[group, k] * torch.tensor([[1.0], [sign]], dtype=kernel.dtype) for _, k, sign in rows])
        exact = np.isnan(points).any(axis=1)
        near = np.flatnonzero(~exact)
        if len(near):
            start = start + 0.1 * torch.from_numpy(np.random.default_rng(0).standard_normal(tuple(start.shape[1:]))).to(kernel) * start.abs().amax() if everywhere else start
            w = torch.from_numpy(points[near]).to(kernel)[None]
            vectors, sizes = survey(kernel[group : group + 1], start[torch.from_numpy(near)][None], w, tables, _FAR if everywhere else _NEAR)
            for i in sizes[0].topk(min(len(near), _TRIED if everywhere else 1)).indices.tolist():
                found.append(Active(group, points[near[i]], float(sizes[0, i]), _complex(vectors[0, i].numpy())))
        for w in np.unique(points[exact], axis=0):
            twin = _section(conv, taps, group, w, verify["inner"])
            found.append(Active(group, w, math.sqrt(max(0.0, top_vector(twin, 12)[1]))))
    return sorted(found, key=lambda a: -a.value)[: _TRIED if everywhere else 1]


def _all(verify: dict[str, Any], group: int) -> list[np.ndarray]:
    """Every point of the certified grid, one of each conjugate pair where that is easy; nan marks an exact section."""
    period = verify["period"]
    if verify["by"] == "grid":
        return list(half_grid(tuple(period), _twist(verify, group)) * (math.pi / np.array(period)))
    found = []
    for key, (n, t) in _numbered(verify).items():
        for along in [math.nan] if n == 0 else ((2 * math.pi * np.arange(n) + math.pi * t / 4) / n).tolist():
            outer = iter(key)
            found.append(np.array([along if i == verify["inner"] else math.pi * next(outer) / m for i, m in enumerate(period)]))
    return found


def _twist(verify: dict[str, Any], group: int) -> tuple[int, ...]:
    twist = verify["twist"]
    return tuple(twist[group % len(twist)]) if twist and isinstance(twist[0], Sequence) else tuple(twist)


def _beside(verify: dict[str, Any], w: np.ndarray, group: int) -> list[np.ndarray]:
    """The points of the certified grid around a frequency: 2^D of a grid, a few on the 2^(D-1) lines around it; nan marks an exact section."""
    period, twist = verify["period"], verify["twist"]
    if verify["by"] == "grid":
        return [np.array(p) for p in product(*(_two(x, n, t) for x, n, t in zip(w, period, _twist(verify, group))))]
    inner, lines = verify["inner"], _numbered(verify)
    found = []
    for p in product(*(_two(x, n, t) if i != inner else (0.0,) for i, (x, n, t) in enumerate(zip(w, period, twist)))):
        key = tuple(round(x * n / math.pi) % (2 * n) for i, (x, n) in enumerate(zip(p, period)) if i != inner)
        if key not in lines:
            continue  # the opposite line is listed: reached from the opposite peak
        n, t = lines[key]
        for along in [math.nan] if n == 0 else [(2 * math.pi * (math.floor((w[inner] * n - math.pi * t / 4) / (2 * math.pi)) + k) + math.pi * t / 4) / n for k in _AROUND]:
            found.append(np.array([along if i == inner else x for i, x in enumerate(p)]))
    return found


def _two(x: float, n: int, t: int) -> tuple[float, ...]:
    k = math.floor((x * n / math.pi - t) / 2)
    return (0.0,) if n == 1 and t == 0 else (math.pi * (2 * k + t) / n, math.pi * (2 * k + 2 + t) / n)


def _numbered(verify: dict[str, Any]) -> dict[tuple[int, ...], tuple[int, int]]:
    """(n, t) of each line by the numerators 2 k + tau of its outer frequencies, in the order of `norms.base`."""
    outer = [i for i in range(len(verify["period"])) if i != verify["inner"]]
    sizes = [2 * verify["period"][i] for i in outer]
    keys = []
    for point in product(*(range(verify["twist"][i], size, 2) for i, size in zip(outer, sizes))):
        opposite = tuple(-q % size for q, size in zip(point, sizes))
        if point <= opposite:  # C order of the flat index is the order of tuples
            keys.append(point)
    return dict(zip(keys, ((n, t) for n, t in verify["lines"]), strict=True))


def _complex(x: np.ndarray) -> np.ndarray:
    return x[0] + 1j * x[1]


def _places(taps: Taps, w: np.ndarray) -> np.ndarray:
    """E(w), (T, P)."""
    out = np.zeros((len(taps.column), taps.columns), dtype=np.complex128)
    for t, r in enumerate(taps.column):
        if r >= 0:
            out[t, r] = np.exp(1j * float(np.dot(w, taps.shifts[t])))
    return out


def _symbol_direction(kernel: np.ndarray, taps: Taps, active: Active) -> np.ndarray:
    places = _places(taps, active.w)
    a, c, _ = kernel.shape
    f = np.tensordot(kernel, places, axes=(2, 0)).reshape(a, -1)
    start = active.vector if active.vector is not None else np.ones(a, dtype=np.complex128)
    if a <= f.shape[1]:
        x = top_eigenpair(f @ f.conj().T, start)[1]
        v = f.conj().T @ x
        v = v / max(float(np.linalg.norm(v)), 1e-300)
    else:
        v = top_eigenpair(f.conj().T @ f, f.conj().T @ start)[1]
        x = f @ v
        x = x / max(float(np.linalg.norm(x)), 1e-300)
    columns = (v.reshape(c, -1) @ places.T).reshape(1, -1)
    return (x.real[:, None] * columns.real + x.imag[:, None] * columns.imag).reshape(kernel.shape)


def _section(conv: ConvMap, taps: Taps, group: int, w: np.ndarray, inner: int) -> ConvMap:
    """The finite section along `inner` at the outer frequencies of w, complex taps as the real twin [[Re, -Im], [Im, Re]]: the same norm."""
    block = conv.weight.reshape(conv.groups, -1, *conv.weight.shape[1:])[group]
    a, c = block.shape[:2]
    place, column, index = _outer(conv, taps, w, inner)
    kernel = np.zeros((a, c, math.prod(n for i, n in enumerate(taps.phases) if i != inner), conv.axes[inner].taps), dtype=np.complex128)
    for t, r in enumerate(column):
        if r >= 0:
            kernel[:, :, r, index[t][inner]] += block[(slice(None), slice(None), *index[t])] * place[t]
    kernel = kernel.reshape(a, -1, kernel.shape[3])
    twin = np.concatenate([np.concatenate([kernel.real, -kernel.imag], axis=1), np.concatenate([kernel.imag, kernel.real], axis=1)])
    return ConvMap(twin, (conv.axes[inner],))


def _section_direction(conv: ConvMap, taps: Taps, active: Active, inner: int) -> np.ndarray:
    """d ||B(w)|| / dW (a, c, taps) by the singular pair of the twin."""
    twin = _section(conv, taps, active.group, active.w, inner)
    d = singular_pair(twin, None)[0]
    a, c = twin.weight.shape[0] // 2, twin.weight.shape[1] // 2
    real, imag = d[:a, :c] + d[a:, c:], d[a:, :c] - d[:a, c:]
    place, column, index = _outer(conv, taps, active.w, inner)
    channels = conv.weight.shape[1]
    out = np.zeros((a, channels, len(column)))
    for t, r in enumerate(column):
        if r >= 0:
            at = (slice(None), slice(None), r, index[t][inner])
            out[:, :, t] = place[t].real * real.reshape(a, channels, -1, real.shape[2])[at] + place[t].imag * imag.reshape(a, channels, -1, imag.shape[2])[at]
    return out


def _outer(conv: ConvMap, taps: Taps, w: np.ndarray, inner: int) -> tuple[np.ndarray, list[int], list[tuple[int, ...]]]:
    """For each tap: the phase of its outer shifts, its outer column (-1 where dead), its place in the kernel."""
    shifts = np.delete(np.array(taps.shifts), inner, axis=1)
    place = np.exp(1j * shifts @ np.delete(w, inner)) if shifts.shape[1] else np.ones(len(shifts), dtype=np.complex128)
    sizes = [n for i, n in enumerate(taps.phases) if i != inner]
    column = []
    for r in taps.column:
        flat = 0
        if r >= 0:
            for n, x in zip(sizes, (int(x) for i, x in enumerate(np.unravel_index(r, taps.phases)) if i != inner)):
                flat = flat * n + x
        column.append(flat if r >= 0 else -1)
    return place, column, list(product(*(range(a.taps) for a in conv.axes)))
