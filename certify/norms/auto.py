"""The method of methods: tries what is worth its time, cheapest first, intersects, and says what it used."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from ..core.errors import HypothesisError
from ..linear.base import LinearMap
from ..linear.compose import Composition
from .base import Ends, NormBound, NormMethod
from .cost import application_seconds, candidates
from .diagonal import Diagonal
from .frobenius import Frobenius
from .induced import Induced
from .power_iteration import PowerIteration
from .product import Product

EFFORTS = ("fast", "balanced", "tight")
_TIGHT = {"fast": 1e-2, "balanced": 1e-5, "tight": 1e-7}  # stop as soon as the ends are this close
_BUDGET = {"fast": 0.3, "balanced": 4.0, "tight": 120.0}  # predicted seconds that one layer may cost
_DENSE = {"fast": 1024, "balanced": 4096, "tight": 8192}
_STEPS = {"fast": 6, "balanced": 20, "tight": 60}
_SEARCH = {"fast": 0.2, "balanced": 2.0, "tight": 60.0}  # predicted seconds for the lower end


@dataclass(frozen=True)
class Auto(NormMethod):
    """Intersects the enclosures of the methods that pay for this map.

    l1, linf: `induced` (exact). l2: closed forms first (`diagonal`, `frobenius`, sqrt(l1 linf)), then the tightest of `dense`, `fft`,
    `any_size`, `fantastic_four`, `copied_padding`, `product` whose predicted cost is within the budget of `effort` (0.3 s, 4 s, 120 s; else the cheapest), then a
    lower end by Lanczos. It stops when the two ends are close enough. `evidence["tried"]` lists every method with its ends and seconds.

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
        return replace(bound, seconds=time.perf_counter() - began, evidence={"effort": self.effort, "tried": run.tried, **evidence})

    def _spectral(self, run: _Run) -> None:
        map = run.map
        for method in (Diagonal(), Induced(), Frobenius()):
            if run.open():
                run.try_method(method)
        if run.open() and isinstance(map, Composition):
            run.try_method(Product())
        found = [(m, t) for m, t in candidates(map, _DENSE[self.effort]) if not m.supports(map)]
        if run.open() and found:
            cheapest = min(found, key=lambda row: row[1])
            run.try_method(next((m for m, t in found if t <= _BUDGET[self.effort]), cheapest[0]))
        if run.open():
            affordable = int(_SEARCH[self.effort] / application_seconds(map))
            run.try_method(PowerIteration(min(_STEPS[self.effort], affordable // 2), start=run.start))


class _Run:
    """The enclosure so far and the list of what was tried."""

    def __init__(self, map: LinearMap, norm: str, tolerance: float):
        self.map, self.norm, self.tolerance = map, norm, tolerance
        self.bound: NormBound | None = None
        self.start: Any = None
        self.tried: list[dict[str, Any]] = []

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

