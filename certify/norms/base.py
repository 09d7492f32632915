"""NormBound, NormMethod and `methods()`: an enclosure of ||A||_p of a linear map, and how a method gives one.

A is the exact real matrix of the map. A method first encloses the norm of the *stored* matrix (float64 weights, exact), then
adds `perturbation * || |A| ||_p` for weights that are themselves rounded (a folded BatchNorm, 1/9 of a pool).

**Evidence.** `bound.evidence` is JSON data. `evidence["verify"]` tells an independent checker how the finite upper end can be
re-derived from the node alone; it is absent when the upper end is inf. Its keys:

    "by"       which statement (below)
    "upper"    float u with ||stored A||_p <= u; room: u is at least 2^-28 relative above what the prover's own eigenvalue proof needed,
               8 gamma instead of 2 gamma for sums
and beside it  evidence["perturbation"] = {"relative": rho, "underflow": tau, "added": x}:  bound.upper >= u + x,
               x >= rho || |A| ||_p + tau (number of entries); absent when rho = tau = 0.

| by | statement | more keys |
|---|---|---|
| zero | every live weight is zero: A = 0, u = 0 | |
| exact_l1 / exact_linf | u >= max column / row sum of the majorant: |K| applied to ones (adjoint: P'|V|'1 under copying padding) | |
| frobenius | u >= max over groups of the Frobenius norm of the assembled matrix of that group (one entry = one weight: zero padding) | |
| induced_product | u >= sqrt(l1 * linf), both as above | |
| diagonal | A A' ("rows") or A' A ("columns") is diagonal: u >= largest row / column 2-norm | "kind" |
| dense | u^2 I - A A' > 0 (or A' A) of the assembled matrix, one matrix per group; dense: the weight matrix; pools: one channel | |
| unfolding | layer_norms.md 2.5: u >= max over groups of sqrt(prod J_i) ||R reshaped to (rows, taps of S) x (columns, taps not in S)|| | "subset": S, "claim": zeros or circular |
| grid | u >= factor * max over groups and over the grid of ||F(w)|| | "claim", "period", "twist" |
| lines | u >= max over groups and over the lines: ||F(w)|| on the grid of the line, or ||B(w)|| of its exact section | "inner", "period", "twist", "lines" |
| copies | A = V P (Proposition 0): u >= sqrt(prod count_i) * of.upper | "count", "of": the verify entry of V |
| product | A = A_k ... A_1: u >= product of the factors' `upper` | "factors": one verify entry per map, first map first |

**The matrices behind `unfolding`, `grid` and `lines`.** The convolution: for `conv` itself; for `conv_transpose` the convolution whose adjoint it
is: the stored weight read as (c_out, c_in/groups, *kernel), n = the layer's OUTPUT size, m = its INPUT size, p = low padding, zeros; for
`avg_pool` with one divisor: one channel, weight 1/divisor. Per group one kernel K[t], (c_out/g x c_in/g). Per axis: n inputs, m outputs, k taps,
stride s, dilation d, low padding p. `period` and `twist` have one integer per spatial axis, in the node's axis order.

Claims `zeros`, `embedding`, `any_size` (mode zeros). On every axis, in this order:
 1. tap t is live iff 0 <= s o - p + d t < n for some 0 <= o < m. Weights of dead taps are set to zero, and the axis is cropped to first..last live
    tap: k <- last - first + 1, p <- p - d first (p may become negative). No live tap on some axis: A = 0, u >= 0.
 2. e = gcd(s, d), c0 = (-p) mod e:  n <- ceil((n - c0)/e), p <- (p + c0)/e, s <- s/e, d <- d/e.
 3. R[j], 0 <= j < J = ceil(k/s): tap t goes to shift j = t // s and column phase r = t mod s; columns are (c_in/g, r_1, .., r_D). Columns
    that are zero in every R[j] change no norm. F(w) = sum_j R[j] exp(i <w, j>) (no dilation in it).
 4. classes rho = 0..d-1: q, c = divmod(s rho - p, d); n' = ceil((n - c)/d), p' = -q, m' = ceil((m - rho)/d); only those with n' > 0 and m' > 0.
    Least period: max over classes of max(ceil((n' + p')/s), ceil((s (m' - 1) - p' + k)/s), m', 1).
 The grid is w_i = pi (2 k_i + twist_i)/period_i, 0 <= k_i < period_i; an axis with J_i = 1 has period 1 (F does not depend on w_i).
 - `embedding` (Theorem 1): period_i >= least period on every axis with J_i > 1; factor 1. One period for all groups; "twist": one list, or one list per group.
 - `any_size` (Theorem 2): period_i >= 2 J_i, factor prod 1/cos(pi (J_i - 1)/(2 period_i)). `zeros` (unfolding): R of step 3.
`lines` (mode zeros, steps 1-4; layer_norms.md 4.3, 4.7), all groups alike: axis i = "inner"; period and twist as in `embedding` on the other axes, 1 and 0 on axis i;
 "lines": a pair [n, t] per outer grid point w_o = pi (2 k + tau)/N, row-major, of conjugate points the one with the lower flat index of 2 k + tau mod 2 N (C order, sizes 2 N).
 - n >= 1: ||F(w_o, (2 pi k + pi t/4)/n)|| <= u for 0 <= k < n, 0 <= t <= 7, n >= least period of axis i (n = 1, t = 0 where J_i = 1).
 - [0, 0]: ||B(w_o)|| <= u for every class of axis i (step 4), B of m' block rows and n' block columns, block (o, x) = K_w[x - s o + p'], 0 outside
   the k taps, K_w[t] = sum over the outer shifts of R exp(i <w_o, j>), the kernel split by the outer axes only.
Claims `circular`, `circular_rows` (mode circular; every tap is live; no steps 1, 2, 4):
 - `circular` (2.6; also the unfolding's claim): s | n and m = n/s on every axis; tap t has shift (d t) // s and phase (d t) mod s; period n/s, twist 0 (1 on an axis
   with one distinct shift); factor 1. In the unfolding J_i = number of distinct shifts of axis i, and the taps of R are the distinct shifts in increasing order.
 - `circular_rows`: stride ignored: shift d t, no phases, period n, twist 0 (period 1 where k = 1); factor sqrt(prod c_i), c_i = ceil(m_i / (n_i / gcd(n_i, s_i))).
`copies` (any copying mode): V is the zeros-mode convolution with p = 0 on n + low + high points per axis (same kernel, stride, dilation);
 count_i = how often the most frequent pixel appears in the padded axis.
"""

