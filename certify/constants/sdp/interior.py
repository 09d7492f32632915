"""Search for the best multipliers by a primal-dual interior point method that knows the structure. Proves nothing: its answer is verified elsewhere.

In the coordinates v = (dx_0, psi_1, ..., psi_k) the semidefinite program is
    minimise rho  subject to  S(rho, tau) = rho E_0 - Y'Y + sum_g tau_g F_g >= 0,   F_g = sum_(psi in g) e e' - sum_(z in g) r^2 z z',
with rows z_i of the pre-activations and Y of the output. Its dual has X >= 0, tr(E_0 X) = 1, tr(F_g X) = 0. The steps are those of Helmberg, Rendl, Vanderbei,
Wolkowicz (SIAM J. Optim. 6, 1996) with Mehrotra's predictor and corrector; with P = S^-1 the Newton matrix tr(F_g P F_h X) is made of entrywise products of the
psi-psi, psi-z and z-z parts of P and X, so a step costs a few N^3, N = inputs + live neurons, where a generic solver needs N^4 and more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import get_blas_funcs, lapack

from .lowest import lowest
from .program import Program, Rows, program_of

__all__ = ["Found", "InteriorPoint", "program_of"]


@dataclass(frozen=True)
class Found:
    """rho, tau (groups,) strictly feasible in floats; the relative gap to the dual's value; steps taken."""

    rho: float
    tau: np.ndarray
    gap: float
    steps: int


