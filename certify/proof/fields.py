"""Reading untrusted JSON: every value is asked for by type and range, and what does not fit is refused by its place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.errors import CertificateError

_MISSING = object()


def refuse(what: str, where: str, found: Any = None, expected: Any = None, hint: str | None = None) -> CertificateError:
    """A CertificateError whose `found` is shortened: a hostile value may be long or deep."""
    return CertificateError(what, where=where, found=None if found is None else brief(found), expected=expected, hint=hint)


def brief(value: Any) -> str:
    """At most 120 characters of any JSON value, never more work than that."""
    if isinstance(value, str):
        return repr(value if len(value) <= 100 else value[:100] + "...")
    if isinstance(value, dict | list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return f"integer of {value.bit_length()} bits"
    return repr(value)[:120]


def member(obj: dict, key: str, where: str) -> Any:
    value = obj.get(key, _MISSING)
    if value is _MISSING:
        raise refuse("a certificate lacks a field", f"{where}.{key}")
    return value


def mapping(value: Any, where: str) -> dict:
    if not isinstance(value, dict):
        raise refuse("a field of a certificate has the wrong type", where, value, "an object")
    return value


def items(value: Any, where: str, most: int = 100_000) -> list:
    """A list (or tuple, before writing) of at most `most` entries."""
    if not isinstance(value, list | tuple):
        raise refuse("a field of a certificate has the wrong type", where, value, "a list")
    if len(value) > most:
        raise refuse("a list in a certificate is too long", where, len(value), f"at most {most}")
    return list(value)


def text(value: Any, where: str, choices: tuple[str, ...] | None = None) -> str:
    if not isinstance(value, str):
        raise refuse("a field of a certificate has the wrong type", where, value, "text")
    if choices is not None and value not in choices:
        raise refuse("a field of a certificate has an unknown value", where, value, " or ".join(map(repr, choices)))
    return value


def number(value: Any, where: str) -> float:
    """A finite float >= 0; NaN, infinities, negative numbers, booleans and integers beyond 2^53 are refused."""
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > 1 << 53):
        raise refuse("a field of a certificate is not a number", where, value, "a finite number >= 0")
    result = float(value)
    if not (math.isfinite(result) and result >= 0):
        raise refuse("a number of a certificate is negative or not finite", where, value, "a finite number >= 0")
    return result


def integers(value: Any, where: str, least: int, most: int) -> list[int]:
    """A list of plain integers in [least, most]."""
    result = items(value, where, 64)
    for entry in result:
        if isinstance(entry, bool) or not isinstance(entry, int) or not least <= entry <= most:
            raise refuse("a field of a certificate is not a list of integers in range", where, entry, f"integers in [{least}, {most}]")
    return result


def texts(value: Any, where: str) -> list[str]:
    return [text(entry, f"{where}[{i}]") for i, entry in enumerate(items(value, where))]


def array(arrays: dict[str, np.ndarray], name: str, dtypes: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The array of that name with one of the dtypes and exactly this shape."""
    if name not in arrays:
        raise refuse("a certificate lacks an array", f"arrays/{name}")
    value = arrays[name]
    if value.dtype.name not in dtypes or value.shape != shape:
        raise refuse("an array of a certificate has the wrong dtype or shape", f"arrays/{name}", f"{value.dtype} {value.shape}", f"{' or '.join(dtypes)} {shape}")
    return value