from __future__ import annotations

import abc
import functools
import importlib
import math
import pkgutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from ..core.errors import HypothesisError, SoundnessError
from ..core.regions import require_norm
from ..core.rounding import add_up, mul_down, mul_up, require_ieee, sub_down
from ..linear.base import LinearMap
from .majorant import majorant_up

ROOM = 1 + 2.0**-27  # every eigenvalue-type upper end is this much above its proof, so that a checker's own rounding passes
TINY = 2.0**-900  # pays for every underflow once the weights are scaled to max |w| in [1/2, 1)


@dataclass(frozen=True, eq=False)
class NormBound:
    """An enclosure lower <= ||A||_p <= upper of an operator norm, p = `norm` on both sides; upper may be inf, lower 0.

    `method` names what gave it, `seconds` is its wall time, `evidence` is described in `certify.norms.base`, `hypotheses` are the conditions
    that were checked, `cite` the sources. `start` is an input worth starting a search from (or None); it proves nothing.

    >>> a, b = NormBound(1.0, 3.0, "l2", "one"), NormBound(2.0, 5.0, "l2", "two")
    >>> (a & b).lower, (a & b).upper, (a & b).method
    (2.0, 3.0, 'two+one')
    """

    lower: float
    upper: float
    norm: str
    method: str
    seconds: float = 0.0
    evidence: dict[str, Any] = field(default_factory=dict)
    hypotheses: tuple[str, ...] = ()
    cite: tuple[str, ...] = ()
    start: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self):
        require_norm(self.norm)
        if not (0.0 <= self.lower < math.inf and self.lower <= self.upper):
            raise SoundnessError("an enclosure of a norm is inverted or not a number", where=self.method, found=f"[{self.lower!r}, {self.upper!r}]", expected="0 <= lower <= upper")

    def table(self) -> str:
        """The decision as plain text: what was tried with its ends and seconds, and which candidates were weighed (only `auto` decides).

        >>> print(NormBound(1.0, 2.0, "l2", "one").table())
        method  lower  upper  seconds  decision
        one         1      2     0.00  the method asked for
        """
        from .table import bound_table

        return bound_table(self)

    def __and__(self, other: NormBound) -> NormBound:
        """The intersection: the better end of each; an empty one is a contradiction between two proofs and raises SoundnessError."""
        if self.norm != other.norm:
            raise SoundnessError("enclosures of two different norms cannot be intersected", found=f"{self.norm} ({self.method}) and {other.norm} ({other.method})")
        low = self if self.lower >= other.lower else other
        high = self if self.upper <= other.upper else other
        if not low.lower <= high.upper:
            found = f"{low.method}: at least {low.lower!r}; {high.method}: at most {high.upper!r}"
            raise SoundnessError("two methods contradict each other about one norm: at least one of them is wrong", where=f"{low.method} and {high.method}", found=found)
        name = high.method if low is high else f"{low.method}+{high.method}"
        evidence = {**low.evidence, **high.evidence}
        return NormBound(
            low.lower, high.upper, self.norm, name, self.seconds + other.seconds, evidence,
            tuple(dict.fromkeys(high.hypotheses + low.hypotheses)), tuple(dict.fromkeys(high.cite + low.cite)), high.start if high.start is not None else low.start,
        )  # fmt: skip


