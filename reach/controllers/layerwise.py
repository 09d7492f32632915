"""Layerwise: the polynomial abstraction of a network, layer by layer, with the state's own symbols (POLAR family)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from certify.core.errors import InputError

from ..sets.kernels import TINY, U, multiply, poly_ranges
from ..sets.polyzonotope import PolynomialZonotope, row_sums
from ..sets.ring import Ring
from .fits import METHODS, Fits, fit
from .layer_kernels import activated, affine_rounding, composed, neuron_ranges
from .model import ControlModel, Prepared
from .program import Affine, Apply, Combine, Constant, Join

if TYPE_CHECKING:
    from .controller import Controller

SLACK = 1 + 1e-6  # what a checker with other roundings may lose


class Value(NamedTuple):
    """z = P(s) + A (E eps) + N nu + diag(v) nu' on the state's symbols eps and the network's own nu, nu'."""

    P: np.ndarray
    A: np.ndarray
    N: np.ndarray
    v: np.ndarray


class LayerRecord(NamedTuple):
    """What was chosen at one activation: where, and the fit of every neuron."""

    name: str
    fits: Fits


@dataclass(frozen=True)
class Layerwise:
    """Abstract every activation by one polynomial per neuron on the neuron's own range; deviations keep the state's symbols.

    Claim: for x = p(s) + E eps, |s|, |eps| <= 1, the control is in P(s) + E_v eps +- box. Source: Huang et al. 2022 (POLAR) for the propagation,
    methods/reach.md section 3 for shared symbols (A of as many columns as the state has coordinates) and the proofs.

    Args:
        degree: of the polynomials, 1 to 8. Measured on the benchmarks, 3 is best nearly everywhere: higher powers fit one neuron better, but on wide ranges
            their coefficients cost the next layer more than the fit gains.
        method: "auto", "chebyshev", "minimax", "bernstein" or "taylor", see `reach.controllers.fits`.
    """

    degree: int = 3
    method: str = "auto"

    def __post_init__(self):
        if isinstance(self.degree, bool) or not (isinstance(self.degree, int) and 1 <= self.degree <= 8):
            raise InputError("a fit of this degree is not supported", where="Layerwise.degree", found=self.degree, expected="a whole number from 1 to 8")
        if self.method not in METHODS:
            raise InputError("unknown method of fitting", where="Layerwise.method", found=repr(self.method), expected=", ".join(map(repr, METHODS)))

    def prepare(self, controller: Controller, order: int) -> Prepared:
        """The map from sets to control models for one controller; `order` is the state ring's."""
        return Walker(controller, self.degree, self.method)


class Walker:
    """Executes a controller's program on sets."""

    def __init__(self, controller: Controller, degree: int, method: str):
        self.program, self.degree, self.method = controller.program, degree, method
        self.forked = any(count > 1 for count in self.program.uses.values())

    def __call__(self, state: PolynomialZonotope) -> ControlModel:
        E = np.ascontiguousarray(state.generators)
        e0 = row_sums(E)
        r = state.ring
        n = state.dimension
        values: dict[str, Value] = {self.program.input: Value(state.coefficients, np.eye(n), np.zeros((n, 0)), np.zeros(n))}
        records: list[LayerRecord] = []
        symbols = 0  # of the network: a column of N at the same position is the same symbol in every value
        for name, step in self.program.instructions:
            if isinstance(step, Affine):
                z = values[step.source]
                if self.forked:
                    z, symbols = _named(z, symbols)
                made = affine(step, z, e0)
            elif isinstance(step, Apply):
                made, fits = self.activate(step, values[step.source], E, e0, r, name)
                records.append(LayerRecord(name, fits))
            elif isinstance(step, Combine):
                made = self.combine(step, values[step.left], values[step.right], E, e0, r, name, records)
            elif isinstance(step, Join):
                made = join(step, [values[p] for p in step.parts])
            elif isinstance(step, Constant):
                P = np.zeros((len(step.value), r.size))
                P[:, 0] = step.value
                made = Value(P, np.zeros((len(P), n)), np.zeros((len(P), 0)), np.zeros(len(P)))
            if self.program.uses.get(name, 0) > 1:
                made, symbols = _named(made, symbols)
            values[name] = made
        u = values[self.program.output]
        reserve = 2.0**-48 * np.abs(u.P).sum(1)  # for a checker with other roundings, where everything else is rounding
        box = (np.abs(u.N).sum(1) + u.v + (n + 4) * U * (np.abs(u.A) @ e0) + reserve) * ((1 + (u.N.shape[1] + 8) * U) * SLACK) + TINY
        return ControlModel(u.P, u.A @ E, box, tuple(records))

    def activate(self, step: Apply, z: Value, E: np.ndarray, e0: np.ndarray, r: Ring, name: str) -> tuple[Value, Fits]:
        """sigma(zp + ze) = q(zp) + c ze + error, c the secant slopes on the neuron's whole range (mean value; zp and z both lie in it)."""
        product, end, degree, even, order = r.tables
        lower, upper, shared = neuron_ranges(z.P, z.A, z.N, z.v, E, e0, even)
        fits = fit(step.function, lower, upper, self.degree, self.method)
        Q, e = composed(z.P, fits.centre, fits.radius, fits.coefficients, fits.error, product, end, degree, even, order)
        return Value(Q, *activated(Q, e, z.A, z.N, z.v, e0, shared, fits.slope_lower, fits.slope_upper)), fits

    def combine(self, step: Combine, a: Value, b: Value, E, e0, r: Ring, name: str, records: list[LayerRecord]) -> Value:
        """Sums, products and maxima of two vectors on the same symbols."""
        a, b = _aligned(a, b)
        if step.kind == "sum":
            return _sum(a, b, step.sign, e0)
        if step.kind == "product":
            return _product(a, b, E, e0, r)
        from certify.core.activation import activation

        # max(a, b) = b + relu(a - b), min(a, b) = a - relu(a - b)
        gap, fits = self.activate(Apply("", activation("relu")), _sum(a, b, -1.0, e0), E, e0, r, name)
        records.append(LayerRecord(name, fits))
        other = b if step.kind == "maximum" else a
        return _sum(*_aligned(other, gap), 1.0 if step.kind == "maximum" else -1.0, e0)


