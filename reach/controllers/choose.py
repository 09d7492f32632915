"""Which abstraction a controller gets: the one asked for, or `auto`."""

from __future__ import annotations

from typing import Any

from certify.core.errors import InputError, UnsupportedLayerError

from ..loop import ClosedLoop
from .layerwise import Layerwise
from .model import Abstraction


def choose(controller: Any, loop: ClosedLoop, order: int) -> Abstraction:
    """The abstraction for `solve(controller=...)`: "auto" is layer-wise for a network, and Bernstein for a black box or a network with layers it has no rule for.

    Raises InputError for anything that is not an abstraction.
    """
    if isinstance(controller, str) and controller == "auto":
        if _layered(loop.controller):
            return Layerwise()
        from .bernstein import Bernstein

        return Bernstein()
    if hasattr(controller, "prepare") and not isinstance(controller, type):
        return controller
    raise InputError(
        "this is not an abstraction of controllers",
        where="solve, argument controller",
        found=repr(controller)[:80],
        expected='"auto", reach.Layerwise(...) or reach.Bernstein(...)',
    )


def _layered(controller: Any) -> bool:
    """Whether the controller is a network whose every layer the layer-wise method knows."""
    if hasattr(controller, "networks"):
        return True
    try:
        return hasattr(controller, "program") and controller.program is not None
    except UnsupportedLayerError:
        return False
