"""Networks by name: `name` of certify.train.models, `package.module:function`, or `path/file.py:function`, with arguments."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import CertifyError, InputError
from ..io.model import imported
from ..io.weights import load_weights

_EXPECTED = "a name in certify.train.models, package.module:function, or path/file.py:function"


def resolved(reference: str, base: Path | None = None) -> str:
    """The reference with a relative path of a .py file made absolute, seen from `base`.

    >>> resolved("package.module:function")
    'package.module:function'
    """
    place, separator, name = reference.rpartition(":")
    if separator and place.endswith(".py"):
        return f"{((base or Path()) / place).resolve()}:{name}"
    return reference


def factory(reference: str) -> Callable[..., nn.Module]:
    """The function that builds the network; naming a module or a file runs its code: it is the user's own.

    Raises:
        InputError: nothing of that name, or code that fails.

    >>> factory("torch.nn:Flatten").__name__
    'Flatten'
    """
    place, separator, name = reference.rpartition(":")
    module = imported(place) if separator and place else _models(reference)
    found = getattr(module, name, None)
    if not callable(found) or name.startswith("_"):
        known = [n for n, value in vars(module).items() if not n.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__]
        raise InputError("there is no network of this name", where=reference, found=", ".join(known[:20]) or "nothing", expected=_EXPECTED)
    return found


def _models(reference: str) -> Any:
    try:
        return importlib.import_module(f"{__package__}.models")
    except ModuleNotFoundError:
        raise InputError("there is no network of this name", where=reference, expected="package.module:function, or path/file.py:function") from None


def build(reference: str, arguments: Mapping[str, Any], seed: int) -> nn.Module:
    """The network with random starting weights of its own seed; the random numbers of the process are not touched.

    Raises:
        InputError: nothing of that name, arguments that it does not take, or something else than a torch module.
    """
    make = factory(reference)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = make(**arguments)
        except CertifyError:
            raise
        except Exception as error:
            found = f"{type(error).__name__}: {error}"[:200]
            raise InputError("the function that builds the network failed", where=reference, found=found, expected=f"{reference} to take {dict(arguments)}") from error
    if not isinstance(model, nn.Module):
        raise InputError("the reference is not a torch module", where=reference, found=type(model).__name__, expected="a function that returns a torch.nn.Module")
    return model


def rebuild(reference: str, arguments: Mapping[str, Any], input_shape: Sequence[int], weights: Any) -> nn.Module:
    """The exported network of a finished run: the plain layers of `reference`, with the weights that the run wrote.

    Raises:
        InputError: weights of another network.
    """
    from .run import exported

    model = exported(build(reference, arguments, 0), tuple(input_shape))
    arrays = {name: torch.from_numpy(array) for name, array in load_weights(weights).items()}
    try:
        model.load_state_dict(arrays)
    except RuntimeError as error:
        raise InputError("the weights do not fit the network", where=weights, found=str(error)[:300], expected=f"the weights of {reference}") from error
    return model
