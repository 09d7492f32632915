"""Search for the multipliers of `onesided` by a primal-dual interior point method: the largest rho for which M(rho, theta) >= 0. Proves nothing.

    maximise rho  subject to  M = E_0 - rho e e' + sum_k theta_k F_k >= 0,  theta >= 0;      its dual: X >= 0, X_ee = 1, tr(F_k X) = -x_k <= 0.
Steps of Helmberg, Rendl, Vanderbei, Wolkowicz (1996), predictor and corrector; F_k is a sum of rows' symmetric products, so with P = M^-1 the Newton matrix is
made of entrywise products of the Gram matrices of the rows in P and X. A step costs a few (rows^2 size + rows^3). Scaled so that dx is of size 1 and every F_k has norm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl
from scipy.linalg import lapack

from ..sdp.chain import Chain
from ..sdp.recursion import absolute, closed_form, top
from .onesided import PRODUCT, Problem

SMALL = 1e-1  # where the multipliers start that the closed form does not know, in scaled units


@dataclass(frozen=True)
class Reached:
    """rho in floats, theta (1 + multipliers,), relative gap, steps."""

    rho: float
    theta: np.ndarray
    gap: float
    steps: int


def start(chain: Chain, p: Problem, margin: float) -> np.ndarray:
    """theta for which the part of M below its corner is positive definite: the closed form of the plain sector, and the margin's 2 m / L^2; zeros else."""
    us, ks, metric = closed_form(chain)
    c = chain.last.dense().mid
    square = 1.6 * top(c @ metric @ c.T) * 4.0 ** (-sum(ks))
    theta = np.zeros(1 + len(p.place))
    theta[0] = 2.0 * margin / square
    theta[1 + np.flatnonzero(p.place < p.groups)] = 1.0 / (1.02 * np.concatenate(absolute(us, ks)))
    return theta


