"""Honest evidence by lines and its value, from the text of the evidence format alone (certify.norms.base): loops, dense matrices, NumPy singular values."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from strategies.layers import Layer


@dataclass(frozen=True)
class AxisPlan:
    """One axis after steps 1 and 2: taps of the kernel that stay, stride, and (n', p', m') of each dilation class."""

    live: range
    stride: int
    classes: tuple[tuple[int, int, int], ...]

    @property
    def shifts(self) -> int:
        return -(-len(self.live) // self.stride)

    @cached_property
    def least(self) -> int:
        s, k = self.stride, len(self.live)
        return max(max(math.ceil((n + p) / s), math.ceil((s * (m - 1) - p + k) / s), m, 1) for n, p, m in self.classes)


class Reference:
    """The convolution behind a zero-padded conv or conv_transpose layer, weights scaled by 2^-exponent as the checker does; None-like (`dead`) without live taps."""

    def __init__(self, layer: Layer):
        node = layer.graph["layer"]
        inputs, outputs = (layer.spatial, node.shape[1:]) if layer.op == "conv" else (node.shape[1:], layer.spatial)
        w = layer.weight.reshape(layer.groups, layer.weight.shape[0] // layer.groups, *layer.weight.shape[1:])
        self.plans, self.dead = [], False
        for i, (n, m) in enumerate(zip(inputs, outputs)):
            k, s, d, p = layer.weight.shape[2 + i], layer.stride[i], layer.dilation[i], layer.padding[i][0]
            live = [t for t in range(k) if any(0 <= s * o - p + d * t < n for o in range(m))]
            if not live:
                self.dead = True
                return
            w = w * np.array([t in live for t in range(k)]).reshape(-1, *(1,) * (layer.weight.ndim - 3 - i))
            self.plans.append(_plan(n, m, s, d, p - d * live[0], range(live[0], live[-1] + 1)))
        for i, plan in enumerate(self.plans):
            w = w.take(np.array(plan.live), axis=3 + i)
        self.dead = not w.any()
        self.exponent = math.frexp(float(np.abs(w).max()))[1]
        self.weight = np.ldexp(w, -self.exponent)

    @property
    def dims(self) -> int:
        return len(self.plans)

    def taps(self, group: int, outer: dict[int, float], inner: int) -> np.ndarray:
        """K_w[t], (k, a, b times outer phases): the kernel with its outer axes summed up at the frequencies `outer`."""
        w = self.weight[group]
        others = [i for i in range(self.dims) if i != inner]
        strides = [self.plans[i].stride for i in others]
        out = np.zeros((len(self.plans[inner].live), w.shape[0], w.shape[1], *strides), dtype=complex)
        for t in np.ndindex(*w.shape[2:]):
            phase = np.exp(1j * sum(outer[i] * (t[i] // self.plans[i].stride) for i in others))
            out[(t[inner], slice(None), slice(None), *(t[i] % self.plans[i].stride for i in others))] += phase * w[(slice(None), slice(None), *t)]
        return out.reshape(len(out), w.shape[0], -1)

    def on_grid(self, taps: np.ndarray, inner: int, n: int, theta: float) -> float:
        """max over k < n of ||F(w_outer, (2 pi k + theta) / n)||."""
        s, best = self.plans[inner].stride, 0.0
        for k in range(n):
            f = np.zeros((taps.shape[1], taps.shape[2] * s), dtype=complex)
            for t, tap in enumerate(taps):
                f[:, (t % s) * taps.shape[2] : (t % s + 1) * taps.shape[2]] += tap * np.exp(1j * (2 * np.pi * k + theta) / n * (t // s))
            best = max(best, float(np.linalg.norm(f, 2)))
        return best

    def section(self, taps: np.ndarray, inner: int, which: int) -> np.ndarray:
        """B(w_outer) of one class of the inner axis, dense."""
        (n, p, m), s = self.plans[inner].classes[which], self.plans[inner].stride
        b = np.zeros((m, taps.shape[1], n, taps.shape[2]), dtype=complex)
        for o, x in np.ndindex(m, n):
            if 0 <= x - s * o + p < len(taps):
                b[o, :, x, :] = taps[x - s * o + p]
        return b.reshape(m * taps.shape[1], -1)

    def values(self, verify: dict) -> np.ndarray:
        """Per line the largest norm over groups (and classes): the evidence claims their maximum."""
        inner = verify["inner"]
        points = outer_points(verify["period"], verify["twist"], inner)
        result = np.zeros(len(points))
        for g, (i, w), in itertools.product(range(len(self.weight)), enumerate(points)):
            n, t = verify["lines"][i]
            taps = self.taps(g, w, inner)
            found = self.on_grid(taps, inner, n, np.pi * t / 4) if n else max(float(np.linalg.norm(self.section(taps, inner, c), 2)) for c in range(len(self.plans[inner].classes)))
            result[i] = max(result[i], found)
        return result


def _plan(n: int, m: int, s: int, d: int, p: int, live: range) -> AxisPlan:
    e = math.gcd(s, d)
    c0 = (-p) % e
    n, p, s, d = math.ceil((n - c0) / e), (p + c0) // e, s // e, d // e
    classes = []
    for rho in range(d):
        q, c = divmod(s * rho - p, d)
        if n > c and m > rho:
            classes.append((math.ceil((n - c) / d), -q, math.ceil((m - rho) / d)))
    return AxisPlan(live, s, tuple(classes))


def outer_points(period, twist, inner: int) -> list[dict[int, float]]:
    """The frequencies of the outer grid in the order of the lines: row-major, of each conjugate pair the one with the lower flat index."""
    others = [i for i in range(len(period)) if i != inner]
    points = []
    for k in itertools.product(*(range(period[i]) for i in others)):
        q = [2 * x + twist[i] for x, i in zip(k, others)]
        flat, opposite = 0, 0
        for x, i in zip(q, others):
            flat, opposite = flat * 2 * period[i] + x % (2 * period[i]), opposite * 2 * period[i] + (-x) % (2 * period[i])
        if flat <= opposite:
            points.append({i: math.pi * x / period[i] for x, i in zip(q, others)})
    return points


def honest(reference: Reference, rng: np.random.Generator, exact: float = 0.4, inner: int | None = None) -> dict:
    """Random evidence within the rules; `exact` is the share of exact sections."""
    inner = int(rng.integers(reference.dims)) if inner is None else inner
    period, twist = [], []
    for i, plan in enumerate(reference.plans):
        free = i != inner and plan.shifts > 1
        period.append(plan.least + int(rng.integers(3)) * int(rng.integers(2)) if free else 1)
        twist.append(int(rng.integers(2)) if free else 0)
    plan, lines = reference.plans[inner], []
    for _ in outer_points(period, twist, inner):
        if rng.random() < exact:
            lines.append([0, 0])
        else:
            lines.append([plan.least + int(rng.integers(3)), int(rng.integers(8))] if plan.shifts > 1 else [1, 0])
    return {"by": "lines", "inner": inner, "period": period, "twist": twist, "lines": lines}
