"""The few torch modules that are translated as a whole; every other module is traced into and seen as the functions that it calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .errors import InputError
from .trace_refusals import KNOWN, refusal

Translated = tuple[str, tuple, dict]


def _batch_norm(m: Any, x: Any) -> Translated:
    return "batch_norm", (x, m.running_mean, m.running_var, m.weight, m.bias, m.training, 0.0, m.eps), {}


def _circular_pad(m: Any, x: Any) -> Translated:
    return "pad", (x, tuple(m.padding), "circular"), {}


def _softmax2d(m: Any, x: Any) -> Translated:
    return "softmax", (x, -3), {}


def _instance_norm(spatial: int) -> Callable[..., Translated]:
    def translated(m: Any, x: Any) -> Translated:
        return "instance_norm", (x, m.running_mean, m.running_var, m.weight, m.bias, m.training or not m.track_running_stats, 0.0, m.eps), {"rank": spatial + 2}

    return translated


def _whole(op: str) -> Callable[..., Translated]:
    """A module whose forward takes several arguments: all of them go to the handler, behind the module itself."""
    return lambda m, *args, **kwargs: (op, (m, *args), kwargs)


# Modules with branches on values or on their own mode, which no recorder follows.
_SEVERAL: dict[type[nn.Module], Callable[..., Translated]] = {
    nn.MultiheadAttention: _whole("multi_head_attention"),
    nn.TransformerEncoderLayer: _whole("transformer_encoder_layer"),
    nn.TransformerEncoder: _whole("transformer_encoder"),
}
MODULES: dict[type[nn.Module], Callable[..., Translated]] = {
    **_SEVERAL,
    nn.InstanceNorm1d: _instance_norm(1),
    nn.InstanceNorm2d: _instance_norm(2),
    nn.InstanceNorm3d: _instance_norm(3),
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
    nn.SyncBatchNorm: _batch_norm,
    nn.CircularPad1d: _circular_pad,
    nn.CircularPad2d: _circular_pad,
    nn.CircularPad3d: _circular_pad,
    nn.Softmax2d: _softmax2d,
}
# What a subclass may define without changing what `forward` computes.
_HARMLESS = frozenset("__init__ __module__ __doc__ __annotations__ __constants__ __parameters__ __dict__ __weakref__ extra_repr __repr__ reset_parameters".split())


def matched(module: nn.Module) -> type[nn.Module] | None:
    """The class of MODULES whose function `module` has: a subclass counts while it overrides nothing of it; hooks count as overriding.

    A parametrized module has been baked before it comes here.
    """
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        return None
    ancestry = type(module).__mro__
    target = next((cls for cls in ancestry if cls in MODULES), None)
    if target is None:
        return None
    overridden = any(hasattr(target, name) for cls in ancestry[: ancestry.index(target)] for name in set(vars(cls)) - _HARMLESS)
    return None if overridden else target


def refused(module: nn.Module) -> str:
    """The name under which a torch layer is refused as a whole (subclasses too), or "" """
    return next((cls.__name__ for cls in type(module).__mro__ if cls.__name__ in KNOWN and cls.__module__.startswith("torch.nn.")), "")


def module_call(module: nn.Module, args: tuple, kwargs: dict, where: str) -> Translated:
    """The operator that a leaf module stands for, with its arguments."""
    name = refused(module)
    if name:
        raise refusal(name, where)
    cls = matched(module)
    if cls is None:
        raise refusal(type(module).__name__, where)
    if cls in _SEVERAL:
        return MODULES[cls](module, *args, **kwargs)
    given = [*args, *kwargs.values()]
    if len(given) != 1:
        raise InputError("a layer is called with an unexpected number of arguments", where=where, found=len(given), expected="one")
    return MODULES[cls](module, given[0])
