"""What bench_lipschitz says: the verdicts as text, and the tables of docs/lipschitz.md between their marks."""

from __future__ import annotations

import math
import re
from typing import Any

from lipschitz_targets import verdicts

Row = dict[str, Any]


def page(rows: list[Row]) -> str:
    """The verdicts as aligned text."""
    lines = [("target", "limit", "measured", "verdict")]
    lines += [(text, f"{limit:g}", "-" if value is None else f"{value:.6g}", verdict) for text, limit, value, verdict in verdicts(rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(4)]
    return "\n".join("  ".join(cell.ljust(w) if k in (0, 3) else cell.rjust(w) for k, (cell, w) in enumerate(zip(line, widths))).rstrip() for line in lines)


def fill(text: str, rows: list[Row]) -> str:
    """The page with its tables made new; everything outside the marks stays."""
    for name, table in (("ladder", ladder(rows)), ("radii", radii(rows)), ("targets", targets(rows))):
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL)
    return text


def latest(rows: list[Row], section: str, *keys: str) -> list[Row]:
    """The last row of every combination of keys."""
    return list({tuple(row.get(key) for key in keys): row for row in rows if row.get("section") == section}.values())


def ladder(rows: list[Row]) -> str:
    """One line per network: every rung, seconds and what verification cost."""
    lines = ["| network | N | lower | sdp | closed form | ECLipsE-Fast | product | sdp / lower | seconds | of it proof | above | check s |", "|---|" + "---:|" * 11]
    for row in latest(rows, "bounds", "network"):
        times = f"{row['upper'] / row['lower']:.3f}" if row["lower"] > 0 else "-"
        cells = [row["network"], str(row["size"]), *(number(row[key]) for key in ("lower", "upper", "closed_form", "eclipse_fast", "product")), times]
        cells += [f"{row['solve_seconds']:.2f}", f"{row['proof_seconds']:.3f}", f"{row['inflation']:.0e}", number(row["check_seconds"], 2)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def radii(rows: list[Row]) -> str:
    """One line per network, one column per method."""
    found = {(row["network"], row["method"]): row for row in latest(rows, "radii", "network", "method")}
    methods = list(dict.fromkeys(method for _, method in found))
    lines = ["| network | points | " + " | ".join(methods) + " |", "|---|" + "---:|" * (len(methods) + 1)]
    for network in dict.fromkeys(name for name, _ in found):
        cells = [found.get((network, method), {}) for method in methods]
        points = next(str(cell["points"]) for cell in cells if cell)
        lines.append(f"| {network} | {points} | " + " | ".join(f"{math.floor(1000 * cell['ratio']) / 1000:.3f}" if cell.get("ratio") else "-" for cell in cells) + " |")
    return "\n".join(lines)


def targets(rows: list[Row]) -> str:
    """Every target with its verdict."""
    lines = ["| target | limit | measured | verdict |", "|---|---:|---:|---|"]
    lines += [f"| {text} | {limit:g} | {'-' if value is None else f'{value:.6g}'} | {verdict} |" for text, limit, value, verdict in verdicts(rows)]
    return "\n".join(lines)


def number(value: float, digits: int = 6) -> str:
    return "-" if value is None or not math.isfinite(value) or value == 0 else f"{value:.{digits}g}"
