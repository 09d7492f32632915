"""What the file says, computed a second way: onnx's reference evaluator in float64, with some operators of our own (`onnx_reference_ops`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .onnx_reference_ops import OWN

DOMAIN = "certify.reference"


def _classes(opset: int) -> list[type]:
    from onnx.reference.op_run import OpRun

    def make(name: str, function: Any) -> type:
        def _run(self, *inputs, **attributes):
            return (np.asarray(function(*inputs, opset=opset, **attributes)),)

        return type(name, (OpRun,), {"op_domain": DOMAIN, "op_schema": None, "_run": _run})

    return [make(name, function) for name, function in OWN.items()]


def reference_outputs(nodes: Sequence[Any], opset: int, constants: Mapping[str, np.ndarray], input_name: str, output_name: str, batches: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The file's output for each input array (ONNX shape), every float in float64. Raises whatever the evaluator raises."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    graph = onnx.GraphProto(name="reference")
    for node in nodes:
        copy = graph.node.add()
        copy.CopyFrom(node)
        copy.domain = DOMAIN if node.op_type in OWN else ""
        _in_float64(copy, onnx)
    for name, target in ((input_name, graph.input), (output_name, graph.output)):
        target.add(name=name)
    model = onnx.ModelProto(ir_version=10, graph=graph)
    model.opset_import.add(domain="", version=opset)
    model.opset_import.add(domain=DOMAIN, version=1)
    wide = {name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in constants.items()}
    evaluator = ReferenceEvaluator(model, new_ops=_classes(opset))
    with np.errstate(all="ignore"):
        runs: list[Any] = [evaluator.run([output_name], {**wide, input_name: batch}) for batch in batches]
    return [np.asarray(outputs[0]) for outputs in runs]


def _in_float64(node: Any, onnx: Any) -> None:
    """Casts to a float type go to float64; stored float tensors become float64."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i in (1, 10):
            attribute.i = 11
        if attribute.type == 4 and attribute.t.data_type in (1, 10):
            from .onnx_tensors import decode_tensor

            attribute.t.CopyFrom(onnx.numpy_helper.from_array(decode_tensor(attribute.t, None, node.name).astype(np.float64)))
        if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            values = np.array(attribute.f if attribute.name == "value_float" else list(attribute.floats), dtype=np.float64)
            attribute.Clear()
            attribute.name, attribute.type = "value", 4
            attribute.t.CopyFrom(onnx.numpy_helper.from_array(values))
