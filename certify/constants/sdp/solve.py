"""From a chain to a proved bound: choose a search by size and budget, verify what it found, fall back to something weaker and say why.

Search (floats) and proof are separate: the multipliers of the interior point method or of the gradient method are handed to `inequality` (one matrix, up to
LARGEST_INEQUALITY rows) or `layers` (any depth), which prove a bound from any multipliers; nothing about the search is believed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.errors import CertifyError, HypothesisError
from ...core.midrad import full
from ...core.rounding import up
from . import inequality, layers
from .chain import MEMORY, Chain
from .interior import InteriorPoint, program_of
from .recursion import ROOM, absolute, best_closed_form, top

LARGEST_INEQUALITY = 3000  # rows of the one matrix; beyond, layer by layer
BUDGETS = {"fast": 2.0, "balanced": 30.0, "tight": 600.0}  # seconds of search for one statement
ROOM_FOR_CHECK = 1.0 + 2.0**-34  # what is claimed over what was proved: the checker rounds differently in the last bits
_INFLATIONS = (0.0, 1e-12, 1e-11, 1e-10, 3e-10, 1e-9, 1e-8)
_SHARES = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_SECONDS = 5.5e-10  # of one interior point step: times N^3

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Inequality:
    """|C dx| <= bound |dx_0|, proved by one matrix inequality; tau per layer of the unreduced chain (0 for what `reduced` drops)."""

    bound: float
    taus: list[np.ndarray]
    value: float
    gap: float
    steps: int
    seconds: float
    notes: tuple[str, ...] = ()
    kind: str = "inequality"


@dataclass(frozen=True, eq=False)
class Layered:
    """Verified metrics of every state: bound of the whole output, and one for every row c through `metric`."""

    bound: float
    proved: layers.Proved
    states: tuple[tuple[str, ...], ...]
    value: float
    steps: int
    seconds: float
    notes: tuple[str, ...] = ()
    kind: str = "layers"

    @property
    def metric(self) -> layers.Metric:
        return self.proved.metrics[-1]


@dataclass
class Plan:
    """What a search will cost, before anything is allocated."""

    size: int
    seconds: float
    bytes: int
    notes: list[str] = field(default_factory=list)

    @property
    def dense(self) -> bool:
        """Whether the interior point method fits."""
        return self.size <= LARGEST_INEQUALITY and 12 * 8 * self.size**2 <= MEMORY


def plan_of(chain: Chain) -> Plan:
    """Estimates for the interior point method on this chain; raises HypothesisError if not even one metric fits into memory."""
    size = chain.input_size + chain.neurons
    need = 10 * 8 * max([chain.input_size, *(max(a.weight.shape[0] + a.inject.shape[0], a.weight.shape[1]) for a in chain.layers)]) ** 2
    if need > MEMORY:
        raise HypothesisError(
            "the semidefinite bound does not fit into memory",
            where=f"{chain.neurons} neurons, widest block {chain.widest}",
            found=f"about {need / 2**30:.1f} GiB for one metric",
            expected=f"at most {MEMORY / 2**30:.0f} GiB",
            hint="method='product' has no such limit",
        )
    return Plan(size, 15 * (_SECONDS * size**3 + 4e-3), need)


def _honest(search: Callable[[], Any]) -> Any:
    """The search's answer; numbers beyond floats (overflow, no convergence of an eigenvalue routine) are a refusal, not a traceback."""
    try:
        with np.errstate(all="ignore"):
            return search()
    except (np.linalg.LinAlgError, ValueError, FloatingPointError, OverflowError, ZeroDivisionError) as error:
        if isinstance(error, CertifyError):
            raise
        raise HypothesisError("the semidefinite bound is out of the reach of floats here", found=f"{type(error).__name__}: {error}"[:200], hint="method='product'") from error


def solve(chain: Chain, effort: str = "balanced", device: str = "cpu", progress: Progress | None = None) -> Inequality | Layered:
    """A proved bound on |C dx| / |dx_0| over the whole space (or over the region that the chain's slopes belong to).

    Args:
        chain: as `chain_of` gives it; its `last` are the rows C. effort: the budget of the search in seconds (BUDGETS).
    Raises:
        HypothesisError: nothing to search (affine network), too large, or no bound could be verified.
    """
    return _honest(lambda: _solved(chain, effort, device, progress))


def _solved(chain: Chain, effort: str, device: str, progress: Progress | None) -> Inequality | Layered:
    begin = time.perf_counter()
    small, alive = _searchable(chain)
    plan, budget = plan_of(small), BUDGETS[effort]
    if plan.dense and plan.seconds <= budget:
        found = _interior(small, begin)
        if found is not None:
            # A neuron that cannot move here may, to another program, move by a rounding error: it gets a multiplier that pays for that.
            spare = 1e9 * max(float(t.max(initial=0.0)) for t in found.taus)
            return Inequality(found.bound, _widened(chain, alive, found.taus, spare), found.value, found.gap, found.steps, time.perf_counter() - begin)
        plan.notes.append("the interior point method gave no verified answer")
    elif plan.dense:
        plan.notes.append(f"the interior point method would need about {plan.seconds:.0f} s, more than {budget:.0f} s: gradient method")
    else:
        plan.notes.append(f"{plan.size} rows are too many for one matrix inequality: layer by layer")
    return _layered(chain, small, alive, effort, device, progress, begin, plan)


