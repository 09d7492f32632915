"""The control model again: layer by layer through the controller's own graph, every stored fit proved on the range that the checker finds for its neuron."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from certify.core.errors import CertificateError
from certify.core.graph import Graph, Node
from certify.core.rounding import TINY, U, gamma, up

from . import fields, layers
from .activations import parts_of
from .check_flow import row_sums
from .content import StepData
from .fit_error import Fit, fit_errors
from .layers import Sets, Value
from .monomials import Monomials, embedding, largest, monomials, norm, product
from .rules import RULES, array
from .slopes import slope_ranges

_NOISE = 1e-13  # of slopes, which are of order one
_SHOWN = 1 + 1e-6  # a stored bound of a fit may be this much below the checker's own before it is called wrong: roundings differ


def check_controls(graph: Graph, variables: int, steps: Sequence[StepData], places: Sequence[str]) -> None:
    """For every state p(s) + E eps of the stored sets the controller's value is in p_v(s) + E_v eps +- box. All steps of one order, with the same layers and degrees.

    Computed in the order of the stored polynomials; steps where that does not show it once more in a higher order.

    Raises:
        CertificateError: a stored bound that is smaller than what the checker can prove, a missing fit, or an operator without a rule.
    """
    open_ = list(range(len(steps)))
    for wider in (steps[0].order, steps[0].order + 2):
        part = [steps[i] for i in open_]
        need = _needed(graph, variables, part, [places[i] for i in open_], wider)
        left = [i for i, step, own in zip(open_, part, need) if not (own <= step.control_box).all()]
        if not left:
            return
        row, open_ = need[open_.index(left[0])], left
    box = steps[open_[0]].control_box
    j = int(np.argmin(row <= box))
    where, stored, own = f"{places[open_[0]]}, control {j}", float(box[j]), float(row[j])
    raise fields.refuse("a stored control model is smaller than what the checker can prove", where, f"stored box {stored!r}", f"recomputed {own!r}, at most the stored one")


def _needed(graph: Graph, variables: int, steps: Sequence[StepData], places: Sequence[str], wider: int) -> list[np.ndarray]:
    """The box that each stored model needs, (nu,) per step."""
    t = monomials(variables, wider)
    place = embedding(variables, steps[0].order, wider, False)
    sets = Sets(t, [s.generators for s in steps], np.array([row_sums(s.generators) for s in steps]))
    n = len(steps[0].coefficients)
    P = np.zeros((len(steps), n, t.size))
    P[..., place] = np.array([s.coefficients for s in steps])
    start = Value((n,), P, np.broadcast_to(np.eye(n), (len(steps), n, n)), {}, np.zeros((len(steps), n)))
    u = _Walk(graph, sets, steps, places).run(start)
    out = []
    for i, step in enumerate(steps):
        gap = u.P[i].copy()
        gap[:, place] -= step.control
        moved = u.A[i] @ step.generators
        apart = row_sums(moved - step.control_generators) * (1 + 4 * U) + gamma(n + 4) * (np.abs(u.A[i]) @ sets.e0[i])
        noise = sum((np.abs(b[i]).sum(-1) for b in u.blocks.values()), np.zeros(len(gap)))
        # the differences' own roundings: u of each result, by the factor
        out.append((norm(t, gap.T) + apart + noise + u.v[i]) * (1 + 4 * gamma(64 + sum(b.shape[-1] for b in u.blocks.values()))) + TINY)
    return out


class _Walk:
    """One pass through the graph for some steps."""

    def __init__(self, graph: Graph, sets: Sets, steps: Sequence[StepData], places: Sequence[str]):
        self.graph, self.sets, self.steps, self.places = graph, sets, steps, places
        self.used: set[str] = set()
        self.count = 0

    def fresh(self) -> int:
        self.count += 1
        return self.count

    def run(self, start: Value) -> Value:
        graph = self.graph
        readers: dict[str, int] = {}
        for name in [graph.output, *(i for node in graph.nodes for i in node.inputs)]:
            readers[name] = readers.get(name, 0) + 1
        values: dict[str, Value] = {}
        for node in graph.nodes:
            made = start if node.op == "input" else self.node(node, [values[name] for name in node.inputs])
            made = Value(node.shape, made.P, made.A, made.blocks, made.v)
            values[node.name] = layers.promoted(made, self.fresh()) if readers.get(node.name, 0) > 1 else made
        missing = set(self.steps[0].layers) - self.used
        if missing:
            raise fields.refuse("a certificate lists a fit that the controller does not have", self.places[0], sorted(missing)[0])
        return values[graph.output]

    def node(self, node: Node, inputs: list[Value]) -> Value:
        rule = RULES.get(node.op)
        if rule is None:
            what = f"the controller cannot be checked, because the checker has no rule for '{node.op}'"
            raise CertificateError(what, where=node.source or node.name, expected=", ".join(sorted(RULES)))
        return rule(self, node, inputs)

    def activate(self, name: str, node: Node, z: Value) -> Value:
        """sigma(zp + ze) = q(zp) + c ze + (c' - c) ze + error: c the middle of the stored slopes, c' in the checker's own slope range (mean value theorem)."""
        self.used.add(name)
        count, k = z.v.shape
        for i, step in enumerate(self.steps):
            if name not in step.layers or step.layers[name].coefficients.shape[0] != k:
                raise fields.refuse("a certificate lacks the fits of a layer", self.places[i], name, f"{k} neurons")
        fit = Fit(*(np.concatenate([getattr(s.layers[name], field) for s in self.steps]) for field in Fit._fields))
        deviation = layers.shared(z, self.sets)
        lower, upper = (e.ravel() for e in layers.bounds(z, self.sets, deviation))
        if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (fit.radius > 0).all()):
            raise fields.refuse("a neuron's range is not finite, or a fit has no width", self.places[0], name)
        parts = parts_of(_repeated(node, count))
        error = fit_errors(parts, fit, lower, upper)
        slope_lower, slope_upper = slope_ranges(parts, fit, lower, upper)
        self.confirm(name, fit, error, slope_lower, slope_upper, k)
        table = self.sets.table
        x, apart = _argument(table, z.P.reshape(-1, table.size).T, fit)
        P, lost = horner(table, fit.coefficients, x, apart)
        c = 0.5 * fit.slope_lower + 0.5 * fit.slope_upper
        bend = up(np.asarray(np.maximum(slope_upper - c, c - slope_lower)))
        steepest = np.maximum(np.abs(slope_lower), np.abs(slope_upper))
        shape = (count, k)
        c, own = c.reshape(shape), (error + lost).reshape(shape)
        rounded = 2 * U * np.abs(c) * deviation
        v = own + bend.reshape(shape) * deviation + steepest.reshape(shape) * z.v + rounded
        # A and N times c are rounded once; relative to |A| e0 + |N| 1, of which `deviation` is not an upper bound
        spread = np.einsum("sqn,sn->sq", np.abs(z.A), self.sets.e0) + sum((np.abs(b).sum(-1) for b in z.blocks.values()), np.zeros(shape))
        v = (v + 2 * U * np.abs(c) * spread) * (1 + 4 * gamma(64)) + TINY
        blocks = {key: b * c[..., None] for key, b in z.blocks.items()}
        return Value(z.shape, P.T.reshape(*shape, table.size), z.A * c[..., None], blocks, v)

    def confirm(self, name: str, fit: Fit, error: np.ndarray, slope_lower: np.ndarray, slope_upper: np.ndarray, k: int) -> None:
        """The stored bounds of the fits are claims too: each must be the checker's, up to rounding."""
        size = np.abs(fit.coefficients).sum(1)
        checks = (
            ("error", fit.error, error, error <= fit.error * _SHOWN + 1e-13 * size + 1e-16),
            ("slope range", fit.slope_lower, slope_lower, slope_lower >= fit.slope_lower - 1e-6 * (fit.slope_upper - fit.slope_lower) - _NOISE),
            ("slope range", fit.slope_upper, slope_upper, slope_upper <= fit.slope_upper + 1e-6 * (fit.slope_upper - fit.slope_lower) + _NOISE),
        )
        for what, stored, own, good in checks:
            if not good.all():
                i = int(np.argmin(good))
                where = f"{self.places[i // k]}, layer {name}, neuron {i % k}"
                texts = f"stored {float(stored[i])!r}", f"recomputed {float(own[i])!r}"
                raise fields.refuse(f"the stored {what} of a fit is smaller than what the checker can prove", where, *texts)


