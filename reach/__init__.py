"""Reachable sets of plants with neural controllers: proved flowpipes, verdicts, and certificates that a stranger can check.

Importing this package loads none of numpy, numba, sympy, torch and matplotlib: each public name is loaded on first use.

>>> import reach
>>> "solve" in dir(reach)
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from certify import __version__

if TYPE_CHECKING:
    from certify.core.regions import Box
    from certify.proof.check import CheckReport

    from .controllers.bernstein import Bernstein
    from .controllers.blackbox import BlackBox
    from .controllers.controller import Controller
    from .controllers.layerwise import Layerwise
    from .controllers.switching import Switching
    from .dynamics.system import ContinuousSystem, DiscreteSystem
    from .errors import ReachError, RemainderError
    from .flowpipe import Flowpipe
    from .integrators.picard import Picard
    from .loop import ClosedLoop
    from .simulation import simulate
    from .solver import solve
    from .specification import Arrive, ArriveWithin, Avoid, HalfSpace, Stay

_HOME = {
    "Arrive": "reach.specification",
    "ArriveWithin": "reach.specification",
    "Avoid": "reach.specification",
    "Bernstein": "reach.controllers.bernstein",
    "BlackBox": "reach.controllers.blackbox",
    "Box": "certify.core.regions",
    "CheckReport": "certify.proof.check",
    "ClosedLoop": "reach.loop",
    "ContinuousSystem": "reach.dynamics.system",
    "Controller": "reach.controllers.controller",
    "DiscreteSystem": "reach.dynamics.system",
    "Flowpipe": "reach.flowpipe",
    "HalfSpace": "reach.specification",
    "Layerwise": "reach.controllers.layerwise",
    "Picard": "reach.integrators.picard",
    "ReachError": "reach.errors",
    "RemainderError": "reach.errors",
    "Stay": "reach.specification",
    "Switching": "reach.controllers.switching",
    "Verdict": "certify.core.verdict",
    "check": "reach.proof.check",
    "simulate": "reach.simulation",
    "solve": "reach.solver",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'reach' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
