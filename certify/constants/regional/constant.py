"""Local Lipschitz constants on a ball or a box, by the slopes that the region's boxes leave.

Claim: |N(x) - N(y)|_p <= L |x - y|_p for all x, y in the region. Proof: the region is convex, every z stays in z(x0) + [l, u] (`boxes`), so between two of
its points each block has a slope in the hull of its slopes there (`slopes`, free): the chain with those slopes describes every such pair.
- "sdp" (l2): the semidefinite bound of that chain, proved by `sdp.inequality` (or `sdp.layers` where that matrix would be too large).
- "interval": the chain's Jacobian in midpoint-radius form, and `constants.local.local_constant`; the smaller.
Never above the global constant, which holds everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...core.errors import HypothesisError, InputError, UnsupportedLayerError
from ...core.graph import Graph
from ...core.midrad import full
from ...core.regions import Ball, Box, require_norm
from ...core.rounding import sqrt_up, up
from ..local import global_constant, local_constant
from ..sdp import inequality, layers
from ..sdp.chain import Chain
from ..sdp.interior import InteriorPoint, program_of
from ..sdp.recursion import absolute, closed_form, top
from .boxes import Reach, boxes
from .jacobian import around, jacobian, largest_norm
from .radii import network_of
from .slopes import slopes
from .values import values_of

METHODS = ("sdp", "interval", "auto")
_LARGEST = 3000  # inputs + neurons of one matrix inequality
_ROOMS = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


@dataclass(frozen=True, eq=False)
class RegionalConstant:
    """upper: the constant; method: what gave it ("global" where nothing local was better). lower_box, upper_box: float32 increments of z (entries,) around `center`;
    tau: multipliers of `inequality` per group of all blocks in chain order, 0 for dropped ones; None where the proof is another."""

    upper: float
    method: str
    norm: str
    center: np.ndarray
    lower_box: np.ndarray | None = None
    upper_box: np.ndarray | None = None
    tau: np.ndarray | None = None


def regional_constant(graph: Graph, region: Ball | Box, norm: str = "l2", method: str = "auto", effort: str = "balanced", bound: float | None = None) -> RegionalConstant:
    """The least proved constant on a region.

    Args:
        graph: any graph with a chain (for "sdp") or local rules (for "interval"); region: Ball (any norm) or Box with finite ends, of the input's shape.
        norm: in which distances are measured; "sdp" is for l2. bound: the global constant where it is known, else the product's.
        effort: "fast" takes the closed form, "balanced" and "tight" search by interior point.
    Raises:
        InputError: an unknown word, "sdp" in another norm, a region of another shape or unbounded. UnsupportedLayerError: method "sdp" or "interval" and an operator without it.
    Cost: the boxes, and the semidefinite bound of the neurons that the region leaves open.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (1,)})
    >>> h = b.add("activation", [b.add("dense", [x], arrays={"weight": np.array([[3.0], [-5.0]])})], {"kind": "relu"})
    >>> net = b.build(b.add("dense", [h], arrays={"weight": np.ones((1, 2))}))
    >>> bool(3 <= regional_constant(net, Ball([2.0], 1.0)).upper < 3.001)          # the second neuron is off
    True
    """
    require_norm(norm)
    if method not in METHODS or (method == "sdp" and norm != "l2"):
        raise InputError(
            "unknown method of a local constant, or one that is not for this norm",
            where="argument method",
            found=f"{method!r} in {norm}",
            expected="'sdp' (l2), 'interval', 'auto'",
        )
    center = _reach(graph, region)[0]
    best = RegionalConstant(global_constant(graph, norm) if bound is None else float(bound), "global", norm, center)
    for name in ("interval", "sdp"):
        if method in (name, "auto") and (name == "interval" or norm == "l2"):
            try:
                found = _interval(graph, region, norm) if name == "interval" else _semidefinite(graph, region, effort)
            except (UnsupportedLayerError, HypothesisError):
                if method == name:
                    raise
                continue
            best = min([best, *found], key=lambda c: c.upper)
    return best


def _reach(graph: Graph, region: Ball | Box) -> tuple[np.ndarray, Reach]:
    """Center and extent of a region of the input's shape."""
    first = np.asarray(region.center if isinstance(region, Ball) else region.lower)
    shape = graph.input_shape
    if first.shape != shape and first.shape != (math.prod(shape),):
        raise InputError("the region has another shape than the network's input", where="argument region", found=first.shape, expected=shape)
    if isinstance(region, Ball):
        return first.reshape(shape), Reach(region.norm, np.array([region.radius]))
    lower, upper = first.reshape(shape), np.asarray(region.upper).reshape(shape)
    if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise InputError("a local constant needs a bounded region", where="argument region")
    center = np.clip(0.5 * lower + 0.5 * upper, lower, upper)
    halves = up(np.maximum(upper - center, center - lower)).reshape(1, -1)
    return center, Reach("linf", halves.max(axis=1), halves)


def _open(graph: Graph, region: Ball | Box) -> tuple[np.ndarray, np.ndarray, np.ndarray, Chain]:
    """Center, boxes and the chain of a region."""
    network = network_of(graph)
    center, reach = _reach(graph, region)
    z = values_of(graph, network.parts, network.chain.blocks, center[None])
    low, high, _ = boxes(network.form, z, reach)
    ends = slopes(network.form, z, (low, high), anchored=False)
    return center, low[0], high[0], network.form.chain(ends[0][0], ends[1][0])


def _interval(graph: Graph, region: Ball | Box, norm: str) -> list[RegionalConstant]:
    found = [RegionalConstant(local_constant(graph, region, norm), "interval", norm, np.zeros(0))]
    try:
        center, low, high, chain = _open(graph, region)
    except (UnsupportedLayerError, HypothesisError):
        return found
    return [*found, RegionalConstant(largest_norm(jacobian(chain), norm), "interval", norm, center, low, high)]


def _semidefinite(graph: Graph, region: Ball | Box, effort: str) -> list[RegionalConstant]:
    center, low, high, chain = _open(graph, region)
    reduced, alive = chain.reduced()
    if not reduced.layers:  # no slope is open: a matrix
        return [RegionalConstant(largest_norm(around(reduced.last), "l2"), "sdp", "l2", center, low, high)]
    us, exponents, metric = closed_form(reduced)
    proved = layers.prove(reduced, us)
    found = [RegionalConstant(layers.whole_bound(proved.metrics[-1], reduced.last), "sdp", "l2", center, low, high)]
    size = reduced.input_size + reduced.neurons
    if effort != "fast" and size <= _LARGEST:
        c = full(reduced.last.mid)
        square = top(c @ metric @ c.T) * 4.0 ** (-sum(exponents))
        if not (square > 0 and math.isfinite(square)):
            return found
        program = program_of(reduced)
        program.output = program.output / math.sqrt(square)
        reached = InteriorPoint(program).solve(1.5 / (np.concatenate(absolute(us, exponents)) * 1.02), 1.5)
        if reached is not None:
            taus = np.split(reached.tau * square, np.cumsum([layer.groups for layer in reduced.layers])[:-1])
            value = inequality.least(reduced, [sqrt_up(reached.rho * square) * (1 + room) for room in _ROOMS], taus)
            if value is not None:
                tau = np.zeros(sum(len(a) for a in alive))
                tau[np.concatenate(alive)] = np.concatenate(taus)
                found.append(RegionalConstant(value, "sdp", "l2", center, low, high, tau))
    return found
