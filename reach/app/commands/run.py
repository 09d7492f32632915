"""`reach run`: the flowpipe of a problem file, a verdict per specification, and the files of it."""

from __future__ import annotations

from ..frame import Answer
from ..options import Json, NoPlot, Out, Plots, Problem

RANK = 20


def command(problem: Problem, out: Out, plot: Plots = None, no_plot: NoPlot = False, json: Json = False) -> Answer:
    """Prove what a controlled plant does: a tube around every motion, and a verdict for every specification of the file.

    PROBLEM.toml has the sections [plant], [controller], [initial], [solve] and [[specification]]; `reach demo --out DIR` writes one to start from, and
    docs/reach.md describes every key. DIR gets flowpipe.csv, certificate, tube.png and run.json.

    Exit code 0: everything asked is VERIFIED. 1: something is FALSIFIED (with a motion that proves it) or UNKNOWN (with the reason). 2: the file cannot be used.
    """
    from ..work import run_problem

    return run_problem(problem, out, None if no_plot else plot or [], command="run")
