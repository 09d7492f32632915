"""Simulated motions of a closed loop: estimates for pictures, tests and falsification, never bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.integrate import DOP853

from certify.core.errors import InputError

_RTOL, _ATOL, _DEPTH, _LOST, _EASY = 1e-10, 1e-12, 12, 1e9, 2.0**-9
_PIECES = 5
_CHUNK = 4096

Field = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def simulate(loop: Any, initial_states: Any, horizon: float, disturbance: Any = None, seed: int = 0) -> np.ndarray:
    """States (n, steps + 1, states) of n motions at the sampling times 0, period, ..., horizon. An estimate: no bound on its error is claimed.

    A continuous plant is integrated by Dormand and Prince's method of order 8 with error control, 1e-10 relative and 1e-12 absolute for each motion and
    substep; a discrete plant is iterated in floats. A motion that leaves the domain of the formulas or runs away to infinity is NaN from there on.

    Args:
        loop: a ClosedLoop.
        initial_states: (n, states), or (states,) for one motion.
        horizon: a multiple of the period, in the plant's unit of time.
        disturbance: None: random signals inside the intervals, constant on five pieces per period (one for a discrete plant), half of the values at the ends;
            a function w(t, n) -> (n, disturbances), followed to about 1e-3 of a period where it jumps; or an array: (disturbances,) or
            (n, disturbances) constant in time, (n, steps, disturbances) constant on each period, (n, steps, pieces, disturbances).
        seed: of the random signals. The same seed gives the same motions.
    Raises:
        InputError: shapes that do not fit, states that are not finite, a disturbance outside its interval, a horizon that is no multiple of the period.

    Cost: about 12 evaluations of the plant per period and motion, vectorised. Source: Hairer, Norsett, Wanner, Solving ODEs I (1993), II.5 and II.10.
    """
    dense = simulate_dense(loop, initial_states, horizon, 1, disturbance, seed)
    start = _initial(loop, initial_states)
    return np.concatenate([start[:, None], dense[:, :, -1]], axis=1)


def simulate_dense(loop: Any, initial_states: Any, horizon: float, times_per_period: int = 10, disturbance: Any = None, seed: int = 0) -> np.ndarray:
    """States (n, steps, times_per_period + 1, states): entry [:, k, j] at time (k + j / times_per_period) period. As `simulate`, between samples too.

    A discrete plant has nothing between its samples: times_per_period = 1 there, whatever is asked.

    Raises:
        InputError: as `simulate`; times_per_period below 1.
    """
    start, steps = _initial(loop, initial_states), loop.steps(horizon)
    if int(times_per_period) != times_per_period or times_per_period < 1:
        raise InputError("times_per_period is a whole number above zero", where="simulate_dense", found=repr(times_per_period))
    continuous = loop.plant.time == "continuous"
    times = int(times_per_period) if continuous else 1
    signal = _Signal(loop, len(start), steps, disturbance, seed)
    out = np.full((len(start), steps, times + 1, start.shape[1]), np.nan)
    for first in range(0, len(start), _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, len(start)))
        x = start[rows]
        for k in range(steps):
            out[rows, k, 0] = x
            held = _controls(loop, x)
            moved = _period(loop, signal, rows, x, held, k, times) if continuous else [_update(loop, signal, rows, x, held, k)]
            for j, state in enumerate(moved):
                out[rows, k, j + 1] = state
            x = out[rows, k, times]
    return out


def _initial(loop: Any, states: Any) -> np.ndarray:
    if not (hasattr(loop, "plant") and hasattr(loop, "controller")):
        raise InputError("this is not a closed loop", where="simulate, argument loop", found=type(loop).__name__, expected="reach.ClosedLoop(plant, controller, period)")
    names = loop.plant.states
    try:
        array = np.array(states, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("initial states are not an array of numbers", where="initial_states", found=repr(states)[:80]) from None
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != len(names):
        expected = f"(n, {len(names)}) or ({len(names)},): {', '.join(names)}"
        raise InputError("initial states have one number per state", where="initial_states", found=f"shape {np.shape(states)}", expected=expected)
    if not np.isfinite(array).all():
        raise InputError("an initial state is not finite", where=f"initial_states, row {int(np.argmin(np.isfinite(array).all(1)))}")
    return array


class _Signal:
    """The disturbance of every motion: pieces of equal length per period, or a function of time."""

    def __init__(self, loop: Any, count: int, steps: int, disturbance: Any, seed: int):
        plant = loop.plant
        self.lower, self.upper, self.names, self.period, self.count = plant.disturbance_lower, plant.disturbance_upper, plant.disturbances, loop.period, count
        size = len(self.names)
        self.function = disturbance if callable(disturbance) else None
        if disturbance is not None and not size:
            raise InputError("the plant has no disturbance", where="disturbance", found=type(disturbance).__name__, expected="None")
        if self.function is not None or not size:
            self.values = np.zeros((count, steps, 1, size))
        elif disturbance is None:
            pieces = _PIECES if plant.time == "continuous" else 1
            self.values = self._random(np.random.default_rng(seed), (count, steps, pieces, size))
        else:
            self.values = self._array(disturbance, count, steps)

    def _random(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        inside = np.clip(self.lower + rng.random(shape) * (self.upper - self.lower), self.lower, self.upper)
        ends = np.where(rng.random(shape) < 0.5, self.lower, self.upper)
        return np.where(rng.random(shape) < 0.5, ends, inside)

    def _array(self, disturbance: Any, count: int, steps: int) -> np.ndarray:
        try:
            values = np.array(disturbance, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("a disturbance is None, a function or an array of numbers", where="disturbance", found=repr(disturbance)[:80]) from None
        shape, size = values.shape, len(self.names)
        if values.ndim in (1, 2):
            values = values.reshape(*(shape[:-1] or (1,)), 1, 1, shape[-1])
        elif values.ndim == 3:
            values = values[:, :, None]
        good = values.ndim == 4 and values.shape[0] in (1, count) and values.shape[1] in (1, steps) and values.shape[2] >= 1 and values.shape[3] == size
        if not good:
            expected = f"({size},), ({count}, {size}), ({count}, {steps}, {size}) or ({count}, {steps}, pieces, {size})"
            raise InputError("a disturbance has an unknown shape", where="disturbance", found=f"shape {shape}", expected=expected)
        self.inside(values)
        return np.broadcast_to(values, (count, steps, *values.shape[2:]))

    def inside(self, values: np.ndarray) -> np.ndarray:
        """The values, refused where one is outside its interval."""
        good = (self.lower <= values) & (values <= self.upper)
        if not good.all():
            i = tuple(int(j) for j in np.argwhere(~good)[0])
            name, expected = self.names[i[-1]], f"[{float(self.lower[i[-1]])!r}, {float(self.upper[i[-1]])!r}]"
            raise InputError("a disturbance is outside its interval", where=f"disturbance {name}", found=float(values[i]), expected=expected)
        return values

    def at(self, time: float, rows: np.ndarray) -> np.ndarray:
        """Values of the function at a time, for some of the motions."""
        values, shape = np.asarray(self.function(time, self.count), dtype=np.float64), (self.count, len(self.names))  # type: ignore[misc]
        if values.shape != shape:
            raise InputError("a disturbance function returns one row per motion", where="disturbance", found=f"shape {values.shape}", expected=f"{shape}")
        return self.inside(values)[rows]


def _controls(loop: Any, x: np.ndarray) -> np.ndarray:
    """Controls of the motions that are still finite, NaN for the others."""
    if not hasattr(loop.controller, "evaluate"):
        raise InputError(
            "this controller is not a function of the state alone: it cannot be simulated without its mode",
            where="simulate",
            found=type(loop.controller).__name__,
            hint="step by step: controller.scores(mode, states), then controller.controls(previous, new, box)",
        )
    finite = np.isfinite(x).all(axis=1)
    held = np.full((len(x), len(loop.plant.inputs)), np.nan)
    if finite.any():
        held[finite] = np.asarray(loop.controller.evaluate(x[finite]), dtype=np.float64).reshape(int(finite.sum()), -1)
    return held


def _update(loop: Any, signal: _Signal, rows: np.ndarray, x: np.ndarray, held: np.ndarray, k: int) -> np.ndarray:
    w = signal.values[rows, k, 0] if signal.function is None else signal.at(k * loop.period, rows)
    return _finite(loop.plant.evaluate(x, held, w))


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x).all(axis=1)[:, None], x, np.nan)


def _period(loop: Any, signal: _Signal, rows: np.ndarray, x: np.ndarray, held: np.ndarray, k: int, times: int) -> Iterator[np.ndarray]:
    """The states at the times 1 / times, ..., 1 of period k."""
    pieces = signal.values.shape[2]
    cuts = sorted({Fraction(j, times) for j in range(times + 1)} | {Fraction(j, pieces) for j in range(pieces + 1)})
    for a, b in zip(cuts, cuts[1:]):
        constant = np.concatenate([x, held, signal.values[rows, k, int(a * pieces)]], axis=1)

        def field(time: np.ndarray, y: np.ndarray, some: np.ndarray, constant: np.ndarray = constant) -> np.ndarray:
            values = constant[some]
            values[:, : y.shape[1]] = y
            if signal.function is not None:
                for t in np.unique(time):
                    now = time == t
                    values[now, y.shape[1] + held.shape[1] :] = signal.at(float(t), rows[some[now]])
            return loop.plant.tape.evaluate(values)

        x = _flow(field, (k + float(a)) * loop.period, float(b - a) * loop.period, x)
        if (b * times).denominator == 1:
            yield x


def _flow(field: Field, start: float, length: float, x: np.ndarray) -> np.ndarray:
    """x(start + length). Every motion has its own step length / 2^level: halved where the error estimate is above the tolerance, doubled where it is far below.

    Dyadic steps let the motions share their times. The shortest step is kept with a larger error (a signal that jumps), up to 1e-3 + 0.1 |x|; beyond
    that the motion runs away, and is NaN.
    """
    x, level, position, end = x.copy(), np.zeros(len(x), np.int64), np.zeros(len(x), np.int64), 2**_DEPTH
    position[~np.isfinite(x).all(axis=1)] = end
    while (some := np.flatnonzero(position < end)).size:
        width = end >> level[some]
        with np.errstate(all="ignore"):
            y, error = _step(field, start + position[some] * (length / end), width * (length / end), x[some], some)
        good = (error <= 1) | ((level[some] == _DEPTH) & (error <= _LOST))
        lost = ~good & (level[some] == _DEPTH)
        x[some[good]], x[some[lost]] = y[good], np.nan
        position[some] += np.where(good, width, np.where(lost, end, 0))
        easy = good & (error < _EASY) & (level[some] > 0) & (position[some] % (2 * width) == 0)
        level[some] += np.where(good, np.where(easy, -1, 0), np.where(lost, 0, 1))
    return _finite(x)


def _step(field: Field, time: np.ndarray, h: np.ndarray, x: np.ndarray, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step of order 8 and its error estimate in units of the tolerance, per motion; NaN is no error below anything."""
    stages, wide = np.empty((DOP853.n_stages + 1, *x.shape)), h[:, None]
    for i in range(DOP853.n_stages):
        now = x + wide * np.tensordot(DOP853.A[i, :i], stages[:i], 1) if i else x
        stages[i] = field(time + DOP853.C[i] * h, now, some)
    y = x + wide * np.tensordot(DOP853.B, stages[:-1], 1)
    stages[-1] = field(time + h, y, some)
    scale = _ATOL + _RTOL * np.maximum(np.abs(x), np.abs(y))
    fifth = np.square(np.tensordot(DOP853.E5, stages, 1) / scale).mean(axis=1)
    third = np.square(np.tensordot(DOP853.E3, stages, 1) / scale).mean(axis=1)
    size = fifth + 0.01 * third
    return y, np.where(size == 0, 0.0, h * fifth / np.sqrt(size))
