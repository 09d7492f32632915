"""Forged certificates of flowpipes: each forgery makes a claim false, or takes away what proves it, as a liar would: digests and sizes are right.

A forgery is a function (document, arrays, rng) that changes both in place; None as a result means that it does not apply to this certificate.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from certify.core.record import digest_array, read_record, write_record

Forgery = Callable[[dict, dict[str, np.ndarray], np.random.Generator], Any]
NONE = "does not apply"


def forged(source: Path, target: Path, forgery: Forgery, seed: int = 0, digests: bool = True) -> Path | None:
    """`source` with the forgery, its digests made right again; None where it does not apply."""
    document, arrays = read_record(source)
    document, arrays = copy.deepcopy(document), {name: a.copy() for name, a in arrays.items()}
    if forgery(document, arrays, np.random.default_rng(seed)) == NONE:
        return None
    if digests:
        document["digests"] = {name: digest_array(a) for name, a in arrays.items()}
    return write_record(target, document, arrays)


def _largest(name: str, factor: float = 0.9, least: float = 1e-9) -> Forgery:
    """The largest entry of an array that bounds something becomes smaller; where all are roundings it does not matter."""

    def change(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
        a = arrays.get(name, np.zeros(0))
        if not np.abs(a).max(initial=0.0) > least:
            return NONE
        a[int(np.argmax(np.abs(a)))] *= factor

    return change


def _all(name: str, factor: float, least: float = 0.0) -> Forgery:
    """Every entry changes by a factor."""

    def change(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
        if not np.abs(arrays.get(name, np.zeros(0))).max(initial=0.0) > least:
            return NONE
        arrays[name] *= factor

    return change


def _shift(name: str, by: float) -> Forgery:
    """One entry of an array moves by a fraction of the largest entry."""

    def change(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
        a = arrays.get(name, np.zeros(0))
        if not a.any():
            return NONE
        a[rng.choice(np.flatnonzero(a))] += by * np.abs(a).max()

    return change


def _move(name: str, by: float) -> Forgery:
    """Every entry moves."""

    def change(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
        if not len(arrays.get(name, ())):
            return NONE
        arrays[name] += by

    return change


def _transition(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    """Generators that are carried one per cent too far, where there are generators of size."""
    if "piece_transition" not in arrays or not np.abs(arrays["state_generators"]).max(initial=0.0) > 1e-6:
        return NONE
    arrays["piece_transition"] *= 1.01


def _no_fit_errors(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    """Fits without error, and the control box that would follow."""
    if not arrays["fit_error"].max(initial=0.0) > 1e-9:
        return NONE
    arrays["fit_error"][:] = 0.0
    arrays["control_box"] *= 0.9


def _no_bend(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    """Slopes that do not vary."""
    middle = 0.5 * arrays["fit_slope_lower"] + 0.5 * arrays["fit_slope_upper"]
    if not (arrays["fit_slope_upper"] - arrays["fit_slope_lower"]).max(initial=0.0) > 1e-9:
        return NONE
    arrays["fit_slope_lower"][:] = arrays["fit_slope_upper"][:] = middle


def _deviation(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    if "piece_deviation" not in arrays or not arrays["piece_bound"].max() > 1e-9:
        return NONE
    i = int(np.argmax(arrays["piece_bound"]))
    arrays["piece_deviation"][i] = arrays["piece_bound"][i] * 0.999


def _zero_remainders(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    if "piece_picard" not in arrays:
        return NONE
    arrays["piece_picard"][:] = 0.0


def _swap_steps(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    """Two states in the wrong order, where all steps have the same sizes of coefficients."""
    count = len(document["steps"])
    if count < 2:
        return NONE
    a = arrays["state_coefficients"].reshape(count, -1)
    a[[0, 1]] = a[[1, 0]]


def _kept(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    if len(arrays["kept"]) < 2:
        return NONE
    arrays["kept"][[0, 1]] = arrays["kept"][[1, 0]]


def _kept_twice(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    if len(arrays["kept"]) < 2:
        return NONE
    arrays["kept"][1] = arrays["kept"][0]


def _kept_outside(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    if not len(arrays["kept"]):
        return NONE
    arrays["kept"][0] = 10**9


def _reduction_lost(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    """The boxes that stand for what a reduction dropped become smaller."""
    for step, end in zip(document["steps"], np.cumsum([s["columns"] * len(document["plant"]["states"]) for s in document["steps"]])):
        if step["kept"] is not None:
            n = len(document["plant"]["states"])
            E = arrays["state_generators"][end - n * step["columns"] : end].reshape(n, -1)
            E[0, step["columns"] - n] *= 0.9
            return None
    return NONE


def _reduction_tilted(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    """A generator that stands for a box is turned a little: it covers less."""
    n, at = len(document["plant"]["states"]), 0
    for step in document["steps"]:
        E = arrays["state_generators"][at : at + n * step["columns"]].reshape(n, -1)
        at += n * step["columns"]
        if step["kept"] is not None and n > 1:
            E[1, step["columns"] - n] = 1e-9 * E[0, step["columns"] - n]
            return None
    return NONE


def _initial(which: str, by: float) -> Forgery:
    def change(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
        document["initial"][which][0] += by

    return change


def _field(*path: Any, value: Any) -> Forgery:
    def change(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
        place = document
        for key in path[:-1]:
            if (isinstance(place, list) and not -len(place) <= key < len(place)) or (isinstance(place, dict) and key not in place):
                return NONE
            place = place[key]
        place[path[-1]] = value(place[path[-1]]) if callable(value) else value

    return change


def _specification(change_data: Callable[[dict], Any]) -> Forgery:
    def change(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
        return NONE if all(change_data(spec) == NONE for spec in document["specifications"]) else None

    return change


def _tighter(spec: dict) -> Any:
    """Every half-space moves inward by far more than its margin: x <= 10 becomes x <= -90; an avoided set grows over the motion."""
    for clause in spec["clauses"]:
        for condition in clause:
            if "offset" not in condition:
                return NONE
            condition["offset"] = ["1000", "1000"] if spec["kind"] == "avoid" else ["-1000", "-1000"]


def _smaller_formula(spec: dict) -> Any:
    for clause in spec["clauses"]:
        for condition in clause:
            if "formula" in condition:
                condition["formula"] = f"({condition['formula']}) - 1000"
                return None
    return NONE


def _avoid_where_it_is(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    """The claim that the whole space is avoided in the first step."""
    n = len(document["plant"]["states"])
    half = {"normal": [["1", "1"]] + [["0", "0"]] * (n - 1), "offset": ["1000", "1000"]}
    document["specifications"].append({"kind": "avoid", "at": "always", "first": 0, "last": 1, "clauses": [[half]]})


def _arrive_elsewhere(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    n, last = len(document["plant"]["states"]), len(document["steps"])
    half = {"normal": [["1", "1"]] + [["0", "0"]] * (n - 1), "offset": ["-1000", "-1000"]}
    document["specifications"].append({"kind": "arrive", "at": "always", "first": last, "last": last, "clauses": [[half]]})


def _within_elsewhere(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    _arrive_elsewhere(document, arrays, rng)
    document["specifications"][-1] |= {"kind": "arrive within", "first": 0}


def _another_order(document: dict, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    document["steps"][0]["order"] += 1


FORGERIES: dict[str, Forgery] = {
    "smaller first set": _initial("upper", 1e-9),
    "smaller first set below": _initial("lower", -1e-9),
    "larger state zonotope at the start": _shift("state_coefficients", 0.01),
    "other state coefficients": _all("state_coefficients", 1.001),
    "smaller generators": _all("state_generators", 0.99),
    "one generator": _largest("state_generators"),
    "swapped states": _swap_steps,
    "swapped kept": _kept,
    "kept twice": _kept_twice,
    "kept outside": _kept_outside,
    "reduction lost": _reduction_lost,
    "reduction tilted": _reduction_tilted,
    "control polynomial": _shift("control_coefficients", 1e-3),
    "control box": _all("control_box", 0.9, 1e-9),
    "one control box": _largest("control_box"),
    "fit coefficients": _shift("fit_coefficients", 0.05),
    "fit centre": _move("fit_centre", 0.05),
    "fit radius": _all("fit_radius", 0.9),
    "fit error": _all("fit_error", 0.9, 1e-9),
    "fit error and box": _no_fit_errors,
    "fit slope lower": _move("fit_slope_lower", 0.05),
    "fit slope upper": _move("fit_slope_upper", -0.05),
    "fit slopes": _no_bend,
    "motion": _shift("piece_motion", 1e-3),
    "picard": _all("piece_picard", 0.5),
    "no remainders": _zero_remainders,
    "deviation": _deviation,
    "bound": _all("piece_bound", 0.999),
    "transition": _transition,
    "disturbance columns": _all("piece_disturbance", 0.9),
    "fresh box": _all("piece_fresh", 0.9),
    "piece length": _all("piece_length", 1 + 1e-9),
    "shorter pieces": _all("piece_length", 0.5),
    "update polynomial": _shift("update_coefficients", 1e-3),
    "update jacobian": _shift("update_jacobian", 0.01),
    "update box": _all("update_fresh", 0.9),
    "another controller": _field("controller", "digest", value="0" * 64),
    "another plant digest": _field("plant", "digest", value="0" * 64),
    "another formula": _field("plant", "formulas", 0, value="x2 + 1"),
    "another time": _field("plant", "time", value=lambda t: "discrete" if t == "continuous" else "continuous"),
    "another disturbance": _field("plant", "disturbances", 0, 1, value=-1.0),
    "another period": _field("period", value=lambda p: 2 * p),
    "another claim": _field("claim", "text", value="everything holds"),
    "nothing is unproved": _field("claim", "not_proved", value=[]),
    "no assumptions": _field("assumptions", value=[]),
    "another order": _another_order,
    "another variable count": _field("variables", value=lambda f: f + 1),
    "tighter specification": _specification(_tighter),
    "smaller formula": _specification(_smaller_formula),
    "avoid everything": _avoid_where_it_is,
    "arrive elsewhere": _arrive_elsewhere,
    "arrive elsewhere within": _within_elsewhere,
}
