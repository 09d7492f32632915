"""Multipliers for the joint inequality: the interior point method of constants/sdp, with tau >= 0 as further rows. Proves nothing: `joint` does.

The program minimises rho subject to rho E_0 + Q + sum tau_i F_i >= 0 and tau >= 0, in the coordinates (dx, psi), phi = psi + m z. A multiplier whose neuron has
a term -c phi^2 could become negative, so every tau_i stands once more on the diagonal, in a coordinate of its own. Start: multipliers 1/u of the closed
form (recursion.py), scaled until the inequality holds. Large networks: one program for the mean of the pairs, and for each pair only the scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.linalg as sl

from ...core.errors import SoundnessError
from ...core.midrad import full
from ..sdp.interior import InteriorPoint, Program
from ..sdp.recursion import absolute, closed_form, top
from .joint import Joint, Pieces


class Search:
    """The programs of one chain, which differ in Q alone."""

    def __init__(self, joint: Joint):
        self.joint, chain = joint, joint.chain
        self.layers = joint.head.layers
        self.counts = [layer.groups for layer in self.layers]
        us, exponents, _ = closed_form(joint.head) if self.layers else ([], [], None)
        self.start = 1.0 / (1.02 * np.concatenate(absolute(us, exponents))) if self.layers else np.zeros(0)
        self.size = joint.size
        self.z, self.phi = _coordinates(joint)
        n = sum(self.counts)
        self.total = self.size + n
        places, place = [], chain.input_size
        rows = []
        for layer, z in zip(self.layers, self.z):
            rows.append((place, layer.half[:, None] * z[:, :place]))
            places.append(place)
            place += len(z)
        own = np.arange(n)
        program = Program(chain.input_size, self.total, rows, np.zeros((1, self.total)), np.concatenate([own, own]), own, n)
        self.point = InteriorPoint(program) if n else None

    def quadratic(self, pieces: Sequence[Pieces]) -> np.ndarray:
        """-Q: the sum of the curvature terms, in the coordinates (dx, psi)."""
        q = np.zeros((self.size, self.size))
        for k, ((a, b, c), z) in enumerate(zip(pieces, self.z)):
            q += z.T @ (a[:, None] * z)
            if k < len(self.layers):
                phi = self.phi[k]
                cross = (0.5 * b)[:, None] * z
                q += cross.T @ phi + phi.T @ cross - phi.T @ (c[:, None] * phi)
        return q

    def solve(self, pieces: Sequence[Pieces], tolerance: float = 1e-5, stop: Callable[[], bool] = lambda: False) -> tuple[float, list[np.ndarray]]:
        """(rho, taus), nearly optimal."""
        q = self.quadratic(pieces)
        if self.point is None:
            return max(top(q), 0.0), []
        scale = 1.3 * self._scale(q, self.start)
        if not scale > 0:
            return 0.0, self.split(self.start * 0.0)
        whole = np.zeros((self.total, self.total))
        whole[: self.size, : self.size] = q / scale
        self.point.yy = whole
        found = self.point.solve(1.3 * self.start, 1.3, tolerance=tolerance, stop=stop)
        if found is None:
            return 1.3 * scale, self.split(1.3 * scale * self.start)
        return found.rho * scale, self.split(found.tau * scale)

    def scaled(self, pieces: Sequence[Pieces], tau: np.ndarray) -> tuple[float, list[np.ndarray]]:
        """(rho, taus) with taus = t tau, the best t of a short search; tau relative to rho = 1."""
        q = self.quadratic(pieces)
        try:
            most = self._scale(q, tau)
        except np.linalg.LinAlgError:
            tau = self.start
            most = self._scale(q, tau)
        best = (1.02 * most, 1.02 * most * tau)
        for factor in (0.3, 0.5, 0.7, 0.85):
            rho = self._rho(q, factor * most * tau)
            best = min(best, (rho, factor * most * tau), key=lambda pair: pair[0])
        return max(best[0], 0.0), self.split(best[1])

    def split(self, tau: np.ndarray) -> list[np.ndarray]:
        return np.split(np.maximum(tau, 0.0), np.cumsum(self.counts)[:-1])

    def _forms(self, rho: float, tau: np.ndarray) -> np.ndarray:
        if self.point is None:
            raise SoundnessError("a search without a program was asked for a combination", hint="please report this: a defect of the toolkit")
        return self.point.combination(rho, tau)[: self.size, : self.size]

    def _scale(self, q: np.ndarray, tau: np.ndarray) -> float:
        """The least t with t (E_0 + sum tau F) >= -Q."""
        return top(_whitened(q, self._forms(1.0, tau)))

    def _rho(self, q: np.ndarray, tau: np.ndarray) -> float:
        """The least rho for these multipliers: a Schur complement; inf if the part of psi is not positive."""
        n = self.joint.chain.input_size
        s = self._forms(0.0, tau) - q
        try:
            root = sl.cholesky(s[n:, n:], lower=True)
        except np.linalg.LinAlgError:
            return np.inf
        k = sl.solve_triangular(root, s[n:, :n], lower=True)
        return top(k.T @ k - s[:n, :n])


def _whitened(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    root = sl.cholesky(p, lower=True)
    half = sl.solve_triangular(root, q, lower=True)
    return sl.solve_triangular(root, half.T, lower=True)


def _coordinates(joint: Joint) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Rows of z_l and of phi_l in the coordinates (dx, psi), of the full length."""
    chain, size = joint.chain, joint.size
    state, place = np.zeros((chain.input_size, size)), chain.input_size
    state[:, : chain.input_size] = np.eye(chain.input_size)
    zs, phis = [], []
    for k, layer in enumerate(chain.layers):
        z = full(layer.weight.mid) @ state
        zs.append(z)
        if k + 1 == len(chain.layers):
            break
        phi = layer.middle[:, None] * z
        phi[:, place : place + len(z)] += np.eye(len(z))
        phis.append(phi)
        place += len(z)
        before = 0.0 if layer.keep is None else full(layer.keep.mid) @ state
        state = before + full(layer.inject.mid) @ phi
    return zs, phis
