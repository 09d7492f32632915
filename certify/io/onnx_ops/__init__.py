"""ONNX operators to graph nodes: one file per family, each operator registered by name; a new file here is found by itself."""

from __future__ import annotations

import importlib
import pkgutil

from .registry import OPERATORS, Operator, operator

for _info in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_info.name}")

__all__ = ["OPERATORS", "Operator", "operator"]
