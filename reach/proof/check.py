"""`check(path, loop)`: is the certificate in this file true of this closed loop? The trusted part: no solver, no prover's arithmetic.

Every stored set is proved again from stored choices: the fits on the checker's own ranges, the control model through the graph's own layers, Theorems A, B and C by one
evaluation each, the sets at the ends of the steps, and the listed specifications. A number that the checker cannot prove is refused, also when it happens to be true.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

import certify
from certify.core.errors import CertificateError, CertifyError, InputError
from certify.core.rounding import require_ieee

from . import fields
from .check_claims import Body, check_claim
from .check_control import check_controls
from .check_flow import End, disturbance_box, flow_step, linear_parts
from .check_motion import LENGTH, Motions, check_motions
from .check_state import check_initial, check_link
from .check_update import check_updates
from .claims import read_claims
from .content import Content, StepData, read
from .layout import plant_part
from .monomials import monomials

_ENTRIES = 6_000_000  # coefficients of one layer's polynomials that are held at a time


@dataclass(frozen=True)
class Checked:
    """One line of a report: what was claimed, the stored number, the checker's own, and how long that took."""

    name: str
    what: str
    stored: Any
    recomputed: Any
    seconds: float = 0.0


def check(path: Any, loop: Any, fraction: float = 1.0, seed: int = 0, max_bytes: int | None = None) -> Any:
    """Prove the flowpipe certificate at `path` about `loop` again.

    Claim: if this returns, the certificate's claim holds for this loop in exact real arithmetic, under the assumptions that the certificate lists. With fraction < 1
    only the chosen control steps were proved: each leads from its stored set into the next stored one; the report says which, and nothing is said about the others.

    Args:
        path: the file that `Flowpipe.save` wrote. loop: the reach.ClosedLoop. fraction: share of the control steps to check, in (0, 1]; seed: of their choice.
        max_bytes: limit on the arrays, by default 1 GiB or four times the file.
    Returns:
        certify.CheckReport with ok=True and one line per kind of step.
    Raises:
        CertificateError: damaged, of another plant, controller or period, or a number that does not hold: names the step, the stored and the recomputed value.
        InputError: no such file, not a closed loop. SoundnessError: this process's arithmetic is not IEEE 754.
    Hypotheses: IEEE 754 binary64; exp, expm1, log1p within 4 ulp. Cost: about that of the flowpipe itself. Source: docs/reach.md, sections 3, 5 and 7.

    >>> import tempfile, os, numpy as np, reach
    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (1,)})
    >>> loop = reach.ClosedLoop(reach.ContinuousSystem(["x"], ["u"], ["u"]), b.build(b.add("dense", [x], arrays={"weight": np.array([[-1.0]])})), period=0.5)
    >>> pipe = reach.solve(loop, reach.Box([1.0], [2.0]), horizon=1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check(pipe.save(os.path.join(folder, "pipe.cert"), [reach.Arrive({"x": (0, 1)})]), loop).ok
    True
    """
    require_ieee()
    plant = getattr(loop, "plant", None)
    if plant is None or not hasattr(loop, "controller"):
        raise InputError("this is not a closed loop", where="check, argument loop", found=type(loop).__name__, expected="reach.ClosedLoop(plant, controller, period)")
    if not (isinstance(fraction, int | float) and 0 < fraction <= 1):
        raise InputError("a fraction is a number in (0, 1]", where="check, argument fraction", found=repr(fraction)[:80])
    try:
        with np.errstate(all="ignore"):
            sizes = len(plant.states), len(plant.inputs), len(plant.disturbances)
            content = read(path, sizes, plant.time == "continuous", max_bytes)
            return _Check(content, loop, fraction, seed).run()
    except (CertificateError, InputError):
        raise
    except CertifyError as error:
        raise CertificateError("the certificate does not hold", where=error.where or path, found=f"{error.what} {error.found or ''}"[:300]) from error
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError, MemoryError) as error:
        # Fail closed: whatever a hostile document made go wrong, nothing was proved.
        hint = "write it anew; if that fails too, report this"
        raise CertificateError("the certificate could not be checked", where=path, found=f"{type(error).__name__}: {error}"[:300], hint=hint) from error


