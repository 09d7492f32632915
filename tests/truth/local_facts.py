"""Are the two claims of a `Local` true of a node? Checked on one node alone, against exact arithmetic."""

from __future__ import annotations

import functools

import numpy as np
from mpmath import mp, mpf
from truth.exact import DIGITS, distance, exact_tensors, size, to_exact


@functools.lru_cache(maxsize=128)
def _output(graph, flat: bytes) -> np.ndarray:
    return exact_tensors(graph, np.frombuffer(flat).reshape(graph.input_shape))["node"]


def exact_output(graph, sample: np.ndarray) -> np.ndarray:
    """The node's exact value, kept for the next norm."""
    return _output(graph, np.ascontiguousarray(sample, dtype=np.float64).tobytes())


def parts_of(graph, flat: np.ndarray) -> list[np.ndarray]:
    """The node's inputs inside the flat input of a `single_node` graph."""
    parts, start = [], 0
    for shape in graph.input_shapes(graph["node"]):
        stop = start + int(np.prod(shape))
        parts.append(flat[start:stop])
        start = stop
    return parts


def combined(local, sizes) -> mpf:
    terms = [mpf(c) * s for c, s in zip(local.constants, sizes, strict=True)]
    if local.combine == "max":
        return max(terms)
    return mp.sqrt(sum(t * t for t in terms)) if local.combine == "root" else mpf(0) + sum(terms)


def stretch(local, graph, first: np.ndarray, second: np.ndarray, norm: str) -> float:
    """|d_out|_p over what claim 1 allows: above 1 is a violation, near 1 means that the constant is attained."""
    with mp.workdps(DIGITS):
        change = exact_output(graph, first) - exact_output(graph, second)
        moved = to_exact(first) - to_exact(second)
        allowed = combined(local, [size(part, norm) for part in parts_of(graph, moved)])
        found = size(change, norm)
        return 0.0 if found == 0 else float(found / allowed) if allowed else float("inf")


def rounding(local, graph, sample: np.ndarray, computed: np.ndarray, norm: str) -> float:
    """|fl(out) - out(v)|_p over what claim 2 allows; computed: the node's float64 value at `sample`."""
    with mp.workdps(DIGITS):
        error = distance(computed, exact_output(graph, sample), norm)
        allowed = mpf(local.absolute) + sum(mpf(r) * size(to_exact(part), norm) for r, part in zip(local.relative, parts_of(graph, sample), strict=True))
        return 0.0 if error == 0 else float(error / allowed) if allowed else float("inf")


def moves(rng: np.random.Generator, graph, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of inputs: one part moved or all, along an axis, a sign vector or any direction, near and far."""
    pairs = []
    for i in range(count):
        first = rng.normal(size=graph.input_shape) * 10 ** rng.uniform(-2, 1)
        step = np.zeros(graph.input_shape)
        parts = parts_of(graph, step)
        for part in [parts[int(rng.integers(len(parts)))]] if i % 2 else parts:
            d = rng.normal(size=part.shape)
            part += [d, np.sign(d), d * (np.arange(len(d)) == rng.integers(len(d))), np.abs(d), np.ones(len(d))][int(rng.integers(5))]
        second = first + step * 10 ** rng.uniform(-3, 1.3)
        if (second != first).any():
            pairs.append((first, second))
    return pairs
