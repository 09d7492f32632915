"""From a recorded program (a torch.fx or an export graph) to a Graph, by running it on a small sample batch.

Every step is executed by torch on the sample, so shapes, constants and aliases are the model's own; steps that touch the input are also
translated. In-place operators are followed by the tensors' version counters: after `y += x` or `relu(y, inplace=True)` every name of
that tensor stands for the new value, and a view of it that can no longer be described is refused when it is used.
"""

from __future__ import annotations

import operator
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from . import trace_activations, trace_arithmetic, trace_attention, trace_layers, trace_moves, trace_norms, trace_pools, trace_sorting  # noqa: F401  (they register their operators)
from .errors import CertifyError, InputError, UnsupportedLayerError
from .graph import Graph, GraphBuilder
from .trace_emit import ADD_ONE, OPERATORS, Call, Traced, Unusable, brief, flat, mapped
from .trace_modules import module_call
from .trace_record import Program, canonical, locate
from .trace_refusals import refusal

# Questions about a tensor whose answer does not depend on its entries; they are executed and answered as they are.
_QUESTIONS = frozenset("size dim ndimension numel nelement is_floating_point is_complex element_size get_device is_contiguous sym_size sym_numel len __len__".split())
_ATTRIBUTES = frozenset("shape device dtype ndim is_cuda requires_grad layout is_quantized is_sparse is_meta itemsize".split())
_ATTRIBUTE_OPERATORS = {"data": "detach", "T": "T", "mT": "mT"}
# Checks that a recording keeps; the sample passes them, or executing the model fails.
_CHECKS = frozenset("_assert_tensor_metadata _assert_async _functional_assert_async _assert".split())

Values = namedtuple("Values", ["values", "indices"])


