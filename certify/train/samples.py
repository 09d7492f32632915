"""The data of a training run: checked, split and moved to a device; and the seeds that everything random comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import InputError
from ..core.record import digest_array
from ..robustness.data import checked_inputs, checked_labels
from .plan import Plan

_SHAPE = "((x_train, y_train), (x_test, y_test))"


def derived_seed(*parts: object) -> int:
    """A seed for one purpose, from the plan's seed and the purpose: no stream of random numbers depends on how far another one was read.

    >>> derived_seed(0, "order", 1) == derived_seed(0, "order", 1) != derived_seed(0, "order", 2)
    True
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs (n, *shape) in the model's dtype and labels (n,) int64, on one device."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: Any, dtype: torch.dtype) -> Samples:
        return Samples(self.inputs.to(device, dtype), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Halves:
    """Training and test data as numpy arrays, as they were given."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.train[0].shape[1:]

    def digests(self) -> dict[str, str]:
        """SHA-256 of each array: with the plan and the model, the identity of a run. Cost: half a second per gigabyte."""
        arrays = {"x_train": self.train[0], "y_train": self.train[1], "x_test": self.test[0], "y_test": self.test[1]}
        return {name: digest_array(array) for name, array in arrays.items()}

    def split(self, plan: Plan) -> tuple[Samples, Samples | None]:
        """The training samples without and the validation samples with those that the plan keeps apart, drawn by its seed.

        Raises:
            InputError: nothing would be left to train on.
        """
        inputs, labels = (torch.from_numpy(a if a.flags.writeable else a.copy()) for a in self.train)
        count = plan.validation if isinstance(plan.validation, int) else round(plan.validation * len(labels))
        if count >= len(labels):
            raise InputError("the validation split leaves nothing to train on", where="Plan.validation", found=f"{count} of {len(labels)} inputs", expected="fewer")
        if count == 0:
            return Samples(inputs, labels), None
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(derived_seed(plan.seed, "validation")))
        kept, apart = order[count:].sort().values, order[:count].sort().values
        return Samples(inputs[kept], labels[kept]), Samples(inputs[apart], labels[apart])


def halves(data: Any, classes_of: Callable[[tuple[int, ...]], int]) -> Halves:
    """`data` as checked arrays.

    Args:
        data: ((x_train, y_train), (x_test, y_test)): tensors, arrays or lists; inputs (n, *input_shape) in the units of the model's input.
        classes_of: how many classes there are, given the input shape; labels are 0 .. classes - 1.
    Raises:
        InputError: another structure, no inputs, NaN or infinity, labels that do not fit; names the half and the place. Whatever classes_of raises.
    """
    try:
        (x_train, y_train), (x_test, y_test) = data
    except (TypeError, ValueError) as error:
        expected = "((x_train, y_train), (x_test, y_test))"
        raise InputError("the data are not two pairs of inputs and labels", where="argument data", found=type(data).__name__, expected=expected) from error
    train = _named("train", lambda: checked_inputs(x_train, None))
    test = _named("test", lambda: checked_inputs(x_test, train.shape[1:]))
    classes = classes_of(train.shape[1:])
    marks = _named("train", lambda: checked_labels(y_train, len(train), classes)), _named("test", lambda: checked_labels(y_test, len(test), classes))
    return Halves((train, marks[0]), (test, marks[1]))


def _named(half: str, check: Callable[[], np.ndarray]) -> np.ndarray:
    """What `check` returns; its errors say which half of the data they are about."""
    try:
        return check()
    except InputError as error:
        where = f"data, {half} half: {error.where}"
        raise InputError(error.what, where=where, found=error.found, expected=error.expected, hint=error.hint) from None
