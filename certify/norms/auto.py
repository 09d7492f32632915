"""The method of methods: tries what is worth its time, cheapest first, intersects, and says what it used."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from ..core.errors import HypothesisError
from ..linear.base import LinearMap
from ..linear.compose import Composition
from .any_size import AnySize
from .base import Ends, NormBound, NormMethod
from .copied_padding import CopiedPadding
from .cost import Candidate, application_seconds, candidates
from .dense import Dense
from .diagonal import Diagonal
from .frobenius import Frobenius
from .induced import Induced
from .power_iteration import PowerIteration
from .product import Product

EFFORTS = ("fast", "balanced", "tight")
_TIGHT = {"fast": 1e-2, "balanced": 1e-5, "tight": 1e-7}  # stop as soon as the ends are this close
_BUDGET = {"fast": 2.5, "balanced": 6.0, "tight": 120.0}  # predicted seconds that one layer may cost
_GAP = {"fast": 0.035, "balanced": 5e-4, "tight": 2e-6}  # the cheapest method that promises this gap will do
_EXACT = {"fast": 0.02, "balanced": 4.0, "tight": 120.0}  # predicted seconds that the exact norm of an assembled matrix is worth
_GROUPS = {"fast": 0.02, "balanced": 0.2, "tight": 120.0}  # the same where only the groups are that small
_DENSE = {"fast": 1024, "balanced": 4096, "tight": 8192}
_STEPS = {"fast": 2, "balanced": 10, "tight": 60}
_SEARCH = {"fast": 0.02, "balanced": 0.2, "tight": 60.0}  # predicted seconds for the lower end
_TOLERANCE = {"fast": 0.04, "balanced": 0.018, "tight": 0.0}  # exact sections are left out while the ends are this close


@dataclass(frozen=True)
class Auto(NormMethod):
    """Intersects the enclosures of the methods that pay for this map.

    l1, linf: `induced` (exact). l2: closed forms first (`diagonal`, `frobenius`, sqrt(l1 linf)), then one of `dense`, `hybrid`, `twisted`, `fft`,
    `any_size`, `fantastic_four`, `copied_padding`, `product`: the exact one where the assembled matrix is small enough, else the cheapest whose
    predicted gap is good enough for `effort` (3.5 %, 0.05 %, 0.0002 %), else the tightest within the budget (2.5 s, 6 s, 120 s), else the cheapest. A lower
    end by Lanczos comes with it. It stops when the two ends are close enough. `evidence["tried"]` lists every method with its ends and seconds,
    `evidence["plan"]` every candidate with its predicted seconds and gap, and why it was or was not taken; `NormBound.table()` prints both.

    `method` of the result is "lower+upper": the methods that gave the two ends, one name if it gave both.

    Guarantee: that of the methods; two that contradict each other raise SoundnessError.
    """

    name = "auto"
    norms = ("l2", "linf", "l1")
    cite = ()
    effort: str = "balanced"

    def _refuses(self, map: LinearMap, norm: str) -> str:
        return "" if self.effort in EFFORTS else f"effort {self.effort!r} is not one of {', '.join(EFFORTS)}"

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        raise NotImplementedError("auto combines whole enclosures")  # `enclose` is its own

    def enclose(self, map: LinearMap, norm: str = "l2") -> NormBound:
        began = time.perf_counter()
        reason = self.supports(map, norm)
        if reason:
            raise HypothesisError("the norm method 'auto' does not apply", where=repr(map), found=reason)
        run = _Run(map, norm, _TIGHT[self.effort])
        if norm == "l2" and map.stored.any():
            self._spectral(run)
        else:
            run.try_method(Induced())
        bound = run.result()
        evidence = {k: v for k, v in bound.evidence.items() if k in ("verify", "perturbation")}
        return replace(bound, seconds=time.perf_counter() - began, evidence={"effort": self.effort, "plan": run.plan, "tried": run.tried, **evidence})

    def _spectral(self, run: _Run) -> None:
        map = run.map
        for method in (Diagonal(), Induced(), Frobenius()):
            if run.open():
                run.try_method(method)
        if run.open() and isinstance(map, Composition):
            run.try_method(Product())
        if run.open():
            affordable = min(_STEPS[self.effort], max(2, int(_SEARCH[self.effort] / application_seconds(map)) // 2))
            found = candidates(map, _DENSE[self.effort], affordable, _TOLERANCE[self.effort])
            run.plan = [{"method": c.method.name, "variant": variant(c.method), "predicted": round(c.seconds, 4), "gap": c.gap, "why": c.method.supports(map)} for c in found]
            usable = [(k, c) for k, c in enumerate(found) if not run.plan[k]["why"]]
            if usable:
                k, why = self._choice(map, usable)
                for row in run.plan:
                    row["why"] = f"does not apply: {row['why']}" if row["why"] else "not needed"
                run.plan[k]["why"] = f"chosen: {why}"
                run.try_method(found[k].method)
        if run.open() and (run.searched < affordable or not usable):
            run.try_method(PowerIteration(affordable, start=run.start))

    def _choice(self, map: LinearMap, usable: list[tuple[int, Candidate]]) -> tuple[int, str]:
        """The place of the candidate to take, and why."""
        budget = _BUDGET[self.effort]
        small = min(map.input_size, map.output_size) <= _DENSE[self.effort]
        exact = [k for k, c in usable if small and isinstance(c.method, Dense) and c.seconds <= _EXACT[self.effort]]
        if exact:
            return exact[0], "the assembled matrix is small enough for its exact norm"
        affordable = [(k, c) for k, c in usable if c.seconds <= budget and (small or not isinstance(c.method, Dense) or c.seconds <= _GROUPS[self.effort])]
        good = [(c.seconds, k) for k, c in affordable if c.gap <= _GAP[self.effort]]
        if good:
            return min(good)[1], f"the cheapest with a predicted gap of at most {100 * _GAP[self.effort]:.2g} %"
        if affordable:
            return min((c.gap, c.seconds, k) for k, c in affordable)[2], f"the tightest within {budget:g} s"
        return min((c.seconds, k) for k, c in usable)[1], f"the cheapest; nothing is predicted to fit {budget:g} s"


def variant(method: NormMethod) -> str:
    """What tells two candidates of one method apart."""
    return f"{method.points} points" if isinstance(method, AnySize) else f"by {method.inner}" if isinstance(method, CopiedPadding) else ""


class _Run:
    """The enclosure so far and the list of what was tried."""

    def __init__(self, map: LinearMap, norm: str, tolerance: float):
        self.map, self.norm, self.tolerance = map, norm, tolerance
        self.bound: NormBound | None = None
        self.start: Any = None
        self.tried: list[dict[str, Any]] = []
        self.plan: list[dict[str, Any]] = []
        self.searched = 0  # Lanczos steps that a method made for its lower end

    def open(self) -> bool:
        """Is there a gap left that is worth closing?"""
        return self.bound is None or not self.bound.upper <= self.bound.lower * (1 + self.tolerance)

    def result(self) -> NormBound:
        if self.bound is None:
            raise HypothesisError("no norm method applies to this map", where=repr(self.map), found=self.norm)
        low = max(self.tried, key=lambda row: row["lower"])["method"]
        high = min(self.tried, key=lambda row: row["upper"])["method"]
        return replace(self.bound, method=high if low == high else f"{low}+{high}")

    def try_method(self, method: NormMethod) -> None:
        if method.supports(self.map, self.norm):
            return
        bound = method.enclose(self.map, self.norm)
        self.tried.append({"method": method.name, "lower": bound.lower, "upper": bound.upper, "seconds": round(bound.seconds, 6)})
        self.searched = max(self.searched, getattr(method, "steps", 0) if bound.lower > 0 else 0)
        self.start = bound.start if bound.start is not None else self.start
        self.bound = bound if self.bound is None else self.bound & bound


def enclose(map: LinearMap, norm: str = "l2", effort: str = "balanced") -> NormBound:
    """Enclosure of ||A||_norm by whatever is worth its time at this effort.

    >>> import numpy as np
    >>> from certify.linear.dense import DenseMap
    >>> bound = enclose(DenseMap(np.array([[3.0, 4.0]])))
    >>> bound.lower <= 5.0 <= bound.upper < 5.0001
    True
    """
    return Auto(effort).enclose(map, norm)

