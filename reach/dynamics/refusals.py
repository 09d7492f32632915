"""What a plant must not contain, by name and with the reason."""

from __future__ import annotations

import sympy as sp

from certify.core.errors import InputError

_CORNERS = "it has corners or jumps, so that the mean value theorem behind the enclosure does not hold"
_COMPLEX = "plants are real"
_NO_RULE = "asin acos arcsin arccos asinh acosh atanh atan2 acot asec acsc coth sech csch erf gamma LambertW"
_GROUPS = {
    "Abs abs fabs Max max Min min sign sgn relu Heaviside Piecewise DiracDelta clip sat where floor ceiling ceil round Mod mod frac ITE": _CORNERS,
    "I ImaginaryUnit re im conjugate arg": _COMPLEX,
    "Equality Unequality LessThan GreaterThan StrictLessThan StrictGreaterThan And Or Not BooleanTrue BooleanFalse": "a truth value is no number",
    "Derivative Integral Sum Product Limit Subs": "it is not evaluated; evaluate it with .doit() first",
    _NO_RULE: "there is no rule for it yet",
}
_REASONS = {name: reason for names, reason in _GROUPS.items() for name in names.split()}


def refuse_head(name: str, where: str) -> None:
    """InputError if `name` is a function or object that a plant must not contain; nothing otherwise."""
    if name in _REASONS:
        hint = "a controller may have corners: move it there, or use a smooth formula" if _REASONS[name] == _CORNERS else None
        raise InputError(f"{name} cannot be part of a plant: {_REASONS[name]}", where=where, found=name, hint=hint)


def refuse_value(value: object, where: str, text: object = None) -> None:
    """InputError if an expression came out undefined, infinite or complex; `text` is what was written, the value itself if None."""
    what = None
    if not isinstance(value, sp.Expr):
        what = "a formula is not a number"
    elif value.has(sp.zoo, sp.oo, -sp.oo, sp.nan):
        what = "a formula divides by zero, or is infinite or undefined"
    elif value.has(sp.I):
        what = f"a formula is complex: {_COMPLEX}"
    if what is not None:
        raise InputError(what, where=where, found=str(value if text is None else text)[:80])
