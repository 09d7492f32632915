"""`check(path, graph)`: is the certificate in this file true of this graph? The trusted part: no torch, no prover code.

Every number is derived again from the graph's weights and the stored inputs: the constant of each layer (own counts, own slopes, own Gram matrices,
own phases), their composition in exact rationals, the logits by an own forward pass with its own error bounds, and each radius. A number that the
checker cannot prove is refused, also when it happens to be true.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..core.errors import CertificateError, CertifyError
from ..core.fold import fold_affine
from ..core.graph import Graph
from ..core.rounding import down, norm_down, norm_up, require_ieee, up
from . import fields
from .certificate import assumptions, read
from .check_margins import check_radii
from .check_sdp import Proved, check_proofs
from .check_steps import Chain, CheckedStep, check_steps
from .exact import covers
from .forward import forward


@dataclass(frozen=True)
class CheckReport:
    """`ok` is True (a certificate that does not hold raises); `steps` lists what was checked, in order: name, what, stored, recomputed, seconds."""

    ok: bool
    steps: list[CheckedStep]
    claim: str = ""
    not_proved: tuple[str, ...] = ()

    def __str__(self) -> str:
        width = max((len(s.name) for s in self.steps), default=4)
        lines = [f"  {s.name:<{width}}  {s.recomputed!s:<8}  {s.what}  [{s.seconds:.3f} s]" for s in self.steps]
        return "\n".join([self.claim, *lines, *(f"  not proved: {text}" for text in self.not_proved)])


def check(path: Any, graph: Graph, max_bytes: int | None = None, loaded: tuple[dict, dict[str, np.ndarray]] | None = None) -> CheckReport:
    """Prove the certificate at `path` about `graph` again.

    Claim: if this returns, the certificate's claim holds for the function of `graph` in exact real arithmetic, under the assumptions that
    the certificate lists (IEEE 754 arithmetic, sums of products, and libm within 4 ulp where a smooth function occurs).

    Args:
        path: the file that `save` or `--out` wrote. graph: of the same model. max_bytes: limit on the arrays, as in `certificate.read`. loaded: what `certificate.read(path)`
            returned, where the caller has read the file already.
    Returns:
        CheckReport with ok=True and one readable record per step.
    Raises:
        CertificateError: damaged, of another model (both digests are named), or a step that does not hold (stored and recomputed value).
        InputError: no such file. SoundnessError: the arithmetic of this process is not IEEE 754.
    Cost: the layer bounds and one float64 forward pass over the stored inputs; 2 GiB at most for layers up to 4096 on their smaller side.
    """
    require_ieee()
    try:
        return _check(graph, loaded or read(path, max_bytes))
    except CertifyError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError, MemoryError) as error:
        # Fail closed: whatever a hostile document made go wrong, nothing was proved.
        hint = "write it anew; if that fails too, report this"
        raise CertificateError("the certificate could not be checked", where=path, found=f"{type(error).__name__}: {error}"[:300], hint=hint) from error


def _check(graph: Graph, content: tuple[dict, dict[str, np.ndarray]]) -> CheckReport:
    document, arrays = content
    report = [CheckedStep("file", f"format, types, ranges and digests of {len(arrays)} arrays", document["format"], "proved", 0.0)]
    _same_graph(document, graph)
    report.append(CheckedStep("graph", "the weights are those of the certificate", document["graph"]["digest"], graph.digest, 0.0))
    needed = assumptions(graph)
    if not set(needed) <= set(document["assumptions"]):
        raise fields.refuse("the certificate hides an assumption of its proof", "assumptions", "; ".join(document["assumptions"])[:200], "; ".join(needed))
    norm = document["claim"]["norm"]
    folded = fold_affine(graph).pruned()
    chain = check_steps(folded, norm, document["constants"]["steps"], report)
    if document["kind"] == "radius":
        logits = document["head"]["logits"]
        if logits not in folded.by_name:
            raise fields.refuse("the head names a tensor that the (folded) graph does not have", "head.logits", logits)
        proved = check_proofs(folded, logits, norm, document, arrays, report)
        _constant(document, chain, logits, proved, report)
        check_radii(folded, norm, document, arrays, chain, report, proved)
    else:
        proved = check_proofs(folded, folded.output, norm, document, arrays, report)
        _constant(document, chain, folded.output, proved, report)
        _lower(folded, norm, document, arrays, chain, report)
    return CheckReport(True, report, document["claim"]["text"], tuple(document["claim"]["not_proved"]))


def _same_graph(document: dict, graph: Graph) -> None:
    stored = document["graph"]
    if stored["digest"] != graph.digest:
        raise CertificateError(
            "the certificate is about another model",
            where="graph.digest",
            found=f"certificate {fields.brief(stored['digest'])}",
            expected=f"this model {graph.digest}",
            hint="the same weights and input shape give the same digest; was the model trained on after it was certified?",
        )
    if tuple(stored["input_shape"]) != graph.input_shape:
        raise fields.refuse("the certificate is about another input shape", "graph.input_shape", stored["input_shape"], graph.input_shape)
    if stored["output"] != graph.output:
        raise fields.refuse("the certificate is about another tensor of this model", "graph.output", stored["output"], graph.output)


def _constant(document: dict, chain: Chain, name: str, proved: Proved | None, report: list[CheckedStep]) -> None:
    """The least of what the steps and the semidefinite evidence prove."""
    upper = float(document["constants"]["upper"])
    own = chain.running.get(name)
    if own is None:
        raise fields.refuse("no step bounds the tensor that the claim is about", "constants.steps", None, f"a step of {name}")
    if proved is not None and proved.whole < own:
        own = proved.whole
    if not covers(upper, Fraction(own)):
        raise CertificateError("the constant is smaller than what its steps prove", where="constants.upper", found=f"stored {upper!r}", expected=f"recomputed {own!r}")
    report.append(CheckedStep("upper", f"constant of {name}", upper, own, 0.0))


def _lower(graph: Graph, norm: str, document: dict, arrays: dict[str, np.ndarray], chain: Chain, report: list[CheckedStep]) -> None:
    """lower <= |f(a) - f(b)| / |a - b| of the stored pair, both values with their error bounds; without a pair nothing is proved, and 0 is trivial."""
    start = time.perf_counter()
    lower = float(document["constants"]["lower"])
    if "witness_a" not in arrays:
        report.append(CheckedStep("lower", "the lower end", lower, "proved" if lower == 0 else "not proved: no witness pair is stored", 0.0))
        return
    a, b = arrays["witness_a"], arrays["witness_b"]
    values, errors = forward(graph, np.stack([a, b]), norm, chain, [graph.output])
    out = values[graph.output].reshape(2, -1)
    # each float difference is within u of the exact one: a factor 1 - 2^-52 below, 1 + 2^-52 above
    change = down(down(norm_down(out[0] - out[1], norm) * (1 - 2.0**-52)) - up(float(errors[graph.output].sum())))
    distance = up(norm_up(a - b, norm) * (1 + 2.0**-52))
    own = down(change / distance) if distance > 0 and change > 0 else 0.0
    if not lower <= own:
        expected = f"recomputed {own!r}: the stored number may not be larger"
        raise CertificateError("the lower end is not reached by its witness pair", where="constants.lower", found=f"stored {lower!r}", expected=expected)
    report.append(CheckedStep("lower", "difference quotient of the stored pair", lower, own, time.perf_counter() - start))


__all__ = ["CheckReport", "CheckedStep", "check"]
