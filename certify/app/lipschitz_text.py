"""What `certify lipschitz` says: the ladder as a table, the layers behind the product, the result in a sentence, and what to try next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..core.decimals import decimal_down, decimal_up
from .lipschitz_rungs import CLOSED, FAST, MATRIX, PRODUCT, SDP, Ladder, Rung

LOOSE = 1.2  # upper over lower above which more effort may pay
_LOWER = "lower end"


def ladder_table(ladder: Ladder) -> Any:
    """A rich table, the lower end first, then the bounds from the smallest to the product; a bound's times is the bound over the lower end."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("rung", no_wrap=True)
    for name in ("constant", "times lower", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("proved by")
    table.add_row(_LOWER, decimal_down(ladder.lower, 7), "1", f"{ladder.lower_seconds:.2f}", "a stored pair of inputs" if ladder.lower > 0 else "nothing better was found")
    for rung in ordered(ladder):
        upper, times = ("-", "-") if math.isinf(rung.upper) else (decimal_up(rung.upper, 7), over(rung.upper, ladder.lower))
        table.add_row(rung.name, upper, times, f"{rung.seconds:.2f}", rung.how if not rung.reason else f"no: {rung.reason}")
    return table


def ordered(ladder: Ladder) -> list[Rung]:
    """The rungs as a ladder stands, the smallest bound first (equal to seven digits: the semidefinite one first); those without a bound last."""
    return sorted(ladder.rungs, key=lambda rung: (float(f"{rung.upper:.7g}"), (SDP, CLOSED, FAST, MATRIX, PRODUCT).index(rung.name)))


def over(upper: float, lower: float) -> str:
    """How many times the lower end, rounded up.

    >>> over(3.0, 2.0), over(0.0, 0.0), over(1.0, 0.0)
    ('1.5', '1', '-')
    """
    if lower > 0:
        return decimal_up(upper / lower, 4)
    return "1" if upper == 0 else "-"


def report(ladder: Ladder, files: Mapping[str, str]) -> list[Any]:
    """Renderables: the table of layers, the ladder, the result, the files, and hints."""
    from rich.text import Text  # not a str: a name in brackets is no markup

    assert ladder.certificate is not None
    lines = [sentence(ladder), *(f"{kind}: {path}" for kind, path in files.items()), *hints(ladder)]
    return [Text(str(ladder.certificate.table()), no_wrap=True), Text(""), ladder_table(ladder), Text("\n" + "\n".join(lines))]


def sentence(ladder: Ladder) -> str:
    """The result in one line; both ends are rounded outward."""
    best = ladder.best
    known = f"between {decimal_down(ladder.lower, 7)} ({'a pair of inputs shows it' if ladder.lower > 0 else 'nothing better was found'})"
    if math.isinf(best.upper):
        return f"Lipschitz constant ({ladder.norm}): at least {decimal_down(ladder.lower, 7)}; no finite bound was proved"
    return f"Lipschitz constant ({ladder.norm}): {known} and {decimal_up(best.upper, 7)} (proved), method {best.name}"


def hints(ladder: Ladder) -> list[str]:
    """What to try next, at most two lines."""
    best, lines = ladder.best, []
    loose = ladder.lower > 0 and math.isfinite(best.upper) and best.upper > LOOSE * ladder.lower
    if loose and ladder.method != "auto":
        lines.append("try: --method auto climbs the whole ladder")
    elif loose and ladder.effort != "tight":
        lines.append(f"try: --effort tight searches longer at both ends; the bound is {over(best.upper, ladder.lower)} times the lower end")
    elif loose:
        lines.append("try: a constant of a region is smaller: certify.lipschitz(model, shape, region=certify.Ball(center, radius, 'l2'))")
    if ladder.norm != "l2" and loose:
        lines.append("note: semidefinite bounds are about the l2 norm")
    return lines[:2]


def interruption(ladder: Ladder) -> str:
    """What Ctrl-C left, and how to ask for the rest."""
    done, missing = ", ".join(rung.name for rung in ladder.rungs), ", ".join(ladder.missing())
    return f"stopped by Ctrl-C; done: {done}; missing: {missing or 'nothing'}\n  {'try:':<10}--effort fast, or --method product, or the same command again"
