"""The finite section B(w_outer) of a convolution along one axis, and its largest eigenvalue by a block-banded Cholesky factorisation.

B has one block row per output o < m and one block column per coordinate block b of the inner axis (stride s: pixels xi = s b + r); its block
(o, b) is R_w[b - o], the taps of the inner axis with the outer ones summed up at the outer frequency, with the columns of pixels outside
[0, n) left out. ||A|| <= max over the outer grid of ||B(w)|| (Theorem 1 on the outer axes alone), which is the best that any inner period and
twist could reach. The Gram matrix (of the smaller side) has at most 2 J - 1 blocks in a row, so its Cholesky factor is banded: about 25 a^3
complex operations per block row at J = 3 instead of (m a)^2 a / 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import blas, lapack

from ..core.cholesky import substitution
from ..core.lanczos import krylov
from ..core.rounding import U, gamma, mul_up, up
from ..linear.conv import ConvMap
from .majorant import size_up
from .pieces import Found, Piece
from .polyphase import AxisPlan, column_phases, sections_of
from .symbol import Symbol, phases

_LANCZOS = 60


@dataclass(eq=False)
class Section:
    """One class (n, p, m) of the inner axis at one outer frequency: `taps` (J, a, b) complex with columns (c, r), `inside` (blocks, b) which columns exist.

    The Gram matrix Gh of the side with fewer rows satisfies || Gh - G || <= `slack`, and `size` is its dimension.

    Proof of the slack. With P_j = sum over the outer taps |R[j]| and S the section of the P_j: each tap is off by sqrt2 g P_j, g = gamma_T (1 + 2 eps) + 2 eps
    with T outer taps and the phase error eps = 9 D u; an entry of Gh is a sum of at most J b products (a, on the other side), so
    |Gh - G| <= sqrt2 (gamma_(2 K + 4) (1 + 4 g) + 2 g (1 + 2 g)) S S', K the products; ||S||^2 <= || sum_j P_j ||_F^2, because a section of a
    nonnegative block Toeplitz matrix is bounded by its symbol at 0.
    """

    taps: np.ndarray
    inside: np.ndarray
    rows: int
    slack: float

    @cached_property
    def by_rows(self) -> bool:
        return self.rows * self.taps.shape[1] <= self.inside.size

    @property
    def size(self) -> int:
        return self.rows * self.taps.shape[1] if self.by_rows else self.inside.size

    @cached_property
    def blocks(self) -> list[list[np.ndarray]]:
        """Gh below the diagonal: blocks[i][d] is the block (i, i - d), d = 0 .. J - 1, in Fortran order."""
        return self._row_blocks() if self.by_rows else self._column_blocks()

    def _row_blocks(self) -> list[list[np.ndarray]]:
        count, full = len(self.taps), [bool(row.all()) for row in self.inside]
        cached: dict[tuple[int, int], np.ndarray] = {}

        def product(i: int, j: int, b: int) -> np.ndarray | None:
            """R[i] M_b R[j]*."""
            if not self.inside[b].any():
                return None
            if full[b]:
                if (i, j) not in cached:
                    cached[i, j] = self.taps[i] @ self.taps[j].conj().T
                return cached[i, j]
            return (self.taps[i] * self.inside[b]) @ self.taps[j].conj().T

        result = []
        for o in range(self.rows):
            row = []
            for d in range(min(count, o + 1)):
                total = np.zeros((self.taps.shape[1],) * 2, dtype=self.taps.dtype, order="F")
                for b in range(o, min(o - d + count, len(self.inside))):
                    term = product(b - o, b - o + d, b)
                    if term is not None:
                        total += term
                row.append(total)
            result.append(row)
        return result

    def _column_blocks(self) -> list[list[np.ndarray]]:
        count = len(self.taps)
        products = [[self.taps[i].conj().T @ self.taps[j] for j in range(count)] for i in range(count)]
        result = []
        for b in range(len(self.inside)):
            row = []
            for d in range(min(count, b + 1)):
                total = np.zeros((self.taps.shape[2],) * 2, dtype=self.taps.dtype, order="F")
                for o in range(max(0, b - count + 1), min(self.rows, b - d + 1)):
                    total += products[b - o][b - d - o]
                row.append(np.asfortranarray(total * np.outer(self.inside[b], self.inside[b - d])))
            result.append(row)
        return result

    def below(self, shift: float) -> bool:
        """Whether shift I - Gh has a finite Cholesky factor, computed block column by block column (R3: any order, triangular solves by substitution)."""
        if not substitution():
            return False
        reach, kind = len(self.taps) - 1, "z" if np.iscomplexobj(self.taps) else "d"
        product, triangle, factorise = (getattr(blas, kind + "gemm"), getattr(blas, kind + "trsm"), getattr(lapack, kind + "potrf"))
        square = blas.zherk if kind == "z" else blas.dsyrk
        factor: dict[int, dict[int, np.ndarray]] = {}  # factor[i][j]: block (i, j) of L, the last `reach` rows
        for i, row in enumerate(self.blocks):
            factor[i] = {}
            for j in range(i - len(row) + 1, i + 1):
                work = -row[i - j]
                for k in range(max(0, i - reach), j):
                    if k not in factor[j]:
                        continue
                    if j == i:
                        work = square(-1.0, factor[i][k], beta=1.0, c=work, lower=1, overwrite_c=1)
                    else:
                        work = product(-1.0, factor[i][k], factor[j][k], beta=1.0, c=work, trans_b=2, overwrite_c=1)
                if j < i:
                    factor[i][j] = triangle(1.0, factor[j][j], work, side=1, lower=1, trans_a=2, overwrite_b=1)
                    continue
                diagonal = np.arange(len(work))
                work[diagonal, diagonal] = shift + work[diagonal, diagonal].real
                factor[i][i], info = factorise(work, lower=1, clean=0, overwrite_a=1)
                pivots = np.diagonal(factor[i][i]).real
                if info != 0 or not (np.isfinite(pivots) & (pivots > 0)).all():
                    return False
            factor.pop(i - reach, None)
        return True

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Gh x for one vector, through the taps: search only."""
        return self._forward(self._backward(x)) if self.by_rows else self._backward(self._forward(x))

    def _forward(self, v: np.ndarray) -> np.ndarray:
        v = v.reshape(self.inside.shape) * self.inside
        return sum(v[j : j + self.rows] @ tap.T for j, tap in enumerate(self.taps)).ravel()

    def _backward(self, y: np.ndarray) -> np.ndarray:
        y, v = y.reshape(self.rows, -1), np.zeros(self.inside.shape, dtype=np.result_type(y, self.taps))
        for j, tap in enumerate(self.taps):
            v[j : j + self.rows] += y @ tap.conj()
        return (v * self.inside).ravel()

    def largest(self) -> float:
        """Estimate of lambda_max(G) by Lanczos, a little too high rather than too low: a failed factorisation costs more."""
        start = np.random.default_rng(0).standard_normal(self.size).astype(self.taps.dtype)
        value, _, residual = krylov(self.apply, start, min(_LANCZOS, self.size), 1e-4, 5)
        return value + min(0.25 * residual, 3e-4 * value)


