"""Radii, predictions and attack witnesses of a certificate against the checker's own logits, vectorised over the inputs."""

from __future__ import annotations

import importlib
import importlib.util
import math
import time

import numpy as np

from ..core.graph import Graph
from ..core.rounding import TINY, U, down, gamma, norms_up, up
from . import fields
from .check_sdp import Proved
from .check_steps import Chain, CheckedStep
from .ends import GAP, Ending, PairConstants, find_ending
from .evidence import PER_INPUT
from .forward import forward, row_norms

_ROWS = 1 << 21  # entries of the (inputs, classes) arrays of one pass


def check_radii(
    graph: Graph, norm: str, document: dict, arrays: dict[str, np.ndarray], chain: Chain, report: list[CheckedStep], proved: Proved | None = None,
) -> None:  # fmt: skip
    """Prove every radius: radius * L_yj <= margin of the label y over j, for all j, by the method that the certificate names for the input; what the method
    needs of constants is in `chain` and `proved`, and the evidence of the methods that work per input in `arrays`.

    Raises:
        CertificateError: naming the first input whose radius, prediction or witness does not hold.
    """
    start = time.perf_counter()
    end = find_ending(graph, document["head"], chain)
    report.append(CheckedStep(end.logits.name, "the logits, and nothing after them changes a prediction", document["head"]["stripped"], "proved", time.perf_counter() - start))
    for name in ("labels", "predictions"):
        bad = np.flatnonzero((arrays[name] < 0) | (arrays[name] >= end.classes))
        if len(bad):
            raise fields.refuse("a class is out of range", f"arrays/{name}, index {bad[0]}", int(arrays[name][bad[0]]), f"0 .. {end.classes - 1}")
    start = time.perf_counter()
    judge = _Judge(graph, norm, document["methods"], document["head"]["kind"], chain, end, proved)
    values, errors = judge.evaluate(arrays["inputs"])
    within = f"within {float(errors.max(initial=0.0)):.3g} of the exact ones"
    report.append(CheckedStep("forward", f"float64 values of {end.features} for {len(values)} inputs", None, within, time.perf_counter() - start))
    start = time.perf_counter()
    certain = 0
    step = max(1, _ROWS // end.classes)
    special = per_input(graph, norm, document, arrays, end)
    for i in range(0, len(values), step):
        part = {name: arrays[name][i : i + step] for name in ("labels", "radii", "method", "predictions", "upper")}
        certain += judge.judge(values[i : i + step], errors[i : i + step], part, i, special[i : i + step])
    positive = int((arrays["radii"] > 0).sum())
    right = int((arrays["predictions"] == arrays["labels"]).sum())
    report.append(CheckedStep("radii", f"{positive} radii of {len(values)} inputs, {right} right predictions", positive, "proved", time.perf_counter() - start))
    report.append(CheckedStep("predictions", "the largest logit of each input", len(values), f"{certain} proved, {len(values) - certain} too close to call", 0.0))
    if "witnesses" in arrays:
        start = time.perf_counter()
        found = judge.witnesses(arrays)
        report.append(CheckedStep("upper", "misclassified points within the attack's distances", found, "proved", time.perf_counter() - start))


class _Judge:
    def __init__(self, graph: Graph, norm: str, methods: list[str], kind: str, chain: Chain, end: Ending, proved: Proved | None = None):
        self.graph, self.norm, self.methods, self.chain, self.end, self.proved = graph, norm, methods, chain, end, proved
        self.allowed = (("global", "pairwise") if kind == "both" else (kind,)) + (("sdp",) if proved is not None else ())
        self.pairs = None if end.layer is None else PairConstants(end, norm)

    def evaluate(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, errors = forward(self.graph, inputs, self.norm, self.chain, [self.end.features])
        return values[self.end.features].reshape(len(inputs), math.prod(values[self.end.features].shape[1:])), errors[self.end.features]

    def margins(self, values: np.ndarray, errors: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both ends (n, k) of z_c - z_j in exact real arithmetic; NaN where nothing is known.

        With a last layer (w_c - w_j).a + b_c - b_j: |w_c - w_j|_q e from the features, and for each of the two logits
        (gamma_(m+2) + slack)(|w|_q |a|_p + |b|) for its sum of m products (|w|.|a| <= |w|_q |a|_p), and the bias's own slack.
        """
        end = self.end
        with np.errstate(all="ignore"):
            if self.pairs is None:
                logits = values
                error = np.broadcast_to(up(GAP[self.norm] * errors)[:, None], logits.shape)
            else:
                weight, bias = self.pairs.weight, np.asarray(end.bias)
                logits = values @ weight.T + bias
                share = up(gamma(weight.shape[1] + 2) + 2.0 * end.slack)
                size = up(up(float(self.pairs.sizes.max()) * row_norms(values, self.norm)) + float(np.abs(bias).max()))
                rounding = up(2.0 * up(up(share * size) * (1.0 + 2.0 * share) + up(end.bias_slack + TINY)))
                error = up(up(self._pair_rows(classes) * errors[:, None]) + rounding[:, None])
            gap = logits[np.arange(len(logits)), classes][:, None] - logits
            known = np.isfinite(logits).all(axis=1, keepdims=True) & (error < 2.0**900)
            return np.where(known, down(down(gap) - error), np.nan), np.where(known, up(up(gap) + error), np.nan)

    def _pair_rows(self, classes: np.ndarray) -> np.ndarray:
        unique, place = np.unique(classes, return_inverse=True)
        pairs = self.pairs
        return np.stack([pairs(int(c)) for c in unique])[place.reshape(-1)] if pairs is not None and len(unique) else np.zeros((0, self.end.classes))

    def constants(self, method: str, labels: np.ndarray) -> np.ndarray:
        """(n, k) upper ends of the Lipschitz constant of z_y - z_j."""
        running = self.chain.running
        if method == "sdp" and self.proved is not None:
            return self.proved.pairs[labels]
        if method == "pairwise":
            rows = self._pair_rows(labels)
            return np.where(rows > 0, up(rows * running[self.end.features]), 0.0) if running[self.end.features] > 0 else np.zeros_like(rows)
        whole = running[self.end.logits.name]
        return np.full((len(labels), self.end.classes), up(GAP[self.norm] * whole) if whole > 0 else 0.0)

    def judge(self, values: np.ndarray, errors: np.ndarray, arrays: dict[str, np.ndarray], first: int, special: np.ndarray | None = None) -> int:
        """Check the radii and predictions of a run of inputs, where they are not `special`: proved by other means. Returns the number of predictions that are proved."""
        labels, radii, method, predictions = (arrays[name] for name in ("labels", "radii", "method", "predictions"))
        lower, _ = self.margins(values, errors, labels)
        holds = radii == 0 if special is None else (radii == 0) | special
        for index, name in enumerate(self.methods):
            mine = (method == index) & (radii > 0)
            if mine.any() and name in self.allowed:
                holds[mine] = self._radii_hold(lower[mine], self.constants(name, labels[mine]), radii[mine], labels[mine])
        holds &= (radii == 0) | (predictions == labels)
        if not holds.all():
            i = int(np.argmin(holds))
            raise fields.refuse("a radius is not proved", f"arrays/radii, input {first + i}", float(radii[i]), self._message(i, lower, arrays))
        upper = arrays["upper"]
        if not (radii <= upper).all():
            i = int(np.argmin(radii <= upper))
            raise fields.refuse("a radius is larger than the distance at which an attack succeeded", f"input {first + i}", float(radii[i]), float(upper[i]))
        return self._predictions(values, errors, predictions, first)

    @staticmethod
    def _radii_hold(lower: np.ndarray, constants: np.ndarray, radii: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """radius * L_yj <= margin_j > 0 for every j but the label; a constant 0 needs the positive margin alone. NaN fails."""
        with np.errstate(all="ignore"):
            enough = (lower > 0) & ((constants == 0) | (up(radii[:, None] * constants) <= lower))
        enough[np.arange(len(labels)), labels] = True
        return enough.all(axis=1)

    def _message(self, i: int, lower: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
        index, label, predicted = int(arrays["method"][i]), int(arrays["labels"][i]), int(arrays["predictions"][i])
        if predicted != label:
            return f"0: the stored prediction {predicted} is not the label {label}"
        if 0 <= index < len(self.methods) and self.methods[index] in PER_INPUT:
            return f"0: its own evidence (method {self.methods[index]}) does not prove it"
        if not 0 <= index < len(self.methods) or self.methods[index] not in self.allowed:
            return f"0: method {index} is none that this head and its evidence allow ({', '.join(self.allowed)})"
        constants = self.constants(self.methods[index], arrays["labels"][i : i + 1])[0]
        with np.errstate(all="ignore"):
            quotient = np.where(lower[i] > 0, np.where(constants > 0, down(lower[i] / constants), np.inf), 0.0)
        quotient[label] = np.inf
        return f"at most {max(float(quotient.min()), 0.0)!r} ({self.methods[index]} bound, against class {int(quotient.argmin())})"

    def _predictions(self, values: np.ndarray, errors: np.ndarray, predictions: np.ndarray, first: int) -> int:
        lower, upper = self.margins(values, errors, predictions)
        with np.errstate(invalid="ignore"):
            wrong = (upper < 0).any(axis=1)
        if wrong.any():
            i = int(wrong.argmax())
            raise fields.refuse("a prediction is not the largest logit", f"arrays/predictions, input {first + i}", int(predictions[i]), int(np.nanargmin(upper[i])))
        lower[np.arange(len(predictions)), predictions] = np.inf
        return int((lower > 0).all(axis=1).sum())

    def witnesses(self, arrays: dict[str, np.ndarray]) -> int:
        """Where `upper` is finite the witness lies within it and another class is at least as large there."""
        index = np.flatnonzero(np.isfinite(arrays["upper"]))
        points, labels = arrays["witnesses"][index], arrays["labels"][index]
        distance = up(norms_up(points - arrays["inputs"][index].astype(np.float64), self.norm) * (1.0 + 4.0 * U)) if len(index) else np.zeros(0)
        near = distance <= arrays["upper"][index]
        _, upper = self.margins(*self.evaluate(points), labels)
        upper[np.arange(len(index)), labels] = np.inf
        with np.errstate(invalid="ignore"):
            holds = near & (upper <= 0).any(axis=1)
        if not holds.all():
            i = int(np.argmin(holds))
            found = "another class is not proved to be as large" if near[i] else f"distance {float(distance[i])!r}"
            expected = f"a misclassified point within {float(arrays['upper'][index[i]])!r}"
            raise fields.refuse("a witness of the attack does not hold", f"arrays/witnesses, input {index[i]}", found, expected)
        return len(index)


def per_input(graph: Graph, norm: str, document: dict, arrays: dict[str, np.ndarray], end: Ending) -> np.ndarray:
    """(n,) True where a radius of the methods "local" and "curvature" is proved from its own evidence.

    `certify.proof.check_local` and `check_curvature` hold `proves(graph, norm, end, arrays, inputs)`: for the places `inputs` (int64) an equally long array of booleans,
    True only if the label of the input has a strictly larger logit than every other class on the open ball of its radius.
    """
    methods, radii, method = document["methods"], arrays["radii"], arrays["method"]
    found = np.zeros(len(radii), bool)
    for name in PER_INPUT:
        mine = np.flatnonzero((method == methods.index(name)) & (radii > 0)) if name in methods else np.zeros(0, np.int64)
        if len(mine):
            module = f"{__package__}.check_{name}"
            if importlib.util.find_spec(module) is None:
                raise fields.refuse("this checker cannot re-derive a method of the certificate", "methods", name)
            proved = importlib.import_module(module).proves(graph, norm, end, arrays, mine)
            found[mine] = np.asarray(proved, dtype=bool).reshape(len(mine))
    return found