@dataclass(frozen=True)
class Ends:
    """What a method proves about the stored matrix of a scaled map: lower <= ||A|| <= upper, and the `verify` entry of the upper end."""

    lower: float
    upper: float
    verify: dict[str, Any] | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    start: np.ndarray | None = None


@dataclass(frozen=True)
class NormMethod(abc.ABC):
    """A way to enclose ||A||_p; a frozen dataclass whose fields are its settings.

    To add one: a file in this folder with a subclass that has a `name`, the `norms` it knows, `cite`, `_refuses` (the hypotheses of its
    theorem, as a sentence when one fails) and `_ends`. Nothing else needs to know; the tests find it.
    """

    name: ClassVar[str]
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    cite: ClassVar[tuple[str, ...]]
    hypotheses: ClassVar[tuple[str, ...]] = ()
    own_scale: ClassVar[bool] = False  # True: `_ends` takes the map as it is and answers in its units

    def supports(self, map: LinearMap, norm: str = "l2") -> str:
        """"" if `enclose` applies to this map and norm, else the reason why not."""
        require_norm(norm)
        return self._refuses(map, norm) if norm in self.norms else f"{self.name} does not enclose {norm}"

    def enclose(self, map: LinearMap, norm: str = "l2") -> NormBound:
        """lower <= ||A||_norm <= upper for the exact real matrix of `map`, for weights of any scale.

        Raises:
            HypothesisError: `supports` gives a reason. SoundnessError: the arithmetic is not IEEE 754.
        """
        start = time.perf_counter()
        reason = self.supports(map, norm)
        if reason:
            raise HypothesisError(f"the norm method '{self.name}' does not apply", where=repr(map), found=reason, hint="use method='auto', or one whose supports() is empty")
        require_ieee()
        if not map.stored.any():
            ends = Ends(0.0, 0.0, {"by": "zero"})
        elif self.own_scale:
            ends = self._ends(map, norm)
        else:
            scaled, e = map.scaled()
            ends = _unscaled(self._ends(scaled, norm), e)
        return self._bound(map, norm, ends, time.perf_counter() - start)

    def _bound(self, map: LinearMap, norm: str, ends: Ends, seconds: float) -> NormBound:
        evidence = dict(ends.evidence)
        spread = spread_up(map, norm)
        if spread:
            evidence["perturbation"] = {"relative": map.perturbation, "underflow": map.underflow, "added": spread}
        if ends.verify is not None:
            evidence["verify"] = {**ends.verify, "upper": ends.upper}
        lower = max(0.0, sub_down(ends.lower, spread)) if math.isfinite(spread) else 0.0
        return NormBound(lower, add_up(ends.upper, spread), norm, self.name, seconds, evidence, self.hypotheses, self.cite, ends.start)

    @abc.abstractmethod
    def _refuses(self, map: LinearMap, norm: str) -> str:
        """The hypothesis that fails for this map, "" if none does."""

    @abc.abstractmethod
    def _ends(self, map: LinearMap, norm: str) -> Ends:
        """Ends for the stored matrix of a map that is not zero, scaled (max |w| in [1/2, 1)) unless `own_scale`."""


def spread_up(map: LinearMap, norm: str) -> float:
    """Upper end of ||A_true - A||_p: rho || M ||_p with the majorant M, plus tau for every entry; 0 for exact weights."""
    if map.perturbation == 0.0 and map.underflow == 0.0:
        return 0.0
    relative = mul_up(map.perturbation, majorant_up(map, norm)) if map.perturbation else 0.0
    return add_up(relative, mul_up(map.underflow, float(map.input_size * map.output_size))) if map.underflow else relative


def scale_up(x: float, e: int) -> float:
    """Upper end of 2^e x; exact unless the result is subnormal or overflows."""
    return mul_up(mul_up(x, 2.0 ** (e // 2)), 2.0 ** (e - e // 2))


def scale_down(x: float, e: int) -> float:
    """Lower end of 2^e x."""
    return mul_down(mul_down(x, 2.0 ** (e // 2)), 2.0 ** (e - e // 2))


def _unscaled(ends: Ends, e: int) -> Ends:
    return Ends(scale_down(ends.lower, e), scale_up(ends.upper, e), ends.verify, ends.evidence, ends.start)


def room(upper: float) -> float:
    """The upper end with the room that a checker needs."""
    return mul_up(upper, ROOM)


@functools.cache
def methods() -> Mapping[str, NormMethod]:
    """Every norm method with its default settings, by name: found by importing the modules of this folder.

    >>> sorted(methods())[:3]
    ['any_size', 'auto', 'copied_padding']
    """
    package = __name__.rpartition(".")[0]
    found: dict[str, NormMethod] = {}
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if info.name in ("estimate", "symbol_estimate", "active_peak", "differentiable"):  # hold no method and load torch
            continue
        module = importlib.import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, NormMethod) and value is not NormMethod and value.__module__ == module.__name__:
                found[value.name] = value()
    return MappingProxyType(found)
