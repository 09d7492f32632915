"""`solve`: the flowpipe of a closed loop from a box of initial states."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from certify.core.errors import CertifyError, InputError
from certify.core.regions import Box
from certify.core.rounding import require_ieee

from .advance import Advance
from .branching import solve_switching
from .controllers.choose import choose
from .controllers.switching import Switching
from .errors import RemainderError
from .flowpipe import Flowpipe, Step
from .integrators.picard import Picard, default_order
from .loop import ClosedLoop
from .sets.jit import on_compile
from .sets.polyzonotope import PolynomialZonotope
from .sets.readings import enclose_decimals

Progress = Callable[[int, int, str], None]


def solve(loop: ClosedLoop, initial: Box, horizon: float, controller: Any = "auto", integrator: Any = "auto", progress: Progress | None = None) -> Flowpipe:
    """Sets that contain every motion of the loop from the box `initial` up to `horizon`.

    Claim: for every initial state in the box, every measurable disturbance in its bounds and the network with its stored weights in exact real arithmetic,
    the plant's solution exists on [0, horizon], and x(k period) is in `at(k)`, x(t) in `tube(k)` for (k - 1) period <= t <= k period.

    Args:
        loop: plant, controller and period. initial: bounded box over the plant's states, decimals in both readings.
        horizon: a whole number of periods (within 1e-9 relative), in the plant's unit of time.
        controller: "auto", `Layerwise(...)` or `Bernstein(...)`. integrator: "auto" or `Picard(...)`.
        progress: called as progress(done, total, message) after every control step; raising from it cancels.
    Raises:
        InputError: what was handed in does not fit. RemainderError: the enclosure could not be continued; carries the flowpipe so far, the time and step,
        and what to try.

    Hypotheses: IEEE 754 arithmetic, libm within 4 ulp (probed). Cost: per control step one pass through the network and a few Picard steps,
    milliseconds for two states and a network of 40 neurons. The first call compiles the kernels (said through progress).
    Source: methods of POLAR (Huang et al. 2022) and Taylor models (Berz & Makino 1998), proofs in docs/reach_method.md.

    >>> import numpy as np, reach
    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (1,)})
    >>> net = b.build(b.add("dense", [x], arrays={"weight": np.array([[-1.0]])}))
    >>> plant = reach.ContinuousSystem(["x"], ["u"], ["u"])
    >>> pipe = reach.solve(reach.ClosedLoop(plant, net, period=0.5), reach.Box([1.0], [2.0]), horizon=1.0)
    >>> box = pipe.at(2).box()                                      # x halves in every period
    >>> bool(box.lower[0] <= 0.25 and box.upper[0] >= 0.5), bool(box.upper[0] - box.lower[0] < 0.2501)
    (True, True)
    """
    require_ieee()
    lower, upper, steps = _problem(loop, initial, horizon)
    settings = _integrator(integrator)
    free = np.flatnonzero(np.asarray(initial.upper) > np.asarray(initial.lower))
    orders = [settings.order] if settings.order else [default_order(len(free)), default_order(len(free)) + 1]
    say = progress or (lambda done, total, message: None)
    with on_compile(lambda text: say(0, steps, text)):
        if isinstance(loop.controller, Switching):
            start = PolynomialZonotope.from_box(lower, upper, orders[0], free)
            return solve_switching(loop, initial, start, steps, choose(controller, loop, orders[0]), settings, orders[0], say)
        failure: RemainderError | None = None
        for order in orders:
            try:
                return _run(loop, initial, (lower, upper, free), steps, choose(controller, loop, order), settings, order, say)
            except RemainderError as error:
                better = failure is None or len(error.flowpipe or ()) > len(failure.flowpipe or ())
                failure = error if better else failure
        raise failure  # type: ignore[misc]


def _run(loop, initial: Box, start, steps: int, method, settings: Picard, order: int, say: Progress) -> Flowpipe:
    """One attempt with a fixed order."""
    lower, upper, free = start
    began = time.process_time()
    abstraction = method.prepare(loop.controller, order)
    advance = Advance(loop, abstraction, settings)
    state = PolynomialZonotope.from_box(lower, upper, order, free)
    integrator = repr(dataclasses.replace(settings, order=order))
    record: dict[str, Any] = {"steps": steps, "controller": repr(method), "integrator": integrator}
    record |= {"assumptions": loop.assumptions, "hypotheses": list(loop.controller.hypotheses)}
    done: list[Step] = []
    try:
        for k in range(steps):
            step: Step | None = None
            failed: Any = None
            try:
                step, failed = advance(state, k)
            except InputError:  # a setting that does not fit is not a divergence
                raise
            except CertifyError as error:
                failed = error
            if step is None:
                pipe = Flowpipe(loop, initial, tuple(done), record, time.process_time() - began)
                raise _remainder_error(loop, pipe, failed, k, advance.diagnosis()) from (failed if isinstance(failed, CertifyError) else None)
            done.append(step)
            state = step.end
            say(k + 1, steps, f"t = {(k + 1) * loop.period:.6g}")
    except KeyboardInterrupt as stop:  # whoever shows what was finished finds it here
        stop.flowpipe = Flowpipe(loop, initial, tuple(done), record, time.process_time() - began)  # type: ignore[attr-defined]
        raise
    return Flowpipe(loop, initial, tuple(done), record, time.process_time() - began)


def _remainder_error(loop: ClosedLoop, pipe: Flowpipe, failed: Any, k: int, diagnosis: str) -> RemainderError:
    reason, at, hint = (failed.what, k * loop.period, failed.hint) if isinstance(failed, CertifyError) else (failed.reason, failed.time, None)
    where = f"control step {k + 1}, time {at:.6g}" + (f", {failed.where}" if isinstance(failed, CertifyError) and failed.where else "")
    hint = hint or "a smaller initial box (split it), a higher order or more substeps: integrator=reach.Picard(order=..., substeps=...)"
    found = getattr(failed, "found", None) if isinstance(failed, CertifyError) else None
    return RemainderError(
        f"the flowpipe cannot be continued: {reason}", time=at, step=k + 1, flowpipe=pipe, diagnosis=diagnosis, where=where, found=found or diagnosis or None, hint=hint
    )


def _problem(loop: Any, initial: Any, horizon: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Outward ends of the initial box and the number of steps, or an InputError."""
    if not isinstance(loop, ClosedLoop):
        raise InputError("this is not a closed loop", where="solve, argument loop", found=type(loop).__name__, expected="reach.ClosedLoop(plant, controller, period)")
    if not isinstance(initial, Box):
        raise InputError("the initial set is not a box", where="solve, argument initial", found=type(initial).__name__, expected="reach.Box(lower, upper)")
    n = len(loop.states)
    if initial.lower.shape != (n,):
        raise InputError(
            "the initial box has another dimension than the plant",
            where="solve, argument initial",
            found=f"shape {initial.lower.shape}",
            expected=f"({n},): {', '.join(loop.states)}",
        )
    bad = ~(np.isfinite(initial.lower) & np.isfinite(initial.upper))
    if bad.any():
        i = int(np.argmax(bad))
        raise InputError(
            "the initial box is unbounded", where=f"solve, argument initial, state {loop.states[i]}", found=f"[{initial.lower[i]}, {initial.upper[i]}]", expected="finite ends"
        )
    box = enclose_decimals(initial.lower, initial.upper)
    return box.lower, box.upper, loop.steps(horizon)


def _integrator(integrator: Any) -> Picard:
    if isinstance(integrator, Picard):
        return integrator
    if integrator == "auto":
        return Picard()
    raise InputError("this is not an integrator", where="solve, argument integrator", found=repr(integrator)[:80], expected='"auto" or reach.Picard(...)')
