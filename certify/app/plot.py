"""The certified-accuracy curve as a PNG file. What is drawn is `RadiusResult.plot`; here it is only put on a page and written."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..robustness.result import RadiusResult


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def save_curve(path: Path, result: RadiusResult, title: str = "") -> Path:
    """Write the curve atomically. Needs matplotlib (extra `plot`); changes no global setting of it and opens no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ..core.record import atomic_path

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = result.plot(figure.subplots())
    if title:
        axes.set_title(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    return Path(path)
