"""Local, Rule, the decorator `rule`, and `rule_for(op)`."""

from __future__ import annotations

import functools
import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import SoundnessError, UnsupportedLayerError
from ..core.graph import Node
from ..core.rounding import TINY, mul_up, sqrt_up

COMBINE = ("sum", "root", "max")
# What several families rest on; the proofs themselves stand in the docstrings of the rules.
GOUK = "Gouk, Frank, Pfahringer, Cree: Regularisation of neural networks by enforcing Lipschitz continuity, Machine Learning 110 (2021)"
SZEGEDY = "Szegedy et al.: Intriguing properties of neural networks, ICLR (2014), section 4.3"


@dataclass(frozen=True)
class Local:
    """What one node does to distances and to rounding errors, in one norm p on all tensors (flattened).

    Claim 1, two runs with input differences d_i and output difference d_out, in exact real arithmetic:
        |d_out|_p <= combine_i(constants[i] |d_i|_p),   combine: "sum", "max", or "root" = sqrt of the sum of squares.
    Claim 2, `core.evaluate` in float64 at computed inputs v_i, against the exact operator at the same v_i:
        |fl(out) - out(v)|_p <= sum_i relative[i] |v_i|_p + absolute.

    Attributes:
        constants: one per input of the node, with multiplicity; finite or inf, never NaN.
        rule: name of the rule; method: how the constant was found; seconds: what that cost.
        evidence: JSON data with which a checker can re-derive the constant (see norms/base.py); {} where a formula says it all.
        hypotheses: what was checked before the claim was made; cite: where the proof is.
    """

    constants: tuple[float, ...]
    combine: str
    rule: str
    method: str
    relative: tuple[float, ...]
    absolute: float
    seconds: float = 0.0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    hypotheses: tuple[str, ...] = ()
    cite: tuple[str, ...] = ()

    def __post_init__(self):
        if self.combine not in COMBINE or len(self.constants) != len(self.relative):
            found = f"{self.combine}, {len(self.constants)} constants, {len(self.relative)} error terms"
            raise SoundnessError("a rule returned no proper local fact", where=self.rule, found=found)
        if not all(c >= 0 for c in (*self.constants, *self.relative, self.absolute)):  # NaN fails
            raise SoundnessError("a rule returned a constant that is negative or NaN", where=self.rule, found=(self.constants, self.relative, self.absolute))


LocalFunction = Callable[[Node, list[tuple[int, ...]], str, str], Local]


@dataclass(frozen=True)
class Rule:
    """The local facts of the operators `ops`. `local(node, in_shapes, norm, effort)` -> Local.

    Raises (from `local`):
        UnsupportedLayerError: the operator has no finite constant, or none is known; the message says which and what to try.
        InputError: an attribute or array outside the operator's domain.
    """

    name: str
    ops: tuple[str, ...]
    cite: tuple[str, ...]
    local: LocalFunction
    finite: bool = True


def rule(*ops: str, cite: str, finite: bool = True) -> Callable[[LocalFunction], Rule]:
    """Make a function the Rule of the operators `ops`; `finite=False` marks a rule that only explains why there is no constant."""

    def make(function: LocalFunction) -> Rule:
        return Rule(function.__name__, ops, (cite,), function, finite)

    return make


@functools.cache
def rules() -> tuple[Rule, ...]:
    """Every Rule in the files of this folder."""
    package = importlib.import_module(__package__)
    found = []
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{__package__}.{info.name}")
        found += [value for value in vars(module).values() if isinstance(value, Rule)]
    return tuple(found)


def rule_for(op: str, where: str = "") -> Rule:
    """The rule of an operator.

    Raises:
        UnsupportedLayerError: there is none.

    >>> rule_for("add").name
    'addition'
    """
    matches = [r for r in rules() if op in r.ops]
    if not matches:
        known = ", ".join(sorted({o for r in rules() for o in r.ops}))
        raise UnsupportedLayerError(f"no rule says how '{op}' scales distances", where=where or None, expected=known, hint="write one function with @rule in certify/rules")
    if len(matches) > 1:
        raise SoundnessError("two rules describe one operator", where=op, found=", ".join(r.name for r in matches))
    return matches[0]


def ones_norm(count: int, norm: str) -> float:
    """Upper end of |(1, ..., 1)|_p with `count` entries: sqrt(count), count, 1; 0 for count = 0.

    >>> ones_norm(16, "l2"), ones_norm(16, "l1"), ones_norm(16, "linf")
    (4.0, 16.0, 1.0)
    """
    if count == 0:
        return 0.0
    return {"l2": sqrt_up(float(count)), "l1": float(count), "linf": 1.0}[norm]


def spread(entry_error: float, count: int, norm: str) -> float:
    """Upper end of |e|_p for a vector of `count` entries with |e_j| <= entry_error; 0 stays 0."""
    return mul_up(entry_error, ones_norm(count, norm)) if entry_error and count else 0.0


def exact(
    node: Node, combine: str, constants: tuple[float, ...], method: str, cite: str, *,
    hypotheses: tuple[str, ...] = (), evidence: Mapping[str, Any] | None = None, name: str = "",
) -> Local:  # fmt: skip
    """The Local of a node whose float64 value is exact (copies, comparisons, selections)."""
    zeros = (0.0,) * len(constants)
    return Local(constants, combine, name or node.op, method, zeros, 0.0, evidence=evidence or {}, hypotheses=hypotheses, cite=(cite,))


def size_of(shape: tuple[int, ...]) -> int:
    return math.prod(shape)


__all__ = ["COMBINE", "GOUK", "SZEGEDY", "TINY", "Local", "Rule", "exact", "ones_norm", "rule", "rule_for", "rules", "size_of", "spread"]
