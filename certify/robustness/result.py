"""What a radius run returns: a bracket [certified, attacked] per input, with the way it was found, and the files made of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.decimals import decimal_down, decimal_up
from ..core.record import atomic_path
from . import curve

if TYPE_CHECKING:
    from ..constants.certificate import LipschitzCertificate
    from ..constants.semidefinite import PairBounds
    from ..core.graph import Graph
    from .heads import Head

_CITE = {
    "global": "Tsuzuku, Sato, Sugiyama: Lipschitz-Margin Training. NeurIPS 2018, Proposition 1",
    "pairwise": "Leino, Wang, Fredrikson: Globally-Robust Neural Networks. ICML 2021, section 3",
    "sdp": "Fazlyab, Robey, Hassani, Morari, Pappas: Efficient and Accurate Estimation of Lipschitz Constants for Deep Neural Networks. NeurIPS 2019",
    "curvature": "Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks. ICML 2020",
    "local": "Zhang, Weng, Chen, Hsieh, Daniel: Efficient Neural Network Robustness Certification (CROWN). NeurIPS 2018; Raghunathan, Steinhardt, Liang. NeurIPS 2018",
    "attack": "Pintor, Roli, Brendel, Biggio: Fast Minimum-norm Adversarial Attacks. NeurIPS 2021",
}


@dataclass(frozen=True, eq=False, repr=False)
class RadiusResult:
    """Certified radii of n inputs, and upper ends of them from an attack.

    Claim, for every input x with label y and radius r > 0, in exact real arithmetic with the stored weights: the logit of y is strictly the
    largest at x + d for every |d| < r (open ball, norm `norm`, units of the model's input).

    Attributes:
        radii: (n,) lower ends, rounded down; 0 where the prediction is wrong, tied or not provably right.
        upper: (n,) upper ends, rounded up: at that distance or nearer there is an input that provably has another class; inf where the attack
            found none (or did not run), 0 where the prediction is wrong already.
        predictions: (n,) place of the largest float64 logit (the first of equal ones). labels: (n,) as given.
        methods: (n,) text, the bound that gave the radius: one of `certify.radius`'s methods, or "none" for radius 0.
        norm: "l2", "linf" or "l1".
        lipschitz: the constants behind the radii; `lipschitz.table()` shows them layer by layer. pairs: the semidefinite constants of class pairs, if any.
    """

    radii: np.ndarray
    upper: np.ndarray
    predictions: np.ndarray
    labels: np.ndarray
    methods: np.ndarray
    norm: str
    lipschitz: LipschitzCertificate
    inputs: np.ndarray
    graph: Graph
    head: Head
    attacked: bool = True
    pairs: PairBounds | None = None
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.radii)

    def certified_accuracy(self, eps: Any) -> float:
        """The share of inputs that provably keep the right class for every |d| < eps: radius >= eps and radius > 0.

        eps is a number, taken exactly as the float it is, or decimal text ("0.1" is then one tenth), compared with no rounding. At eps = 0 this
        is the share that is provably right at the input itself.

        Raises:
            InputError: eps is negative, NaN or no number.
        """
        return float(np.mean((self.radii >= curve.radius_bound(eps)) & (self.radii > 0)))

    def attacked_accuracy(self, eps: Any) -> float:
        """The share of inputs that are right and for which the attack found nothing nearer than eps: an upper end of the true robust accuracy on
        the open ball. Without an attack this is the accuracy."""
        return float(np.mean((self.upper >= curve.radius_bound(eps)) & (self.predictions == self.labels)))

    @property
    def accuracy(self) -> float:
        """The share of inputs whose prediction is the label."""
        return float(np.mean(self.predictions == self.labels))

    def papers(self) -> list[str]:
        """The papers and proofs behind these numbers, each once."""
        used = [_CITE[name] for name in _CITE if (self.methods == name).any()] + ([_CITE["attack"]] if self.attacked else [])
        return list(dict.fromkeys([*used, *self.lipschitz.papers()]))

    def save(self, path) -> Path:
        """Write the certificate to exactly `path`: claim, inputs, labels, radii and every constant with its evidence. `certify.check(path, model)`
        proves it again with other code. Returns the path.

        Raises:
            InputError: the path cannot be written, or a constant is infinite (there is nothing to certify).
        """
        from ..constants.evidence import pair_evidence
        from ..proof import certificate

        head, steps = self.head, self.lipschitz.steps
        running = {step.node: step.running for step in steps}
        lines = [certificate.step(s.node, s.op, s.rule, s.method, s.inputs, s.constants, s.combine, s.running, s.evidence) for s in steps]
        if head.last is None:
            end = certificate.head("global", head.logits, stripped=head.stripped)
        else:
            end = certificate.head("both", head.logits, head.last.node, running.get(head.last.features, 1.0), head.stripped)
        names = list(certificate.METHODS)
        method = np.array([names.index(m) if m in names else -1 for m in self.methods], dtype=np.int8)
        document, arrays = certificate.radius_document(
            self.graph, self.norm, lines, end, inputs=self.inputs, labels=self.labels, predictions=self.predictions, radii=self.radii, method=method, attacked=self.upper,
            lower=0.0, methods=names, proofs=[] if self.pairs is None else pair_evidence(self.pairs), extra=self.extra,
        )  # fmt: skip
        return certificate.write(path, document, arrays)

    def to_csv(self, path) -> Path:
        """One row per input: index, label, prediction, radius, upper, method; numbers by repr, which reads back exactly."""
        with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["index", "label", "prediction", "radius", "upper", "method"])
            columns = (self.labels, self.predictions, self.radii, self.upper, self.methods)
            writer.writerows(
                (i, label, prediction, repr(r), repr(u), method) for i, (label, prediction, r, u, method) in enumerate(zip(*(c.tolist() for c in columns), strict=True))
            )
        return Path(path)

    def to_npz(self, path) -> Path:
        """The arrays `radii`, `upper`, `predictions`, `labels` as one .npz file."""
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, radii=self.radii, upper=self.upper, predictions=self.predictions, labels=self.labels)
        return Path(path)

    def plot(self, ax: Any = None) -> Any:
        """Certified and attacked accuracy over the radius (loads matplotlib). Returns the axes."""
        return curve.plot(self, ax)

    def summary(self) -> list[tuple[str, str]]:
        """The figures of `str(result)` as (name, value)."""
        right = self.predictions == self.labels
        positive = self.radii[self.radii > 0]
        rows = [("inputs", str(len(self))), ("norm", self.norm), ("accuracy", f"{self.accuracy:.4f}"), ("provably right", f"{self.certified_accuracy(0):.4f}")]
        if len(positive):
            rows += [(f"radius, {name}", decimal_down(float(f(positive)))) for name, f in (("median", np.median), ("smallest", np.min), ("largest", np.max))]
        rows += [(f"by the {name} bound", str(int((self.methods == name).sum()))) for name in _CITE if (self.methods == name).any()]
        both = right & np.isfinite(self.upper) & (self.upper > 0)
        if self.attacked and both.any():
            share = np.mean(self.radii[both] / self.upper[both])
            rows += [("attack found", f"{int(both.sum())} of {int(right.sum())}"), ("attack distance, median", decimal_up(float(np.median(self.upper[both]))))]
            rows += [("certified / attack, mean", f"{share:.4f}")]
        return rows

    def __str__(self) -> str:
        rows = self.summary()
        width = max(len(name) for name, _ in rows)
        return "\n".join(["Certified radii (open balls, units of the model's input)", *(f"  {name:<{width}}  {value}" for name, value in rows)])

    __repr__ = __str__
