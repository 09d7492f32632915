"""`reach run`, `report` and `check` from end to end: files, figures, exit codes, JSON, partial flowpipes, interruption."""

from __future__ import annotations

import csv
import json
import signal

import pytest

import reach
from reach.app.problem import load_problem

FILES = ["certificate", "flowpipe.csv", "run.json", "tube.png"]


def test_everything_verified(reach_command, problem, tmp_path):
    path = problem()
    ran = reach_command("run", path, "--out", "run", "--json")
    assert ran.code == 0 and ran.json["status"] == "proved" and [s["verdict"] for s in ran.json["specifications"]] == ["VERIFIED", "VERIFIED"]
    out = tmp_path / "run"
    assert sorted(p.name for p in out.iterdir()) == FILES == ran.json["files"]
    assert (out / "tube.png").read_bytes()[:4] == b"\x89PNG"
    run = json.loads((out / "run.json").read_text())
    assert run["specifications"] == ran.json["specifications"] and run["versions"]["numba"] and run["seconds"]["flowpipe"]["cpu"] >= 0
    read = load_problem(path)
    pipe = read.solve()
    box = pipe.at(4).box()
    assert run["final"] == {"x": [box.lower[0], box.upper[0]], "v": [box.lower[1], box.upper[1]]} and run["digest"] == read.loop.digest
    assert len(list(csv.DictReader((out / "flowpipe.csv").open()))) == 10
    checked = reach_command("check", "run/certificate", path, "--json")
    assert checked.code == 0 and checked.json["status"] == "proved" and checked.json["steps"] > 0
    assert reach.check(out / "certificate", read.loop).ok


def test_the_text_for_people(reach_command, problem):
    path = problem()
    ran = reach_command("run", path, "--out", "run")
    for words in (
        "slow swing: 2 states, 1 control, 4 control steps of 0.2",
        "specification",
        "stay x in [-2, 2]  VERIFIED  every motion",
        "slow               VERIFIED",
        "at time 0.8: x in [",
        "CPU seconds: problem",
        "kernels",
        "files in run: certificate, flowpipe.csv, run.json, tube.png",
        "check it again:  reach check run/certificate",
    ):
        assert words in ran.out, ran.out
    report = reach_command("report", "run")
    assert report.code == 0 and "every motion" in report.out and "reach check run/certificate" in report.out
    assert reach_command("report", "run", "--json").json["run"]["name"] == "slow swing"
    assert "PROVED" in reach_command("check", "run/certificate", path).out


