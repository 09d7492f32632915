"""The two outer doors that know every kind of model: `as_graph` makes a Graph of it, `check` hands that to the trusted checker."""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .core.errors import CertificateError, InputError
from .core.graph import Graph

if TYPE_CHECKING:
    from .proof.check import CheckReport

_LARGEST_INPUT = 1 << 25  # a hostile certificate must not make torch allocate what it likes
_ACCEPTED = "a torch.nn.Module (with input_shape), the path of an .onnx or .onnx.gz file, or a certify.Graph"


def as_graph(model: Any, input_shape: Sequence[int] | None = None) -> Graph:
    """The Graph of any accepted model; loads torch or the ONNX loader only when the model needs it.

    Args:
        model: a Graph (returned as it is), a torch.nn.Module, or the path of an ONNX file.
        input_shape: shape of one input without the batch axis; needed for a module, compared for the others.
    Raises:
        InputError: not an accepted model, no input_shape for a module, or one that is not the model's.
        UnsupportedLayerError: an operator outside the vocabulary, named and located.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> graph = b.build(b.add("input", attrs={"shape": (2,)}))
    >>> as_graph(graph) is graph
    True
    """
    shape = None if input_shape is None else _shape(input_shape)
    if isinstance(model, Graph):
        graph = model
    elif isinstance(model, str | os.PathLike):
        graph = _from_file(os.fspath(model))
    elif _is_module(model):
        if shape is None:
            raise InputError(
                "a torch module does not say what shape its input has",
                where="argument input_shape",
                found=type(model).__name__,
                expected="input_shape without the batch axis, for example (3, 32, 32)",
            )
        from .core.trace import trace

        return trace(model, shape)
    else:
        raise InputError("this is not a model", where="argument model", found=f"{type(model).__module__}.{type(model).__qualname__}", expected=_ACCEPTED)
    if shape is not None and shape != graph.input_shape:
        raise InputError("the model takes inputs of another shape", where="argument input_shape", found=shape, expected=graph.input_shape)
    return graph


def _shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    try:
        if isinstance(input_shape, str | bytes):
            raise TypeError("text")
        return tuple(operator.index(n) for n in input_shape)
    except TypeError as error:
        raise InputError("input_shape is not a sequence of integers", where="argument input_shape", found=repr(input_shape)[:80], expected="for example (3, 32, 32)") from error


def _from_file(path: str | bytes) -> Graph:
    name = os.fsdecode(path)
    if not name.endswith((".onnx", ".onnx.gz")):
        kind = "a pickled torch module is never loaded: unpickling runs code" if name.endswith((".pt", ".pth", ".pkl", ".bin")) else None
        raise InputError("this file is not a model that can be read", where=name, expected=_ACCEPTED, hint=kind)
    from .io.onnx import load_onnx

    return load_onnx(name)


def _is_module(model: Any) -> bool:
    """Whether it is a torch.nn.Module, without loading torch: if torch was never imported, nothing can be one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def check(path: Any, model: Any) -> CheckReport:
    """Prove the certificate at `path` about `model` again, by code that shares nothing with what wrote it but the ground floor.

    The model is turned into a Graph (a module is traced with the input shape that the certificate states) and handed to
    `certify.proof.check`, which imports neither torch nor prover code.

    Args:
        path: the certificate file. model: as in `as_graph`; a module needs no input shape here.
    Returns:
        CheckReport: ok is True, steps lists what was checked.
    Raises:
        CertificateError: damaged, of another model, or a step that does not hold: names the step, the stored and the recomputed value.
        InputError: no such file, or not a model.
    """
    from .proof.certificate import read
    from .proof.check import check as prove

    if not _is_module(model):
        return prove(path, as_graph(model))
    content = read(path)
    shape = tuple(content[0]["graph"]["input_shape"])
    if math.prod(shape) > _LARGEST_INPUT:
        expected = f"at most {_LARGEST_INPUT} entries"
        raise CertificateError("the certificate states an input too large to trace a module with", where="graph.input_shape", found=shape, expected=expected)
    try:
        graph = as_graph(model, shape)
    except InputError as error:
        raise CertificateError(
            "the model cannot be traced with the input shape of the certificate: it is about another model",
            where="graph.input_shape",
            found=f"certificate {shape}, digest {content[0]['graph']['digest'][:64]}",
            expected=f"an input shape of this model: {error.what}",
            hint="give the model that was certified; digests can be compared once it is traced",
        ) from error
    return prove(path, graph, loaded=content)
