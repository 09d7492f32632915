"""What the handlers of `trace_*.py` are written in: the traced tensor, the call, and the registry of operators.

A handler translates one operator of torch into nodes of the graph vocabulary. It is registered under a canonical name that torch
functions, `torch.nn.functional`, Tensor methods and aten operators share ("relu" stands for torch.relu, F.relu, Tensor.relu_, aten.relu.default).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch

from .errors import InputError, UnsupportedLayerError
from .graph import GraphBuilder

ADD_ONE = "rewrite the layer with supported operators, or add a handler in certify/core/trace_*.py (and a rule in certify/rules if the operator is new)"


@dataclass(eq=False)
class Traced:
    """A tensor that depends on the input: its node in the graph, and its value on the sample batch, as the model computed it.

    Axis 0 of `value` is the batch, always. `stale` says why the node no longer describes the value (an in-place change through a view).
    """

    name: str
    value: torch.Tensor
    stale: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape[1:])


@dataclass(frozen=True)
class Unusable:
    """A result that must not be used, such as the indices of a sort; using it is refused with `reason`."""

    reason: str


@dataclass
class Call:
    """One executed operator: where it stands in the model, what it returned on the sample, and the nodes it becomes."""

    builder: GraphBuilder
    batch: int
    op: str
    label: str
    where: str
    execute: Callable[..., Any]
    result: Any = None

    def refuse(self, what: str, *, found: object = None, expected: object = None, hint: str = ADD_ONE) -> NoReturn:
        raise UnsupportedLayerError(what, where=self.where, found=found, expected=expected, hint=hint)

    def refuse_batch(self, what: str = "mixes or moves the batch axis") -> NoReturn:
        expected, hint = "operators that treat every sample of the batch alike", "keep axis 0 of every tensor for the batch"
        self.refuse(f"'{self.op}' {what}: one output would depend on several inputs", expected=expected, hint=hint)

    def add(self, op: str, inputs: Sequence[str], attrs: dict | None = None, arrays: dict | None = None, part: str = "") -> str:
        """Append a node; helper nodes of a call carry a `part` in their name."""
        name = f"{self.label}.{part}" if part else self.label
        return self.builder.add(op, inputs, attrs, arrays, name=name, source=self.where)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.builder[name].shape

    def axis(self, dim: Any, ndim: int) -> int:
        """A torch dim (batch counted) as an axis of the graph (batch not counted)."""
        if not isinstance(dim, int) or isinstance(dim, bool) or not -ndim <= dim < ndim:
            self.refuse(f"'{self.op}' got an axis that is not an integer in its range", found=dim, expected=f"1 to {ndim - 1}")
        if dim % ndim == 0:
            self.refuse_batch("works along the batch axis")
        return dim % ndim - 1

    def reshape(self, name: str, shape: Sequence[int], part: str = "reshape") -> str:
        return name if self.shape(name) == tuple(shape) else self.add("reshape", [name], {"shape": tuple(shape)}, part=part)

    def expand(self, name: str, shape: Sequence[int], part: str = "expand") -> str:
        return name if self.shape(name) == tuple(shape) else self.add("expand", [name], {"shape": tuple(shape)}, part=part)

    def array(self, value: Any) -> np.ndarray:
        """A constant of the model as a numpy array: float32 and float64 stay, everything else becomes the one that holds it exactly."""
        if isinstance(value, torch.Tensor):
            if value.is_complex() or value.is_quantized:
                self.refuse(f"'{self.op}' uses a complex or quantised constant", found=value.dtype)
            if value.dtype in (torch.float16, torch.bfloat16):
                value = value.float()
            value = value.detach().cpu().numpy()
        elif not isinstance(value, int | float | np.ndarray | np.generic):
            self.refuse(f"'{self.op}' uses something that is not a number or tensor", found=type(value).__name__)
        array = np.asarray(value)
        if array.dtype.kind == "i" and array.size and int(np.abs(array).max()) > 2**53:
            raise InputError("an integer constant is too large for float64", where=self.where, found=int(np.abs(array).max()))
        return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)

    def per_sample(self, constant: Any, ndim: int) -> np.ndarray:
        """A constant next to a traced tensor with `ndim` axes (batch counted), without a batch axis of its own.

        Broadcasting aligns last axes, so fewer axes than `ndim` never reach the batch. With `ndim` axes the first is the batch: it must
        have length 1, or equal rows (torch.zeros(x.shape[0], ...)).
        """
        array = self.array(constant)
        if array.ndim < ndim:
            return array
        if array.ndim == ndim and (array.shape[0] == 1 or (array.shape[0] == self.batch and (array == array[:1]).all())):
            return array[0]
        self.refuse_batch("combines the batch axis with a constant")

    def constant(self, value: np.ndarray, part: str = "constant") -> str:
        return self.add("constant", [], {}, {"value": value}, part=part)


Handler = Callable[..., Any]


@dataclass(frozen=True)
class Operator:
    """A handler (call, *args of torch) -> node name, or a tuple of names and Unusable. `several`: more than one argument may be traced."""

    handler: Handler
    several: bool

    def bind(self, call: Call, args: tuple, kwargs: dict) -> Any:
        """Run the handler; torch's names for the first argument are understood, whatever does not fit is refused."""
        for key in ("input", "self"):
            if key in kwargs and not args:
                args, kwargs = (kwargs[key],), {k: v for k, v in kwargs.items() if k != key}
        try:
            bound = inspect.signature(self.handler).bind(call, *args, **kwargs)
        except TypeError as error:
            call.refuse(f"'{call.op}' is called in a way that is not understood", found=str(error))
        first = args[0] if args else None
        if not self.several and not (isinstance(first, Traced) and sum(isinstance(v, Traced) for v in flat((args, kwargs))) == 1):
            hint = "only the first argument may depend on the input; weights and settings must be constants"
            call.refuse(f"'{call.op}' with more than its first argument depending on the input", hint=hint)
        return self.handler(*bound.args, **bound.kwargs)


OPERATORS: dict[str, Operator] = {}


def translates(*names: str, several: bool = False) -> Callable[[Handler], Handler]:
    """Register a handler under canonical names."""

    def register(handler: Handler) -> Handler:
        OPERATORS.update(dict.fromkeys(names, Operator(handler, several)))
        return handler

    return register


def brief(error: BaseException) -> str:
    """Type and first line of a foreign error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def flat(value: Any) -> list[Any]:
    """The leaves of nested tuples, lists, dicts and slices."""
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in flat(item)]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in flat(item)]
    return flat([value.start, value.stop, value.step]) if isinstance(value, slice) else [value]


def mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """The same nest with every leaf replaced."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(item, function) for item in value))
    if isinstance(value, torch.Size):
        return value
    if isinstance(value, list | tuple):
        return type(value)(mapped(item, function) for item in value)
    if isinstance(value, dict):
        return {k: mapped(item, function) for k, item in value.items()}
    if isinstance(value, slice):
        return slice(*(mapped(item, function) for item in (value.start, value.stop, value.step)))
    return function(value)