class Farthest:
    """One problem; `solve` from a feasible start. dx and dphi are measured in units of `scale`."""

    def __init__(self, p: Problem, scale: float):
        import scipy.sparse as sp

        self.inputs, self.size, self.scale, self.count = p.inputs, p.size, scale, 1 + len(p.place)
        n = len(p.z.mid)
        z, y = p.z.mid * scale, p.margin.mid * np.where(np.arange(p.size) > 0, scale, 1.0)
        self.basis = np.vstack([np.eye(self.size), z, y])  # e, dx, dphi, the dz, and m e + Y
        rows = len(p.phi) + 1
        places = np.stack([np.zeros(rows - 1, np.int64), p.phi, self.size + p.entry], axis=1)
        units = np.array([1.0, scale, 1.0])
        made = []
        for side, last in ((p.left, 0), (p.right, self.size + n)):
            data = np.concatenate([[1.0], (side * units).ravel()])
            where = np.concatenate([[last], places.ravel()]), np.concatenate([[0], np.repeat(np.arange(1, rows), 3)])
            made.append(sp.csr_array((data, (where[1], where[0])), shape=(rows, len(self.basis))))
        self.owner = np.concatenate([[0], p.owner])
        size = [np.asarray((a @ self.basis) ** 2).sum(1) for a in made]
        self.norm = np.maximum(np.sqrt(np.bincount(self.owner, size[0] * size[1], self.count)), 1e-100)
        self.left, self.right = made[0].multiply(1.0 / self.norm[self.owner][:, None]).tocsr(), made[1]
        self.left.eliminate_zeros()
        self.right.eliminate_zeros()
        self.kinds = np.concatenate([[-1], p.place // p.groups])
        sector = {int(g): i + 1 for i, g in enumerate(p.place) if g < p.groups}
        self.partner = np.concatenate([[0], [sector[int(g)] for g in p.place % p.groups]]).astype(int)
        self.simple = rows == self.count and bool((self.owner == np.arange(rows)).all())
        self.select = sp.csr_array((np.ones(rows), (self.owner, np.arange(rows))), shape=(self.count, rows))

    def gather(self, values: np.ndarray) -> np.ndarray:
        return values if self.simple else np.bincount(self.owner, values, self.count)

    def matrix(self, theta: np.ndarray) -> np.ndarray:
        inner = self.left.T @ self.right.multiply(theta[self.owner][:, None]).tocsr()
        a = self.basis.T @ (inner @ self.basis)
        return 0.5 * (a + a.T)

    def gram(self, a: np.ndarray) -> np.ndarray:
        """basis a basis'."""
        below = self.basis[self.size :]
        side = below @ a
        return np.block([[a, a @ below.T], [side, side @ below.T]])

    def traces(self, gram: np.ndarray) -> np.ndarray:
        """tr(F_k A) from basis A basis'."""
        first = np.asarray(self.right.multiply(self.left @ gram).sum(axis=1)).ravel()
        return self.gather(0.5 * (first + np.asarray(self.left.multiply(self.right @ gram).sum(axis=1)).ravel()))

    def newton(self, p: np.ndarray, x: np.ndarray) -> np.ndarray:
        """tr(F_i P F_j X) over (rho, theta), from the grams."""
        found = []
        for g in (p, x):
            a, b = self.left @ g, self.right @ g
            found.append((self.left @ a.T, self.right @ a.T, self.right @ b.T, a[:, 0], b[:, 0]))
        (ll, rl, rr, l0, r0), (xll, xrl, xrr, xl0, xr0) = found
        body = ll * xrr
        body += rr * xll
        body += rl * xrl.T
        body += rl.T * xrl
        body *= 0.25
        if not self.simple:
            body = self.select @ (self.select @ body).T
        q = np.empty((self.count + 1, self.count + 1))
        q[1:, 1:] = 0.5 * (body + body.T)
        q[0, 0] = p[0, 0] * x[0, 0]
        q[0, 1:] = -0.5 * self.gather(l0 * xr0 + r0 * xl0)
        q[1:, 0] = q[0, 1:]
        return q

    def base(self) -> np.ndarray:
        """E_0 in the scaled coordinates, divided by scale^2."""
        return np.diag(np.where((np.arange(self.size) > 0) & (np.arange(self.size) <= self.inputs), 1.0, 0.0))

    def first(self, theta: np.ndarray, small: float) -> tuple[float, np.ndarray, np.ndarray] | None:
        """(rho, theta, M) strictly feasible: a product starts at a share of its sector, a line at `small`; rho is what the Schur complement leaves, and less."""
        product, linear = self.kinds == PRODUCT, self.kinds > PRODUCT
        share = 0.1
        for _ in range(30):
            trial = np.where(linear, small, np.where(product, share * theta[self.partner], theta))
            s = self.base() + self.matrix(trial)
            c = _cholesky(s[1:, 1:])
            if c is not None:
                break
            share *= 0.25
        else:
            return None
        theta = trial
        w = sl.solve_triangular(c, s[1:, 0], lower=True)
        room = float(s[0, 0] - w @ w)
        rho = room - 0.5 * abs(room) - 0.05
        s[0, 0] -= rho
        return rho, theta, s

    def solve(self, theta: np.ndarray, enough: float = np.inf, hopeless: float = -np.inf, tolerance: float = 1e-3, most: int = 60) -> Reached | None:
        """From theta (its zeros are set); stops at a relative gap below `tolerance`, once rho exceeds `enough`, or once the dual shows rho < `hopeless`."""
        square = self.scale**2
        begun = self.first(theta * self.norm / square, SMALL)
        if begun is None:
            return None
        rho, theta, s = begun
        p = _inverse(_cholesky(s))
        mu = 1.0 / p[0, 0]
        x, xl = p * mu, mu / theta
        gap, steps = np.inf, 0
        while steps < most:
            steps += 1
            moved = self._step(s, p, x, xl, theta)
            if moved is None:
                break
            d, ds, dx, dxl, share = moved
            a, b = _moved(s, ds, theta, d[1:], share), _moved(x, dx, xl, dxl, share)
            if a < 1e-7 or b < 1e-7:
                break
            s, theta, rho = s + a * ds, theta + a * d[1:], rho + a * d[0]
            x, xl = x + b * dx, xl + b * dxl
            c = _cholesky(s)
            if c is None:
                break
            p = _inverse(c)
            gap = (float((x * s).sum()) + float(xl @ theta)) / abs(rho)
            resid = np.abs(self.traces(self.gram(x)) + xl) @ theta
            if rho * square >= enough or (resid < 0.1 * abs(rho) * gap and (gap < tolerance or (rho + gap * abs(rho)) * square < hopeless)):
                break
        return Reached(rho * square, theta / self.norm * square, gap, steps)

    def _step(self, s, p, x, xl, theta):
        gp = self.gram(p)
        q = self.newton(gp, self.gram(x))
        trace_p = self.traces(gp)
        d = np.arange(1, self.count + 1)
        q[d, d] += xl / theta
        scale = 1.0 / np.sqrt(np.maximum(np.diag(q), 1e-300))
        factor = _cholesky(scale[:, None] * q * scale + 1e-14 * np.eye(len(q)))
        if factor is None:
            return None
        total = self.size + self.count
        mu = (float((x * s).sum()) + float(xl @ theta)) / total
        target = np.zeros(self.count + 1)
        target[0] = -1.0

        def direction(sigma: float, second: np.ndarray | None, linear: np.ndarray | None):
            rhs = np.concatenate([[-sigma * mu * p[0, 0]], sigma * mu * trace_p + sigma * mu / theta]) - target
            if second is not None and linear is not None:
                w = p @ second
                rhs -= np.concatenate([[-w[0, 0]], self.traces(self.gram(0.5 * (w + w.T))) + linear / theta])
            y = scale * lapack.dpotrs(factor, scale * rhs, lower=1)[0]
            ds = self.matrix(y[1:])
            ds[0, 0] -= y[0]
            w = p @ (ds @ x if second is None else ds @ x + second)
            dx = sigma * mu * p - x - 0.5 * (w + w.T)
            dxl = (sigma * mu - (0.0 if linear is None else linear) - xl * y[1:]) / theta - xl
            return y, ds, dx, dxl

        y, ds, dx, dxl = direction(0.0, None, None)
        a, b = _moved(s, ds, theta, y[1:], 1.0), _moved(x, dx, xl, dxl, 1.0)
        after = float(((x + b * dx) * (s + a * ds)).sum()) + float((xl + b * dxl) @ (theta + a * y[1:]))
        sigma = min(max((max(after, 0.0) / (mu * total)) ** 2, 1e-6), 0.8)
        y, ds, dx, dxl = direction(sigma, ds @ dx, y[1:] * dxl)
        return y, ds, dx, dxl, 0.9 + 0.09 * min(a, b)


def _moved(a: np.ndarray, da: np.ndarray, t: np.ndarray, dt: np.ndarray, share: float) -> float:
    """A step length, at most 1, that keeps a + step da positive definite and t + step dt positive."""
    falling = dt < 0
    step = float((t[falling] / -dt[falling]).min(initial=np.inf))
    c = _cholesky(a)
    if c is None:
        return 0.0
    w = sl.solve_triangular(c, da, lower=True, check_finite=False)
    w = sl.solve_triangular(c, w.T, lower=True, check_finite=False)
    low = float(sl.eigvalsh(0.5 * (w + w.T), subset_by_index=[0, 0], check_finite=False)[0])
    if low < 0:
        step = min(step, -1.0 / low)
    return min(1.0, share * step)


def _cholesky(a: np.ndarray) -> np.ndarray | None:
    if not np.isfinite(a).all():
        return None
    c, info = lapack.dpotrf(a, lower=1, clean=1)
    return c if info == 0 else None


def _inverse(c: np.ndarray | None) -> np.ndarray:
    p, _ = lapack.dpotri(c, lower=1)
    return np.tril(p) + np.tril(p, -1).T
