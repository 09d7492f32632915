"""Picard: the settings of the validated integrator."""

from __future__ import annotations

from dataclasses import dataclass

from certify.core.errors import InputError

_ORDERS = {0: 5, 1: 7, 2: 6, 3: 4, 4: 4, 5: 3, 6: 3}


def default_order(free: int) -> int:
    """Order of the polynomials for so many free initial coordinates: what keeps the number of monomials (with time) below about 150."""
    return _ORDERS.get(free, 2)


@dataclass(frozen=True)
class Picard:
    """Taylor models of the flow, validated by an inclusion of the Picard operator in every step (methods/reach.md 5).

    Args:
        order: total degree of the polynomials in the free initial coordinates and time, 1 to 12; None chooses by their number.
        substeps: integration steps per control period; None starts with 2 and adapts to `tolerance`.
        tolerance: the share of the set's size by which the Picard remainder may grow it in one period before the steps are halved.
        columns: largest number of generators; beyond it, those that lose least are boxed.
        largest: most substeps that adaptation may choose; halvings: how often a step that cannot be proved is halved before giving up.

    Guarantee: whatever the settings, a set that is returned encloses; they decide how tight it is and how long it takes. For a discrete plant only `order`
    and `columns` matter. Source: Berz & Makino 1998 (Taylor models); Lohner 1992 (a priori enclosures).

    >>> Picard(order=4)
    Picard(order=4, substeps=None, tolerance=0.001, columns=200, largest=64, halvings=4)
    """

    order: int | None = None
    substeps: int | None = None
    tolerance: float = 1e-3
    columns: int = 200
    largest: int = 64
    halvings: int = 4

    def __post_init__(self):
        for name, least, most in (("order", 1, 12), ("substeps", 1, 10_000), ("columns", 20, 100_000), ("largest", 1, 10_000), ("halvings", 0, 30)):
            value = getattr(self, name)
            if value is None and name in ("order", "substeps"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InputError("a setting of the integrator is out of range", where=f"Picard.{name}", found=repr(value), expected=f"a whole number from {least} to {most}")
        if isinstance(self.tolerance, bool) or not (isinstance(self.tolerance, int | float) and 0 < self.tolerance < 1):
            raise InputError("a setting of the integrator is out of range", where="Picard.tolerance", found=self.tolerance, expected="a number between 0 and 1")
