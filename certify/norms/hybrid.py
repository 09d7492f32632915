"""Zero padding, small maps: lines of frequencies on all axes but one, the exact finite section along that one where it pays."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.cholesky import substitution
from ..linear.base import LinearMap
from .base import Ends, NormMethod
from .polyphase import embedding_plans, require_convolution
from .section import line_sections
from .twisted import line_ends, not_zero_padded


@dataclass(frozen=True)
class Hybrid(NormMethod):
    """||A|| <= max over lines w_outer of min(||B(w_outer)||, max_k ||F(w_outer, (2 pi k + theta) / n)||), B the finite section along one axis.

    The section is what every inner embedding contains, so no grid along the line can be lower (up to the 1e-4 of its search); only the outer axes
    pay for their embedding. A line is first tried as a grid; the exact section follows where every twist stays above the level of the others.
    One axis (1-D convolutions): the section is A itself, and the bound is about 1e-4 above its norm.

    Hypotheses: zero padding, one group (grouped layers: `twisted` or `dense`); the blocks of one section fit `memory` bytes.

    Cost: that of `twisted` and, for each section, about m block steps of 25 a^3 complex operations (three shifts), a = min(c_out, c_in s^D).
    With `steps` > 0 also a lower end: as many Lanczos steps from the plane wave of the peak; sections are left out while the bound is within
    `tolerance` of it.
    """

    name = "hybrid"
    cite = ("certify, finite sections on one axis (layer_norms.md 4.7)",)
    hypotheses = ("zero padding", "one group", "libm sine and cosine within 2 ulp", "triangular solves by substitution")
    extra: int = 0
    steps: int = 0
    tolerance: float = 0.0
    memory: int = 3 << 28

    def _refuses(self, map: LinearMap, norm: str) -> str:
        reason = not_zero_padded(map)
        if reason:
            return reason
        conv = require_convolution(map)
        if conv.groups > 1:
            return f"{conv.groups} groups: each would need its own sections"
        needed = section_bytes(map)
        return f"a section needs about {needed >> 20} MiB, above the limit of {self.memory >> 20} MiB" if needed > self.memory else ""

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        sections = line_sections if substitution() else None  # without it a section cannot be factorised
        return line_ends(map, self.extra, self.steps, sections, self.tolerance)


def section_bytes(map: LinearMap) -> int:
    """Memory for the blocks of the largest section: about 2 J - 1 square blocks per position of the smaller side."""
    conv = require_convolution(map)
    plans = embedding_plans(conv)
    known = [plan for plan in plans if plan is not None]
    if len(known) < len(plans):
        return 0
    columns = conv.weight.shape[1]
    for plan in known:
        columns *= plan.phases
    a = min(conv.weight.shape[0], columns)
    return max(16 * a * a * len(plan.shifts) * (plan.period + 2 * len(plan.shifts)) for plan in known)
