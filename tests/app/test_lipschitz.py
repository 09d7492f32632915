"""`certify lipschitz` on networks whose constant a hand can check: the ladder, its files, its reasons, an interruption, and what it refuses before any work."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from strategies.cli_models import TINY, tiny_onnx

from certify.app import lipschitz_rungs
from certify.app.lipschitz_plot import draw_ladder
from certify.app.lipschitz_rungs import CLOSED, FAST, MATRIX, PRODUCT, SDP, Ladder, Rung, climb
from certify.app.lipschitz_text import hints, interruption, ladder_table, ordered, over
from certify.core.graph import Graph, GraphBuilder

ROOM = 1 + 1e-9


def network(depth: int = 3, width: int = 8, seed: int = 0) -> Graph:
    rng, b = np.random.default_rng(seed), GraphBuilder()
    x = b.add("input", attrs={"shape": (width,)})
    for _ in range(depth):
        x = b.add("activation", [b.add("dense", [x], arrays={"weight": rng.normal(size=(width, width)) * math.sqrt(2 / width)})], {"kind": "relu"})
    return b.build(b.add("dense", [x], arrays={"weight": rng.normal(size=(3, width)) / math.sqrt(width)}))


def affine() -> Graph:
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (2,)})
    return b.build(b.add("add", [x, b.add("dense", [x], arrays={"weight": -0.5 * np.eye(2)})]))


def climbed(graph: Graph, norm: str = "l2", effort: str = "fast", method: str = "auto") -> Ladder:
    ladder = Ladder(graph, norm, effort, method)
    for _ in climb(ladder, lambda *_: None):
        pass
    return ladder


def asked(run, *options):
    return run("lipschitz", TINY, "--input-shape", "2", "--effort", "fast", *options)


def test_the_ladder_stands():
    ladder = climbed(network())
    found = {rung.name: rung.upper for rung in ladder.rungs}
    assert list(found) == [PRODUCT, FAST, CLOSED, SDP] and ladder.best.name == SDP
    assert 0 < ladder.lower <= found[SDP] <= min(found[FAST], found[CLOSED]) * ROOM and max(found[FAST], found[CLOSED]) <= found[PRODUCT] * ROOM
    assert found[SDP] < 0.7 * found[PRODUCT]
    assert ladder.certificate.upper == found[SDP] and ladder.certificate.lower == ladder.lower and ladder.certificate.witness.first is not None
    assert [rung.name for rung in ordered(ladder)][0] == SDP and not ladder.missing()


def test_json_and_text_say_the_same(certify_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    ran = asked(certify_command, "--json")
    assert ran.code == 0 and ran.json["status"] == "proved" and ran.json["norm"] == "l2"
    assert 1.9 < ran.json["lower"] <= 2 <= ran.json["upper"] <= 2 * ROOM
    for rung in ran.json["ladder"]:
        assert 2 <= rung["upper"] <= 2.1 and rung["seconds"] >= 0 and rung["how"] and not rung["reason"]
    text = asked(certify_command).out
    for words in ("running constant", "lower end", SDP, CLOSED, FAST, PRODUCT, "times lower", "seconds", "(proved), method"):
        assert words in text, words


def test_a_folder_with_certificate_picture_and_document(certify_command, tmp_path):
    ran = asked(certify_command, "--out", "run", "--json")
    assert ran.code == 0 and sorted(p.name for p in (tmp_path / "run").iterdir()) == ["certificate", "ladder.png", "lipschitz.json"]
    document = json.loads((tmp_path / "run" / "lipschitz.json").read_text())
    assert document["upper"] == ran.json["upper"] and document["status"] == "proved" and len(document["ladder"]) == 4
    assert (tmp_path / "run" / "ladder.png").read_bytes()[:4] == b"\x89PNG"
    assert certify_command("check", "run/certificate", TINY).code == 0
    model = tiny_onnx(tmp_path / "other.onnx", first=2.5)
    assert certify_command("check", "run/certificate", model).code == 2


def test_a_folder_without_matplotlib(certify_command, tmp_path, monkeypatch):
    from certify.app import plot

    monkeypatch.setattr(plot, "can_plot", lambda: False)
    ran = asked(certify_command, "--out", "run", "--json")
    assert ran.code == 0 and sorted(p.name for p in (tmp_path / "run").iterdir()) == ["certificate", "lipschitz.json"]
    ran = asked(certify_command, "--plot", "ladder.png")
    assert ran.code == 2 and "[plot]" in ran.err


@pytest.mark.parametrize("name", ["ladder.png", "ladder.SVG", "ladder.pdf"])
def test_plot(certify_command, tmp_path, name):
    assert asked(certify_command, "--plot", name, "--method", "product").code == 0
    assert (tmp_path / name).read_bytes()[:4] in (b"\x89PNG", b"%PDF", b"<?xm")


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_other_norms_have_the_product_and_say_so(certify_command, norm):
    ran = asked(certify_command, "--norm", norm, "--json")
    rungs = {rung["name"]: rung for rung in ran.json["ladder"]}
    assert ran.code == 0 and ran.json["method"] == PRODUCT and math.isfinite(ran.json["upper"])
    for name in (FAST, CLOSED, SDP):
        assert rungs[name]["upper"] == "inf" and "l2" in rungs[name]["reason"]


def test_an_affine_network_has_the_norm_of_its_matrix():
    ladder = climbed(affine())
    found = {rung.name: rung for rung in ladder.rungs}
    assert 0.5 <= found[MATRIX].upper <= 0.5 * ROOM and found[PRODUCT].upper == 1.5 and ladder.best.name == MATRIX
    assert math.isinf(found[SDP].upper) and found[SDP].reason and found[CLOSED].reason
    assert ladder.certificate.method == "closed_form"


def test_only_the_rungs_that_were_asked_for():
    for method, names in (("product", [PRODUCT]), ("closed_form", [PRODUCT, FAST, CLOSED]), ("sdp", [PRODUCT, SDP])):
        assert [rung.name for rung in climbed(network(1, 4), method=method).rungs] == names


def test_too_large_is_a_reason_with_the_estimate(monkeypatch):
    from certify.constants import semidefinite
    from certify.constants.sdp import solve

    monkeypatch.setattr(solve, "MEMORY", 1000)
    ladder = climbed(network(1, 4))
    assert {rung.name for rung in ladder.rungs if math.isfinite(rung.upper)} == {PRODUCT}
    for rung in ladder.rungs[1:]:
        assert "memory" in rung.reason and "GiB" in rung.reason, rung
    monkeypatch.undo()
    cost = semidefinite.cost_of(network(1, 4))
    monkeypatch.setattr(semidefinite, "cost_of", lambda graph: type(cost)(cost.rows, 1e6, 1e6, cost.bytes))
    rungs = {rung.name: rung for rung in climbed(network(1, 4)).rungs}
    assert "50000 s" in rungs[FAST].reason and "2 s" in rungs[CLOSED].reason


def test_a_bound_below_the_lower_end_stops_everything(certify_command, monkeypatch):
    monkeypatch.setattr(lipschitz_rungs, "_proved_closed_form", lambda chain, uniform: 1.0)
    ran = asked(certify_command)
    assert ran.code == 2 and "below a proved difference quotient" in ran.err and CLOSED in ran.err


def test_an_interruption_keeps_what_is_done(certify_command, monkeypatch):
    def stop(ladder, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(lipschitz_rungs, "_semidefinite", stop)
    ran = asked(certify_command, "--json")
    assert ran.code == 2 and ran.json["status"] == "interrupted" and ran.json["missing"] == [SDP] and len(ran.json["ladder"]) == 3
    ran = asked(certify_command, "--out", "part")
    assert ran.code == 2 and ran.err.startswith("interrupted:") and f"missing: {SDP}" in ran.err and PRODUCT in ran.out
    monkeypatch.setattr(lipschitz_rungs, "_product", lambda *a: stop(None, None))
    ran = asked(certify_command)
    assert ran.code == 2 and ran.out == "" and ran.err.startswith("interrupted:")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "magic"), ("--method", "magic", "sdp")),
        (("--norm", "l3"), ("--norm", "l3")),
        (("--effort", "extreme"), ("--effort", "extreme")),
        (("--plot", "ladder.gif"), ("--plot", ".gif", ".png")),
        (("--plot", "nowhere/ladder.png"), ("--plot", "nowhere")),
        (("--save", "nowhere/file"), ("--save", "nowhere")),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_work(certify_command, monkeypatch, options, words):
    monkeypatch.setattr("certify.app.models.load", lambda *a: pytest.fail("the model was loaded"))
    ran = certify_command("lipschitz", TINY, "--input-shape", "2", *options)
    assert ran.code == 2 and ran.out == "" and all(word in ran.err for word in words), ran.err


def test_an_output_folder_that_is_a_file(certify_command, tmp_path):
    (tmp_path / "taken").write_text("")
    ran = asked(certify_command, "--out", "taken")
    assert ran.code == 2 and "--out" in ran.err


def made_up(lower: float, *uppers: float) -> Ladder:
    ladder = Ladder(affine(), "l2", "balanced", "auto")
    ladder.rungs = [Rung(name, upper, 1.0, "how", "" if math.isfinite(upper) else "because") for name, upper in zip((PRODUCT, FAST, CLOSED, SDP), uppers)]
    ladder.certificate = type("C", (), {"lower": lower})()
    return ladder


def test_printed_numbers_are_on_their_safe_side():
    ladder = made_up(1.23456789123, 9.87654321987, 5.5, 5.5, 2.34567891234)
    cells = [[str(cell) for cell in column.cells] for column in ladder_table(ladder).columns]
    assert cells[1] == ["1.234567", "2.345679", "5.5", "5.5", "9.876544"] and cells[2][1] == "1.9"
    assert float(over(2.34567891234, 1.23456789123)) >= 2.34567891234 / 1.23456789123


def test_hints():
    assert "--effort tight" in hints(made_up(1.0, 4.0, 3.0, 3.0, 2.0))[0]
    assert hints(made_up(1.0, 1.1, 1.1, 1.1, 1.0)) == []
    assert "missing" in interruption(made_up(1.0, 4.0))


@pytest.mark.parametrize(
    "ladder",
    [
        made_up(1.0, 1.2, 1.1, 1.1, 1.01),
        made_up(24.1, 166.9, 120.0, 139.3, 90.9),
        made_up(0.0, 1.9e22, 8e16, 7e16, 1.5e14),
        made_up(0.0, 0.0),
        made_up(2.0, 3.0, math.inf, math.inf, math.inf),
    ],
)
def test_the_picture_stays_readable(ladder):
    """Every label is on the page, none covers another, the axis has ticks, the lower end is drawn where there is one."""
    figure = draw_ladder(ordered(ladder), ladder.lower, title="m")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in (*axes.texts, *axes.get_yticklabels())]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[k + 1 :])
    low, high = axes.get_xlim()
    ticks = [label.get_window_extent(renderer) for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high and label.get_text()]
    assert len(ticks) > any(rung.upper > 0 for rung in ladder.rungs) and not any(a.overlaps(b) for k, a in enumerate(ticks) for b in ticks[k + 1 :])
    assert axes.get_xscale() == "log" and all(low < rung.upper < high for rung in ladder.rungs if 0 < rung.upper < math.inf)
    assert ladder.lower == 0 or any("lower end" in text.get_text() for text in axes.texts)