class _Check:
    """One check: the content, the loop, the chosen steps and the report."""

    def __init__(self, content: Content, loop: Any, fraction: float, seed: int):
        self.content, self.loop, self.plant = content, loop, loop.plant
        self.lines: list[Checked] = []
        count = len(content.steps)
        chosen = max(1, round(fraction * count))
        self.whole = chosen == count
        self.chosen = list(range(count)) if self.whole else sorted(np.random.default_rng(seed).choice(count, chosen, replace=False).tolist())

    def timed(self, name: str, what: str, stored: Any, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        self.lines.append(Checked(name, what, stored, "proved", time.perf_counter() - start))
        return result

    def run(self) -> Any:
        content, document, steps = self.content, self.content.document, self.content.steps
        names = self.plant.states
        self.timed("loop", "plant, controller and period are those of the certificate", self.loop.digest, self.identity)
        claims = read_claims(document, names, len(steps))
        box = document["initial"]
        self.timed("initial", "the first set contains the initial box", box, lambda: check_initial(box, steps[0], content.variables, names))
        layers = sorted({name for s in steps for name in s.layers})
        self.timed("control", f"control models of {len(self.chosen)} steps, fits of {len(layers)} layers", len(layers), self.controls)
        ends = self.timed("flow", f"{len(self.chosen)} control steps", len(steps), self.flow if self.plant.time == "continuous" else self.updates)
        self.timed("links", "every set contains the end of the step before", len(steps), lambda: self.links(ends))
        text, missing = document["claim"]["text"], list(document["claim"]["not_proved"])
        if self.whole:
            bodies = self.bodies(ends)
            for k, claim in enumerate(claims):
                prove = functools.partial(check_claim, claim, names, content.variables, *bodies, f"specifications[{k}]")
                self.timed("specification", claim.describe(names), "VERIFIED", prove)
        else:
            listed = ", ".join(str(k + 1) for k in self.chosen[:50])
            text = f"Only control steps {listed} of {len(steps)} were checked: each leads from its stored set into the next stored one."
            missing += [f"the other {len(steps) - len(self.chosen)} control steps, and with them the claim", *(f"specification {c.describe(names)}" for c in claims)]
        return certify.CheckReport(True, self.lines, text, tuple(missing))  # type: ignore[arg-type]

    def identity(self) -> None:
        """Digests and words of plant, controller and period; the pieces of a step add up to the period in both readings."""
        document, plant = self.content.document, self.plant
        graph = getattr(self.loop.controller, "graph", None)
        if graph is None:
            raise CertificateError("the certificate cannot be checked, because the controller is a black box", where="controller", found=type(self.loop.controller).__name__)
        stored = document["controller"]
        if stored != {"digest": graph.digest}:
            found = stored.get("digest") if isinstance(stored, dict) else stored
            raise fields.refuse("the certificate is about another controller", "controller.digest", found, f"this loop's {graph.digest}")
        own = plant_part(plant)
        for key in (*own, *(document["plant"] if isinstance(document["plant"], dict) else ())):
            if fields.member(document["plant"], key, "plant") != own.get(key):
                raise fields.refuse("the certificate is about another plant", f"plant.{key}", document["plant"][key], fields.brief(own.get(key)))
        if fields.number(document["period"], "period") != self.loop.period:
            raise fields.refuse("the certificate is about another period", "period", document["period"], self.loop.period)
        if plant.time == "continuous":
            for k, step in enumerate(self.content.steps):
                lengths = [Fraction(piece.length) for piece in step.pieces]
                for period in (Fraction(self.loop.period), Fraction(repr(self.loop.period))):
                    if not (all(h > 0 for h in lengths) and abs(sum(lengths) - period) <= Fraction(LENGTH) * sum(lengths)):
                        raise fields.refuse("the pieces of a step do not add up to the period", f"step {k + 1}", float(sum(lengths)), self.loop.period)

    def groups(self) -> list[list[int]]:
        """The chosen steps by order and shapes of their layers."""
        out: dict[Any, list[int]] = {}
        for k in self.chosen:
            s = self.content.steps[k]
            out.setdefault((s.order, tuple((name, fit.coefficients.shape) for name, fit in s.layers.items())), []).append(k)
        return list(out.values())

    def controls(self) -> None:
        graph, f = self.loop.controller.graph, self.content.variables
        widest = max(int(np.prod(node.shape)) for node in graph.nodes)
        for group in self.groups():
            order = self.content.steps[group[0]].order
            at_once = max(1, _ENTRIES // (widest * monomials(f, order).size))
            for i in range(0, len(group), at_once):
                part = group[i : i + at_once]
                check_controls(graph, f, [self.content.steps[k] for k in part], [f"step {k + 1}" for k in part])

    def by_order(self) -> dict[int, list[int]]:
        out: dict[int, list[int]] = {}
        for k in self.chosen:
            out.setdefault(self.content.steps[k].order, []).append(k)
        return out

    def flow(self) -> dict[int, list[End]]:
        """The ends of every piece, by control step."""
        f, steps, ends = self.content.variables, self.content.steps, {}
        middle, _ = disturbance_box(self.plant)
        for order, group in self.by_order().items():
            at_once = max(1, _ENTRIES // (16 * monomials(f + 1, order, True).size * len(self.plant.states)))
            for start in range(0, len(group), at_once):
                part = group[start : start + at_once]
                owner = [k for k in part for _ in steps[k].pieces]
                pieces = [piece for k in part for piece in steps[k].pieces]
                places = [f"step {k + 1}, piece {j + 1}" for k in part for j in range(len(steps[k].pieces))]
                data = [p.motion for p in pieces], np.array([p.picard for p in pieces]), np.array([p.length for p in pieces])
                remainders = check_motions(self.plant, f, order, Motions(places, *data, [steps[k].control for k in owner]), middle)
                linear = linear_parts(self.plant, f, [steps[k] for k in owner], pieces)
                at = 0
                for k in part:
                    to = at + len(steps[k].pieces)
                    ends[k] = flow_step(self.plant, f, steps[k], remainders[at:to], linear[at:to], f"step {k + 1}")
                    at = to
        return ends

    def updates(self) -> dict[int, list[End]]:
        ends: dict[int, list[End]] = {}
        for group in self.by_order().values():
            found = check_updates(self.plant, self.content.variables, [self.content.steps[k] for k in group], [f"step {k + 1}" for k in group])
            ends.update((k, [end]) for k, end in zip(group, found))
        return ends

    def links(self, ends: dict[int, list[End]]) -> None:
        steps = self.content.steps
        for k, found in ends.items():
            if k + 1 < len(steps):
                check_link(found[-1], steps[k + 1], self.content.variables, steps[k].order, self.plant.states, f"step {k + 2}")

    def bodies(self, ends: dict[int, list[End]]) -> tuple[Sequence[Body], Sequence[Sequence[Body]], Sequence[Sequence[Body]]]:
        """(samples, tubes, moments) as `check_claim` takes them."""
        steps, n = self.content.steps, len(self.plant.states)
        samples = [Body(steps[0].order, False, steps[0].coefficients, steps[0].generators, np.zeros(n), "at step 0")]
        tubes: list[list[Body]] = []
        moments: list[list[Body]] = []
        for k, step in enumerate(steps):
            last = ends[k][-1]
            samples.append(Body(step.order, False, last.coefficients, last.generators, last.box, f"at step {k + 1}"))
            tubes.append([_tube(step, j, k) for j in range(len(step.pieces))])
            moments.append([Body(step.order, False, e.coefficients, e.generators, e.box, f"in step {k + 1}") for e in ends[k][:-1]])
        return samples, tubes, moments


def _tube(step: StepData, j: int, k: int) -> Body:
    piece = step.pieces[j]
    radius = np.nextafter(piece.picard + piece.bound, np.inf)
    return Body(step.order, True, piece.motion, np.zeros((len(radius), 0)), radius, f"during step {k + 1}, piece {j + 1}")
