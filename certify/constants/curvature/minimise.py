"""Points and multipliers for the dual certificate, by floats, all pairs at once: proves nothing, any answer is legal.

For each (input, class): the best eta is where m(x(eta)) = 0, x(eta) = argmin |x - x0|^2/2 + eta m(x), and m(x(eta)) falls with eta: bisection,
the inner problem solved from the last point by gradient steps of Barzilai and Borwein's length within [1/(1 + eta K+), 1/(1 - eta K-)].
If m stays positive up to eta = CAP / K- the dual is saturated and that is the best eta.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...core.graph import Graph

CAP = 1.0 - 2.0**-17  # eta K- at most: beyond, the inexactness term grows as 1 / (1 - eta K-)
HALVINGS, INNER, FINAL = 22, 12, 60

Values = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def margin_function(graph: Graph, labels: np.ndarray, others: np.ndarray) -> Values:
    """(points (n, d), which (n,)) -> m and grad m of the pairs `which`, in float64, by torch's automatic differentiation."""
    import torch

    module = graph.to_torch().double()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    first, second = torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(others.astype(np.int64))
    shape = graph.input_shape

    def values(points: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = torch.from_numpy(np.ascontiguousarray(points).reshape(len(points), *shape)).requires_grad_()
        with torch.enable_grad():
            z = module(x).reshape(len(points), -1)
            index = torch.from_numpy(which)
            m = z.gather(1, first[index, None])[:, 0] - z.gather(1, second[index, None])[:, 0]
            (gradient,) = torch.autograd.grad(m.sum(), x)
        return m.detach().numpy(), gradient.reshape(len(points), -1).numpy()

    return values


def minimise(values: Values, centres: np.ndarray, low: np.ndarray, high: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(eta (n,), points (n, d)) for pairs with centres (n, d), K- `low`, K+ `high` (n,), starting at the eta `guess`."""
    n = len(centres)
    cap = np.where(low > 0, CAP / np.maximum(low, 1e-300), np.inf)
    below, above = np.zeros(n), np.full(n, np.inf)
    eta = np.clip(guess, 0.0, cap)
    y = centres.copy()
    best_eta, best = eta.copy(), np.full(n, -np.inf)
    best_y = y.copy()
    active = np.arange(n)
    for step in range(HALVINGS):
        y[active], m, g, residual = _inner(values, active, centres[active], y[active], eta[active], low[active], high[active], INNER)
        d = y[active] - centres[active]
        q = 0.5 * (d * d).sum(1) + eta[active] * m - residual**2 / (2.0 * np.maximum(1.0 - eta[active] * low[active], 1e-12))
        better = q > best[active]
        chosen = active[better]
        best[chosen], best_eta[chosen], best_y[chosen] = q[better], eta[chosen], y[chosen]
        positive = m > 0
        below[active] = np.where(positive, eta[active], below[active])
        above[active] = np.where(positive, above[active], eta[active])
        # a secant through the slope of m along eta: dm/deta <= -|grad m|^2 / (1 + eta K+)
        newton = eta[active] + m * (1.0 + eta[active] * 0.5 * (high[active] - low[active])) / np.maximum((g * g).sum(1), 1e-30)
        a, b = below[active], np.minimum(above[active], cap[active])
        middle = np.where(np.isfinite(b), 0.5 * (a + b), 4.0 * eta[active] + 1e-6)
        inside = (newton > a + 0.05 * (b - a)) & (newton < b - 0.05 * (b - a)) & (step % 3 < 2)
        following = np.where(inside, newton, middle)
        following = np.where(~np.isfinite(above[active]) & np.isfinite(cap[active]) & ((newton >= b) | (step >= 2)), cap[active], following)
        done = (positive & (eta[active] >= cap[active])) | (np.abs(following - eta[active]) <= 1e-7 * eta[active])
        eta[active] = np.where(done, eta[active], following)
        active = active[~done]
        if not len(active):
            break
    every = np.arange(n)
    best_y, *_ = _inner(values, every, centres, best_y, best_eta, low, high, FINAL)
    return best_eta, best_y


def _inner(values: Values, which: np.ndarray, x0: np.ndarray, y: np.ndarray, eta: np.ndarray, low: np.ndarray, high: np.ndarray, most: int):
    """Gradient steps on l; (best y, m there, grad m there, |grad l| there)."""
    shortest, longest = 1.0 / (1.0 + eta * high), 1.0 / np.maximum(1.0 - eta * low, 1e-6)
    length = np.minimum(1.0, longest)
    best = None
    last_y = last_slope = None
    for _ in range(most):
        m, g = values(y, which)
        slope = y - x0 + eta[:, None] * g
        size = np.sqrt((slope * slope).sum(1))
        if best is None:
            best = [y.copy(), m.copy(), g.copy(), size.copy()]
        else:
            better = size < best[3]
            for kept, new in zip(best, (y, m, g, size)):
                kept[better] = new[better]
        if last_y is not None:
            s, t = y - last_y, slope - last_slope
            st, tt = (s * t).sum(1), (t * t).sum(1)
            length = np.clip(np.where(tt > 0, st / np.maximum(tt, 1e-300), length), shortest, longest)
        if (best[3] <= 1e-9).all():
            break
        last_y, last_slope = y, slope
        y = y - length[:, None] * slope
    return best
