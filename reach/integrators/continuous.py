"""Continuous plants: one control period as a row of validated steps, halved where an inclusion cannot be proved."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..controllers.model import ControlModel
from ..dynamics.system import ContinuousSystem
from ..flowpipe import Piece
from ..sets.polyzonotope import PolynomialZonotope
from ..sets.ring import Lift, lift
from .flow_kernels import flow

SMALLEST = 2.0**-1000  # of a step: relative rounding of its length needs a normal float, with room for products

REASONS = {
    1: "no remainder was found that the Picard operator maps into itself",
    2: "the Jacobian times the step is too large, or an expression is undefined on the tube",
    3: "the deviation from the polynomial motion could not be bounded",
}


class Failed(NamedTuple):
    """Where and why a step could not be proved."""

    time: float
    status: int
    reason: str


class Run(NamedTuple):
    """What one control period gave: the proved pieces with their times, the set at the end (symbols extended), and the failure if there was one."""

    pieces: tuple[Piece, ...]
    times: tuple[float, ...]
    end: PolynomialZonotope
    failed: Failed | None


def held_arrays(plant: ContinuousSystem, control: ControlModel, tables: Lift) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(held, middle of W, radius of W): polynomials in (s, tau) of the controls and of the disturbances' middles."""
    lower, upper = plant.disturbance_lower, plant.disturbance_upper
    middle = 0.5 * lower + 0.5 * upper
    radius = np.where(lower == upper, 0.0, np.nextafter(np.maximum(upper - middle, middle - lower), np.inf))
    held = np.zeros((len(control.coefficients) + len(middle), tables.time.size))
    held[: len(control.coefficients), tables.embed] = control.coefficients
    held[len(control.coefficients) :, 0] = middle
    return held, middle, radius


def period(plant: ContinuousSystem, state: PolynomialZonotope, control: ControlModel, length: float, substeps: int, start: float = 0.0, halvings: int = 4) -> Run:
    """Flow `state` for one period under the held control.

    Claim (Theorem D): every motion from the state set with its own control and any measurable disturbance is inside the tube pieces on their times and inside
    `end` at the end, on the same symbols extended by fresh ones.
    """
    tables = lift(state.ring.variables, state.ring.order)
    held, middle, radius = held_arrays(plant, control, tables)
    fresh = np.flatnonzero(control.box > 0)
    nu = len(control.box)
    columns = np.zeros((nu, len(fresh)))
    columns[fresh, np.arange(len(fresh))] = control.box[fresh]
    held_generators = np.ascontiguousarray(np.hstack([control.generators, columns]))
    now = PolynomialZonotope(state.ring, state.coefficients, np.hstack([state.generators, np.zeros((state.dimension, len(fresh)))]))
    todo = [length / substeps] * substeps
    pieces: list[Piece] = []
    times = [start]
    failed = None
    while todo:
        h = todo.pop()
        if not h >= SMALLEST:
            failed = Failed(times[-1], 1, REASONS[1])
            break
        piece, status = _piece(plant, now, held, held_generators, middle, radius, h, tables)
        if piece is None:
            if h * 2**halvings < length / substeps * (1 + 1e-9):
                failed = Failed(times[-1], status, REASONS[status])
                break
            todo += [h / 2, h / 2]
            continue
        pieces.append(piece)
        times.append(times[-1] + h)
        now = piece.end
        held_generators = np.hstack([held_generators, np.zeros((nu, now.generators.shape[1] - held_generators.shape[1]))])
    if failed is None:
        times[-1] = start + length
    return Run(tuple(pieces), tuple(times), now, failed)


def _piece(plant, now: PolynomialZonotope, held, held_generators, middle, radius, h: float, tables: Lift) -> tuple[Piece | None, int]:
    start = np.zeros((now.dimension, tables.time.size))
    start[:, tables.embed] = now.coefficients
    generators = np.ascontiguousarray(now.generators)
    tape = plant.tape
    code = (tape.op, tape.a, tape.b, tape.c, tape.r)
    got = flow(code, tape.outputs, start, generators, held, held_generators, middle, radius, h, tables.time_power, tables.raise_time, tables.time.tables)
    status, P, vectors, matrices, ends, parts = got
    if status != 0 or not (np.isfinite(ends).all() and np.isfinite(P).all() and np.isfinite(vectors).all()):
        return None, status or 2
    coefficients = np.zeros_like(now.coefficients)
    np.add.at(coefficients.T, tables.at_end, P.T)
    end = PolynomialZonotope(now.ring, coefficients, ends)
    n, k = now.dimension, now.dimension + len(held_generators)
    A, Ar, mid, rad = matrices
    picard, deviation, bound = vectors
    piece = Piece(h, now, held_generators, P, picard, deviation, bound, A[:n], Ar[:n], mid[:n, :k], rad[:n, :k], end, parts)
    return piece, 0
