"""Bounds on the Hessian of logit differences and of single outputs: the search, the proof, and the simpler bounds they are intersected with."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...core.activation import activation_of
from ...core.errors import HypothesisError, UnsupportedLayerError
from ...core.fold import fold_affine
from ...core.graph import Graph
from ...core.rounding import up
from ..sdp.chain import Chain, chain_of
from .gradients import gradient_ranges
from .joint import Joint, Pieces, weights
from .majorants import Majorant, majorants
from .product import product_curvatures
from .search import Search

SINGLE = 400  # neurons: up to here every row gets its own program
_MORE = 1.0 + 1e-8  # room for the checker, whose matrix has other last bits
_ROOMS = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


@dataclass(frozen=True, eq=False)
class CurvatureBounds:
    """Hess(z_i - z_j) >= -lower[i, j] I, and so <= lower[j, i] I = upper[i, j] I, everywhere; z the `tensor`.

    taus (k, k, neurons): the multipliers that prove lower[i, j] (zeros on the diagonal; every activation entry of the chain before its last
    layer and in it, in chain order; 0 where none is needed).
    """

    tensor: str
    lower: np.ndarray
    taus: np.ndarray
    seconds: float = 0.0

    @property
    def upper(self) -> np.ndarray:
        return self.lower.T


def curvature_bounds(graph: Graph, classes: np.ndarray | None = None, tolerance: float = 1e-4, budget: float = math.inf) -> CurvatureBounds:
    """Bound the Hessian of every difference of two outputs of a smooth network, on the whole input space.

    Claim: for all i != j and all x, Hess (N_i - N_j)(x) >= -lower[i, j] I (for activations whose second derivative jumps, CELU and ELU(1): N_i - N_j +
    lower[i, j] |x|^2 / 2 is convex). Exact real arithmetic, the stored weights.

    Args:
        graph: a network with one flat output of k >= 2 entries (a head's graph: logits); activations with a finite curvature range.
        classes: pairs (i, j) with i among these only; the others get lower = inf. None: all.
        tolerance: relative gap at which the search for a pair stops. budget: CPU seconds of search; after that the pairs share multipliers.
    Guarantee: every number is proved by a matrix inequality (`joint`) through core.posdef; inf where it could not be.
    Raises:
        UnsupportedLayerError: a kink, or an operator without a second derivative, by name.
    Cost: up to SINGLE neurons 20-60 ms a pair; above, one program of size (inputs + 2 neurons) and a few eigenvalue problems a pair.
    Source: Singla and Feizi, Second-order provable defenses, ICML 2020 (identity and dual); Fazlyab et al. 2019 (multipliers); the joint form is this project's.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> z = b.add("activation", [b.add("input", attrs={"shape": (2,)})], {"kind": "softplus", "beta": 1.0})
    >>> bounds = curvature_bounds(b.build(z))
    >>> bool(0.25 <= bounds.upper[0, 1] < 0.2500001)
    True
    """
    k = graph.output_shape[0]
    wanted = range(k) if classes is None else sorted({int(c) for c in classes} & set(range(k)))
    pairs = [(i, j) for i in wanted for j in range(k) if i != j]
    rows = np.zeros((len(pairs), k))
    for r, (i, j) in enumerate(pairs):
        rows[r, i], rows[r, j] = 1.0, -1.0
    start = time.process_time()
    values, _, taus = row_curvatures(graph, rows, tolerance, budget)
    lower = np.full((k, k), math.inf)
    lower[np.arange(k), np.arange(k)] = 0.0
    table = np.zeros((k, k, taus.shape[1]))
    for (i, j), value, tau in zip(pairs, values, taus):
        lower[i, j], table[i, j] = value, tau
    return CurvatureBounds(graph.output, lower, table, time.process_time() - start)


def hessian_bound(graph: Graph, row: np.ndarray) -> tuple[float, float]:
    """(K-, K+) with -K- I <= Hess (row . N)(x) <= K+ I at every x, for one exact float row over the flattened outputs.

    The smaller of the joint inequality and the product forms. Raises and source as `curvature_bounds`. An affine network has (0, 0);
    for one hidden layer these are the largest eigenvalues of W' diag(d) W, d the largest values of -+c f'' (softplus: c-+ / 4), nearly exactly.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> z = b.add("activation", [b.add("input", attrs={"shape": (2,)})], {"kind": "softplus", "beta": 1.0})
    >>> hessian_bound(b.build(z), [1.0, 1.0])[0]
    0.0
    """
    row = np.asarray(row, dtype=np.float64).reshape(1, -1)
    found = row_curvatures(graph, np.concatenate([row, -row]))
    low, high = np.minimum(found.joint, found.product)
    return float(low), float(high)


class RowCurvatures(NamedTuple):
    """K- (n,) by the joint inequality (inf: not proved) and by the product forms; the multipliers (n, entries of all activations of the chain)."""

    joint: np.ndarray
    product: np.ndarray
    taus: np.ndarray


def row_curvatures(graph: Graph, rows: np.ndarray, tolerance: float = 1e-4, budget: float = math.inf) -> RowCurvatures:
    """Bounds for exact float rows (n, outputs)."""
    graph = fold_affine(graph).pruned()
    try:
        whole = chain_of(graph)
    except HypothesisError:  # affine: no activation between input and output
        return RowCurvatures(np.zeros(len(rows)), np.zeros(len(rows)), np.zeros((len(rows), 0)))
    kinds = [kinds_of(graph, layer.node, name) for layer, name in zip(whole.layers, whole.blocks, strict=True)]
    chain, alive = whole.reduced()
    kinds = [kind for kind, live in zip(kinds, alive) if live.any()]
    taus = np.zeros((len(rows), sum(len(live) for live in alive)))
    if not chain.layers:
        return RowCurvatures(np.zeros(len(rows)), np.zeros(len(rows)), taus)
    found, multipliers = _joint(chain, kinds, rows, tolerance, budget)
    taus[:, np.concatenate(alive)] = multipliers
    return RowCurvatures(found, product_curvatures(chain, kinds, rows), taus)


def kinds_of(graph: Graph, node: str, block: str) -> tuple[Majorant, Majorant]:
    """The majorants of a block's activation; refused where it is none."""
    if not node:
        found = "a maximum, a pool, sorting: an operator with a kink or of unknown curvature"
        raise UnsupportedLayerError("this operator has no curvature bound", where=block, found=found, hint="use method='sdp'")
    return majorants(activation_of(graph[node]), graph[node].source or node)


def _joint(chain: Chain, kinds: list[tuple[Majorant, Majorant]], rows: np.ndarray, tolerance: float, budget: float) -> tuple[np.ndarray, np.ndarray]:
    ranges = gradient_ranges(chain, rows)
    joint = Joint(chain)
    search = Search(joint)
    start = time.process_time()
    single = chain.neurons <= SINGLE

    def pieces_of(r: int) -> list[Pieces]:
        last = len(chain.layers) - 1
        return [weights((f[0][r], f[1][r]), kind, k == last) for k, (f, kind) in enumerate(zip(ranges, kinds))]

    shared: np.ndarray | None = None
    known: dict[bytes, int] = {}
    values, found = np.full(len(rows), math.inf), np.zeros((len(rows), chain.neurons))
    for r in range(len(rows)):
        pieces = pieces_of(r)
        key = b"".join(part.tobytes() for piece in pieces for part in piece)
        if key in known:  # z_j - z_i of a network with odd curvature: the same inequality
            values[r], found[r] = values[known[key]], found[known[key]]
            continue
        known[key] = r
        spent = time.process_time() - start
        if single and spent < budget:
            rho, taus = search.solve(pieces, tolerance)
        else:
            if shared is None:
                every = [pieces_of(i) for i in range(len(rows))]
                mean = [
                    (np.mean([p[k][0] for p in every], axis=0), np.mean([p[k][1] for p in every], axis=0), np.mean([p[k][2] for p in every], axis=0)) for k in range(len(kinds))
                ]
                whole, parts = search.solve(mean, 1e-3)
                shared = np.concatenate(parts) / max(whole, 1e-300) if parts else np.zeros(0)
            rho, taus = search.scaled(pieces, shared) if len(shared) else search.solve(pieces)
        proved = joint.least([rho * (1.0 + e) for e in _ROOMS], pieces, taus)
        if proved is not None:
            values[r] = up(proved * _MORE) if proved > 0 else 0.0
            flat = np.concatenate([*taus, np.zeros(len(chain.layers[-1].lo))])
            found[r] = flat
    return values, found
