"""The graph against the file: both are run on random inputs before the graph is handed out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.evaluate import evaluate
from ..core.graph import Graph
from .onnx_reference import reference_outputs

EXACT, ROUNDED = 1e-9, 1e-6  # ROUNDED where a float32 constant was read as the number it stands for (sqrt 2 of a GELU)
MAX_ELEMENTS = 1 << 26


def compare(
    graph: Graph, nodes: Sequence[Any], opset: int, constants: Mapping[str, np.ndarray], names: tuple[str, str], batch: str, tolerance: float, elements: int, where: str
) -> None:
    """Check graph(x) against the reference evaluation of the file on two random samples.

    Args:
        batch: "symbolic" (both samples in one run), "one" (a leading axis of 1, two runs) or "none" (no batch axis).
        tolerance: relative to the largest output; plus 1e-12 of the largest number that occurs inside.

    Raises:
        InputError: they differ, the file cannot be run, or it is too large to be run here.
    """
    hint = "load_onnx(path, compare_outputs=False) leaves this check out; then nothing but the loader itself says that the graph is the file's function"
    if elements > MAX_ELEMENTS:
        raise InputError(
            "the network is too large to be compared with the reference evaluator",
            where=where,
            found=f"{elements} entries in its tensors",
            expected=f"at most {MAX_ELEMENTS}",
            hint=hint,
        )
    x = np.random.default_rng(20).standard_normal((2, *graph.input_shape))
    feeds = [x] if batch == "symbolic" else [x[:1], x[1:]] if batch == "one" else [x[0], x[1]]
    try:
        expected = np.concatenate([np.ravel(y) for y in reference_outputs(nodes, opset, constants, *names, feeds)])
    except Exception as error:  # the evaluator raises anything on what it does not like
        cause = error.__cause__ or error
        raise InputError(
            "the file cannot be run by onnx's reference evaluator, so the graph cannot be compared with it",
            where=where,
            found=f"{type(cause).__name__}: {str(cause)[:300]}",
            hint=hint,
        ) from error
    largest = [0.0]
    with np.errstate(all="ignore"):
        found = evaluate(graph, x, observe=lambda node, value: largest.append(float(np.max(np.abs(value))))).ravel()
    if expected.shape != found.shape or expected.dtype.kind != "f":
        raise InputError(
            "the graph's output is not of the file's size",
            where=where,
            found=f"{found.size} numbers for two samples",
            expected=f"{expected.size} ({expected.dtype})",
            hint="please report this file",
        )
    if not np.isfinite(expected).all():
        raise InputError("the network overflows on ordinary inputs", where=where, found=expected[~np.isfinite(expected)][0], expected="finite outputs on inputs of size one")
    allowed = tolerance * np.max(np.abs(expected)) + 1e-12 * max(largest)
    worst = np.max(np.abs(expected - found))
    if not worst <= allowed:
        raise InputError(
            "the graph does not compute what the file computes",
            where=where,
            found=f"a difference of {worst:.3g} in outputs of size {np.max(np.abs(expected)):.3g}",
            expected=f"at most {allowed:.3g}",
            hint="an operator is read in another way than onnx's reference evaluator does; please report this file",
        )
