"""Reading untrusted JSON and arrays: every value is asked for by type and range; what does not fit is refused by its place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from certify.core.errors import CertificateError


def refuse(what: str, where: str, found: Any = None, expected: Any = None, hint: str | None = None) -> CertificateError:
    """A CertificateError whose `found` is short, whatever a hostile file holds."""
    return CertificateError(what, where=where, found=None if found is None else brief(found), expected=expected, hint=hint)


def brief(value: Any) -> str:
    """At most 120 characters of any JSON value, without walking through it."""
    if isinstance(value, str):
        return repr(value[:100])
    if isinstance(value, dict | list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"integer of {value.bit_length()} bits"
    return repr(value)[:120]


def member(obj: Any, key: str, where: str) -> Any:
    """obj[key] of an object."""
    if not isinstance(obj, dict):
        raise refuse("a field of a certificate has the wrong type", where, obj, "an object")
    if key not in obj:
        raise refuse("a certificate lacks a field", f"{where}.{key}")
    return obj[key]


def only(obj: dict, keys: tuple[str, ...], where: str) -> None:
    """No other keys."""
    if not set(obj) <= set(keys):
        raise refuse("a certificate has an unknown field", where, sorted(map(str, set(obj) - set(keys)))[0], ", ".join(keys))


def items(value: Any, where: str, most: int, count: int | None = None) -> list:
    """A list of at most `most` entries, exactly `count` if that is given."""
    if not isinstance(value, list):
        raise refuse("a field of a certificate has the wrong type", where, value, "a list")
    if len(value) > most or (count is not None and len(value) != count):
        raise refuse("a list in a certificate has the wrong length", where, len(value), count if count is not None else f"at most {most}")
    return value


def text(value: Any, where: str, choices: tuple[str, ...] | None = None) -> str:
    """Text, one of `choices` if they are given."""
    if not isinstance(value, str):
        raise refuse("a field of a certificate has the wrong type", where, value, "text")
    if choices is not None and value not in choices:
        raise refuse("a field of a certificate has an unknown value", where, value, " or ".join(map(repr, choices)))
    return value


def number(value: Any, where: str) -> float:
    """A finite float."""
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > 1 << 53) or not math.isfinite(value):
        raise refuse("a field of a certificate is not a finite number", where, value)
    return float(value)


def whole(value: Any, where: str, least: int, most: int) -> int:
    """An integer in [least, most]."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise refuse("a field of a certificate is not a whole number in range", where, value, f"{least} to {most}")
    return value


def flat(arrays: dict[str, np.ndarray], name: str, dtype: str, size: int, positive: bool = False) -> np.ndarray:
    """The one-dimensional array of that name, dtype and size: finite, and nonnegative if asked."""
    if name not in arrays:
        raise refuse("a certificate lacks an array", f"arrays/{name}")
    a = arrays[name]
    if a.dtype.name != dtype or a.shape != (size,):
        raise refuse("an array of a certificate has the wrong dtype or shape", f"arrays/{name}", f"{a.dtype} {a.shape}", f"{dtype} ({size},)")
    if dtype == "float64" and not np.isfinite(a).all():
        raise refuse("an array of a certificate is not finite", f"arrays/{name}, index {int(np.argmin(np.isfinite(a)))}")
    if positive and not (a >= 0).all():
        raise refuse("an array of a certificate has a negative number", f"arrays/{name}, index {int(np.argmin(a >= 0))}")
    return a
