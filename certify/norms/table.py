"""The table of a NormBound: what `auto` weighed, what it tried, and what came out. Printed bounds are rounded outward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.decimals import decimal_down, decimal_up

if TYPE_CHECKING:
    from .base import NormBound


def bound_table(bound: NormBound) -> str:
    """One row per method: those that were tried with their ends, then the candidates that were not, with their predictions."""
    tried = bound.evidence.get("tried") or [{"method": bound.method, "lower": bound.lower, "upper": bound.upper, "seconds": bound.seconds}]
    plan, asked = bound.evidence.get("plan", []), "" if "tried" in bound.evidence else "the method asked for"
    chosen = {row["method"]: row["why"] for row in plan if row["why"].startswith("chosen")}
    rows = [("method", "lower", "upper", "seconds", "decision")]
    for row in tried:
        why = chosen.get(row["method"]) or asked or "always tried: cheap"
        rows.append((row["method"], decimal_down(row["lower"], 6), decimal_up(row["upper"], 6), f"{row['seconds']:.2f}", why))
    for row in plan:
        if not row["why"].startswith("chosen"):
            rows.append((f"{row['method']} {row.get('variant', '')}".strip(), "-", "-", "-", f"{row['why']} (predicted {row['predicted']:.2g} s, gap {100 * row['gap']:.2g} %)"))
    width = [max(len(row[k]) for row in rows) for k in range(4)]
    return "\n".join(f"{m:<{width[0]}}  {lo:>{width[1]}}  {hi:>{width[2]}}  {s:>{width[3]}}  {why}" for m, lo, hi, s, why in rows)
