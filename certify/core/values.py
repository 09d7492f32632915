"""What a node's numbers must satisfy beyond their shapes: a gather index inside its axis, divisors without zeros, positive variances, eps > 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import InputError
from .graph import Node


def require_values(node: Node, in_shapes: Sequence[tuple[int, ...]]) -> None:
    """Check the values of a node's arrays; shapes are `infer_shape`'s business, finiteness Node's.

    Raises:
        InputError: an index outside [0, n), a divisor that is zero (or, in a pool, negative), var + eps <= 0, a layer_norm with eps <= 0.
    """
    where = node.source or node.name
    if node.op == "gather":
        index, length = node.arrays["index"], in_shapes[0][node.attrs["axis"]]
        if index.dtype != np.int64 or not ((index >= 0) & (index < length)).all():
            found = f"{index.dtype} from {index.min()} to {index.max()}"
            raise InputError("a gather index leaves its axis", where=f"{where}, index", found=found, expected=f"int64 from 0 to {length - 1}")
    elif node.op == "divide" and not (node.arrays["value"] != 0).all():
        raise InputError("division by zero", where=f"{where}, value", expected="a divisor without zeros")
    elif node.op == "avg_pool" and not (node.arrays["divisor"] > 0).all():
        raise InputError("the divisor of an average pool is not positive", where=f"{where}, divisor", found=node.arrays["divisor"].min(), expected="> 0 everywhere")
    elif node.op == "batch_norm":
        variance = node.arrays["var"].astype(np.float64) + float(node.attrs["eps"])
        if not (variance > 0).all():
            raise InputError("a BatchNorm has var + eps <= 0", where=f"{where}, channel {int(np.argmin(variance))}", found=float(variance.min()), expected="a positive variance")
    elif node.op == "layer_norm" and not float(node.attrs["eps"]) > 0:
        raise InputError(
            "a LayerNorm (or RMSNorm) with eps <= 0 has no finite constant: its slope is max |weight| / sqrt(eps) at a constant input",
            where=f"{where}, eps",
            found=node.attrs["eps"],
            expected="eps > 0",
            hint="train with a positive eps; the default of torch is 1e-5",
        )
