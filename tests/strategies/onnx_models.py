"""Small ONNX models, and what they compute: onnx's own evaluator, unmodified, on models that are float64 from the start."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

DTYPES = {np.dtype("float64"): TensorProto.DOUBLE, np.dtype("float32"): TensorProto.FLOAT, np.dtype("float16"): TensorProto.FLOAT16}


def node(op, inputs, outputs=("y",), **attributes):
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def model(nodes, shape, constants=None, *, opset=13, dtype="float64", output="y", domain="", input_dims=None):
    """A ModelProto with input x of `shape` (None: open sizes), the constants as initializers, one output."""
    kind = DTYPES[np.dtype(dtype)]
    graph = helper.make_graph(
        [nodes] if isinstance(nodes, onnx.NodeProto) else list(nodes),
        "test",
        [helper.make_tensor_value_info("x", kind, [f"d{i}" if n is None else n for i, n in enumerate(shape)])],
        [helper.make_tensor_value_info(output, kind, None)],
        [numpy_helper.from_array(np.ascontiguousarray(a) if np.ndim(a) else np.asarray(a), name) for name, a in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)], ir_version=9)


_COUNT = itertools.count()


def save(proto, folder: Path) -> Path:
    path = Path(folder, f"m{next(_COUNT)}.onnx")
    path.write_bytes(proto.SerializeToString())
    return path


def plain_reference(proto, x):
    """The output of onnx's evaluator on one ONNX-shaped input."""
    with np.errstate(all="ignore"):
        return np.asarray(ReferenceEvaluator(proto).run(None, {"x": x})[0])
