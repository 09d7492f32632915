"""Probes of the arithmetic itself: IEEE 754 binary64, round to nearest, gradual underflow. Imported through `core.rounding`."""

from __future__ import annotations

import functools

import numpy as np

from .errors import SoundnessError
from .scalar import ETA, U

_NORMAL, _NEXT, _ONES, _TICKS = np.full(16, 2.0**-1022), np.full(16, 2.0**-1022 + ETA), np.ones(16), np.full(16, U)


def _scalar_probe() -> bool:
    """Gradual underflow and round to nearest in this thread, in numpy scalars and in vectorised loops (numpy, not Python: nothing is folded)."""
    return bool(
        _NORMAL[0] * np.float64(0.5) == 2.0**-1023
        and ((_NORMAL * 0.5) == 2.0**-1023).all()
        and ((_NEXT - _NORMAL) * 1.0 == _NEXT - _NORMAL).all()
        and (_NEXT - _NORMAL).view(np.int64).all()  # the bits: with denormals read as zero a comparison would lie
        and (_ONES + _TICKS == 1.0).all()
        and (_ONES + 1.5 * _TICKS == 1.0 + 2 * U).all()
        and (-_ONES - _TICKS == -1.0).all()
    )


@functools.cache
def _matmul_probe() -> bool:
    """The same in a product large enough that the BLAS uses its threads."""
    n = 256
    eye = np.eye(n)
    flush = (0.5 * eye) @ np.full((n, n), 2.0**-1022)
    ties = np.concatenate([eye, U * eye], axis=1) @ np.ones((2 * n, n))  # each entry 1 + u: the even neighbour is 1
    ones = np.concatenate([eye, 1.5 * U * eye], axis=1) @ np.ones((2 * n, n))
    low = np.concatenate([-eye, -U * eye], axis=1) @ np.ones((2 * n, n))
    return bool((flush == 2.0**-1023).all() and (ties == 1.0).all() and (ones == 1.0 + 2 * U).all() and (low == -1.0).all())


def require_ieee() -> None:
    """Refuse to prove anything under flush-to-zero, denormals-as-zero or a directed rounding mode.

    Called at the start of a proof. This thread is probed on every call (microseconds: `torch.set_flush_denormal` may come at any
    time), the threads of the matrix product once per process.

    Raises:
        SoundnessError: a probe found arithmetic that is not IEEE 754 round to nearest with gradual underflow.
    """
    if not (_scalar_probe() and _matmul_probe()):
        raise SoundnessError(
            "the arithmetic of this process is not IEEE 754 binary64: subnormal numbers are flushed or the rounding mode was changed",
            hint="look for torch.set_flush_denormal(True), libraries built with -ffast-math, or a changed rounding mode",
        )
