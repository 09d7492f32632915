"""`reach simulate`: the motions that the library simulates, what they are seen to do, and the files of them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from reach.app.problem import load_problem
from reach.app.work import simulated, starts


def test_motions_start_in_the_box_and_stay_in_the_flowpipe(problem):
    read = load_problem(problem())
    first = starts(read, 64, seed=1)
    assert all(read.initial.contains(x) for x in first) and (first == starts(read, 64, seed=1)).all()
    corners = {tuple(row) for row in first[::2]}
    assert len(corners) == 4 and all(x in (0.9, 1.0) and v in (-0.05, 0.05) for x, v in corners)
    pipe, motions = read.solve(), simulated(read, 64, seed=1, fine=5)
    assert motions.shape == (64, 21, 2)
    for k in range(1, 5):
        tube = pipe.tube(k).box()
        part = motions[:, (k - 1) * 5 : k * 5 + 1]
        assert (tube.lower <= part).all() and (part <= tube.upper).all()


def test_simulate(reach_command, problem, tmp_path):
    path = problem(('set = "v >= 1.5"', 'set = "x <= 0.6"'))
    ran = reach_command("simulate", path, "--count", "20", "--seed", "4", "--out", "m.csv", "--plot", "m.png", "--json")
    assert ran.code == 0 and ran.json["status"] == "finished" and ran.json["specifications"][0]["violated"] == 0 < ran.json["specifications"][1]["violated"]
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    motions = simulated(load_problem(path), 20, seed=4)[:, ::8]
    assert len(rows) == 100 and list(rows[0]) == ["motion", "step", "time", "x", "v"]
    read = np.array([[float(row["x"]), float(row["v"])] for row in rows]).reshape(20, 5, 2)
    assert (read == motions).all()
    assert ran.json["final"]["x"] == [motions[:, -1, 0].min(), motions[:, -1, 0].max()]
    assert (tmp_path / "m.png").read_bytes()[:4] == b"\x89PNG"
    text = reach_command("simulate", path, "--count", "20").out
    assert "proves nothing" in text and "VIOLATED by" in text and "stay x in [-2, 2]  not seen violated" in text


@pytest.mark.parametrize(
    ("kind", "region", "violated"),
    [
        ('kind = "arrive"', "x <= 0.5", True), ('kind = "arrive"', "x >= 0.5", False), ('kind = "arrive within"\nsteps = [1, 2]', "x <= 0.5", True),
        ('kind = "arrive within"', "v <= -0.2", False), ('kind = "stay"\nsteps = [3, 4]', "x <= 0.9", False), ('kind = "stay"\nat = "samples"', "x <= 0.9", True),
    ],
)  # fmt: skip
def test_what_is_seen(reach_command, problem, kind, region, violated):
    path = problem(('kind = "avoid"\nset = "v >= 1.5"', f'{kind}\nset = "{region}"'))
    row = reach_command("simulate", path, "--count", "30", "--json").json["specifications"][1]
    assert (row["violated"] > 0) == violated and ("example" in row) == violated


def test_discrete_and_single_state(reach_command, problem, tmp_path):
    path = problem(("states =", 'time = "discrete"\nstates ='), ("rates =", "updates ="), ("period = 0.2", "period = 1"), ("horizon = 0.8", "horizon = 3"))
    assert reach_command("simulate", path, "--count", "3", "--plot", "d.png", "--out", "d.csv").code == 0
    assert len((tmp_path / "d.csv").read_text().splitlines()) == 13


def test_motions_that_leave_the_domain_are_counted(reach_command, problem):
    path = problem(('rates = ["v", "-x + u + w"]', 'rates = ["v", "-50*sqrt(x) + u + w"]'), ("horizon = 0.8", "horizon = 4"))
    ran = reach_command("simulate", path, "--count", "4", "--json")
    assert ran.code == 0 and ran.json["not finite"] == 4 and ran.json["specifications"][0]["violated"] == 4


def test_what_cannot_be_simulated(reach_command, problem):
    ran = reach_command("simulate", problem(), "--count", "0")
    assert ran.code == 2 and "--count" in ran.err
    ran = reach_command("simulate", problem(), "--out", "absent/m.csv")
    assert ran.code == 2 and "absent" in ran.err
