"""`certify bound` on networks whose layers have a dense truth: table, unfoldings, files, interruption, and what it refuses before any work."""

from __future__ import annotations

import csv
import json
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from strategies.cli_models import TINY, tiny_onnx

from certify.app import bound_rows
from certify.app.bound_plot import draw_bounds
from certify.app.bound_rows import Question, Row, chain_product, describe, linear_layers, measure
from certify.app.bound_table import BoundTable, short_names
from certify.core.errors import InputError
from certify.core.fold import fold_affine
from certify.core.graph import Graph, GraphBuilder
from certify.linear.build import linear_map
from certify.norms.base import methods

NET = "strategies.cli_models:convolutions"
LAYERS = ["stem", "down", "twin", "twin#2", "depthwise", "mirror", "head"]


@pytest.fixture
def wide_output(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)


def graph() -> Graph:
    """The traced test network."""
    from strategies.cli_models import convolutions

    from certify.facade import as_graph

    return fold_affine(as_graph(convolutions(), (2, 10, 10))).pruned()


def truths() -> dict[str, float]:
    """Largest singular value of each layer's assembled matrix."""
    g = graph()
    maps = {node.name: linear_map(node, g.input_shapes(node)[0]) for node in linear_layers(g)}
    return {name: float(np.linalg.norm(m.dense(), 2)) for name, m in maps.items() if m is not None}


def asked(run, *options):
    return run("bound", NET, "--input-shape", "2,10,10", "--effort", "fast", *options)


def test_a_whole_network(certify_command, wide_output):
    ran = asked(certify_command, "--json")
    assert ran.code == 0 and ran.json["status"] == "proved"
    rows, truth = ran.json["layers"], truths()
    assert [row["layer"] for row in rows] == LAYERS == list(truth)
    product = math.prod(row["upper"] for row in rows)
    assert product <= ran.json["product"] <= product * (1 + 1e-12)
    for row in rows:
        true = truth[row["layer"]]
        assert row["lower"] <= true * (1 + 1e-12) and true * (1 - 1e-12) <= row["upper"], row
        assert row["gap"] == row["upper"] / row["lower"] - 1 and row["tried"] and isinstance(row["plan"], list)
        assert (row["unfoldings"] is None) == (row["layer"] in ("mirror", "head"))
        for unfolding in row["unfoldings"] or []:
            assert unfolding["upper"] >= true * (1 - 1e-12), (row["layer"], unfolding)
    assert [row["operator"] for row in rows] == [
        "conv 2->4 3x3 @10", "conv 4->4 3x3 s2 @10", "conv 4->4 3x3 @5", "conv 4->4 3x3 @5", "conv 4->4 3x1 d2x1 depthwise @5", "conv 4->4 3x3 reflect @5", "linear 100->3",
    ]  # fmt: skip


def test_equal_layers_are_computed_once(certify_command, monkeypatch):
    from certify.norms.auto import Auto

    seen, original = [], Auto.enclose
    monkeypatch.setattr(Auto, "enclose", lambda self, map, norm="l2": (seen.append(map), original(self, map, norm))[1])
    rows = {row["layer"]: row for row in asked(certify_command, "--json").json["layers"]}
    assert len(seen) == len(LAYERS) - 1
    twin, copy = rows["twin"], rows["twin#2"]
    assert copy["same_as"] == "twin" and twin["same_as"] is None and copy["seconds"] == 0
    assert all(copy[key] == twin[key] for key in ("lower", "upper", "unfoldings", "method"))
    assert "as twin" in asked(certify_command).out


def test_the_digest_sees_whatever_changes_the_map():
    def one(weight, padding=1, size=6, bias=0.0):
        builder = GraphBuilder()
        x = builder.add("input", attrs={"shape": (1, size, size)})
        attrs = {"stride": (1, 1), "padding": ((padding, padding),) * 2, "dilation": (1, 1), "groups": 1, "mode": "zeros"}
        return builder.build(builder.add("conv", [x], attrs, {"weight": weight, "bias": np.array([bias])}, name="layer"))

    def digest(*arguments, **options):
        g = one(*arguments, **options)
        return bound_rows.layer_digest(g["layer"], g.input_shapes(g["layer"])[0])

    w = np.arange(9.0).reshape(1, 1, 3, 3)
    assert digest(w) == digest(w, bias=3.0)
    assert len({digest(w), digest(w + 1), digest(w, padding=0), digest(w, size=7), digest(w.astype(np.float32))}) == 5


