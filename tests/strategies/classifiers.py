"""Small classifiers as Graphs, with an exact rational twin where there is one: what the robustness tests certify and attack."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from certify.core.graph import Graph, GraphBuilder

NORMS = ("l2", "linf", "l1")


def linear(weight, bias=None) -> Graph:
    """z = W x + b."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (np.shape(weight)[1],)}, name="x")
    arrays = {"weight": np.asarray(weight, dtype=np.float64)}
    if bias is not None:
        arrays["bias"] = np.asarray(bias, dtype=np.float64)
    return b.build(b.add("dense", [x], arrays=arrays, name="fc"))


def mlp(rng: np.random.Generator, sizes, kind: str = "relu", scale: float = 1.0, tail: str = "", **attrs) -> Graph:
    """Dense layers with an activation between them; `tail` appends a softmax, log_softmax or activation."""
    b = GraphBuilder()
    node = b.add("input", attrs={"shape": (sizes[0],)}, name="x")
    for i, (m, n) in enumerate(zip(sizes, sizes[1:])):
        arrays = {"weight": scale * rng.standard_normal((n, m)) / np.sqrt(m), "bias": scale * 0.3 * rng.standard_normal(n)}
        node = b.add("dense", [node], arrays=arrays, name=f"fc{i}")
        if i < len(sizes) - 2:
            node = b.add("activation", [node], {"kind": kind, **attrs}, name=f"act{i}")
    if tail in ("softmax", "log_softmax"):
        node = b.add(tail, [node], {"axis": 0}, name="tail")
    elif tail:
        node = b.add("activation", [node], {"kind": tail}, name="tail")
    return b.build(node)


def convnet(rng: np.random.Generator, channels: int = 3, size: int = 6, classes: int = 4, pool: bool = True) -> Graph:
    """Two convolutions (the second with stride 2), a max pool, one dense layer."""
    b = GraphBuilder()
    node = b.add("input", attrs={"shape": (1, size, size)}, name="x")
    for i, (c_in, stride) in enumerate(((1, 1), (channels, 2))):
        weight = rng.standard_normal((channels, c_in, 3, 3)) / np.sqrt(9 * c_in)
        node = b.add(
            "conv",
            [node],
            {"stride": (stride, stride), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1, "mode": "zeros"},
            {"weight": weight, "bias": 0.1 * rng.standard_normal(channels)},
            name=f"conv{i}",
        )
        node = b.add("activation", [node], {"kind": "relu"}, name=f"act{i}")
    if pool:
        node = b.add("max_pool", [node], {"kernel": (2, 2), "stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}, name="pool")
    count = int(np.prod(b[node].shape))
    node = b.add("reshape", [node], {"shape": (count,)}, name="flat")
    return b.build(b.add("dense", [node], arrays={"weight": rng.standard_normal((classes, count)) / np.sqrt(count)}, name="fc"))


@st.composite
def linear_problems(draw):
    """(weight, bias, inputs, labels): few classes, weights with repeated rows and ties now and then, any scale."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes, size, count = draw(st.integers(2, 5)), draw(st.integers(1, 6)), draw(st.integers(1, 4))
    whole = draw(st.booleans())  # small integers: exact margins, ties happen
    weight = rng.integers(-3, 4, (classes, size)).astype(float) if whole else rng.standard_normal((classes, size))
    inputs = rng.integers(-3, 4, (count, size)).astype(float) if whole else rng.standard_normal((count, size))
    bias = rng.integers(-2, 3, classes).astype(float) if whole else rng.standard_normal(classes)
    if draw(st.booleans()):
        weight[draw(st.integers(0, classes - 1))] = weight[0]
    scale = 10.0 ** draw(st.integers(-30, 30))
    return weight * scale, bias * scale, inputs, rng.integers(0, classes, count)


def exact_margins(weight, bias, x, label) -> list[Fraction]:
    """z_label - z_j for every j, of the linear classifier, as rationals."""
    z = [sum((Fraction(float(w)) * Fraction(float(v)) for w, v in zip(row, x)), Fraction(float(b))) for row, b in zip(weight, bias)]
    return [z[label] - v for v in z]


def inside_exact_radius(radius: float, weight, margins, label: int, norm: str) -> bool:
    """Whether radius <= min_j margin_j / |w_label - w_j|_q holds in rationals (the exact radius of a linear classifier)."""
    r = Fraction(float(radius)) if np.isfinite(radius) else None
    for j, margin in enumerate(margins):
        if j == label:
            continue
        difference = [abs(Fraction(float(a)) - Fraction(float(c))) for a, c in zip(weight[label], weight[j])]
        if r is None:  # an infinite radius: no input may change the order
            if any(difference) or margin <= 0:
                return False
            continue
        if r > 0 and margin <= 0:
            return False
        size = {"l2": lambda d: sum(v * v for v in d), "linf": sum, "l1": max}[norm](difference)
        if (r * r * size > margin * margin) if norm == "l2" else (r * size > margin):
            return bool(r == 0)
    return True
