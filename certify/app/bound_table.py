"""The table of `certify bound`: one line per layer where the terminal is wide enough, a line and its details below it where not."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from ..core.decimals import decimal_down, decimal_up
from .bound_rows import Question, Row

MARK = "*"  # stands behind the smallest of several upper ends
_BETWEEN = "  "
_PAPER = f"R, S, T, U: the unfoldings of Singla & Feizi 2021, certified upper ends; {MARK} the smallest"


class BoundTable:
    """A rich renderable that takes the layout which fits: everything in columns, else names shortened, else details below each layer."""

    def __init__(self, rows: Sequence[Row], question: Question):
        self.rows, self.question = rows, question

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.text import Text

        width = options.max_width if console.is_terminal or "COLUMNS" in os.environ else 10**6  # a file has no edge
        for line in self.lines(width):
            yield Text(line, no_wrap=True, overflow="ignore")

    def lines(self, width: int) -> list[str]:
        """The table as text lines of at most `width` characters (of at least 50)."""
        for length in (1000, 24, 16):
            lines = _aligned(self._cells(short_names([row.layer for row in self.rows], length)))
            if len(lines[0]) <= width:
                return lines + self._legend()
        return self._folded(width) + self._legend(width)

    def _cells(self, names: list[str]) -> list[list[str]]:
        unfolded, compared = _unfolding_names(self.rows), _compared_names(self.rows)
        norm = self.question.norm
        cells = [["layer", "<operator", f"{norm} lower", f"{norm} bound", "gap", *unfolded, *compared, "<method", "seconds"]]
        for name, row in zip(names, self.rows):
            of, by = unfolding_texts(row), compared_texts(row)
            details = [*(of.get(u, "- ") for u in unfolded), *(by.get(m, "- ") for m in compared)]
            cells.append([name, row.operator, *_ends(row), *details, _method(row), _seconds(row)])
        return cells

    def _folded(self, width: int) -> list[str]:
        """Two and more lines per layer: the enclosure, then what else is known, wrapped."""
        names = short_names([row.layer for row in self.rows], max(8, min(24, width - 42)))
        norm = self.question.norm
        cells = [["layer", "<operator", f"{norm} lower", f"{norm} bound", "gap", "seconds"]]
        cells += [[name, row.operator, *_ends(row), _seconds(row)] for name, row in zip(names, self.rows)]
        used = len(_aligned(cells)[0]) - max(len(c[1]) for c in cells)
        room = width - used
        heads = _aligned(cells if room >= max(len(c[1].lstrip("<")) for c in cells) else [[c[0], *c[2:]] for c in cells])
        lines = heads[:1]
        for row, head in zip(self.rows, heads[1:]):
            lines.append(head)
            items = [row.operator] if len(heads[0]) < used else []
            items += [f"by {_method(row)}"]
            items += [f"{name} {text.strip()}" for name, text in {**unfolding_texts(row), **compared_texts(row)}.items() if text.strip() != "-"]
            lines += _wrapped(items, width)
        return lines

    def _legend(self, width: int = 10**6) -> list[str]:
        return _wrapped(_PAPER.split(" "), width, "", " ") if any(row.unfoldings for row in self.rows) else []


def short_names(names: Sequence[str], length: int) -> list[str]:
    """Names of at most `length` characters, different ones for different names: first what all have in common goes, then the middle.

    >>> short_names(["layer1.0.conv1+layer1.0.bn1", "fc"], 26)  # folded layers share their path
    ['layer1.0.conv1+bn1', 'fc']
    >>> short_names(["net.stage1.conv", "net.stage2.conv", "net.stage2.projection.conv"], 18)
    ['..stage1', '..stage2', '..stag..projection']
    >>> short_names(["aaaaaaaaab" + "c" * 9, "aaaaaaaaad" + "c" * 9], 8)
    ['0:..cccc', '1:..cccc']
    """
    folded = [_folded_name(name) for name in names]
    names = folded if len(set(folded)) == len(set(names)) else names
    if max(map(len, names), default=0) <= length:
        return list(names)
    parts = [name.split(".") for name in names]
    most = min(map(len, parts)) - 1 if len(names) > 1 else 0
    head = next((k for k in range(most) if len({p[k] for p in parts}) > 1), most)
    tail = next((k for k in range(most - head) if len({p[-1 - k] for p in parts}) > 1), most - head)
    short = [".." * (head > 0) + _cut(".".join(p[head : len(p) - tail]), length - 2 * (head > 0)) for p in parts]
    owners: dict[str, set[str]] = {}
    for name, text in zip(names, short):
        owners.setdefault(text, set()).add(name)
    numbered = [f"{i}:..{name[len(name) - (length - 3 - len(str(i))) :]}" for i, name in enumerate(names)]
    return [short[i] if len(owners[short[i]]) == 1 else numbered[i] for i in range(len(names))]


def _folded_name(name: str) -> str:
    """`a.conv+a.bn` as `a.conv+bn`."""
    first, *rest = name.split("+")
    path = first.rpartition(".")[0] + "."
    return "+".join([first, *(part.removeprefix(path) for part in rest)])


def _cut(text: str, length: int) -> str:
    front = (length - 2) // 3
    return text if len(text) <= length else f"{text[:front]}..{text[len(text) - (length - 2 - front) :]}"


def unfolding_texts(row: Row) -> dict[str, str]:
    """Unfolding name -> upper end with the mark behind the smallest (or a space, so that columns align)."""
    return _marked({u["name"]: u["upper"] for u in row.unfoldings or []})


def compared_texts(row: Row) -> dict[str, str]:
    """Method name -> upper end, or ">= lower" where a method has no finite one, or "-" where it does not apply."""
    uppers = _marked({c["method"]: c["upper"] for c in row.compared if "reason" not in c and math.isfinite(c["upper"])})
    found = {c["method"]: "- " if "reason" in c else uppers.get(c["method"]) or f">={decimal_down(c['lower'], 5)} " for c in row.compared}
    return found


def _marked(uppers: dict[str, float]) -> dict[str, str]:
    least = min(uppers.values(), default=0.0)
    smallest = least * (1 + 1e-9)  # those equal but for their rounding are marked together
    return {name: decimal_up(upper, 5) + (MARK if upper <= smallest else " ") for name, upper in uppers.items()}


def _unfolding_names(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(u["name"] for row in rows for u in row.unfoldings or [])
    return sorted(names, key=lambda n: ("RSTU".find(n), n) if n in "RSTU" else (4, n))


def _compared_names(rows: Sequence[Row]) -> list[str]:
    """Methods that gave something for some layer."""
    return sorted({c["method"] for row in rows for c in row.compared if "reason" not in c})


def _ends(row: Row) -> list[str]:
    gap = 100 * row.gap
    return [decimal_down(row.lower, 6), decimal_up(row.upper, 6), "inf" if math.isinf(gap) else "<0.001 %" if gap < 1e-3 else f"{decimal_up(gap, 2)} %"]


def _method(row: Row) -> str:
    return f"as {_folded_name(row.same_as)}" if row.same_as else row.method


def _seconds(row: Row) -> str:
    return "-" if row.same_as else f"{row.seconds:.2f}"


def _aligned(cells: list[list[str]]) -> list[str]:
    """Columns to the right, but the first and those whose head begins with "<" to the left; every line is padded to one length."""
    left = [k == 0 or head.startswith("<") for k, head in enumerate(cells[0])]
    cells = [[text.removeprefix("<") for text in cells[0]], *cells[1:]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(left))]
    return [_BETWEEN.join(text.ljust(w) if l else text.rjust(w) for text, w, l in zip(row, widths, left)) for row in cells]


def _wrapped(items: Sequence[str], width: int, indent: str = "    ", between: str = _BETWEEN) -> list[str]:
    """The items in lines of at most `width` characters; an item alone may be longer."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(between) + len(item) <= width:
            lines[-1] += between + item
        else:
            lines.append(indent + item)
    return lines
