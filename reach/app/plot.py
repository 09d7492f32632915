"""A flowpipe as a picture: its tube over two states, or a state over time, with the initial set, the sets at the samples, goals, limits and simulated motions."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from certify.core.errors import InputError

from .polygons import outline, piece_plane, sample_plane

if TYPE_CHECKING:
    from ..flowpipe import Flowpipe

TUBE, SAMPLE, INITIAL, MOTION, WITNESS = "#a9c4e4", "#2858a0", "#e08a1e", "#303030", "#c03028"
TIME = "t"


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def axis_of(pipe: Flowpipe, name: Any) -> int | None:
    """The number of a state given by name or number; None for the time, "t" (a state of that name comes first)."""
    if isinstance(name, str) and name == TIME and TIME not in pipe.loop.states:
        return None
    try:
        return pipe.loop.index(name)
    except InputError as error:
        raise InputError(error.what, where="plot", found=repr(name), expected=f"{', '.join(pipe.loop.states)}, or 't' for the time") from None


def plot(pipe: Flowpipe, x: Any, y: Any, ax: Any = None, *, specifications: Sequence[Any] = (), motions: Any = None, witnesses: Sequence[Any] = ()) -> Any:
    """Draw the flowpipe over two states, or one state over the time ("t"). Returns the axes (loads matplotlib).

    Every polygon encloses the projection of its piece of the tube: 24 supporting lines of the Taylor model, the time between samples included; only the
    corners are rounded for the screen. A discrete plant has its sets at the samples and nothing in between; a switching controller has a polygon per branch.

    Args:
        x, y: state names or numbers, or "t". ax: axes to draw on; None makes a figure.
        specifications: what was asked: sets given as boxes and dicts are drawn (goals green, limits dashed, what is to be avoided red).
        motions: simulated states (n, times, states) at equally spaced times from 0 to the horizon.
        witnesses: counterexamples of FALSIFIED verdicts, drawn in red.
    Raises:
        InputError: an unknown state, both axes the same, or matplotlib is not installed.
    """
    i, j = axis_of(pipe, x), axis_of(pipe, y)
    if i == j:
        raise InputError("a picture needs two different axes", where="plot", found=f"{x!r} and {y!r}")
    if ax is None:
        try:
            import matplotlib.pyplot as plt
        except ModuleNotFoundError as error:
            raise InputError("a plot needs matplotlib", hint="pip install 'certify-reach[plot]'") from error
        ax = plt.subplots(figsize=(7.2, 4.6), layout="constrained")[1]
    tube = [outline(piece_plane(piece, i, j)) for k in range(1, len(pipe) + 1) if pipe.loop.continuous for part in parts(pipe.tube(k)) for piece in part.pieces]
    sets = [[outline(sample_plane(state, i, j, k * pipe.loop.period)) for state in parts(pipe.at(k))] for k in range(len(pipe) + 1)]
    start, samples = sets[0], [corners for level in sets[1:] for corners in level]
    _polygons(ax, tube, face=TUBE, edge=TUBE, width=0.6, label="tube: every motion, at every time", order=2)
    if pipe.loop.continuous:
        _polygons(ax, samples, face="none", edge=SAMPLE, width=0.7, label="sets at the samples", order=4)
    else:
        _polygons(ax, samples, face=TUBE, edge=SAMPLE, width=0.9, label="sets at the samples", order=2)
    if motions is not None and len(motions):
        _motions(ax, pipe, np.asarray(motions), i, j)
    for n, witness in enumerate(witnesses):
        _witness(ax, pipe, witness, i, j, "counterexample" if n == 0 else None)
    _polygons(ax, start, face="none", edge=INITIAL, width=1.8, label="initial set", order=6)
    ax.autoscale_view()
    if specifications:
        from .overlays import draw_specifications

        draw_specifications(ax, pipe, specifications, i, j)
    ax.set_xlabel(_label(pipe, i))
    ax.set_ylabel(_label(pipe, j))
    return ax


def parts(union: Any) -> tuple[Any, ...]:
    """The branches of a set; the set itself where it has none."""
    return getattr(union, "parts", (union,))


def _label(pipe: Flowpipe, axis: int | None) -> str:
    return "time" if axis is None else pipe.loop.states[axis]


def _polygons(ax: Any, corners: list[np.ndarray], face: str, edge: str, width: float, label: str, order: int) -> None:
    from matplotlib.collections import PolyCollection

    shown = [c for c in corners if len(c)]
    if shown:
        ax.add_collection(PolyCollection(shown, facecolors=face, edgecolors=edge, linewidths=width, zorder=order, label=label))


def _motions(ax: Any, pipe: Flowpipe, motions: np.ndarray, i: int | None, j: int | None) -> None:
    from matplotlib.collections import LineCollection

    times = np.broadcast_to(np.linspace(0.0, pipe.horizon, motions.shape[1]), motions.shape[:2])
    lines = np.stack([times if axis is None else motions[:, :, axis] for axis in (i, j)], axis=-1)
    label = f"{len(lines):,} simulated motions"
    if pipe.loop.continuous:
        faint = float(np.clip(15 / len(lines), 0.04, 0.6))
        ax.add_collection(LineCollection(list(lines), colors=MOTION, linewidths=0.4, alpha=faint, zorder=3))
        ax.plot([], [], color=MOTION, lw=0.8, label=label)
    else:
        ax.plot(*lines.reshape(-1, 2).T, ".", ms=1.5, color=MOTION, alpha=0.4, zorder=3, label=label)


def _witness(ax: Any, pipe: Flowpipe, witness: Any, i: int | None, j: int | None, label: str | None) -> None:
    from ..simulation import simulate_dense

    dense = simulate_dense(pipe.loop, witness.initial, witness.steps * pipe.loop.period, 8, witness.disturbance)[0]
    states = np.concatenate([dense[0, :1], dense[:, 1:].reshape(-1, dense.shape[-1])])
    times = np.linspace(0.0, witness.steps * pipe.loop.period, len(states))
    style = {"lw": 1.6} if pipe.loop.continuous else {"lw": 0.8, "marker": ".", "ms": 4}
    ax.plot(*(times if axis is None else states[:, axis] for axis in (i, j)), color=WITNESS, zorder=5.5, label=label, **style)


def save_plot(path: Path, pipe: Flowpipe, x: Any, y: Any, *, title: str = "", **overlay: Any) -> Path:
    """Write the picture as a PNG file, atomically. Needs matplotlib (extra `plot`); changes no global setting of it and opens no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from certify.core.record import atomic_path

    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = plot(pipe, x, y, figure.subplots(), **overlay)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    if title:
        axes.set_title(title, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png", metadata={"Software": None})
    return Path(path)
