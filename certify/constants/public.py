"""`certify.lipschitz`: both ends of the Lipschitz constant of a whole network."""

from __future__ import annotations

import time
from typing import Any

from ..core.errors import HypothesisError, InputError, SoundnessError, UnsupportedLayerError
from ..core.fold import fold_affine
from ..core.graph import Graph
from ..core.regions import require_norm
from .certificate import LipschitzCertificate, Row, Table
from .closed_form import WORTH_IT, closed_form, why_not
from .lower import Witness, lower_end
from .product import Progress, Step, walk
from .semidefinite import AUTO, describe, semidefinite, worth_it

__all__ = ["LipschitzCertificate", "Row", "Step", "Table", "Witness", "graph_constant", "lipschitz"]

METHODS = ("auto", "product", "closed_form", "sdp", "interval")
EFFORTS = ("fast", "balanced", "tight")


def lipschitz(
    model: Any, input_shape, norm: str = "l2", method: str = "auto", region: Any = None, effort: str = "balanced", progress: Progress | None = None
) -> LipschitzCertificate:
    """Enclose the Lipschitz constant of a model.

    Claim: lower <= sup |f(x) - f(y)|_p / |x - y|_p <= upper over all inputs x != y, f the network with its stored weights in exact real
    arithmetic, p = `norm` on the flattened input and output.

    Args:
        model: torch module (layers that depend on the mode in eval mode), path to an ONNX file, or Graph.
        input_shape: of one input, without the batch axis.
        norm: "l2", "linf" or "l1".
        method: "product" composes layer constants; "closed_form" takes the norm of the assembled matrix of an affine network; "sdp" (l2) the
            semidefinite bound, verified (`certify.constants.semidefinite`); "auto" takes the smallest of what applies within the effort.
        region: a `certify.Ball` or `certify.Box`: the claim is then about x, y in it; methods "sdp" (l2), "interval", "auto". Never above the global constant.
        effort: "fast", "balanced" or "tight": time for the layer norms and for the search of the lower end.
        progress: called as progress(done, total, message); raising from it cancels.
    Guarantee: rounding of this computation is accounted for on both ends; `lower` has a stored pair of inputs.
    Raises:
        UnsupportedLayerError: a layer without a rule or without a finite constant.
        HypothesisError: a method or region that does not apply, with what does.
        InputError: unknown norm, method or effort, or a model that cannot be used.
        SoundnessError: the two ends contradict each other.
    Cost: one norm per different linear layer, then about 0.4, 1.5 or 10 seconds for the lower end.
    Source: methods/network_lipschitz.md sections 1, 3 and 4.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (2,)})
    >>> y = b.add("add", [x, x], name="double")
    >>> certificate = lipschitz(b.build(y), (2,), effort="fast")
    >>> certificate.upper, 1.999999 < certificate.lower <= 2.0
    (2.0, True)
    """
    from ..facade import as_graph

    return graph_constant(as_graph(model, input_shape), norm, method, region, effort, progress)


def graph_constant(
    graph: Graph, norm: str = "l2", method: str = "auto", region: Any = None, effort: str = "balanced", progress: Progress | None = None, lower: bool = True
) -> LipschitzCertificate:
    """`lipschitz` of a Graph; `lower=False` skips the search of the lower end (it is then 0)."""
    require_norm(norm)
    if effort not in EFFORTS:
        raise InputError("unknown effort", where="argument effort", found=repr(effort), expected=", ".join(map(repr, EFFORTS)))
    if method not in METHODS:
        raise InputError("unknown method", where="argument method", found=repr(method), expected=", ".join(map(repr, METHODS)))
    if region is not None or method == "interval":
        if region is None:
            raise HypothesisError("the interval method is about a region", where="argument region", found="None", expected="certify.Ball or certify.Box", hint="method='product'")
        from .near import regional_certificate

        return regional_certificate(graph, region, norm, method, effort, lower)
    start = time.perf_counter()
    folded = fold_affine(graph).pruned()
    steps = walk(folded, norm, effort, progress)
    upper, name, evidence, proved = (steps[-1].running if steps else 1.0), "product", {}, 0.0
    several = sum(step.op not in ("reshape", "transpose") for step in steps) > 1  # one layer's norm is its closed form already
    if method == "closed_form" or (method == "auto" and several and not why_not(folded, WORTH_IT[effort])):
        bound = closed_form(folded, norm, effort)
        if bound.lower > upper:
            raise SoundnessError("two methods contradict each other", where=f"norm {norm}", found=f"closed form >= {bound.lower!r}, product <= {upper!r}")
        proved = bound.lower
        if method == "closed_form" or bound.upper < upper:
            upper, name, evidence = min(upper, bound.upper), "closed_form", dict(bound.evidence)
    proof = None
    if method == "sdp" or (method == "auto" and norm == "l2" and name == "product" and worth_it(folded, AUTO[effort])):
        proof = _semidefinite(folded, norm, effort, method, progress)
        if proof is not None and (method == "sdp" or proof.bound < upper):
            upper, name, evidence = min(upper, proof.bound), "sdp", describe(proof)
    witness = lower_end(folded, norm, {step.node: step.local for step in steps}, effort) if lower else Witness(0.0)
    seconds = time.perf_counter() - start
    return LipschitzCertificate(max(witness.value, proved), upper, norm, name, tuple(steps), graph, witness, evidence, seconds, proof if name == "sdp" else None)


def _semidefinite(folded: Graph, norm: str, effort: str, method: str, progress: Progress | None):
    """The proved semidefinite bound; None where method "auto" has none."""
    if norm != "l2":
        raise HypothesisError("the semidefinite bound is about the l2 norm", where="argument norm", found=repr(norm), expected="'l2'", hint="method='product' serves linf and l1")
    try:
        return semidefinite(folded, effort, progress)
    except (HypothesisError, UnsupportedLayerError):
        if method == "sdp":
            raise
        return None