def test_the_same_run_gives_the_same_files(reach_command, problem, tmp_path):
    path = problem()
    for name in ("a", "b", "a"):  # the last one overwrites an earlier run of the same problem
        assert reach_command("run", path, "--out", name).code == 0
    for name in ("flowpipe.csv", "certificate", "tube.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_falsified_specification(reach_command, problem):
    path = problem(('set = "v >= 1.5"', 'set = "x <= 0.6"'))
    ran = reach_command("run", path, "--out", "run", "--json")
    first, second = ran.json["specifications"]
    assert ran.code == 1 and ran.json["status"] == "not proved" and (first["verdict"], second["verdict"]) == ("VERIFIED", "FALSIFIED")
    read, witness = load_problem(path), second["witness"]
    start = [witness["initial"][s] for s in ("x", "v")]
    assert read.initial.contains(start) and -0.0101 <= witness["disturbance"]["w"] <= 0.0101
    states = reach.simulate(read.loop, start, read.horizon, disturbance=[witness["disturbance"]["w"]])
    assert states[0, :, 0].min() <= 0.6 + 1e-6
    report = reach_command("report", "run")
    assert report.code == 1 and "FALSIFIED" in report.out
    checked = reach_command("check", "run/certificate", path)
    assert checked.code == 1 and "HOLDS BUT DOES NOT ANSWER" in checked.out, "what is proved is proved, and it is not all that the file asks"


def test_an_open_question(reach_command, problem):
    """Between what is proved and what the search finds: UNKNOWN with its reason, exit code 1."""
    pipe = load_problem(problem()).solve()
    close = float(pipe.tube(1).box(1).upper[0])
    limit = 0.5 * close + 0.5 * max(1.0, float(pipe.at(1).box().upper[0]))
    ran = reach_command("run", problem(("set = { x = [-2, 2] }", f"set = {{ x = [-2, {limit!r}] }}")), "--out", "run", "--json")
    verdict = ran.json["specifications"][0]
    assert ran.code == (0 if verdict["verdict"] == "VERIFIED" else 1) and verdict["reason"]


def test_a_flowpipe_alone(reach_command, problem):
    path = problem()
    path.write_text(path.read_text().split("[[specification]]")[0])
    ran = reach_command("run", path, "--out", "run")
    assert ran.code == 0 and "no specification" in ran.out


EXPLODING = (
    ('rates = ["v", "-x + u + w"]', 'rates = ["v", "10*x**3 + v**2 + u + w"]'),
    ("horizon = 0.8", "horizon = 4"),
    ("set = { x = [-2, 2] }", "set = { x = [-2, 2] }\nsteps = [0, 1]"),
)


def test_a_flowpipe_that_cannot_be_continued(reach_command, problem, tmp_path):
    """The steps so far are saved and drawn; a window inside them may be proved, nothing beyond is; exit code 1."""
    ran = reach_command("run", problem(*EXPLODING, ('kind = "avoid"\nset = "v >= 1.5"', 'kind = "stay"\nset = "x >= 0"')), "--out", "run", "--json")
    stopped, steps = ran.json["stopped"], ran.json["proved_steps"]
    assert ran.code == 1 and ran.json["status"] == "not proved" and 0 < steps < 20 and stopped["step"] == steps + 1 and stopped["try"]
    assert ran.json["specifications"][1]["verdict"] != "VERIFIED"
    rows = list(csv.DictReader((tmp_path / "run" / "flowpipe.csv").open()))
    assert len(rows) == 2 * (steps + 1) and sorted(p.name for p in (tmp_path / "run").iterdir()) == FILES
    text = reach_command("report", "run").out
    assert f"STOPPED after {steps} of 20 control steps" in text and "cannot be continued" in text


def test_a_flowpipe_that_cannot_even_begin(reach_command, problem, tmp_path):
    """Nothing but the initial set: no certificate, a picture of the start, every question open, a window beyond the end included."""
    path = problem(('rates = ["v", "-x + u + w"]', 'rates = ["v", "1/(x - 0.95) + u + w"]'), ('kind = "avoid"', 'kind = "avoid"\nsteps = [2, 3]'))
    ran = reach_command("run", path, "--out", "run", "--json")
    assert ran.code == 1 and ran.json["proved_steps"] == 0 and ran.json["stopped"]["step"] == 1 and "without steps" in ran.json["no_certificate"]
    assert ran.json["final"]["x"][0] <= 0.9 and {s["verdict"] for s in ran.json["specifications"]} <= {"UNKNOWN", "FALSIFIED"}
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["flowpipe.csv", "run.json", "tube.png"]


def test_an_arrival_is_not_claimed_at_the_end_of_a_partial_flowpipe(reach_command, problem):
    goal = ('kind = "avoid"\nset = "v >= 1.5"', 'kind = "arrive"\nset = "x >= -1e9"')
    ran = reach_command("run", problem(*EXPLODING, goal), "--out", "run", "--no-plot", "--json")
    assert ran.code == 1 and ran.json["specifications"][1]["verdict"] == "UNKNOWN"


def test_pictures_that_were_asked_for(reach_command, problem, tmp_path):
    ran = reach_command("run", problem(), "--out", "run", "--plot", "t,x", "--plot", "v, x", "--plot", "t,x", "--json")
    assert ran.code == 0 and ran.json["files"] == ["certificate", "flowpipe.csv", "run.json", "tube-v-x.png", "tube.png"]
    assert reach_command("run", problem(), "--out", "plain", "--no-plot").code == 0
    assert not list((tmp_path / "plain").glob("*.png"))


@pytest.mark.parametrize("plot", ["x", "x,y", "x,x", "x,v,t", ""])
def test_pictures_that_cannot_be(reach_command, problem, plot):
    ran = reach_command("run", problem(), "--out", "run", "--plot", plot)
    assert ran.code == 2 and "--plot" in ran.err and "x, v, t" in ran.err


def test_without_matplotlib(reach_command, problem, monkeypatch):
    monkeypatch.setattr("reach.app.work.can_plot", lambda: False)
    assert reach_command("run", problem(), "--out", "run", "--json").json["files"] == ["certificate", "flowpipe.csv", "run.json"]
    ran = reach_command("run", problem(), "--out", "more", "--plot", "x,v")
    assert ran.code == 2 and "certify-reach[plot]" in ran.err


def test_ctrl_c_says_how_far_it_came(reach_command, problem, tmp_path, monkeypatch):
    import reach.app.results as results

    original = results.bar

    def stopping(label):
        from contextlib import contextmanager

        @contextmanager
        def bar():
            with original(label) as progress:

                def count(done, total, message=""):
                    progress(done, total, message)
                    if label == "flowpipe" and done == 3:
                        raise KeyboardInterrupt

                yield count

        return bar()

    monkeypatch.setattr(results, "bar", stopping)
    ran = reach_command("run", problem(), "--out", "run")
    assert ran.code == 2 and ran.err.startswith("interrupted: stopped by Ctrl-C after 3 of 4 control steps (time 0.6)")
    assert not (tmp_path / "run" / "run.json").exists()
    kept = tmp_path / "run" / "flowpipe.csv"
    assert ("flowpipe.csv" in ran.err) == kept.exists()
    asked = reach_command("report", "run")
    assert asked.code == 2 and "run it again" in asked.err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert reach_command("run", problem(), "--out", "run").code == 0


def test_a_polite_kill_is_an_interruption(reach_command, problem, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("reach.app.runner.warm_up", lambda *_: signal.raise_signal(signal.SIGTERM))
    ran = reach_command("run", problem(), "--out", "run", "--json")
    assert ran.code == 2 and ran.json["status"] == "interrupted" and signal.getsignal(signal.SIGTERM) == before


def test_a_compilation_is_said(reach_command, problem, monkeypatch):
    monkeypatch.setattr("reach.app.runner.warm_up", lambda *_: True)
    assert "(compiled, once per installation)" in reach_command("run", problem(), "--out", "run").out


def test_folders_that_cannot_be_used(reach_command, problem, tmp_path):
    path = problem()
    (tmp_path / "file").write_text("mine")
    for out in ("file", "/proc/nothing"):
        ran = reach_command("run", path, "--out", out)
        assert ran.code == 2 and f"--out {out}" in ran.err
    assert (tmp_path / "file").read_text() == "mine"
    assert reach_command("run", path, "--out", "run").code == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    other = tmp_path / "other.toml"
    other.write_text(path.read_text())
    ran = reach_command("run", other, "--out", "run")
    assert ran.code == 2 and "another run" in ran.err and {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before
    for folder in ("nowhere", "."):
        assert reach_command("report", folder).code == 2
    (tmp_path / "run" / "run.json").write_text("{}")
    assert reach_command("report", "run").code == 2


def test_a_mistake_in_the_file_is_an_error_by_line(reach_command, problem):
    path = problem(("period = 0.2", "period = -0.2"))
    for line in (["run", path, "--out", "run"], ["simulate", path], ["check", "run/certificate", path]):
        ran = reach_command(*line)
        assert ran.code == 2 and ran.err.startswith("error: the period is not positive") and "line 20 (solve.period)" in ran.err, ran.err
        ran = reach_command(*line, "--json")
        assert ran.code == 2 and ran.json["status"] == "error" and "line 20" in ran.json["where"] and ran.json["found"] == "-0.2"


def test_certificates_about_something_else(reach_command, problem, tmp_path):
    path = problem()
    assert reach_command("run", path, "--out", "run", "--no-plot").code == 0
    whole = (tmp_path / "run" / "certificate").read_bytes()
    assert reach_command("check", "run/certificate", problem(("-x + u + w", "-x + u + 2*w"))).code == 2
    assert reach_command("check", "nowhere", problem()).code == 2
    (tmp_path / "cut").write_bytes(whole[:-60])
    assert reach_command("check", "cut", problem()).code == 2
    assert reach_command("check", path, problem()).code == 2


def test_what_the_file_asks_beyond_the_certificate(reach_command, problem):
    """A file that was changed after the run: the certificate still holds, and what it does not say is said."""
    assert reach_command("run", problem(), "--out", "run", "--no-plot").code == 0
    same = reach_command("check", "run/certificate", problem(), "--json")
    assert same.code == 0 and same.json["beyond"] == []
    wider = problem(("x = [0.9, 1.0]", "x = [0.9, 1.1]"), ("horizon = 0.8", "horizon = 1.0"), ("v >= 1.5", "v >= 1.4"))
    ran = reach_command("check", "run/certificate", wider, "--json")
    assert ran.code == 1 and ran.json["status"] == "not proved" and len(ran.json["beyond"]) == 4 and "initial box" in ran.json["beyond"][0] and "'slow'" in ran.json["beyond"][-1]
    text = reach_command("check", "run/certificate", wider).out
    assert text.count("NOT CLAIMED:") == 4 and "Not part of the proof:" in text and "Initial box: x in [0.9, 1.0], v in [-0.05, 0.05]" in text


def test_a_forged_number_is_not_proved(reach_command, problem, tmp_path):
    from certify.core.record import digest_array, read_record, write_record

    path = problem()
    assert reach_command("run", path, "--out", "run", "--no-plot").code == 0
    document, arrays = read_record(tmp_path / "run" / "certificate")
    arrays["piece_picard"] = arrays["piece_picard"] * 0.5
    document["digests"]["piece_picard"] = digest_array(arrays["piece_picard"])
    write_record(tmp_path / "forged", document, arrays)
    ran = reach_command("check", "forged", path)
    assert ran.code == 1 and "NOT PROVED" in ran.out
    found = reach_command("check", "forged", path, "--json")
    assert found.code == 1 and found.json["status"] == "not proved" and found.json["reason"]


def test_a_controller_without_layers_has_a_flowpipe_and_no_certificate(reach_command, problem, tmp_path):
    path = problem(('file = "net.npz"', 'file = "net.npz"\nabstraction = "bernstein"'))
    ran = reach_command("run", path, "--out", "run", "--no-plot", "--json")
    assert ran.code == 0 and ran.json["files"] == ["flowpipe.csv", "run.json"] and "Layerwise" in ran.json["no_certificate"]
    text = reach_command("report", "run").out
    assert "no certificate:" in text and "reach check" not in text
