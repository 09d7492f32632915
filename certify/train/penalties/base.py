"""What every penalty shares: the interface, the layers it looks at, and a memory that lives and travels with them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ...core.errors import CertifyError, InputError
from ...norms.estimate import LINEAR_LAYERS
from ..settings import number

_NOMINAL = 32
T = TypeVar("T")


class Penalty(ABC):
    """penalty(module) -> a scalar tensor, `weight` times what the class says, with a gradient; to be added to a training loss.

    The module may be a whole model or one bare layer. Constructible without arguments; the first one is `weight`. A penalty that remembers
    something about a layer keeps it in a `LayerMemory`, so that copies and pickles need no code of their own.

    >>> from certify.train.penalties import SpectralNorm
    >>> issubclass(SpectralNorm, Penalty)
    True
    """

    def __init__(self, weight: float = 1.0):
        self.weight = number("weight", weight)

    @abstractmethod
    def __call__(self, module: nn.Module) -> Tensor: ...

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({settings})"


class LayerMemory(WeakKeyDictionary[nn.Module, T]):
    """A dictionary by layer whose entries vanish with their layer.

    A deep copy knows the same layers and their copies; a pickle made together with the model finds the unpickled layers again (alone, the
    entries vanish on arrival).

    >>> layer, memory = nn.Linear(2, 2), LayerMemory()
    >>> memory[layer] = 3
    >>> twin, other = copy.deepcopy((layer, memory))
    >>> other[twin], other[layer], nn.Linear(2, 2) in other
    (3, 3, False)
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> LayerMemory[T]:
        other: LayerMemory[T] = LayerMemory()
        memo[id(self)] = other
        for layer, value in list(self.items()):
            for target in (layer, copy.deepcopy(layer, memo)):  # a copy nobody else holds is forgotten at once
                other[target] = copy.deepcopy(value, memo)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return LayerMemory, (), None, None, iter(list(self.items()))


def layers_of(module: nn.Module) -> list[nn.Module]:
    """The linear and convolution layers inside `module`, or `module` itself, each once."""
    return [layer for layer in require_module(module).modules() if isinstance(layer, LINEAR_LAYERS)]


def require_module(module: nn.Module) -> nn.Module:
    """`module`, refused when it is none."""
    if not isinstance(module, nn.Module):
        raise InputError("a penalty is called on a module", found=type(module).__name__, expected="a torch.nn.Module, whole model or bare layer")
    return module


def unwrapped(module: nn.Module) -> nn.Module:
    """The module behind torch.compile or data parallelism."""
    inner = module.module if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel) else getattr(module, "_orig_mod", None)
    return unwrapped(inner) if isinstance(inner, nn.Module) else module


def parts_of(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested nn.Sequential containers in the order of the forward pass, with their paths; anything else, blocks that know their own constant too, is one part.

    >>> [path for path, _ in parts_of(nn.Sequential(nn.Flatten(), nn.Sequential(nn.Tanh(), nn.Tanh())))]
    ['0', '1.0', '1.1']
    """
    if type(module).forward is not nn.Sequential.forward or callable(getattr(module, "lipschitz_estimate", None)):
        yield path or "the model", module
        return
    for name, child in module._modules.items():  # named_children gives a layer that is used twice only once
        if child is not None:
            yield from parts_of(child, f"{path}.{name}" if path else name)


def total(weight: float, terms: Iterable[Tensor]) -> Tensor:
    """weight * sum of the terms; 0 without any."""
    found = list(terms)
    return weight * torch.stack(found).sum() if found else torch.zeros(())


def input_shapes(module: nn.Module, input_shape: Sequence[int], kinds: tuple[type[nn.Module], ...] = LINEAR_LAYERS) -> dict[nn.Module, tuple[int, ...]]:
    """The input shape of every layer of these kinds during one forward pass of zeros, without gradient and in eval mode; the module is left as it was."""
    found: dict[nn.Module, tuple[int, ...]] = {}

    def note(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        found[layer] = tuple(inputs[0].shape[1:])

    modes = {part: part.training for part in module.modules()}
    hooks = [layer.register_forward_pre_hook(note) for layer in require_module(module).modules() if isinstance(layer, kinds)]
    like = next(module.parameters(), torch.zeros(()))
    try:
        module.eval()
        with torch.no_grad():
            module(torch.zeros((1, *input_shape), dtype=like.dtype, device=like.device))
    except CertifyError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        hint = "input_shape is that of one sample, without the batch axis"
        raise InputError("the model cannot be run on an input of this shape", where="argument input_shape", found=f"{input_shape!r}: {str(error)[:200]}", hint=hint) from error
    finally:
        for hook in hooks:
            hook.remove()
        for part, mode in modes.items():
            part.training = mode
    return found


def nominal_shape(layer: nn.Module) -> tuple[int, ...]:
    """Input shape for a layer that nobody has shown an input: 32 pixels per axis, or as many as the kernel spans."""
    if isinstance(layer, nn.Linear):
        return (layer.in_features,)
    spans = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size)]  # type: ignore[arg-type]
    return (layer.in_channels, *(max(_NOMINAL, span) for span in spans))  # type: ignore[return-value]