class LineSections:
    """The sections of all dilation classes of one line: what `settle` asks of an exact piece."""

    def __init__(self, sections: list[Section], piece: Piece):
        self.sections, self.piece = sections, piece
        self.size, self.slack = max(s.size for s in sections), max(s.slack for s in sections)

    @cached_property
    def _largest(self) -> float:
        return max(section.largest() for section in self.sections)

    def estimate(self) -> Found:
        value = self._largest
        at = np.array([0 if f is None else f[0] for f in self.piece.fixed])
        return Found(value, at, tuple(1 if f is None else f[1] for f in self.piece.fixed), np.ones(1, dtype=np.complex128))

    def below(self, shift: float) -> bool:
        done = all(section.below(shift) for section in self.sections)
        if done:
            for section in self.sections:
                section.__dict__.pop("blocks", None)  # large
        return done


def line_sections(conv: ConvMap, plans: list[AxisPlan], symbol: Symbol, inner: int) -> Callable[[Piece], LineSections]:
    """The sections of lines along `inner` of a convolution with one group; columns (channel, phases) that the symbol left out stay out."""
    plan = plans[inner]
    phase = column_phases(conv.parts[0].weight, plans, inner)
    flat = symbol.flat.swapaxes(0, 1) if symbol.transposed else symbol.flat
    grids = sections_of(conv.axes[inner])
    made: dict[Piece, LineSections] = {}

    def make(piece: Piece) -> LineSections:
        if piece in made:
            return made[piece]
        outer = np.array([0 if f is None else f[0] for f in piece.fixed], dtype=np.int64)
        period = tuple(1 if f is None else f[1] for f in piece.fixed)
        at = symbol.at.copy()
        at[:, inner] = 0
        turn = phases(outer[None], period, at)[0]
        taps = np.stack([flat[:, :, symbol.at[:, inner] == j] @ turn[symbol.at[:, inner] == j] for j in range(len(plan.shifts))])
        if not taps.imag.any():  # at the frequencies 0 and pi everything is real: four times fewer operations
            taps = np.ascontiguousarray(taps.real)
        majorant = size_up(np.abs(flat).sum(2))
        weight = mul_up(mul_up(majorant, majorant), up(1.0 + 4.0 * gamma(len(symbol.at) + 1)))
        eps = 9.0 * symbol.dims * U
        g = up(up(gamma(len(symbol.at)) * (1.0 + 2.0 * eps)) + 2.0 * eps)
        products = len(plan.shifts) * max(flat.shape[:2])
        slope = up(up(gamma(2 * products + 4) * (1.0 + 4.0 * g)) + up(2.0 * g * (1.0 + 2.0 * g)))
        slack = mul_up(mul_up(1.5, slope), weight)
        sections = []
        for inputs, low, outputs in grids:
            blocks = outputs + len(plan.shifts) - 1
            pixel = plan.phases * np.arange(blocks)[:, None] + phase[None, :] - low
            sections.append(Section(taps, (pixel >= 0) & (pixel < inputs), outputs, slack))
        made[piece] = LineSections(sections, piece)
        return made[piece]

    return make
