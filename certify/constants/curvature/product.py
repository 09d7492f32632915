"""The simple curvature bounds: the product form, and the composition of Jacobian-Lipschitz constants (the use that Fantastic Four makes of layer bounds).

Claims, for m = row . N of a chain of scalar activations |f'| <= g, |f''| <= h per layer, with L_k >= |ds_k/dx| and J_k >= the Lipschitz constant (spectral norm against
|dx|) of the Jacobian of the state before layer k: z = W s, phi = f(z), s+ = H s + G phi. Then
    L_z = |W| L,  L+ = |H| L + |G| g L_z,    J+ = |H| J + |G| (g |W| J + h |W|_(2 to inf) L |W| L)                              (C)
since d(f'(z)) has entries at most h |W row| L |dx|; |Hess m| <= |row C| J_last. And from the identity Hess m = sum_k B' diag(F o f'') B,
    |Hess m| <= sum_k max_i |F_i| h L_z^2                                                                                        (A)
Norms are upper ends from core.rounding (Frobenius, and sqrt(|.|_1 |.|_inf)): these bounds only catch what the joint inequality cannot do.
Source: Singla and Feizi, Second-order provable defenses (2020), and Fantastic Four (2021), section on curvature.
"""

from __future__ import annotations

import numpy as np

from ...core.midrad import MidRad, full
from ...core.posdef import max_eigenvalue_upper
from ...core.rounding import add_up, mul_up, norm_up, norms_up, sqrt_up, up
from ..sdp.chain import Chain
from .gradients import gradient_ranges
from .majorants import Majorant


def product_curvatures(chain: Chain, kinds: list[tuple[Majorant, Majorant]], rows: np.ndarray) -> np.ndarray:
    """Upper ends of |Hess row . N| (n,), the smaller of (A) and (C)."""
    ranges = gradient_ranges(chain, rows)
    slope, curve, total = 1.0, 0.0, np.zeros(len(rows))
    for layer, kind, f in zip(chain.layers, kinds, ranges, strict=True):
        g = float(np.maximum(np.abs(layer.lo), np.abs(layer.hi)).max(initial=0.0))
        h = max(kind[0].peak, kind[1].peak)
        w, inject = norm_of(layer.weight), norm_of(layer.inject)
        keep = 0.0 if layer.keep is None else norm_of(layer.keep)
        z = mul_up(w, slope)
        largest = np.maximum(np.abs(f[0]), np.abs(f[1])).max(axis=1, initial=0.0)
        total = up(total + up(largest * mul_up(h, mul_up(z, z))))
        rowwise = float(norms_up(_largest(layer.weight), "l2").max(initial=0.0))
        turned = add_up(mul_up(g, mul_up(w, curve)), mul_up(mul_up(h, mul_up(rowwise, slope)), z))
        curve = add_up(mul_up(keep, curve), mul_up(inject, turned))
        slope = add_up(mul_up(keep, slope), mul_up(mul_up(inject, g), z))
    ends = MidRad(np.asarray(rows, dtype=np.float64)) @ chain.last.dense()
    return np.minimum(total, up(norms_up(_largest(ends), "l2") * curve))


def _largest(a: MidRad) -> np.ndarray:
    return up(np.abs(full(a.mid)) + a.radius())


def norm_of(a: MidRad) -> float:
    """Upper end of the spectral norm: by a verified eigenvalue of the Gram matrix up to 1,000 rows or columns, else Frobenius."""
    size = _largest(a)
    simple = norm_up(size, "l2")
    if min(a.shape) == 0 or min(a.shape) > 1000:
        return simple
    b = a.dense()
    b = b if b.shape[0] <= b.shape[1] else b.T
    gram = b @ b.T
    lower = np.tril(gram.mid)
    radius = up(np.maximum(gram.radius(), gram.radius().T) + np.abs(gram.mid - gram.mid.T))
    square = max_eigenvalue_upper(lower + np.tril(gram.mid, -1).T, radius_norm=norm_up(radius, "l2"))
    return min(simple, sqrt_up(max(square, 0.0)))
