"""`certify.lipschitz`: both ends of the Lipschitz constant of a whole network."""

from __future__ import annotations

import time
from typing import Any

from ..core.errors import HypothesisError, InputError, SoundnessError
from ..core.fold import fold_affine
from ..core.graph import Graph
from ..core.regions import require_norm
from .certificate import LipschitzCertificate, Row, Table
from .closed_form import WORTH_IT, closed_form, why_not
from .lower import Witness, lower_end
from .product import Progress, Step, walk

__all__ = ["LipschitzCertificate", "Row", "Step", "Table", "Witness", "graph_constant", "lipschitz"]

METHODS = ("auto", "product", "closed_form")
LATER = ("sdp", "interval")
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
        method: "product" composes layer constants; "closed_form" takes the norm of the assembled matrix of an affine network; "auto" takes
            the smaller of what applies.
        region: not available yet; the claim is global.
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
    if region is not None or method in LATER:
        asked = f"method {method!r}" + ("" if region is None else f" on a {type(region).__name__}")
        hint = "leave region out: the global constant holds on every region"
        raise HypothesisError("constants of a region and the methods 'sdp' and 'interval' are not available yet", where=asked, expected=", ".join(map(repr, METHODS)), hint=hint)
    if method not in METHODS:
        raise InputError("unknown method", where="argument method", found=repr(method), expected=", ".join(map(repr, METHODS)))
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
    witness = lower_end(folded, norm, {step.node: step.local for step in steps}, effort) if lower else Witness(0.0)
    return LipschitzCertificate(max(witness.value, proved), upper, norm, name, tuple(steps), graph, witness, evidence, time.perf_counter() - start)
