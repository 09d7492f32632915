"""Which semidefinite constants a radius run may use: found once per run, within the effort, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import HypothesisError

if TYPE_CHECKING:
    from ..constants.certificate import LipschitzCertificate
    from ..constants.semidefinite import PairBounds
    from .heads import Head

Progress = Callable[[int, int, str], None]


def semidefinite_pairs(head: Head, labels: np.ndarray, constants: LipschitzCertificate, norm: str, method: str, effort: str, progress: Progress | None) -> PairBounds | None:
    """The pair constants for methods "auto" and "sdp", or None where "auto" goes without.

    Raises:
        HypothesisError: method "sdp" in another norm than l2, for an affine network, or beyond the effort's budget and memory.
    """
    if method not in ("auto", "sdp") or (norm != "l2" and method == "auto"):
        return None
    from ..constants.semidefinite import PAIRS, cost_of, pair_bounds

    if norm != "l2":
        raise HypothesisError("the semidefinite bound is about the l2 norm", where="argument norm", found=repr(norm), expected="'l2'", hint="method='auto'")
    found = pair_bounds(head.graph, head.classes, np.unique(labels).tolist(), effort, progress, method == "sdp")
    found = _with_given(found, head, constants)
    if found is None and method == "sdp":
        cost = cost_of(head.graph)
        raise HypothesisError(
            "no semidefinite bound of the logits is within reach",
            where=f"{cost.rows} inputs and neurons",
            found=f"about {cost.least:.3g} s for one bound, {cost.bytes / 2**30:.2f} GiB for a metric",
            expected=f"a network that is not affine, within {PAIRS[effort]:.0f} s (effort '{effort}')",
            hint="effort='tight', or method='auto'",
        )
    return found


def _with_given(found: PairBounds | None, head: Head, constants: LipschitzCertificate) -> PairBounds | None:
    """The table with the semidefinite constant of the whole network that the caller handed in, where that is about the logits."""
    if constants.proof is None or head.stripped:
        return found
    from ..constants.semidefinite import PairBounds
    from ..core.rounding import mul_up, sqrt_up

    table = np.full((head.classes, head.classes), mul_up(sqrt_up(2.0), constants.proof.bound))
    np.fill_diagonal(table, 0.0)
    if found is None:
        return PairBounds(table, ((None, constants.proof, None),))
    return PairBounds(np.minimum(table, found.constants), (*found.proofs, (None, constants.proof, None)), found.notes)
