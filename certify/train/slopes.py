"""Which activation of `certify.core` a torch module is: its slopes and curvature, for training estimates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ..core.activation import Activation, activation

_THRESHOLD = 19  # below, the jump of torch's softplus at its threshold is visible (core.trace_activations)
_KINDS: dict[type[nn.Module], tuple[str, Callable[[Any], dict[str, Any]]]] = {
    nn.ReLU: ("relu", lambda m: {}),
    nn.ReLU6: ("hardtanh", lambda m: {"min": 0.0, "max": 6.0}),
    nn.Hardtanh: ("hardtanh", lambda m: {"min": float(m.min_val), "max": float(m.max_val)}),
    nn.LeakyReLU: ("leaky_relu", lambda m: {"alpha": float(m.negative_slope)}),
    nn.ELU: ("elu", lambda m: {"alpha": float(m.alpha)}),
    nn.CELU: ("celu", lambda m: {"alpha": float(m.alpha)}),
    nn.SELU: ("selu", lambda m: {}),
    nn.GELU: ("gelu", lambda m: {"approximate": m.approximate}),
    nn.SiLU: ("silu", lambda m: {}),
    nn.Mish: ("mish", lambda m: {}),
    nn.Hardswish: ("hardswish", lambda m: {}),
    nn.Hardsigmoid: ("hardsigmoid", lambda m: {}),
    nn.Softplus: ("softplus", lambda m: {"beta": float(m.beta)}),
    nn.Softshrink: ("softshrink", lambda m: {"lambda": float(m.lambd)}),
    nn.Softsign: ("softsign", lambda m: {}),
    nn.LogSigmoid: ("logsigmoid", lambda m: {}),
    nn.Tanhshrink: ("tanhshrink", lambda m: {}),
    nn.Sigmoid: ("sigmoid", lambda m: {}),
    nn.Tanh: ("tanh", lambda m: {}),
}


def slopes_of(module: nn.Module) -> Activation | None:
    """The description of an entrywise activation module with fixed parameters; None for any other module.

    >>> slopes_of(nn.Softplus()).curvature_range()
    (0.0, 0.25)
    """
    kind, settings = _KINDS.get(type(module), ("", None))
    if settings is None or (isinstance(module, nn.Softplus) and module.threshold < _THRESHOLD):
        return None
    return activation(kind, **settings(module))


def smooth_names() -> str:
    """The modules above that can have a second derivative, for messages."""
    return ", ".join(kind.__name__ for kind in _KINDS if slopes_of(kind()) is not None and slopes_of(kind()).curvature_range() is not None)  # type: ignore[union-attr]
