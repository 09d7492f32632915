"""The matrix of one affine node, by pushing unit vectors through the checker's own evaluation of that node, biases and shifts left out.

Claim: the MidRad encloses the exact matrix of the node (of the network before folding, where a batch norm was folded).
Proof. The value at e_j of a sum of products w_k x_k: every product is w * 1 = w or w * 0 = 0, exact, and so is adding zeros. An entry is therefore one stored
weight, exactly, whenever no weight but one meets the pixel j in output i: in dense layers, convolutions with zero padding and their adjoints (for
given i and j the tap is determined, stride o - low + dilation t = j), in all copies (reshape, pad, gather, ...), sums and products with a constant. Where a
kernel reads a pixel twice (circular, reflecting, replicating padding) the entry is a sum of at most T taps: off by gamma_T times the sum of their sizes,
and that sum, computed likewise, is within gamma_T of the true one. A folded weight is off by k u |w| (core/fold.py), entry by entry, likewise. A division
1 / d is rounded once, unless d is a power of two; a batch norm's factor g / sqrt(v + eps) is off by less than 3u: half a unit of the sum, root, quotient.
Such entries below 2^-900 are refused, so that underflow does not occur. []
"""

from __future__ import annotations

import math

import numpy as np

from ..core.graph import Node
from ..core.midrad import MidRad, kept
from ..core.rounding import U, gamma, up
from . import fields
from .forward import evaluate_node
from .windows import windows_of

EXACT = frozenset("reshape transpose slice gather upsample expand pad scale".split())
AFFINE = EXACT | frozenset("dense conv conv_transpose batch_norm divide avg_pool reduce".split())
MOST_ENTRIES = 1 << 28
_DENSE = 1 << 22  # entries: smaller matrices are kept dense
_CHUNK = 1 << 22


def matrix_of(node: Node, in_shape: tuple[int, ...]) -> MidRad:
    """(outputs, inputs) of a node of AFFINE (reduce: of sum and mean), flattened tensors.

    Raises:
        CertificateError: a matrix of more than MOST_ENTRIES entries, weights that are not finite, or quotients below 2^-900.
    Cost: one forward pass of the node per input entry; sparse from 2^22 entries on.
    """
    bare = _bare(node)
    mid = unrolled(bare, in_shape)
    share = _share(node, in_shape)
    if node.op == "conv" and _reads_twice(node, in_shape):
        taps = math.prod(node.arrays["weight"].shape[2:])
        sizes = unrolled(_with(bare, {"weight": np.abs(np.asarray(bare.float64("weight")))}), in_shape)
        return MidRad(mid, _times(sizes, up((share + gamma(taps)) * (1 + 4 * gamma(taps + 8)))))
    return MidRad(mid, _times(abs(mid), up(share * (1 + 8 * U))) if share else None)


def unrolled(node: Node, in_shape: tuple[int, ...]):
    """Values at all unit vectors, as columns: a dense array, or sparse where large."""
    count, size = math.prod(in_shape), math.prod(node.shape)
    if count * size > MOST_ENTRIES:
        raise fields.refuse("a layer is too large for the checker to write out as a matrix", node.name, f"{size} x {count}", f"at most {MOST_ENTRIES} entries")
    dense = count * size <= _DENSE
    whole = np.zeros((size, count)) if dense else None
    parts = []
    step = max(1, _CHUNK // max(count, size * _work(node)))
    for start in range(0, count, step):
        stop = min(start + step, count)
        units = np.zeros((stop - start, count))
        units[np.arange(stop - start), np.arange(start, stop)] = 1.0
        values = evaluate_node(node, [units.reshape(-1, *in_shape)]).reshape(stop - start, size)
        if not np.isfinite(values).all():
            raise fields.refuse("a layer has no finite matrix", node.name, node.op)
        if whole is not None:
            whole[:, start:stop] = values.T
        else:
            import scipy.sparse as sp

            parts.append(sp.csr_array(values))
    if whole is not None:
        return whole
    return kept(sp.vstack(parts, format="csr").T.tocsr())


def _work(node: Node) -> int:
    return 1 if node.op != "conv" else max(1, math.prod(node.arrays["weight"].shape[1:]) // node.arrays["weight"].shape[0] + 1)


def _with(node: Node, arrays: dict, **attrs) -> Node:
    return Node(node.name, node.op, node.inputs, node.shape, {**node.attrs, **attrs}, {**node.arrays, **arrays}, node.source)


def _bare(node: Node) -> Node:
    """The node without what it adds."""
    if node.op == "pad":
        return _with(node, {}, value=0.0)
    arrays = {name: a for name, a in node.arrays.items() if name != "bias"}
    if node.op == "batch_norm":
        arrays["mean"] = np.zeros_like(arrays["mean"])
    return Node(node.name, node.op, node.inputs, node.shape, node.attrs, arrays, node.source)


def _share(node: Node, in_shape: tuple[int, ...]) -> float:
    """Relative error of every entry that is one term."""
    if node.op in ("dense", "conv", "conv_transpose"):
        return float(node.attrs.get("perturbation", 0)) * U
    if node.op == "batch_norm":
        sums = np.asarray(node.float64("var")) + float(node.attrs["eps"])
        if not (sums > 0).all():
            raise fields.refuse("a BatchNorm has var + eps <= 0", node.name)
        gain = node.float64("weight")
        gain = np.ones(len(sums)) if gain is None else gain
        _ordinary(node, gain[gain != 0] / np.sqrt(sums[gain != 0]))
        return 4 * U
    if node.op in ("divide", "avg_pool"):
        divisor = np.asarray(node.float64("value" if node.op == "divide" else "divisor"))
        with np.errstate(all="ignore"):
            _ordinary(node, 1.0 / divisor)
        return 0.0 if (np.abs(np.frexp(divisor)[0]) == 0.5).all() else 2 * U
    count = math.prod(in_shape[i] for i in node.attrs["axes"]) if node.op == "reduce" and node.attrs["kind"] == "mean" else 1
    return 2 * U if count & (count - 1) else 0.0


def _ordinary(node: Node, values: np.ndarray) -> None:
    if not ((np.abs(values) >= 2.0**-900) & (np.abs(values) <= 2.0**900)).all():
        raise fields.refuse("a layer divides by numbers beyond 2^900", node.name, node.op)


def _reads_twice(node: Node, in_shape: tuple[int, ...]) -> bool:
    """Whether some output of a convolution reads one pixel at two taps."""
    windows = windows_of(node, in_shape)
    if windows is None or not windows.copying:
        return False
    rows = [np.sort(axis.source, axis=1) for axis in windows.axes]
    return any(((row[:, 1:] == row[:, :-1]) & (row[:, 1:] >= 0)).any() for row in rows)


def _times(sizes, factor: float):
    """Nonnegative sizes times a number, rounded up."""
    if isinstance(sizes, np.ndarray):
        return up(sizes * factor) * (sizes > 0)
    return sizes._with_data(up(sizes.data * factor))
