"""Gram matrices along one line of frequencies: the outer phases are summed once, each point costs 2 J - 1 real terms per entry."""

from __future__ import annotations

import numpy as np

from .symbol import Symbol, phases


class LineGram:
    """G(w) for w_inner free and the other frequencies fixed (w = pi numerators / period; the entries at `inner` are ignored).

    G = H_0 + sum over inner lags l > 0 of (exp(i w l) H_l + its adjoint) = H_0 + sum_l (cos(w l) E_l + sin(w l) O_l) with the Hermitian
    E_l = H_l + H_l*, O_l = i (H_l - H_l*), which are made once from the real lag products of the symbol.

    Rounding: a term is a product of K roundings in its lag product, one in C + C' or C' - C, then a phase and a sum over the m lags of its inner
    length (terms of other lengths are exact zeros), then a phase and a sum over r rows. The lags are a product set, so m r = 2 L - 1 and
    m + r <= 2 L: at most K + 2 L + 4 roundings, of which `Symbol.slack` counts K + 2 L + 8; the phases of both steps together are
    within 9 D u of the true one.
    """

    def __init__(self, symbol: Symbol, inner: int, numerators: tuple[int, ...], period: tuple[int, ...]):
        self.a = symbol.a
        lags = symbol.lags[1:]
        along = lags[:, inner]
        outer = lags.copy()
        outer[:, inner] = 0
        # a lag with a negative inner part enters through its adjoint: transposed, at the opposite outer phase
        outer[along < 0] *= -1
        turn = phases(np.array([numerators], dtype=np.int64), period, outer)[0]
        c, s, sign = turn.real, turn.imag, np.where(along < 0, -1.0, 1.0)  # G holds exp(i w l) C_l' for l > 0: its skew part is symbol.odd = C' - C
        self.lengths = np.unique(np.abs(along[along != 0]))
        place = {0: 0, **{int(length): 2 * i + 1 for i, length in enumerate(self.lengths)}}
        rows = 2 * len(self.lengths) + 1
        even, odd = np.zeros((rows, len(lags))), np.zeros((rows, len(lags)))
        for k, length in enumerate(np.abs(along)):
            first = place[int(length)]
            even[first, k], odd[first, k] = c[k], s[k] * sign[k]
            if length:
                even[first + 1, k], odd[first + 1, k] = -s[k], c[k] * sign[k]
        self.table = np.empty((rows, self.a * self.a), dtype=np.complex128)
        self.table.real = even @ symbol.even
        self.table.imag = odd @ symbol.odd
        self.table[0].real += symbol.center.ravel()

    def gram(self, numerators: np.ndarray, period: int, sign: float = 1.0) -> np.ndarray:
        """sign * Gh, (points, a, a), at w_inner = pi numerators / period."""
        turn = phases(numerators[:, None], (period,), self.lengths[:, None])
        weights = np.empty((len(numerators), 2 * len(self.lengths) + 1))
        weights[:, 0] = sign
        weights[:, 1::2], weights[:, 2::2] = sign * turn.real, sign * turn.imag
        return (weights @ self.table.view(np.float64)).view(np.complex128).reshape(-1, self.a, self.a)
