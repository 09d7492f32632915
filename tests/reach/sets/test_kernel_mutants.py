"""Broken kernels, one line of the source changed: none passes the checks that the kernels pass."""

from __future__ import annotations

import inspect
import textwrap

import numpy as np
import pytest
from strategies.kernel_cases import HORNER, hard_cases, hard_horner, hard_ranges, point_of
from truth.polynomials import horner_holds, multiply_holds, range_holds

from reach.sets import kernels
from reach.sets.ring import Ring, ring


def mutant(name: str, old: str, new: str):
    """The kernel with one piece of its source changed, as plain Python."""
    source = textwrap.dedent(inspect.getsource(getattr(kernels, name).py_func)).replace("@jit\n", "")
    assert old in source, f"{name} has no {old!r} any more: rewrite this mutant"
    space = {"np": np, "U": kernels.U, "TINY": kernels.TINY, "multiply": kernels.multiply.py_func, "poly_range": kernels.poly_range.py_func}
    space["truncated"] = lambda a, b, *rest: space["multiply"](a, 0.0, b, 0.0, *rest)
    exec(compile(source.replace(old, new), f"<mutant of {name}>", "exec"), space)
    return space[name]


MULTIPLY = [
    ("(size + 4) * U * (na * nb)", "0.0"),
    ("(size + 4) * U * (na * nb)", "1e-15 * (na * nb)"),  # enough for M <= 9 only
    ("(size + 4) * U * (na * nb)", "(size + 4) * U * na * nb"),  # underflows before it meets a huge operand: Hypothesis found it in our own kernel
    ("(size + 4) * U", "(0.5 * size) * U"),
    ("dropped += da[i] * tail", "dropped += 0.0"),
    ("tail += db", "tail = db"),
    ("range(1, order + 1)", "range(1, order)"),
    ("na * rb + ", ""),
    ("nb * ra + ", ""),
    ("ra * rb + ", ""),
    ("end[order - degree[i]]", "end[order - degree[i]] - 1"),
    ("* (1 + 4e-16 * (size + 8))", ""),
    (" + TINY", ""),
    ("da[degree[i]] += abs(a[i])", "da[degree[i]] += a[i]"),
]


@pytest.mark.parametrize(("old", "new"), MULTIPLY)
def test_broken_products_are_caught(old: str, new: str):
    broken = mutant("multiply", old, new)
    with np.errstate(all="ignore"):
        assert any(not multiply_holds(broken, *case) for case in hard_cases()), f"{old} -> {new}"


def test_the_unbroken_source_passes():
    """The control of the mutants: plain Python without a change."""
    plain = mutant("multiply", "U", "U")
    assert all(multiply_holds(plain, *case) for case in hard_cases())
    assert all(range_holds(mutant("poly_range", "U", "U"), *case) for case in hard_ranges())
    assert all(horner_holds(HORNER[name](mutant(name, "U", "U")), *case) for name in HORNER for case in hard_horner())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(len(c) + 4) * U * s", "0.0"),
        ("(len(c) + 4) * U * s", "1e-15 * s"),
        ("if even[i]:", "if True:"),
        ("lo += min(v, 0.0)", "lo += 0.0"),
        ("hi += max(v, 0.0)", "hi += min(v, 0.0)"),
        ("hi += abs(v)", "hi += v"),
        ("lo -= abs(v)", "lo -= v"),
        ("s += abs(v)", "s = abs(v)"),
    ],
)
def test_broken_ranges_are_caught(old: str, new: str):
    broken = mutant("poly_range", old, new)
    assert any(not range_holds(broken, *case) for case in hard_ranges()), f"{old} -> {new}"


@pytest.mark.parametrize("column", [0, 1])
def test_a_wrong_time_variable_is_caught(column: int):
    """`even` flags that take another variable for tau, or every variable: each gives a range that is too small."""
    good = ring(2, 3, True)
    wrong = Ring(2, 3, True)
    symmetric = np.delete(good.exponents, column, axis=1)[:, column:]  # column 0: only tau counts as symmetric; 1: none does
    flags = (symmetric % 2 == 0).all(axis=1) & (good.degree > 0) if column == 0 else good.degree > 0
    object.__setattr__(wrong, "even", flags)
    cases = [(row, point_of(good, sign)) for row in np.eye(good.size) for sign in (-1, 1)]
    assert all(range_holds(kernels.poly_range, good, *case) for case in cases)
    assert any(not range_holds(kernels.poly_range, wrong, *case) for case in cases)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("horner", "multiply(h, e, X[q], rX[q],", "multiply(h, e, X[q], 0.0,"),
        ("horner", "multiply(h, e, X[q], rX[q],", "multiply(h, 0.0, X[q], rX[q],"),
        ("horner_bounded", "e * largest", "e"),
        ("horner_bounded", "e * largest + ", ""),
        ("horner_bounded", "+ rX[q]) * (1 + 4e-16)", ")"),
        ("horner_bounded", "max(abs(lo), abs(hi)) * rX[q] + ", ""),
        ("horner_bounded", " + dropped", ""),
    ]
    + [
        (name, *change)
        for name in HORNER
        for change in (
            ("abs(C[q, d]) * rX[q] + ", ""),
            ("2 * U * (s + abs(C[q, d - 1]))", "0.0"),
            ("e = (e + U * abs(h[0])) * (1 + 1e-15)", "pass"),
            (" + TINY", ""),
        )
    ],
)
def test_broken_compositions_are_caught(name: str, old: str, new: str):
    broken = HORNER[name](mutant(name, old, new))
    assert any(not horner_holds(broken, *case) for case in hard_horner()), f"{old} -> {new}"
