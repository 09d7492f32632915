"""Inputs and labels: what is taken, and that everything else is refused with the place of the mistake."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from certify.core.errors import InputError
from certify.robustness.data import as_numpy, checked_inputs, checked_labels


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_stored_dtypes_stay(dtype):
    assert checked_inputs(np.ones((2, 3), dtype), (3,)).dtype == dtype


@pytest.mark.parametrize("value", [np.ones((2, 3), np.int64), np.ones((2, 3), np.float16), np.ones((2, 3), bool), [[1, 2, 3]], np.ones((2, 3), ">f8")])
def test_others_become_float64(value):
    out = checked_inputs(value, (3,))
    assert out.dtype == np.float64 and (out == np.asarray(value)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8])
def test_tensors_keep_their_values(dtype):
    t = torch.arange(6).reshape(2, 3).to(dtype).requires_grad_(dtype.is_floating_point)
    assert (checked_inputs(t, (3,)) == np.arange(6).reshape(2, 3)).all()


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (np.ones(3), "inputs[None]"),
        (np.ones((2, 4)), "(2, 4)"),
        (np.ones((0, 3)), "no inputs"),
        (np.float64(3.0), "single number"),
        (np.array([[0, 1, np.nan]]), "inputs[0, 2]"),
        (np.array([[0, np.inf, 1]], np.float32), "inputs[0, 1]"),
        (np.ones((2, 3), complex), "complex"),
        (np.ones((2, 3), np.longdouble), "longdouble" if np.dtype(np.longdouble).itemsize == 8 else "float128"),
        (np.full((1, 3), 2**53 + 1), "cannot represent"),
        ([["a", "b", "c"]], "dtype"),
        ([[1, 2], [3]], "array"),
        (np.array([[object()] * 3]), "object"),
    ],
)
def test_bad_inputs_are_refused_by_name(value, word):
    with pytest.raises(InputError, match="(?s).*" + word.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[").replace("]", r"\]")):
        checked_inputs(value, (3,))


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ([0, 3], r"labels\[1\]"),
        ([0, -1], r"labels\[1\]"),
        ([0], "match"),
        ([[1, 0], [0, 1]], "argmax"),
        ([0.0, 1.0], "integers"),
        ([True, False], "integers"),
        (np.array([0, 2**64 - 1], dtype=np.uint64), "range"),
    ],
)
def test_bad_labels_are_refused_by_name(value, word):
    with pytest.raises(InputError, match=word):
        checked_labels(value, 2, 3)


def test_good_labels():
    for value in ([0, 2], np.array([0, 2], np.uint8), torch.tensor([0, 2])):
        out = checked_labels(value, 2, 3)
        assert out.dtype == np.int64 and out.tolist() == [0, 2]


def test_as_numpy_names_the_argument():
    with pytest.raises(InputError, match="argument labels"):
        as_numpy(np.ones(2, complex), "labels")


def test_masked_sparse_and_meta_arrays_are_refused():
    """Their numpy form would be hidden entries, or a foreign TypeError."""
    for value in (np.ma.masked_array(np.ones((2, 3)), True), torch.ones(2, 3).to_sparse(), torch.ones(2, 3, device="meta")):
        with pytest.raises(InputError, match="argument inputs"):
            checked_inputs(value, (3,))
