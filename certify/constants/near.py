"""Both ends of a Lipschitz constant on a region: the upper one by `regional`, the lower one by pairs inside the region, replayed rigorously."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import HypothesisError, InputError, UnsupportedLayerError
from ..core.fold import fold_affine
from ..core.graph import Graph
from ..core.regions import Ball, Box
from ..core.rounding import U, div_down, norm_down, norm_up, up
from .certificate import LipschitzCertificate
from .lower import Witness
from .product import walk

if TYPE_CHECKING:
    from .regional.constant import RegionalConstant

METHODS = ("auto", "sdp", "interval")
_COUNT = {"fast": 24, "balanced": 96, "tight": 400}
_POWERS = {"fast": 4, "balanced": 10, "tight": 20}
_REPLAYED = 12


def regional_certificate(graph: Graph, region: Ball | Box, norm: str, method: str, effort: str, lower: bool = True) -> LipschitzCertificate:
    """`certify.lipschitz` with a region: |N(x) - N(y)|_p <= upper |x - y|_p for all x, y in the region.

    Raises:
        InputError: a region of another type, shape or without bounds. HypothesisError: a method that is not for regions or norms.
        UnsupportedLayerError: an operator that the method has no rule for.
    """
    from .regional.constant import regional_constant

    start = time.perf_counter()
    if not isinstance(region, Ball | Box):
        raise InputError("a region is a Ball or a Box", where="argument region", found=type(region).__name__, expected="certify.Ball or certify.Box")
    if method not in METHODS:
        hint = "leave region out: the global constant holds on every region"
        raise HypothesisError("this method is not for regions", where="argument method", found=repr(method), expected=", ".join(map(repr, METHODS)), hint=hint)
    folded = fold_affine(graph).pruned()
    try:
        steps = tuple(walk(folded, norm, "fast"))
    except UnsupportedLayerError:  # no global constant: the region's may exist
        steps = ()
    bound = None if not steps else steps[-1].running
    found: RegionalConstant = regional_constant(folded, region, norm, method, effort, bound)
    if not np.isfinite(found.upper):
        raise UnsupportedLayerError("no finite constant was found on this region", where=f"{type(region).__name__}, norm {norm}", found=found.upper, hint="a smaller region")
    witness = lower_in(folded, region, norm, effort) if lower else Witness(0.0)
    evidence = {"by": found.method, "region": type(region).__name__}
    return LipschitzCertificate(witness.value, found.upper, norm, found.method, steps, graph, witness, evidence, time.perf_counter() - start, found, region)


def lower_in(graph: Graph, region: Ball | Box, norm: str, effort: str, seed: int = 0) -> Witness:
    """The best proved difference quotient of a seeded search among pairs inside the region."""
    import torch

    from .ascent import Search, steepest
    from .local import enclose_points

    rng, shape = np.random.default_rng(seed), graph.input_shape
    points = torch.as_tensor(_points(region, shape, _COUNT[effort], rng))
    search = Search(graph, norm)
    v = steepest(torch.as_tensor(rng.standard_normal(points.shape)), points, norm)
    v = search.power(points, v, _POWERS[effort], time.perf_counter() + 10.0)
    extent = float(np.max(_extent(region)))
    pairs = [np.stack([(points - t * extent * v).numpy(), (points + t * extent * v).numpy()]) for t in (1e-6, 1e-3, 1e-1, 1.0)]
    first, second = (_inside(region, p.reshape(-1, *shape)) for p in np.concatenate(pairs, axis=1))
    if not extent > 0:
        return Witness(0.0)
    order = {"l2": 2, "linf": np.inf, "l1": 1}[norm]
    with np.errstate(all="ignore"):
        change = (graph(first) - graph(second)).reshape(len(first), -1)
        estimates = np.linalg.norm(change, order, axis=1) / np.linalg.norm((first - second).reshape(len(first), -1), order, axis=1)
    best = Witness(0.0)
    chosen = np.argsort(-np.nan_to_num(estimates, nan=-1.0, posinf=-1.0), kind="stable")[:_REPLAYED]
    lows, highs = enclose_points(graph, np.concatenate([first[chosen], second[chosen]]))
    for place, i in enumerate(chosen):
        other = place + len(chosen)
        gap = np.maximum(np.maximum(lows[place] - highs[other], lows[other] - highs[place]), 0.0) * (1 - 4 * U)
        moved = up(norm_up(first[i] - second[i], norm) * (1 + 4 * U))
        value = div_down(norm_down(gap, norm), moved) if moved > 0 and np.isfinite(gap).all() else 0.0
        if value > best.value and _contains(region, first[i]) and _contains(region, second[i]):
            best = Witness(value, first[i].copy(), second[i].copy())
    return best


def _extent(region: Ball | Box) -> np.ndarray:
    return np.array([region.radius]) if isinstance(region, Ball) else (0.5 * region.upper - 0.5 * region.lower).ravel()


def _points(region: Ball | Box, shape: tuple[int, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    if isinstance(region, Box):
        return (region.lower + rng.random((count, *region.lower.shape)) * (region.upper - region.lower)).reshape(count, *shape)
    moves = rng.standard_normal((count, region.center.size))
    order = {"l2": 2, "linf": np.inf, "l1": 1}[region.norm]
    lengths = np.linalg.norm(moves, order, axis=1, keepdims=True)
    moves *= region.radius * rng.random((count, 1)) / np.maximum(lengths, 1e-300)
    moves[0] = 0.0
    return (region.center.ravel() + moves).reshape(count, *shape)


def _inside(region: Ball | Box, points: np.ndarray) -> np.ndarray:
    """Points moved into the region."""
    if isinstance(region, Box):
        return np.clip(points, region.lower.reshape(points.shape[1:]), region.upper.reshape(points.shape[1:]))
    center = region.center.reshape(points.shape[1:])
    moves = (points - center).reshape(len(points), -1)
    order = {"l2": 2, "linf": np.inf, "l1": 1}[region.norm]
    lengths = np.linalg.norm(moves, order, axis=1, keepdims=True)
    moves = moves * np.minimum(1.0, (1 - 1e-12) * region.radius / np.maximum(lengths, 1e-300))
    return center + moves.reshape(points.shape)


def _contains(region: Ball | Box, point: np.ndarray) -> bool:
    """Proved membership."""
    if isinstance(region, Box):
        return bool((region.lower.reshape(point.shape) <= point).all() and (point <= region.upper.reshape(point.shape)).all())
    return bool(up(norm_up(point - region.center.reshape(point.shape), region.norm) * (1 + 4 * U)) <= region.radius)
