"""Constant folding: the nodes of an ONNX file whose inputs are all known, above all the little shape computations of exporters.

Only exact results: data movement, integers, and float arithmetic without rounding. A float computation that would round gives
None, and then becomes nodes of the graph.
"""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np

from ...core.errors import CertifyError
from ..onnx_values import Call, Const, has_batch
from .registry import FOLDS

for _info in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_info.name}")

_INT64 = 1 << 63


def fold(call: Call) -> list[Const] | None:
    """The outputs of a call whose inputs are all constants, or None when it has to become nodes.

    Raises:
        InputError, UnsupportedLayerError: the inputs do not fit the operator.
    """
    function = FOLDS.get(call.op)
    if function is None or not all(isinstance(v, Const) for v in call.inputs if v is not None) or not call.inputs:
        return None
    arrays = [v.array for v in call.inputs if isinstance(v, Const)]
    try:
        result = function(call, arrays)
    except CertifyError:
        raise
    except TypeError as error:  # arithmetic with the symbolic batch
        raise call.unsupported(
            "a shape is computed from the size of the batch", found=str(error), hint="export with a fixed batch of 1, or keep the batch as the first axis"
        ) from error
    except (ValueError, IndexError, OverflowError, ZeroDivisionError) as error:
        raise call.invalid("constant inputs that do not fit the operator", found=str(error)[:200]) from error
    if result is None:
        return None
    return [Const(_checked(call, a)) for a in (result if isinstance(result, list) else [result])]


def _checked(call: Call, array: np.ndarray) -> np.ndarray:
    if array.dtype == object and not has_batch(array.ravel()):
        if any(not -_INT64 <= v < _INT64 for v in array.ravel()):
            raise call.invalid("an integer constant overflows", found=array.shape)
        return array.astype(np.int64)
    return array
