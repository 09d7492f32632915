"""What the operators of `evaluate_*.py` are written in: the operand and the registry."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from .activation import Activation, activation_of
from .graph import Node
from .values import require_values

Function = Callable[..., np.ndarray]
OPERATORS: dict[str, Function] = {}


class Operand:
    """A node with its arrays in float64, checked by `require_values` and made once per evaluation."""

    def __init__(self, node: Node, in_shapes: list[tuple[int, ...]]):
        require_values(node, in_shapes)
        self.node, self.attrs, self.shape, self.in_shapes = node, node.attrs, node.shape, in_shapes
        self.arrays = {key: np.asarray(array, dtype=np.float64) for key, array in node.arrays.items()}

    @cached_property
    def activation(self) -> Activation:
        return activation_of(self.node)

    @property
    def axis(self) -> int:
        """attrs["axis"] in an array with its batch axis."""
        return self.attrs["axis"] + 1


def operator(*ops: str) -> Callable[[Function], Function]:
    """Register a function (operand, *inputs (n, *shape)) -> (n, *shape) as the value of the operators `ops`."""

    def register(function: Function) -> Function:
        OPERATORS.update(dict.fromkeys(ops, function))
        return function

    return register
