"""MODEL and DATA of a command line as a Graph and labelled inputs that fit each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.graph import Graph
from ..facade import as_graph
from ..io.data import Data, load_data
from ..io.model import load_model


def load(reference: str, weights: Path | None = None, shape: tuple[int, ...] | None = None) -> Graph:
    """The Graph that MODEL names; a torch module is traced with `shape`, which is compared for ONNX files.

    Raises:
        InputError: no such model, weights that do not fit, or no shape for a torch module.
    """
    model = load_model(reference, weights, shape)
    if shape is None and not isinstance(model, Graph):
        raise InputError("a torch module does not say what shape its input has", where="--input-shape", found="not given", expected="for example --input-shape 3,32,32")
    return as_graph(model, shape)


@dataclass(frozen=True)
class DataOptions:
    """How DATA is to be read; see `certify.io.data.load_data`."""

    labels: Path | None = None
    split: str = "test"
    scale: float | None = None
    first: int | None = None


def load_pair(reference: str, weights: Path | None, shape: tuple[int, ...] | None, path: Path, how: DataOptions) -> tuple[Graph, Data]:
    """Model and data together: an ONNX file knows its input shape, a torch module takes that of the data unless `shape` says another.

    Raises:
        InputError: either cannot be read, their shapes differ, or a label is not one of the model's classes.
    """
    model = load_model(reference, weights, shape)
    wanted = model.input_shape if isinstance(model, Graph) else shape
    data = load_data(path, labels=how.labels, split=how.split, scale=how.scale, input_shape=wanted)
    if how.first is not None and how.first < 1:
        raise InputError("there is nothing to certify", where="--first", found=how.first, expected="at least 1")
    data = data.first(how.first)
    graph = as_graph(model, shape or data.images.shape[1:])
    classes = graph.output_shape[0] if len(graph.output_shape) == 1 else None
    if classes is not None and (data.labels >= classes).any():
        i = int(np.argmax(data.labels >= classes))
        raise InputError(
            "a label is out of range",
            where=f"{path}, labels, entry {i}",
            found=int(data.labels[i]),
            expected=f"0 .. {classes - 1}: the model has {classes} outputs",
            hint="labels count from zero",
        )
    return graph, data
