"""Certified robustness of neural networks: enclosures, certified radii, and certificates that a stranger can check.

Importing this package loads none of torch, cvxpy, sympy and matplotlib: each public name is loaded on first use.

>>> import certify
>>> "radius" in dir(certify)
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import train
    from .constants.public import LipschitzCertificate, lipschitz
    from .core.errors import CertificateError, CertifyError, HypothesisError, InputError, SoundnessError, TrainingError, UnsupportedLayerError
    from .core.graph import Graph
    from .core.interval import Interval
    from .core.regions import Ball, Box
    from .core.verdict import Verdict
    from .facade import as_graph, check
    from .io.model import load_model
    from .io.onnx import load_onnx
    from .norms.base import NormBound
    from .norms.public import operator_norm
    from .proof.check import CheckReport
    from .robustness.radii import RadiusResult, radius

_HOME = {
    "Ball": "core.regions",
    "Box": "core.regions",
    "CertificateError": "core.errors",
    "CertifyError": "core.errors",
    "CheckReport": "proof.check",
    "Graph": "core.graph",
    "HypothesisError": "core.errors",
    "InputError": "core.errors",
    "Interval": "core.interval",
    "LipschitzCertificate": "constants.public",
    "NormBound": "norms.base",
    "RadiusResult": "robustness.radii",
    "SoundnessError": "core.errors",
    "TrainingError": "core.errors",
    "UnsupportedLayerError": "core.errors",
    "Verdict": "core.verdict",
    "as_graph": "facade",
    "check": "facade",
    "lipschitz": "constants.public",
    "load_model": "io.model",
    "load_onnx": "io.onnx",
    "operator_norm": "norms.public",
    "radius": "robustness.radii",
}
_PACKAGES = ("train",)

__all__ = ["__version__", *sorted((*_HOME, *_PACKAGES))]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module 'certify' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