def test_the_table_shows_every_number_on_its_safe_side(certify_command, wide_output):
    text = asked(certify_command).out.splitlines()
    head = text[0].split()
    assert head == ["layer", "operator", "l2", "lower", "l2", "bound", "gap", "R", "S", "T", "U", "method", "seconds"]
    at = {name: text[0].index(name) for name in ("operator", "method")}
    for line, (name, true) in zip(text[1:], truths().items()):
        assert line.startswith(name)
        numbers = line[at["operator"] + 34 : at["method"]].replace("<0.001 %", "0 %").split()
        assert float(numbers[0]) <= true * (1 + 1e-12) and true * (1 - 1e-12) <= float(numbers[1]), line
        unfolded = numbers[4:] if "%" in numbers[3:4] else numbers[3:]
        assert (unfolded[-4:] == ["-"] * 4) == (name in ("mirror", "head"))
        if name not in ("mirror", "head"):
            values = [float(u.removesuffix("*")) for u in unfolded[-4:]]
            assert [u.endswith("*") for u in unfolded[-4:]].count(True) >= 1 and float(next(u for u in unfolded[-4:] if u.endswith("*"))[:-1]) == min(values)
    assert any(line.startswith("7 layers, ") for line in text) and "product of the bounds" in "\n".join(text)


@pytest.mark.parametrize("width", [50, 60, 80, 100, 200])
@pytest.mark.parametrize("compare", [False, True])
def test_the_table_fits_the_terminal(width: int, compare: bool):
    g = graph()
    question = Question(effort="fast", compare=compare)
    rows = list({row.layer: row for row in measure(g, linear_layers(g), question, lambda *_: None)}.values())
    long = [Row(**{**vars(row), "layer": f"backbone.stages.{k}.blocks.0.{row.layer}.convolution"}) for k, row in enumerate(rows)]
    for shown in (rows, long, long[:1]):
        lines = BoundTable(shown, question).lines(width)
        assert max(map(len, lines)) <= width
        text = " ".join(" ".join(lines).split())
        for row in shown:
            assert row.operator in text and row.method in text and f"{row.seconds:.2f}" in text
            for unfolding in row.unfoldings or []:
                assert bound_table_number(unfolding["upper"]) in text


def bound_table_number(upper: float) -> str:
    from certify.core.decimals import decimal_up

    return decimal_up(upper, 5)


def test_short_names_stay_different():
    names = [f"module.layers.{k}.attention.projection.weight_normed" for k in range(120)] + ["module.layers.9.attention.projection.weight_normed"]
    for length in (12, 16, 26):
        short = short_names(names, length)
        assert max(map(len, short)) <= length and len(set(short[:120])) == 120 and short[9] == short[120] or length < 14


def test_no_unfoldings(certify_command):
    ran = asked(certify_command, "--no-unfoldings", "--json")
    assert all(row["unfoldings"] is None for row in ran.json["layers"])
    assert certify_command("bound", TINY, "--input-shape", "2", "--norm", "l1", "--json").json["layers"][0]["unfoldings"] is None


def test_compare_has_every_method(certify_command, wide_output):
    ran = asked(certify_command, "--compare", "--layer", "stem", "--layer", "head", "--json")
    truth = truths()
    assert [row["layer"] for row in ran.json["layers"]] == ["stem", "head"] and "product" not in ran.json
    for row in ran.json["layers"]:
        assert [c["method"] for c in row["compared"]] == sorted(set(methods()) - {"auto"})
        true, upper = truth[row["layer"]], {}
        for entry in row["compared"]:
            if "reason" not in entry:
                upper[entry["method"]] = float(entry["upper"])
                assert entry["lower"] <= true * (1 + 1e-12) and true * (1 - 1e-12) <= float(entry["upper"]), entry
            else:
                assert entry["method"] in entry["reason"]
        assert {"dense", "svd", "frobenius"} <= set(upper) and upper["power_iteration"] == math.inf
        if row["layer"] == "stem":
            assert upper["fantastic_four"] == min(u["upper"] for u in row["unfoldings"])
    head = asked(certify_command, "--compare", "--layer", "stem").out.splitlines()[0]
    assert all(name in head.split() for name in ("dense", "svd", "power_iteration", "fantastic_four")) and "product" not in head.split()


