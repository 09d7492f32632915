"""LipschitzCertificate: both ends of a constant, how it was composed, and the file that a checker can re-derive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..core.decimals import decimal_down, decimal_up
from ..core.errors import SoundnessError
from ..core.graph import Graph
from .lower import Witness
from .product import Step


class Row(NamedTuple):
    """One line of the table: which layer, which rule, how its constant was found, the constant, the constant from the input to here."""

    layer: str
    rule: str
    method: str
    constant: str
    running: float


class Table(list):
    """Rows that print as aligned plain text."""

    def __str__(self) -> str:
        head = ("layer", "rule", "method", "constant", "running constant")
        lines = [head, *((row.layer, row.rule, row.method, row.constant, decimal_up(row.running, 8)) for row in self)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        text = ["  ".join(cell.rjust(w) if i >= 3 else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths))).rstrip() for line in lines]
        return "\n".join([text[0], "  ".join("-" * w for w in widths), *text[1:]])

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class LipschitzCertificate:
    """lower <= sup |f(x) - f(y)|_p / |x - y|_p <= upper over all inputs x != y (of the `region`, where one is given), in exact real arithmetic with the stored weights.

    `steps` are the nodes of the folded graph with their local constants; `upper` is the running constant of the last one (or a tighter
    constant of the whole map, when `method` says so, see `evidence`; `proof` holds the multipliers of a semidefinite bound). `witness` is the pair that proves `lower`.
    """

    lower: float
    upper: float
    norm: str
    method: str
    steps: tuple[Step, ...]
    graph: Graph
    witness: Witness
    evidence: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    proof: Any = None
    region: Any = None

    def __post_init__(self):
        if not (0 <= self.lower <= self.upper):  # NaN fails
            raise SoundnessError(
                "the lower end of a Lipschitz constant is above its upper end: one of two proofs is wrong",
                where=f"graph {self.graph.digest[:12]}, norm {self.norm}",
                found=f"difference quotient {self.lower!r}, {self.method} bound {self.upper!r}",
                hint="please report this with the model: it is a defect of the toolkit",
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the graph the claim is about."""
        return self.graph.digest

    def table(self) -> Table:
        """Rows (layer, rule, method, constant, running constant), one per node; prints as plain text.

        The reader can redo the arithmetic: the running constant of a row is its constant times that of its input, and where a node has
        several inputs, their sum, root of squares or maximum, as the constant column says. Printed numbers are rounded up.
        """
        return Table(Row(s.node, s.rule, s.method, constant_text(s), s.running) for s in self.steps)

    def papers(self) -> list[str]:
        """The sources of the rules and methods that were used, each once."""
        return list(dict.fromkeys(cite for step in self.steps for cite in step.local.cite))

    def save(self, path) -> Path:
        """Write the certificate as one file and return its path; `certify.check(path, model)` re-derives it."""
        from .document import write_certificate

        return write_certificate(self, path)

    def __str__(self) -> str:
        where = "" if self.region is None else f" on a {type(self.region).__name__}"
        return f"Lipschitz constant in {self.norm}{where}: [{decimal_down(self.lower, 8)}, {decimal_up(self.upper, 8)}] by {self.method}\n{self.table()}"

    __repr__ = __str__


def constant_text(step: Step) -> str:
    """ "2.5" for one input; "sum(1, 1)", "root(1, 1)", "max(1, 1)" for several; "-" for none."""
    texts = [decimal_up(c, 8) for c in step.constants]
    if not texts:
        return "-"
    return texts[0] if len(texts) == 1 else f"{step.combine}({', '.join(texts)})"
