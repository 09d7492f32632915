"""`verify`: from a flowpipe and a specification to a verdict: first the proof on the sets, then, where it fails, the search for a proved counterexample."""

from __future__ import annotations

from typing import Any

from certify.core.decimals import decimal_down, decimal_up
from certify.core.errors import InputError
from certify.core.verdict import Verdict

from ..specification import Bound
from .inclusion import BUDGET, Answer, excess, inside, outside
from .moments import some_moment
from .patches import Patch, moments_at, tube_pieces


def verify(pipe: Any, spec: Any, falsify: bool = True) -> Verdict:
    """Does every motion in the flowpipe's loop satisfy the specification?

    Claim: VERIFIED: every solution from the initial box, for every admissible disturbance and choice, satisfies it. FALSIFIED: the witness's initial state is in
    the box, its disturbance admissible, and a validated flowpipe from it violates the specification. UNKNOWN: neither was shown; the reason names time, step,
    condition and margin, and the best candidate of the search as an estimate. All for both readings of decimals (`reach.specification`).

    Args:
        pipe: Flowpipe, the partial one of a RemainderError included. spec: Arrive, ArriveWithin, Stay or Avoid.
        falsify: whether to search for a counterexample where the proof fails.
    Raises:
        InputError: what is no specification, or does not fit the loop and horizon (see `bind`).

    Cost: milliseconds where the plain ranges decide; cuts are bounded by a budget; the search simulates some thousand motions.
    Source: docs/reach.md sections 1 and 6.
    """
    bound = _bind(pipe, spec)
    verdict = prove(pipe, spec)
    if verdict or not falsify:
        return verdict
    from .falsify import refute

    return refute(pipe, bound, verdict)


def prove(pipe: Any, spec: Any, budget: int = BUDGET) -> Verdict:
    """VERIFIED or UNKNOWN: the test on the sets alone, without any simulation. Arguments and errors as `verify`; `budget`: parts of patches per question."""
    bound = _bind(pipe, spec)
    if bound.last > len(pipe):
        return Verdict("UNKNOWN", f"the flowpipe ends at time {len(pipe) * pipe.loop.period:.6g} (control step {len(pipe)}), the question reaches to control step {bound.last}")
    branches = getattr(pipe, "branches", None) or (pipe,)
    verdicts = [_prove(branch, bound, budget) for branch in branches]
    return next((v for v in verdicts if not v), verdicts[0])


def asked_steps(pipe: Any) -> int:
    """The number of control steps that the user asked for: more than the pipe has where the enclosure could not be continued."""
    return max(len(pipe), int(pipe.settings.get("steps", 0)))


def _bind(pipe: Any, spec: Any) -> Bound:
    if not hasattr(spec, "bind"):
        raise InputError("this is not a specification", where="verify", found=type(spec).__name__, expected="Arrive, ArriveWithin, Stay or Avoid")
    return spec.bind(pipe.loop, asked_steps(pipe))


def _prove(pipe: Any, bound: Bound, budget: int) -> Verdict:
    if bound.kind == "arrive within":
        return _within(pipe, bound, budget)
    if bound.kind == "arrive":
        patches = list(moments_at(pipe, range(bound.last, bound.last + 1))[0])
    else:
        patches = window(pipe, bound)
    answer = outside(patches, bound.region, budget) if bound.kind == "avoid" else inside(patches, bound.region, budget)
    return _verdict(answer, bound)


def window(pipe: Any, bound: Bound) -> list[Patch]:
    """The patches that a Stay, an Avoid or a refutation of ArriveWithin is about."""
    if bound.at == "samples":
        return [patch for moment in moments_at(pipe, range(bound.first, bound.last + 1)) for patch in moment]
    return tube_pieces(pipe, bound.first, bound.last)


def _within(pipe: Any, bound: Bound, budget: int) -> Verdict:
    answer, moment = some_moment(pipe, bound, True, budget)
    if answer is not None:
        return Verdict("VERIFIED", f"every motion is inside {bound.region} {moment[0].when}, with a margin of at least {_margin(answer.slack)}")
    over = max(excess(patch, bound.region, k) for patch in moment for k in range(len(bound.region.clauses)))
    reason = f"no time of the window has the whole set inside {bound.region}; the nearest is {moment[0].when}, where it may reach {decimal_up(over)} beyond"
    return Verdict("UNKNOWN", reason + " (different motions may arrive at different times: a smaller initial box could decide)")


def _verdict(answer: Answer, bound: Bound) -> Verdict:
    what = {"arrive": "is inside", "stay": "stays inside", "avoid": "avoids"}[bound.kind]
    if answer.patch is None:
        return Verdict("VERIFIED", f"every motion {what} {bound.region}, with a margin of at least {_margin(answer.slack)}")
    when = answer.patch.when
    if bound.kind == "avoid":
        return Verdict("UNKNOWN", f"the set {when} could not be separated from {bound.region} (best separation {_margin(answer.slack)})")
    over = excess(answer.patch, bound.region, answer.clause)
    return Verdict("UNKNOWN", f"{bound.region.describe(answer.clause)} is not shown {when}: the set may exceed it by {decimal_up(over)}")


def _margin(slack: float) -> str:
    return decimal_down(slack) if slack > float("-inf") else "none"
