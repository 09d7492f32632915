"""RadiusResult: accuracies compared exactly, files that read back, a picture with the right curves, a certificate that is checked."""

from __future__ import annotations

import csv
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.classifiers import linear, mlp

import certify
from certify.core.errors import InputError
from certify.robustness.curve import accuracy_steps, radius_bound
from certify.robustness.radii import radius
from certify.robustness.result import RadiusResult


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(0)
    graph = mlp(rng, (5, 7, 3))
    x = rng.standard_normal((30, 5)).astype(np.float32)
    y = graph(x).argmax(1)
    y[:4] = (y[:4] + 1) % 3
    return radius(graph, x, y)


def made(radii, upper, predictions, labels) -> RadiusResult:
    n = len(radii)
    return RadiusResult(*map(np.asarray, (radii, upper, predictions, labels)), np.array(["global"] * n), "l2", None, np.zeros((n, 1)), None, None)


def test_certified_accuracy_compares_with_the_exact_number():
    tenth = 0.1  # the float is a little above one tenth
    r = made([tenth, np.nextafter(tenth, 0), 0.0, 0.5], [1.0, 1.0, 0.0, np.inf], [0, 0, 1, 0], [0, 0, 0, 0])
    assert r.certified_accuracy("0.1") == 0.5 and r.certified_accuracy(0.1) == 0.5 and r.certified_accuracy(Fraction(1, 10)) == 0.5
    below = made([np.nextafter(0.3, 1), 0.3], [1.0, 1.0], [0, 0], [0, 0])  # the float 0.3 is below three tenths
    assert below.certified_accuracy("0.3") == 0.5 and below.certified_accuracy(0.3) == 1.0
    assert r.certified_accuracy(0) == 0.75 and r.attacked_accuracy(0) == 0.75 and r.attacked_accuracy(1) == 0.75 and r.attacked_accuracy("1.0001") == 0.25


@pytest.mark.parametrize("eps", [-1, "-0.1", float("nan"), float("inf"), "much", None, [1], "1/0"])
def test_bad_eps(result, eps):
    with pytest.raises(InputError):
        result.certified_accuracy(eps)


@given(st.fractions(0, 10), st.floats(0, 10))
def test_radius_bound_decides_exactly(eps, r):
    assert (r >= radius_bound(eps)) == (Fraction(r) >= eps)
    assert radius_bound(r) == r


def test_accuracies_are_ordered_and_fall(result):
    grid = [0, "0.001", *np.linspace(0.01, 5, 40), "1e9"]
    certified, attacked = [result.certified_accuracy(e) for e in grid], [result.attacked_accuracy(e) for e in grid]
    assert all(c <= a for c, a in zip(certified, attacked)) and certified == sorted(certified, reverse=True) and attacked == sorted(attacked, reverse=True)
    assert result.accuracy == attacked[0] == 26 / 30 and certified[-1] == 0


def test_the_curve_is_the_accuracy_at_every_step_and_between(result):
    eps, certified, attacked = accuracy_steps(result)
    assert (np.diff(eps) > 0).all() and eps[0] == 0 and len(eps) > 30
    for e, c, a in zip(eps, certified, attacked):
        assert c == pytest.approx(result.certified_accuracy(float(e))) and a == pytest.approx(result.attacked_accuracy(float(e)))
    for left, right, c, a in zip(eps, eps[1:], certified[1:], attacked[1:]):
        middle = float((left + right) / 2)
        assert c == pytest.approx(result.certified_accuracy(middle)) and a == pytest.approx(result.attacked_accuracy(middle))


def test_csv_and_npz_read_back_exactly(result, tmp_path):
    assert result.to_csv(tmp_path / "r.csv") == tmp_path / "r.csv"
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert [float(r["radius"]) for r in rows] == result.radii.tolist() and [float(r["upper"]) for r in rows] == result.upper.tolist()
    assert (
        [int(r["label"]) for r in rows] == result.labels.tolist()
        and [r["method"] for r in rows] == result.methods.tolist()
        and list(rows[0]) == ["index", "label", "prediction", "radius", "upper", "method"]
    )
    with np.load(result.to_npz(tmp_path / "r.npz")) as stored:
        assert set(stored.files) == {"radii", "upper", "predictions", "labels"} and all((stored[n] == getattr(result, n)).all() for n in stored.files)
    with pytest.raises(InputError):
        result.to_csv(tmp_path / "nowhere" / "r.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.csv", "r.npz"]


def test_the_picture(result, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ax = result.plot()
    labels = ax.get_legend_handles_labels()[1]
    assert "ε" in ax.get_xlabel() and "accuracy" in ax.get_ylabel() and any("certified" in t for t in labels) and any("attacked" in t for t in labels)
    lines = {line.get_label().split(":")[0]: line for line in ax.get_lines()}
    assert (lines["certified"].get_ydata() <= lines["attacked"].get_ydata()).all()
    ax.figure.savefig(tmp_path / "curve.png")
    _, mine = plt.subplots()
    assert result.plot(ax=mine) is mine
    plt.close("all")
    plain = radius(linear([[1.0], [-1.0]]), [[1.0], [-1.0]], [0, 1], attack=False)
    assert all("attacked" not in t for t in plain.plot().get_legend_handles_labels()[1])
    plt.close("all")


def test_text_and_papers(result):
    text = str(result)
    assert "accuracy" in text and f"{result.accuracy:.4f}" in text and any(f"by the {m} bound" in text for m in ("pairwise", "sdp", "local")) and len(text.splitlines()) <= 14
    papers = result.papers()
    assert any(name in p for p in papers for name in ("Leino", "Fazlyab", "CROWN")) and any("Pintor" in p for p in papers) and len(set(papers)) == len(papers)


def test_save_writes_exactly_the_path_and_the_checker_agrees(result, tmp_path):
    path = tmp_path / "run.certificate"
    assert result.save(path) == path and [p.name for p in tmp_path.iterdir()] == ["run.certificate"]
    assert certify.check(path, result.graph).ok


@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
@pytest.mark.parametrize("tail", ["", "softmax", "relu"])
@pytest.mark.parametrize("method", ["auto", "global"])
def test_every_kind_of_head_is_checked(norm, tail, method, tmp_path):
    rng = np.random.default_rng(1)
    graph = mlp(rng, (5, 7, 3), kind="tanh", tail=tail)
    x = rng.standard_normal((12, 5))
    r = radius(graph, x, graph(x).argmax(1), norm, method, attack=False)
    assert (r.radii > 0).sum() >= 6
    assert certify.check(r.save(tmp_path / "c"), graph).ok


def test_a_linear_classifier_and_infinite_radii_are_checked(tmp_path):
    graph = linear([[1.0, 2.0], [1.0, 2.0]], [1.0, 0.0])
    r = radius(graph, [[0.5, 0.25], [1.0, 0.0]], [0, 1])
    assert r.radii.tolist() == [np.inf, 0]
    assert certify.check(r.save(tmp_path / "c"), graph).ok
