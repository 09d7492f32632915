"""Bernstein: abstraction of any Lipschitz controller by one Bernstein form on the box of the set (ReachNN), for networks and black boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from certify.core.errors import InputError

from ..errors import ReachError
from ..sets.polyzonotope import PolynomialZonotope
from .bernstein_compose import composed
from .bernstein_error import GROW, Error, a_priori, by_slopes, cells_for, sampled, weighted
from .bernstein_fit import classical, fitted, raised, sample_points
from .bernstein_form import Tensor
from .bernstein_source import Domain, Source, source_of
from .model import ControlModel, Prepared

if TYPE_CHECKING:
    from .controller import Controller

MOST_INPUTS = 5
_IRRELEVANT = 1e-7  # a coordinate whose influence is below this share of all is frozen; what it can do is added to the error
_SHARE = 1e-3  # of the control's range: the error that automatic degrees try to reach
_HIGHEST = 24


class BernsteinRecord(NamedTuple):
    """What a checker needs: on {c + h t} the control lies in B(t) + shift +- error, B by its coefficients in the active coordinates."""

    centre: np.ndarray
    radius: np.ndarray
    active: np.ndarray
    coefficients: np.ndarray
    shift: np.ndarray
    error: np.ndarray
    theorem: str
    sampled: np.ndarray
    evaluations: int
    limited: bool
    hypotheses: tuple[str, ...]


@dataclass(frozen=True)
class Bernstein:
    """Abstract a controller by a Bernstein form on the box of the set: needs values and a Lipschitz constant, nothing else.

    Claim: for x = p(s) + E eps, |s|, |eps| <= 1, the control is in P(s) + E_v eps +- box. On the box {c + h t} of the set, u(c + h t) is in
    B(t) + shift +- error by the smallest of the bounds of `bernstein_error` (a priori, sampled, slopes per cell); B is then composed with p, and the
    deviation E eps enters through the range of dB/dt by the mean value theorem.

    Args:
        degree: of B, one integer >= 0 or one per state that matters; None takes what the ring of the set can hold and the samples justify.
        error: absolute error of the control that is enough; None: a thousandth of the control's range on the set.
        samples: points at which the polynomial is fitted and compared before anything is proved; None chooses, at most 600.
        budget: largest number of cells (controller evaluations) per set for the proof of the error; None: 300 for a network, 20,000 for a black box.
        partition: cells per coordinate on which the error bound starts, one integer or one per state that matters; None chooses.
        operator: "bernstein" keeps b_k = u(node k), the published method, degrees raised where the influence is largest; "auto" fits the coefficients by
            least squares over the total degree that the ring holds, and for a black box takes the published operator where its bound is smaller.

    Guarantee: sound for any setting; a budget that is too small gives a larger box, and the record says `limited`. Rounding of the controller's values, of B
    and of the composition is inside the box. A black box's Lipschitz constant is a hypothesis, named in the record.
    Raises:
        ReachError: more than 5 states matter (the number of nodes is a product over them), or the controller has no finite value or constant on the set.
        InputError: a setting outside its range.
    Cost: the samples, prod(d_i + 1) nodes and the cells, batched; a composition of prod(d_i + 1) polynomial products.
    Source: Huang, Fan, Li, Chen, Zhu: ReachNN, ACM TECS 18 (2019); methods/reach.md section 2.

    >>> Bernstein(degree=3, budget=1000)
    Bernstein(degree=3, error=None, samples=None, budget=1000, partition=None, operator='auto')
    """

    degree: int | tuple[int, ...] | None = None
    error: float | None = None
    samples: int | None = None
    budget: int | None = None
    partition: int | tuple[int, ...] | None = None
    operator: str = "auto"

    def __post_init__(self):
        for name, least, most in (("degree", 0, _HIGHEST), ("partition", 1, 10_000)):
            value = getattr(self, name)
            many = [] if value is None else list(value) if isinstance(value, tuple | list) else [value]
            if not all(isinstance(v, int) and not isinstance(v, bool) and least <= v <= most for v in many):
                raise InputError("a setting is outside its range", where=f"Bernstein.{name}", found=value, expected=f"integers from {least} to {most}, or None")
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        if self.error is not None and not (isinstance(self.error, int | float) and math.isfinite(self.error) and self.error > 0):
            raise InputError("a setting is outside its range", where="Bernstein.error", found=self.error, expected="a positive number, or None")
        for name in ("samples", "budget"):
            value = getattr(self, name)
            if not (value is None or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10**7)):
                raise InputError("a setting is outside its range", where=f"Bernstein.{name}", found=value, expected="an integer from 1 to 10^7, or None")
        if self.operator not in ("auto", "bernstein"):
            raise InputError("unknown operator", where="Bernstein.operator", found=repr(self.operator), expected="'auto' or 'bernstein'")

    def prepare(self, controller: Controller | Any, order: int) -> Prepared:
        """The map from sets to control models for one controller; `order` is the state ring's."""
        return Abstractor(self, source_of(controller), order)