def _repeated(node: Node, count: int) -> Node:
    """The node on `count` copies of its flattened tensor, so that parameters per entry match the rows."""
    if "slope" not in node.arrays:
        return node
    slope = np.tile(np.broadcast_to(array(node, "slope"), node.shape).reshape(-1), count)
    return Node(node.name, node.op, node.inputs, slope.shape, dict(node.attrs), {"slope": slope}, node.source)


def _argument(t: Monomials, P: np.ndarray, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """(X, r): polynomials (M, B) within r of (P - m) / w; a subtraction and a division, so each coefficient is within gamma(2) of itself."""
    x = P.copy()
    x[0] -= fit.centre
    with np.errstate(all="ignore"):
        x /= fit.radius
    return x, gamma(3) * norm(t, x) + TINY


def horner(t: Monomials, c: np.ndarray, x: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, e): truncated polynomials sum_j c_j x^j and (B,) bounds of what is missing, for arguments within r of x."""
    d = c.shape[1] - 1
    reach = largest(t, x) + r
    h = c[:, d] * x
    e = np.abs(c[:, d]) * r + U * norm(t, h)
    for j in range(d - 1, -1, -1):
        if j < d - 1:
            top = largest(t, h)
            h, lost = product(t, h, x)
            e = e * reach + top * r + lost
        h[0] += c[:, j]
        e = (e + U * np.abs(h[0])) * t.grow + TINY
    return h, e
