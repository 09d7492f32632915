"""Every set, found by itself: exact members lie in its box, below its support and, mapped exactly, in its affine images."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.sets import BUILD, numbers

import reach.sets
from certify.core.errors import InputError
from certify.core.regions import Box
from reach.errors import ReachError
from reach.sets.base import Set
from reach.sets.zonotope import Zonotope

SEEDS = st.integers(0, 2**32 - 1)
CONTRACT = ("dimension", "box", "support", "sample", "affine")


def implementations() -> dict[str, type]:
    """Every class of the package that has all verbs of the contract."""
    found = {}
    for info in pkgutil.iter_modules(reach.sets.__path__):
        module = importlib.import_module(f"reach.sets.{info.name}")
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if cls.__module__ == module.__name__ and cls is not Set and all(hasattr(cls, verb) for verb in CONTRACT):
                found[name] = cls
    return found


def test_every_set_has_a_strategy():
    found = implementations()
    assert len(found) >= 6, "the scan found almost nothing: it is broken"
    missing = sorted(set(found) - set(BUILD))
    assert not missing, f"add a builder with exact members to tests/strategies/sets.py for {missing}"
    assert not set(BUILD) - set(found), f"tests/strategies/sets.py builds what is no set: {sorted(set(BUILD) - set(found))}"


def inside(box: Box, x: list[Fraction]) -> bool:
    """Exact comparison, infinite ends included."""
    return len(x) == len(box.lower) and all(l <= v <= u for l, v, u in zip(box.lower.tolist(), x, box.upper.tolist()))


def below(bound: float, c: np.ndarray, x: list[Fraction]) -> bool:
    return isinstance(bound, float) and sum((Fraction(float(v)) * y for v, y in zip(c, x)), Fraction(0)) <= bound


def encloses(s, points: list[list[Fraction]], rng: np.random.Generator) -> bool:
    """Members are in the box and below the support in some directions."""
    box = s.box()
    directions = [numbers(rng, s.dimension) for _ in range(2)] + [np.eye(s.dimension)[0], np.zeros(s.dimension), np.ones(s.dimension)]
    bounds = [s.support(c) for c in directions]
    return all(inside(box, x) and all(below(b, c, x) for b, c in zip(bounds, directions)) for x in points)


def mapped(w: np.ndarray, b: np.ndarray, x: list[Fraction]) -> list[Fraction]:
    return [sum((Fraction(float(v)) * y for v, y in zip(row, x)), Fraction(float(t))) for row, t in zip(w, b)]


@pytest.mark.parametrize("name", sorted(BUILD))
@given(seed=SEEDS)
def test_box_and_support_hold_every_member(name: str, seed: int):
    rng = np.random.default_rng(seed)
    s, member = BUILD[name](rng)
    assert isinstance(s, Set) and s.box().lower.shape == (s.dimension,)
    assert encloses(s, [member(rng) for _ in range(8)], rng), (name, seed)


@pytest.mark.parametrize("name", sorted(BUILD))
@given(seed=SEEDS)
def test_affine_images_hold_every_image(name: str, seed: int):
    rng = np.random.default_rng(seed)
    s, member = BUILD[name](rng)
    points = [member(rng) for _ in range(6)]
    for _ in range(3):  # maps of maps, more and fewer coordinates
        k = int(rng.integers(0 if rng.random() < 0.1 else 1, 4))
        w, b = numbers(rng, k, s.dimension), numbers(rng, k)
        offset = None if rng.random() < 0.3 else b
        b = np.zeros(k) if offset is None else b
        try:
            s = s.affine(w, offset)
        except ReachError:
            largest = max((abs(v) for x in points for v in mapped(np.abs(w), np.abs(b), [abs(y) for y in x])), default=Fraction(0))
            spread = float(np.abs(w).max(initial=0.0)) * max((float(np.abs(e).max(initial=0.0)) for e in (s.box().lower, s.box().upper)), default=0.0)
            assert largest > 10**290 or not spread < 1e290, (name, seed)
            return
        points = [mapped(w, b, x) for x in points]
        assert s.dimension == k
        if k:
            assert encloses(s, points, rng), (name, seed)


@pytest.mark.parametrize("name", sorted(BUILD))
@given(seed=SEEDS)
def test_samples_are_members_up_to_rounding(name: str, seed: int):
    rng = np.random.default_rng(seed)
    s, _ = BUILD[name](rng)
    x, box = s.sample(20, seed=3), s.box()
    assert x.shape == (20, s.dimension) and np.array_equal(x, s.sample(20, seed=3))
    assert s.sample(0).shape == (0, s.dimension)
    size = np.where(np.isfinite(box.upper - box.lower), np.abs(box.upper) + np.abs(box.lower), np.inf)
    room = np.where(np.isfinite(size), 1e-12 * size, np.inf) + 1e-300
    with np.errstate(invalid="ignore"):
        assert ((box.lower - room <= x) & (x <= box.upper + room)).all(), (name, seed)


@pytest.mark.parametrize("name", sorted(BUILD))
def test_samples_fill_the_set(name: str):
    """Between the least and the largest exact member found, samples come close to both ends of each coordinate, or a seed is wasted."""
    good = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        s, _ = BUILD[name](rng)
        x, box = s.sample(400, seed=1), s.box()
        width = box.upper - box.lower
        if np.isfinite(width).all() and (width > 0).all():
            good += bool((x.max(0) - x.min(0) >= 0.3 * width - 1e-280).all())
    assert good >= 5


@pytest.mark.parametrize("name", sorted(BUILD))
def test_what_does_not_fit_is_refused(name: str):
    s, _ = BUILD[name](np.random.default_rng(5))
    n = s.dimension
    for direction in (np.ones(n + 1), np.full(n, np.nan), np.full(n, np.inf)):
        with pytest.raises(InputError):
            s.support(direction)
    with pytest.raises((FrozenInstanceError, AttributeError)):
        s.dimension = 3
    for matrix, offset in ((np.ones((2, n + 1)), None), (np.ones(n), None), (np.full((1, n), np.nan), None), (np.ones((2, n)), np.ones(3)), (np.ones((1, n)), [np.inf])):
        with pytest.raises(InputError):
            s.affine(matrix, offset)


class NoRounding(Zonotope):
    """A mutant: supports and boxes as plain float sums."""

    def box(self) -> Box:
        r = np.abs(self.generators).sum(axis=1)
        return Box(self.center - r, self.center + r)

    def support(self, direction) -> float:
        c = np.asarray(direction)
        return float(c @ self.center + np.abs(c @ self.generators).sum())


class OneSided(Zonotope):
    """A mutant: a column's sign is taken instead of its size."""

    def box(self) -> Box:
        r = np.maximum(self.generators.sum(axis=1), 0.0)
        return Box(np.nextafter(self.center - r, -np.inf), np.nextafter(self.center + r, np.inf))


