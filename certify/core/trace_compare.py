"""The last step of every trace: the graph is compared with the model on random inputs at another batch size, before anyone asks for a bound.

This is a test, not a proof: it catches a translation that is wrong, a model that is random, and a model that lets one sample of a batch
act on another. Where it can, it names the first node at which the two part.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .errors import InputError, SoundnessError, UnsupportedLayerError
from .evaluate import evaluate
from .graph import Graph, Node
from .trace_emit import brief

BATCH, SMALLER = 5, 3
_SCALES = (1.0, 0.01, 1.0, 30.0, 1000.0)

# Relative to the output, relative to the largest intermediate value: float32 rounding of a deep network, float64 rounding.
_FLOAT32, _FLOAT64, _SOFTPLUS = (1e-3, 1e-5), (1e-9, 1e-12), (1e-6, 1e-7)


def inputs(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    """Five inputs of several sizes, one of them an image in [0, 1]; a generator of its own, so nobody's random numbers move."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((BATCH, *shape), generator=generator, dtype=torch.float64, device="cpu")
    x[2] = torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")
    return (x * torch.tensor(_SCALES, dtype=torch.float64).reshape(-1, *(1,) * len(shape))).to(dtype)


def run(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """model(x) as a tensor (a list or tuple of one tensor counts)."""
    y = model(x.clone())
    y = y[0] if isinstance(y, list | tuple) and len(y) == 1 else y
    return y.detach().clone() if isinstance(y, torch.Tensor) else torch.full((len(x),), torch.nan)


def require_independent_samples(model: nn.Module, x: torch.Tensor, smaller: torch.Tensor) -> torch.Tensor:
    """model(x), after checking against `smaller` = model(x[:3]) that rows neither depend on the other rows nor on chance."""
    try:
        whole = run(model, x)
    except Exception as error:
        found = f"batch {BATCH}: {brief(error)}"
        raise UnsupportedLayerError("the model works for one batch size and fails for another", where="the model", found=found, expected="a batch of any size, axis 0") from error
    if whole.shape[:1] != x.shape[:1] or whole.shape[1:] != smaller.shape[1:]:
        found = f"{tuple(smaller.shape)} for {SMALLER}, {tuple(whole.shape)} for {BATCH}"
        raise UnsupportedLayerError("the output's shape is not (n, ...) for a batch of n", where="output", found=found)
    if not _close(whole[:SMALLER].double().numpy(), smaller.double().numpy(), np.zeros(SMALLER), _FLOAT32):
        again = run(model, x)
        if not _close(again.double().numpy(), whole.double().numpy(), np.zeros(BATCH), _FLOAT32):
            hint = "call model.eval(), or remove the random layer"
            raise InputError("the model is random: the same input gives different outputs", where="the model", expected="a deterministic function", hint=hint)
        raise UnsupportedLayerError("the output of one input depends on the other inputs of the batch", where="the model", expected="a function of each input alone")
    _require_same_alone(model, x, whole)
    return whole


def _require_same_alone(model: nn.Module, x: torch.Tensor, whole: torch.Tensor) -> None:
    """A batch of one gives the values of a larger batch: code that asks `if len(x) == 1` is another function there. A shape may lose its axis (squeeze)."""
    try:
        alone = run(model, x[:1])
    except Exception:  # nothing is claimed about inputs on which the model raises
        return
    if alone.numel() != whole[:1].numel() or not _close(alone.reshape(1, -1).double().numpy(), whole[:1].reshape(1, -1).double().numpy(), np.zeros(1), _FLOAT32):
        found = "another output for a batch of one"
        raise UnsupportedLayerError("the model is another function for another batch size", where="the model", found=found, expected="a function of each input alone")


def compare_with_model(graph: Graph, x: torch.Tensor, expected: torch.Tensor, baked: nn.Module, retrace: Callable[[nn.Module], Graph], differs: Callable[[], str]) -> None:
    """graph(x) against the model as given (float32 tolerance) and against the model in float64 (tight).

    A model that computes with its own weights rounds them in its own dtype, and the graph keeps them so; in float64 they come out a little
    different. Then the float64 model is traced too: that graph must meet it tightly and have the nodes and nearly the numbers of `graph`.

    Args:
        graph: the traced graph; x, expected: a batch and model(x).
        baked: the model with its computed weights replaced by their values; retrace: traces a module in the same way as `graph`.
        differs: names the first node that differs from what the model computed.
    Raises:
        SoundnessError: the graph is not the model.
    """
    largest = np.zeros(len(x))
    values = evaluate(graph, x.double().numpy(), lambda node, value: _grow(largest, value))
    if not np.isfinite(values[0]).all():
        raise InputError("the model overflows or returns NaN on an ordinary input", where="output", found=values[0].ravel()[:3])
    if not _close(values, expected.double().numpy(), largest, _FLOAT32):
        raise _disagreement(values, expected.double().numpy(), differs())
    try:
        double = copy.deepcopy(baked).double()
        exact = run(double, x.double()).double().numpy()
    except Exception:  # a model that insists on float32 somewhere: the comparison above has to do
        return
    softplus = any(node.attrs.get("kind") == "softplus" for node in graph.nodes)  # torch jumps by 2e-9 at its threshold
    tolerance = _SOFTPLUS if softplus else _FLOAT64
    if _close(values, exact, largest, tolerance):
        return
    try:
        twin = retrace(double)
    except Exception as error:
        raise _disagreement(values, exact, differs()) from error
    if not (_alike(graph, twin) and _close(evaluate(twin, x.double().numpy()), exact, largest, tolerance)):
        raise _disagreement(values, exact, differs())


def _alike(a: Graph, b: Graph) -> bool:
    """The same nodes, with numbers that differ by float32 rounding at most."""

    def near(p: Any, q: Any) -> bool:
        if isinstance(p, tuple) and isinstance(q, tuple):
            return len(p) == len(q) and all(near(i, j) for i, j in zip(p, q))
        if isinstance(p, float) and isinstance(q, float) and np.isfinite(p):
            return abs(p - q) <= 1e-4 * max(abs(p), 1e-6)
        return p == q

    def same(m: Node, n: Node) -> bool:
        if (m.name, m.op, m.inputs, m.shape, set(m.attrs), set(m.arrays)) != (n.name, n.op, n.inputs, n.shape, set(n.attrs), set(n.arrays)):
            return False
        arrays = [(m.arrays[k].astype(np.float64), n.arrays[k].astype(np.float64)) for k in m.arrays]
        return all(near(m.attrs[k], n.attrs[k]) for k in m.attrs) and all(p.shape == q.shape and np.abs(p - q).max() <= 1e-4 * np.abs(q).max() + 1e-30 for p, q in arrays)

    return len(a.nodes) == len(b.nodes) and all(same(m, n) for m, n in zip(a.nodes, b.nodes))


def _grow(largest: np.ndarray, value: np.ndarray) -> None:
    np.maximum(largest, np.abs(value.reshape(len(largest), -1)).max(axis=1, initial=0.0), out=largest)


def _close(a: np.ndarray, b: np.ndarray, largest: np.ndarray, tolerance: tuple[float, float]) -> bool:
    """Row by row: |a - b| <= t0 max(|a|, |b|) + t1 largest; entries that overflowed in the model are left out, NaN in one alone is a difference."""
    if a.shape != b.shape:
        return False
    rows = [(p.reshape(len(p), -1)) for p in (a, b)]
    both = np.isfinite(rows[0]) & np.isfinite(rows[1])
    if not (both | (~np.isfinite(rows[1]) & ~np.isnan(rows[0]))).all():
        return False
    p, q = (np.where(both, r, 0.0) for r in rows)
    size = np.maximum(np.abs(p).max(axis=1, initial=0.0), np.abs(q).max(axis=1, initial=0.0))
    gap = np.abs(p - q).max(axis=1, initial=0.0)
    return bool((gap <= tolerance[0] * size + tolerance[1] * largest + 1e-30).all())


def first_difference(graph: Graph, recorded: Sequence[tuple[str, torch.Tensor, int]], sample: torch.Tensor) -> str:
    """The first node whose value on `sample` is not what the model computed there, or ""; `recorded` holds (node, value, version)."""
    known = {name: value for name, value, version in recorded if value._version == version}
    sizes = np.zeros(len(sample))
    first: list[str] = []

    def observe(node: Node, value: np.ndarray) -> None:
        _grow(sizes, value)
        if node.name in known and not first and not _close(value, known[node.name].double().numpy(), sizes, _FLOAT32):
            first.append(f"{node.name} (operator {node.op}, {node.source})")

    evaluate(graph, sample.double().numpy(), observe)
    return first[0] if first else ""


def _disagreement(values: np.ndarray, expected: np.ndarray, first: str) -> SoundnessError:
    gap = float(np.nanmax(np.abs(values - expected))) if values.shape == expected.shape else f"shapes {values.shape} and {expected.shape}"
    return SoundnessError(
        "the traced graph is not the model: they give different outputs on the same inputs",
        where=first or "no single node: the model treats another batch size or another input in another way",
        found=f"largest difference {gap}",
        expected="equal up to rounding",
        hint="look for Python control flow on values or on the batch size, in-place changes and hooks; if a plain model shows this, please report it",
    )
