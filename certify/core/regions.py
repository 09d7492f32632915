"""Box and Ball: the input regions of claims, shared by both packages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InputError

NORMS = ("l2", "linf", "l1")


def require_norm(norm: str) -> str:
    """`norm` if it is one of l2, linf, l1; InputError otherwise."""
    if norm not in NORMS:
        raise InputError("unknown norm", where="argument norm", found=repr(norm), expected=" or ".join(map(repr, NORMS)))
    return norm


def _vector(value, name: str) -> np.ndarray:
    array = np.array(value, dtype=np.float64)
    if np.isnan(array).any():
        raise InputError("a region has a NaN", where=name)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Box:
    """The set {x : lower <= x <= upper}, entrywise; arrays of one shape, float64. Infinite ends are legal, NaN and inverted ends are not.

    >>> Box([0, 0], [1, 2]).contains([0.5, 2.0])
    True
    """

    lower: np.ndarray
    upper: np.ndarray

    def __post_init__(self):
        lower, upper = _vector(self.lower, "lower"), _vector(self.upper, "upper")
        if lower.shape != upper.shape:
            raise InputError("the ends of a box have different shapes", where="Box", found=f"{lower.shape} and {upper.shape}")
        if not (lower <= upper).all():
            raise InputError("a box is inverted", where=f"Box, flat index {int(np.argmax(~(lower <= upper).ravel()))}", expected="lower <= upper everywhere")
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    def contains(self, point) -> bool:
        point = np.asarray(point, dtype=np.float64)
        return bool(point.shape == self.lower.shape and (self.lower <= point).all() and (point <= self.upper).all())


@dataclass(frozen=True, eq=False)
class Ball:
    """The closed ball {x : |x - center|_norm <= radius}, in the units of the model's input."""

    center: np.ndarray
    radius: float
    norm: str = "l2"

    def __post_init__(self):
        require_norm(self.norm)
        center, radius = _vector(self.center, "center"), float(self.radius)
        if not (np.isfinite(center).all() and np.isfinite(radius) and radius >= 0):
            raise InputError("a ball needs a finite center and a finite radius >= 0", where="Ball", found=self.radius)
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "radius", radius)