def test_two_proofs_that_contradict_each_other_stop_everything(certify_command, monkeypatch):
    from certify.norms.svd import SVD

    original = SVD.enclose
    monkeypatch.setattr(SVD, "enclose", lambda self, map, norm="l2": halved(original(self, map, norm)))
    ran = asked(certify_command, "--compare", "--layer", "stem")
    assert ran.code == 2 and "contradict" in ran.err and "svd" in ran.err


def halved(bound):
    from dataclasses import replace

    return replace(bound, lower=bound.lower / 2, upper=bound.upper / 2)


def test_csv(certify_command, tmp_path):
    ran = asked(certify_command, "--csv", "layers.csv", "--compare", "--json")
    assert ran.code == 0 and ran.json["csv"] == "layers.csv"
    rows = list(csv.DictReader((tmp_path / "layers.csv").open()))
    for line, row in zip(rows, ran.json["layers"], strict=True):
        assert line["layer"] == row["layer"] and float(line["lower"]) == row["lower"] and float(line["upper"]) == row["upper"]
        for unfolding in row["unfoldings"] or []:
            assert float(line[f"unfolding {unfolding['name']}"]) == unfolding["upper"]
        assert line["power_iteration upper"] == "inf" and (line["svd lower"] == "") == ("reason" in next(c for c in row["compared"] if c["method"] == "svd"))


@pytest.mark.parametrize("name", ["layers.png", "layers.SVG", "layers.pdf"])
def test_plot(certify_command, tmp_path, name):
    ran = asked(certify_command, "--plot", name, "--json")
    assert ran.code == 0 and ran.json["plot"] == name
    content = (tmp_path / name).read_bytes()
    if name.endswith("SVG"):
        assert ElementTree.fromstring(content).tag.endswith("svg")
    else:
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"%PDF")


def made_up(count: int) -> list[Row]:
    """Rows of all kinds at scales 1e-3 .. 1e3: tight, loose, zero, without an upper end, without both."""
    rng = np.random.default_rng(count)
    rows = [Row("zero", "conv", "conv 1->1 3x3 @8", 0.0, 0.0), Row("lost", "dense", "linear 3->3"), Row("climbed", "dense", "linear 3->3", 2.0, math.inf)][: count // 4]
    for k in range(count - len(rows)):
        lower = float(10 ** rng.uniform(-3, 3))
        unfolded = [{"name": name, "subset": [], "upper": lower * float(rng.uniform(1.3, 2))} for name in "RSTU"]
        tried = [{"method": "frobenius", "lower": 0.0, "upper": 70 * lower, "seconds": 0.0}, {"method": "power_iteration", "lower": lower, "upper": math.inf, "seconds": 0.0}]
        rows.append(Row(f"backbone.stages.{k // 4}.blocks.{k % 4}.convolution", "conv", "conv 64->64 3x3 @56", lower, 1.001 * lower, "fft", unfoldings=unfolded, tried=tried))
    return rows


@pytest.mark.parametrize("count", [1, 5, 21, 60])
def test_the_picture_stays_readable(count: int):
    """Layer names do not overlap, nothing is drawn outside the page, every mark is in the legend."""
    figure = draw_bounds(made_up(count), title="m")
    figure.draw_without_rendering()
    left, right = figure.axes
    renderer = figure.canvas.get_renderer()
    boxes = [label.get_window_extent(renderer) for label in left.get_yticklabels()]
    assert len(boxes) == count and len({label.get_text() for label in left.get_yticklabels()}) == count
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[k + 1 :])
    for box in [*boxes, figure.legends[0].get_window_extent(renderer)]:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
    for axes in (left, right):
        labels = [label for which in ("major", "minor") for label in axes.get_xticklabels(which=which) if label.get_text()]
        low, high = sorted(axes.get_xlim())
        ticks = [label.get_window_extent(renderer) for label in labels if low <= label.get_position()[0] <= high]
        assert len(ticks) > 1 and not any(a.overlaps(b) for k, a in enumerate(ticks) for b in ticks[k + 1 :])
        for line in axes.get_lines():
            assert all(low <= x <= high for x in line.get_xdata() if line.get_marker() not in (None, "None", ""))
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"lower end", "bound", "unfolding R", "unfolding U", "frobenius"} <= legend and "power_iteration" not in legend
    assert left.get_xscale() == ("linear" if count == 1 else "log")


def test_a_picture_of_nothing_but_zero():
    draw_bounds([Row("zero", "conv", "conv 1->1 3x3 @8", 0.0, 0.0)]).draw_without_rendering()


