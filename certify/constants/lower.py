"""The lower end of a Lipschitz constant: two points whose difference quotient is large, found by ascent and replayed rigorously.

Claim: the returned value is at most sup |f(a) - f(b)|_p / |a - b|_p. Proof: the quotient of the stored pair (a, b) is one of those; its numerator is
bounded below by |fl(f(a)) - fl(f(b))| minus the two forward errors (`forward_with_error`), its denominator above. Nothing about the search
enters; it may stop anywhere. Source: methods/network_lipschitz.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.graph import Graph
from ..core.rounding import U, add_up, div_down, norm_down, norm_up, sub_down, up
from ..rules.base import Local
from .forward import forward_with_error

# The checker replays the pair by its own code, with its own error bounds and roundings: ours are widened, so that a true lower end is never refused.
ROOM, SHRINK = 4.0, 1.0 - 2.0**-40
REPLAYED = 12  # pairs that get the rigorous evaluation; the estimate that ranks them is off by rounding only


@dataclass(frozen=True, eq=False)
class Witness:
    """Two inputs whose difference quotient proves the lower end `value`; both None where nothing better than 0 is known."""

    value: float
    first: np.ndarray | None = None
    second: np.ndarray | None = None


def lower_end(graph: Graph, norm: str, locals: Mapping[str, Local], effort: str = "balanced", seed: int = 0) -> Witness:
    """The best proved difference quotient of a seeded search.

    Args:
        graph, locals: the folded graph and its local facts (they bound the rounding of the replay).
        norm: p.
        effort: "fast", "balanced" or "tight": about 0.4, 1.5 or 10 seconds at most; the same seed gives the same pair unless the clock cuts it short.
    Raises:
        nothing of its own: a search that overflows or fails to find a slope gives 0.
    """
    from .ascent import candidate_pairs  # torch is loaded only when a lower end is wanted

    first, second = candidate_pairs(graph, norm, effort, seed)
    if not len(first):
        return Witness(0.0)
    with np.errstate(all="ignore"):
        estimates = _estimates(graph, first, second, norm)
    order = np.argsort(-np.nan_to_num(estimates, nan=-1.0, posinf=-1.0), kind="stable")[:REPLAYED]
    best = Witness(0.0)
    for i, value in zip(order, proved_quotients(graph, norm, locals, first[order], second[order])):
        if value > best.value:
            best = Witness(value, first[i].copy(), second[i].copy())
    return best


def _estimates(graph: Graph, first: np.ndarray, second: np.ndarray, norm: str) -> np.ndarray:
    order = {"l2": 2, "linf": np.inf, "l1": 1}[norm]
    values = graph(np.concatenate([first, second])).reshape(2, len(first), -1)
    moved = (first - second).reshape(len(first), -1)
    return np.linalg.norm(values[0] - values[1], order, axis=1) / np.linalg.norm(moved, order, axis=1)


def proved_quotients(graph: Graph, norm: str, locals: Mapping[str, Local], first: np.ndarray, second: np.ndarray) -> list[float]:
    """Lower ends of |f(a_i) - f(b_i)|_p / |a_i - b_i|_p in exact real arithmetic; 0 where nothing is proved.

    Each difference is rounded once, so |fl(x - y)| is within a factor 1 +- u of |x - y|, entry by entry and hence in every p.
    """
    both, errors = forward_with_error(graph, np.concatenate([first, second]), norm, locals)
    count, quotients = len(first), []
    for i in range(count):
        with np.errstate(all="ignore"):
            change, moved = both[i] - both[count + i], first[i] - second[i]
        error = ROOM * add_up(float(errors[i]), float(errors[count + i]))
        if not (np.isfinite(change).all() and np.isfinite(moved).all() and error < np.inf and moved.any()):
            quotients.append(0.0)
            continue
        numerator = sub_down(norm_down(change, norm) * (1 - 4 * U), error)
        denominator = up(norm_up(moved, norm) * (1 + 4 * U))
        quotients.append(SHRINK * div_down(numerator, denominator) if numerator > 0 else 0.0)
    return quotients
