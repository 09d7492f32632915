"""Goals, limits and obstacles in the picture of a flowpipe: rectangles of sets that are intervals of states, outlines of others over the two states shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

STYLES: dict[str, dict[str, Any]] = {
    "arrive": {"edgecolor": "#1f7a3d", "facecolor": "#1f7a3d22", "linestyle": "-"},
    "arrive within": {"edgecolor": "#1f7a3d", "facecolor": "#1f7a3d22", "linestyle": "-"},
    "stay": {"edgecolor": "#1f7a3d", "facecolor": "none", "linestyle": "--"},
    "avoid": {"edgecolor": "#c03028", "facecolor": "#c0302818", "linestyle": "-", "hatch": "////"},
}
NAMES = {"arrive": "goal", "arrive within": "goal", "stay": "never left", "avoid": "never met"}
_FREE = (-math.inf, math.inf)


def intervals(region: Any) -> dict[int, tuple[float, float]] | None:
    """{state number: (low, high)} of a region whose every clause is one bound of one state; None for other regions."""
    found: dict[int, tuple[float, float]] = {}
    for clause in region.clauses:
        constraint = region.constraints[clause[0]]
        used = np.flatnonzero(getattr(constraint, "normal", np.ones(2)))
        if len(clause) != 1 or len(used) != 1:
            return None
        i, c = int(used[0]), float(constraint.normal[used[0]])
        end = (0.5 * constraint.low + 0.5 * constraint.high) / c
        low, high = found.get(i, _FREE)
        found[i] = (low, min(high, end)) if c > 0 else (max(low, end), high)
    return found


def states_of(region: Any, states: Sequence[str]) -> set[int]:
    """The states that a region says something about."""
    used: set[int] = set()
    for constraint in region.constraints:
        if hasattr(constraint, "normal"):
            used |= {int(i) for i in np.flatnonzero(constraint.normal)}
        else:
            used |= {states.index(symbol.name) for symbol in constraint.expression.free_symbols}
    return used


def draw_specifications(ax: Any, pipe: Any, specifications: Sequence[Any], i: int | None, j: int | None) -> None:
    """The sets on the axes (i, j), None being the time. A set that also binds states out of the picture is drawn as its shadow, and named so."""
    view = (ax.get_xlim(), ax.get_ylim())
    rectangles, others = [], []
    asked = max(len(pipe), int(pipe.settings.get("steps", 0)))  # a flowpipe that ended early has the windows of the horizon that was asked for
    for specification in specifications:
        bound = specification.bind(pipe.loop, asked)
        ends = intervals(bound.region)
        if ends is not None and any(axis in ends for axis in (i, j)):
            hidden = [pipe.loop.states[k] for k in ends if k not in (i, j)]
            window = _window(pipe, bound)
            rectangles.append(([window if axis is None else ends.get(axis, _FREE) for axis in (i, j)], bound, hidden))
        elif ends is None and states_of(bound.region, pipe.loop.states) <= {i, j}:
            others.append(bound)
    view = _widened(view, [ends for ends, _, _ in rectangles])
    seen: set[str] = set()
    for shown, bound, hidden in rectangles:
        _rectangle(ax, shown, bound.kind, _label(pipe, bound, hidden, None in (i, j), seen), view, bool(hidden))
    for bound in others:
        _outline(ax, pipe, bound, i, j, _label(pipe, bound, [], None in (i, j), seen), view)
    ax.set_xlim(view[0])
    ax.set_ylim(view[1])


def _label(pipe: Any, bound: Any, hidden: list[str], timed: bool, seen: set[str]) -> str | None:
    """The entry of the legend, once: what is asked, and where the picture does not show all of it."""
    label = NAMES[bound.kind]
    if not timed and bound.kind != "arrive" and (bound.first, bound.last) != (0, max(len(pipe), int(pipe.settings.get("steps", 0)))):
        label += f" from {bound.first * pipe.loop.period:g} to {bound.last * pipe.loop.period:g}"
    if hidden:
        label += f", where {', '.join(hidden)} agree{'s' if len(hidden) == 1 else ''}"
    if label in seen:
        return None
    seen.add(label)
    return label


def _rectangle(ax: Any, ends: list[tuple[float, float]], kind: str, label: str | None, view: tuple, shadow: bool) -> None:
    from matplotlib.patches import Rectangle

    (left, right), (bottom, top) = (_clipped(pair, limits) for pair, limits in zip(ends, view))
    style = {**STYLES[kind], "linestyle": ":", "hatch": None} if shadow else STYLES[kind]
    ax.add_patch(Rectangle((left, bottom), right - left, top - bottom, linewidth=1.4, zorder=5 if kind == "stay" else 1, label=label, **style))


def _outline(ax: Any, pipe: Any, bound: Any, i: int | None, j: int | None, label: str | None, view: tuple) -> None:
    """The curve where a general region begins, drawn where its states are axes of the picture; over the time, within its window."""
    from matplotlib import rc_context
    from matplotlib.patches import Patch

    axes = [np.linspace(low, high, 300) for low, high in view]
    grid = np.stack(np.meshgrid(*axes), axis=-1)
    points = np.zeros((*grid.shape[:2], len(pipe.loop.states)))
    outside = np.zeros(grid.shape[:2], bool)
    for column, axis in enumerate((i, j)):
        if axis is None:
            first, last = _window(pipe, bound)
            outside |= ~((first <= grid[..., column]) & (grid[..., column] <= last))
        else:
            points[..., axis] = grid[..., column]
    with np.errstate(all="ignore"):
        height = np.nan_to_num(bound.region.violation(points), nan=1.0, posinf=1e300, neginf=-1e300)
    height[outside] = np.abs(height[outside]) + 1e-300
    style = STYLES[bound.kind]
    if height.min() < 0:
        if style["facecolor"] != "none":
            ax.contourf(*axes, height, levels=[-np.inf, 0.0], colors=[style["facecolor"]], zorder=1)
            if style.get("hatch"):
                with rc_context({"hatch.color": style["edgecolor"]}):
                    ax.contourf(*axes, height, levels=[-np.inf, 0.0], colors="none", hatches=[style["hatch"]], zorder=1)
        if height.max() > 0:
            ax.contour(*axes, height, levels=[0.0], colors=[style["edgecolor"]], linewidths=1.4, linestyles=[style["linestyle"]], zorder=5)
    if label:
        ax.add_patch(Patch(label=label, linewidth=1.4, visible=False, **style))


def _window(pipe: Any, bound: Any) -> tuple[float, float]:
    """The times that a specification is about; an instant is given a little width, to be seen."""
    first, last = bound.first * pipe.loop.period, bound.last * pipe.loop.period
    return (first - 0.008 * pipe.horizon, last + 0.008 * pipe.horizon) if first == last else (first, last)


def _widened(view: tuple, ends: list) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits that show every finite end, unless it is far away (more than a third of the picture beyond)."""
    made = []
    for axis in (0, 1):
        low, high = view[axis]
        reach = 0.35 * (high - low)
        near = [e for pair in ends for e in pair[axis] if math.isfinite(e) and low - reach < e < high + reach]
        low, high = min([low, *near]), max([high, *near])
        margin = 0.03 * (high - low)
        made.append((low - margin, high + margin))
    return made[0], made[1]


def _clipped(pair: tuple[float, float], limits: tuple[float, float]) -> tuple[float, float]:
    """An interval inside the picture; ends outside are put a little beyond its border."""
    low, high = limits
    beyond = 0.05 * (high - low)
    return min(max(pair[0], low - beyond), high + beyond), max(min(pair[1], high + beyond), low - beyond)