class LostImage(Zonotope):
    """A mutant: the rounding of an affine map is forgotten."""

    def affine(self, matrix, offset=None) -> Zonotope:
        w = np.asarray(matrix)
        return Zonotope(w @ self.center + (0.0 if offset is None else np.asarray(offset)), w @ self.generators)


def images_hold(s, member, rng: np.random.Generator) -> bool:
    points = [member(rng) for _ in range(8)]
    w, b = rng.standard_normal((2, s.dimension)) * 10.0 ** rng.integers(-8, 9, (2, s.dimension)), rng.standard_normal(2)
    return encloses(s.affine(w, b), [mapped(w, b, x) for x in points], rng)


@pytest.mark.parametrize(("mutant", "verb"), [(NoRounding, "set"), (OneSided, "set"), (LostImage, "image"), (Zonotope, "none")])
def test_broken_sets_are_caught(mutant: type, verb: str):
    """The same questions, asked of broken zonotopes: each is caught, and the whole one (the control) is not."""
    caught = False
    for seed in range(60):
        rng = np.random.default_rng(seed)
        z, member = BUILD["Zonotope"](rng)
        if np.abs(z.generators).max(initial=0.0) > 1e100 or np.abs(z.center).max() > 1e100:
            continue
        s = mutant(z.center, z.generators)
        holds = encloses(s, [member(rng) for _ in range(8)], rng) and (verb == "set" or images_hold(s, member, rng))
        caught = caught or not holds
    assert caught == (verb != "none")
