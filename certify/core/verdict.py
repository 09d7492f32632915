"""Verdict: the answer to a question about all inputs or all motions: proved, refuted by a proved counterexample, or open with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .errors import InputError

Status = Literal["VERIFIED", "FALSIFIED", "UNKNOWN"]
STATUSES = ("VERIFIED", "FALSIFIED", "UNKNOWN")


@dataclass(frozen=True, eq=False)
class Verdict:
    """VERIFIED: the claim is proved. FALSIFIED: `witness` is proved to violate it. UNKNOWN: neither; `reason` says what was missing.

    `bool(verdict)` is True for VERIFIED only, so that an open question never passes as a proof.

    Args:
        status: one of the three words.
        reason: what decided it, or what failed: time, step, state or label, margin.
        witness: the counterexample of FALSIFIED; None otherwise.
    Raises:
        InputError: another status, or FALSIFIED without a witness.

    >>> Verdict("UNKNOWN", "the tube ends at time 1.5"), bool(Verdict("UNKNOWN", "")), bool(Verdict("VERIFIED", ""))
    (Verdict(UNKNOWN: the tube ends at time 1.5), False, True)
    """

    status: Status
    reason: str
    witness: Any = None

    def __post_init__(self):
        if self.status not in STATUSES:
            raise InputError("a verdict has one of three states", where="Verdict.status", found=repr(self.status), expected=", ".join(STATUSES))
        if self.status == "FALSIFIED" and self.witness is None:
            raise InputError("a refutation without a counterexample is none", where="Verdict.witness", expected="what violates the claim, so that it can be replayed")

    def __bool__(self) -> bool:
        return self.status == "VERIFIED"

    def __repr__(self) -> str:
        return f"Verdict({self.status}: {self.reason})"
