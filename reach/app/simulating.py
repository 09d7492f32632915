"""The work behind `reach simulate`."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np

from certify.core.errors import InputError
from certify.core.record import atomic_path

from .frame import Answer
from .plot import MOTION, can_plot
from .problem import Problem, load_problem
from .work import simulated

_FINE = 8


def simulate_problem(path: Path, count: int, seed: int, out: Path | None, picture: Path | None) -> Answer:
    """Simulate, look at every specification on the motions, and write what was asked for."""
    if count < 1:
        raise InputError("there is nothing to simulate", where="--count", found=count, expected="at least 1")
    if picture is not None and not can_plot():
        raise InputError("a plot needs matplotlib", where=f"--plot {picture}", hint="pip install 'certify-reach[plot]'")
    problem = load_problem(path)
    fine = _FINE if problem.loop.continuous else 1
    start = time.process_time()
    motions = simulated(problem, count, seed, fine=fine)
    fields: dict[str, Any] = {"problem": str(path), "count": count, "seed": seed, "horizon": problem.horizon, "steps": problem.steps}
    states, end = problem.loop.states, motions[:, -1]
    lost = int((~np.isfinite(end).all(axis=1)).sum())
    with np.errstate(invalid="ignore"):
        hull = {state: [float(np.nanmin(end[:, i])), float(np.nanmax(end[:, i]))] if lost < count else [] for i, state in enumerate(states)}
    rows = [_seen(problem, question, motions, fine) for question in problem.questions]
    fields |= {"final": hull, "not finite": lost, "specifications": rows, "seconds": time.process_time() - start}
    width = max((len(row["name"]) for row in rows), default=0)
    show = [f"{problem.name}: {count:,} simulated motions, seed {seed} (an estimate: simulating proves nothing)", ""]
    show += [f"{row['name']:<{width}}  {_sentence(row, count)}" for row in rows]
    show += ["", f"at time {problem.horizon:g}: " + ", ".join(f"{s} from {ends[0]:.5g} to {ends[1]:.5g}" for s, ends in hull.items() if ends)]
    if lost:
        show.append(f"{lost} motions left the domain of the plant or the range of numbers")
    if out is not None:
        fields["csv"] = str(_write(out, problem, motions[:, ::fine]))
        show.append(f"motions: {out}")
    if picture is not None:
        fields["plot"] = str(_draw(picture, problem, motions))
        show.append(f"picture: {picture}")
    return Answer("finished", fields, tuple(show))


def _seen(problem: Problem, question: Any, motions: np.ndarray, fine: int) -> dict[str, Any]:
    """How many motions were seen to violate a specification, and the first of them."""
    bound = question.specification.bind(problem.loop, problem.steps)
    shown = motions[:, bound.first * fine : bound.last * fine + 1]
    if bound.at == "samples":
        shown = shown[:, ::fine]
    with np.errstate(all="ignore"):
        outside = ~(bound.region.violation(shown) <= 0)
    if bound.kind == "avoid":
        bad = (~outside & np.isfinite(shown).all(axis=-1)).any(axis=1)
    else:
        bad = outside.all(axis=1) if bound.kind == "arrive within" else outside.any(axis=1)
    row: dict[str, Any] = {"name": question.name, "kind": question.kind, "violated": int(bad.sum())}
    if bad.any():
        row["example"] = dict(zip(problem.loop.states, motions[int(np.argmax(bad)), 0].tolist()))
    return row


def _sentence(row: dict[str, Any], count: int) -> str:
    if not row["violated"]:
        return "not seen violated"
    return f"VIOLATED by {row['violated']:,} of {count:,}, for instance from " + ", ".join(f"{state} = {value:.6g}" for state, value in row["example"].items())


def _write(path: Path, problem: Problem, samples: np.ndarray) -> Path:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["motion", "step", "time", *problem.loop.states])
        for i, motion in enumerate(samples):
            writer.writerows([i, k, f"{k * problem.loop.period:.12g}", *map(repr, state)] for k, state in enumerate(motion.tolist()))
    return path


def _draw(path: Path, problem: Problem, motions: np.ndarray) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes, states = figure.subplots(), problem.loop.states
    times = np.broadcast_to(np.linspace(0.0, problem.horizon, motions.shape[1]), motions.shape[:2])
    x, y = (motions[..., 0], motions[..., 1]) if len(states) > 1 else (times, motions[..., 0])
    dots: dict[str, Any] = {} if problem.loop.continuous else {"marker": ".", "ms": 2, "ls": ""}
    axes.plot(x.T, y.T, color=MOTION, lw=0.4, alpha=float(np.clip(30 / len(motions), 0.04, 0.8)), **dots)
    axes.set(xlabel=states[0] if len(states) > 1 else "time", ylabel=states[1] if len(states) > 1 else states[0])
    axes.set_title(f"{problem.name}: {len(motions):,} simulated motions", fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format=(path.suffix[1:] or "png").lower(), metadata={"Software": None} if path.suffix.lower() in ("", ".png") else None)
    return path