class Interpreter:
    """Runs one recorded program; `recorded` then lists node names beside what the model computed there."""

    def __init__(self, program: Program, sample: torch.Tensor):
        self.program, self.sample = program, sample
        self.builder = GraphBuilder()
        self.traced: list[Traced] = []
        self.recorded: list[tuple[str, torch.Tensor, int]] = []
        self.environment: dict[fx.Node, Any] = {}

    def graph(self) -> Graph:
        """The Graph of the program."""
        for node in self.program.graph.nodes:
            if node.op == "output":
                return self.builder.build(self.output(node))
            self.environment[node] = self.step(node)
        raise UnsupportedLayerError("the model returns nothing", where="output")

    def output(self, node: fx.Node) -> str:
        value = self.arguments(self.program.result(node))
        if isinstance(value, Traced) and not value.stale:
            return value.name
        found = "a tensor changed in place through a view" if isinstance(value, Traced) else type(value).__name__
        expected, hint = "one tensor that depends on the input, batch axis first", "wrap the model in a module whose forward returns the tensor in question"
        raise UnsupportedLayerError("the model does not return a single tensor that depends on its input", where="output", found=found, expected=expected, hint=hint)

    def step(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self.program.presets[node.name] if node.name in self.program.presets else self.input()
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.program.root)
        args, kwargs = self.arguments(node.args), self.arguments(node.kwargs)
        if args and isinstance(args[0], tuple | list) and node.target in (operator.getitem, getattr):  # a part of several results
            return node.target(*args)  # type: ignore[operator]
        leaves = flat((args, kwargs))
        for leaf in leaves:
            if isinstance(leaf, Unusable):
                raise UnsupportedLayerError(leaf.reason, where=locate(node).text, hint=ADD_ONE)
        traced = [leaf for leaf in leaves if isinstance(leaf, Traced)]
        return self.translate(node, args, kwargs, traced) if traced else self.constant(node, args, kwargs)

    def input(self) -> Traced:
        self.traced.append(Traced(self.builder.add("input", [], {"shape": tuple(self.sample.shape[1:])}, name="input"), self.sample))
        return self.traced[-1]

    def arguments(self, value: Any) -> Any:
        """fx arguments with nodes replaced by what they stand for."""
        return mapped(value, lambda leaf: self.environment[leaf] if isinstance(leaf, fx.Node) else leaf)

    def function(self, node: fx.Node) -> Callable[..., Any]:
        name = node.target
        if node.op == "call_method":
            return lambda first, *args, **kwargs: getattr(first, str(name))(*args, **kwargs)
        if node.op == "call_module":
            return self.program.root.get_submodule(str(name))
        return name  # type: ignore[return-value]

    def constant(self, node: fx.Node, args: tuple, kwargs: dict) -> Any:
        """A step that does not touch the input keeps the value that the model computes."""
        try:
            return self.function(node)(*args, **kwargs)
        except Exception as error:
            raise UnsupportedLayerError("a step that does not depend on the input failed", where=locate(node).text, found=brief(error)) from error

    def translate(self, node: fx.Node, args: tuple, kwargs: dict, traced: list[Traced]) -> Any:
        here = locate(node)
        for leaf in traced:
            if leaf.stale:
                raise UnsupportedLayerError(leaf.stale, where=here.text, hint="write the operation without in-place changes")
        name, function, executed = canonical(node), self.function(node), (args, kwargs)
        if node.target is getattr:
            attribute = args[1]
            if attribute in _ATTRIBUTES:
                return getattr(args[0].value, attribute)
            name, function, args = _ATTRIBUTE_OPERATORS.get(attribute, f"attribute {attribute}"), operator.attrgetter(attribute), args[:1]
            executed = (args, kwargs)
        if name in _QUESTIONS:
            return self.execute(function, *executed, here.text)
        if name in _CHECKS:
            return None
        if node.op == "call_module":
            name, args, kwargs = module_call(self.program.root.get_submodule(str(node.target)), args, kwargs, here.text)
        if name not in OPERATORS:
            raise refusal(name, here.text)
        call = Call(self.builder, len(self.sample), name, here.label(name), here.text, function)
        return self.emit(call, args, kwargs, executed, traced)

    def execute(self, function: Callable[..., Any], args: tuple, kwargs: dict, where: str) -> Any:
        unwrap = lambda leaf: leaf.value if isinstance(leaf, Traced) else leaf  # noqa: E731
        try:
            return function(*mapped(args, unwrap), **mapped(kwargs, unwrap))
        except CertifyError:
            raise
        except Exception as error:
            what = "the model cannot be evaluated on an input of this shape"
            raise InputError(what, where=where, found=brief(error), expected="a model that accepts (n, *input_shape)") from error

    def emit(self, call: Call, args: tuple, kwargs: dict, executed: tuple[tuple, dict], traced: list[Traced]) -> Any:
        """Execute the step, translate it, and keep the names right when it changed a tensor in place."""
        constants = [leaf for leaf in flat(executed) if isinstance(leaf, torch.Tensor)]
        tensors = constants + [t.value for t in traced]
        versions = [t._version for t in tensors]
        call.result = self.execute(call.execute, *executed, call.where)
        changed = [t for t, version in zip(tensors, versions) if t._version != version]
        if any(t is c for t in changed for c in constants):
            call.refuse(f"'{call.op}' writes values of the input into a constant of the model")
        names = OPERATORS[call.op].bind(call, args, {k: v for k, v in kwargs.items() if k != "inplace"})
        result = self.wrap(call, names, call.result)
        if changed:
            self.changed_in_place(call, changed, result)
        return result

    def wrap(self, call: Call, names: Any, value: Any) -> Any:
        """The handler's names beside the executed values."""
        if isinstance(names, tuple | list):
            if not isinstance(value, tuple | list):
                call.refuse(f"'{call.op}' returned something unexpected", found=type(value).__name__)
            parts = [self.wrap(call, n, v) for n, v in zip(names, value)]
            return Values(*parts) if hasattr(value, "values") and len(parts) == 2 else tuple(parts)
        if isinstance(names, Unusable):
            return names
        if not isinstance(value, torch.Tensor) or tuple(value.shape) != (call.batch, *call.shape(names)) or not value.is_floating_point():
            found = f"{tuple(value.shape)}, {value.dtype}" if isinstance(value, torch.Tensor) else type(value).__name__
            call.refuse(f"'{call.op}' does not return one float row per sample", found=found, expected=f"shape {(call.batch, *call.shape(names))}")
        traced = Traced(names, value)
        self.traced.append(traced)
        self.recorded.append((names, value, value._version))
        return traced

    def changed_in_place(self, call: Call, changed: list[torch.Tensor], result: Any) -> None:
        if not isinstance(result, Traced) or any(_memory(t) != _memory(result.value) for t in changed):
            call.refuse(f"'{call.op}' changes a tensor in place that is not its result", hint="write the operation without in-place changes")
        for other in self.traced:
            if _storage(other.value) == _storage(result.value):
                if _memory(other.value) == _memory(result.value):
                    other.name = result.name
                else:
                    other.stale = f"a tensor is used after it was changed in place through another view of it, by '{call.op}' at {call.where}"


def _storage(t: torch.Tensor) -> int:
    return t.untyped_storage().data_ptr()


def _memory(t: torch.Tensor) -> tuple:
    return _storage(t), t.storage_offset(), tuple(t.shape), t.stride()
