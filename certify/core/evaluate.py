"""A Graph's value on a batch, in float64 numpy: an estimate of the exact real value whose error `constants.forward` bounds.

Every operator is a function of `evaluate_*.py` that says in its docstring how many roundings a term of an output entry can meet:
"n roundings" means fl(out)_j = sum of the exact terms, each times a product of at most n factors (1 + d), |d| <= u = 2^-53, plus
underflow terms of a few 2^-1074; then |fl(out) - out|_j <= gamma_n sum |terms| (methods/rounding.md section 2) in any order of
summation. Convolutions are inner products (no FFT, no Winograd). Overflow gives inf or NaN, which no caller may take for a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from . import evaluate_attention, evaluate_elementwise, evaluate_shape, evaluate_window  # noqa: F401  (they register their operators)
from .errors import InputError
from .evaluate_base import OPERATORS, Operand
from .graph import Graph, Node

Observer = Callable[[Node, np.ndarray], None]

# Largest tensor of a chunk: with its successor it stays in a 2 to 4 MiB share of the cache (measured optimum 0.5 to 1 MiB, flat).
_CHUNK_BYTES = 1 << 20
# But a matrix of weights that does not fit in the cache is read once per chunk: at least this many samples share it, memory permitting.
_LEAST_SAMPLES, _LEAST_BYTES = 16, 1 << 26


def cache_chunk(graph: Graph) -> int:
    """Samples that are best evaluated together: the largest tensor takes about 1 MiB, or there are 16 of them if it stays below 64 MiB; depends on the graph alone."""
    largest = 8 * max(math.prod(node.shape) for node in graph.nodes)
    return max(1, _CHUNK_BYTES // largest, min(_LEAST_SAMPLES, _LEAST_BYTES // largest))


def evaluate(graph: Graph, inputs, observe: Observer | None = None, chunk: int | None = None) -> np.ndarray:
    """graph(inputs) in float64.

    Args:
        graph: the network.
        inputs: batch (n, *input_shape) of finite real numbers that float64 holds exactly; n = 0 is legal.
        observe: called as observe(node, value) with every node and its value (m, *node.shape), in order, before anything after it is
            evaluated. m = n, or the size of the chunk when `chunk` is given (chunks come in order).
        chunk: samples evaluated at a time; default `cache_chunk(graph)`, or all of them when there is an observer.
    Returns:
        (n, *output_shape), float64.
    Guarantee: each operator meets the rounding count of its docstring. The last bits may depend on n and chunk, nothing else may.
    Raises:
        InputError: inputs of a wrong shape or type, or not finite; a gather index outside its axis; a division by zero; var + eps <= 0.
    Cost: the operators' products (BLAS); memory: the tensors that are alive, in one chunk.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (2,)})
    >>> evaluate(b.build(b.add("add", [x, x])), [[1.0, 2.0]])
    array([[2., 4.]])
    """
    batch = require_batch(inputs, graph.input_shape)
    plan = Plan(graph)
    if chunk is not None and (not isinstance(chunk, int | np.integer) or chunk < 1):
        raise InputError("a chunk is a positive number of samples", where="argument chunk", found=repr(chunk)[:80])
    step = int(chunk) if chunk is not None else len(batch) if observe is not None else cache_chunk(graph)
    with np.errstate(all="ignore"):
        if len(batch) <= step:
            return plan.run(np.asarray(batch, dtype=np.float64), observe)
        result = np.empty((len(batch), *graph.output_shape))
        for i in range(0, len(batch), step):
            result[i : i + step] = plan.run(np.asarray(batch[i : i + step], dtype=np.float64), observe)
    return result


class Plan:
    """A graph with its weights in float64 and the moment at which each tensor can be freed."""

    def __init__(self, graph: Graph):
        self.output = graph.output
        self.steps: list[tuple[Operand, list[str]]] = []
        last = {name: i for i, node in enumerate(graph.nodes) for name in (node.name, *node.inputs)}
        dead: dict[int, list[str]] = {}
        for name, i in last.items():
            if name != graph.output:
                dead.setdefault(i, []).append(name)
        for i, node in enumerate(graph.nodes):
            self.steps.append((Operand(node, graph.input_shapes(node)), dead.get(i, [])))

    def run(self, batch: np.ndarray, observe: Observer | None) -> np.ndarray:
        """The output for one float64 batch."""
        values: dict[str, np.ndarray] = {}
        for operand, dead in self.steps:
            node = operand.node
            if node.op == "input":
                value = batch
            elif node.op == "constant":
                value = np.broadcast_to(operand.arrays["value"], (len(batch), *node.shape))
            else:
                value = OPERATORS[node.op](operand, *(values[name] for name in node.inputs))
            values[node.name] = value
            if observe is not None:
                observe(node, value)
            for name in dead:
                del values[name]
        result = values[self.output]
        # a graph whose output is its input, a view of it or a constant must not hand out memory that is not its own
        return np.array(result) if result.base is not None or result is batch else result


def require_batch(inputs, shape: tuple[int, ...]) -> np.ndarray:
    """`inputs` as an array (n, *shape) of finite real numbers that float64 holds exactly.

    Raises:
        InputError: anything else, naming the first bad entry.
    """
    try:
        batch = np.asarray(inputs)
    except Exception as error:
        raise InputError("the inputs are not an array", where="inputs", found=f"{type(inputs).__name__}: {str(error)[:200]}", expected=f"(n, {_axes(shape)})") from error
    if batch.dtype.kind not in "fiu" or batch.dtype.itemsize > 8:
        raise InputError("the inputs have a dtype that is not supported", where="inputs", found=batch.dtype, expected="real numbers: float16 to float64, or integers")
    if batch.shape[1:] != tuple(shape) or not batch.ndim:
        hint = "add the batch axis: inputs[None]" if batch.shape == tuple(shape) else None
        raise InputError("the inputs have a wrong shape", where="inputs", found=batch.shape, expected=f"(n, {_axes(shape)})", hint=hint)
    if batch.dtype.kind == "f":
        good = np.isfinite(batch)
    elif batch.dtype.itemsize == 8:
        good = (batch <= 2**53) & (batch >= -(2**53)) if batch.dtype.kind == "i" else batch <= 2**53
    else:
        return batch
    if not good.all():
        place = tuple(int(k) for k in np.unravel_index(int(np.argmin(good)), good.shape))
        raise InputError("an input is not a finite number that float64 holds", where=f"inputs{list(place)}", found=batch[place], expected="finite numbers (integers up to 2^53)")
    return batch


def _axes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
