"""Random formulas as small trees: as text for the library, and evaluated in ball arithmetic (arb) for the truth."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

NAMES = ("x", "y", "z")
Tree = tuple[Any, ...]

_TAME = ("sin", "cos", "tanh", "atan", "exp", "sinh", "cosh", "sigmoid")


def decimals() -> st.SearchStrategy[Tree]:
    """Decimal literals, most of them no floats."""
    return st.builds(lambda n, digits: ("number", f"{n}e-{digits}" if digits == 4 else f"{n / 10**digits:.{digits}f}"), st.integers(0, 9999), st.integers(0, 4))


def trees(names: tuple[str, ...] = NAMES, depth: int = 4) -> st.SearchStrategy[Tree]:
    """Formulas that are defined everywhere: a divisor, a logarithm and a root get an argument above zero."""
    leaves = st.one_of(st.sampled_from(names).map(lambda n: ("name", n)), decimals(), st.sampled_from([("constant", "pi"), ("constant", "E")]))

    def grow(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        return st.one_of(
            st.tuples(st.sampled_from(["+", "-", "*"]), inner, inner),
            st.tuples(st.just("**"), inner, st.integers(1, 6)),
            st.tuples(st.sampled_from(_TAME), st.one_of(inner.map(lambda t: ("sin", t)), st.sampled_from(names).map(lambda n: ("name", n)))),
            st.tuples(st.sampled_from(["log", "sqrt", "inverse", "p32", "m12", "third"]), inner),
            st.tuples(st.sampled_from(["sin", "cos", "atan", "tanh"]), inner),
        )

    return st.recursive(leaves, grow, max_leaves=2**depth)


def text(t: Tree) -> str:
    """The formula as the library reads it."""
    kind = t[0]
    if kind in ("number", "name", "constant"):
        return t[1]
    if kind in ("+", "-", "*"):
        return f"({text(t[1])} {kind} {text(t[2])})"
    if kind == "**":
        return f"({text(t[1])})**{t[2]}"
    positive = f"(0.7 + ({text(t[1])})**2)"
    powers = {"p32": "(3/2)", "m12": "(-0.5)", "third": "(1/3)", "inverse": "-1"}
    if kind in powers:
        return f"{positive}**{powers[kind]}"
    return f"{kind}{positive}" if kind in ("log", "sqrt") else f"{kind}({text(t[1])})"


def ball(t: Tree, point: dict[str, Fraction]) -> Any:
    """The value in arb at the current precision: a ball that contains it. Needs python-flint."""
    from flint import arb, fmpq

    kind = t[0]
    if kind == "number":
        f = Fraction(t[1])
        return arb(fmpq(f.numerator, f.denominator))
    if kind == "name":
        return arb(fmpq(point[t[1]].numerator, point[t[1]].denominator))
    if kind == "constant":
        return arb.pi() if t[1] == "pi" else arb(1).exp()
    x = ball(t[1], point)
    if kind in ("+", "-", "*"):
        y = ball(t[2], point)
        return x + y if kind == "+" else x - y if kind == "-" else x * y
    if kind == "**":
        return x ** t[2]
    if kind in _TAME:
        return 1 / (1 + (-x).exp()) if kind == "sigmoid" else getattr(x, kind)()
    p = arb(fmpq(7, 10)) + x * x
    powers = {"inverse": fmpq(-1), "sqrt": fmpq(1, 2), "p32": fmpq(3, 2), "m12": fmpq(-1, 2), "third": fmpq(1, 3)}
    return p.log() if kind == "log" else p ** arb(powers[kind])


def outside(truth: Any, lower: float, upper: float) -> bool:
    """Whether a ball is certainly outside [lower, upper]; NaN counts as outside."""
    from flint import arb

    return bool(truth < arb(lower)) or bool(truth > arb(upper)) or not truth.is_finite()
