"""`export`: the network that came out of training as plain layers, with the same function, checked.

Three things happen to a copy of the model: computed weights are replaced by their values, a Centering is added to the bias of the layer before it, and
every module with a method `exported()` is replaced by what that returns. (The file is not called export: a package's function and file cannot share a name.)
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from ..core.errors import InputError, UnsupportedLayerError
from ..core.trace_emit import brief
from ..core.trace_prepare import bake, require_model, require_shape
from ..norms.estimate import LINEAR_LAYERS
from .blocks.centering import Centering
from .export_check import Changes, Observation, observe, quiet, require_same


def export(model: nn.Module, input_shape: Sequence[int] | None = None) -> nn.Module:
    """The function of `model` in evaluation mode as plain layers, on the model's device and in its dtype; the model is left as it is.

    Parametrizations (torch.nn.utils.parametrize) and the older hooks of weight_norm, spectral_norm and pruning are baked: the weight becomes the parameter
    that the model computes in its own dtype. A tensor or layer that was shared stays shared; tied parametrizations become equal tensors. Blocks of
    `train.blocks`, Householder, and every module with a method `exported() -> nn.Module` are replaced by what that returns. MaxMin and GroupSort,
    for which torch has no layer, stay: they have no parameters. BatchNorm stays, in evaluation mode. All other modules and their hooks are copied.

    Args:
        model: a torch.nn.Module in any mode; torch.compile and DataParallel are unwrapped.
        input_shape: of one input, without the batch axis, for the check. None: a shape on which the model runs is looked for, beginning with its first
            layers: (features,) or (channels, n, n) with the usual n and all up to 64.
    Returns:
        a new module in evaluation mode without parametrizations. New and baked parameters require a gradient.
    Guarantee: a test, no proof. Model and export agree on five inputs (zero, uniform on [0, 1], normal with deviations 1, 1 and 0.01) within 1e-9 of the largest
        value that any module computes when both are converted in float64 on the CPU, and within 1e-3 (float32), 3e-2 (float16), 0.1 (bfloat16) in
        the model's own dtype on its device; of the two at least the one that the model can run in is made. Certify the export: `certify.radius`.
    Raises:
        SoundnessError: they differ; names the first module that does.
        InputError: not an eager torch module, uninitialised, meta, complex or quantised weights, a BatchNorm without running statistics, no shape on which the
            model runs, outputs that are not finite, a random model.
        UnsupportedLayerError: a weight that cannot be computed, hooks on a module to be replaced, code that reaches into a replaced module.
    Cost: a few copies of the model and forward passes of five inputs.

    >>> layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))
    >>> export(nn.Sequential(layer, nn.ReLU()))
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    """
    with quiet():
        original = _copied(_unwrapped(model)).eval()
        original = require_model(original)
        shape = None if input_shape is None else require_shape(input_shape)
        twins = [original]
        exact = copy.deepcopy(original).cpu().double()
        if [(t.dtype, t.device) for t in exact.state_dict().values()] != [(t.dtype, t.device) for t in original.state_dict().values()]:
            twins.insert(0, exact)
        seen: list[Observation | Exception] = []
        for twin in twins:
            seen.append(observe(twin, next((tuple(before.inputs.shape[1:]) for before in seen if isinstance(before, Observation)), shape)))
        if all(isinstance(before, Exception) for before in seen):
            hint = "give input_shape, the shape of one input without the batch axis" if shape is None else "an input has shape (n, *input_shape), real numbers"
            found = brief(seen[-1]) if shape is not None else "none of the usual shapes"  # type: ignore[arg-type]
            raise InputError("no input was found on which the model runs, so an export could not be checked", where="argument input_shape", found=found, hint=hint)
        results = []
        for twin, before in zip(twins, seen):
            plain, changes = _plain(twin)
            if not isinstance(before, Exception):
                require_same(before, twin, plain, changes)
            results.append(plain)
    return results[-1]


def _unwrapped(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise InputError("only a torch module can be exported", where="argument model", found=type(model).__name__, expected="a torch.nn.Module")
    model = getattr(model, "_orig_mod", model)  # torch.compile
    return model.module if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel) else model


def _copied(model: nn.Module) -> nn.Module:
    """A deep copy; tensors with a gradient history, which deepcopy refuses, are copied without it."""
    values = [value for module in model.modules() for value in vars(module).values()]
    memo: dict[int, object] = {id(value): value.detach().clone() for value in values if isinstance(value, torch.Tensor) and not value.is_leaf}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        hint = "copy.deepcopy(model) must work: remove locks, files and generators from the module"
        raise InputError("the model cannot be copied", where=type(model).__name__, found=brief(error), hint=hint) from error


def _plain(model: nn.Module) -> tuple[nn.Module, Changes]:
    """A converted copy of `model`, which has run before (some modules choose their layers by the last input), and what was changed in it."""
    twin = _copied(model)
    _remove_hooks(twin)
    computed = [(module, list(module.parametrizations)) for module in twin.modules() if parametrize.is_parametrized(module)]  # type: ignore[arg-type]
    bake(twin)
    for module, names in computed:
        for name in names:
            getattr(module, name).requires_grad_(True)
    folded = _fold_centering(twin)
    replaced: dict[int, tuple[nn.Module, nn.Module, str]] = {}
    plain = _replaced(twin, "", replaced).eval()
    for path, module in plain.named_modules():
        if parametrize.is_parametrized(module):
            raise UnsupportedLayerError("a parametrization is left", where=f"{path} ({type(module).__name__})", hint="`exported()` must return plain layers")
    return plain, Changes(frozenset(path for _, _, path in replaced.values()), folded)


def _remove_hooks(model: nn.Module) -> None:
    """The older hooks of weight_norm, spectral_norm and pruning replaced by the weights that they compute, with all their helper tensors."""
    for path, module in model.named_modules():
        for hook in list(module._forward_pre_hooks.values()):
            try:
                if isinstance(hook, WeightNorm):
                    remove_weight_norm(module, hook.name)
                elif isinstance(hook, SpectralNorm):
                    remove_spectral_norm(module, hook.name)
                elif isinstance(hook, prune.BasePruningMethod):
                    prune.remove(module, hook._tensor_name)
            except Exception as error:
                raise UnsupportedLayerError("a computed weight could not be evaluated", where=f"{path} ({type(module).__name__})", found=brief(error)) from error


def _fold_centering(model: nn.Module) -> dict[str, str]:
    """Add each Centering to the bias of the layer right before it in a Sequential; an Identity takes its place, so paths stay. Returns {layer: centering}."""
    uses = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    folded = {}
    for path, chain in model.named_modules():
        if type(chain) is not nn.Sequential:
            continue
        for (name, layer), (place, shift) in zip(list(chain._modules.items()), list(chain._modules.items())[1:]):
            if isinstance(shift, Centering) and type(layer) in LINEAR_LAYERS and uses[id(layer)] == uses[id(shift)] == 1 and _same_axes(layer, shift) and not _hooked(layer, shift):
                bias = shift.shift().detach() + (0 if layer.bias is None else layer.bias.detach())  # type: ignore[union-attr, operator]
                layer.bias = nn.Parameter(bias)  # type: ignore[union-attr]
                chain._modules[place] = nn.Identity()
                folded[f"{path}.{name}" if path else name] = f"{path}.{place}" if path else place
    return folded


def _same_axes(layer: nn.Module, shift: Centering) -> bool:
    """Whether the layer's outputs are the channels of the Centering: axis 1 of a convolution, the last of a linear layer."""
    return shift.dims == (0 if isinstance(layer, nn.Linear) else len(layer.kernel_size))  # type: ignore[arg-type]


def _hooked(*modules: nn.Module) -> bool:
    return any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def _replaced(module: nn.Module, path: str, known: dict[int, tuple[nn.Module, nn.Module, str]]) -> nn.Module:
    """`module` with every part that has a method `exported()` replaced by what that returns; `known` holds (old, new, path) by the old one's id."""
    if id(module) in known:
        return known[id(module)][1]
    new, method = module, getattr(module, "exported", None)
    if callable(method):
        new = method()
        where = f"{path or 'the model'} ({type(module).__name__})"
        if not isinstance(new, nn.Module):
            raise UnsupportedLayerError("`exported()` returns no module", where=where, found=type(new).__name__, expected="a torch.nn.Module with the same function")
        if new is not module:
            if _hooked(module):
                raise UnsupportedLayerError("a module to be replaced has hooks, which would be lost", where=where, hint="remove the hooks, or register them on the export")
            known[id(module)] = module, new, path
    for name, child in list(new._modules.items()):
        if child is not None:
            new._modules[name] = _replaced(child, f"{path}.{name}" if path else name, known)
    return new
