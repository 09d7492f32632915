"""The targets of network-wide constants beside what was measured: one line per target with its verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """`field` of the row with these keys compared with `limit`; at_least: large values are good. Seconds are CPU seconds of one thread."""

    text: str
    limit: float
    field: str
    at_least: bool = False
    section: str = "bounds"
    network: str = ""
    method: str = ""

    def value(self, rows: list[Row]) -> float | None:
        """The measured figure, of the latest row that has it; None if none has."""
        for row in reversed(rows):
            same = row.get("section") == self.section and self.network in ("", row.get("network")) and self.method in ("", row.get("method"))
            if same and isinstance(row.get(self.field), int | float) and not math.isnan(row[self.field]):
                return float(row[self.field])
        return None

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def targets() -> list[Target]:
    found = [
        Target("LipSDP-Neuron, random 2x50: CPU s", 0.1, "solve_seconds", network="random 2x50"),
        Target("LipSDP-Neuron, digits 2x50: CPU s", 0.1, "solve_seconds", network="digits 2x50"),
        Target("LipSDP-Neuron, random 5x100: CPU s", 4.0, "solve_seconds", network="random 5x100"),
        Target("LipSDP-Neuron, digits CNN (832 with inputs): CPU s", 10.0, "solve_seconds", network="digits CNN"),
        Target("72 neurons: times faster than cvxpy + Clarabel", 90.0, "faster", True, "reference"),
        Target("2,000 neurons, first order: CPU s", 60.0, "seconds", section="first order"),
        Target("2,000 neurons, first order: above the optimum, relative", 0.01, "excess", section="first order"),
        Target("2,000 neurons, first order: inflation by verification", 1e-6, "inflation", section="first order"),
    ]
    bounds = {
        "digits 2x50": 25.15, "digits 2x50 adversarial": 9.219, "digits 5x100": 90.91, "digits CNN": 23.56, "digits ResNet": 44.21,
        "random 2x50": 3.9957, "random 5x100": 28.07, "random 10x200": 980.0, "random 50x100": 1.56e14,
    }  # fmt: skip
    found += [Target(f"{name}: bound", limit, "upper", network=name) for name, limit in bounds.items()]
    found += [Target(f"{name}: relative gap of the search", 2e-5, "gap", network=name) for name in bounds if name.split()[-1] not in ("10x200", "50x100")]
    found += [Target(f"{name}: inflation by verification", 1e-6 if name in ("random 10x200", "random 50x100") else 1e-9, "inflation", network=name) for name in bounds]
    found += [Target(f"{name}: check, CPU s", 1.0, "check_seconds", network=name) for name in ("digits CNN", "random 50x100")]
    radii = {
        "digits 2x50": 0.91, "digits 2x50 adversarial": 0.87, "digits CNN": 0.70, "digits 5x100": 0.75, "digits softplus 1x50": 0.999,
        "digits 32-32 softplus": 0.94, "digits 32-32-32 softplus": 0.94, "digits 32-32 tanh": 0.84,
    }  # fmt: skip
    found += [Target(f"{name}: mean certified / attacked, auto", limit, "ratio", True, "radii", name, "auto") for name, limit in radii.items()]
    found.append(Target("digits 2x50: local constant at 0.05 over the sampled lower end", 1.2, "times", section="local", network="digits 2x50"))
    return found


def verdicts(rows: list[Row]) -> list[tuple[str, float, float | None, str]]:
    """(target, limit, measured, "met" | "missed" | "not measured")."""
    found = []
    for target in targets():
        value = target.value(rows)
        found.append((target.text, target.limit, value, "not measured" if value is None else "met" if target.met(value) else "missed"))
    return found
