"""Is a document a certificate? Types, ranges, shapes, dtypes and digests; no claim is checked here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.record import digest_array
from ..core.regions import NORMS
from . import fields
from .certificate import FORMAT, KINDS, METHODS, claim
from .evidence import validate_proofs

COMBINE = ("sum", "root", "max")
_INPUT_DTYPES = ("float32", "float64", "uint8")


def validate(document: dict, arrays: dict[str, np.ndarray]) -> None:
    """Types, ranges, shapes, dtypes and digests of everything in a certificate; CertificateError names the first that is wrong."""
    found = document.get("format")
    if found != FORMAT:
        raise fields.refuse("not a certificate of this format", "format", found, repr(FORMAT), "it may be the certificate of another version of certify")
    kind = fields.text(fields.member(document, "kind", "certificate"), "kind", KINDS)
    says = fields.mapping(fields.member(document, "claim", "certificate"), "claim")
    norm = fields.text(fields.member(says, "norm", "claim"), "claim.norm", NORMS)
    if says != claim(kind, norm):
        raise fields.refuse("the claim's words are not those of its kind and norm", "claim", says.get("text"), claim(kind, norm)["text"])
    graph = fields.mapping(fields.member(document, "graph", "certificate"), "graph")
    fields.text(fields.member(graph, "digest", "graph"), "graph.digest")
    shape = tuple(fields.integers(fields.member(graph, "input_shape", "graph"), "graph.input_shape", 1, 1 << 31))
    if math.prod(shape) > 1 << 31:
        raise fields.refuse("an input shape of absurd size", "graph.input_shape", shape)
    fields.text(fields.member(graph, "output", "graph"), "graph.output")
    fields.texts(fields.member(document, "assumptions", "certificate"), "assumptions")
    for key, value in fields.mapping(fields.member(document, "versions", "certificate"), "versions").items():
        fields.text(value, f"versions.{key}")
    fields.text(fields.member(document, "created", "certificate"), "created")
    constants = fields.mapping(fields.member(document, "constants", "certificate"), "constants")
    upper, lower = (fields.number(fields.member(constants, key, "constants"), f"constants.{key}") for key in ("upper", "lower"))
    if kind == "radius" and lower != 0.0:
        raise fields.refuse("a radius certificate claims no lower end of the constant", "constants.lower", lower, 0.0)
    if not lower <= upper:
        raise fields.refuse("the ends of the constant are inverted", "constants", f"lower {lower!r}, upper {upper!r}", "lower <= upper")
    fields.text(fields.member(constants, "method", "constants"), "constants.method")
    for i, entry in enumerate(fields.items(fields.member(constants, "steps", "constants"), "constants.steps")):
        _validate_step(entry, f"constants.steps[{i}]")
    if kind == "radius":
        _validate_radius(document, arrays, shape)
    else:
        pair = ("witness_a", "witness_b")
        more = validate_proofs(document, arrays, ())
        _validate_arrays(arrays, dict.fromkeys(pair, (("float64",), shape)), optional=() if set(pair) & set(arrays) else pair, more=more)
        _finite(arrays, *pair)
    digests = fields.mapping(fields.member(document, "digests", "certificate"), "digests")
    if digests.keys() != arrays.keys():
        raise fields.refuse("the digests are not those of the stored arrays", "digests", ", ".join(sorted(map(str, digests)))[:200], ", ".join(sorted(arrays))[:200])
    for name, value in arrays.items():
        own = digest_array(value)
        if digests[name] != own:
            raise fields.refuse("an array does not have the digest that the certificate states", f"arrays/{name}", digests[name], own)


def _validate_step(entry: Any, where: str) -> None:
    entry = fields.mapping(entry, where)
    for key in ("node", "op", "rule", "method"):
        fields.text(fields.member(entry, key, where), f"{where}.{key}")
    names = fields.texts(fields.member(entry, "inputs", where), f"{where}.inputs")
    numbers = fields.items(fields.member(entry, "constants", where), f"{where}.constants")
    for i, value in enumerate(numbers):
        fields.number(value, f"{where}.constants[{i}]")
    if len(numbers) != len(names):
        raise fields.refuse("a step needs one constant per input", where, len(numbers), len(names))
    fields.text(fields.member(entry, "combine", where), f"{where}.combine", COMBINE)
    fields.number(fields.member(entry, "running", where), f"{where}.running")
    fields.mapping(fields.member(entry, "evidence", where), f"{where}.evidence")


def _validate_radius(document: dict, arrays: dict[str, np.ndarray], shape: tuple[int, ...]) -> None:
    end = fields.mapping(fields.member(document, "head", "certificate"), "head")
    kind = fields.text(fields.member(end, "kind", "head"), "head.kind", ("pairwise", "global", "both"))
    fields.text(fields.member(end, "logits", "head"), "head.logits")
    fields.texts(fields.member(end, "stripped", "head"), "head.stripped")
    if kind != "global":
        fields.text(fields.member(end, "node", "head"), "head.node")
        fields.number(fields.member(end, "backbone", "head"), "head.backbone")
    names = fields.texts(fields.member(document, "methods", "certificate"), "methods")
    if not set(names) <= set(METHODS) or len(set(names)) != len(names):
        raise fields.refuse("unknown methods", "methods", names, f"a list of {METHODS}")
    if "inputs" not in arrays:
        raise fields.refuse("a certificate lacks an array", "arrays/inputs")
    n = len(arrays["inputs"]) if arrays["inputs"].ndim else 0
    expected: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {"inputs": (_INPUT_DTYPES, (n, *shape)), "witnesses": (("float64",), (n, *shape))}
    expected |= dict.fromkeys(("labels", "predictions"), (("int64",), (n,))) | dict.fromkeys(("radii", "upper"), (("float64",), (n,))) | {"method": (("int8",), (n,))}
    _validate_arrays(arrays, expected, optional=("witnesses",), more=validate_proofs(document, arrays, names))
    _finite(arrays, "inputs", "witnesses")
    for name in ("radii", "upper"):
        if not (arrays[name] >= 0).all():
            bad = int(np.argmin(arrays[name] >= 0))
            raise fields.refuse("a radius is negative or NaN", f"arrays/{name}, index {bad}", float(arrays[name][bad]), "a number >= 0")
    method = arrays["method"]
    if not ((method >= -1) & (method < len(names))).all():
        raise fields.refuse("a method index is out of range", "arrays/method", f"{int(method.min())}..{int(method.max())}", f"-1..{len(names) - 1}")


def _validate_arrays(arrays: dict[str, np.ndarray], expected: Mapping[str, tuple[tuple[str, ...], tuple[int, ...]]], optional: tuple[str, ...], more: set[str]) -> None:
    for name in arrays:
        if name in more and name in expected:
            raise fields.refuse("a proof uses an array that has another meaning", f"arrays/{name[:80]}")
        if name not in expected and name not in more:
            raise fields.refuse("a certificate holds an array that its kind does not have", f"arrays/{name[:80]}", None, ", ".join(expected))
    for name, (dtypes, shape) in expected.items():
        if name in arrays or name not in optional:
            fields.array(arrays, name, dtypes, shape)


def _finite(arrays: dict[str, np.ndarray], *names: str) -> None:
    for name in names:
        if name in arrays and not np.isfinite(arrays[name]).all():
            raise fields.refuse("an array of a certificate is not finite", f"arrays/{name}, flat index {int(np.argmin(np.isfinite(arrays[name]).ravel()))}")
