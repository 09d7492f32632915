"""Tape: a vector of formulas as straight-line code, one instruction per register; evaluated in floats or in intervals."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from certify.core.errors import InputError
from certify.core.interval import Interval

from ..errors import ReachError
from . import opcodes as code
from .render import render

_ARRAYS = (("op", np.int64), ("a", np.int64), ("b", np.int64), ("c", np.float64), ("r", np.float64), ("outputs", np.int64))

_ESTIMATES: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    code.SQR: np.square,
    code.INV: lambda x: 1.0 / x,
    code.SIN: np.sin,
    code.COS: np.cos,
    code.EXP: np.exp,
    code.LOG: np.log,
    code.SQRT: np.sqrt,
    code.TANH: np.tanh,
    code.ATAN: np.arctan,
}


@dataclass(frozen=True, eq=False)
class Tape:
    """Straight-line code for f: R^nin -> R^nout.

    Registers 0 .. nin - 1 are the inputs, in the order of `names`; instruction i writes register nin + i. The true constant of an
    instruction (an exact rational or a number such as pi) lies in [c - r, c + r], in real numbers; r = 0 where it is a float.

    Args:
        names: names of the inputs.
        op, a, b: opcodes and operand registers (int64), each operand below the register that is written; unused operands are 0.
        c, r: constants and their radii (float64), 0 where the opcode has none.
        outputs: registers of the results (int64); an input may be a result.
    Raises:
        InputError: arrays that are not such a program. SoundnessError: it uses sin, cos, exp, log, tanh or atan and this platform's library
            fails the probe of `libm`.

    >>> tape = Tape(("x",), [code.SQR, code.LIN], [0, 1], [0, 0], [0, 3.0], [0, 0], [2])
    >>> tape, tape.evaluate([2.0]).tolist(), tape.enclose([-1.0], [2.0]).contains([12.0])
    (Tape(x -> 3.0*x^2), [12.0], True)
    """

    names: tuple[str, ...]
    op: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    r: np.ndarray
    outputs: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "names", tuple(self.names))
        for name, kind in _ARRAYS:
            array = np.array(getattr(self, name), dtype=kind).reshape(-1)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        self._check()
        if not code.LIBRARY.isdisjoint(self.op.tolist()):
            from .libm import require_libm

            require_libm()

    def _check(self) -> None:
        n, size = len(self.op), len(self.names)
        if not all(len(x) == n for x in (self.a, self.b, self.c, self.r)):
            raise InputError("the arrays of a tape have different lengths", where="Tape")
        known = ((self.op >= 0) & (self.op < len(code.NAMES))).all()
        below = all(((x >= 0) & ((x < size + np.arange(n)) | (self.op == code.CONST))).all() for x in (self.a, self.b))
        ends = ((self.outputs >= 0) & (self.outputs < size + n)).all()
        if not (known and below and ends):
            raise InputError("a tape has an unknown opcode, or reads a register that is not written yet", where="Tape")
        if not (np.isfinite(self.c).all() and np.isfinite(self.r).all() and (self.r >= 0).all()):
            raise InputError("the constants of a tape are finite, with radii >= 0", where="Tape")

    def __reduce__(self):
        return Tape, (self.names, *(np.array(getattr(self, name)) for name, _ in _ARRAYS))

    def __repr__(self) -> str:
        text = "; ".join(self.text(int(i), 60) for i in self.outputs)
        return f"Tape({', '.join(self.names)} -> {text if len(text) <= 300 else text[:297] + '...'})"

    def __len__(self) -> int:
        """Number of instructions."""
        return len(self.op)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over names and arrays: two tapes with one digest are the same program."""
        parts = ["\0".join(self.names).encode(), *(np.ascontiguousarray(getattr(self, name)).tobytes() for name, _ in _ARRAYS)]
        return hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).hexdigest()

    def text(self, register: int, limit: int = 120) -> str:
        """The formula of a register, cut after `limit` characters: for messages."""
        return render(self, register, limit)

    def _batch(self, values: object, what: str) -> np.ndarray:
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("a tape takes real numbers", where=what) from None
        if array.ndim == 0 or array.shape[-1] != len(self.names):
            raise InputError("a tape takes one number per name", where=what, found=f"shape {array.shape}", expected=f"(..., {len(self.names)}): {', '.join(self.names)}")
        return array

    def evaluate(self, values: object) -> np.ndarray:
        """f in floats, (..., nin) -> (..., nout). An estimate: plain rounding; NaN or infinity where f is undefined or overflows."""
        array = self._batch(values, "values")
        registers = [array[..., i] for i in range(len(self.names))]
        with np.errstate(all="ignore"):
            for op, a, b, c in zip(self.op.tolist(), self.a.tolist(), self.b.tolist(), self.c.tolist(), strict=True):
                registers.append(_estimate(op, registers, a, b, c, array.shape[:-1]))
        return np.stack([registers[i] for i in self.outputs.tolist()], axis=-1) if len(self.outputs) else np.zeros((*array.shape[:-1], 0))

    def enclose(self, lower: object, upper: object) -> Interval:
        """An Interval (..., nout) that contains f(x) for every real x with lower <= x <= upper, entry by entry.

        Natural interval evaluation, rounded outward: rigorous, not tight where a variable occurs twice. One box per leading index.

        Raises:
            ReachError: f is undefined somewhere in a box, or could not be told to be defined (division by an interval that contains zero, log or
                sqrt of one that is not positive), or overflows; names the part and the box.
            SoundnessError: an inverted or NaN box.
        """
        box = Interval(self._batch(lower, "lower"), self._batch(upper, "upper"))
        registers = [box[..., i] for i in range(len(self.names))]
        for i, op in enumerate(self.op.tolist()):
            registers.append(self._interval(i, op, registers, box))
        results = [registers[i] for i in self.outputs.tolist()]
        if not results:
            return Interval(np.zeros((*box.shape[:-1], 0)), np.zeros((*box.shape[:-1], 0)))
        return Interval(np.stack([x.lower for x in results], axis=-1), np.stack([x.upper for x in results], axis=-1))

    def _interval(self, i: int, op: int, registers: Sequence[Interval], box: Interval) -> Interval:
        if op == code.CONST:
            return _constant(self.c[i], self.r[i], box.shape[:-1])
        x = registers[self.a[i]]
        if op == code.ADD:
            return x + registers[self.b[i]]
        if op == code.MUL:
            return x * registers[self.b[i]]
        if op == code.SQR:
            return x.square()
        if op in code.HAS_CONSTANT:
            constant = _constant(self.c[i], self.r[i], box.shape[:-1])
            return x * constant if op == code.LIN else x + constant
        from .series import function_ranges

        lower, upper, good = function_ranges(op, x.lower.reshape(-1), x.upper.reshape(-1))
        if not good.all():
            raise self._undefined(i, op, x, int(np.argmin(good)), box)
        return Interval(lower.reshape(x.shape), upper.reshape(x.shape))

    def _undefined(self, i: int, op: int, x: Interval, entry: int, box: Interval) -> ReachError:
        inner = self.text(int(self.a[i]))
        low, high = float(x.lower.reshape(-1)[entry]), float(x.upper.reshape(-1)[entry])
        ends = zip(self.names, box.lower.reshape(-1, len(self.names))[entry].tolist(), box.upper.reshape(-1, len(self.names))[entry].tolist(), strict=True)
        where = "on the box " + ", ".join(f"{name} in [{a!r}, {b!r}]" for name, a, b in ends)
        found = f"{inner} in [{low!r}, {high!r}]"
        if op == code.INV and low <= 0 <= high:
            return ReachError("a division by an expression whose enclosure contains zero", where=where, found=found, hint="a smaller box, or a plant without this division")
        if op in (code.LOG, code.SQRT) and not low > 0:
            what = f"{code.NAMES[op]} of an expression that is not proved positive"
            return ReachError(what, where=where, found=found, expected="an enclosure above zero (sqrt has no derivative at zero)", hint="a smaller box")
        return ReachError(f"{code.NAMES[op]} has no finite enclosure", where=where, found=found, hint="a smaller box: the values overflow float64")


def _constant(c: float, r: float, shape: tuple[int, ...]) -> Interval:
    middle = Interval.point(np.full(shape, c))
    return middle if r == 0 else middle + Interval(np.full(shape, -r), np.full(shape, r))


def _estimate(op: int, registers: Sequence[np.ndarray], a: int, b: int, c: float, shape: tuple[int, ...]) -> np.ndarray:
    if op == code.CONST:
        return np.full(shape, c)
    if op == code.ADD:
        return registers[a] + registers[b]
    if op == code.MUL:
        return registers[a] * registers[b]
    if op == code.LIN:
        return c * registers[a]
    return registers[a] + c if op == code.SHIFT else _ESTIMATES[op](registers[a])
