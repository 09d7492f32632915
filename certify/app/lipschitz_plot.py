"""The picture of `certify lipschitz`: the ladder on a logarithmic axis, the proved lower end as a line that no bar may cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.decimals import decimal_down, decimal_up
from ..core.record import atomic_path
from .lipschitz_rungs import Rung
from .lipschitz_text import over

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOWER, _BOUND, _BEST, _NONE = "#0072B2", "#9CCBE8", "#E69F00", "#7A7A7A"  # Okabe & Ito, as in bound_plot


def draw_ladder(rungs: Sequence[Rung], lower: float, norm: str = "l2", title: str = "") -> Figure:
    """A matplotlib figure: one bar per rung from the lower end to its bound, with value and seconds beside it. No window, no global setting."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(9.0, 1.7 + 0.52 * (len(rungs) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    finite = [r.upper for r in rungs if 0 < r.upper < math.inf]
    ends = [*finite, *([lower] if lower > 0 else [])] or [1.0]
    low, high = min(ends), max(ends)
    span = max(high / low, 1.6)
    start = lower if lower > 0 else low / span**0.3
    axes.set_xscale("log")
    axes.set_xlim(start / span**0.06, high * span**0.55)
    best = min(finite, default=math.inf)
    for y, rung in enumerate(rungs):
        if not 0 < rung.upper < math.inf:
            axes.text(start * span**0.01, y, "0" if rung.upper == 0 else _short(rung.reason), va="center", fontsize=8, color=_NONE)
            continue
        axes.barh(y, rung.upper - start, 0.56, left=start, color=_BEST if rung.upper == best else _BOUND, zorder=2)
        times = f"   {over(rung.upper, lower)} x lower" if lower > 0 else ""
        axes.text(rung.upper * span**0.012, y, f"{decimal_up(rung.upper, 6)}{times}   {rung.seconds:.2g} s", va="center", fontsize=8, zorder=4)
    if lower > 0:
        axes.axvline(lower, color=_LOWER, lw=2.0, zorder=3)
        axes.text(lower * span**0.012, len(rungs) - 0.25, f"lower end {decimal_down(lower, 6)}, by a pair of inputs", color=_LOWER, va="center", fontsize=8)
    axes.set_yticks(range(len(rungs)), [rung.name for rung in rungs], fontsize=9)
    axes.set_ylim(len(rungs) + 0.2, -0.6)
    decades = high * span**0.55 > 30 * start
    subs = (1.0, 2.0, 5.0) if decades else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    axes.xaxis.set_major_locator(LogLocator(numticks=8) if span > 1e4 else LogLocator(subs=subs, numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#DDDDDD", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    between = "; the true constant lies between the line and the end of the shortest bar" if lower > 0 else ""
    axes.set_xlabel(f"bound on the {norm} Lipschitz constant (logarithmic){between}", fontsize=8)
    if title:
        axes.set_title(title, fontsize=11)
    return figure


def save_ladder(path: Path, rungs: Sequence[Rung], lower: float, norm: str = "l2", title: str = "") -> Path:
    """Write the figure atomically as .png, .svg or .pdf; equal ladders give equal files but for the ids in an .svg."""
    kind = path.suffix.lower()[1:]
    dateless = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    figure = draw_ladder(rungs, lower, norm, title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format=kind, metadata=dateless)
    return path


def _short(reason: str, length: int = 90) -> str:
    text = "no: " + reason
    return text if len(text) <= length else text[: length - 3] + "..."
