"""Reachability of plants with neural controllers. Not in this release: the name is reserved for the `reach` command and the packages that follow."""

from __future__ import annotations

from certify import __version__

__all__ = ["__version__"]
