"""A problem file: plant, controller, initial box, horizon, settings and specifications, as the objects that the library works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from certify.core.regions import Box

from ..dynamics.system import ContinuousSystem, DiscreteSystem
from ..integrators.picard import Picard
from ..loop import ClosedLoop
from .problem_controller import plain, read_controller, setting_names
from .sections import Section, Source, kind_of, located

if TYPE_CHECKING:
    from ..flowpipe import Flowpipe
    from .questions import Question

SECTIONS = ("name", "plant", "controller", "initial", "solve", "specification")


@dataclass(frozen=True, eq=False)
class Problem:
    """What a problem file says. `settings`: the names of `[solve]` and the abstraction, for the record of a run."""

    source: Source
    name: str
    loop: ClosedLoop
    initial: Box
    horizon: float
    abstraction: Any
    integrator: Any
    settings: dict[str, Any]

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def steps(self) -> int:
        return self.loop.steps(self.horizon)

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """The specifications in the order of the file."""
        from .questions import read_questions

        return read_questions(self.source, self.loop, self.steps)

    def solve(self, progress: Callable[[int, int, str], None] | None = None) -> Flowpipe:
        """`reach.solve` with the settings of the file."""
        from ..solver import solve

        return solve(self.loop, self.initial, self.horizon, self.abstraction, self.integrator, progress)


def load_problem(path: str | Path) -> Problem:
    """The problem of a TOML file; docs/reach.md describes the file.

    Raises:
        InputError: a file that is not TOML, an unknown or missing key, a value of a wrong type or size, a controller that cannot be read or does not
            fit: names the file, the line and the key, what was found and what is expected.
    """
    source = Source.read(path)
    top = Section(source, (), SECTIONS, ("plant", "controller", "initial", "solve"))
    plant = read_plant(source)
    controller, abstraction, method = read_controller(source, plant)
    section = Section(source, ("solve",), ("period", "horizon", "steps", *setting_names(Picard)), ("period",))
    period = section.get("period", float)
    with located(source, {"ClosedLoop.period": ("solve", "period")}, ("controller",)):
        loop = ClosedLoop(plant, controller, period)
    initial = read_initial(source, loop.states)
    horizon = read_horizon(section, loop)
    integrator, chosen = read_integrator(section)
    problem = Problem(source, top.get("name", str, Path(path).stem), loop, initial, horizon, abstraction, integrator, {"abstraction": method, **chosen})
    problem.questions  # noqa: B018 - a wrong specification is said before any work
    return problem


def read_plant(source: Source) -> ContinuousSystem | DiscreteSystem:
    """[plant] and [plant.disturbances]."""
    section = Section(source, ("plant",), ("time", "states", "inputs", "rates", "updates", "disturbances"), ("states",))
    time = section.get("time", str, "continuous")
    if time not in ("continuous", "discrete"):
        section.fail("the plant's time is neither continuous nor discrete", repr(time), '"continuous" or "discrete"', at="time")
    formulas, other = ("rates", "updates") if time == "continuous" else ("updates", "rates")
    if other in section.table:
        hint = f'time = "{"discrete" if time == "continuous" else "continuous"}"?'
        section.fail(f"a {time} plant has {formulas}, not {other}", at=other, expected=f"{formulas} = [...]", hint=hint)
    if formulas not in section.table:
        section.fail(f"{formulas!r} is missing", expected=f"{formulas} = [...], one formula per state")
    rows = []
    for i, formula in enumerate(section.get(formulas, list)):
        if isinstance(formula, bool) or not isinstance(formula, str | int | float):
            section.fail("a formula is text or a number", kind_of(formula), '"x2 - 0.1*x1"', at=(formulas, i))
        rows.append(formula if isinstance(formula, str | int) else float(formula))
    around = section.get("disturbances", dict, {})
    inner = Section(source, ("plant", "disturbances"), ())
    disturbances = {name: inner.pair(ends, (name,)) for name, ends in around.items()}
    system = ContinuousSystem if time == "continuous" else DiscreteSystem
    with located(source, {}, ("plant",)):
        plant = system(section.texts("states"), section.texts("inputs"), rows, disturbances)
        plant.tape  # noqa: B018 - compiled now, so that a formula without a rule is said here
        return plant


def read_integrator(section: Section) -> tuple[Any, dict[str, Any]]:
    """The keys of [solve] that are settings of Picard; "auto" where there is none."""
    values = {key: plain(section, section.table[key], (key,)) for key in setting_names(Picard) if key in section.table}
    with located(section.source, {f"Picard.{key}": ("solve", key) for key in values}, ("solve",)):
        return (Picard(**values) if values else "auto"), values


def read_initial(source: Source, states: tuple[str, ...]) -> Box:
    """[initial]: state = [low, high] for every state, or a number for a point."""
    section = Section(source, ("initial",), states)
    for state in states:
        if state not in section.table:
            section.fail(f"the initial interval of the state {state!r} is missing", ", ".join(section.table) or "an empty section", f"{state} = [low, high]")
    ends = [section.pair(section.table[state], (state,)) for state in states]
    for state, (low, high) in zip(states, ends):
        if not (np.isfinite(low) and np.isfinite(high)):
            section.fail("the initial box is unbounded", f"[{low}, {high}]", "finite ends", at=state)
    return Box(*np.array(ends).T)


def read_horizon(section: Section, loop: ClosedLoop) -> float:
    """`horizon`, a multiple of the period, or `steps`, a number of periods."""
    if ("horizon" in section.table) == ("steps" in section.table):
        found = "both" if "steps" in section.table else "neither"
        section.fail("the end is given by a horizon or by a number of steps", found, "horizon = ... or steps = ...", at="steps" if found == "both" else ())
    if "steps" in section.table:
        steps = section.get("steps", int)
        if not 1 <= steps <= 10**6:
            section.fail("the number of steps is out of range", steps, "at least 1", at="steps")
        return steps * loop.period
    horizon = section.get("horizon", float)
    with located(section.source, {"horizon": ("solve", "horizon")}, ("solve",)):
        if loop.steps(horizon) < 1:
            section.fail("the horizon is shorter than one period", horizon, f"a multiple of {loop.period:g}", at="horizon")
    return horizon
