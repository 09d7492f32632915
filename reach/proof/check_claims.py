"""Specifications proved again on the checked sets: bodies {p(s, tau) + G eps + box} are tested whole, and cut in halves where that is not enough."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from certify.core.errors import CertificateError, CertifyError
from certify.core.interval import Interval
from certify.core.rounding import TINY, U, fraction_down, fraction_up, gamma, up

from . import fields
from .check_flow import row_sums
from .claims import Claim, Formula, Half
from .monomials import Monomials, monomials, norm, ranges
from .plant import Taylor, Walk
from .taylor import Model

MOST_PARTS = 30_000  # parts of one claim's bodies that are looked at before it counts as not proved


@dataclass(frozen=True, eq=False)
class Body:
    """{p(s) + G eps + box}, or with `time` a tube {p(s, tau) + box}; `when` for messages."""

    order: int
    time: bool
    coefficients: np.ndarray
    generators: np.ndarray
    box: np.ndarray
    when: str


Rows = Sequence[Sequence[Body]]


def check_claim(claim: Claim, states: Sequence[str], variables: int, samples: Sequence[Body], tubes: Rows, moments: Rows, where: str) -> None:
    """Prove one specification from the sets: samples[k], tubes[k] and moments[k] (of control step k + 1, in between).

    Raises:
        CertificateError: it cannot be proved.
    """
    first, last = claim.first, claim.last
    if claim.kind == "arrive within":
        candidates = [*samples[first : last + 1], *(body for row in moments[first:last] for body in row)]
        candidates.sort(key=lambda body: not _Question(claim, states, variables, [body]).settled(False, 0))
        if any(_Question(claim, states, variables, [body]).settled(False, 2000) for body in candidates[:20]):
            return
        raise _unproved(claim, states, where, "no moment has the whole set inside")
    bodies = list(samples[first : last + 1])
    if claim.at == "always" and claim.kind in ("stay", "avoid"):
        bodies += [body for row in tubes[first:last] for body in row]
    groups: dict[tuple[int, bool], list[Body]] = {}
    for body in bodies:
        groups.setdefault((body.order, body.time), []).append(body)
    for group in groups.values():
        question = _Question(claim, states, variables, group)
        if not question.settled(claim.kind == "avoid", MOST_PARTS):
            raise _unproved(claim, states, where, f"not shown {question.open}")


def _unproved(claim: Claim, states: Sequence[str], where: str, found: str) -> CertificateError:
    return fields.refuse("a specification that is claimed to hold cannot be proved again", f"{where}, {claim.describe(states)[:200]}", "stored VERIFIED", f"recomputed: {found}")


class _Question:
    """Whether all bodies (of one order) are inside, or outside of, a claim's set."""

    def __init__(self, claim: Claim, states: Sequence[str], variables: int, bodies: Sequence[Body]):
        self.claim, self.states, self.bodies = claim, states, bodies
        self.table = monomials(variables + bodies[0].time, bodies[0].order, bodies[0].time)
        self.radius = np.array([up(np.asarray(row_sums(b.generators) + b.box)) for b in bodies]).T
        self.open = ""

    def settled(self, outside: bool, budget: int) -> bool:
        """Every part of every body is shown to be inside (outside). A part that is not is replaced by its halves along the variable that moves it most."""
        t = self.table
        c = np.stack([b.coefficients.T for b in self.bodies], 2)
        owner, error = np.arange(len(self.bodies)), np.zeros((c.shape[1], len(self.bodies)))
        seen = 0
        while len(owner):
            good = self._shown(c, owner, error, outside)
            seen += len(owner)
            c, owner, error = c[..., ~good], owner[~good], error[:, ~good]
            if not len(owner):
                return True
            self.open = self.bodies[int(owner[0])].when
            if seen + 2 * len(owner) > budget or t.variables == 0:
                return False
            c, owner, error = self._cut(c, owner, error)
        return True

    def _cut(self, c: np.ndarray, owner: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        t = self.table
        size = np.abs(c).sum(1) / np.maximum(1e-300, np.abs(c).sum((0, 1)))
        axis = np.argmax(t.exponents.T @ size, axis=0)
        parts, owners, errors = [], [], []
        for i in np.unique(axis):
            chosen = c[..., axis == i]
            rows = chosen.reshape(t.size, -1)
            more = error[:, axis == i] + gamma(t.order + 3) * norm(t, rows).reshape(chosen.shape[1:])
            for half in halves(t, int(i)):
                parts.append((half @ rows).reshape(chosen.shape))
                owners.append(owner[axis == i])
                errors.append(more)
        return np.concatenate(parts, 2), np.concatenate(owners), np.concatenate(errors, 1)

    def _shown(self, c: np.ndarray, owner: np.ndarray, error: np.ndarray, outside: bool) -> np.ndarray:
        clauses = []
        for clause in self.claim.clauses:
            ends = [self._half(x, c, owner, error) if isinstance(x, Half) else self._formula(x, c, owner, error) for x in clause]
            if outside:  # no condition of the clause can hold
                clauses.append(np.all([low > 0 for low, _ in ends], axis=0))
            else:  # some condition holds everywhere
                clauses.append(np.any([high <= 0 for _, high in ends], axis=0))
        return np.any(clauses, axis=0) if outside else np.all(clauses, axis=0)

    def _half(self, x: Half, c: np.ndarray, owner: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of c . x - d on every part: combined first, then ranged."""
        t, n = self.table, c.shape[1]
        low, high = np.array([fraction_down(a) for a, _ in x.normal]), np.array([fraction_up(b) for _, b in x.normal])
        normal = 0.5 * low + 0.5 * high
        spread = np.where(low == high, 0.0, up(np.asarray(np.maximum(high - normal, normal - low))))
        g = np.tensordot(normal, c, (0, 1))
        across = np.zeros(len(self.bodies))
        for k, body in enumerate(self.bodies):
            m = body.generators.shape[1]
            if m:
                across[k] = np.abs(normal @ body.generators).sum() * (1 + 4 * gamma(m + 8)) + gamma(n + 2) * float(np.abs(normal) @ row_sums(body.generators))
            across[k] += float(np.abs(normal) @ body.box) * (1 + 4 * gamma(n + 4))
        sizes = norm(t, c.reshape(t.size, -1)).reshape(c.shape[1:])
        slack = gamma(n + 2) * (np.abs(normal) @ sizes) + np.abs(normal) @ error + spread @ (sizes + self.radius[:, owner] + error)
        total = (across[owner] + slack * (1 + 4 * gamma(n + 8))) * (1 + 8 * U) + TINY
        least, most = ranges(t, g)
        lower = np.nextafter(np.nextafter(least - total, -math.inf) - fraction_up(x.offset[1]), -math.inf)
        return lower, np.nextafter(np.nextafter(most + total, math.inf) - fraction_down(x.offset[0]), math.inf)

    def _formula(self, x: Formula, c: np.ndarray, owner: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of -g on every part; nothing is known where the checker cannot evaluate g."""
        try:
            g = self._evaluated(x, c, owner, error)
            return -g.upper, -g.lower
        except CertifyError:
            if len(owner) == 1:
                return np.array([-math.inf]), np.array([math.inf])
        rows = [self._formula(x, c[..., [k]], owner[[k]], error[:, [k]]) for k in range(len(owner))]
        return np.concatenate([a for a, _ in rows]), np.concatenate([b for _, b in rows])

    def _evaluated(self, x: Formula, c: np.ndarray, owner: np.ndarray, error: np.ndarray) -> Interval:
        radius = up(np.asarray(self.radius[:, owner] + error))
        symbols: dict[str, Any] = {name: Model(self.table, c[:, i], radius[i]) for i, name in enumerate(self.states)}
        return Walk(Taylor(self.table, len(owner)), symbols)(x.expression).range()


@functools.lru_cache(maxsize=256)
def halves(t: Monomials, variable: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """The substitutions x = (x' - 1) / 2 and x = (x' + 1) / 2 of a space variable, tau = tau' / 2 and (tau' + 1) / 2, as exact matrices on coefficients.

    Their columns have absolute sums of at most 1, so a rounded product moves a polynomial by at most gamma(order + 1) times its absolute sum.
    """
    time = t.time and variable == t.variables - 1
    out = []
    for side in (0.0, 1.0) if time else (-1.0, 1.0):
        rows, columns, values = [], [], []
        for column, e in enumerate(t.exponents):
            k = int(e[variable])
            for p in range(k + 1):
                lower = e.copy()
                lower[variable] = p
                rows.append(lower)
                columns.append(column)
                values.append(math.comb(k, p) * side ** (k - p) / 2.0**k)
        out.append(sparse.csr_matrix((values, (t.where(np.array(rows).reshape(len(rows), t.variables)), columns)), shape=(t.size, t.size)))
    return out[0], out[1]
