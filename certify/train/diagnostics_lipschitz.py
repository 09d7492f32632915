"""How much a network stretches distances where one looks: between inputs, along the segments that join them, and in its Jacobians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import InputError
from ..core.regions import require_norm
from ..robustness.data import checked_inputs
from .modes import evaluation

_BATCH = 256
_ORDER = {"l2": 2.0, "linf": torch.inf, "l1": 1.0}


@dataclass(frozen=True, eq=False)
class EmpiricalLipschitz:
    """Observed stretch factors, each array sorted; all of them are at most the Lipschitz constant, up to float rounding.

    Attributes:
        pairs: |f(x) - f(y)| / |x - y| for pairs of inputs. interpolates: the same for pairs of points on the segment between two inputs.
        jacobians: |J(x)| at inputs. norm: of both sides.
    """

    pairs: np.ndarray
    interpolates: np.ndarray
    jacobians: np.ndarray
    norm: str

    @property
    def lower(self) -> float:
        """The largest factor seen: an estimate of the constant from below."""
        return float(max((a.max() for a in self.arrays().values() if len(a)), default=0.0))

    def arrays(self) -> dict[str, np.ndarray]:
        return {"pairs": self.pairs, "interpolates": self.interpolates, "jacobians": self.jacobians}

    def quantiles(self, shares: Sequence[float] = (0.05, 0.5, 0.95, 1.0)) -> dict[str, list[float]]:
        """Quantiles of each array, by its name."""
        return {name: np.quantile(a, shares).tolist() for name, a in self.arrays().items() if len(a)}


def empirical_lipschitz(model: nn.Module, inputs: Any, norm: str = "l2", pairs: int = 1000, interpolates: int = 1000, jacobians: int = 100, seed: int = 0) -> EmpiricalLipschitz:
    """Stretch factors of `model` on random pairs of `inputs`, on random points between them, and of its Jacobians at some of them.

    Claim: none from above. Each value is a lower end of the Lipschitz constant in `norm`, up to the rounding of the model's own arithmetic.

    Args:
        model: maps (n, *shape) to (n, ...), each sample by itself; it is run in eval mode and left in its mode. inputs: (n, *shape).
        pairs, interpolates, jacobians: how many of each; pairs of equal points are left out, Jacobians are taken at different inputs (at most n).
        seed: which ones; the random numbers of the process are not touched.
    Raises:
        InputError: an unknown norm, a negative count, inputs that cannot be used.
    Cost: two forward passes per pair; one backward pass per output and batch for the Jacobians, and their singular values for l2.
    Source: Sanyal, Torr & Dokania, ICLR 2020, section 5 (empirical Lipschitz constants on pairs and by Jacobians).

    >>> found = empirical_lipschitz(nn.Linear(2, 2), np.eye(2), pairs=4, interpolates=4, jacobians=2)
    >>> bool(found.pairs.max() <= found.jacobians[0] * (1 + 1e-4))
    True
    """
    require_norm(norm)
    for name, count in (("pairs", pairs), ("interpolates", interpolates), ("jacobians", jacobians)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise InputError(f"{name} is not a count", where=f"argument {name}", found=repr(count), expected="a whole number from 0")
    like = next(model.parameters(), torch.zeros(()))
    points = torch.from_numpy(np.array(checked_inputs(inputs, None))).to(like.device, like.dtype)
    generator = torch.Generator().manual_seed(seed)
    with evaluation(model):
        places = [torch.randint(len(points), (2, count), generator=generator) for count in (pairs, interpolates)]
        along = torch.rand((2, interpolates), generator=generator).to(points)
        chosen = torch.randperm(len(points), generator=generator)[:jacobians]
        found = _quotients(model, lambda part: (points[places[0][0, part]], points[places[0][1, part]]), pairs, norm)
        between = _quotients(model, lambda part: _between(points, places[1][:, part], along[:, part]), interpolates, norm)
        slopes = [_jacobian_norms(model, points[part], norm) for part in chosen.split(_BATCH)] if len(chosen) else []
    return EmpiricalLipschitz(found, between, np.sort(np.concatenate(slopes)) if slopes else np.empty(0), norm)


def _between(points: Tensor, ends: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Two points each on the segments between points[ends[0]] and points[ends[1]]."""
    t = shares.reshape(2, -1, *(1,) * (points.ndim - 1))
    return torch.lerp(points[ends[0]], points[ends[1]], t[0]), torch.lerp(points[ends[0]], points[ends[1]], t[1])


@torch.no_grad()
def _quotients(model: nn.Module, draw: Callable[[Tensor], tuple[Tensor, Tensor]], count: int, norm: str) -> np.ndarray:
    found = []
    for part in torch.arange(count).split(_BATCH) if count else ():
        x, y = draw(part)
        near = torch.linalg.vector_norm((x - y).flatten(1).double(), _ORDER[norm], 1)
        far = torch.linalg.vector_norm((model(x) - model(y)).flatten(1).double(), _ORDER[norm], 1)
        found.append((far / near)[near > 0].cpu().numpy())
    return np.sort(np.concatenate(found)) if found else np.empty(0)


def _jacobian_norms(model: nn.Module, points: Tensor, norm: str) -> np.ndarray:
    """|J(x)| for each x: one backward pass per output for the whole batch, since a sample's outputs depend on no other sample."""
    x = points.detach().requires_grad_(True)
    with torch.enable_grad():
        outputs = model(x).flatten(1)
        rows = [torch.autograd.grad(outputs[:, k].sum(), x, retain_graph=True)[0].flatten(1) for k in range(outputs.shape[1])]
    jacobian = torch.stack(rows, 1).double()
    if norm == "l2":
        return torch.linalg.matrix_norm(jacobian, 2).cpu().numpy()
    return jacobian.abs().sum(2 if norm == "linf" else 1).amax(1).cpu().numpy()