def cut_at(monkeypatch, count: int):
    """Ctrl-C at the `count`-th layer."""
    from certify.norms.auto import Auto

    seen, original = [], Auto.enclose

    def enclose(self, map, norm="l2"):
        seen.append(map)
        if len(seen) >= count:
            raise KeyboardInterrupt
        return original(self, map, norm)

    monkeypatch.setattr(Auto, "enclose", enclose)


def test_an_interruption_keeps_what_is_done(certify_command, tmp_path, monkeypatch, wide_output):
    cut_at(monkeypatch, 3)
    ran = asked(certify_command, "--csv", "part.csv", "--plot", "part.png")
    assert ran.code == 2 and ran.err.startswith("interrupted:") and "2 of 7" in ran.err and "twin, twin#2, depthwise, mirror, head" in ran.err
    assert "stem" in ran.out and "down" in ran.out and "depthwise" not in ran.out and "product" not in ran.out
    assert [row["layer"] for row in csv.DictReader((tmp_path / "part.csv").open())] == ["stem", "down"]
    assert (tmp_path / "part.png").exists()


def test_an_interruption_as_json(certify_command, monkeypatch):
    cut_at(monkeypatch, 2)
    ran = asked(certify_command, "--json")
    assert ran.code == 2 and ran.err == "" and ran.json["status"] == "interrupted" and ran.json["missing"] == LAYERS[1:]
    assert [row["layer"] for row in ran.json["layers"]] == ["stem"] and ran.json["layers"][0]["unfoldings"]


def test_interrupted_in_the_details_the_enclosure_is_kept(certify_command, monkeypatch):
    def stop(map_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bound_rows, "unfoldings", stop)
    ran = asked(certify_command, "--json")
    assert ran.code == 2 and ran.json["missing"] == LAYERS[1:]
    assert ran.json["layers"][0]["upper"] >= truths()["stem"] * (1 - 1e-12) and ran.json["layers"][0]["unfoldings"] is None


def test_interrupted_before_anything_is_done(certify_command, monkeypatch):
    cut_at(monkeypatch, 1)
    ran = asked(certify_command)
    assert ran.code == 2 and ran.err.startswith("interrupted:") and ran.out == ""


def refused(ran, *words: str) -> None:
    assert ran.code == 2 and ran.out == "" and ran.err.startswith("error: "), (ran.code, ran.out, ran.err)
    for word in words:
        assert word in ran.err, f"{word!r} is not in:\n{ran.err}"


