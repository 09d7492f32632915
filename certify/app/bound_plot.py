"""The picture of `certify bound`: left each layer's enclosure as a bar, right by how much each upper end exceeds the best lower end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.record import atomic_path
from .bound_rows import Row
from .bound_table import short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours, told apart with every kind of colour vision; the shapes tell them apart without any
_LOWER, _GAP, _BOUND, _UNFOLDING = "#0072B2", "#9CCBE8", "#000000", "#C04A00"
_COLOURS = ("#009E73", "#CC79A7", "#56B4E9", "#7A7A7A", "#E69F00", "#0072B2")
_SHAPES = ("o", "s", "^", "v", "P", "X", "p", "h", "<", ">", "8", "H", "*", "d")
_LIFTS = {"R": -0.33, "S": -0.12, "T": 0.12, "U": 0.33}  # letters beside one another stay readable
_WIDE = 12.0  # from this ratio on the axis of the norms is logarithmic
_EXACT = 1e-5  # what exceeds by less is drawn at the left edge


def draw_bounds(rows: Sequence[Row], norm: str = "l2", title: str = "") -> Figure:
    """A matplotlib figure of the rows, first layer on top; its height grows with their number. No window, no global setting."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pitch = 0.42 if len(rows) <= 12 else 0.3 if len(rows) <= 30 else 0.2  # inches per layer
    figure = Figure(figsize=(10.5, 1.5 + max(3, len(rows)) * pitch + 0.25 * math.ceil(len(_marks(rows)) / 6)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(5, 6))
    handles = [*_draw_ends(left, rows, norm), *_draw_excess(right, rows)]
    size = 9 if len(rows) <= 8 else 8 if len(rows) <= 30 else 7
    names = short_names([row.layer for row in rows], 26)
    labels = [f"{name}\n{row.operator}" for name, row in zip(names, rows)] if len(rows) <= 12 else names
    left.set_yticks(range(len(rows)), labels, fontsize=size)
    left.set_ylim(len(rows) - 0.4, -0.6)
    for axes in (left, right):
        axes.set_axisbelow(True)
        axes.grid(axis="x", color="#DDDDDD", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    if title:
        figure.suptitle(title, fontsize=11)
    labelled = {handle.get_label(): handle for handle in handles}
    figure.legend(labelled.values(), labelled.keys(), loc="outside lower center", ncols=6, fontsize=8, frameon=False, handletextpad=0.4, columnspacing=1.4)
    return figure


def save_bounds(path: Path, rows: Sequence[Row], norm: str = "l2", title: str = "") -> Path:
    """Write the figure atomically as .png, .svg or .pdf; equal rows give equal files but for the ids in an .svg."""
    kind = path.suffix.lower()[1:]
    dateless = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    figure = draw_bounds(rows, norm, title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format=kind, metadata=dateless)
    return path


def _draw_ends(axes: Axes, rows: Sequence[Row], norm: str) -> list[Any]:
    """Dark up to the lower end, light from there to the bound, a line at the bound; said in words where there is none."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    finite = [x for row in rows for x in (row.lower, row.upper) if 0 < x < math.inf]
    top = 1.06 * max(finite, default=1.0)
    logarithmic = bool(finite) and max(finite) > _WIDE * min(finite)
    start = 0.5 * min(finite) if logarithmic else 0.0
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if top < 300 * start else (1.0,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        top *= 1.2
    axes.set_xlim(start, top)
    handles: list[Any] = []
    for y, row in enumerate(rows):
        lower, upper = max(row.lower, start), min(row.upper, top)
        handles.append(axes.barh(y, lower - start, 0.62, left=start, color=_LOWER, label="lower end"))
        handles.append(axes.barh(y, upper - lower, 0.62, left=lower, color=_GAP, hatch="////", edgecolor="white", lw=0, label="between the ends"))
        if math.isfinite(row.upper):
            handles += axes.plot([upper, upper], [y - 0.38, y + 0.38], color=_BOUND, lw=1.6, solid_capstyle="butt", label="bound")
        else:
            axes.text(top, y, "no upper end ", ha="right", va="center", fontsize=7, bbox={"facecolor": "white", "lw": 0, "pad": 1.5})
    axes.set_xlabel(f"{norm} operator norm" + (" (logarithmic)" if logarithmic else ""))
    return handles


def _draw_excess(axes: Axes, rows: Sequence[Row]) -> list[Any]:
    """upper end / best lower end - 1 of every method and unfolding, on a logarithmic axis: a thousandth of a percent and 60 % in one picture."""
    from matplotlib.ticker import FuncFormatter

    marks = _marks(rows)
    styles = {name: (_COLOURS[k % len(_COLOURS)], _SHAPES[k % len(_SHAPES)]) for k, name in enumerate(n for n in marks if not n.startswith("unfolding "))}
    size = 6.0 if len(rows) <= 30 else 4.5
    axes.set_xscale("log")
    axes.set_xlim(0.6 * _EXACT, max([0.1, *(1.6 * x for points in marks.values() for _, x in points), *(1.6 * x for x in map(_excess, rows) if math.isfinite(x))]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: ("\u2264 " if x < 1.5 * _EXACT else "") + f"{100 * x:g} %"))
    axes.tick_params(axis="x", labelsize=9)
    handles: list[Any] = []
    for y, row in enumerate(rows):
        axes.axhline(y, color="#EEEEEE", lw=0.6, zorder=0)
        if math.isfinite(_excess(row)):
            handles += axes.plot([max(_excess(row), _EXACT)] * 2, [y - 0.38, y + 0.38], color=_BOUND, lw=1.6, solid_capstyle="butt", zorder=3, label="bound")
        else:
            axes.text(_EXACT, y, "no lower end" if _best_lower(row) == 0 else "no upper end", va="center", fontsize=7, color="#555555")
    for name, points in marks.items():
        letter = name.removeprefix("unfolding ") if name.startswith("unfolding ") else ""
        colour, shape = (_UNFOLDING, f"${letter}$") if letter else styles[name]
        xs, ys = [max(x, _EXACT) for _, x in points], [y + _LIFTS.get(letter, 0.0) for y, _ in points]
        handles += axes.plot(xs, ys, ls="none", marker=shape, color=colour, ms=size * (1.0 if len(letter) < 2 else 2.2), mew=0.3, alpha=0.9, zorder=4, label=name)
    axes.set_xlabel("upper end above the best lower end (logarithmic)")
    return handles


def _marks(rows: Sequence[Row]) -> dict[str, list[tuple[int, float]]]:
    """Name of a method or an unfolding -> (number of the layer, upper end / best lower end - 1) wherever both are positive and finite."""
    marks: dict[str, list[tuple[int, float]]] = {}
    for y, row in enumerate(rows):
        every = {f"unfolding {u['name']}": u["upper"] for u in row.unfoldings or []}
        every |= {c["method"]: c["upper"] for c in [*row.tried, *row.compared] if "reason" not in c and not (c["method"] == "fantastic_four" and row.unfoldings)}
        for name, upper in every.items():
            if _best_lower(row) > 0 and 0 < upper < math.inf:
                marks.setdefault(name, []).append((y, upper / _best_lower(row) - 1))
    return dict(sorted(marks.items(), key=lambda item: (not item[0].startswith("unfolding "), item[0])))


def _best_lower(row: Row) -> float:
    return max([row.lower, *(c["lower"] for c in row.compared if "reason" not in c)])


def _excess(row: Row) -> float:
    """Of the bound over the best lower end; that of a layer that is zero is 0."""
    return row.upper / _best_lower(row) - 1 if _best_lower(row) > 0 else row.gap
