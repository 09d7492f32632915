"""Recording a module as a list of steps: torch.fx first, which keeps modules and Python code apart from data; torch.export second.

Both refuse data-dependent control flow. fx also refuses control flow on shapes, which export resolves. One thing fx loses by itself, the
difference between `y += x` and `y = y + x`, is put back here: the first changes every alias of y.
"""

from __future__ import annotations

import contextlib
import io
import logging
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from .trace_modules import matched, refused

_WRAPPED = "model"


class OneInput(nn.Module):
    """Calls a module with one argument, so that defaults of other arguments are filled in and the module itself may be a leaf."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)


@dataclass
class Program:
    """Recorded steps: an fx graph, the module its targets live in, the values of placeholders that are not the input, and how to read the output."""

    graph: fx.Graph
    root: nn.Module
    presets: dict[str, Any] = field(default_factory=dict)
    result: Callable[[fx.Node], Any] = lambda node: node.args[0]


class _Proxy(fx.Proxy):
    """fx's proxy, with the in-place operators kept (fx has none of them, so that Python falls back to the others)."""


def _in_place(function: Callable[..., Any]) -> Callable[..., fx.Proxy]:
    return lambda self, other: self.tracer.create_proxy("call_function", function, (self, other), {})


for _name in ("iadd", "isub", "imul", "itruediv", "ipow", "ifloordiv", "imod", "iand", "ior", "ixor"):
    setattr(_Proxy, f"__{_name}__", _in_place(getattr(operator, _name)))


class _Tracer(fx.Tracer):
    def __init__(self):
        super().__init__(param_shapes_constant=True)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return bool(refused(m)) or matched(m) is not None

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


def record_fx(model: nn.Module, sample: torch.Tensor) -> Program:
    """The steps of `model` by symbolic tracing."""
    root = OneInput(model)
    return Program(_Tracer().trace(root), root)


def record_export(model: nn.Module, sample: torch.Tensor) -> Program:
    """The steps of `model` by torch.export: functional aten operators, shapes resolved, the batch size left open where the model allows it."""
    from torch.export import Dim, export

    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # export reports a refusal on several channels; the exception says it all
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exported = export(OneInput(model), (sample,), dynamic_shapes=({0: Dim.AUTO},)).run_decompositions({})
    finally:
        logging.disable(level)
    signature, values = exported.graph_signature, {**exported.state_dict, **exported.constants}
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
    wanted = signature.user_outputs

    def result(node: fx.Node) -> Any:
        found = [n for n in node.args[0] if isinstance(n, fx.Node) and n.name in wanted]  # type: ignore[union-attr]
        return found[0] if len(found) == 1 == len(wanted) else found

    return Program(exported.graph, exported.graph_module, {key: values[name] for key, name in names.items()}, result)


@dataclass(frozen=True)
class Location:
    """Where a step stands in the model."""

    path: str
    kind: str
    layer: bool

    @property
    def text(self) -> str:
        return f"{self.path or 'the model'} ({self.kind})" if self.kind else self.path or "the model"

    def label(self, name: str) -> str:
        """A node's name: the path of a torch layer, path and operator elsewhere."""
        plain = self.layer and bool(self.path) and (name != "pad" or "Pad" in self.kind)
        name = name.replace("::", ".").removeprefix("aten.")
        return self.path if plain else f"{self.path}.{name}" if self.path else name


def locate(node: fx.Node) -> Location:
    """The innermost module of a step; its path as the user knows it."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    if not isinstance(path, str) or path.startswith("_empty"):
        path, kind = "", ""
    home, name = (kind.rpartition(".")[::2]) if isinstance(kind, str) else (kind.__module__, kind.__name__)
    layer = home.startswith("torch.nn.modules") and not home.endswith("container")
    return Location(path.removeprefix(_WRAPPED).lstrip("."), "" if name == OneInput.__name__ else name, layer)


_PYTHON = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "truediv": "div", "imatmul": "matmul", "pos": "positive"}
_SAME = {"true_divide": "div", "divide": "div", "subtract": "sub", "multiply": "mul", "absolute": "abs", "clip": "clamp", "negative": "neg", "concat": "cat", "concatenate": "cat"}


def canonical(node: fx.Node) -> str:
    """The registry name of a step: torch.relu, F.relu_, Tensor.relu and aten.relu.default are all "relu"."""
    target: Any = node.target
    if node.op == "call_function" and isinstance(target, torch._ops.OpOverload):
        name = target._opname if target.namespace == "aten" else f"{target.namespace}::{target._opname}"
        name = "aten::batch_norm" if name == "batch_norm" else name  # the one operator whose arguments come in another order
    elif node.op == "call_function":
        home, name = getattr(target, "__module__", None) or "", getattr(target, "__name__", repr(target))
        if home.split(".")[0] not in ("torch", "_operator", "builtins"):
            return f"{home}.{name}"
        name = _PYTHON.get(name, name) if home == "_operator" else name
    else:
        name = str(target)
    if name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    return _SAME.get(name, name)
