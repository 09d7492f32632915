"""radius(): certified radii of a data set, from the model to the bracket [certified, attacked] of each input."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InputError
from ..core.fold import fold_affine
from ..core.graph import Graph
from ..core.record import canonical_json, digest_array
from ..core.regions import require_norm
from ..core.rounding import require_ieee
from .data import checked_inputs, checked_labels
from .extensions import extensions, question
from .heads import find_head
from .journal import Journal
from .result import RadiusResult
from .run import run_units
from .semidefinite import semidefinite_pairs
from .work import METHODS, Task

if TYPE_CHECKING:
    from ..constants.certificate import LipschitzCertificate
    from .attack import Attack

Progress = Callable[[int, int, str], None]
EFFORTS = ("fast", "balanced", "tight")


def radius(
    model: Any, inputs: Any, labels: Any, norm: str = "l2", method: str = "auto", effort: str = "balanced", lipschitz: LipschitzCertificate | None = None, attack: bool = True,
    batch_size: int | None = None, device: str = "cpu", seed: int = 0, workers: int = 1, progress: Progress | None = None,
) -> RadiusResult:  # fmt: skip
    """Radii within which the predicted class provably cannot change, and distances at which an attack changes it.

    Claim, for every input x with label y and returned radius r > 0: in exact real arithmetic, with the stored weights, the logit of y is
    strictly larger than every other one at x + d for every |d|_norm < r. The ball is open; inputs are clipped to no box.

    Args:
        model: torch module, path of an ONNX file, or Graph; one flat vector of k >= 2 logits per input. A softmax, log-softmax or increasing
            activation at the end is stripped: it changes no prediction. Normalisation belongs into the model: radii are in its input's units.
        inputs: (n, *input_shape), numbers; labels: (n,) integers below k.
        norm: "l2", "linf" or "l1", of the perturbation d.
        method: "global": margin / (c L) with c = sqrt 2, 2, 1 and L the constant of the logits; "pairwise": margin / (|w_y - w_j| L') through the
            last affine layer, L' the constant below it; "sdp" (l2): margin / L_yj with verified semidefinite constants of z_y - z_j;
            "curvature" (l2, smooth networks): from bounds on the Hessian; "auto": the best for each input of what applies within the effort, see `methods`;
            "local": from linear bounds and (l2) matrix inequalities on balls around each input.
        effort: time for the layer norms and the attack.
        lipschitz: constants found before (`certify.lipschitz` of this model in this norm), so as not to find them again.
        attack: look for adversarial inputs (an upper end each). What is found is proved in exact arithmetic or dropped.
        batch_size: inputs per unit of work, rounded up to whole blocks. device: where the attack runs; proofs run in float64 on the CPU.
        seed: of the attack. workers: processes. No result depends on batch_size or workers; `progress(done, total, message)` may raise to cancel.
    Raises:
        InputError: inputs, labels or arguments that cannot be used. UnsupportedLayerError: a layer without a finite constant.
        HypothesisError: "pairwise" for a model whose last layer is not affine. SoundnessError: an attack got inside a certified radius.
    Hypotheses: IEEE float64 (probed). Cost: the layer norms once, and one float64 forward pass per input; the attack about a hundred.
    Source: Tsuzuku, Sato, Sugiyama 2018 (global); Leino, Wang, Fredrikson 2021 (pairwise); methods/network_lipschitz.md 11 for the rounding.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> _ = b.add("dense", [b.add("input", attrs={"shape": (2,)})], arrays={"weight": np.array([[3.0, 0.0], [0.0, 4.0]])}, name="fc")
    >>> result = radius(b.build("fc"), [[3.0, 1.0]], [0])          # margin 9 - 4 = 5, |w_0 - w_1| = 5
    >>> bool(1 - 1e-9 < result.radii[0] <= 1.0 <= result.upper[0] < 1.001), str(result.methods[0])
    (True, 'pairwise')
    """
    from ..facade import as_graph

    raw = checked_inputs(inputs, None)
    graph = as_graph(model, raw.shape[1:])
    return certify_radii(graph, raw, labels, norm, method, effort, lipschitz, attack, batch_size, device, seed, workers, progress)


def certify_radii(
    graph: Graph, inputs: Any, labels: Any, norm: str = "l2", method: str = "auto", effort: str = "balanced", lipschitz: LipschitzCertificate | None = None, attack: bool = True,
    batch_size: int | None = None, device: str = "cpu", seed: int = 0, workers: int = 1, progress: Progress | None = None, journal: Journal | None = None,
) -> RadiusResult:  # fmt: skip
    """`radius` for a Graph, with a journal: finished units are kept below `journal.folder`, and the same call goes on where it stopped."""
    require_norm(norm)
    for name, word, choices in (("method", method, ("auto", *METHODS)), ("effort", effort, EFFORTS)):
        if word not in choices:
            raise InputError(f"unknown {name}", where=f"argument {name}", found=repr(word), expected=", ".join(choices))
    for name, number in (("batch_size", batch_size), ("workers", workers)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1):
            raise InputError(f"{name} is not a positive integer", where=f"argument {name}", found=repr(number))
    require_ieee()
    inputs = checked_inputs(inputs, graph.input_shape)
    head = find_head(fold_affine(graph).pruned())
    labels = checked_labels(labels, len(inputs), head.classes)
    if method == "pairwise":
        head.need_last()
    constants = _constants(graph, norm, effort, lipschitz, progress)
    running = {graph.input_node.name: 1.0, **{step.node: step.running for step in constants.steps}}
    pairs = semidefinite_pairs(head, labels, constants, norm, method, effort, progress)
    more = extensions(head, labels, norm, method, effort)
    able = {"global": True, "pairwise": head.last is not None, "sdp": pairs is not None}
    task = Task(
        head, norm, {step.node: step.local for step in constants.steps}, running[head.body.output], running[head.logits],
        tuple(name for name in METHODS if method in ("auto", name) and able.get(name)), _attack(norm, effort, seed, device) if attack else None,
        None if pairs is None else pairs.constants, more,
    )  # fmt: skip
    if journal is not None:
        journal = journal.of(_question(graph, inputs, labels, task, constants))
    answer = run_units(task, inputs, labels, task.unit(batch_size), workers, journal, progress)
    names = np.array([*METHODS, "none"])
    extra = {name: answer[name] for e in more if (answer["method"] == METHODS.index(e.name)).any() for name in e.shapes()}
    extra |= {name: a for e in more if set(e.shapes()) & set(extra) for name, a in e.tables().items()}
    return RadiusResult(answer["radii"], answer["upper"], answer["predictions"], labels, names[answer["method"]], norm, constants, inputs, graph, head, attack, pairs, extra)


def _constants(graph: Graph, norm: str, effort: str, lipschitz: LipschitzCertificate | None, progress: Progress | None) -> LipschitzCertificate:
    """The layer-by-layer constants: those handed in, if they are about this graph and norm, else a walk (without a search for a lower end)."""
    from ..constants.public import LipschitzCertificate, graph_constant

    if lipschitz is None:
        return graph_constant(graph, norm, "product", effort=effort, progress=progress, lower=False)
    if not isinstance(lipschitz, LipschitzCertificate):
        raise InputError(
            "lipschitz is not a Lipschitz certificate",
            where="argument lipschitz",
            found=type(lipschitz).__name__,
            expected="what certify.lipschitz(model, input_shape, norm) returns",
        )
    if lipschitz.norm != norm:
        raise InputError("the Lipschitz certificate is about another norm", where="argument lipschitz", found=lipschitz.norm, expected=norm)
    if lipschitz.digest != graph.digest:
        raise InputError(
            "the Lipschitz certificate is about another model",
            where="argument lipschitz",
            found=f"graph {lipschitz.digest[:12]}",
            expected=f"graph {graph.digest[:12]}",
            hint="same weights, same input shape? make it anew with certify.lipschitz",
        )
    return lipschitz


def _attack(norm: str, effort: str, seed: int, device: str) -> Attack:
    from .attack import Attack

    return Attack.checked(norm, effort, seed, device)


def _question(graph: Graph, inputs: np.ndarray, labels: np.ndarray, task: Task, constants: LipschitzCertificate) -> dict[str, Any]:
    """Everything the answer of a unit depends on: a journal's unit is used again only if all of it is the same."""
    from .. import __version__

    facts = [[s.node, s.constants, s.combine, s.running, s.local.relative, s.local.absolute] for s in constants.steps]
    return {
        "version": __version__, "graph": graph.digest, "inputs": digest_array(inputs), "labels": digest_array(labels), "norm": task.norm, "methods": task.methods,
        "extensions": question(task.extensions), "table": None if task.table is None else digest_array(task.table),
        "attack": None if task.attack is None else dataclasses.asdict(task.attack), "constants": hashlib.sha256(canonical_json(facts).encode()).hexdigest(),
    }  # fmt: skip
