"""The certificate document: what is claimed, from what it follows, and what is not proved.

A certificate is one file (`core.record`): a JSON document and arrays. It is built by `radius_document` or
`lipschitz_document`, written by `write` and read by `read`, which also validates it (`proof.validate`). Nothing here is believed by the
checker: `proof.check` re-derives every number from the model and the arrays.

    {"format", "kind": "radius" | "lipschitz", "claim": {"text", "not_proved", "arithmetic": "real", "norm"},
     "graph": {"digest", "input_shape", "output"}, "assumptions": [...], "versions": {...}, "created": iso time,
     "constants": {"upper", "lower", "method", "steps": [`step`, ...]},
     optional: "proofs": [semidefinite evidence, `proof.evidence`], about the output, or the logits of a radius certificate,
     radius only: "head": {"kind", "logits", "node", "backbone", "stripped"}, "methods": some of METHODS,
     "digests": {array: sha256}}

Steps are about `core.fold.fold_affine(graph)`; the digest is that of the unfolded graph. Arrays of a radius certificate, n inputs:
`inputs` (n, *shape) float32, uint8 or float64, `labels` and `predictions` int64, `radii` float64 (0 where nothing is proved),
`method` int8 (index into methods, -1 = none), `upper` float64 (attack, inf = none found), and optionally `witnesses` (n, *shape)
float64: points that the model misclassifies, within `upper` where that is finite. Of a lipschitz certificate: optionally
`witness_a`, `witness_b` (*shape) float64 with |f(a) - f(b)| >= lower |a - b|.
"""

from __future__ import annotations

import datetime
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import CertificateError, InputError
from ..core.graph import Graph
from ..core.record import as_path, digest_array, read_record, write_record
from ..core.regions import require_norm
from .evidence import Evidence, inequality_proof, layers_proof, with_evidence

FORMAT = "certify-certificate/1"
KINDS = ("radius", "lipschitz")
METHODS = ("global", "pairwise", "sdp", "local", "curvature")
IEEE = "IEEE 754 binary64 with gradual underflow: + - * / and square root are rounded to nearest"
PRODUCTS = "a matrix product computes sums of the products of the entries, in any order, with or without fma"
LIBM = "libm: exp, expm1, log1p, erf, sin and cos of numpy and scipy are within 4 ulp"
# Activations whose float value needs nothing from a library; all others, softmax and its relatives do.
EXACT_ACTIVATIONS = frozenset("relu leaky_relu prelu hardtanh hardswish hardsigmoid abs softsign softshrink".split())
_FLOATS = "the same for the network as executed in float32 or any other float arithmetic, which rounds"


def assumptions(graph: Graph) -> list[str]:
    """What the proof believes without proof: the arithmetic, and the library's functions where the network uses any."""
    smooth = any(n.op in ("softmax", "log_softmax", "logsumexp") or (n.op == "activation" and n.attrs.get("kind") not in EXACT_ACTIVATIONS) for n in graph.nodes)
    return [IEEE, PRODUCTS, LIBM] if smooth else [IEEE, PRODUCTS]


def claim(kind: str, norm: str) -> dict[str, Any]:
    """The claim in plain words, and what it does not say."""
    size = {"l2": "Euclidean", "linf": "maximum", "l1": "sum-of-absolute-values"}[norm]
    function = "the network with its stored weights, evaluated in exact real arithmetic"
    if kind == "radius":
        says = (
            f"For every listed input x with radius r > 0 and every d with |d| < r in the {size} norm ({norm}), in the units of the model's input, "
            f"{function}, gives the listed label of x a strictly larger logit at x + d than every other class."
        )
        no = [
            "that the listed labels are the true ones",
            "the attack's ends of the brackets, unless witnesses are stored",
            "anything about inputs at a distance of r or more",
        ]
    else:
        says = f"For all inputs a and b, {function}, satisfies |f(a) - f(b)| <= upper * |a - b|, both in the {size} norm ({norm}) of the flattened tensors."
        no = ["the lower end, unless a witness pair is stored", "that upper is the least such constant"]
    return {"text": says, "not_proved": [_FLOATS, *no], "arithmetic": "real", "norm": norm}


