"""Pictures of a training run: `plot(what)` for a history, spectra, stable ranks or empirical Lipschitz constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import InputError
from .diagnostics_lipschitz import EmpiricalLipschitz
from .diagnostics_spectra import Spectrum
from .history import column, layer_names

_MANY = 12  # more layers than this get a colour bar's worth of colours and no legend


def plot(what: Any, axes: Any = None) -> Any:
    """Draw what a function of `certify.train.diagnostics` or a run's history found (loads matplotlib where no axes are given).

    Args:
        what: `Run.history` (three panels: loss, accuracies, layer norms over the epochs), the result of `spectra` or `stable_rank` (per layer), or of
            `empirical_lipschitz` (histograms with a logarithmic axis).
        axes: matplotlib axes, three of them for a history; new ones when None.
    Returns:
        the axes.
    Raises:
        InputError: something else, or matplotlib is not installed.
    """
    draw, panels = _drawing(what)
    if axes is None:
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise InputError("a plot needs matplotlib", hint="pip install 'certify-reach[plot]'") from error
        _, axes = plt.subplots(1, panels, figsize=(5.2 * panels, 3.8), layout="constrained")
    draw(what, axes)
    return axes


def _drawing(what: Any) -> tuple[Any, int]:
    """The function that draws `what`, and how many panels it needs."""
    if isinstance(what, EmpiricalLipschitz):
        return _lipschitz, 1
    if isinstance(what, Mapping) and what and all(isinstance(v, Spectrum) for v in what.values()):
        return _spectra, 1
    if isinstance(what, Mapping) and what and all(isinstance(v, float) for v in what.values()):
        return _per_layer, 1
    if isinstance(what, Sequence) and what and all(isinstance(row, Mapping) and "epoch" in row for row in what):
        return _history, 3
    expected = "Run.history, or what spectra, stable_rank or empirical_lipschitz returned"
    raise InputError("there is no picture of this", where="argument what", found=type(what).__name__, expected=expected)


def _history(history: Any, axes: Any) -> None:
    epochs = [row["epoch"] for row in history]
    one: dict[str, Any] = {"marker": "o", "markersize": 3} if len(epochs) < 3 else {}
    axes[0].plot(epochs, column(history, "loss"), color="#1f5f8b", label="loss", **one)
    if any(v != 0 for v in column(history, "penalty")):
        axes[0].plot(epochs, column(history, "penalty"), color="#b5482a", label="penalty", **one)
    axes[0].set(title="training", xlabel="epoch", ylabel="mean over the epoch")
    clean = column(history, "clean")
    if np.isfinite(clean).any():
        axes[1].plot(epochs, clean, color="#444444", label="clean", **one)
    for eps in history[0].get("certified") or {}:
        axes[1].plot(epochs, column(history, "certified", eps), label=f"radius {float(eps):g} (estimate)", **one)
    axes[1].set(title="validation", xlabel="epoch", ylabel="accuracy", xlim=axes[0].get_xlim(), ylim=(0, 1.02))
    if not np.isfinite(clean).any():
        axes[1].text(0.5, 0.5, "no validation split:\nPlan.validation is 0", ha="center", va="center", color="#777777", transform=axes[1].transAxes)
    names = layer_names(history)
    for name in names:
        seen = [(e, v) for e, v in zip(epochs, column(history, "layers", name, "norm")) if np.isfinite(v)]
        axes[2].plot(*zip(*seen), label=f"layer {name}" if len(names) <= _MANY else None, **one)
    axes[2].set(title="layer norms (estimates)", xlabel="epoch", ylabel="ℓ2 norm")
    axes[2].set_ylim(0, 1.08 * axes[2].dataLim.ymax if names else None)  # from 0: layers of norm 1 then look alike
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)
    _tidy(axes)


def _spectra(found: Mapping[str, Spectrum], axis: Any) -> None:
    for name, spectrum in found.items():
        places = np.linspace(0, 1, len(spectrum.values)) if len(spectrum.values) > 1 else np.array([0.0])
        axis.plot(places, spectrum.values, label=f"{name} ({spectrum.method})" if len(found) <= _MANY else None)
    axis.set(xlabel="share of the singular values", ylabel="singular value", ylim=(0, None), title="spectra of the layers")
    _tidy([axis])


def _per_layer(found: Mapping[str, float], axis: Any) -> None:
    axis.bar(range(len(found)), list(found.values()), color="#1f5f8b")
    axis.set_xticks(range(len(found)), list(found), rotation=45, ha="right", fontsize=8)
    axis.set(ylabel="stable rank", title="stable rank of the layers")


def _lipschitz(found: EmpiricalLipschitz, axis: Any) -> None:
    positive = {name: a[a > 0] for name, a in found.arrays().items() if (a > 0).any()}
    if positive:
        low, high = min(a.min() for a in positive.values()), max(a.max() for a in positive.values())
        edges = np.geomspace(low * (1 - 1e-9), high * (1 + 1e-9), 40)
        for name, a in positive.items():
            axis.hist(a, edges, histtype="step", label=f"{name}, largest {a.max():.3g}")
        axis.set_xscale("log")
    axis.set(xlabel=f"stretch factor ({found.norm}; estimates from below)", ylabel="count", title="empirical Lipschitz constants")
    _tidy([axis])


def _tidy(axes: Any) -> None:
    for axis in axes:
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, frameon=False)
