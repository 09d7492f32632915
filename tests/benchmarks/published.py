"""Our own straightforward implementations of published layer norms, to measure against; nothing here is used by the library.

They follow the papers, with what any careful author would do: groups apart, stride by polyphase where the paper allows it, the transform of a small
kernel as one matrix product (faster than an FFT of a padded one), half the spectrum, the smaller Gram side, cache-sized chunks. Their values carry no
rounding analysis; power iterations are estimates that may end below the truth, and a circular value is no bound for zero padding.

    fantastic_four   Singla & Feizi, Fantastic Four, ICLR 2021
    tensor_norm      Grishina, Gorbunov & Rakhuba, Tight and efficient upper bound on spectral norm of convolutional layers, ECCV 2024
    gram_circular    Delattre et al., Efficient bound of Lipschitz constant for convolutional layers by Gram iteration, ICML 2023
    fourier_svd      Sedghi, Gupta & Long, ICLR 2019; strided: Senderovich et al., NeurIPS 2022
    power_iteration  Ryu et al., Plug-and-play methods provably converge with properly trained denoisers, ICML 2019
    dense_gram       Delattre et al. 2023, for one matrix
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

BACKENDS = ("numpy", "torch")
_CHUNK = 1 << 23  # bytes of one stack of complex matrices: it stays in the cache


@dataclass(frozen=True)
class Convolution:
    """What a published method looks at: weight (groups, rows, columns, *kernel), and per axis input size, stride, dilation. Padding is not seen."""

    weight: np.ndarray
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def of(cls, layer: nn.Module, shape: Sequence[int]) -> Convolution:
        """From a torch layer (or a padding layer and a convolution) and the input shape of one sample; a transposed one is read as its adjoint."""
        size = tuple(shape[1:])
        if isinstance(layer, nn.Sequential):
            layer = next(part for part in layer if hasattr(part, "weight"))
        elif layer.transposed:
            with torch.no_grad():
                size = tuple(layer(torch.zeros(1, *shape, dtype=layer.weight.dtype)).shape[2:])
        weight = layer.weight.detach().double().numpy()
        return cls(weight.reshape(layer.groups, -1, *weight.shape[1:]), size, layer.stride, layer.dilation)

    @property
    def axes(self) -> int:
        return len(self.size)


def polyphase(conv: Convolution, stride: Sequence[int], dilation: Sequence[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """(R, shifts): tap t of an axis goes to phase (d t) mod s of the columns and to the shift (d t) // s; R is (groups, rows, columns prod s, *J)."""
    shifts, index, phase = [], [], []
    for k, s, d in zip(conv.weight.shape[3:], stride, dilation):
        position = d * np.arange(k)
        values, inverse = np.unique(position // s, return_inverse=True)
        shifts.append(values)
        index.append(inverse)
        phase.append(position % s)
    g, a, b = conv.weight.shape[:3]
    out = np.zeros((g, a, b, *stride, *(len(v) for v in shifts)))
    out[(..., *np.ix_(*phase), *np.ix_(*index))] = conv.weight
    out = out.reshape(g, a, -1, *(len(v) for v in shifts))
    used = out.any(axis=(0, 1, *range(3, out.ndim)))  # phases that a 1x1 kernel never meets
    return out[:, :, used] if used.any() else out[:, :, :1], shifts


def undilated(conv: Convolution) -> np.ndarray:
    """R of a zero-padded layer: a dilation that the stride does not divide away permutes pixels only."""
    common = [math.gcd(s, d) for s, d in zip(conv.stride, conv.dilation)]
    return polyphase(conv, [s // c for s, c in zip(conv.stride, common)], [1] * conv.axes)[0]


def fantastic_four(conv: Convolution, steps: int = 50, seed: int = 0) -> float:
    """sqrt(prod J) min over the 2^D unfoldings of their norms, each by `steps` power iterations from a random start: an estimate of an upper bound."""
    taps = undilated(conv)
    rng = np.random.default_rng(seed)
    axes = [k for k in range(conv.axes) if taps.shape[3 + k] > 1]  # an axis with one shift makes no difference
    best = math.inf
    for chosen in itertools.chain.from_iterable(itertools.combinations(axes, r) for r in range(len(axes) + 1)):
        others = [k for k in range(conv.axes) if k not in chosen]
        order = (0, 1, *(3 + k for k in chosen), 2, *(3 + k for k in others))
        rows = taps.shape[1] * math.prod(taps.shape[3 + k] for k in chosen)
        unfolding = np.ascontiguousarray(taps.transpose(order)).reshape(len(taps), rows, -1)
        best = min(best, _power(unfolding, steps, rng))
    return math.sqrt(math.prod(taps.shape[3:])) * best


def _power(stack: np.ndarray, steps: int, rng: np.random.Generator) -> float:
    """Largest norm of a stack (n, rows, columns) after `steps` power iterations."""
    v = rng.standard_normal((len(stack), stack.shape[2], 1))
    left = stack.transpose(0, 2, 1)
    value = np.zeros((len(stack), 1, 1))
    for _ in range(steps):
        v = _unit(v)[0]
        u, value = _unit(stack @ v)
        v = left @ u
    return float(max(value.max(), np.linalg.norm(v, axis=1).max()))  # ||W'u|| of a unit u is the later, larger quotient


def _unit(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = np.sqrt(np.einsum("...i,...i->...", v.swapaxes(-1, -2), v.swapaxes(-1, -2).conj()).real)[..., None]
    return v / np.where(size > 0, size, 1.0), size


def tensor_norm(conv: Convolution, steps: int = 100, seed: int = 0) -> float:
    """sqrt(prod J) times the spectral norm of the kernel as a complex (rows, columns, *J) tensor, by `steps` alternating power steps from a random
    start. The exact tensor norm gives a bound; the iteration may stall at a local maximum below it.
    """
    taps = undilated(conv)
    (g, a, b), degrees = taps.shape[:3], taps.shape[3:]
    rng = np.random.default_rng(seed)
    flat, wide = taps.reshape(g, a * b, -1), taps.reshape(g, a, -1)
    waves = [_random(rng, g, j) for j in degrees]
    u, v, sigma = _random(rng, g, a), _random(rng, g, b), np.zeros(g)
    for _ in range(steps):
        w = waves[0]
        for wave in waves[1:]:
            w = (w[:, :, None] * wave[:, None, :]).reshape(g, -1)
        matrix = _times(flat, w).reshape(g, a, b)
        u = _direction((matrix @ v[:, :, None])[:, :, 0])[0]
        v = _direction((u[:, None] @ matrix)[:, 0])[0]
        rest = _times(wide.transpose(0, 2, 1), u).reshape(g, b, -1)
        kernel = (v[:, None] @ rest)[:, 0].reshape(g, *degrees)
        for k in range(len(degrees)):
            part = kernel
            for other in range(len(degrees) - 1, -1, -1):
                if other != k:
                    shape = [g, *(1,) * len(degrees)]
                    shape[1 + other] = degrees[other]
                    part = (part * waves[other].reshape(shape)).sum(1 + other, keepdims=True)
            waves[k], sigma = _direction(part.reshape(g, -1))
    return float(sigma.max()) * math.sqrt(math.prod(degrees))


def _random(rng: np.random.Generator, g: int, n: int) -> np.ndarray:
    return _direction(rng.standard_normal((g, n)) + 1j * rng.standard_normal((g, n)))[0]


def _direction(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Conjugated unit vectors and sizes of (g, n)."""
    size = np.sqrt((v.real**2 + v.imag**2).sum(1))
    return v.conj() / np.where(size > 0, size, 1.0)[:, None], size


def _times(real: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(g, m, n) real times (g, n) complex: the real and imaginary part are two columns of one product."""
    out = real @ np.ascontiguousarray(v).view(np.float64).reshape(*v.shape, 2)
    return np.ascontiguousarray(out).view(np.complex128)[..., 0]


def stacks(taps: np.ndarray, shifts: list[np.ndarray], period: Sequence[int]) -> Iterator[np.ndarray]:
    """F(2 pi k / period) on half the spectrum, (frequencies * groups, rows, columns) complex in chunks: shifts beyond the period fold by themselves."""
    g, a, b = taps.shape[:3]
    at = np.array(list(itertools.product(*shifts)))
    half = [range(n) for n in period[:-1]] + [range(period[-1] // 2 + 1)]
    points = np.array(list(itertools.product(*half)))
    flat = np.ascontiguousarray(np.moveaxis(taps.reshape(g, a, b, -1), 3, 0)).reshape(len(at), -1)
    step = max(1, _CHUNK // (16 * g * a * b))
    for start in range(0, len(points), step):
        phase = np.exp(2j * np.pi * ((points[start : start + step] / np.array(period)) @ at.T))
        out = np.empty((len(phase), flat.shape[1]), dtype=np.complex128)
        out.real, out.imag = phase.real @ flat, phase.imag @ flat
        yield out.reshape(-1, a, b)


def gram_circular(conv: Convolution, backend: str = "numpy", steps: int = 6) -> float:
    """Gram iteration on the stride-1 circular map of the input size n, `steps` products per frequency: max ||G_T||_F^(2^-T)."""
    taps, shifts = polyphase(conv, [1] * conv.axes, conv.dilation)
    return max(_gram(part, backend, steps) for part in stacks(taps, shifts, conv.size))


def _gram(stack: np.ndarray, backend: str, steps: int) -> float:
    """Largest Gram bound of a stack of real or complex matrices."""
    rows_first = stack.shape[1] <= stack.shape[2]
    current = stack if backend == "numpy" else torch.from_numpy(stack)
    scale = np.zeros(len(stack))
    for step in range(steps + 1):
        size = _frobenius(current) if backend == "numpy" else torch.linalg.vector_norm(current, dim=(1, 2)).numpy()
        if step == 0 and not size.any():
            return 0.0
        divisor = np.where(size > 0, size, 1.0)
        scale = 2 * scale + np.log(divisor) - np.where(size > 0, 0.0, np.inf)  # a frequency without weights counts for nothing
        if step == steps:
            break
        current = current / (divisor[:, None, None] if backend == "numpy" else torch.from_numpy(divisor)[:, None, None])
        adjoint = current.mH if backend == "torch" else np.swapaxes(current.conj() if np.iscomplexobj(current) else current, 1, 2)
        current = current @ adjoint if rows_first else adjoint @ current
    return float(np.exp(scale.max() / 2**steps))


def _frobenius(stack: np.ndarray) -> np.ndarray:
    flat = np.ascontiguousarray(stack).reshape(len(stack), -1).view(np.float64)
    return np.sqrt(np.einsum("ni,ni->n", flat, flat))


def fourier_svd(conv: Convolution, backend: str = "numpy") -> float:
    """Largest singular value over the frequencies of the strided circular map (period n / s, rounded up): exact for circular padding with s | n."""
    taps, shifts = polyphase(conv, conv.stride, conv.dilation)
    period = [-(-n // s) for n, s in zip(conv.size, conv.stride)]
    return max(_svd(part, backend) for part in stacks(taps, shifts, period))


def _svd(stack: np.ndarray, backend: str) -> float:
    values = np.linalg.svd(stack, compute_uv=False) if backend == "numpy" else torch.linalg.svdvals(torch.from_numpy(stack)).numpy()
    return float(values.max())


def dense_gram(matrix: np.ndarray, backend: str = "numpy", steps: int = 10) -> float:
    """Gram iteration on one matrix; numpy takes the symmetric product (half the work)."""
    return _gram(matrix[None], backend, steps)


def dense_svd(matrix: np.ndarray, backend: str = "numpy") -> float:
    """Largest singular value, without vectors."""
    return _svd(matrix[None], backend)


def power_iteration(layer: nn.Module, shape: Sequence[int], steps: int = 100, seed: int = 0) -> float:
    """||A v|| / ||v|| after `steps` power iterations on A'A through the layer itself, in its own precision: below the truth, always."""
    dtype = next(layer.parameters()).dtype
    v = torch.randn(1, *shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    for _ in range(steps):
        v = (v / v.norm()).requires_grad_()
        y = layer(v)
        (v,) = torch.autograd.grad(y, v, y.detach())
    with torch.no_grad():
        return float(layer(v).norm() / v.norm())
