"""From a problem file to the answer of a command."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from certify.core.errors import InputError

from . import results
from .frame import Answer
from .plot import can_plot
from .problem import Problem, load_problem
from .results import Clock
from .runner import decide, write

MOTIONS = 200


def run_problem(path: Path, out: Path, plots: Sequence[str] | None, command: str) -> Answer:
    """Do `reach run`; `plots` None draws nothing, an empty list the first two states."""
    clock = Clock()
    with clock.stage("problem"):
        problem = load_problem(path)
    axes = [] if plots is None else chosen_axes(problem, plots)
    out = results.prepare(out, Path(path), command)
    try:
        outcome = decide(problem, clock)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{stop}; {_kept(out, getattr(stop, 'flowpipe', None))}") from None
    motions = None
    if axes:
        with clock.stage("simulation"):
            motions = simulated(problem, MOTIONS, steps=len(outcome.pipe))
    fields = write(out, problem, outcome, clock, command, axes, motions)
    show = (*results.show(fields), *closing(fields, out))
    return Answer(fields["status"], {**fields, "folder": str(out)}, show)


def closing(fields: dict[str, Any], out: Path) -> tuple[str, ...]:
    """The last lines: seconds, files, and how to check again."""
    notes = {"kernels": fields["kernels"]} if fields.get("kernels") else {}
    return (
        results.seconds_line(fields["seconds"], notes, time.process_time()),
        f"files in {out}: {', '.join(fields['files'])}",
        *results.again(fields, out),
    )


def _kept(out: Path, pipe: Any) -> str:
    """Save what an interrupted solve has proved; says so."""
    from .table import to_csv

    if pipe is None or not len(pipe):
        return "nothing was written; the same command computes it again"
    return f"what is proved until then is in {to_csv(pipe, out / results.FLOWPIPE)}; the same command computes it anew"


def chosen_axes(problem: Problem, plots: Sequence[str]) -> list[tuple[str, str]]:
    """(x, y) of every --plot, checked; the first two states where none is given, or the only state over time. Empty without matplotlib, unless asked for."""
    states = problem.loop.states
    if not plots:
        return [] if not can_plot() else [(states[0], states[1]) if len(states) > 1 else ("t", states[0])]
    chosen = []
    for text in plots:
        names = tuple(part.strip() for part in text.split(","))
        known = (*states, "t")
        if len(names) != 2 or any(name not in known for name in names) or names[0] == names[1]:
            raise InputError("a picture needs two different axes", where=f"--plot {text}", found=text, expected=f"X,Y out of {', '.join(known)} (t is the time)")
        chosen.append((names[0], names[1]))
    if not can_plot():
        raise InputError("a plot needs matplotlib", where=f"--plot {plots[0]}", hint="pip install 'certify-reach[plot]'")
    return list(dict.fromkeys(chosen))


def starts(problem: Problem, count: int, seed: int = 0) -> Any:
    """(count, n) initial states: every other one at a corner of the box, the rest anywhere inside."""
    import numpy as np

    rng = np.random.default_rng(seed)
    share = rng.random((count, len(problem.loop.states)))
    share[::2] = np.round(share[::2])
    lower, upper = problem.initial.lower, problem.initial.upper
    return np.clip(lower + share * (upper - lower), lower, upper)


def simulated(problem: Problem, count: int, seed: int = 0, steps: int | None = None, fine: int = 8) -> Any:
    """(count, steps * fine + 1, n) states of simulated motions, `fine` times per period (once for discrete plants)."""
    import numpy as np

    from ..simulation import simulate_dense

    steps = problem.steps if steps is None else steps
    if not steps:
        return None
    dense = simulate_dense(problem.loop, starts(problem, count, seed), steps * problem.loop.period, fine, seed=seed)
    return np.concatenate([dense[:, 0, :1], dense[:, :, 1:].reshape(count, -1, dense.shape[-1])], axis=1)
