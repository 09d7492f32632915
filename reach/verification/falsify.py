"""Refutation: a candidate found by simulation is proved by a validated thin flowpipe, or the question stays open."""

from __future__ import annotations

from typing import Any

import numpy as np

from certify.core.decimals import decimal_down
from certify.core.errors import CertifyError
from certify.core.verdict import Verdict

from ..specification import Bound
from .search import Candidate, Search, rounded, shortened
from .witness import prove_violation

_POINTS = 6  # initial states of a loop that cannot be simulated


def refute(pipe: Any, bound: Bound, open_: Verdict) -> Verdict:
    """FALSIFIED with a proved witness, or `open_` with the best candidate named as an estimate."""
    loop, initial = pipe.loop, pipe.initial
    if not hasattr(loop.controller, "evaluate"):
        return _without_simulation(pipe, bound, open_)
    search = Search(loop, bound, np.asarray(initial.lower), np.asarray(initial.upper))
    try:
        starts = search.start()
        best = starts[0]
        verdict = _proved(pipe, bound, search, best) if best.score > 0 else None
        if verdict is None:
            best = search.improve(starts)
            verdict = _proved(pipe, bound, search, best) if best.score > 0 else None
    except CertifyError as error:
        return Verdict("UNKNOWN", f"{open_.reason}; the search for a counterexample failed: {error.what}")
    if verdict is not None:
        return verdict
    if best.score > 0:
        text = f"the motion from {_point(best, search)} violates it by about {best.score:.3g}, which could not be proved"
    elif np.isfinite(best.score):
        text = f"the worst motion found keeps a margin of about {-best.score:.3g}, from {_point(best, search)}"
    else:
        return open_
    return Verdict("UNKNOWN", f"{open_.reason}; in simulation (an estimate) {text}")


def _without_simulation(pipe: Any, bound: Bound, open_: Verdict) -> Verdict:
    """A switching controller makes branches instead of one simulated motion: a few points are tried by their thin flowpipes alone."""
    lower, upper = pipe.initial.lower, pipe.initial.upper
    t = np.random.default_rng(0).random((_POINTS, len(lower)))
    t[0], t[1], t[2] = 0.5, 0.0, 1.0
    for point in np.clip((1 - t) * lower + t * upper, lower, upper):
        x = np.array([shortened(v, a, b, 3) for v, a, b in zip(point.tolist(), lower.tolist(), upper.tolist(), strict=True)])
        plant = pipe.loop.plant
        w = 0.5 * plant.disturbance_lower + 0.5 * plant.disturbance_upper if plant.disturbances else None
        witness = prove_violation(pipe.loop, bound, x, w, bound.last)
        if witness is not None:
            start = ", ".join(f"{name} = {value!r}" for name, value in zip(plant.states, x.tolist(), strict=True))
            return Verdict("FALSIFIED", f"from {start}: {witness.condition} {_when(bound, witness.time)}, by at least {decimal_down(witness.margin)}", witness)
    return Verdict("UNKNOWN", f"{open_.reason}; the thin flowpipes of {_POINTS} initial states do not violate it")


def _proved(pipe: Any, bound: Bound, search: Search, found: Candidate) -> Verdict | None:
    """FALSIFIED if the candidate, or the candidate with fewer decimals, is proved to violate the specification."""
    short = rounded(found, search.lower, search.upper, search.scores)
    for candidate in [found] if short is found else [short, found]:
        x, w = candidate.point[: search.n], candidate.point[search.n :]
        if not pipe.initial.contains(x):
            continue
        last = bound.last if bound.kind.startswith("arrive") else max(candidate.step, bound.first)
        witness = prove_violation(pipe.loop, bound._replace(last=last), x, w if len(w) else None, last)
        if witness is not None:
            text = f"from {_point(candidate, search)}: {witness.condition} {_when(bound, witness.time)}, by at least {decimal_down(witness.margin)}"
            return Verdict("FALSIFIED", text, witness)
    return None


def _point(candidate: Candidate, search: Search) -> str:
    plant = search.loop.plant
    names = (*plant.states, *plant.disturbances)
    return ", ".join(f"{name} = {value!r}" for name, value in zip(names, candidate.point.tolist(), strict=True))


def _when(bound: Bound, time: float) -> str:
    return "during the whole window" if bound.kind == "arrive within" else f"at time {time:.6g}"
