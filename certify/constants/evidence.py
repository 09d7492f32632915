"""Semidefinite proofs as evidence of a certificate: what `certify.proof` stores and re-verifies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..proof.evidence import inequality_proof, layers_proof

if TYPE_CHECKING:
    from .sdp.solve import Inequality, Layered
    from .semidefinite import PairBounds

Evidence = tuple[dict[str, Any], dict[str, np.ndarray]]


def evidence_of(proof: Inequality | Layered, number: int, pair: tuple[int, int] | None = None, pairs: np.ndarray | None = None) -> Evidence:
    """(entry, arrays) of one proof: of the whole tensor, of one `pair` of its entries, or with a table of `pairs` that follow from the last metric."""
    from .sdp.solve import Inequality

    if isinstance(proof, Inequality):
        return inequality_proof(number, proof.bound, proof.taus, "all" if pair is None else pair)
    proved = proof.proved
    if pair is not None:  # a metric found for one row bounds every row; what is claimed is this pair's
        return layers_proof(number, proved.us, proved.exponents, proved.deltas, proof.states, pairs=pairs)
    return layers_proof(number, proved.us, proved.exponents, proved.deltas, proof.states, bound=proof.bound, pairs=pairs)


def pair_evidence(bounds: PairBounds) -> list[Evidence]:
    """The evidence behind a table of pair constants."""
    return [evidence_of(proof, number, pair, table) for number, (pair, proof, table) in enumerate(bounds.proofs)]
