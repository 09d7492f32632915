"""What `certify bound` says around its table: totals, reasons, hints, and what an interruption left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.decimals import decimal_up
from ..norms.base import NormBound
from .bound_rows import Question, Row
from .bound_table import BoundTable, short_names

WIDE = 0.01  # a gap above 1 % is worth more time


def report(rows: Sequence[Row], question: Question, product: float | None, files: Mapping[str, str]) -> list[Any]:
    """Renderables: the table, the decision behind a single layer, the totals, why a layer has no bound, the files, and hints."""
    from rich.text import Text  # not a str: a name in brackets is no markup

    lines = [*totals(rows, product), *reasons(rows), *(f"{kind}: {path}" for kind, path in files.items()), *hints(rows, question)]
    decision = [Text("\n" + decided(rows[0], question.norm), no_wrap=True)] if len(rows) == 1 and rows[0].tried else []
    return [BoundTable(rows, question), *decision, Text("\n" + "\n".join(lines))]


def decided(row: Row, norm: str) -> str:
    """What `auto` weighed and tried for one layer; shown when it is the only one."""
    return NormBound(row.lower, row.upper, norm, row.method, row.seconds, {"tried": row.tried, "plan": row.plan}).table()


def totals(rows: Sequence[Row], product: float | None) -> list[str]:
    """Seconds, and the product of the bounds where the layers follow one another."""
    spent, unfolded = sum(row.seconds for row in rows), sum(row.unfolding_seconds for row in rows)
    compared = sum(c.get("seconds") or 0.0 for row in rows if not row.same_as for c in row.compared)
    parts = [f"{len(rows)} layer{'s' if len(rows) > 1 else ''}, {spent:.2f} s"]
    parts += [f"unfoldings {unfolded:.2f} s"] if unfolded else []
    parts += [f"all methods {compared:.2f} s"] if compared else []
    lines = ["; ".join(parts)]
    if product is not None and len(rows) > 1:
        lines.append(f"product of the bounds: {decimal_up(product, 6)} (one layer after the other; with the activations: certify lipschitz)")
    return lines


def reasons(rows: Sequence[Row]) -> list[str]:
    """Each reason for a missing upper end once, with the layers it is about."""
    about: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            about.setdefault(row.reason, []).append(row.layer)
    return [f"no bound for {_listed(layers)}: {reason}" for reason, layers in about.items()]


def hints(rows: Sequence[Row], question: Question) -> list[str]:
    """What to try next, at most three lines."""
    lines = []
    proved = [row for row in rows if math.isfinite(row.upper)]
    wide = [row for row in proved if row.gap > WIDE]
    if question.method != "auto" and (len(proved) < len(rows) or wide):
        lines.append("try: --method auto takes, layer by layer, what applies and is tight")
    elif wide:
        widest = max(wide, key=lambda row: row.gap)
        by = "infinite, without a lower end" if math.isinf(widest.gap) else f"{decimal_up(100 * widest.gap, 2)} %"
        what = f"--effort tight spends more time on {'them' if len(rows) > 1 else 'it'}" if question.effort != "tight" else "--compare shows what each method gives"
        many = f"{len(wide)} of {len(rows)} layers have a gap above 1 % (widest: {short_names([widest.layer], 60)[0]}, {by})"
        lines.append(f"try: {many if len(rows) > 1 else f'the gap is {by}'}; {what}")
    spent, unfolded = sum(row.seconds for row in rows), sum(row.unfolding_seconds for row in rows)
    if unfolded > max(5.0, spent):
        lines.append(f"try: --no-unfoldings saves {unfolded:.0f} of {unfolded + spent:.0f} s")
    return lines


def interruption(rows: Sequence[Row], missing: Sequence[str]) -> str:
    """What Ctrl-C left: how much is done, what is missing, and how to ask for it."""
    if not missing:
        return f"stopped by Ctrl-C; the enclosures of all {len(rows)} layers are done, the last one lacks its details"
    ask = " ".join(f"--layer {name.partition('+')[0]}" for name in missing[:3]) + (" ..." if len(missing) > 3 else "")
    return f"stopped by Ctrl-C; {len(rows)} of {len(rows) + len(missing)} layers are done, missing: {_listed(missing)}\n  {'try:':<10}{ask} for the rest, or the same command again"


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(short_names(names[:most], 60)) + (f" and {len(names) - most} more" if len(names) > most else "")
