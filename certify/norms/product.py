"""A composition: the product of the norms of its factors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..core.rounding import mul_up
from ..linear.base import LinearMap
from ..linear.compose import Composition
from .base import Ends, NormMethod, methods


@dataclass(frozen=True)
class Product(NormMethod):
    """||A_k ... A_1|| <= ||A_k|| ... ||A_1||, in every norm; an upper end only. The factors' bounds come from the method `inner`.

    Cost: that of the factors. Source: submultiplicativity.
    """

    name = "product"
    norms = ("l2", "linf", "l1")
    cite = ("Horn & Johnson, Matrix Analysis (2013), section 5.6",)
    own_scale = True
    inner: str = "auto"

    def _refuses(self, map: LinearMap, norm: str) -> str:
        return "" if isinstance(map, Composition) else "the map is not a composition"

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        factors = map.maps if isinstance(map, Composition) else (map,)
        bounds = [methods()[self.inner].enclose(replace(m, perturbation=0.0, underflow=0.0), norm) for m in factors]
        upper = 1.0
        for bound in bounds:
            upper = 0.0 if 0.0 in (upper, bound.upper) else mul_up(upper, bound.upper)
        if not math.isfinite(upper):
            return Ends(0.0, upper)
        return Ends(0.0, upper, {"by": "product", "factors": [bound.evidence["verify"] for bound in bounds]}, {"methods": [bound.method for bound in bounds]})
