"""Attack: look for the nearest input that the model classifies otherwise. What it finds is an upper end; what it misses proves nothing.

The search is a fast minimum-norm attack: projected gradient steps in a ball whose radius shrinks while the point is adversarial and
grows while it is not, started for the classes whose linearised boundary is nearest, then bisected along the segment. It works in
float32 or float64 torch and clips to no box (the radii do not either). `witness` turns its points into proofs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.errors import InputError
from ..core.graph import Graph
from ..core.rounding import dual_norm
from .geometry import column, projected, sizes, steepest

STEPS = {"fast": 15, "balanced": 20, "tight": 60}
RESTARTS = {"fast": 1, "balanced": 2, "tight": 6}
_BISECTIONS = 10
_OVERSHOOT = 1.01  # of the linearised distance: a point exactly on a flat boundary would never count as found
_RANKED = 10  # classes whose boundary is linearised, those with the largest logits first


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside, the caller's number after: float32 sums, and so the points found, then do not depend on the machine's
    core count or on `workers` (which is how to use more cores)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Attack:
    """Settings of the search. The result for an input depends on these, on the seed and on the inputs it shares a block with."""

    norm: str
    effort: str = "balanced"
    seed: int = 0
    device: str = "cpu"

    @classmethod
    def checked(cls, norm: str, effort: str, seed: int, device: str) -> Attack:
        """The settings, if torch can use the device and the seed is an integer >= 0; InputError otherwise."""
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise InputError("seed is not an integer >= 0", where="argument seed", found=repr(seed))
        try:
            torch.zeros(1, device=device).cpu()  # the meta device makes tensors without values
        except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
            raise InputError(
                "torch cannot use this device", where="argument device", found=repr(device), expected="'cpu', or what torch lists, such as 'cuda'", hint=str(error).splitlines()[0]
            ) from error
        return cls(norm, effort, int(seed), str(device))

    def __call__(self, graph: Graph, inputs: np.ndarray, labels: np.ndarray, gaps: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Perturbations (n, *shape), float64, that probably change the prediction; NaN where none was found.

        Args:
            graph: the network cut at its logits.
            inputs: (n, *shape) float64; labels: (n,) their present predictions.
            gaps: (n, k) z_label - z_j in float64: float32 is used if it reproduces them.
            indices: (n,) places in the data set, which seed the random starts.
        """
        with one_thread(), torch.inference_mode(False), torch.enable_grad(), np.errstate(all="ignore"):  # whatever the caller switched off
            for dtype in (torch.float32, torch.float64):
                search = _Search(self, graph, inputs, labels, indices, dtype)
                if dtype == torch.float64 or search.agrees(gaps):
                    break
            found = search.run()
        found[~np.isfinite(found).reshape(len(found), -1).all(axis=1)] = np.nan
        return found


