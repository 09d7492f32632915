"""`load_model`: what MODEL on a command line means: an ONNX file, or package.module:factory with a file of weights."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import CertifyError, InputError
from ..core.graph import Graph
from .onnx import load_onnx
from .weights import load_weights

if TYPE_CHECKING:
    import torch

_EXPECTED = "an ONNX file (.onnx, .onnx.gz), or package.module:factory with --weights file"


def load_model(reference: str | Path, weights=None, input_shape: Sequence[int] | None = None) -> Graph | torch.nn.Module:
    """The model that a reference names, in eval mode where it is a torch module.

    Args:
        reference: the path of an ONNX file; or `package.module:name` or `path/to/file.py:name`, where name is a torch module, or a
            function or class that returns one when called without arguments. Importing it runs that code: it is the user's own.
        weights: .safetensors or a state dict, loaded into the module; every name and shape must fit.
        input_shape: for ONNX files that leave sizes open.

    Raises:
        InputError: neither kind of reference, code that fails, weights that do not fit, a file that could only be read by running it.
        UnsupportedLayerError: from `load_onnx`.

    >>> load_model("torch.nn:Flatten")
    Flatten(start_dim=1, end_dim=-1)
    """
    text = str(reference)
    if text.endswith((".onnx", ".onnx.gz")) or (Path(text).is_file() and ":" not in text):
        _require_onnx_name(text)
        if weights is not None:
            raise InputError("an ONNX file has its weights inside", where=text, found=f"weights {weights}", hint="leave the weights out")
        return load_onnx(text, input_shape=input_shape)
    place, separator, name = text.rpartition(":")
    if not separator or not place or not name.isidentifier():
        hint = "there is no such file here" if "/" in text or "." in text else None
        raise InputError("this does not name a model", where=text, expected=_EXPECTED, hint=hint)
    module = _made(imported(place), name, text)
    if weights is not None:
        _fill(module, weights, text)
    return module.eval()


def _require_onnx_name(text: str) -> None:
    """Files that are models in other formats: what to do instead."""
    if text.endswith((".onnx", ".onnx.gz")):
        return
    suffix = Path(text).suffix.lower()
    if suffix == ".pt2":
        raise InputError(
            "an exported program (.pt2) is not read: torch.export.load unpickles and evaluates expressions, which can run code",
            where=text,
            expected=_EXPECTED,
            hint="torch.onnx.export(program, args, 'model.onnx')",
        )
    if suffix in (".pt", ".pth", ".bin", ".ckpt", ".safetensors"):
        raise InputError("weights alone are not a model", where=text, expected=_EXPECTED, hint=f"name the code that builds the network: package.module:factory --weights {text}")
    if suffix in (".pkl", ".pickle", ".joblib"):
        raise InputError("a pickled model is not read: unpickling runs code", where=text, expected=_EXPECTED, hint="export the model to ONNX")
    raise InputError("this file is not a model that can be read", where=text, expected=_EXPECTED)


def imported(place: str) -> Any:
    """The module `package.module`, or the one in a .py file."""
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(f"certify_model_{Path(place).stem}", place)
        if spec is None or spec.loader is None or not Path(place).is_file():
            raise FileNotFoundError(f"no file {place}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and pickling look it up there
        spec.loader.exec_module(module)
        return module
    except CertifyError:
        raise
    except Exception as error:
        hint = "run the command from the folder that holds the package, or set PYTHONPATH" if isinstance(error, ModuleNotFoundError) else None
        raise InputError("the code of the model cannot be imported", where=place, found=f"{type(error).__name__}: {error}", hint=hint) from error


def _made(module: Any, name: str, where: str) -> torch.nn.Module:
    import torch

    if not hasattr(module, name):
        known = [n for n, v in vars(module).items() if not n.startswith("_") and getattr(v, "__module__", None) == module.__name__]
        raise InputError("the module does not define this name", where=where, found=", ".join(known[:20]) or "nothing of its own", expected=name)
    found = getattr(module, name)
    if callable(found) and not isinstance(found, torch.nn.Module):
        try:
            found = found()
        except CertifyError:
            raise
        except Exception as error:
            raise InputError(
                "the function that builds the model failed", where=where, found=f"{type(error).__name__}: {error}", expected="a function that works without arguments"
            ) from error
    if not isinstance(found, torch.nn.Module):
        raise InputError("the reference is not a torch module", where=where, found=type(found).__name__, expected="a torch.nn.Module, or a function that returns one")
    return found


def _fill(module: torch.nn.Module, weights, where: str) -> None:
    """Load the weights; every tensor of the module must be there with its shape, and no other."""
    import torch

    arrays = load_weights(weights)
    have = module.state_dict()
    problems = [f"{n} is missing" for n in have if n not in arrays] + [f"{n} is unknown" for n in arrays if n not in have]
    problems += [f"{n} has shape {arrays[n].shape}, not {tuple(t.shape)}" for n, t in have.items() if n in arrays and arrays[n].shape != tuple(t.shape)]
    if problems:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(
            "the weights do not fit the model",
            where=f"{weights} into {where}",
            found="; ".join(problems[:5]) + more,
            expected=f"{len(have)} tensors with the names and shapes of the model",
        )
    for name, tensor in have.items():
        array = arrays[name]
        if tensor.is_floating_point() and array.dtype.kind == "f" and torch.finfo(tensor.dtype).bits < 8 * array.dtype.itemsize:
            raise InputError(
                "the weights are stored more precisely than the model holds them",
                where=f"{weights}, '{name}'",
                found=array.dtype,
                expected=tensor.dtype,
                hint="return model.double() from the factory",
            )
    module.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items()}, strict=True)
