"""From a torch module to a Graph: recorded (torch.fx first, torch.export second), translated operator by operator, compared with the model.

What is not understood is refused by name and place; there is no default for an unknown operator. The model is left unchanged: state,
mode, gradients and the random numbers of the process. torch is imported by the `trace*` files of this folder and `to_torch.py`, by nobody else in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import nn

from .errors import CertifyError, InputError, SoundnessError, UnsupportedLayerError
from .graph import Graph
from .trace_compare import SMALLER, compare_with_model, first_difference, inputs, require_independent_samples, run
from .trace_emit import brief
from .trace_interpret import Interpreter
from .trace_prepare import bake, private_copy, require_model, require_shape
from .trace_record import record_export, record_fx

_RECORDERS = {"torch.fx": record_fx, "torch.export": record_export}


def trace(model: nn.Module, input_shape: Sequence[int]) -> Graph:
    """The function of `model` as a Graph.

    Claim: the Graph is the model with its stored weights in exact real arithmetic, for a batch of any size, one sample at a time
    (compared at sizes 1, 3 and 5 without gradients: a branch that only another size or mode takes cannot be seen).
    Weights that the model computes (parametrizations, weight_norm, products of parameters) are taken as the model computes them, in its
    own dtype. Smooth activations are the mathematical functions (torch's softplus jumps by 2e-9 at its threshold, which is ignored).

    Args:
        model: a module whose forward maps (n, *input_shape) to one tensor (n, ...). BatchNorm, dropout, RReLU and spectral_norm must be
            in eval mode. float16 and bfloat16 weights are converted to float32 exactly.
        input_shape: without the batch axis.
    Guarantee: before it is returned, the graph is compared with the model at another batch size than the one it was traced with, on inputs
        of several magnitudes, in float64 where the model runs in it. Node names are module paths, made unique.
    Raises:
        InputError: not a module; a layer in training mode; complex, quantised, meta or non-finite weights; an input shape that does not fit.
        UnsupportedLayerError: a layer or operator that has no translation, or no finite constant; control flow on values; a mixed batch axis.
        SoundnessError: graph and model differ.
    Cost: three copies of the model, a few forward passes; export, when fx refuses, takes seconds.

    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator object at ...>
    >>> graph = trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), (2,))
    >>> [node.op for node in graph.nodes]
    ['input', 'dense', 'activation']
    """
    shape = require_shape(input_shape)
    model = require_model(model)
    with _quiet_surroundings():
        original, baked = private_copy(model), bake(private_copy(model))
        x = inputs(shape, _dtype(baked))
        failure, smaller = _try(original, x[:SMALLER])
        reasons: list[str] = []
        for name, record in _RECORDERS.items():
            try:
                program = record(baked, x[:SMALLER])
            except CertifyError:
                raise
            except Exception as error:
                reasons.append(f"{name}: {brief(error)}")
                continue
            interpreter = Interpreter(program, x[:SMALLER].clone())
            graph = interpreter.graph()
            if failure is not None:
                raise failure
            expected = require_independent_samples(original, x, smaller)
            try:
                differs = partial(first_difference, graph, interpreter.recorded, x[:SMALLER])
                compare_with_model(graph, x, expected, baked, partial(_retrace, record, x[:SMALLER]), differs)
            except SoundnessError as error:
                failure = failure or error
                reasons.append(f"{name}: recorded another function")
                continue
            return graph
    raise failure or _not_recorded(reasons)


@contextlib.contextmanager
def _quiet_surroundings() -> Iterator[None]:
    """No gradients, no autocast, the CPU, and random numbers that are put back: whatever the caller has switched on must not enter the graph."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False), torch.device("cpu"), torch.random.fork_rng(devices=[]):
        yield


def _retrace(record: Callable, sample: torch.Tensor, model: nn.Module) -> Graph:
    return Interpreter(record(model, sample.double()), sample.double()).graph()


def _dtype(model: nn.Module) -> torch.dtype:
    """The dtype of the model's first floating tensor; float64 without any."""
    return next((t.dtype for t in [*model.parameters(), *model.buffers()] if t.is_floating_point()), torch.float64)


def _try(model: nn.Module, x: torch.Tensor) -> tuple[CertifyError | None, torch.Tensor]:
    """model(x), or the error to raise when the model turns out to have no refused layer that explains it better."""
    try:
        return None, run(model, x)
    except Exception as error:
        what = "the model cannot be evaluated on an input of this shape"
        return InputError(
            what, where="argument input_shape", found=f"(n, {', '.join(map(str, x.shape[1:]))}): {brief(error)}", hint="give the shape of one input, without the batch axis"
        ), x


def _not_recorded(reasons: list[str]) -> UnsupportedLayerError:
    what = "the model could not be recorded: its code branches on values, or uses what neither torch.fx nor torch.export understands"
    hint = "control flow on the values of tensors (if x.sum() > 0) has no single graph; replace it by torch operators, or by conditions on Python numbers"
    return UnsupportedLayerError(what, where="the model's forward", found="; ".join(reasons), expected="a forward that runs the same operators for every input", hint=hint)
