"""The work behind `reach check`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from certify.core.errors import CertificateError, CertifyError, InputError
from certify.core.record import read_record

from .frame import Answer
from .problem import Problem, load_problem


def check_problem(certificate: Path, path: Path) -> Answer:
    """Check the certificate about the closed loop of the problem file, and say what the file asks beyond it."""
    problem = load_problem(path)
    document, _ = read_record(certificate)  # damaged or no certificate: cannot be asked
    _require_same_loop(certificate, document, problem)

    from .. import check

    fields: dict[str, Any] = {"certificate": str(certificate), "problem": str(path), "digest": problem.loop.digest}
    start = time.process_time()
    try:
        report = check(certificate, problem.loop)
    except CertificateError as error:
        parts = {"step": error.where, "stored": error.found, "recomputed": error.expected}
        refusal = {k: str(v) for k, v in parts.items() if v is not None}
        return Answer("not proved", {**fields, "reason": error.what, **refusal}, (f"NOT PROVED: {error}",))
    notes = _beyond(document, problem)
    steps = [{"name": step.name, "what": step.what, "seconds": step.seconds} for step in report.steps]
    fields |= {"steps": len(steps), "report": steps, "claim": report.claim, "not_proved": list(report.not_proved), "assumptions": document["assumptions"], "beyond": notes}
    fields["seconds"] = time.process_time() - start
    answered = report.ok and not notes
    headline = "PROVED" if answered else "THE CERTIFICATE HOLDS BUT DOES NOT ANSWER THIS PROBLEM"
    show = [f"{headline} ({len(steps)} kinds of steps, {len(document['steps'])} control steps, {fields['seconds']:.1f} s CPU)", report.claim, ""]
    width = max(len(step["name"]) for step in steps)
    show += [f"  {step['name']:<{width}}  {step['what']}" for step in steps]
    show += ["", f"Initial box: {_box(document, problem.loop.states)}; {len(document['steps'])} control steps of {problem.loop.period:g}."]
    show += ["Assumed: " + "; ".join(document["assumptions"]), "Not part of the proof: " + "; ".join(report.not_proved)]
    show += [f"NOT CLAIMED: {note}" for note in notes]
    return Answer("proved" if answered else "not proved", fields, tuple(show))


def _require_same_loop(certificate: Path, document: dict[str, Any], problem: Problem) -> None:
    """A certificate about something else cannot be asked; whatever is malformed is left to the checker."""
    loop = problem.loop
    if not str(document.get("format", "")).startswith("reach-certificate/"):
        found = str(document.get("format"))[:80]
        raise InputError("this is not the certificate of a flowpipe", where=certificate, found=found, hint="`certify check` reads certificates of networks")
    parts = (
        ("controller", "controller", _member(document.get("controller"), "digest"), getattr(getattr(loop.controller, "graph", None), "digest", None)),
        ("plant", "plant", _member(document.get("plant"), "digest"), loop.plant.digest),
        ("period", "solve", document.get("period"), loop.period),
    )
    for what, section, stored, own in parts:
        if stored != own:
            shown = (str(stored)[:16], str(own)[:16])
            hint = "the file was changed after the run? same formulas, same weights, same numbers"
            raise InputError(
                f"the certificate is about another {what}", where=certificate, found=shown[0], expected=f"{shown[1]}, from {problem.source.place((section,))}", hint=hint
            )


def _member(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _beyond(document: dict[str, Any], problem: Problem) -> list[str]:
    """What the problem file asks and the certificate, whose content is checked by now, does not claim."""
    from ..proof.claims import claim_of

    notes = []
    lower, upper = np.array(document["initial"]["lower"]), np.array(document["initial"]["upper"])
    if not ((lower <= problem.initial.lower).all() and (problem.initial.upper <= upper).all()):
        notes.append(f"the initial box of {problem.path} is not inside that of the certificate")
    steps = len(document["steps"])
    if steps < problem.steps:
        notes.append(f"the certificate ends at time {steps * problem.loop.period:g}, {problem.path} asks for {problem.horizon:g}")
    for question in problem.questions:
        try:
            claimed = claim_of(question.specification, problem.loop, steps, problem.steps) in document["specifications"]
        except CertifyError:
            claimed = False
        if not claimed:
            notes.append(f"the specification {question.name!r} is not in the certificate")
    return notes


def _box(document: dict[str, Any], states: tuple[str, ...]) -> str:
    return ", ".join(f"{s} in [{low!r}, {high!r}]" for s, low, high in zip(states, document["initial"]["lower"], document["initial"]["upper"]))
