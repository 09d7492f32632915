"""Plan: everything that decides a training run, as one frozen object whose repr is the record."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
import operator
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import InputError

OPTIMIZERS = ("adam", "adamw", "sgd", "muon")
SCHEDULES = ("one_cycle", "cosine", "linear", "constant")
EPSILON_SCHEDULES = ("constant", "linear", "log")
PRECISIONS, PAIRS, NORMS, DEVICES = ("float32", "bfloat16"), ("one", "estimate"), ("l2", "linf", "l1"), ("auto", "cpu")
AUGMENTATIONS = ("shift", "flip_crop")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def _default_loss() -> Any:
    from .losses import OffsetCrossEntropy

    return OffsetCrossEntropy()


@dataclass(frozen=True)
class Plan:
    """How a network is trained and what is asked about it afterwards.

    Args:
        epochs: passes over the training inputs. batch_size: inputs per step, over all devices together.
        loss: an object of `certify.train.losses`: loss(logits, labels, pairs=None) -> scalar.
        penalty: None, or an object of `certify.train.penalties`: penalty(model) -> scalar, added to the loss. What it remembers from step to step
            begins anew with every checkpoint, so that a resumed run is the same run.
        optimizer: "adam", "adamw", "sgd" or "muon". learning_rate: its largest value. weight_decay, momentum: of the optimizer (momentum is beta_1 of adam).
        clip_norm: None, or the largest l2 norm of the whole gradient.
        schedule: of the learning rate. "one_cycle": cosine from 1/25 up and down to 4e-6, the momentum the other way by 0.05; "cosine", "linear": down to
            zero; "constant". warmup: share of the steps on the way up; None: 0.3 for "one_cycle", 0 for the others.
        epsilon: None, or the value that the field `epsilon` of the loss ends at. epsilon_schedule: "constant", or from `epsilon_start` * epsilon to
            epsilon over the first `epsilon_fraction` of the steps, "linear" or "log".
        augment: None, "shift:N" (every image moved by up to N pixels, zeros come in) or "flip_crop:N" (that, and half of the images mirrored).
        validation: training inputs that are kept apart for choices, a count or a share; 0: none.
        precision: "float32", or "bfloat16" for the forward pass of training (autocast; weights, loss and optimizer stay as they are). What is certified are
            always the weights as they are stored.
        pairs: what a loss believes about |z_i - z_j|: "one": the network up to its last linear layer W has constant 1, so that |w_i - w_j|; "estimate":
            `certify.train.pairs.pair_constants`, for networks that are 1-Lipschitz by no construction. Neither is used in a proof.
        norm: of the perturbations, "l2", "linf" or "l1", in the units of the model's input. radii: at which accuracies are reported.
        average: decay of an exponential moving average of the weights, which is then what is validated and certified; 0: off.
        seed: of everything random. threads: of torch while training; the same seed gives the same weights with the same number of threads.
        device: "auto" (a GPU if there is one) or "cpu".
        attack: whether the certified test inputs are attacked too.
        out: None, or the folder of the run, where it is resumed from. checkpoint_every: epochs between two checkpoints.
    Guarantee: none; a plan trains. What holds is `Run.result`, found afterwards by `certify.radius`.
    Raises:
        InputError: a value out of range; names the field, what was found and what is expected.

    >>> from certify.train.losses import OffsetCrossEntropy
    >>> Plan(epochs=3, loss=OffsetCrossEntropy(), radii=[0.5]).radii
    (0.5,)
    """

    epochs: int = 20
    batch_size: int = 256
    loss: Callable[..., Any] = field(default_factory=_default_loss)
    penalty: Callable[..., Any] | None = None
    optimizer: str = "adam"
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    clip_norm: float | None = None
    schedule: str = "one_cycle"
    warmup: float | None = None
    epsilon: float | None = None
    epsilon_schedule: str = "constant"
    epsilon_start: float = 0.1
    epsilon_fraction: float = 0.5
    augment: str | None = None
    validation: int | float = 0
    precision: str = "float32"
    pairs: str = "one"
    norm: str = "l2"
    radii: Sequence[float] = ()
    average: float = 0.0
    seed: int = 0
    threads: int = 1
    device: str = "auto"
    attack: bool = True
    out: str | None = None
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        for name, convert in _CONVERT.items():
            object.__setattr__(self, name, convert(name, getattr(self, name)))
        if self.epsilon is not None and not (dataclasses.is_dataclass(self.loss) and hasattr(self.loss, "epsilon")):
            _refuse("epsilon", self.epsilon, "None: this loss has no epsilon", f"loss {self.loss!r}"[:120])
        if self.pairs == "estimate" and self.norm != "l2":
            _refuse("pairs", self.pairs, '"one": the estimate is about the l2 norm', f"norm {self.norm!r}")

    def record(self) -> dict[str, str]:
        """Field -> repr, without addresses and without the folder: two plans with equal records train alike. A loss or penalty that is not of certify says
        nothing certain by its repr: the digest of its settings, or of its code, is added; what the code calls in turn is not seen."""
        found = {f.name: _ADDRESS.sub("", repr(getattr(self, f.name))) for f in dataclasses.fields(self) if f.name != "out"}
        for name in ("loss", "penalty"):
            content = _content(getattr(self, name))
            found[name] += content and f" #{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        return found


def _content(value: Any) -> str:
    """What a repr may leave out: the code, defaults and closure of a function, the attributes of an object; empty for what certify made itself."""
    if value is None or type(value).__module__.startswith("certify.train."):
        return ""
    code = getattr(value, "__code__", None)
    if code is None:
        return _ADDRESS.sub("", repr(getattr(value, "__dict__", "")))
    return _ADDRESS.sub("", repr((_code(code), value.__defaults__, value.__kwdefaults__, value.__closure__ and inspect.getclosurevars(value).nonlocals)))


def _code(code: Any) -> tuple[Any, ...]:
    """Code as data, its inner functions too; constant sets in an order that no hash seed decides."""
    inner = [_code(c) if hasattr(c, "co_code") else sorted(map(repr, c)) if isinstance(c, frozenset) else c for c in code.co_consts]
    return code.co_code, inner, code.co_names


def _refuse(name: str, found: object, expected: str, hint: str | None = None) -> None:
    raise InputError(f"the plan's {name} cannot be used", where=f"Plan.{name}", found=repr(found)[:120], expected=expected, hint=hint)


Convert = Callable[[str, Any], Any]


def _whole(low: int, high: int = 2**31) -> Convert:
    def convert(name: str, value: Any) -> int:
        try:
            number = -1 if isinstance(value, bool) else operator.index(value)
        except TypeError:
            number = -1
        if not low <= number <= high:
            _refuse(name, value, f"a whole number from {low} to {high}")
        return number

    return convert


def _number(accept: Callable[[float], bool], expected: str, optional: bool = False) -> Convert:
    def convert(name: str, value: Any) -> float | None:
        if optional and value is None:
            return None
        number = math.nan
        if not isinstance(value, bool | str):
            try:
                number = float(value)
            except (TypeError, ValueError, OverflowError):
                pass
        if not (math.isfinite(number) and accept(number)):
            _refuse(name, value, f"{expected}, or None" if optional else expected)
        return number

    return convert


def _word(*choices: str) -> Convert:
    def convert(name: str, value: Any) -> str:
        if not (isinstance(value, str) and value in choices):
            _refuse(name, value, " or ".join(f'"{c}"' for c in choices))
        return value

    return convert


def _called(optional: bool) -> Convert:
    def convert(name: str, value: Any) -> Any:
        if isinstance(value, type):
            _refuse(name, value, f"an object: {value.__name__}(...)")
        if not (callable(value) or (optional and value is None)):
            _refuse(name, value, f"an object of certify.train.{'penalties, or None' if optional else 'losses'}")
        return value

    return convert


def _augment(name: str, value: Any) -> str | None:
    kind, _, pixels = value.partition(":") if isinstance(value, str) else ("", "", "")
    if value is not None and not (kind in AUGMENTATIONS and pixels.isdecimal() and len(pixels) < 4):
        _refuse(name, value, 'None, "shift:N" or "flip_crop:N", N pixels')
    return value


def _validation(name: str, value: Any) -> int | float:
    if isinstance(value, float) or (hasattr(value, "dtype") and value.dtype.kind == "f"):
        return _number(lambda v: 0 <= v < 1, "a count, or a share from 0 up to 1")(name, value)
    return _whole(0)(name, value)


def _radii(name: str, value: Any) -> tuple[float, ...]:
    try:
        return tuple(_number(lambda v: v > 0, "positive numbers")(name, v) for v in _listed(value))
    except TypeError:
        _refuse(name, value, "a list of positive numbers")
        raise


def _listed(value: Any) -> Any:
    if isinstance(value, str | dict):
        raise TypeError("text and tables can be iterated, and are no lists")
    return value


def _flag(name: str, value: Any) -> bool:
    if value is not True and value is not False:
        _refuse(name, value, "True or False")
    return value


def _folder(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str | os.PathLike):
        _refuse(name, value, "the name of a folder, or None")
    return None if value is None else os.fspath(value)


_share = _number(lambda v: 0 <= v <= 1, "a number from 0 to 1")
_CONVERT: dict[str, Convert] = {
    "epochs": _whole(1, 10**6), "batch_size": _whole(1), "loss": _called(False), "penalty": _called(True), "optimizer": _word(*OPTIMIZERS),
    "learning_rate": _number(lambda v: v > 0, "a positive number"), "weight_decay": _number(lambda v: v >= 0, "a number from 0"),
    "momentum": _number(lambda v: 0 <= v < 1, "a number from 0 up to 1"), "clip_norm": _number(lambda v: v > 0, "a positive number", True), "schedule": _word(*SCHEDULES),
    "warmup": _number(lambda v: 0 <= v <= 1, "a number from 0 to 1", True), "epsilon": _number(lambda v: v > 0, "a positive number", True),
    "epsilon_schedule": _word(*EPSILON_SCHEDULES), "epsilon_start": _number(lambda v: v > 0, "a positive number"), "epsilon_fraction": _share, "augment": _augment,
    "validation": _validation, "precision": _word(*PRECISIONS), "pairs": _word(*PAIRS), "norm": _word(*NORMS), "radii": _radii,
    "average": _number(lambda v: 0 <= v < 1, "a number from 0 up to 1"), "seed": _whole(0, 2**63 - 1), "threads": _whole(1, 4096), "device": _word(*DEVICES),
    "attack": _flag, "out": _folder, "checkpoint_every": _whole(1, 10**6),
}  # fmt: skip
