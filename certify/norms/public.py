"""`operator_norm`: the enclosure of one linear layer's norm, from a torch module or a Graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import HypothesisError, InputError, UnsupportedLayerError
from ..core.fold import fold_affine
from ..core.graph import Graph
from ..core.regions import require_norm
from ..core.shapes import require_shape
from ..linear.base import LinearMap
from ..linear.build import linear_map
from ..linear.compose import Composition
from ..linear.copies import CopyMap
from .auto import EFFORTS, Auto
from .base import NormBound, methods

_HINT = "use certify.lipschitz for networks"


def operator_norm(layer: Any, input_shape: Sequence[int], norm: str = "l2", method: str = "auto", effort: str = "balanced") -> NormBound:
    """Enclosure of how much a linear layer can stretch: lower <= max ||A x||_p / ||x||_p <= upper.

    A is the layer without its bias, exactly as the stored weights say, on inputs of `input_shape`.

    Args:
        layer: torch module that is one linear layer or a chain of them (convolution, transposed convolution, linear, BatchNorm in
            eval mode, average pooling, flatten, padding, ...), or a Graph of such nodes. A chain is composed into one map.
        input_shape: of one sample, without the batch axis: (3, 32, 32).
        norm: "l2", "linf" or "l1", the same on both sides.
        method: "auto", or the name of a method in `certify.norms` ("svd", "power_iteration", "frobenius", "induced", "fantastic_four",
            "fft", "gram", "twisted", "hybrid", "dense", "any_size", "copied_padding", "diagonal", "product").
        effort: "fast", "balanced" or "tight": how much time "auto" may spend.

    Guarantee: both ends hold in real arithmetic; rounding is accounted for. Power iteration gives [s, inf).

    Raises:
        UnsupportedLayerError: something in the layer is not linear. HypothesisError: the method does not apply to this layer. InputError: names, shapes.

    Cost: `auto` predicts it and stays within seconds per layer (`bound.table()`); 64 to 64 channels, 3x3, 56 x 56 pixels: 0.4 s, half of it the lower end.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> bound = operator_norm(layer, (2,))
    >>> bound.lower <= 5 <= bound.upper < 5.000001
    True
    """
    require_norm(norm)
    if effort not in EFFORTS:
        raise InputError("unknown effort", where="argument effort", found=repr(effort), expected=", ".join(EFFORTS))
    chosen = None if not isinstance(method, str) else Auto(effort) if method == "auto" else methods().get(method)
    if chosen is None:
        raise InputError("unknown norm method", where="argument method", found=repr(method), expected=", ".join(sorted(methods())))
    return chosen.enclose(layer_map(as_linear_graph(layer, input_shape)), norm)


def as_linear_graph(layer: Any, input_shape: Sequence[int]) -> Graph:
    """The folded Graph of a module, or the Graph that was given."""
    shape = require_shape(input_shape)
    if isinstance(layer, Graph):
        if layer.input_shape != shape:
            raise InputError("the graph has another input shape", where="argument input_shape", found=shape, expected=layer.input_shape)
        return fold_affine(layer)
    from ..core.trace import trace  # loads torch

    return fold_affine(trace(layer, shape))


def layer_map(graph: Graph) -> LinearMap:
    """The map of a graph that is one path of linear nodes; shifts by constants and permutations at the ends are left out (norms do not see them).

    Raises:
        UnsupportedLayerError: a node that is not linear, or a tensor that is used twice.
    """
    maps: list[LinearMap] = []
    name = graph.output
    while name != graph.input_node.name:
        node = graph[name]
        moving = [i for i in node.inputs if graph[i].op != "constant"]
        if len(moving) != 1:
            raise UnsupportedLayerError("a layer norm needs one path of linear nodes", where=node.name, found=f"{node.op} of {len(moving)} tensors", hint=_HINT)
        before = graph[moving[0]]
        if node.op not in ("add", "sub"):
            part = linear_map(node, before.shape) if len(node.inputs) == 1 else None
            if part is None:
                raise UnsupportedLayerError("this operator is not a linear map", where=node.source or node.name, found=node.op, expected="linear layers only", hint=_HINT)
            maps.append(part)
        elif len(node.inputs) != 2:
            raise UnsupportedLayerError("this operator is not a linear map", where=node.name, found=node.op)
        name = before.name
    maps.reverse()
    maps = maps or [CopyMap(np.arange(int(np.prod(graph.input_shape))), (int(np.prod(graph.input_shape)),))]
    while len(maps) > 1 and _is_permutation(maps[-1]):
        maps.pop()
    while len(maps) > 1 and _is_permutation(maps[0]):
        maps.pop(0)
    try:
        return Composition.of(maps)
    except HypothesisError as error:
        raise UnsupportedLayerError(error.what, where=error.where, hint=error.hint) from error


def _is_permutation(map: LinearMap) -> bool:
    if not isinstance(map, CopyMap) or map.weight != 1.0 or map.input_size != map.output_size:
        return False
    flat = map.index.ravel()
    return bool((flat >= 0).all() and np.unique(flat).size == flat.size)
