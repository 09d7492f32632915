"""Outlines of projected sets: convex polygons around them, from upper ends of their support in directions all around."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..sets.polyzonotope import PolynomialZonotope, range_of

DIRECTIONS = 24


@functools.lru_cache(maxsize=8)
def directions(count: int = DIRECTIONS) -> np.ndarray:
    """(count, 2) unit vectors all around, in order; count even, so that each has its opposite half-way."""
    angle = 2 * math.pi * np.arange(count) / count
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rows[np.abs(rows) < 1e-12] = 0.0
    rows.setflags(write=False)
    return rows


def supports(plane: PolynomialZonotope, count: int = DIRECTIONS) -> np.ndarray:
    """(count,) upper ends of d . x over a set of two coordinates, for the directions d."""
    half = directions(count)[: count // 2]
    rows = plane.affine(half)
    lower, upper = range_of(rows.ring, rows.coefficients)
    spread = rows.spread()
    return np.concatenate([upper + spread, spread - lower])


def outline(plane: PolynomialZonotope, count: int = DIRECTIONS) -> np.ndarray:
    """(k, 2) corners of a convex polygon around the set, in order: where the half-planes of all directions meet; (0, 2) where the set is unbounded.

    The set is turned and stretched to be about round first, so that a thin slanted set has a thin slanted polygon. A picture: corners are rounded.
    """
    box = plane.box()
    if not (np.isfinite(box.lower).all() and np.isfinite(box.upper).all()):
        return np.zeros((0, 2))
    middle, size = 0.5 * box.lower + 0.5 * box.upper, 0.5 * (box.upper - box.lower)
    size = np.where(size > 1e-9 * np.abs(middle), size, 1.0)
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * (0.5 * (box.upper - box.lower) / size)
    centred = plane.coefficients / size[:, None]
    centred[:, 0] -= middle / size
    unit = PolynomialZonotope(plane.ring, centred, plane.generators / size[:, None])
    turn, lengths, _ = np.linalg.svd(np.hstack([unit.coefficients[:, 1:], unit.generators, np.zeros((2, 2))]), full_matrices=False)
    if lengths[1] > 1e-9:  # else a point or a line, which the box shows
        turn[:, 1] *= np.sign(np.linalg.det(turn))  # a rotation: the corners stay counterclockwise
        to_round = turn.T / lengths[:, None]
        corners = corners @ to_round.T
        for direction, support in zip(directions(count), supports(unit.affine(to_round), count)):
            corners = clipped(corners, direction, support)
        corners = corners @ (turn * lengths).T
    distinct = np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1) > 1e-9 * np.abs(corners).max()
    return middle + (corners[distinct] if distinct.any() else corners) * size


def clipped(corners: np.ndarray, direction: np.ndarray, support: float) -> np.ndarray:
    """The part of a convex polygon with direction . x <= support."""
    height = corners @ direction - support
    inside = height <= 1e-12
    if inside.all() or not inside.any():
        return corners
    kept = []
    for i in range(len(corners)):
        j = (i + 1) % len(corners)
        if inside[i]:
            kept.append(corners[i])
        if inside[i] != inside[j]:
            kept.append(corners[i] + (corners[j] - corners[i]) * (height[i] / (height[i] - height[j])))
    return np.array(kept)


def piece_plane(piece: Any, x: int | None, y: int | None) -> PolynomialZonotope:
    """A piece of a tube over two coordinates; None is the time, an exact affine function of the last variable of its ring."""
    whole = piece.as_set()
    rows, generators = [], []
    for axis in (x, y):
        if axis is None:
            row = np.zeros(piece.ring.size)
            row[0], row[piece.ring.variable(piece.ring.variables - 1)] = piece.start, piece.end - piece.start
            rows.append(row)
            generators.append(np.zeros(whole.generators.shape[1]))
        else:
            rows.append(whole.coefficients[axis])
            generators.append(whole.generators[axis])
    return PolynomialZonotope(piece.ring, np.array(rows), np.array(generators))


def sample_plane(state: PolynomialZonotope, x: int | None, y: int | None, time: float) -> PolynomialZonotope:
    """A set at a sampling time over two coordinates; None is the time."""
    constant = np.zeros(state.ring.size)
    constant[0] = time
    rows = [constant if axis is None else state.coefficients[axis] for axis in (x, y)]
    nothing = np.zeros(state.generators.shape[1])
    return PolynomialZonotope(state.ring, np.array(rows), np.array([nothing if axis is None else state.generators[axis] for axis in (x, y)]))
