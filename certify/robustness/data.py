"""What a user hands in as inputs and labels, checked before anything is computed with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.rounding import exact_float64


def as_numpy(value: Any, name: str) -> np.ndarray:
    """A numpy array of a numpy array, torch tensor (any device; half precision is widened exactly) or nested list; torch is not imported."""
    if np.ma.is_masked(value):
        raise InputError("the array is masked: some entries are missing", where=f"argument {name}", found="numpy masked array", hint="fill or drop them first")
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        if str(value.layout) != "torch.strided" or value.is_meta or value.is_quantized:
            found = f"{value.dtype}, {value.layout}, device {value.device}"
            raise InputError("the tensor is sparse, quantised or has no values", where=f"argument {name}", found=found, expected="a dense tensor", hint="use to_dense()")
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) in ("torch.bfloat16", "torch.float16") else value
        value = value.numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError("the argument is not an array", where=f"argument {name}", found=str(error)) from error
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise InputError(
            "the numbers have a type that cannot be used",
            where=f"argument {name}",
            found=f"dtype {array.dtype}",
            expected="float32, float64 or integers",
            hint="real numbers that float64 holds exactly; convert first",
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def checked_inputs(inputs: Any, shape: tuple[int, ...] | None) -> np.ndarray:
    """Inputs as (n, *shape): uint8 and float32 as they are, everything else as float64. With `shape` None the shape is not checked.

    Raises:
        InputError: another shape, no inputs, NaN or infinity (with the place), integers that float64 cannot hold.
    """
    array = as_numpy(inputs, "inputs")
    if array.ndim == 0:
        raise InputError("the inputs are a single number", where="argument inputs", expected="an array of shape (n, *input_shape)")
    if shape is not None and array.shape[1:] != tuple(shape):
        hint = (
            "add the batch axis: inputs[None]"
            if array.shape == tuple(shape)
            else "the first axis counts the inputs; the rest must be the model's input shape, channels before rows and columns"
        )
        raise InputError(
            "the inputs do not have the model's input shape", where="argument inputs", found=f"{array.shape}", expected=f"(n, {', '.join(map(str, shape))})", hint=hint
        )
    if array.size == 0:
        raise InputError("there are no inputs", where="argument inputs", found=f"shape {array.shape}", expected="at least one input")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.unravel_index(int(np.argmin(np.isfinite(array).ravel())), array.shape)
        raise InputError(
            "an input is not finite", where=f"inputs[{', '.join(str(int(i)) for i in bad)}]", found=array[bad], expected="finite numbers", hint="remove or repair this input"
        )
    keep = array.dtype in (np.uint8, np.float32)
    return np.ascontiguousarray(array if keep else exact_float64(array, "argument inputs"))


def checked_labels(labels: Any, count: int, classes: int) -> np.ndarray:
    """Labels as (n,) int64 in 0..classes-1.

    Raises:
        InputError: not integers, another count than inputs, out of range (with the place).
    """
    array = as_numpy(labels, "labels")
    if array.dtype.kind not in "iu":
        raise InputError("the labels are not integers", where="argument labels", found=f"dtype {array.dtype}", expected="integers, the index of the right class")
    if array.shape != (count,):
        hint = "one-hot labels? use labels.argmax(axis=1)" if array.ndim == 2 else "one label per input"
        raise InputError("labels and inputs do not match", where="argument labels", found=f"shape {array.shape}", expected=f"({count},)", hint=hint)
    wrong = ~((array >= 0) & (array < classes))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise InputError(
            "a label is out of range", where=f"labels[{i}]", found=int(array[i]), expected=f"0 to {classes - 1}: the model has {classes} outputs", hint="labels count from zero"
        )
    return array.astype(np.int64)
