"""What a run leaves in its folder, and the text that sums it up.

flowpipe.csv   ends of every state at the samples and in between, outward-rounded decimals
certificate    the proof, for `reach check`
tube.png       a picture per --plot (if matplotlib is installed)
run.json       what was asked, the verdicts, versions, seconds: written last, so its presence means the folder is complete
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from certify.core.decimals import decimal_down, decimal_up
from certify.core.errors import InputError
from certify.core.record import atomic_path

from .frame import jsonable
from .progress import bar

FLOWPIPE, CERTIFICATE, PICTURE, RUN = "flowpipe.csv", "certificate", "tube.png", "run.json"


@dataclass
class Clock:
    """CPU and wall seconds per stage."""

    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int, str], None]]:
        start = time.process_time(), time.perf_counter()
        with bar(name) as progress:
            yield progress
        self.stages[name] = {"cpu": time.process_time() - start[0], "wall": time.perf_counter() - start[1]}


def seconds_line(stages: Mapping[str, Mapping[str, float]], notes: Mapping[str, str], together: float) -> str:
    """One line of CPU seconds per stage."""
    parts = [f"{name} {stage['cpu']:.1f}" + (f" ({notes[name]})" if name in notes else "") for name, stage in stages.items()]
    return "CPU seconds: " + ", ".join(parts) + f"; together, with loading, {together:.1f}"


def prepare(out: Path, problem: Path, command: str) -> Path:
    """The output folder, made if absent; an earlier run of the same problem file may be overwritten, anything else may not.

    Raises:
        InputError: something else has that name, it cannot be written, or it holds the run of another problem.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_path(out / ".writable") as probe:
            probe.touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise InputError("the output folder cannot be used", where=f"--out {out}", found=error.strerror or str(error), expected="a folder that can be made and written") from error
    if (out / RUN).exists():
        try:
            earlier = json.loads((out / RUN).read_text())
            owner, kind = earlier.get("problem"), earlier.get("command")
        except (OSError, ValueError, AttributeError):
            owner = kind = "something unreadable"
        same = (kind == "demo") if command == "demo" else owner is not None and Path(str(owner)).resolve() == problem.resolve()
        if not same:
            expected = "a new folder, or one of an earlier run of this problem"
            raise InputError("the output folder holds another run", where=out / RUN, found=f"{kind} of {owner}", expected=expected, hint="choose another --out")
        (out / RUN).unlink()  # a folder is complete or has no run.json
    return out


def write_json(path: Path, document: Mapping[str, Any]) -> Path:
    """Write a readable JSON file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(jsonable(document), indent=1) + "\n")
    return Path(path)


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    from certify import __version__

    found = {"certify-reach": __version__, "python": platform.python_version()}
    for name in ("numpy", "numba", "sympy"):
        found[name] = importlib.metadata.version(name)
    return found


def load(out: Path) -> dict[str, Any]:
    """run.json of a finished run. Raises InputError where there is none, or it cannot be read."""
    out = Path(out)
    hint = "give the folder that --out named; an interrupted run has no run.json: run it again"
    if not (out / RUN).is_file():
        raise InputError("this is not the folder of a finished run", where=out, found="no run.json" if out.is_dir() else "no such folder", expected=RUN, hint=hint)
    try:
        run = json.loads((out / RUN).read_text())
        show(run)
        return run
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise InputError("the files of the run cannot be read", where=out / RUN, found=found, expected="run.json as `reach run` wrote it", hint="run it again") from error


def show(run: Mapping[str, Any]) -> tuple[str, ...]:
    """The text of a run, from what run.json says."""
    lines = [f"{run['name']}: {_plural(len(run['states']), 'state')}, {_plural(len(run['inputs']), 'control')}, {_plural(run['steps'], 'control step')} of {run['period']:g}", ""]
    if run.get("stopped"):
        lines += [f"STOPPED after {run['proved_steps']} of {run['steps']} control steps: {run['stopped']['message']}", ""]
    rows = [("specification", "verdict", ""), *((s["name"], s["verdict"], s["reason"]) for s in run["specifications"])]
    lines += _columns(rows) if run["specifications"] else ["no specification: the flowpipe alone"]
    ends = ", ".join(f"{state} in [{decimal_down(low, 5)}, {decimal_up(high, 5)}]" for state, (low, high) in run["final"].items())
    lines += ["", f"at time {run['proved_time']:g}: {ends}"]
    if "no_certificate" in run:
        lines.append(f"no certificate: {run['no_certificate']}")
    return tuple(lines)


def again(run: Mapping[str, Any], out: Path) -> tuple[str, ...]:
    """The command that checks the certificate of a run, if it has one."""
    return (f"check it again:  reach check {out / CERTIFICATE} {run['problem']}",) if CERTIFICATE in run["files"] else ()


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _columns(rows: list[Any]) -> list[str]:
    """Text in columns two blanks apart; the last one is as long as it is."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]).rstrip() for row in rows]