def step(
    node: str, op: str, rule: str, method: str, inputs: Sequence[str], constants: Sequence[float], combine: str, running: float, evidence: Mapping | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One line of the proof: node `node` of the folded graph changes by at most combine_i(constants[i] * running of inputs[i]) <= running."""
    return {
        "node": node, "op": op, "rule": rule, "method": method, "inputs": list(inputs), "constants": [float(c) for c in constants],
        "combine": combine, "running": float(running), "evidence": _finite(dict(evidence or {})),
    }  # fmt: skip


def _finite(value: Any) -> Any:
    """JSON data without NaN and infinities (a method that found nothing reports inf): they become text."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def head(kind: str, logits: str, node: str | None = None, backbone: float | None = None, stripped: Sequence[str] = ()) -> dict[str, Any]:
    """The end of a classifier: the tensor `logits`, the last dense layer `node` that makes it and the running constant `backbone` at
    that layer's input (both None for the global method alone), and the nodes after `logits` that change no prediction, last first.
    kind: "global", "pairwise" or "both". All names are those of the folded graph."""
    return {"kind": kind, "logits": logits, "node": node, "backbone": None if backbone is None else float(backbone), "stripped": list(stripped)}


def lipschitz_document(
    graph: Graph, norm: str, steps: Sequence[Mapping], upper: float, lower: float = 0.0, *,
    method: str = "product", witness: tuple[np.ndarray, np.ndarray] | None = None, created: str | None = None, proofs: Sequence[Evidence] = (),
) -> tuple[dict, dict[str, np.ndarray]]:  # fmt: skip
    """(document, arrays) for `write`: the constant of the whole network is at most `upper`.

    Args:
        graph: the user's graph, not folded. steps: made by `step`, of every node of `fold_affine(graph)` that the output depends on.
        lower, witness: the witnessed lower end and its pair (a, b) of shape input_shape; without a pair the checker proves no lower end.
        proofs: made by `inequality_proof` and `layers_proof`, of the output tensor; `upper` may then be the least of their bounds and the steps'.
    """
    arrays = {} if witness is None else {"witness_a": np.array(witness[0], dtype=np.float64), "witness_b": np.array(witness[1], dtype=np.float64)}
    return _finished(_document("lipschitz", graph, norm, steps, upper, lower, method, created), arrays, proofs)


def radius_document(
    graph: Graph, norm: str, steps: Sequence[Mapping], head: Mapping, *,
    inputs: np.ndarray, labels: np.ndarray, predictions: np.ndarray, radii: np.ndarray, method: np.ndarray, attacked: np.ndarray | None = None,
    witnesses: np.ndarray | None = None, upper: float | None = None, lower: float = 0.0, methods: Sequence[str] = METHODS[:2], created: str | None = None,
    proofs: Sequence[Evidence] = (), extra: Mapping[str, np.ndarray] | None = None,
) -> tuple[dict, dict[str, np.ndarray]]:  # fmt: skip
    """(document, arrays) for `write`: certified radii of n inputs.

    Args:
        graph, steps: as in `lipschitz_document`; steps up to the logits suffice (more are allowed, and checked).
        head: made by `head`. method: (n,) index into `methods` of the bound that gave each radius, -1 where the radius is 0.
        attacked: (n,) upper ends found by an attack, inf where none was; None = no attack. witnesses: (n, *shape) its points.
        upper: the constant of the logits; None = the least of the step named head["logits"] and the proofs of the whole tensor.
        proofs: semidefinite evidence about the logits. extra: arrays of the methods that work per input, "local_..." and "curvature_...".
    """
    if upper is None:
        upper = next((float(s["running"]) for s in reversed(steps) if s["node"] == head["logits"]), float("nan"))
        upper = min([upper, *(entry["bound"] for entry, _ in proofs if entry["bound"] is not None and entry.get("rows", "all") == "all")])
    given = np.asarray(inputs)
    n = len(given)
    arrays = {
        "inputs": given if given.dtype.name in ("float32", "uint8") else given.astype(np.float64),
        "labels": np.asarray(labels, dtype=np.int64), "predictions": np.asarray(predictions, dtype=np.int64), "radii": np.asarray(radii, dtype=np.float64),
        "method": np.asarray(method, dtype=np.int8), "upper": np.full(n, np.inf) if attacked is None else np.asarray(attacked, dtype=np.float64),
    }  # fmt: skip
    if witnesses is not None:
        arrays["witnesses"] = np.asarray(witnesses, dtype=np.float64)
    document = _document("radius", graph, norm, steps, upper, lower, "sdp" if proofs else "product", created)
    return _finished({**document, "head": dict(head), "methods": list(methods)}, arrays, proofs, extra)


def _finished(document: dict, arrays: dict[str, np.ndarray], proofs: Sequence[Evidence], extra: Mapping[str, np.ndarray] | None = None) -> tuple[dict, dict[str, np.ndarray]]:
    document, arrays = with_evidence(document, arrays, proofs, extra)
    return {**document, "digests": {name: digest_array(a) for name, a in arrays.items()}}, arrays


def _document(kind: str, graph: Graph, norm: str, steps, upper: float, lower: float, method: str, created: str | None) -> dict[str, Any]:
    require_norm(norm)
    return {
        "format": FORMAT, "kind": kind, "claim": claim(kind, norm), "graph": {"digest": graph.digest, "input_shape": list(graph.input_shape), "output": graph.output},
        "assumptions": assumptions(graph), "versions": versions(), "created": created or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "constants": {"upper": float(upper), "lower": float(lower), "method": method, "steps": [dict(s) for s in steps]},
    }  # fmt: skip


def versions() -> dict[str, str]:
    """Of the software that wrote the certificate; for the reader, no part of the proof."""
    import scipy

    from certify import __version__

    return {"certify": __version__, "numpy": np.__version__, "scipy": scipy.__version__, "python": platform.python_version()}


def write(path, document: Mapping, arrays: Mapping[str, np.ndarray]) -> Path:
    """Validate and write the certificate atomically to exactly `path`.

    Raises:
        InputError: a number that cannot be certified (NaN, infinite constant), a missing field, or a path that cannot be written.
    """
    from .validate import validate

    try:
        validate(dict(document), dict(arrays))
    except CertificateError as error:
        hint = "an infinite constant proves nothing: look at table() for the layer where it appears"
        raise InputError(f"no certificate was written: {error.what}", where=error.where, found=error.found, expected=error.expected, hint=hint) from error
    return write_record(path, document, arrays)


def read(path, max_bytes: int | None = None) -> tuple[dict, dict[str, np.ndarray]]:
    """Document and arrays of a certificate file, structure validated; no claim is checked. The arrays may take `max_bytes`, by default 1 GiB or
    four times the file: a small file cannot ask for much.

    Raises:
        InputError: no such file. CertificateError: not a certificate, damaged, another format, or a field of the wrong type.
    """
    from .validate import validate

    path = as_path(path)
    if max_bytes is None:
        max_bytes = max(1 << 30, 4 * path.stat().st_size) if path.is_file() else 1 << 30
    document, arrays = read_record(path, max_bytes)
    validate(document, arrays)
    return document, arrays


__all__ = [
    "EXACT_ACTIVATIONS", "FORMAT", "KINDS", "METHODS", "assumptions", "claim", "head", "inequality_proof", "layers_proof", "lipschitz_document", "radius_document",
    "read", "step", "versions", "write",
]  # fmt: skip