class InteriorPoint:
    """One program; `solve` from multipliers tau that are feasible for some rho."""

    def __init__(self, program: Program):
        self.p, self.z = program, Rows(program)
        self.first = program.inputs
        self.yy = program.output.T @ program.output
        self.inside, self.outside = program.inside, program.outside

    def spread(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (t, t) if self.outside is None or self.inside is None else (t[self.outside], t[self.inside])

    def combination(self, rho: float, tau: np.ndarray) -> np.ndarray:
        """rho E_0 + sum tau_g F_g."""
        out_, in_ = self.spread(tau)
        s = -self.z.gram(in_, self.p.size)
        d = np.arange(self.p.size)
        s[d[: self.first], d[: self.first]] += rho
        s[d[self.first :], d[self.first :]] += out_
        return s

    def _parts(self, a: np.ndarray) -> tuple[np.ndarray, ...]:
        """(Z a)' restricted to inputs, to psi, and Z a Z'."""
        za = self.z.times(a)
        zz = self.z.times(za.T)
        return za[:, : self.first], za[:, self.first :], zz

    def traces(self, corner: float, psi: np.ndarray, zed: np.ndarray) -> np.ndarray:
        """(tr E_0 A, tr F_g A) from the diagonals."""
        if self.outside is None or self.inside is None:
            return np.concatenate([[corner], psi - zed])
        return np.concatenate([[corner], np.bincount(self.outside, psi, self.p.groups) - np.bincount(self.inside, zed, self.p.groups)])

    def newton(self, p: np.ndarray, x: np.ndarray, pp: tuple, xp: tuple) -> np.ndarray:
        """tr(F_i P F_j X), i, j over (rho, tau)."""
        n, f = self.p.groups, self.first
        mixed = pp[1] * xp[1]  # rows z, columns psi
        if self.outside is None or self.inside is None:
            body = p[f:, f:] * x[f:, f:]
            body += pp[2] * xp[2]
            body -= mixed
            body -= mixed.T
        else:
            import scipy.sparse as sp

            select = [sp.csr_array((np.ones(len(g)), (g, np.arange(len(g)))), shape=(n, len(g))) for g in (self.outside, self.inside)]
            cross = select[1] @ mixed @ select[0].T
            body = select[0] @ (p[f:, f:] * x[f:, f:]) @ select[0].T + select[1] @ (pp[2] * xp[2]) @ select[1].T - cross - cross.T
        q = np.empty((n + 1, n + 1))
        q[1:, 1:] = 0.5 * (body + body.T)
        q[0, 0] = (p[:f, :f] * x[:f, :f]).sum()
        q[0, 1:] = self.traces(0.0, (p[:f, f:] * x[:f, f:]).sum(0), (pp[0] * xp[0]).sum(1))[1:]
        q[1:, 0] = q[0, 1:]
        return q

    def solve(self, tau: np.ndarray, rho: float, tolerance: float = 1e-6, most: int = 60, stop: Callable[[], bool] = lambda: False) -> Found | None:
        """From strictly feasible (rho, tau); None if they are not. Stops at a relative gap below `tolerance`, when `stop()` says so, or when floats give out."""
        s = self.combination(rho, tau) - self.yy
        c = _cholesky(s)
        if c is None:
            return None
        p = _inverse(c)
        pp = self._parts(p)
        trace_p = self._traces_of(p, pp)
        x = p / trace_p[0]
        xp = tuple(a / trace_p[0] for a in pp)
        target = np.zeros(self.p.groups + 1)
        target[0] = 1.0
        gap, steps = float((x * s).sum()) / rho, 0
        while steps < most:
            steps += 1
            q = self.newton(p, x, pp, xp)
            scale = 1.0 / np.sqrt(np.maximum(np.diag(q), 1e-300))
            factor = _cholesky(scale[:, None] * q * scale + 1e-15 * np.eye(len(q)))
            if factor is None or stop():
                break
            moved = self._step(s, c, p, x, pp, xp, trace_p, target, scale, factor)
            if moved is None:
                break
            d, alpha, x_new = moved
            s_new = s + alpha * self.combination(d[0], d[1:])
            c_new = _cholesky(s_new)
            while c_new is None and alpha > 1e-8:
                alpha *= 0.7
                s_new = s + alpha * self.combination(d[0], d[1:])
                c_new = _cholesky(s_new)
            if c_new is None or not rho + alpha * d[0] > 0:
                break
            rho, tau, s, c, x = rho + alpha * d[0], tau + alpha * d[1:], s_new, c_new, x_new
            p = _inverse(c)
            pp, xp = self._parts(p), self._parts(x)
            trace_p = self._traces_of(p, pp)
            gap = float((x * s).sum()) / rho
            residual = np.abs(self._traces_of(x, xp) - target)
            if gap < tolerance and float(residual[1:] @ np.abs(tau)) < 10 * tolerance * rho:
                break
        return Found(float(rho), tau, gap, steps)

    def _traces_of(self, a: np.ndarray, parts: tuple) -> np.ndarray:
        d = np.diag(a)
        return self.traces(d[: self.first].sum(), d[self.first :], np.diag(parts[2]))

    def _step(self, s, c, p, x, pp, xp, trace_p, target, scale, factor):
        """Predictor and corrector: (direction of (rho, tau), its length, the next X), or None."""
        size = self.p.size
        zx = np.hstack([xp[0], xp[1]])
        mu = float((x * s).sum()) / size
        cx = _cholesky(x)
        if cx is None:
            return None
        d = self._solved(-target, scale, factor)
        moved = self._product(d, x, zx)  # dS X
        dx = -x - _symmetric(p @ moved)
        length_s, length_x = self._length(c, self._direction(d), 1.0, 5), self._length(cx, lambda v: dx @ v, 1.0, 5)  # a guess is enough here
        second = self._product(d, dx, self.z.times(dx))  # dS dX
        after = mu * size + length_x * float((dx * s).sum()) + length_s * float(np.trace(moved)) + length_s * length_x * float(np.trace(second))
        sigma = min(max((max(after, 0.0) / (mu * size)) ** 2, 1e-6), 0.8)
        rhs = sigma * mu * trace_p - target - self._mixed_traces(p, pp, second)
        d = self._solved(rhs, scale, factor)
        dx = sigma * mu * p - x - _symmetric(p @ (self._product(d, x, zx) + second))
        share = 0.9 + 0.09 * min(length_s, length_x)
        length_s, length_x = min(1.0, share * self._length(c, self._direction(d), 1e9)), min(1.0, share * self._length(cx, lambda v: dx @ v, 1e9))
        x_new = x + length_x * dx
        while _cholesky(x_new) is None:
            length_x *= 0.7
            if length_x < 1e-8:
                return None
            x_new = x + length_x * dx
        return d, length_s, x_new

    def _solved(self, rhs: np.ndarray, scale: np.ndarray, factor: np.ndarray) -> np.ndarray:
        return scale * lapack.dpotrs(factor, scale * rhs, lower=1)[0]

    def _direction(self, d: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        out_, in_ = self.spread(d[1:])
        diagonal = np.concatenate([np.full(self.first, d[0]), out_])

        def apply(v: np.ndarray) -> np.ndarray:
            w = diagonal * v
            down = self.z.weighted(in_, self.z.times(v[:, None]))[:, 0]
            w[: len(down)] -= down
            return w

        return apply

    def _product(self, d: np.ndarray, a: np.ndarray, za: np.ndarray) -> np.ndarray:
        """(d_0 E_0 + sum d_g F_g) a, given Z a."""
        out_, in_ = self.spread(d[1:])
        diagonal = np.concatenate([np.full(self.first, d[0]), out_])
        w = diagonal[:, None] * a
        down = self.z.weighted(in_, za)
        w[: len(down)] -= down
        return w

    def _mixed_traces(self, p: np.ndarray, pp: tuple, b: np.ndarray) -> np.ndarray:
        """tr(F_i P B) symmetrised, for a B that need not be symmetric."""
        diagonal = (p * b.T).sum(1)
        zp = np.hstack([pp[0], pp[1]])
        zb = self.z.times(b.T)
        return self.traces(diagonal[: self.first].sum(), diagonal[self.first :], (zp * zb).sum(1))

    def _length(self, c: np.ndarray, apply: Callable[[np.ndarray], np.ndarray], most: float = 1.0, rounds: int = 20) -> float:
        """About the largest step along `apply` that stays positive definite, c the Cholesky factor of the place."""
        trsv = get_blas_funcs("trsv", (c,))

        def turned(v: np.ndarray) -> np.ndarray:
            return trsv(c, apply(trsv(c, v, lower=1, trans=1)), lower=1)

        low = lowest(turned, len(c), rounds)
        return most if low >= -1.0 / most else -1.0 / low


def _cholesky(a: np.ndarray) -> np.ndarray | None:
    c, info = lapack.dpotrf(a, lower=1, clean=1)
    return c if info == 0 and math.isfinite(float(c[-1, -1])) else None


def _inverse(c: np.ndarray) -> np.ndarray:
    p, _ = lapack.dpotri(c, lower=1)
    return np.tril(p) + np.tril(p, -1).T


def _symmetric(a: np.ndarray) -> np.ndarray:
    return 0.5 * (a + a.T)
