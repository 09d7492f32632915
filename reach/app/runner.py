"""The work behind `reach run` and `reach demo`: flowpipe, verdicts, and the files of a finished run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certify.core.errors import InputError
from certify.core.verdict import Verdict

from ..errors import RemainderError
from . import results
from .problem import Problem
from .results import Clock
from .table import to_csv

if TYPE_CHECKING:
    from ..flowpipe import Flowpipe

COMPILED, CACHED = "compiled, once per installation", "from the cache"


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What a run found. `stopped` is the error that ended the flowpipe early, None if it reached the horizon."""

    pipe: Flowpipe
    stopped: RemainderError | None
    verdicts: tuple[Verdict, ...]

    @property
    def status(self) -> str:
        if self.stopped is not None or not all(self.verdicts):
            return "not proved"
        return "proved" if self.verdicts else "finished"


def decide(problem: Problem, clock: Clock) -> Outcome:
    """Kernels, flowpipe, verdicts. A KeyboardInterrupt says how many control steps were done, and carries what the solver kept of them."""
    with clock.stage("kernels") as progress:
        clock.notes["kernels"] = COMPILED if warm_up(problem, progress) else CACHED
    stopped = None
    done = 0
    with clock.stage("flowpipe") as progress:

        def count(finished: int, total: int, message: str) -> None:
            nonlocal done
            done = finished
            progress(finished, total, message)

        try:
            pipe = problem.solve(count)
        except RemainderError as error:
            if error.flowpipe is None:
                raise
            pipe, stopped = error.flowpipe, error
            pipe = dataclasses.replace(pipe, settings={**pipe.settings, "steps": problem.steps})  # what was asked, not what was reached
        except KeyboardInterrupt as stop:
            said = KeyboardInterrupt(f"stopped by Ctrl-C after {done} of {problem.steps} control steps (time {done * problem.loop.period:g})")
            said.flowpipe = getattr(stop, "flowpipe", None)  # type: ignore[attr-defined]
            raise said from stop
    verdicts = []
    with clock.stage("verdicts") as progress:
        for i, question in enumerate(problem.questions):
            progress(i, len(problem.questions), question.name)
            verdicts.append(pipe.verify(question.specification))
    return Outcome(pipe, stopped, tuple(verdicts))


def warm_up(problem: Problem, progress: Any) -> bool:
    """Make the compiled kernels ready by the problem's own first control step; whether anything had to be compiled."""
    from certify.core.errors import CertifyError

    from ..sets.jit import on_compile
    from ..solver import solve

    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        progress(0, 1, text)

    with on_compile(say):
        try:
            solve(problem.loop, problem.initial, problem.loop.period, problem.abstraction, problem.integrator).verify(_always_true(problem))
        except CertifyError:
            pass  # the run itself will say it, with the flowpipe so far
    return bool(said)


def _always_true(problem: Problem) -> Any:
    from ..specification import Stay

    return Stay(dict.fromkeys(problem.loop.states, (-1e300, 1e300)))


def document(problem: Problem, outcome: Outcome, command: str) -> dict[str, Any]:
    """run.json without files and seconds."""
    pipe, loop = outcome.pipe, problem.loop
    final = pipe.at(len(pipe)).box()
    fields: dict[str, Any] = {
        "status": outcome.status,
        "command": command,
        "problem": str(problem.path),
        "name": problem.name,
        "digest": loop.digest,
        "states": list(loop.states),
        "inputs": list(loop.plant.inputs),
        "disturbances": list(loop.plant.disturbances),
        "initial": dict(zip(loop.states, zip(problem.initial.lower.tolist(), problem.initial.upper.tolist()))),
        "period": loop.period,
        "horizon": problem.horizon,
        "steps": problem.steps,
        "proved_steps": len(pipe),
        "proved_time": len(pipe) * loop.period,
        "settings": {**problem.settings, **pipe.settings},
        "specifications": [_answer(problem, question, verdict) for question, verdict in zip(problem.questions, outcome.verdicts)],
        "final": dict(zip(loop.states, zip(final.lower.tolist(), final.upper.tolist()))),
    }
    if outcome.stopped is not None:
        e = outcome.stopped
        fields["stopped"] = {"message": str(e), "time": e.time, "step": e.step, "diagnosis": e.diagnosis, "try": e.hint}
    return fields


def _answer(problem: Problem, question: Any, verdict: Verdict) -> dict[str, Any]:
    row: dict[str, Any] = {"name": question.name, "kind": question.kind, "text": repr(question.specification), "verdict": verdict.status, "reason": verdict.reason}
    if (w := verdict.witness) is not None:
        loop = problem.loop
        row["witness"] = {
            "initial": dict(zip(loop.states, w.initial.tolist())),
            "disturbance": None if w.disturbance is None else dict(zip(loop.plant.disturbances, w.disturbance.tolist())),
            "time": w.time,
            "margin": w.margin,
        }
    return row


def write(out: Path, problem: Problem, outcome: Outcome, clock: Clock, command: str, plots: Sequence[tuple[str, str]], motions: Any = None) -> dict[str, Any]:
    """Write every file of a run; returns the fields of run.json, which is written last."""
    pipe = outcome.pipe
    files = [results.FLOWPIPE]
    fields = document(problem, outcome, command)
    with clock.stage("files"):
        to_csv(pipe, out / results.FLOWPIPE)
        (out / results.CERTIFICATE).unlink(missing_ok=True)
        try:
            pipe.save(out / results.CERTIFICATE, [q.specification for q, v in zip(problem.questions, outcome.verdicts) if v])
            files.append(results.CERTIFICATE)
        except InputError as error:
            if not str(error.where).startswith("save"):  # the file cannot be written
                raise
            fields["no_certificate"] = error.what + (f"; {error.hint}" if error.hint else "")
        for i, (x, y) in enumerate(plots):
            from .plot import save_plot

            name = results.PICTURE if i == 0 else f"tube-{x}-{y}.png"
            specifications = [question.specification for question in problem.questions]
            witnesses = [v.witness for v in outcome.verdicts if v.witness is not None]
            save_plot(out / name, pipe, x, y, title=problem.name, specifications=specifications, motions=motions, witnesses=witnesses)
            files.append(name)
    fields |= {"files": sorted({*files, results.RUN}), "seconds": clock.stages, "kernels": clock.notes.get("kernels"), "cpu": time.process_time(), "versions": results.versions()}
    results.write_json(out / results.RUN, fields)
    return fields
