"""An input that a convolution stretches nearly as much as possible, made from the peak of its symbol. Proves nothing."""

from __future__ import annotations

import numpy as np

from ..linear.conv import ConvMap
from .grid import Peak
from .polyphase import AxisPlan
from .symbol import Symbol


def plane_wave(conv: ConvMap, plans: list[AxisPlan], symbol: Symbol, peak: Peak, group: int) -> np.ndarray | None:
    """Re(z_(c, r) exp(i <w, b>)) at pixel s b + r of the channels of one group, with a sine window under zero padding; None where axes are dilated and strided.

    z is the top right singular vector of F(w). For circular padding it is an exact singular vector (its real part, for a real
    kernel); for zero padding its quotient is within O(1/n^2) of the norm, and a few Lanczos steps from it find the rest.
    """
    if any((a.dilation > 1 and a.stride > 1) or plan.phases != a.stride for a, plan in zip(conv.axes, plans)):
        return None
    f = symbol.matrix(np.array([peak.numerators], dtype=np.int64), peak.period)[0]
    # eigenvector x of F F*: right singular vector F* x; turned symbol, x of F' conj(F): it is conj(x)
    z = peak.vector.conj() if symbol.transposed else (peak.vector.conj() @ f).conj()
    blocks = conv.parts
    block = blocks[min(group, len(blocks) - 1)]
    columns = _columns(block.weight, plans, z)
    wave = columns.reshape(block.weight.shape[1], *(plan.phases for plan in plans))
    for k, (a, plan) in enumerate(zip(conv.axes, plans)):
        first = int(np.flatnonzero(plan.keep)[0])
        xi = np.arange(a.inputs) + a.low - a.dilation * first
        w = np.pi * peak.numerators[k] / peak.period[k]
        # undilated: pixel xi = s b + r; dilated with stride 1: the classes modulo d are separate, each a plain stride-1 map
        block_index, phase = (xi // a.stride, xi % a.stride) if a.mode != "zeros" or a.dilation == 1 else (xi // a.dilation, np.zeros_like(xi))
        factor = np.exp(1j * w * block_index)
        if a.mode == "zeros":
            factor = factor * np.sin(np.pi * (np.arange(a.inputs) + 1) / (a.inputs + 1))
        wave = np.moveaxis(np.moveaxis(wave, k + 1, -1)[..., phase] * factor, -1, k + 1)
    full = np.zeros((len(blocks), *wave.shape))
    full[min(group, len(blocks) - 1)] = wave.real
    return full.reshape(-1, *wave.shape[1:])


def _columns(weight: np.ndarray, plans: list[AxisPlan], z: np.ndarray) -> np.ndarray:
    """z spread over all columns (c_in, phases): those that the symbol left out, being zero, get 0."""
    used = np.zeros((weight.shape[1], *(plan.phases for plan in plans)), dtype=bool)
    taps = np.compress(plans[0].keep, weight, axis=2)
    for k, plan in enumerate(plans[1:], start=1):
        taps = np.compress(plan.keep, taps, axis=k + 2)
    grid = np.ix_(*(plan.phase[plan.keep] for plan in plans))
    np.logical_or.at(used, (slice(None), *grid), taps.any(axis=0))
    out = np.zeros(used.size, dtype=np.complex128)
    flat = used.ravel()
    out[flat if flat.any() else np.arange(used.size) < 1] = z
    return out.reshape(used.shape)
