"""What `certify lipschitz` finds out: one `Rung` per bound of the ladder lower <= semidefinite <= closed form <= product, each with its time or its reason."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..core.errors import HypothesisError
from ..core.graph import Graph
from .progress import Progress

if TYPE_CHECKING:
    from ..constants.certificate import LipschitzCertificate

PRODUCT, MATRIX, FAST, CLOSED, SDP = "product", "matrix norm", "closed form, ECLipsE-Fast", "closed form", "semidefinite"
METHODS = ("auto", "product", "closed_form", "sdp")
_WANTED = {"auto": (PRODUCT, MATRIX, FAST, CLOSED, SDP), "product": (PRODUCT,), "closed_form": (PRODUCT, MATRIX, FAST, CLOSED), "sdp": (PRODUCT, SDP)}


@dataclass(frozen=True)
class Rung:
    """One bound: `upper` is proved, or inf with a `reason`; `how` says what proves it; `seconds` of wall time, without the layer norms that only `product` needs."""

    name: str
    upper: float = math.inf
    seconds: float = 0.0
    how: str = ""
    reason: str = ""

    def document(self) -> dict[str, Any]:
        """The rung as a JSON object."""
        return asdict(self)


@dataclass
class Ladder:
    """The rungs found so far, and the certificate of the best one that can be written to a file."""

    graph: Graph
    norm: str
    effort: str
    method: str
    rungs: list[Rung] = field(default_factory=list)
    certificate: LipschitzCertificate | None = None
    lower_seconds: float = 0.0

    @property
    def lower(self) -> float:
        return self.certificate.lower if self.certificate is not None else 0.0

    @property
    def best(self) -> Rung:
        """The smallest proved bound; the first of equals."""
        return min(self.rungs, key=lambda rung: rung.upper)

    def missing(self) -> list[str]:
        """Rungs that were asked for and not reached."""
        return [name for name in _WANTED[self.method] if name not in {rung.name for rung in self.rungs} and name != MATRIX]


def climb(ladder: Ladder, progress: Progress) -> Iterator[Rung]:
    """Add the rungs to the ladder one by one, cheapest first; whoever is interrupted keeps those that are done.

    Raises:
        UnsupportedLayerError: a layer without a finite constant: there is no ladder. Other refusals of a method are its rung's reason.
        SoundnessError: a bound below the lower end.
    """
    from ..core.fold import fold_affine

    wanted, folded = _WANTED[ladder.method], fold_affine(ladder.graph).pruned()
    start = time.perf_counter()
    found = _product(ladder, folded, progress)
    ladder.certificate = found
    yield _added(ladder, Rung(PRODUCT, found.upper, time.perf_counter() - start - ladder.lower_seconds, "layer norms, composed"))
    if MATRIX in wanted and (rung := _matrix(ladder, folded)) is not None:
        yield _added(ladder, rung)
    yield from _closed_forms(ladder, folded, wanted, progress)
    if SDP in wanted:
        progress(0, 0, "semidefinite bound")
        yield _added(ladder, _semidefinite(ladder, progress))


def _added(ladder: Ladder, rung: Rung) -> Rung:
    from ..core.errors import SoundnessError

    if not rung.upper >= ladder.lower:  # NaN fails
        raise SoundnessError("a bound is below a proved difference quotient", where=rung.name, found=f"{rung.upper!r} < {ladder.lower!r}", hint="please report this with the model")
    ladder.rungs.append(rung)
    return rung


def _product(ladder: Ladder, folded: Graph, progress: Progress) -> LipschitzCertificate:
    """The certificate of the product, with the lower end of the whole ladder."""
    from ..constants.lower import lower_end
    from ..constants.public import graph_constant

    found = graph_constant(ladder.graph, ladder.norm, "product", effort=ladder.effort, progress=progress, lower=False)
    start = time.perf_counter()
    progress(0, 0, "lower end")
    witness = lower_end(folded, ladder.norm, {step.node: step.local for step in found.steps}, ladder.effort)
    ladder.lower_seconds = time.perf_counter() - start
    return replace(found, lower=max(found.lower, witness.value), witness=witness)


def _tried(name: str, work: Callable[[], Rung]) -> Rung:
    """The rung, or why it is not there. Contradictions between proofs are not caught: they must stop everything."""
    start = time.perf_counter()
    try:
        rung = work()
        return replace(rung, seconds=time.perf_counter() - start)
    except HypothesisError as error:
        where = ", ".join(str(part) for part in (error.where, error.found) if part)
        return Rung(name, math.inf, time.perf_counter() - start, "", error.what + (f" ({where})" if where else ""))
    except MemoryError:
        return Rung(name, math.inf, time.perf_counter() - start, "", "not enough memory")


def _matrix(ladder: Ladder, folded: Graph) -> Rung | None:
    """The norm of the assembled matrix, if the network is affine; None if not."""
    from ..constants.closed_form import why_not
    from ..constants.public import graph_constant

    if "is not affine" in why_not(folded):
        return None

    def work() -> Rung:
        found = graph_constant(ladder.graph, ladder.norm, "closed_form", effort=ladder.effort, lower=False)
        _take(ladder, found)
        return Rung(MATRIX, found.upper, how="one assembled matrix")

    return _tried(MATRIX, work)


def _take(ladder: Ladder, found: LipschitzCertificate) -> None:
    """Keep the certificate with the smaller upper end, and with the witness that is known."""
    known = ladder.certificate
    if known is None or found.upper < known.upper:
        ladder.certificate = found if known is None else replace(found, lower=max(known.lower, found.lower), witness=known.witness, seconds=known.seconds + found.seconds)


def _closed_forms(ladder: Ladder, folded: Graph, wanted: tuple[str, ...], progress: Progress) -> Iterator[Rung]:
    """Both closed forms on one chain: assembled once, and not at all if its size forbids."""
    names = [name for name in (FAST, CLOSED) if name in wanted]
    if not names:
        return
    reason = _why_not(ladder, folded)
    chain: Any = None
    for name in names:
        if reason:
            yield _added(ladder, Rung(name, reason=reason))
            continue
        progress(0, 0, name)

        def work(name: str = name) -> Rung:
            nonlocal chain
            chain = _reduced(folded) if chain is None else chain
            return Rung(name, _proved_closed_form(chain, name == FAST), how="metrics, layer by layer")

        yield _added(ladder, _tried(name, work))


def _why_not(ladder: Ladder, folded: Graph) -> str:
    """Why there is no closed form: norm, memory or time, from sizes alone; "" if it may be tried."""
    from ..constants.sdp.solve import BUDGETS, MEMORY
    from ..constants.semidefinite import cost_of

    if ladder.norm != "l2":
        return f"about the l2 norm; {ladder.norm} has the product only"
    cost = cost_of(folded)
    if cost.bytes > MEMORY:
        return f"does not fit into memory: about {cost.bytes / 2**30:.1f} GiB for one metric, at most {MEMORY / 2**30:.0f} GiB"
    if (seconds := cost.gradient / 20) > BUDGETS[ladder.effort]:
        return f"would take about {seconds:.0f} s, more than {BUDGETS[ladder.effort]:.0f} s of effort {ladder.effort}"
    return ""


def _reduced(folded: Graph) -> Any:
    from ..constants.sdp.chain import chain_of

    chain, _ = chain_of(folded).reduced()
    if not chain.layers:
        raise HypothesisError("no slope is left to bound: the map is linear here")
    return chain


def _proved_closed_form(chain: Any, uniform: bool) -> float:
    import numpy as np

    from ..constants.sdp import layers
    from ..constants.sdp.recursion import closed_form

    try:
        with np.errstate(all="ignore"):
            us, _, _ = closed_form(chain, uniform=uniform)
            return layers.whole_bound(layers.prove(chain, us).metrics[-1], chain.last)
    except (np.linalg.LinAlgError, ValueError, OverflowError, ZeroDivisionError) as error:
        if isinstance(error, HypothesisError):
            raise
        raise HypothesisError("out of the reach of floats here", found=str(error)[:120]) from error


def _semidefinite(ladder: Ladder, progress: Progress) -> Rung:
    from ..constants.public import graph_constant

    if ladder.norm != "l2":
        return Rung(SDP, reason=f"about the l2 norm; {ladder.norm} has the product only")

    def work() -> Rung:
        found = graph_constant(ladder.graph, ladder.norm, "sdp", effort=ladder.effort, progress=progress, lower=False)
        _take(ladder, found)
        proof = found.proof
        notes = list(getattr(proof, "notes", ()))
        kind = {"inequality": "one matrix inequality", "layers": "metrics, layer by layer"}.get(getattr(proof, "kind", ""), "verified")
        return Rung(SDP, getattr(proof, "bound", found.upper), how="; ".join([f"{kind}, {getattr(proof, 'steps', 0)} steps", *notes]))

    return _tried(SDP, work)
