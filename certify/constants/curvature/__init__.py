"""Curvature: bounds on the Hessian of smooth networks, and the robustness radii that follow from them."""

from __future__ import annotations

from .bounds import CurvatureBounds, curvature_bounds, hessian_bound
from .radii import CurvatureRadii, curvature_radii

__all__ = ["CurvatureBounds", "CurvatureRadii", "curvature_radii", "curvature_bounds", "hessian_bound"]
