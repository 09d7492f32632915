"""A certificate file as data: types, counts, dtypes, sizes and digests are checked here, no claim is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from certify.core.record import as_path, digest_array, read_record

from . import fields
from .fit_error import Fit
from .layout import FORMAT, MOST_COLUMNS, MOST_PIECES, MOST_STATES, MOST_STEPS, assumptions, claim

_KEYS = ("format", "kind", "claim", "assumptions", "versions", "settings", "plant", "controller", "period", "initial", "variables", "steps", "specifications", "digests")
_FITS = ("fit_centre", "fit_radius", "fit_error", "fit_slope_lower", "fit_slope_upper")


@dataclass(frozen=True, eq=False)
class PieceData:
    """One integration step, see `layout`."""

    length: float
    motion: np.ndarray
    picard: np.ndarray
    deviation: np.ndarray
    bound: np.ndarray
    transition: np.ndarray
    disturbance: np.ndarray
    fresh: np.ndarray


@dataclass(frozen=True, eq=False)
class UpdateData:
    """One update of a discrete plant."""

    coefficients: np.ndarray
    jacobian: np.ndarray
    fresh: np.ndarray


@dataclass(frozen=True, eq=False)
class StepData:
    """One control step: the state at its start, the control model, the fits by layer, and its pieces (or its one update)."""

    order: int
    coefficients: np.ndarray
    generators: np.ndarray
    kept: np.ndarray | None
    control: np.ndarray
    control_generators: np.ndarray
    control_box: np.ndarray
    layers: dict[str, Fit]
    pieces: tuple[PieceData, ...]
    update: UpdateData | None


@dataclass(frozen=True, eq=False)
class Content:
    """A whole certificate; `variables` is f, the number of free initial coordinates."""

    document: dict[str, Any]
    variables: int
    steps: tuple[StepData, ...]


def read(path: Any, sizes: tuple[int, int, int], continuous: bool, max_bytes: int | None = None) -> Content:
    """The content of a file for a plant with (states, inputs, disturbances) = sizes.

    Raises:
        InputError: no such file. CertificateError: damaged, another format, a field of the wrong type or an array of the wrong size.
    """
    path = as_path(path)
    limit = max_bytes or (max(1 << 30, 4 * path.stat().st_size) if path.is_file() else 1 << 30)
    document, arrays = read_record(path, limit)
    if document.get("format") != FORMAT:
        hint = "it may be the certificate of another version, or of a network's robustness"
        raise fields.refuse("not a flowpipe certificate of this version", "format", document.get("format"), repr(FORMAT), hint)
    fields.only(document, _KEYS, "certificate")
    for key in _KEYS:
        fields.member(document, key, "certificate")
    fields.text(document["kind"], "kind", ("flowpipe",))
    for key, own in (("claim", claim(continuous)), ("assumptions", assumptions())):
        if document[key] != own:
            raise fields.refuse(f"the certificate's {key} are not those of its kind", key, document[key])
    for key in ("versions", "settings"):
        for name, value in _object(document[key], key).items():
            fields.text(value, f"{key}.{name[:40]}")
    _digests(document, arrays)
    variables = fields.whole(document["variables"], "variables", 0, MOST_STATES)
    heads = [_head(entry, f"steps[{k}]") for k, entry in enumerate(fields.items(document["steps"], "steps", MOST_STEPS))]
    if not heads:
        raise fields.refuse("a certificate has no steps", "steps")
    return Content(document, variables, _steps(heads, arrays, variables, sizes, continuous))


def _object(value: Any, where: str) -> dict:
    if not isinstance(value, dict):
        raise fields.refuse("a field of a certificate has the wrong type", where, value, "an object")
    return value


def _digests(document: dict, arrays: dict[str, np.ndarray]) -> None:
    digests = _object(document["digests"], "digests")
    if digests.keys() != arrays.keys():
        raise fields.refuse("the digests are not those of the stored arrays", "digests", ", ".join(sorted(map(str, digests)))[:100], ", ".join(sorted(arrays))[:100])
    for name, value in arrays.items():
        own = digest_array(value)
        if digests[name] != own:
            raise fields.refuse("an array does not have the digest that the certificate states", f"arrays/{name[:60]}", digests[name], own)


@dataclass(frozen=True)
class _Head:
    order: int
    columns: int
    kept: int | None
    pieces: int
    layers: tuple[tuple[str, int, int], ...]


def _head(entry: Any, where: str) -> _Head:
    keys = ("order", "columns", "kept", "pieces", "layers")
    values = {key: fields.member(entry, key, where) for key in keys}
    fields.only(entry, keys, where)
    layers = []
    for i, row in enumerate(fields.items(values["layers"], f"{where}.layers", 1000)):
        at = f"{where}.layers[{i}]"
        name, neurons, degree = fields.items(row, at, 3, 3)
        layers.append((fields.text(name, at), fields.whole(neurons, at, 1, 1 << 16), fields.whole(degree, at, 1, 16)))
    kept = None if values["kept"] is None else fields.whole(values["kept"], f"{where}.kept", 0, MOST_COLUMNS)
    return _Head(
        fields.whole(values["order"], f"{where}.order", 0, 16),
        fields.whole(values["columns"], f"{where}.columns", 0, MOST_COLUMNS),
        kept,
        fields.whole(values["pieces"], f"{where}.pieces", 1, MOST_PIECES),
        tuple(layers),
    )


class _Reader:
    """Runs of the flat arrays, in order; the whole size is checked before anything is cut."""

    def __init__(self, arrays: dict[str, np.ndarray], sizes: dict[str, int]):
        for name in arrays:
            if name not in sizes:
                raise fields.refuse("a certificate holds an array that its kind does not have", f"arrays/{name[:60]}", None, ", ".join(sizes))
        positive = ("piece_length", "piece_picard", "piece_deviation", "piece_bound", "piece_fresh", "control_box", "fit_radius", "fit_error", "update_fresh")
        self.arrays = {name: fields.flat(arrays, name, "int64" if name == "kept" else "float64", size, name in positive) for name, size in sizes.items()}
        self.at = dict.fromkeys(sizes, 0)

    def __call__(self, name: str, *shape: int) -> np.ndarray:
        start = self.at[name]
        self.at[name] = start + math.prod(shape)
        return self.arrays[name][start : self.at[name]].reshape(shape)


def _steps(heads: list[_Head], arrays: dict[str, np.ndarray], f: int, sizes: tuple[int, int, int], continuous: bool) -> tuple[StepData, ...]:
    n, nu, nw = sizes
    terms = {h.order: (math.comb(f + h.order, h.order), math.comb(f + 1 + h.order, h.order)) for h in heads}
    neurons = sum(q for h in heads for _, q, _ in h.layers)
    total = {
        "state_coefficients": sum(n * terms[h.order][0] for h in heads), "state_generators": sum(n * h.columns for h in heads), "kept": sum(h.kept or 0 for h in heads),
        "control_coefficients": sum(nu * terms[h.order][0] for h in heads), "control_generators": sum(nu * h.columns for h in heads), "control_box": nu * len(heads),
        **dict.fromkeys(_FITS, neurons), "fit_coefficients": sum(q * (d + 1) for h in heads for _, q, d in h.layers),
    }  # fmt: skip
    count = sum(h.pieces for h in heads)
    if continuous:
        total |= {"piece_length": count, "piece_motion": sum(h.pieces * n * terms[h.order][1] for h in heads)}
        total |= dict.fromkeys(("piece_picard", "piece_deviation", "piece_bound", "piece_fresh"), count * n)
        total |= {"piece_transition": count * n * (n + nu), "piece_disturbance": count * n * nw}
    else:
        if count != len(heads):
            raise fields.refuse("a discrete plant has one update per step", "steps", count, len(heads))
        total |= {"update_coefficients": sum(n * terms[h.order][0] for h in heads), "update_jacobian": count * n * (n + nu + nw), "update_fresh": count * n}
    take = _Reader(arrays, total)
    out = []
    for k, h in enumerate(heads):
        m = terms[h.order][0]
        layers: dict[str, Fit] = {}
        state, generators, kept = take("state_coefficients", n, m), take("state_generators", n, h.columns), None if h.kept is None else take("kept", h.kept)
        control = take("control_coefficients", nu, m), take("control_generators", nu, h.columns), take("control_box", nu)
        for name, q, d in h.layers:
            if name in layers:
                raise fields.refuse("a layer is listed twice", f"steps[{k}].layers", name)
            centre, radius, error, lower, upper = (take(field, q) for field in _FITS)
            layers[name] = Fit(centre, radius, take("fit_coefficients", q, d + 1), error, lower, upper)
        pieces: tuple[PieceData, ...] = ()
        update = None
        if continuous:
            pieces = tuple(_piece(take, n, nu, nw, terms[h.order][1]) for _ in range(h.pieces))
        else:
            update = UpdateData(take("update_coefficients", n, m), take("update_jacobian", n, n + nu + nw), take("update_fresh", n))
        out.append(StepData(h.order, state, generators, kept, *control, layers, pieces, update))
    return tuple(out)


def _piece(take: _Reader, n: int, nu: int, nw: int, terms: int) -> PieceData:
    motion = take("piece_length", 1), take("piece_motion", n, terms), take("piece_picard", n), take("piece_deviation", n), take("piece_bound", n)
    return PieceData(float(motion[0][0]), *motion[1:], take("piece_transition", n, n + nu), take("piece_disturbance", n, nw), take("piece_fresh", n))
