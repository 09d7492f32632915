"""Before a torch module is traced: what cannot be asked about is refused by name, and a private copy is made whose weights are plain.

The copy is what gets traced and compared, so the user's model keeps its state, its mode, its gradients and its hooks. On the copy every
weight that is computed at each call (parametrizations, the older hooks of weight_norm, spectral_norm and pruning) is baked: replaced by
the tensor that the model itself computes, in the model's own dtype.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from .errors import InputError, UnsupportedLayerError
from .trace_emit import brief

_HOOKS = (WeightNorm, SpectralNorm, prune.BasePruningMethod)


def require_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    """`input_shape` as a tuple of positive integers."""
    try:
        shape = tuple(input_shape)
        good = all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in shape) and math.prod(shape) <= 2**31
    except TypeError:
        shape, good = (), False
    if not good:
        what = "an input shape is a sequence of positive integers, without the batch axis"
        raise InputError(what, where="argument input_shape", found=repr(input_shape)[:100], expected="for example (3, 32, 32)")
    return tuple(int(n) for n in shape)


def require_model(model: nn.Module) -> nn.Module:
    """The module behind torch.compile or DataParallel, if nothing about it rules an answer out.

    Raises:
        InputError: not a module, scripted, quantised, complex, meta or uninitialised weights; BatchNorm, dropout, RReLU or spectral_norm in training mode.
    """
    if isinstance(model, torch.jit.ScriptModule) or not isinstance(model, nn.Module):
        hint = "pass the module itself, before torch.jit.script or trace"
        raise InputError("not an eager torch module", where="argument model", found=type(model).__name__, expected="a torch.nn.Module", hint=hint)
    if hasattr(model, "_orig_mod"):  # torch.compile
        model = model._orig_mod  # type: ignore[assignment]
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    for path, module in model.named_modules():
        _require_mode(path or type(module).__name__, module)
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            _require_tensor(f"{path}.{name}" if path else name, tensor)
    return model


def _require_mode(path: str, module: nn.Module) -> None:
    where = f"{path} ({type(module).__name__})"
    if ".quantized." in type(module).__module__:
        raise InputError("a quantised layer", where=where, expected="float32 or float64 weights", hint="pass the model as it was before quantisation")
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        if module.running_mean is None or module.running_var is None:
            what = "a BatchNorm without running statistics: its output depends on the other inputs of the batch"
            raise InputError(what, where=where, expected="track_running_stats=True and a trained model")
        if module.training:
            _training("a BatchNorm in training mode: its output depends on the other inputs of the batch", where)
    if not module.training:
        return
    if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
        _training("an active dropout: its output is random", where)
    if isinstance(module, nn.MultiheadAttention) and module.dropout > 0:
        _training("an active dropout of attention weights: its output is random", where)
    if isinstance(module, nn.RReLU):
        _training("an RReLU in training mode: its output is random", where)
    spectral = any(isinstance(hook, SpectralNorm) for hook in module._forward_pre_hooks.values())
    if spectral or type(module).__name__ == "_SpectralNorm":
        _training("spectral_norm in training mode: the weight changes at every call", where)


def _training(what: str, where: str) -> NoReturn:
    hint = "call model.eval() first; layers whose function does not depend on the mode may stay as they are"
    raise InputError(what, where=where, found="training mode", expected="evaluation mode", hint=hint)


def _require_tensor(where: str, tensor: torch.Tensor) -> None:
    plain = (torch.Tensor, nn.Parameter, getattr(nn, "Buffer", nn.Parameter))
    if isinstance(tensor, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer):
        raise InputError("a lazy layer has no weights yet", where=where, hint="run the model once on an input")
    if tensor.is_meta:
        raise InputError("a weight lives on the meta device and has no values", where=where, expected="real weights", hint="load the weights first")
    if tensor.is_complex():
        raise InputError("a weight is complex", where=where, found=tensor.dtype, expected="real weights")
    if tensor.is_quantized or type(tensor) not in plain or tensor.layout != torch.strided:
        found = f"{type(tensor).__name__}, {tensor.layout}"
        raise InputError("a weight is quantised, sparse or of a special tensor class", where=where, found=found, expected="a dense float tensor")


def private_copy(model: nn.Module) -> nn.Module:
    """A deep copy on the CPU, without gradients; float16 and bfloat16 weights become float32, which holds each exactly.

    Raises:
        InputError: the model cannot be copied.
    """
    memo: dict[int, object] = {}
    for module in model.modules():  # tensors that a hook has left behind carry a gradient history, which deepcopy refuses
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        twin = copy.deepcopy(model, memo)
    except Exception as error:
        hint = "copy.deepcopy(model) must work: remove locks, files and generators from the module"
        raise InputError("the model cannot be copied", where=type(model).__name__, found=brief(error), hint=hint) from error
    half = (torch.float16, torch.bfloat16)
    return twin._apply(lambda t: t.float().cpu() if t.dtype in half else t.cpu()).requires_grad_(False)


def bake(model: nn.Module) -> nn.Module:
    """Replace every computed weight of `model` (a private copy) by the tensor that the model computes. Returns `model`.

    Only instances are touched: `remove_parametrizations` would edit a class that the copy shares with the user's model.
    """
    found: list[tuple[nn.Module, str, torch.Tensor]] = []
    for path, module in model.named_modules():
        try:
            if parametrize.is_parametrized(module):
                found += [(module, name, getattr(module, name)) for name in module.parametrizations]  # type: ignore[union-attr]
            for hook in module._forward_pre_hooks.values():
                if isinstance(hook, _HOOKS):
                    hook(module, ())
                    name = hook._tensor_name if isinstance(hook, prune.BasePruningMethod) else hook.name
                    found.append((module, name, getattr(module, name)))
        except Exception as error:
            where = f"{path} ({type(module).__name__})"
            raise UnsupportedLayerError("a computed weight could not be evaluated", where=where, found=brief(error)) from error
    for module, name, value in found:
        for key in [k for k, hook in module._forward_pre_hooks.items() if isinstance(hook, _HOOKS)]:
            del module._forward_pre_hooks[key]
        if parametrize.is_parametrized(module):
            del module._modules["parametrizations"]
            module.__class__ = type(module).__bases__[0]  # the class that parametrize derived for this very module
        vars(module).pop(name, None)
        module._buffers.pop(name, None)
        module._parameters[name] = nn.Parameter(value.detach().clone(), requires_grad=False)
    _bake_default_eps(model)
    return model


def _bake_default_eps(model: nn.Module) -> None:
    """An RMSNorm without eps takes that of the dtype it runs in; the comparison in float64 must not change it."""
    dtype = next((t.dtype for t in [*model.parameters(), *model.buffers()] if t.is_floating_point()), torch.float64)
    for module in model.modules():
        if isinstance(module, nn.RMSNorm) and module.eps is None:
            module.eps = torch.finfo(dtype).eps
