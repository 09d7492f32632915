"""Certified accuracy as a curve over the radius, and its picture."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InputError
from ..core.rounding import fraction_up

if TYPE_CHECKING:
    from .result import RadiusResult


def radius_bound(eps: Any) -> float:
    """The smallest float64 that is >= eps: a float r satisfies r >= eps exactly if r >= that. eps is a number (taken exactly) or decimal text.

    Raises:
        InputError: not a number, NaN, infinite or negative.

    >>> radius_bound("0.1") == 0.1, radius_bound("0.3") > 0.3
    (True, True)
    """
    try:
        exact = Fraction(eps.strip()) if isinstance(eps, str) else Fraction(float(eps)) if not isinstance(eps, Fraction | int) else Fraction(eps)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise InputError("eps is not a finite number", where="argument eps", found=repr(eps), expected="a float, or decimal text such as '0.1'") from error
    if not exact >= 0:
        raise InputError("eps is negative", where="argument eps", found=str(eps), expected="a radius >= 0")
    return fraction_up(exact)


def accuracy_steps(result: RadiusResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two curves at every radius where one of them steps.

    Returns:
        eps (m,) increasing from 0; certified and attacked accuracy (m,) at each eps. Both are right for every eps between, too: a curve
        keeps the value of the *next* step (radius >= eps falls just after eps = radius).
    Cost: one sort.
    """
    certified = np.sort(result.radii[result.radii > 0])
    attacked = np.sort(result.upper[result.predictions == result.labels])
    eps = np.unique(np.concatenate([[0.0], certified[np.isfinite(certified)], attacked[np.isfinite(attacked)]]))
    count = len(result.radii)
    return eps, (len(certified) - np.searchsorted(certified, eps, "left")) / count, (len(attacked) - np.searchsorted(attacked, eps, "left")) / count


def plot(result: RadiusResult, ax: Any = None) -> Any:
    """Draw certified and attacked accuracy over the radius; the true robust accuracy lies in the shaded band. Returns the axes (loads matplotlib)."""
    if ax is None:
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise InputError("a plot needs matplotlib", hint="pip install 'certify-reach[plot]'") from error
        _, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    eps, certified, attacked = accuracy_steps(result)
    right = max(float(eps[-1]) * 1.05, math.ulp(1.0))
    eps, certified, attacked = np.append(eps, right), np.append(certified, np.mean(np.isinf(result.radii))), np.append(attacked, np.mean(np.isinf(result.upper)))
    attack = bool(np.isfinite(result.upper[result.predictions == result.labels]).any())
    name = {"l2": "ℓ2", "linf": "ℓ∞", "l1": "ℓ1"}[result.norm]
    if attack:
        ax.step(eps, attacked, where="pre", color="#b5482a", label="attacked: no adversarial input found within ε")
        ax.fill_between(eps, certified, attacked, step="pre", color="#999999", alpha=0.25, linewidth=0, label="the true robust accuracy is in here")
    ax.step(eps, certified, where="pre", color="#1f5f8b", label="certified: the prediction provably cannot change within ε")
    ax.set(
        xlim=(0, right),
        ylim=(0, 1.02),
        xlabel=f"radius ε ({name} norm, in the units of the model's input)",
        ylabel="accuracy",
        title=f"Certified accuracy of {len(result.radii)} inputs",
    )
    ax.grid(alpha=0.3)
    ax.legend(loc="upper right", fontsize=8, frameon=False)
    return ax
