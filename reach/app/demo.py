"""The demo: train a controller, prove what it does, check the certificate, draw the tube around simulated motions. Every step is a public function."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from certify.core.errors import InputError
from certify.core.record import atomic_path

from . import results
from .frame import Answer
from .plot import can_plot
from .problem import Problem, load_problem
from .results import Clock
from .runner import decide, write
from .work import starts

PROBLEM, CONTROLLER = "problem.toml", "controller.npz"
MOTIONS, FINE = 1000, 8


def run(out: Path, seed: int, epochs: int | None) -> Answer:
    """Do the demo into `out`; see `reach demo --help`."""
    from .. import check
    from . import demo_plant

    if epochs is not None and epochs < 1:
        raise InputError("there is nothing to train", where="--epochs", found=epochs, expected="at least 1")
    clock = Clock()
    out = results.prepare(out, out / PROBLEM, "demo")
    recipe = demo_plant.Recipe()
    with clock.stage("train") as progress, demo_plant.one_thread():
        model = demo_plant.train(replace(recipe, epochs=epochs or recipe.epochs), seed, progress)
    _save(out, demo_plant.layers(model), demo_plant.PROBLEM)
    problem = load_problem(out / PROBLEM)
    outcome = decide(problem, clock)
    with clock.stage("simulate"):
        motions = gusty(problem, MOTIONS, seed)
        inside, ratio = compared(outcome.pipe, motions)
    axes = [("angle", "speed"), ("t", "angle")] if can_plot() else []
    fields = write(out, problem, outcome, clock, "demo", axes, motions)
    with clock.stage("check"):
        report = check(out / results.CERTIFICATE, problem.loop)
    files = sorted({*fields["files"], PROBLEM, CONTROLLER})
    extra = {"checked": report.ok, "checked_steps": len(report.steps), "motions": MOTIONS, "motions_inside": inside, "width_ratio": ratio}
    fields |= {**extra, "files": files, "seconds": clock.stages, "cpu": time.process_time()}
    results.write_json(out / results.RUN, fields)
    return Answer(fields["status"], {**fields, "folder": str(out)}, _show(fields, out, clock))


def _show(fields: dict[str, Any], out: Path, clock: Clock) -> tuple[str, ...]:
    inside = f"all {fields['motions']:,}" if fields["motions_inside"] == fields["motions"] else f"ONLY {fields['motions_inside']:,} of {fields['motions']:,}"
    return (
        *results.show(fields),
        f"{inside} simulated motions stay inside the tube; its sets are {fields['width_ratio']:.2f} times as wide as what these motions reach",
        f"certificate: checked, {fields['checked_steps']} steps hold" if fields["checked"] else "certificate: NOT PROVED",
        results.seconds_line(clock.stages, clock.notes, fields["cpu"]),
        f"files in {out}: {', '.join(fields['files'])}",
        f"again, or with your own changes:  reach run {out / PROBLEM} --out again",
        *results.again(fields, out),
    )


def _save(out: Path, layers: tuple[list[np.ndarray], list[np.ndarray]], problem: str) -> None:
    """The problem file and its controller."""
    from .networks import save_npz

    save_npz(out / CONTROLLER, *layers)
    with atomic_path(out / PROBLEM) as temporary:
        temporary.write_text(problem)


def gusty(problem: Problem, count: int, seed: int) -> np.ndarray:
    """(count, steps * FINE + 1, n) simulated states under hostile winds: steady at either end, or switching between the ends from period to period."""
    from ..simulation import simulate_dense

    rng = np.random.default_rng(seed)
    plant = problem.loop.plant
    share = rng.integers(0, 2, (count, problem.steps, len(plant.disturbances)))
    share[::4], share[1::4] = 0, 1
    wind = np.where(share == 1, plant.disturbance_upper, plant.disturbance_lower)
    dense = simulate_dense(problem.loop, starts(problem, count, seed), problem.horizon, FINE, wind)
    return np.concatenate([dense[:, 0, :1], dense[:, :, 1:].reshape(count, -1, dense.shape[-1])], axis=1)


def compared(pipe: Any, motions: np.ndarray) -> tuple[int, float]:
    """How many motions are inside the tube at every simulated time, and the geometric mean over samples and states of width proved / width simulated."""
    inside = np.ones(len(motions), bool)
    ratios = []
    for k in range(1, len(pipe) + 1):
        sets = ((pipe.at(k).box(), motions[:, k * FINE : k * FINE + 1]), (pipe.tube(k).box(), motions[:, (k - 1) * FINE : k * FINE + 1]))
        for box, states in sets:
            inside &= ((box.lower <= states) & (states <= box.upper)).all(axis=(1, 2))
        box, states = sets[0]
        ratios.append(np.log((box.upper - box.lower) / np.ptp(states[:, 0], axis=0)))
    return int(inside.sum()), float(np.exp(np.mean(ratios)))