def layered(chain: Chain, effort: str = "balanced", device: str = "cpu", progress: Progress | None = None) -> Layered:
    """Verified metrics of all states, multipliers by the gradient method (effort "fast": the closed form): one bound for every row of the output.

    Raises:
        HypothesisError: as `solve`.
    """
    begin = time.perf_counter()

    def search() -> Layered:
        small, alive = _searchable(chain)
        return _layered(chain, small, alive, effort, device, progress, begin, plan_of(small))

    return _honest(search)


def _searchable(chain: Chain) -> tuple[Chain, tuple[np.ndarray, ...]]:
    small, alive = chain.reduced()
    if not small.layers:
        raise HypothesisError("no slope is left to search: the map is linear here", hint="its constant is the norm of its matrix")
    return small, alive


def _interior(small: Chain, begin: float) -> Inequality | None:
    us, exponents, metric = best_closed_form(small)
    last = full(small.last.mid)
    peak = top(last @ metric @ last.T)
    power = -2 * sum(exponents)
    if not (peak > 0 and abs(power) < 900):
        return None
    scale = math.ldexp(peak, power)
    program = program_of(small)
    program.output = program.output / math.sqrt(scale)
    start = 1.5 / (np.concatenate(absolute(us, exponents)) * 1.02)
    found = InteriorPoint(program).solve(start, 1.5, tolerance=5e-6)
    if found is None or not (np.isfinite(found.tau).all() and (found.tau >= 0).all()):
        return None
    value, cuts = math.sqrt(found.rho * scale), np.cumsum([layer.groups for layer in small.layers])[:-1]
    for share in _SHARES:  # towards the start, which lies deeper inside, where the answer itself is too close to singular
        taus = np.split(((1 - share) * found.tau + share * start) * scale, cuts)
        base = math.sqrt(((1 - share) * found.rho + share * 1.5) * scale)
        bound = inequality.least(small, [float(up(base * (1 + e))) for e in (_INFLATIONS if share == 0 else (0.0,))], taus)
        if bound is not None:
            return Inequality(float(up(bound * ROOM_FOR_CHECK)), taus, value, found.gap, found.steps, time.perf_counter() - begin)
    return None


def _layered(chain: Chain, small: Chain, alive, effort: str, device: str, progress: Progress | None, begin: float, plan: Plan) -> Layered:
    if effort == "fast":
        us, exponents, _ = best_closed_form(small)
        reached, value = 0, math.inf
    else:
        from .first_order import first_order

        found = first_order(small, _steps(small, effort), device=device, progress=progress)
        us, exponents, reached, value = found.us, found.exponents, found.steps, found.value
    wide, given = _widened(chain, alive, us), iter(exponents)
    scaling = [next(given) if live.any() else 0 for live in alive]
    best: tuple[float, layers.Proved] | None = None
    for room in (ROOM, 1e-5, 1e-4):  # close to an optimum Q is almost singular: more room there can pay
        try:
            proved = layers.prove(chain, wide, room, scaling)
        except (HypothesisError, np.linalg.LinAlgError):
            continue
        bound = layers.whole_bound(proved.metrics[-1], chain.last)
        if best is None or bound < best[0]:
            best = bound, proved
        if best[0] <= value * (1 + 1e-6):
            break
    if best is None or not math.isfinite(best[0]):
        raise HypothesisError("the semidefinite bound could not be verified", found="; ".join(plan.notes) or None, hint="method='product'")
    return Layered(float(up(best[0] * ROOM_FOR_CHECK)), best[1], chain.states, value, reached, time.perf_counter() - begin, tuple(plan.notes))


def _steps(chain: Chain, effort: str) -> int:
    """Gradient steps that fit the budget by the cost model; not by the clock, so that the same call gives the same answer."""
    each = 1e-3 * len(chain.layers) + 7e-10 * sum(float(sum(layer.weight.shape)) ** 3 for layer in chain.layers)
    return int(min({"fast": 0, "balanced": 60}.get(effort, 200), max(1.0, BUDGETS[effort] / each)))


def _widened(chain: Chain, alive: tuple[np.ndarray, ...], values: list[np.ndarray], others: float = 0.0) -> list[np.ndarray]:
    """Per layer of the whole chain: the live groups' values, and `others` for those that `reduced` drops."""
    given, wide = iter(values), []
    for layer, live in zip(chain.layers, alive, strict=True):
        full_values = np.full(layer.groups, others)
        if live.any():
            full_values[live] = next(given)
        wide.append(full_values)
    return wide
