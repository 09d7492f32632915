"""`load_onnx`: an ONNX file as a Graph, without torch, onnxruntime or onnx2torch, compared with onnx's reference evaluator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError, UnsupportedLayerError
from ..core.graph import Graph
from .onnx_compare import EXACT, ROUNDED, compare
from .onnx_file import OPSETS, ModelFile, read_model
from .onnx_folds import fold
from .onnx_network import Network
from .onnx_ops import OPERATORS
from .onnx_patterns import simplify
from .onnx_tensors import decode_tensor
from .onnx_values import Call, Const, Tensor, Value, read_attributes


def load_onnx(path, *, input_shape: Sequence[int] | None = None, batch: bool | None = None, output: str | None = None, compare_outputs: bool = True) -> Graph:
    """The network of an .onnx or .onnx.gz file as a Graph.

    Claim: for every input x of one sample, graph(x) is the file's output in exact real arithmetic with the stored weights. Casts
    between float types are the identity there, and GELU, quick GELU and hard swish written out with constants that are the
    float32 neighbours of sqrt(1/2), 1.702, 1/6, ... are read as these functions.

    Args:
        path: the file; gzip is recognised by content and unpacked to at most 100 times its size (64 MiB if that is more, never beyond 2 GiB).
        input_shape: the shape of one sample, without the batch; only needed where the file leaves sizes open.
        batch: is the first axis of the input the batch? None (default) decides: yes if its size is 1 or open; a vector of fixed
            length has none; any other fixed size is refused, because the file may mean either. False: the whole input is one
            sample. A leading axis of size 1 of the output is taken for the batch as well.
        output: which output, when there are several.
        compare_outputs: run the file by onnx's reference evaluator in float64 on two random samples and refuse a difference. Cost: two or three forward passes.

    Returns:
        A Graph whose nodes carry the ONNX names; float16 weights become float32, all others keep their type.

    Raises:
        InputError: not an ONNX file, damaged, missing initializers, external data outside its folder, wrong types or shapes, the comparison failed.
        UnsupportedLayerError: an operator, opset, attribute or value outside what is known; it names node, operator and file.

    Known: opsets 8 to 22, the operators of `certify.io.onnx_ops`, and constant folding of shape computations (`onnx_folds`).
    Needs the package onnx: pip install certify-reach[onnx].

    >>> import tempfile
    >>> from onnx import helper, numpy_helper
    >>> sizes = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 2), ("y", 3))]
    >>> nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    >>> network = helper.make_graph(nodes, "small", sizes[:1], sizes[1:], [numpy_helper.from_array(np.float32([[1, 2, 3], [4, -5, 6]]), "w")])
    >>> with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
    ...     _ = file.write(helper.make_model(network, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())
    ...     file.flush()
    ...     graph = load_onnx(file.name)
    >>> graph.input_shape, [node.op for node in graph.nodes], graph([[1.0, 1.0]])
    ((2,), ['input', 'dense', 'activation'], array([[5., 0., 9.]]))
    """
    model = read_model(path, output)
    _refuse_unknown(model)
    shape, lead, fixed = _sample_shape(model, input_shape, batch)
    translation = _Translation(model, Network(model.path.name, model.size, fixed), shape, lead)
    result = translation.run()
    graph, rounded = simplify(translation.net.builder.build(result))
    if compare_outputs:
        kind = "none" if not lead else "one" if fixed else "symbolic"
        names = (model.input.name, model.output)
        compare(graph, [n for _, n in model.nodes], model.opset, translation.constants(), names, kind, ROUNDED if rounded else EXACT, translation.net.elements, str(model.path))
    return graph


def _refuse_unknown(model: ModelFile) -> None:
    """All operators that are not known, in one error that points at the first."""
    unknown: dict[str, str] = {}
    for i, node in model.nodes:
        known = OPERATORS.get(node.op_type)
        folded = node.op_type in _FOLDED_ONLY
        if node.domain not in ("", "ai.onnx") or not (folded or (known is not None and known.since <= model.opset <= known.until)):
            name = f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
            unknown.setdefault(name[:100], f"{model.path}: node {i} '{(node.name or ', '.join(node.output))[:200]}' ({name[:100]})")
    if unknown:
        raise UnsupportedLayerError(
            f"ONNX operators that are not known in opset {model.opset}",
            where=next(iter(unknown.values())),
            found=", ".join(list(unknown)[:20]),
            expected=", ".join(sorted(n for n, o in OPERATORS.items() if o.since <= model.opset <= o.until)),
            hint="add a handler to certify/io/onnx_ops (one function, registered with @operator), or export the model with other layers",
        )


# operators that only occur in computations with constants
_FOLDED_ONLY = frozenset("ConstantOfShape Range Equal Less Greater And Or Not Where ReduceProd Floor Ceil".split())


def _sample_shape(model: ModelFile, wanted: Sequence[int] | None, batch: bool | None) -> tuple[tuple[int, ...], bool, bool]:
    """(shape of one sample, has the ONNX input a batch axis in front, is the batch fixed to 1)."""
    tensor, where = model.input.type.tensor_type, f"{model.path}, input '{model.input.name}'"
    given = None if wanted is None else tuple(int(n) for n in wanted)
    if not tensor.HasField("shape"):
        if given is None:
            raise InputError(
                "the file does not say the shape of its input", where=where, expected="a shape", hint="give it: load_onnx(path, input_shape=...) of one sample, without the batch"
            )
        dims: list[int | None] = [None] * (len(given) + (batch is not False))
    else:
        dims = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim]
    lead = _has_batch(dims, batch, where)
    shape = dims[1:] if lead else dims
    if given is not None:
        if len(given) != len(shape) or any(have not in (None, want) for have, want in zip(shape, given)):
            raise InputError("the given input shape is not the file's", where=where, found=given, expected=tuple("?" if n is None else n for n in shape))
        shape = list(given)
    if any(n is None for n in shape):
        raise InputError(
            "the file leaves sizes of its input open",
            where=where,
            found=tuple("?" if n is None else n for n in shape),
            expected="numbers",
            hint="give them: load_onnx(path, input_shape=...) of one sample, without the batch",
        )
    if len(shape) > 15 or math.prod(n or 0 for n in shape) > 1 << 24 or any((n or 0) < 1 for n in shape):
        raise InputError("the input is empty or too large", where=where, found=str(tuple(shape))[:200], expected="at most 16777216 entries")
    return tuple(n for n in shape if n is not None), lead, not (lead and dims[0] is None)


def _has_batch(dims: list[int | None], batch: bool | None, where: str) -> bool:
    hint = "load_onnx(path, batch=False) reads the whole input as one sample; or export with a batch of 1, or an open one"
    if batch and (not dims or dims[0] not in (None, 1)):
        raise InputError("the file fixes the size of its batch to something else than 1", where=where, found=dims[:1], expected="1 or open", hint=hint)
    if batch is not None:
        return batch
    if len(dims) < 2:
        return dims == [None]  # a vector of fixed length is one sample
    if dims[0] not in (None, 1):
        raise InputError(
            "the first axis of the input may be a batch of fixed size, or part of the sample",
            where=where,
            found=f"input shape {dims}",
            expected="a first axis of size 1 or open",
            hint=hint,
        )
    return True


class _Translation:
    """One pass over the nodes: names to values."""

    def __init__(self, model: ModelFile, net: Network, shape: tuple[int, ...], lead: bool):
        self.model, self.net = model, net
        source = net.builder.add("input", attrs={"shape": shape}, name=model.input.name[:200] or "input", source=f"{model.path.name}: input")
        self.values: dict[str, Value] = {model.input.name: Tensor(source, lead)}
        self.folder = Path(model.path).resolve().parent

    def run(self) -> str:
        """Translate every node; the name of the output node."""
        call = None
        for i, node in self.model.nodes:
            call = self._call(i, node)
            folded = fold(call)
            for value in folded or ():
                self.net.charge(call, value.array.nbytes)
            results = self._handle(call) if folded is None else list[Value](folded)
            call.finish()
            self.values.update((name, value) for name, value in zip(node.output, results) if name)
        if call is None:
            raise InputError("the output of the network is its input or a constant", where=self.model.path, found=f"'{self.model.output}'")
        result = self._value(self.model.output, f"{self.model.path}, output")
        if isinstance(result, Const):
            raise InputError("the output of the network does not depend on its input", where=self.model.path, found=f"'{self.model.output}' is a constant")
        if not result.lead and len(self.net.shape(result)) > 1 and self.net.shape(result)[0] == 1:
            result = self.net.absorb(call, result)
        return result.name

    def _handle(self, call: Call) -> list[Value]:
        entry = OPERATORS.get(call.op)
        if entry is None:
            raise call.unsupported("known in computations with constants only", expected="inputs that are stored in the file, or shapes")
        result = entry.handler(self.net, call)
        return result if isinstance(result, list) else [result]

    def _call(self, i: int, node: Any) -> Call:
        name = (node.name or next(filter(None, node.output), ""))[:200]
        where = f"{self.model.path.name}: node {i} '{name}' ({node.op_type})"
        inputs = [self._value(n, where) if n else None for n in node.input]
        return Call(node.op_type, self.model.opset, inputs, read_attributes(node, where), where, name, max((k for k, n in enumerate(node.output, 1) if n), default=0))

    def _value(self, name: str, where: str) -> Value:
        if name not in self.values:
            if name not in self.model.initializers:  # a second output that the operator's handler does not give
                raise UnsupportedLayerError("an output of an operator is used that is not supported", where=where, found=f"'{name[:200]}'", expected="the operator's first output")
            array = decode_tensor(self.model.initializers[name], self.folder, f"{self.model.path.name}: initializer '{name[:200]}'")
            self.values[name] = Const(array)
        return self.values[name]

    def constants(self) -> dict[str, np.ndarray]:
        """The initializers that were used, by name."""
        return {name: v.array for name, v in self.values.items() if name in self.model.initializers and isinstance(v, Const)}


__all__ = ["OPSETS", "load_onnx"]
