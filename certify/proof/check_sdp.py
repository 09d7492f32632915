"""Semidefinite evidence re-verified: every entry of document["proofs"] is proved again from the weights, or the certificate is refused.

An entry is about one tensor of the folded graph, in l2 and on the whole space: "inequality" (`sdp_inequality`) bounds the tensor or the difference of two of its
entries, "layers" (`sdp_layers`) the tensor and the differences of all pairs. The search that found the multipliers is not looked at.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from ..core.graph import Graph
from ..core.rounding import up
from . import fields
from .check_steps import CheckedStep
from .ends import GAP
from .evidence import proofs_of
from .parts import Reading, read
from .sdp_inequality import Inequality
from .sdp_layers import carried, output_gram, pairs_below, whole_below

MOST_CLASSES = 4096


@dataclass(frozen=True, eq=False)
class Proved:
    """|dt| <= whole |dx_0|_2 for the tensor t, and |d(t_i - t_j)| <= pairs[i, j] |dx_0|_2; inf where nothing was proved."""

    whole: float
    pairs: np.ndarray


def check_proofs(graph: Graph, tensor: str, norm: str, document: dict, arrays: dict[str, np.ndarray], report: list[CheckedStep]) -> Proved | None:
    """What the certificate's semidefinite evidence proves about `tensor` of the folded graph; None if there is none.

    Raises:
        CertificateError: an entry that is not about this tensor or norm, or that does not hold; by its number.
    """
    entries = proofs_of(document)
    if not entries:
        return None
    if norm != "l2":
        raise fields.refuse("semidefinite evidence is about the l2 norm", "proofs", norm, "l2")
    reading = read(graph, tensor)
    if not reading.blocks:
        raise fields.refuse("an affine network has no semidefinite evidence", "proofs")
    checker = _Checker(reading, arrays)
    for number, entry in enumerate(entries):
        start = time.perf_counter()
        what = checker.inequality(number, entry) if entry["kind"] == "inequality" else checker.layers(number, entry)
        report.append(CheckedStep(f"proof {number}", f"{tensor}: {what}", entry["bound"], "proved", time.perf_counter() - start))
    return Proved(checker.whole, checker.all_pairs())


class _Checker:
    def __init__(self, reading: Reading, arrays: dict[str, np.ndarray]):
        self.reading, self.arrays = reading, arrays
        self.classes = reading.size(reading.output)
        self.whole = math.inf
        self.pairs: np.ndarray | None = None
        self.matrix: Inequality | None = None

    def inequality(self, number: int, entry: dict) -> str:
        bound, rows = float(entry["bound"]), entry["rows"]
        if self.matrix is None:
            self.matrix = Inequality(self.reading)
        pair = None if rows == "all" else (int(rows[0]), int(rows[1]))
        if pair is not None and max(pair) >= self.classes:
            raise fields.refuse("evidence is about an entry that the tensor does not have", f"proofs[{number}].rows", list(pair), f"below {self.classes}")
        if not self.matrix.holds(bound, self.arrays[entry["tau"]], pair):
            raise fields.refuse("a semidefinite bound is not proved by its multipliers", f"proofs[{number}]", f"bound {bound!r} for rows {rows}", "M > 0 and tau >= 0")
        if pair is None:
            self.whole = min(self.whole, bound)
        else:
            found = self._pairs(number)
            found[pair] = found[pair[::-1]] = min(found[pair], bound)
        return f"multipliers, one matrix of {self.matrix.size} rows" + ("" if pair is None else f", entry {pair[0]} minus {pair[1]}")

    def layers(self, number: int, entry: dict) -> str:
        metric = carried(self.reading, self.arrays[entry["u"]], entry["exponents"], [float(d) for d in entry["deltas"]], entry["states"])
        gram = output_gram(metric)
        if entry["bound"] is not None:
            bound = float(entry["bound"])
            if not whole_below(metric, gram, bound):
                raise fields.refuse("a semidefinite bound is not proved by its metrics", f"proofs[{number}].bound", bound, "mu I - C S C' > 0")
            self.whole = min(self.whole, bound)
        if entry["pairs"] is not None:
            bounds, found = self.arrays[entry["pairs"]], self._pairs(number)
            if bounds.shape != found.shape:
                raise fields.refuse("pair bounds of the wrong shape", f"proofs[{number}].pairs", bounds.shape, found.shape)
            proved = pairs_below(metric, gram, bounds)
            if not proved.all():
                i, j = np.unravel_index(int(np.argmin(proved)), proved.shape)
                raise fields.refuse("a pair bound is not proved by the metric", f"proofs[{number}].pairs[{i}, {j}]", float(bounds[i, j]), "at least the root of c'Sc")
            self.pairs = np.minimum(found, bounds)
        return f"metrics of {len(self.reading.blocks)} layers"

    def _pairs(self, number: int) -> np.ndarray:
        if self.classes > MOST_CLASSES:
            raise fields.refuse("too many entries for bounds by pairs", f"proofs[{number}]", self.classes, f"at most {MOST_CLASSES}")
        if self.pairs is None:
            self.pairs = np.where(np.eye(self.classes, dtype=bool), 0.0, np.inf)
        return self.pairs

    def all_pairs(self) -> np.ndarray:
        """Also what the bound of the whole says about every pair: |e_i - e_j| = sqrt 2."""
        from_whole = float(up(GAP["l2"] * self.whole))
        if self.pairs is None:
            if self.classes > MOST_CLASSES:
                return np.broadcast_to(from_whole, (self.classes, self.classes))
            return np.where(np.eye(self.classes, dtype=bool), 0.0, from_whole)
        return np.where(np.eye(self.classes, dtype=bool), 0.0, np.minimum(self.pairs, from_whole))
