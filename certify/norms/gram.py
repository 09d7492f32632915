"""Gram iteration: squaring until the Frobenius norm is the spectral norm, with a backward bound on the rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..core.quick_norms import quick_norms_up
from ..core.rounding import U, add_up, div_up, gamma, mul_up, sqrt_up, up
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from .base import TINY, Ends, NormMethod, room
from .grid import half_grid
from .majorant import majorant_up, size_up
from .polyphase import circular_plan, convolution_of, is_block_circulant, symbol_taps
from .symbol import Symbol

_CHUNK = 1 << 25


@dataclass(frozen=True)
class Gram(NormMethod):
    """||A|| <= ||G_T||_F^(2^-T), G_0 = A, G_(t+1) = G_t* G_t; decreasing in T = `steps` with limit ||A||.

    Two forms. Circular padding with s | n and m = n / s: per frequency of the full grid of the input size (never the kernel-size grid, which
    is not a bound). Everything else: the assembled matrix of each group, min(M, N) <= `limit`. An upper end only.

    Floats: Gh_t <- c_t Gh_t (powers of two), f_t = ||Gh_t||_F, Gh_(t+1) = fl(Gh_t* Gh_t), then u_T = up f_T and
    u_t = up sqrt(u_(t+1) + g f_t^2) / c_t, g = gamma_(n+1) real or sqrt2 gamma_(2n+2) complex, n the inner length; the bound is u_0.
    [||Gh_t||^2 = ||Gh_t* Gh_t|| <= ||Gh_(t+1)|| + g ||Gh_t||_F^2.] Cost: T products per matrix.

    Source: Delattre et al., Efficient bound of Lipschitz constant for convolutional layers by Gram iteration, ICML 2023; layer_norms.md 2.7.
    """

    name = "gram"
    cite = ("Delattre, Barthelemy, Araujo & Allauzen, Efficient bound of Lipschitz constant for convolutional layers by Gram iteration, ICML 2023",)
    hypotheses = ("circular: s | n and m = n / s; otherwise min(M, N) within the limit",)
    steps: int = 6
    limit: int = 2048

    def _refuses(self, map: LinearMap, norm: str) -> str:
        conv = convolution_of(map)
        if conv is not None and not is_block_circulant(conv):
            return ""
        block = map.blocks()[0]
        if block.size > self.limit or block.input_size * block.output_size > 1 << 25:
            return f"a matrix of {block.output_size} x {block.input_size} is too large (limit {self.limit}), and the map is not block-circulant"
        return ""

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        conv = convolution_of(map)
        if conv is not None and not is_block_circulant(conv):
            return self._circular(conv)
        upper = 0.0
        for block in map.blocks():
            matrix = block.dense()
            matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
            value = float(iterated(matrix[None], self.steps)[0])
            if block.entry_sums > 1:
                value = add_up(value, mul_up(2.0 * gamma(block.entry_sums), majorant_up(block, "l2")))
            upper = max(upper, value)
        return Ends(0.0, room(upper), {"by": "dense"}, {"steps": self.steps})

    def _circular(self, conv: ConvMap) -> Ends:
        plans = [circular_plan(a) for a in conv.axes]
        upper, period = 0.0, tuple(1 for _ in plans)
        for block in conv.parts:
            symbol = Symbol(symbol_taps(block.weight, plans), [plan.shifts for plan in plans])
            period = tuple(1 if j == 1 else plan.period for j, plan in zip(symbol.degrees, plans))
            points = half_grid(period, (0,) * len(period))
            step = max(1, _CHUNK // (16 * symbol.a * symbol.b))
            tops = [iterated(symbol.matrix(points[i : i + step], period), self.steps).max() for i in range(0, len(points), step)]
            upper = max(upper, add_up(float(max(tops)), matrix_slack(symbol)))
        verify = {"by": "grid", "claim": "circular", "period": list(period), "twist": [0] * len(period)}
        return Ends(0.0, room(upper), verify, {"steps": self.steps})


def matrix_slack(symbol: Symbol) -> float:
    """Bound on ||fl(F(w)) - F(w)||: entrywise sqrt2 (gamma_J (1 + eps) + eps) P with the phase error eps = 9 D u, so times ||P||_F."""
    eps = 9.0 * symbol.dims * U
    g = up(up(gamma(len(symbol.at)) * (1.0 + 2.0 * eps)) + eps)
    majorant = mul_up(size_up(np.abs(symbol.flat).sum(2)), up(1.0 + 2.0 * gamma(len(symbol.at) + 1)))
    return mul_up(mul_up(2.0, g), majorant)


def iterated(matrices: np.ndarray, steps: int) -> np.ndarray:
    """Upper ends (n,) of the spectral norms of a stack (n, a, b), a <= b, real or complex, entries at most 2^900."""
    current, scales, sizes, slacks = matrices, [], [], []
    for t in range(steps + 1):
        peak = np.abs(current.real).max(axis=(1, 2), initial=0.0)
        if np.iscomplexobj(current):
            peak = np.maximum(peak, np.abs(current.imag).max(axis=(1, 2), initial=0.0))
        exponent = np.where(peak > 0, np.minimum(-np.frexp(peak)[1], 900), 0)  # 2^exponent stays a float
        current = _shifted(current, exponent)
        scales.append(exponent)
        sizes.append(_frobenius(current))
        if t < steps:
            n = current.shape[2]
            slacks.append(mul_up(up(math.sqrt(2.0)), gamma(2 * n + 2)) if np.iscomplexobj(current) else gamma(n + 1))
            current = current @ current.conj().transpose(0, 2, 1)
    return np.array([_backward([int(s[k]) for s in scales], [float(f[k]) for f in sizes], slacks) for k in range(len(matrices))])


def _shifted(stack: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    e = exponent[:, None, None]
    if not np.iscomplexobj(stack):
        return np.ldexp(stack, e)
    out = np.empty_like(stack)
    out.real, out.imag = np.ldexp(stack.real, e), np.ldexp(stack.imag, e)
    return out


def _frobenius(stack: np.ndarray) -> np.ndarray:
    parts = np.concatenate([stack.real, stack.imag], axis=1) if np.iscomplexobj(stack) else stack
    return quick_norms_up(parts, "l2")


def _backward(exponents: list[int], sizes: list[float], slacks: list[float]) -> float:
    """u_T = f_T, u_t = sqrt(u_(t+1) + g_t f_t^2) / c_t, all rounded up; TINY pays for underflow (entries are at most 1)."""
    value = sizes[-1]
    for t in range(len(sizes) - 1, -1, -1):
        if t < len(sizes) - 1:
            value = sqrt_up(add_up(add_up(value, mul_up(slacks[t], mul_up(sizes[t], sizes[t]))), TINY))
        value = div_up(value, 2.0 ** exponents[t])
    return value
