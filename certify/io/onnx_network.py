"""The graph while an ONNX file is read: nodes are emitted, shapes kept, the batch axis followed, memory counted.

The batch axis. A `Tensor` with `lead` has the ONNX shape (batch, *node.shape). In a file with a fixed batch of 1 a leading axis of
size 1 may come and go (Squeeze, Reshape to (1, -1), ...): `view`, `flat` and `absorb` only move that mark. In a file with a symbolic
batch nothing may touch that axis; what does would mix the samples of a batch and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.graph import GraphBuilder
from .onnx_values import BATCH, Call, Const, Tensor, Value

MAX_ELEMENTS = 1 << 24  # of one tensor, per sample: 128 MiB in float64
_SPARE = 256 << 20  # bytes that constants may take beyond 8 times the size of the file


class Network:
    """Collects the nodes of one file. `fixed`: the batch is 1 in the file, not symbolic."""

    def __init__(self, file: str, size: int, fixed: bool):
        self.builder, self.file, self.fixed = GraphBuilder(), file, fixed
        self._budget = _SPARE + 8 * size
        self._names: dict[str, int] = {}
        self.elements = 0

    # --- nodes ---------------------------------------------------------------------------------------------------------------
    def emit(
        self, call: Call, op: str, inputs: Sequence[Tensor], attrs: Mapping[str, Any] | None = None, arrays: Mapping[str, np.ndarray | None] | None = None, lead: bool | None = None
    ) -> Tensor:
        """Append a node; `lead` of the result is that of the first input unless given."""
        self.charge(call, sum(a.nbytes for a in (arrays or {}).values() if a is not None))
        base = call.file or op
        k = self._names[base] = self._names.get(base, 0) + 1
        name = self.builder.add(op, [t.name for t in inputs], attrs, arrays, name=base if k == 1 else f"{base}#{k}", source=call.where)
        self.elements += self.check_size(call, self.builder[name].shape)
        return Tensor(name, inputs[0].lead if lead is None else lead)

    def charge(self, call: Call, nbytes: int) -> None:
        """Count memory for constants; a small file must not ask for much."""
        self._budget -= nbytes
        if self._budget < 0:
            raise call.invalid(
                "the file's constants grow far beyond its size",
                expected=f"at most 8 times the file and {_SPARE >> 20} MiB",
                hint="a damaged or hostile file, or constants that should be stored smaller",
            )

    def check_size(self, call: Call, shape: Sequence[int]) -> int:
        count = math.prod(shape)
        if count > MAX_ELEMENTS or count == 0:
            raise call.invalid("a tensor is empty" if count == 0 else "a tensor is too large", found=f"{tuple(shape)} for one sample", expected=f"1 to {MAX_ELEMENTS} entries")
        return count

    def node(self, t: Tensor):
        return self.builder[t.name]

    def shape(self, t: Tensor) -> tuple[int, ...]:
        """The node's shape (one sample)."""
        return self.builder[t.name].shape

    def full(self, value: Value) -> tuple[int, ...]:
        """The ONNX shape, a batch counted as 1."""
        return value.array.shape if isinstance(value, Const) else (1,) * value.lead + self.shape(value)

    def rank(self, value: Value) -> int:
        return len(self.full(value))

    # --- the batch axis ------------------------------------------------------------------------------------------------------
    def reshape(self, call: Call, t: Tensor, shape: Sequence[int], lead: bool) -> Tensor:
        """The same entries with another node shape; no node when nothing changes."""
        if tuple(shape) == self.shape(t):
            return Tensor(t.name, lead)
        return self.emit(call, "reshape", [t], {"shape": tuple(shape)}, lead=lead)

    def view(self, call: Call, t: Tensor, full: Sequence[int]) -> Tensor:
        """`t` with another ONNX shape, of a file whose batch is 1 (or of a tensor without batch): a first axis of size 1 is the batch."""
        t = self.flat(call, t) if t.lead and not self.fixed else t
        lead = len(full) > 1 and full[0] == 1 and self.fixed
        return self.reshape(call, t, full[1:] if lead else full, lead)

    def flat(self, call: Call, t: Tensor) -> Tensor:
        """`t` with the batch axis, of size 1, as an ordinary axis; refused where the batch is symbolic."""
        if not t.lead:
            return t
        if not self.fixed:
            raise call.unsupported(
                "the operator works across the batch axis",
                found=f"input of shape (batch, {', '.join(map(str, self.shape(t)))})",
                expected="each sample by itself",
                hint="certificates are per sample: export a model that keeps the first axis as the batch",
            )
        return self.reshape(call, t, self.full(t), False)

    def absorb(self, call: Call, value: Value) -> Tensor:
        """A tensor with its first axis as the batch (needed by convolutions, pools, Gemm): it must be the batch, or of size 1."""
        t = self.tensor(call, value)
        shape = self.shape(t)
        if t.lead:
            return t
        if len(shape) < 2 or shape[0] != 1:
            raise call.unsupported("the operator needs a batch axis in front", found=f"a tensor of shape {shape} without a batch", expected="a first axis of size 1, or symbolic")
        return self.reshape(call, t, shape[1:], True)

    def tensor(self, call: Call, value: Value) -> Tensor:
        """A constant as a node of the graph; a tensor as it is."""
        if isinstance(value, Tensor):
            return value
        if not value.is_float:
            raise call.unsupported("an integer or boolean constant meets the data path", found=value.array.dtype, expected="float tensors")
        return self.emit(call, "constant", [], None, {"value": value.array}, lead=False)

    def align(self, call: Call, values: Sequence[Value], broadcast: bool = True) -> tuple[list[Tensor | np.ndarray], bool]:
        """Operands of an elementwise operator, batch axes matched: per-sample tensors and arrays that broadcast to each other.

        Returns them with the `lead` of the result. Constants come back as arrays without the batch axis.
        """
        rank = max(self.rank(v) for v in values)
        leads = [v for v in values if isinstance(v, Tensor) and v.lead]
        lead = bool(leads) and all(self.rank(v) == rank for v in leads) and all(self.full(v)[0] == 1 for v in values if self.rank(v) == rank)
        result: list[Tensor | np.ndarray] = []
        for v in values:
            if isinstance(v, Const):
                result.append(v.array[0] if lead and v.array.ndim == rank else v.array)
            elif lead and self.rank(v) == rank:
                result.append(v if v.lead else self.reshape(call, v, self.shape(v)[1:], True))
            else:
                result.append(self.flat(call, v))
        return result, lead

    def spread(self, call: Call, operand: Tensor | np.ndarray, shape: tuple[int, ...], lead: bool) -> Tensor:
        """An operand of `align` as a node of exactly `shape` (numpy's broadcasting)."""
        self.check_size(call, shape)
        if isinstance(operand, np.ndarray):
            if operand.dtype.kind != "f":
                raise call.unsupported("an integer or boolean constant meets the data path", found=operand.dtype, expected="float tensors")
            self.charge(call, math.prod(shape) * operand.itemsize)
            return self.emit(call, "constant", [], None, {"value": np.broadcast_to(operand, shape)}, lead=lead)
        have = self.shape(operand)
        if have == shape:
            return Tensor(operand.name, lead)
        longer = self.reshape(call, operand, (1,) * (len(shape) - len(have)) + have, lead)
        return longer if self.shape(longer) == shape else self.emit(call, "expand", [longer], {"shape": shape}, lead=lead)

    def broadcast(self, call: Call, operands: Sequence[Tensor | np.ndarray]) -> tuple[int, ...]:
        """The common per-sample shape of aligned operands."""
        shapes = [o.shape if isinstance(o, np.ndarray) else self.shape(o) for o in operands]
        try:
            return np.broadcast_shapes(*shapes)
        except ValueError as error:
            raise call.invalid("shapes do not broadcast", found=" and ".join(map(str, shapes)), expected="equal sizes, or 1, from the last axis on") from error

    def known_shape(self, value: Value) -> list[Any]:
        """The ONNX shape as a shape computation sees it: a symbolic batch stays symbolic."""
        full: list[Any] = list(self.full(value))
        if isinstance(value, Tensor) and value.lead and not self.fixed:
            full[0] = BATCH
        return full
