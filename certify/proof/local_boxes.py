"""Linear functions of a network's increments bounded on a ball, backward through the blocks, with the checker's own error vector.

For |dx|_p <= r and the stored boxes of the earlier blocks (proved to hold on the ball), a row K over the sources (dx and every block's dphi) has
    sum_s K_s v_s >= c - e + sum_s A_s v_s,   A = fl(K) at first, c = 0, e = sum_s rad(K_s) size_s,   size_s >= |v_s|.
One block b, the latest first, is taken out of A by its lines: A_b dphi >= A+ (low dz + low0) + A- (high dz + high0), A+ = max(A_b, 0), A- = min(A_b, 0), and
dz = sum_s M_s v_s. With T = fl(A+ low + A- high), one product each, the other being 0: A_s <- fl(A_s + fl(T M_s)), c <- fl(c + A+ low0 + A- high0). Off by at most
- u |T| reach (the product in T), sum_s |T| (rad(M_s) + gamma_n |M_s|) size_s (products with M), u |A_s| size_s of the new A_s (their sum), n = rows of M;
- gamma_(2n) (A+ |low0| + |A-| |high0|) + u |c| (the constants).
At last A_x dx >= -r |A_x|_q, q dual to p. e collects nonnegative floats: two nested inner products of at most 2^20 terms each and at most 2^18 additions, so
that the factor 1 + 2^-28 pays for its own roundings. Matrices, lines, sizes and rows are at most 2^200 (rows beyond prove nothing): an underflow of at most 2 eta per
product, 2^20 products, met by at most two factors of 2^200 and 2^40 further terms, is below 2^-600 = FLOOR in all.
The second bound is |row v| <= sum_s (|K_s| + rad) size_s. Source: Zhang, Weng, Chen, Hsieh, Daniel 2018 (CROWN); methods/rounding.md section 4.
"""

from __future__ import annotations

import numpy as np

from ..core.midrad import MidRad
from ..core.rounding import U, down, dual_norm, gamma, norms_up, up
from . import fields
from .local_lines import Ends, Lines, lines_of
from .local_values import LIMIT, Network

GROW, FLOOR = 1.0 + 2.0**-28, 2.0**-600
_ENTRIES = 1 << 22  # of the largest array of one pass


class Ball:
    """The bounds on one ball; `append` adds the next block, whose box must have been proved."""

    def __init__(self, network: Network, norm: str, radius: float):
        self.network, self.norm, self.radius = network, norm, radius
        self.sizes = {network.reading.input: np.full(network.reading.input_size, radius)}  # |dx_i| <= |dx|_p in every norm
        self.lines: list[Lines] = []
        self.errors: list[np.ndarray] = []

    def append(self, z: Ends, box: Ends) -> None:
        """The next block with z0 in z and increments in box, pairs of float64 (entries,)."""
        i = len(self.lines)
        name, block = self.network.blocks[i]
        lines = lines_of(self.network.kinds[i], block, z, box)
        for part in lines:
            if part is not None and not (np.abs(part) <= LIMIT).all():  # NaN fails
                raise fields.refuse("the relaxation of a block is not finite on its box", name)
        total = 4 * U * lines.reach
        for source, m in self.network.into[i].items():
            total = total + (m.radius() + gamma(len(m.mid) + 4) * np.abs(m.mid)) @ self.sizes[source]
        self.errors.append(total)
        self.lines.append(lines)
        self.sizes[name] = lines.size

    def magnitude(self, values: dict[str, MidRad], rows: int) -> np.ndarray:
        """Upper ends (rows,) of |value| by sizes alone."""
        total = np.zeros(rows)
        for source, m in values.items():
            total = total + (np.abs(m.mid) + m.radius()) @ self.sizes[source]
        return up(total * GROW) + FLOOR

    def lower(self, values: dict[str, MidRad], rows: int) -> np.ndarray:
        """Lower ends (rows,) of the value on the ball; -inf where nothing is known."""
        step = max(1, _ENTRIES // self.network.width)
        return np.concatenate(
            [self._lower({s: MidRad(m.mid[i : i + step], m.radius()[i : i + step]) for s, m in values.items()}, min(step, rows - i)) for i in range(0, rows, step)]
        )

    def _lower(self, values: dict[str, MidRad], rows: int) -> np.ndarray:
        network = self.network
        a = {source: m.mid for source, m in values.items()}
        c, e, legal = np.zeros(rows), np.zeros(rows), np.ones(rows, bool)
        with np.errstate(all="ignore"):
            for source, m in values.items():
                e = e + m.radius() @ self.sizes[source]
            for i in range(len(self.lines) - 1, -1, -1):
                own, lines = a.pop(network.blocks[i][0], None), self.lines[i]
                if own is None:
                    continue
                legal &= _within(own)
                above, below = np.maximum(own, 0.0), np.minimum(own, 0.0)
                c = c + (above @ lines.low0 + below @ lines.high0)
                e = e + gamma(2 * own.shape[1] + 8) * (above @ np.abs(lines.low0) - below @ np.abs(lines.high0)) + 4 * U * np.abs(c)
                if lines.low is None or lines.high is None:
                    continue
                turned = above * lines.low + below * lines.high
                legal &= _within(turned)
                e = e + np.abs(turned) @ self.errors[i]
                for source, m in network.into[i].items():
                    term = turned @ m.mid
                    if source in a:
                        term = a[source] + term
                        e = e + 2 * U * (np.abs(term) @ self.sizes[source])
                    a[source] = term
            x = a.get(network.reading.input, np.zeros((rows, 1)))
            legal &= _within(x)
            reach = up(norms_up(np.where(legal[:, None], x, 0.0), dual_norm(self.norm)) * self.radius)
            found = down(down(c - (up(e * GROW) + FLOOR)) - reach)
            return np.where(legal & ~np.isnan(found), found, -np.inf)


def _within(rows: np.ndarray) -> np.ndarray:
    return np.abs(rows).max(axis=1, initial=0.0) <= LIMIT


def prove_boxes(ball: Ball, z: Ends, stored: Ends, where: str) -> None:
    """Every stored box, block after block, holds the increments on the ball; `ball` then knows all blocks.

    Args:
        z, stored: pairs of float64 (entries,): enclosure of z0, and the claimed increments.
    Raises:
        CertificateError: a box that is not finite, does not hold 0, or does not contain the checker's own.
    """
    network = ball.network
    for i, ((name, block), place) in enumerate(zip(network.blocks, network.places)):
        low, high, rows = stored[0][place], stored[1][place], len(block.lo)
        if not ((low <= 0).all() and (high >= 0).all() and np.isfinite(low).all() and np.isfinite(high).all()):
            raise fields.refuse("a stored box is not finite, or does not hold 0", f"{where}, block {name}")
        values = network.into[i]
        most = ball.magnitude(values, rows)
        both = ball.lower({s: MidRad(np.vstack([m.mid, -m.mid]), np.vstack([m.radius()] * 2)) for s, m in values.items()}, 2 * rows)
        least, largest = np.maximum(both[:rows], -most), np.minimum(-both[rows:], most)
        inside = (least >= low) & (largest <= high)  # NaN fails
        if not inside.all():
            j = int(np.argmin(inside))
            raise fields.refuse(
                "a stored box is not proved",
                f"{where}, block {name}, entry {j}",
                f"[{float(low[j])!r}, {float(high[j])!r}]",
                f"to contain [{float(least[j])!r}, {float(largest[j])!r}]",
            )
        ball.append((z[0][place], z[1][place]), (low, high))
