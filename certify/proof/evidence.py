"""Semidefinite evidence as data: entries of document["proofs"] and their arrays, built by the prover, validated for every reader.

    {"kind": "inequality", "rows": "all" | [i, j], "bound": L, "tau": ARRAY}     |dt| <= L |dx_0|, or |d(t_i - t_j)| <= L |dx_0|
    {"kind": "layers", "bound": L | null, "pairs": ARRAY | null, "u": ARRAY, "exponents": [int], "deltas": [number], "states": [[tensor]]}
ARRAY names a float64 array of the file; t is the tensor that the document is about. tau, u: one number >= 0 per group of every block, in the order of
`parts.read`, 0 for groups without anything to search; pairs: (k, k), symmetric with zero diagonal. Further arrays, of methods that work per input, start with the
name of their method and "_".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import fields

KINDS = ("inequality", "layers")
PER_INPUT = ("local", "curvature")
MOST_PROOFS = 10_000
MOST_GROUPS = 1 << 24
Evidence = tuple[dict[str, Any], dict[str, np.ndarray]]
_DTYPES = ("float32", "float64", "int8", "int64", "uint8")


def inequality_proof(number: int, bound: float, taus: Sequence[np.ndarray], rows: str | Sequence[int] = "all") -> Evidence:
    """(entry, arrays) of one matrix inequality.

    Args:
        number: place among the document's proofs, part of the arrays' names. taus: multipliers per block, (groups,).
    """
    name = f"proof{number}.tau"
    entry = {"kind": "inequality", "rows": rows if isinstance(rows, str) else [int(i) for i in rows], "bound": float(bound), "tau": name}
    return entry, {name: _joined(taus)}


def layers_proof(
    number: int, us: Sequence[np.ndarray], exponents: Sequence[int], deltas: Sequence[float], states: Sequence[Sequence[str]], *,
    bound: float | None = None, pairs: np.ndarray | None = None,
) -> Evidence:  # fmt: skip
    """(entry, arrays) of metrics layer by layer: multipliers, exponent, delta and the stacked tensors per block; what is claimed of the last metric."""
    names = f"proof{number}.u", f"proof{number}.pairs"
    entry = {
        "kind": "layers", "bound": None if bound is None else float(bound), "pairs": None if pairs is None else names[1], "u": names[0],
        "exponents": [int(k) for k in exponents], "deltas": [float(d) for d in deltas], "states": [list(s) for s in states],
    }  # fmt: skip
    arrays = {names[0]: _joined(us)}
    return entry, arrays if pairs is None else {**arrays, names[1]: np.asarray(pairs, dtype=np.float64)}


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(p, dtype=np.float64).ravel() for p in parts]) if len(parts) else np.zeros(0)


def with_evidence(document: dict, arrays: dict[str, np.ndarray], proofs: Sequence[Evidence], extra: Mapping[str, np.ndarray] | None) -> tuple[dict, dict[str, np.ndarray]]:
    """The document with its proofs, and all arrays; digests are the caller's."""
    if not proofs and not extra:
        return document, arrays
    arrays = {**arrays, **{name: a for _, found in proofs for name, a in found.items()}, **dict(extra or {})}
    return ({**document, "proofs": [dict(entry) for entry, _ in proofs]} if proofs else document), arrays


def proofs_of(document: dict) -> list[dict]:
    """The entries of a validated document."""
    return document.get("proofs", [])