def affine(step: Affine, z: Value, e0: np.ndarray) -> Value:
    """W z + b; every rounding of the products is at most gamma of |W||z|, from the inputs' sizes and not from |W z|, which may cancel."""
    count = step.weight.shape[1] + step.roundings + 12
    W = step.weight
    P = W @ z.P
    P[:, 0] += step.bias
    own = np.flatnonzero(z.v)
    width = z.N.shape[1]
    N = np.empty((len(W), width + len(own)))
    np.matmul(W, z.N, out=N[:, :width])
    np.multiply(W[:, own], z.v[own], out=N[:, width:])
    v = affine_rounding(step.size, step.shift_size, count, *z, e0)
    return Value(P, W @ z.A, N, v if step.shift_error == 0.0 else np.nextafter(v + step.shift_error, np.inf))


def join(step: Join, parts: list[Value]) -> Value:
    """The parts one below the other, in the given order."""
    width = max(p.N.shape[1] for p in parts)
    rows = [np.concatenate([p[i] if i != 2 else _wide(p.N, width) for p in parts])[step.order] for i in range(4)]
    return Value(*rows)


def _wide(N: np.ndarray, width: int) -> np.ndarray:
    return np.hstack([N, np.zeros((len(N), width - N.shape[1]))])


def _aligned(a: Value, b: Value) -> tuple[Value, Value]:
    width = max(a.N.shape[1], b.N.shape[1])
    return a._replace(N=_wide(a.N, width)), b._replace(N=_wide(b.N, width))


def _named(z: Value, symbols: int) -> tuple[Value, int]:
    """z with its own errors as columns on symbols that no other value has, and the new number of symbols.

    Where a network forks, two values can meet again: a symbol must then be the same column in both, and two errors never the same one.
    """
    if not z.v.any():
        return z, symbols
    return Value(z.P, z.A, np.hstack([_wide(z.N, symbols), np.diag(z.v)]), np.zeros(len(z.v))), symbols + len(z.v)


def _sum(a: Value, b: Value, sign: float, e0: np.ndarray) -> Value:
    P, A, N = a.P + sign * b.P, a.A + sign * b.A, a.N + sign * b.N
    size = np.abs(P).sum(1) + np.abs(A) @ e0 + np.abs(N).sum(1)
    return Value(P, A, N, (a.v + b.v + 2 * U * size) * (1 + 1e-14) + TINY)


def _product(a: Value, b: Value, E: np.ndarray, e0: np.ndarray, r: Ring) -> Value:
    """(pa + da)(pb + db) = pa pb + mid(pa) db + mid(pb) da + the rest, which goes to v."""
    P, rest = np.zeros_like(a.P), np.zeros(len(a.P))
    product, end, degree, even, order = r.tables
    for i in range(len(P)):
        rest[i] = multiply(a.P[i], 0.0, b.P[i], 0.0, P[i], product, end, degree, order)
    mids, rads, devs, shared = [], [], [], []
    for z in (a, b):
        lower, upper = poly_ranges(z.P, even)
        mids.append(0.5 * lower + 0.5 * upper)
        rads.append(np.nextafter(np.maximum(upper - mids[-1], mids[-1] - lower), np.inf))
        shared.append((np.abs(z.A @ E).sum(1) + (E.shape[1] + len(E) + 8) * U * (np.abs(z.A) @ e0) + np.abs(z.N).sum(1)) * (1 + (z.N.shape[1] + 8) * U))
        devs.append(shared[-1] + z.v)
    A = mids[0][:, None] * b.A + mids[1][:, None] * a.A
    N = mids[0][:, None] * b.N + mids[1][:, None] * a.N
    size = sum(np.abs(mids[i])[:, None] * (np.abs(z.A) @ e0 + np.abs(z.N).sum(1))[:, None] for i, z in ((0, b), (1, a)))[:, 0]
    v = rads[0] * devs[1] + rads[1] * devs[0] + devs[0] * devs[1] + np.abs(mids[0]) * b.v + np.abs(mids[1]) * a.v + rest + 4 * U * size
    return Value(P, A, N, v * (1 + 1e-13) + TINY)