class _Search:
    """One block of inputs: the state is the best adversarial perturbation so far (`best`) and its size (`size`, inf for none)."""

    def __init__(self, attack: Attack, graph: Graph, inputs: np.ndarray, labels: np.ndarray, indices: np.ndarray, dtype: torch.dtype):
        self.attack, self.norm, self.dual, self.indices = attack, attack.norm, dual_norm(attack.norm), indices
        self.module = graph.to_torch().to(device=attack.device, dtype=dtype).requires_grad_(False)
        self.x = torch.as_tensor(inputs).to(device=attack.device, dtype=dtype)
        self.y = torch.as_tensor(labels).to(attack.device)[:, None]
        self.best = torch.full_like(self.x, math.nan)
        self.size = torch.full((len(self.x),), math.inf, device=attack.device, dtype=dtype)
        scale = sizes(self.x, self.norm)
        self.floor = 1e-6 * torch.where(scale > 0, scale, 1.0)  # the first step from a tie: where the boundary is, the way to it is 0

    def gaps(self, points: Tensor) -> Tensor:
        """z_label - z_j, (n, k); inf in the label's column."""
        logits = self.module(points)
        return (logits.gather(1, self.y) - logits).scatter(1, self.y, math.inf)

    def agrees(self, gaps: np.ndarray) -> bool:
        """Whether the gaps here are those of float64 to three digits: no underflow, no overflow, no cancellation."""
        with torch.no_grad():
            mine = self.gaps(self.x).double().cpu().numpy()
        mine[np.arange(len(mine)), self.y[:, 0].cpu().numpy()] = 0.0
        nearest = np.where(np.arange(gaps.shape[1]) == self.y.cpu().numpy(), np.inf, np.abs(gaps)).min(axis=1, keepdims=True)
        return bool((np.abs(mine - gaps) <= 1e-3 * np.maximum(nearest, 1e-2 * np.abs(gaps).max(axis=1, keepdims=True))).all())

    def run(self) -> np.ndarray:
        targets = self.targets()
        for restart in range(RESTARTS[self.attack.effort]):
            fresh = restart < targets.shape[1]
            self.descend(targets[:, restart % targets.shape[1]], torch.zeros_like(self.x) if fresh else self.random_start(restart))
        if not self.size.isfinite().all():
            self.borrow()
        self.bisect()
        return self.best.double().cpu().numpy()

    def targets(self) -> Tensor:
        """(n, t) other classes, the one whose linearised boundary is nearest first."""
        points = self.x.clone().requires_grad_(True)
        gaps = self.gaps(points)
        near = gaps.topk(min(_RANKED, gaps.shape[1] - 1), dim=1, largest=False).indices
        distance = torch.empty_like(near, dtype=gaps.dtype)
        for column_ in range(near.shape[1]):
            gap = gaps.gather(1, near[:, column_ : column_ + 1])[:, 0]
            (gradient,) = torch.autograd.grad(gap.sum(), points, retain_graph=True)
            distance[:, column_] = gap.detach() / sizes(gradient, self.dual)
        return near.gather(1, distance.nan_to_num(math.inf).argsort(dim=1, stable=True))

    def random_start(self, restart: int) -> Tensor:
        """A random perturbation of half the best size, from each input's own seed."""
        noise = np.stack([np.random.default_rng([self.attack.seed, int(i), restart]).standard_normal(self.x.shape[1:]) for i in self.indices])
        start = torch.as_tensor(noise).to(self.x)
        scale = torch.where(self.size.isfinite(), self.size, sizes(self.x, self.norm).clamp_min(1e-3)) / 2
        return start * column(scale / sizes(start, self.norm), start)

    def descend(self, target: Tensor, delta: Tensor) -> None:
        """One run of the minimum-norm attack towards `target`; any other class counts as found."""
        steps, norm = STEPS[self.attack.effort], self.norm
        if norm == "l1":  # vertices of the l1 ball are far apart: more steps, and after the first step towards whichever class is nearest
            steps *= 2
        radius = torch.full_like(self.size, math.inf)
        found = torch.zeros_like(self.size, dtype=torch.bool)
        for i in range(steps):
            cosine = (1 + math.cos(math.pi * i / steps)) / 2
            gap, adversarial, gradient = self.look(delta, target if norm != "l1" or i == 0 else None)
            length = sizes(delta, norm)
            self.keep(delta, length, adversarial)
            found |= adversarial
            growth = 0.001 + 0.049 * cosine
            reach = torch.maximum(_OVERSHOOT * (length + gap.clamp_min(0) / sizes(gradient, self.dual)), self.floor)
            if i == 0 and norm == "l1":  # one entry alone reaches a flat boundary first; the steps below spread over many
                self.try_out(delta - column(reach.nan_to_num(0.0, 0.0, 0.0), delta) * steepest(gradient, norm))
            radius = torch.where(adversarial, torch.minimum(radius, length) * (1 - growth), torch.where(found, radius * (1 + growth), reach))
            radius = torch.minimum(radius.nan_to_num(math.inf), self.size)
            usable = torch.where(radius.isfinite(), radius, length)
            stride = (0.01 + 0.99 * cosine) * usable * (0.4 if norm == "l1" else 1.0)
            step = steepest(gradient, "linf" if norm == "linf" else "l2")
            delta = projected(delta - column(stride, delta) * step, usable, norm)
        self.try_out(delta)

    def look(self, delta: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Gap to the target (or the nearest class), whether the point is adversarial, and the gap's gradient."""
        points = (self.x + delta).requires_grad_(True)
        gaps = self.gaps(points)
        nearest, place = gaps.min(1)
        gap = gaps.gather(1, (place if target is None else target)[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(gap.sum(), points)
        return gap.detach(), nearest.detach() < 0, gradient

    def try_out(self, delta: Tensor) -> None:
        with torch.no_grad():
            adversarial = self.gaps(self.x + delta).amin(1) < 0
        self.keep(delta, sizes(delta, self.norm), adversarial)

    def keep(self, delta: Tensor, length: Tensor, adversarial: Tensor) -> None:
        better = adversarial & (length < self.size)
        self.size = torch.where(better, length, self.size)
        self.best = torch.where(column(better, delta), delta, self.best)

    def borrow(self) -> None:
        """Where no gradient led anywhere: the nearest input of the block that has another class, reached in a straight line."""
        flat = self.x.flatten(1)
        for i in torch.nonzero(~self.size.isfinite())[:, 0].tolist():
            other = (self.y[:, 0] != self.y[i]).nonzero()[:, 0]
            if len(other):
                steps = flat[other] - flat[i]
                lengths = sizes(steps, self.norm)
                nearest = int(lengths.argmin())
                self.best[i], self.size[i] = steps[nearest].view_as(self.best[i]), lengths[nearest]

    def bisect(self) -> None:
        """Shorten each perturbation along its own segment; the far end stays adversarial (as far as this precision sees)."""
        low, high = torch.zeros_like(self.size), torch.ones_like(self.size)
        with torch.no_grad():
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                adversarial = self.gaps(self.x + column(middle, self.x) * self.best.nan_to_num(0.0)).amin(1) < 0
                low, high = torch.where(adversarial, low, middle), torch.where(adversarial, middle, high)
        self.best = self.best * column(high, self.best)