class Abstractor:
    """`Bernstein` on one controller; a call has no memory of earlier ones."""

    def __init__(self, settings: Bernstein, source: Source, order: int):
        self.settings, self.source, self.order = settings, source, order

    def __call__(self, state: PolynomialZonotope) -> ControlModel:
        domain, columns = self.domain(state)
        form, error = self.best(state, domain, columns)
        shift = 0.5 * error.lower + 0.5 * error.upper
        radius = (np.maximum(error.upper - shift, shift - error.lower) + _frozen(domain, columns)) * GROW
        if not np.isfinite(radius).all():
            hint = "look at the network's weights, or at the black box's values"
            raise ReachError("the controller has no finite bound on this set", where="Bernstein", found=f"error {radius.tolist()}", hint=hint)
        record = BernsteinRecord(
            domain.centre, domain.radius, domain.active, form.coefficients, shift, radius, error.theorem, error.sampled, error.cells, error.limited, self.source.hypotheses
        )
        return composed(state, domain, form, shift, radius, record)

    def domain(self, state: PolynomialZonotope) -> tuple[Domain, np.ndarray]:
        """The box of the set, the constants on it, and the coordinates that matter."""
        box = state.box()
        if not (np.isfinite(box.lower).all() and np.isfinite(box.upper).all()):
            raise ReachError("the set is unbounded", where="Bernstein", hint="the flowpipe has diverged: more substeps, a higher order, or a smaller initial set")
        centre = 0.5 * box.lower + 0.5 * box.upper
        radius = np.where(box.lower == box.upper, 0.0, np.nextafter(np.maximum(box.upper - centre, centre - box.lower), np.inf))
        whole = Domain(centre, radius, np.zeros(0, int))
        columns = np.asarray(self.source.columns(whole.lower, whole.upper), np.float64)
        if not (columns[:, radius > 0] >= 0).all() or np.isinf(columns[:, radius > 0]).any():
            raise ReachError("the controller has no finite Lipschitz constant on this set", where="Bernstein", found=f"{columns.tolist()}", hint="a smaller set")
        influence = np.where(radius > 0, columns * radius, 0.0).max(axis=0, initial=0.0)
        active = np.flatnonzero(influence > _IRRELEVANT * influence.sum())
        if len(active) > MOST_INPUTS:
            raise ReachError(
                "a Bernstein form of so many variables has too many nodes",
                where="Bernstein",
                found=f"{len(active)} states of positive width that the controller reads",
                expected=f"at most {MOST_INPUTS}",
                hint="controller=reach.Layerwise() goes through the layers of a network with any number of inputs",
            )
        return Domain(centre, radius, active), columns

    def best(self, state: PolynomialZonotope, domain: Domain, columns: np.ndarray) -> tuple[Tensor, Error]:
        """The form and the smallest of the bounds that apply to it."""
        s, source, n = self.settings, self.source, len(domain.active)
        q = (columns[:, domain.active] * domain.radius[domain.active]).max(axis=0, initial=0.0)
        whole = None if source.whole is None else source.whole(domain.lower, domain.upper)
        budget = s.budget or (300 if source.slopes is not None else 20_000)
        count = s.samples or min(64 + 2**n + 4 * math.comb(n + self.order, n), 600)
        points = sample_points(count, n)
        values = source.values(domain.points(points))[0]
        goal = s.error or max(_SHARE * float((values.max(axis=0) - values.min(axis=0)).max(initial=0.0)), 1e-12)
        found: list[tuple[Tensor, Error]] = []
        fixed = _fixed(s.degree, n, "degree")
        if s.operator == "bernstein" or (s.operator == "auto" and source.slopes is None):
            highest = min(max(self.order, 2), _HIGHEST)
            form, halves = classical(source, domain, fixed) if fixed is not None else raised(source, domain, q, highest, 4096, points, values, 0.5 * goal)
            bound = a_priori(domain, form.degrees, halves, columns, whole)
            found.append((form, Error(-bound, bound, "a priori", np.zeros(len(bound)), math.prod(d + 1 for d in form.degrees), False)))
        if s.operator == "auto":
            spread = state.spread()[domain.active] / domain.radius[domain.active]
            form = fitted(count, values, self.order if fixed is None else max(fixed, default=0), spread, goal)
        first = _fixed(s.partition, n, "partition")
        if source.slopes is not None:
            error = by_slopes(source, source.slopes, domain, form, first or cells_for(q, min(budget, 3**n)), budget, np.full(len(columns), goal))
        else:
            error = sampled(source, domain, form, first or cells_for(q, budget), columns, whole)
        found.append((form, error))
        return min(found, key=lambda pair: float((pair[1].upper - pair[1].lower).max(initial=0.0)))


def _fixed(value: int | tuple[int, ...] | None, n: int, name: str) -> tuple[int, ...] | None:
    """A setting as one integer per active coordinate."""
    if value is None or isinstance(value, int):
        return None if value is None else (value,) * n
    if len(value) != n:
        raise InputError("a setting has another length than the number of states that matter", where=f"Bernstein.{name}", found=value, expected=f"{n} integers, or one")
    return value


def _frozen(domain: Domain, columns: np.ndarray) -> np.ndarray:
    """(outputs,) what the frozen coordinates can change: sum of L_i h_i."""
    rest = domain.radius.copy()
    rest[domain.active] = 0.0
    return weighted(columns, rest)


__all__ = ["Bernstein", "BernsteinRecord"]