def validate_proofs(document: dict, arrays: dict[str, np.ndarray], names: Sequence[str]) -> set[str]:
    """Types, ranges and arrays of the evidence; the names of the arrays that belong to it, with those of the methods `names` that work per input.

    Raises:
        CertificateError: the first entry or array that is wrong.
    """
    mine: set[str] = set()
    for number, entry in enumerate(fields.items(document.get("proofs", []), "proofs", MOST_PROOFS)):
        where = f"proofs[{number}]"
        entry = fields.mapping(entry, where)
        kind = fields.text(fields.member(entry, "kind", where), f"{where}.kind", KINDS)
        used = _inequality(entry, arrays, where) if kind == "inequality" else _layers(entry, arrays, where)
        if used & mine:
            raise fields.refuse("two proofs share an array", where, sorted(used & mine))
        mine |= used
    for name in arrays.keys() - mine:
        method = name.split("_", 1)[0]
        if method in PER_INPUT and method in names and "_" in name:
            if arrays[name].dtype.name not in _DTYPES or not np.isfinite(arrays[name]).all():
                raise fields.refuse("an array of a certificate is not finite or of another dtype", f"arrays/{name[:80]}", arrays[name].dtype, ", ".join(_DTYPES))
            mine.add(name)
    return mine


def _inequality(entry: dict, arrays: dict[str, np.ndarray], where: str) -> set[str]:
    rows = fields.member(entry, "rows", where)
    if rows != "all":
        pair = fields.integers(rows, f"{where}.rows", 0, 1 << 31)
        if len(pair) != 2 or pair[0] == pair[1]:
            raise fields.refuse("rows of evidence are neither all nor two different entries", f"{where}.rows", rows)
    fields.number(fields.member(entry, "bound", where), f"{where}.bound")
    return {_vector(entry, "tau", arrays, where)}


def _layers(entry: dict, arrays: dict[str, np.ndarray], where: str) -> set[str]:
    bound, pairs = fields.member(entry, "bound", where), fields.member(entry, "pairs", where)
    if bound is not None:
        fields.number(bound, f"{where}.bound")
    if bound is None and pairs is None:
        raise fields.refuse("evidence that claims nothing", where)
    for i, k in enumerate(fields.items(fields.member(entry, "exponents", where), f"{where}.exponents")):
        if isinstance(k, bool) or not isinstance(k, int) or not -500 <= k <= 500:
            raise fields.refuse("an exponent is not an integer in range", f"{where}.exponents[{i}]", k, "-500 .. 500")
    for i, delta in enumerate(fields.items(fields.member(entry, "deltas", where), f"{where}.deltas")):
        fields.number(delta, f"{where}.deltas[{i}]")
    for i, state in enumerate(fields.items(fields.member(entry, "states", where), f"{where}.states")):
        fields.texts(state, f"{where}.states[{i}]")
    used = {_vector(entry, "u", arrays, where)}
    if pairs is not None:
        name = fields.text(pairs, f"{where}.pairs")
        if name not in arrays:
            raise fields.refuse("a certificate lacks an array", f"arrays/{name[:80]}")
        table = arrays[name]
        if table.dtype.name != "float64" or table.ndim != 2 or table.shape[0] != table.shape[1]:
            raise fields.refuse("an array of a certificate has the wrong dtype or shape", f"arrays/{name[:80]}", f"{table.dtype} {table.shape}", "float64 (k, k)")
        if not ((table >= 0).all() and np.isfinite(table).all() and (table == table.T).all() and (np.diag(table) == 0).all()):
            raise fields.refuse("pair bounds are not finite, symmetric and >= 0 with a zero diagonal", f"arrays/{name[:80]}")
        used.add(name)
    return used


def _vector(entry: dict, key: str, arrays: dict[str, np.ndarray], where: str) -> str:
    """The name of a float64 vector of finite numbers >= 0."""
    name = fields.text(fields.member(entry, key, where), f"{where}.{key}")
    if name not in arrays:
        raise fields.refuse("a certificate lacks an array", f"arrays/{name[:80]}")
    value = arrays[name]
    if value.dtype.name != "float64" or value.ndim != 1 or value.size > MOST_GROUPS:
        raise fields.refuse("an array of a certificate has the wrong dtype or shape", f"arrays/{name[:80]}", f"{value.dtype} {value.shape}", "float64 (groups,)")
    if not (np.isfinite(value) & (value >= 0)).all():
        raise fields.refuse("a multiplier is negative or not finite", f"arrays/{name[:80]}", float(value[np.argmin(np.isfinite(value) & (value >= 0))]), "finite numbers >= 0")
    return name