def test_what_cannot_be_asked_is_refused_before_the_work(certify_command, tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("certify.app.models.load", never)
    (tmp_path / "folder.png").mkdir()
    refused(asked(certify_command, "--plot", "layers.gif"), "--plot", ".gif", ".png")
    refused(asked(certify_command, "--plot", "layers"), "no suffix")
    refused(asked(certify_command, "--plot", "nowhere/layers.png"), "--plot nowhere/layers.png", "No such file")
    refused(asked(certify_command, "--plot", "folder.png"), "a folder")
    refused(asked(certify_command, "--csv", "/proc/layers.csv"), "--csv /proc/layers.csv")
    refused(asked(certify_command, "--csv", "nowhere/layers.csv"), "--csv")
    refused(asked(certify_command, "--method", "gramm"), "--method", "did you mean gram")
    refused(asked(certify_command, "--effort", "slow"), "--effort")
    monkeypatch.setattr("certify.app.plot.can_plot", lambda: False)
    ran = asked(certify_command, "--plot", "layers.png")
    assert ran.code == 2 and "certify-reach[plot]" in ran.err
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


def test_an_unknown_layer_names_those_that_come_close(certify_command):
    refused(asked(certify_command, "--layer", "depthwize"), "--layer", "depthwize", "did you mean depthwise?", "stem, down")
    refused(asked(certify_command, "--layer", "TWIN"), "twin or twin#2")
    assert "did you mean" not in asked(certify_command, "--layer", "zzzzzz").err


def test_a_folded_layer_is_called_by_its_parts(certify_command, wide_output):
    line = ("bound", "strategies.cli_models:normalised", "--input-shape", "2,6,6", "--effort", "fast")
    whole = certify_command(*line, "--json").json["layers"]
    assert [row["layer"] for row in whole] == ["body.conv+body.norm", "body.last"]
    for name in ("body.conv", "body.norm", "body.conv+body.norm"):
        assert certify_command(*line, "--layer", name, "--json").json["layers"][0]["upper"] == whole[0]["upper"]
    assert "body.conv+norm " in certify_command(*line).out


def test_a_single_layer_shows_what_was_weighed(certify_command, wide_output):
    text = asked(certify_command, "--layer", "down").out
    row = asked(certify_command, "--layer", "down", "--json").json["layers"][0]
    assert "decision" in text and all(tried["method"] in text for tried in [*row["tried"], *row["plan"]]) and row["plan"]
    assert "decision" not in asked(certify_command).out


def test_a_file_that_fails_at_the_end_does_not_lose_the_rows(certify_command, monkeypatch, wide_output):
    def full(*args, **kwargs):
        raise InputError("a file could not be written", where="layers.csv", found="No space left on device")

    monkeypatch.setattr("certify.app.bound_files.write_csv", full)
    ran = asked(certify_command, "--csv", "layers.csv")
    assert ran.code == 2 and "No space left" in ran.err and "stem" in ran.out
    assert asked(certify_command, "--csv", "layers.csv", "--json").json["status"] == "error"


def test_a_layer_that_no_method_can_take_leaves_the_others(certify_command, monkeypatch, wide_output):
    """Not enough memory for one layer is a line in the table."""
    from certify.norms.auto import Auto

    original = Auto.enclose

    def enclose(self, map, norm="l2"):
        if map.input_shape == (4, 10, 10):
            raise MemoryError
        return original(self, map, norm)

    monkeypatch.setattr(Auto, "enclose", enclose)
    ran = asked(certify_command)
    assert ran.code == 1 and "no bound for down: auto: not enough memory" in ran.out and "head" in ran.out


def test_reasons_and_hints(certify_command, tmp_path, wide_output):
    model = tiny_onnx(tmp_path / "tiny.onnx")
    ran = certify_command("bound", model, "--method", "fft")
    assert ran.code == 1 and "no bound for fc1, fc2: fft does not apply" in ran.out and "--method auto" in ran.out
    ran = certify_command("bound", model, "--method", "power_iteration")
    assert ran.code == 1 and "--method auto" in ran.out
    assert "try:" not in certify_command("bound", model).out


def test_the_product_needs_a_chain():
    rows = [Row("a", "dense", "", 2.0, 2.0), Row("b", "dense", "", 3.0, 3.0)]

    def net(skip: bool):
        builder = GraphBuilder()
        x = builder.add("input", attrs={"shape": (2,)})
        h = builder.add("dense", [x], {}, {"weight": np.eye(2)}, name="a")
        y = builder.add("dense", [h], {}, {"weight": np.eye(2)}, name="b")
        shift = builder.add("constant", [], {}, {"value": np.ones(2)})
        return builder.build(builder.add("add", [y, h if skip else shift], {}))

    assert chain_product(net(False), rows) is not None and 6.0 <= chain_product(net(False), rows) <= 6.0000001
    assert chain_product(net(True), rows) is None
    assert chain_product(net(False), [rows[0], Row("b", "dense", "")]) is None


def test_operators_in_short():
    builder = GraphBuilder()
    x = builder.add("input", attrs={"shape": (6, 8, 12)})
    up = {"stride": (2, 1), "padding": ((1, 1), (0, 0)), "dilation": (1, 1), "groups": 2, "output_padding": (0, 0)}
    a = builder.add("conv_transpose", [x], up, {"weight": np.ones((6, 2, 4, 1))}, name="up")
    b = builder.add("avg_pool", [a], {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}, {"divisor": np.full((8, 6), 4.0)}, name="pool")
    c = builder.add("reduce", [b], {"kind": "mean", "axes": (1, 2), "keepdims": False}, name="mean")
    g = builder.build(c)
    texts = [describe(g[name], g.input_shapes(g[name])[0]) for name in ("up", "pool", "mean")]
    assert texts == ["convT 6->4 4x1 s2x1 g2 @8x12", "avg_pool 4->4 2x2 s2 @16x12", "reduce 4x8x6->4"]


def test_json_is_one_object_that_a_strict_reader_takes(certify_command):
    ran = certify_command("bound", TINY, "--input-shape", "2", "--method", "power_iteration", "--json")
    assert ran.json["layers"][0]["upper"] == "inf" and ran.json["layers"][0]["gap"] == "inf"
    json.loads(ran.out, parse_constant=lambda name: pytest.fail(name))
