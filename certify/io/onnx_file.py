"""The frame of an ONNX file: bytes to a ModelProto, opset, input, output, the nodes that are needed. Nothing of onnx's own checker
or shape inference is used: they are C++ that was not written for hostile files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import InputError, UnsupportedLayerError
from .files import read_file
from .onnx_tensors import FLOATS, type_name
from .wire import require_modest

OPSETS = range(8, 23)
_MAX_NODES = 100_000


@dataclass(frozen=True)
class ModelFile:
    """One graph with one input and one chosen output; `nodes` are (index in the file, NodeProto) in order, only those that the output needs."""

    path: Path
    size: int
    opset: int
    nodes: tuple[tuple[int, Any], ...]
    initializers: dict[str, Any]
    input: Any
    output: str


def import_onnx() -> Any:
    """The onnx package, or an InputError that says how to get it."""
    try:
        import onnx
    except ImportError as error:
        raise InputError("reading ONNX files needs the package onnx", found=str(error), hint="pip install certify-reach[onnx]") from error
    return onnx


def read_model(path, output: str | None) -> ModelFile:
    """Parse the file and check its frame.

    Raises:
        InputError: not an ONNX file, truncated, names missing or defined twice, nodes out of order or in a cycle, several inputs.
        UnsupportedLayerError: opset, operator sets or functions that are not known.
    """
    onnx = import_onnx()
    data = read_file(path, "ONNX file")
    path = Path(path)
    if not data:
        raise InputError("the ONNX file is empty", where=path)
    require_modest(data, onnx.ModelProto.DESCRIPTOR, path)
    try:
        model = onnx.ModelProto.FromString(bytes(data))
    except Exception as error:  # protobuf's DecodeError, which lives in different places in different versions
        raise InputError(
            "the file is not an ONNX model", where=path, found=str(error)[:200], expected="a serialized onnx.ModelProto", hint="check that the file is complete and really ONNX"
        ) from error
    graph = model.graph
    _require_text(model, path)
    if not graph.node or not graph.output:
        raise InputError("the ONNX file holds no network", where=path, found=f"{len(graph.node)} nodes, {len(graph.output)} outputs", expected="at least one node and one output")
    if len(graph.node) > _MAX_NODES:
        raise InputError("the ONNX file holds too many nodes", where=path, found=len(graph.node), expected=f"at most {_MAX_NODES}")
    if graph.sparse_initializer:
        raise UnsupportedLayerError("sparse initializers are not supported", where=path, found=len(graph.sparse_initializer), hint="store the weights as dense tensors")
    opset = _opset(model, path)
    initializers = {t.name: t for t in graph.initializer}
    if len(initializers) != len(graph.initializer):
        raise InputError("two initializers have one name", where=path, found=f"{len(graph.initializer)} initializers, {len(initializers)} names")
    source = _only_input(graph, initializers, path)
    target = _output(graph, output, path)
    return ModelFile(path, len(data), opset, _needed(graph, initializers, source.name, target, path), initializers, source, target)


def _require_text(model: Any, path: Path) -> None:
    """protobuf hands out a name that is not UTF-8 as bytes: nothing after this would expect that."""
    graph = model.graph
    names = [t.name for t in graph.initializer] + [v.name for v in (*graph.input, *graph.output)] + [o.domain for o in model.opset_import]
    for function in model.functions:
        names += [function.name, function.domain]
    for node in graph.node:
        names += [node.op_type, node.name, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
    bad = next((n for n in names if not isinstance(n, str)), None)
    if bad is not None:
        raise InputError("a name in the file is not text", where=path, found=repr(bad)[:200], expected="UTF-8", hint="the file is damaged: copy it again")


def _opset(model: Any, path: Path) -> int:
    versions = {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    if len(versions) != 1 or not versions <= set(OPSETS):
        raise UnsupportedLayerError(
            "the file's version of the standard operators (opset) is not supported",
            where=path,
            found=", ".join(map(str, sorted(versions))) or "none",
            expected=f"{OPSETS[0]} to {OPSETS[-1]}",
            hint="convert it: onnx.version_converter.convert_version(model, 13)",
        )
    if any(f.domain in ("", "ai.onnx") for f in model.functions):
        raise UnsupportedLayerError("the file redefines standard operators", where=path, found=", ".join(f.name for f in model.functions)[:200])
    return versions.pop()


def _only_input(graph: Any, initializers: dict[str, Any], path: Path) -> Any:
    inputs = [v for v in graph.input if v.name not in initializers]  # before IR version 4 every initializer was listed as an input too
    if len(inputs) != 1:
        raise InputError(
            "the network does not have exactly one input",
            where=path,
            found=", ".join(v.name for v in inputs)[:200] or "none",
            expected="one input besides the weights",
            hint="fix the other inputs as constants and export again",
        )
    tensor = inputs[0].type.tensor_type
    if not inputs[0].type.HasField("tensor_type") or tensor.elem_type not in FLOATS:
        raise InputError(
            "the network's input is not a float tensor",
            where=f"{path}, input '{inputs[0].name}'",
            found=type_name(tensor.elem_type),
            expected="FLOAT, DOUBLE or FLOAT16",
            hint="export the model so that it takes floats; conversion from pixels belongs before it",
        )
    return inputs[0]


def _output(graph: Any, wanted: str | None, path: Path) -> str:
    names = [v.name for v in graph.output]
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return str(wanted)
    what = "the network has several outputs" if wanted is None else "the network has no output of that name"
    raise InputError(what, where=path, found=wanted or f"{len(names)} outputs", expected=f"one of {', '.join(names)[:300]}", hint="choose one: load_onnx(path, output=name)")


def _needed(graph: Any, initializers: dict[str, Any], source: str, target: str, path: Path) -> tuple[tuple[int, Any], ...]:
    """Nodes that `target` depends on; every name they use must be defined, once, before its use."""
    maker: dict[str, int] = {}
    for i, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in maker or name in initializers or name == source:
                raise InputError("a name is defined twice", where=f"{path}: node {i} ({node.op_type})", found=f"'{name[:200]}'", expected="each tensor defined once")
            maker[name] = i
    needed: set[int] = set()
    stack = [(target, len(graph.node))]
    while stack:
        name, user = stack.pop()
        if name in initializers or name == source:
            continue
        i = maker.get(name, -1)
        if not 0 <= i < user:
            where = f"{path}: node {user} '{graph.node[user].name[:200]}' ({graph.node[user].op_type})" if user < len(graph.node) else f"{path}, output"
            what = "a tensor is used that the file does not define (a missing initializer?)" if i < 0 else "nodes are not in topological order, or form a cycle"
            raise InputError(what, where=where, found=f"'{name[:200]}'", expected="an initializer, the input, or the output of an earlier node")
        if i not in needed:
            needed.add(i)
            stack.extend((n, i) for n in graph.node[i].input if n)
    return tuple((i, graph.node[i]) for i in sorted(needed))
