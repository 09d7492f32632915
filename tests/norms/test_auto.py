"""`auto` chooses by cost, stops when it is tight, and says what it did."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from strategies.layers import Layer, conv_layer, layers

from certify.linear.dense import DenseMap
from certify.norms.auto import Auto, enclose
from certify.norms.base import methods
from certify.norms.cost import candidates
from certify.proof.check_norms import linear_below


def big(co: int, ci: int, n: int, k: int = 3, stride: int = 1, groups: int = 1, mode: str = "zeros") -> Layer:
    weight = np.random.default_rng(0).standard_normal((co, ci // groups, k, k))
    return conv_layer(weight, n=n, stride=stride, padding=k // 2, groups=groups, mode=mode)


def choice(layer: Layer, effort: str = "balanced") -> str:
    """The upper end's method that `auto` takes, without running it."""
    usable = [(k, c) for k, c in enumerate(candidates(layer.map, 4096, 10, 0.018)) if not c.method.supports(layer.map)]
    return dict(usable)[Auto(effort)._choice(layer.map, usable)[0]].method.name


def test_choice_by_cost():
    assert choice(big(8, 8, 8)) == "dense"
    assert choice(big(64, 64, 56)) == "twisted" and choice(big(64, 64, 224)) in ("twisted", "any_size")
    assert choice(big(64, 64, 224), "fast") == "any_size"
    assert choice(big(128, 128, 8)) == "hybrid"
    assert choice(big(16, 16, 64, mode="reflect")) == "copied_padding"
    assert choice(big(16, 16, 64, mode="circular")) == "fft"
    assert choice(big(64, 64, 28, groups=64)) == "twisted"


def test_the_plan_and_the_table_show_the_decision():
    bound = enclose(big(16, 16, 20).map)
    plan = bound.evidence["plan"]
    assert sum(row["why"].startswith("chosen") for row in plan) == 1 and {"dense", "twisted", "hybrid", "any_size"} <= {row["method"] for row in plan}
    assert all(row["predicted"] >= 0 and row["gap"] >= 0 and row["why"] for row in plan)
    table = bound.table().splitlines()
    assert table[0].split() == ["method", "lower", "upper", "seconds", "decision"]
    taken = next(row["method"] for row in plan if row["why"].startswith("chosen"))
    assert any(line.startswith(taken) and "chosen" in line for line in table) and any("not needed" in line for line in table)
    column = table[0].index("decision")
    assert all(line[column - 1] == " " and line[column] != " " for line in table)  # one column, whatever the names are long


def test_stops_early_and_lists_what_it_tried():
    bound = enclose(DenseMap(np.outer([1.0, 2.0], [3.0, 4.0])))  # rank one: Frobenius is exact, nothing else is needed after the lower end
    tried = [row["method"] for row in bound.evidence["tried"]]
    assert tried[:2] == ["induced", "frobenius"] and bound.upper <= bound.lower * (1 + 1e-5)
    assert enclose(DenseMap(np.diag([1.0, -3.0]))).evidence["tried"][0]["method"] == "diagonal"
    for row in bound.evidence["tried"]:
        assert row["lower"] <= bound.lower and row["upper"] >= bound.upper and row["seconds"] >= 0
    assert [row["method"] for row in enclose(DenseMap(np.eye(2)), "linf").evidence["tried"]] == ["induced"]


def test_effort_orders_tightness():
    layer = big(12, 12, 12)
    width = {}
    for effort in ("fast", "balanced", "tight"):
        bound = enclose(layer.map, effort=effort)
        width[effort] = bound.upper / bound.lower
    assert width["tight"] <= width["balanced"] <= width["fast"] * (1 + 1e-9) and width["fast"] < 1.2
    assert width["balanced"] <= 1.0001


def test_a_resnet_layer_is_tight_in_both_efforts():
    layer = big(64, 64, 28)
    for effort in ("fast", "balanced"):
        bound = Auto(effort).enclose(layer.map)
        assert 1.0 <= bound.upper / bound.lower <= 1.02


@given(layer=layers(60))
def test_the_checker_accepts_every_upper_end(layer: Layer):
    """`evidence["verify"]` of every method is enough for the independent checker, and a value below the truth is refused."""
    node, shape = layer.graph["layer"], layer.input_shape
    for norm in ("l2", "linf", "l1"):
        for method in methods().values():
            if method.supports(layer.map, norm):
                continue
            bound = method.enclose(layer.map, norm)
            if np.isfinite(bound.upper):
                assert linear_below(node, shape, norm, bound.upper, bound.evidence["verify"]).how, (method, norm, bound)
        best = enclose(layer.map, norm)
        if best.lower > 0:
            assert not linear_below(node, shape, norm, best.lower * (1 - 1e-6), best.evidence["verify"]).how


@pytest.mark.slow
@pytest.mark.parametrize("case", [(64, 3, 224, 7, 2), (128, 128, 28, 3, 1), (256, 256, 14, 3, 1), (512, 512, 7, 3, 1), (512, 256, 14, 3, 2)], ids=str)
def test_resnet18_at_224(case):
    co, ci, n, k, stride = case
    bound = enclose(big(co, ci, n, k, stride).map)
    assert bound.seconds < 60 and bound.upper / bound.lower < 1.06


def accepted(layer: Layer, effort: str) -> str:
    bound = Auto(effort).enclose(layer.map)
    return linear_below(layer.graph["layer"], layer.input_shape, "l2", bound.upper, bound.evidence["verify"]).how


def test_the_checker_takes_what_auto_gives_at_its_limits():
    """Each of these was refused once: a long signal, a matrix above 4096, a rank-one kernel whose bound is its Frobenius norm, weights that cancel."""
    rng = np.random.default_rng(0)
    long = conv_layer(rng.standard_normal((1, 1, 9)), n=9000, padding=4)
    outer = np.einsum("i,j,k->ijk", rng.standard_normal(64), rng.standard_normal(32), [1.0, 0.5, 0.25])
    cancelling = conv_layer(np.array([[[0.3, -0.3]]]), n=1, padding=1, mode="replicate")
    for layer in (long, conv_layer(outer, n=3), cancelling):
        for effort in ("fast", "balanced", "tight"):
            assert accepted(layer, effort), (layer, effort)
    assert accepted(big(2, 2, 48), "tight")


def test_a_grid_that_no_checker_takes_is_refused():
    cube = conv_layer(np.random.default_rng(0).standard_normal((1, 1, 2, 2, 2)), n=130, padding=1)
    assert "checker" in methods()["twisted"].supports(cube.map) and "checker" in methods()["hybrid"].supports(cube.map)
    assert not methods()["any_size"].supports(cube.map)
