"""radius() from end to end: closed forms, arguments, brackets, and runs that are cut, resumed or shared by processes."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from strategies.classifiers import NORMS, convnet, exact_margins, inside_exact_radius, linear, linear_problems, mlp

import certify
from certify.core.errors import CertifyError, HypothesisError, InputError, SoundnessError, UnsupportedLayerError
from certify.robustness import work
from certify.robustness.journal import Journal
from certify.robustness.radii import certify_radii, radius

ARRAYS = ("radii", "upper", "predictions", "labels", "methods")


def same(a, b) -> bool:
    return all((getattr(a, name) == getattr(b, name)).all() for name in ARRAYS)


def problem(count=40, sizes=(6, 8, 4), seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    graph = mlp(rng, sizes, **kwargs)
    x = rng.standard_normal((count, sizes[0]))
    return graph, x, graph(x).argmax(1)


@pytest.mark.parametrize("norm", NORMS)
@given(data=linear_problems())
def test_a_linear_classifier_gets_its_exact_radius(norm, data):
    weight, bias, x, labels = data
    result = radius(linear(weight, bias), x, labels, norm, attack=False)
    for i, label in enumerate(labels):
        exact = exact_margins(weight, bias, x[i], label)
        assert inside_exact_radius(result.radii[i], weight, exact, label, norm)
        assert result.predictions[i] == label or result.radii[i] == 0
    both = radius(linear(weight, bias), x, labels, norm, "global", attack=False)
    for i, label in enumerate(labels):
        assert inside_exact_radius(both.radii[i], weight, exact_margins(weight, bias, x[i], label), label, norm)


@pytest.mark.parametrize(("norm", "expected"), [("l2", 1.0), ("linf", 5 / 7), ("l1", 5 / 4)])
def test_the_closed_form_by_hand(norm, expected):
    result = radius(linear([[3.0, 0.0], [0.0, 4.0]]), [[3.0, 1.0]], [0], norm)  # margin 9 - 4, w_0 - w_1 = (3, -4)
    assert expected * (1 - 1e-9) <= result.radii[0] <= expected <= result.upper[0] <= expected * 1.001
    assert result.methods.tolist() == ["pairwise"] and result.predictions.tolist() == [0]


@pytest.mark.parametrize("norm", NORMS)
def test_ties_and_wrong_labels_have_radius_zero(norm):
    graph = linear([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    result = radius(graph, [[1.0, 1.0], [1.0, 1.0], [2.0, 1.0], [2.0, 1.0]], [0, 1, 1, 0], norm)
    assert result.radii[:3].tolist() == [0, 0, 0] and result.methods[:3].tolist() == ["none"] * 3 and result.radii[3] > 0
    assert result.predictions.tolist() == [0, 0, 0, 0] and result.upper[1:3].tolist() == [0, 0] and 0 < result.upper[0] < 1e-3
    assert result.certified_accuracy(0) == 0.25 and result.attacked_accuracy(0) == 0.5


@pytest.mark.parametrize("norm", NORMS)
def test_a_class_that_moves_along_is_decided_by_its_margin(norm):
    rows = [[1.0, 2.0], [1.0, 2.0]]
    for bias, expected in (([1.0, 0.0], [np.inf, 0]), ([0.0, 0.0], [0, 0]), ([0.0, 1.0], [0, np.inf])):
        result = radius(linear(rows, bias), [[0.5, 0.25], [0.5, 0.25]], [0, 1], norm)
        assert result.radii.tolist() == expected
    result = radius(linear([*rows, [0.0, 0.0]], [1.0, 0.0, 0.0]), [[0.5, 0.25]], [0], norm)
    assert 0 < result.radii[0] < np.inf


def test_a_constant_network_never_changes_its_mind():
    result = radius(linear([[0.0, 0.0], [0.0, 0.0]], [1.0, 0.0]), [[3.0, 4.0]], [0], method="global")
    assert result.radii[0] == np.inf == result.upper[0] and result.certified_accuracy("1e300") == 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["relu", "tanh", "gelu"])
def test_certified_is_at_most_attacked(norm, kind):
    graph, x, y = problem(kind=kind, **({"approximate": "none"} if kind == "gelu" else {}))
    result = radius(graph, x, y, norm)
    assert (result.radii > 0).all() and (result.radii <= result.upper).all() and np.isfinite(result.upper).all()
    assert (result.radii / result.upper).mean() > 0.05, "a bracket this wide is a defect"


@pytest.mark.parametrize("norm", NORMS)
def test_auto_is_the_better_of_both_for_each_input(norm):
    graph, x, y = problem()
    names = ("global", "pairwise", *(("sdp",) if norm == "l2" else ()))
    auto, single = radius(graph, x, y, norm, attack=False), {m: radius(graph, x, y, norm, m, attack=False) for m in names}
    assert (auto.radii >= np.max([single[m].radii for m in names], axis=0)).all()
    for name, result in single.items():
        assert set(result.methods) == {name}
        assert (auto.radii[auto.methods == name] == result.radii[auto.methods == name]).all()


@pytest.mark.parametrize("norm", NORMS)
def test_bounds_near_single_inputs_beat_the_constants_and_stay_below_the_attack(norm):
    graph, x, y = problem(5)
    near, pairs = (radius(graph, x, y, norm, m) for m in ("local", "pairwise"))
    assert set(near.methods) <= {"local", "none"} and (near.radii <= near.upper).all() and (near.radii >= pairs.radii * (1 - 1e-3)).mean() > 0.9
    assert set(near.extra) == {"local_lower", "local_upper", "local_theta", "local_mode"} and all(len(a) == len(x) for a in near.extra.values())


def test_curvature_serves_smooth_networks_only():
    graph, x, y = problem(8)
    with pytest.raises(UnsupportedLayerError, match="kink|curvature"):
        radius(graph, x, y, method="curvature")
    smooth = mlp(np.random.default_rng(0), (6, 5, 3), kind="tanh")
    result = radius(smooth, x, smooth(x).argmax(1), method="curvature")
    assert set(result.methods) <= {"curvature", "none"} and (result.radii <= result.upper).all() and (result.radii > 0).any()
    with pytest.raises(HypothesisError, match="l2"):
        radius(smooth, x, smooth(x).argmax(1), "linf", method="curvature")


def test_without_a_last_affine_layer_there_is_the_global_bound_only():
    graph, x, y = problem(tail="relu")
    x, y = x[graph(x).max(1) > 0.1], y[graph(x).max(1) > 0.1]
    result = radius(graph, x, y)
    assert set(result.methods) <= {"global", "sdp", "local", "none"} and (result.radii > 0).any() and (result.radii <= result.upper).all()
    assert set(radius(graph, x, y, "linf").methods) <= {"global", "local", "none"}
    with pytest.raises(HypothesisError, match="dense"):
        radius(graph, x, y, method="pairwise")


@pytest.mark.parametrize("tail", ["softmax", "log_softmax", "sigmoid", "tanh"])
def test_a_stripped_end_changes_nothing(tail):
    graph, x, y = problem(tail=tail)
    plain = problem()[0]
    a, b = radius(graph, x, y, attack=False), radius(plain, x, y, attack=False)
    assert (a.radii == b.radii).all() and a.head.stripped == ("tail",)


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
@pytest.mark.parametrize("norm", NORMS)
def test_the_scale_of_the_weights_hardly_matters(scale, norm):
    rng = np.random.default_rng(3)
    w, x = rng.standard_normal((4, 6)), rng.standard_normal((20, 6))
    y = (x @ w.T).argmax(1)
    base, scaled = radius(linear(w), x, y, norm, attack=False), radius(linear(w * scale), x, y, norm)
    assert np.allclose(scaled.radii, base.radii, rtol=1e-6) and (scaled.radii <= scaled.upper).all()
    assert (scaled.upper <= scaled.radii * 1.01).all(), "the attack must reach a linear boundary at any scale"


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_a_deep_network_at_odd_scales(scale):
    graph, x, y = problem(20, (5, 6, 6, 3), scale=scale)
    result = radius(graph, x, y)
    assert (result.radii <= result.upper).all() and (result.radii[result.predictions == y] > 0).mean() > 0.5 and np.isfinite(result.upper).mean() > 0.5


def test_overflow_ends_in_zero_never_in_a_proof():
    rng = np.random.default_rng(0)
    graph = mlp(rng, (3, 4, 4, 2), scale=1e200)
    x = rng.standard_normal((10, 3))
    result = radius(graph, x, np.zeros(10, int))
    assert (result.radii == 0).all() and (result.methods == "none").all()


def test_torch_modules_tensors_and_uint8():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3), torch.nn.Softmax(dim=1)).eval()
    x = torch.randint(0, 256, (12, 1, 2, 2), dtype=torch.uint8)
    y = model(x.float()).argmax(1)
    a, b = radius(model, x, y, attack=False), radius(model, x.float().numpy(), y.numpy().astype(np.uint8), attack=False)
    assert (a.radii == b.radii).all() and (a.radii > 0).all() and a.inputs.dtype == np.uint8 and b.inputs.dtype == np.float32


def test_constants_found_before_are_used(monkeypatch):
    graph, x, y = problem()
    constants = certify.lipschitz(graph, (6,), effort="fast")
    fresh = radius(graph, x, y, attack=False)
    import certify.constants.public as public

    monkeypatch.setattr(public, "walk", None)  # a second walk would fail
    assert (radius(graph, x, y, lipschitz=constants, attack=False).radii > 0).all()
    assert np.allclose(radius(graph, x, y, lipschitz=constants, attack=False).radii, fresh.radii, rtol=1e-3)
    with pytest.raises(InputError, match="another norm"):
        radius(graph, x, y, "linf", lipschitz=constants)
    with pytest.raises(InputError, match="another model"):
        radius(problem(seed=1)[0], x, y, lipschitz=constants)
    with pytest.raises(InputError, match="Lipschitz certificate"):
        radius(graph, x, y, lipschitz=3.0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"norm": "l3"},
        {"method": "best"},
        {"effort": "max"},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"workers": 0},
        {"workers": True},
        {"seed": -1},
        {"seed": 0.5},
        {"device": "toaster"},
        {"inputs": np.ones((2, 5))},
        {"labels": [0, 9]},
    ],
)
def test_bad_arguments(arguments):
    graph, x, y = problem(2)
    with pytest.raises(InputError):
        radius(**{"model": graph, "inputs": x, "labels": y, **arguments})


# --- the run: batches, processes, journal ---------------------------------------------------------------------------------------


def test_no_result_depends_on_batch_size(monkeypatch):
    monkeypatch.setattr(work, "_BLOCK_BYTES", 8 * 8 * 16)  # blocks of 16 inputs
    graph, x, y = problem(70)
    results = [radius(graph, x, y, batch_size=b, effort="fast") for b in (None, 1, 17, 1000)]
    assert all(same(results[0], r) for r in results[1:])


def test_the_callers_torch_settings_are_neither_needed_nor_changed():
    graph, x, y = problem(10)
    plain = radius(graph, x, y)
    threads = torch.get_num_threads()
    with torch.inference_mode():
        assert same(plain, radius(graph, x, y)) and torch.is_inference_mode_enabled()
    torch.set_default_dtype(torch.float64)
    try:
        assert same(plain, radius(graph, x, y))
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.get_num_threads() == threads


def test_the_seed_is_all_the_chance_there_is():
    graph, x, y = problem(10)
    assert same(radius(graph, x, y, effort="tight", seed=5), radius(graph, x, y, effort="tight", seed=5))


def test_workers_give_the_same_answer(monkeypatch):
    graph, x, y = problem(600)
    seen = []
    one, two = radius(graph, x, y, effort="fast"), radius(graph, x, y, effort="fast", batch_size=1, workers=2, progress=lambda *a: seen.append(a))
    assert same(one, two)
    units = [a for a in seen if a[2].startswith("radii")]
    assert units[0][:2] == (0, 600) and units[-1][:2] == (600, 600) and len(units) == 4


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="finds the worker in /proc")
def test_a_killed_worker_is_a_clear_error():
    graph, x, y = problem(5000, (6, 32, 4))
    me, done = os.getpid(), threading.Event()

    def kill():
        while not done.is_set():
            for entry in os.listdir("/proc"):
                try:
                    text = open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()
                    if entry.isdigit() and int(text[1]) == me and b"spawn_main" in open(f"/proc/{entry}/cmdline", "rb").read():
                        os.kill(int(entry), signal.SIGKILL)
                        return
                except (OSError, IndexError):
                    continue
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with pytest.raises(CertifyError, match="(?s)worker process ended.*fewer workers"):
            radius(graph, x, y, effort="tight", workers=2)
    finally:
        done.set()
        thread.join()


def test_a_cancelled_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    graph, x, y = problem(700)
    whole = certify_radii(graph, x, y, effort="fast")

    def stop(done, total, message):
        if message.startswith("radii") and done >= 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        certify_radii(graph, x, y, effort="fast", batch_size=1, journal=Journal(tmp_path), progress=stop)
    assert len(list(tmp_path.rglob("*.npz"))) == 2
    calls = []
    answer = work.Worker.__call__
    monkeypatch.setattr(work.Worker, "__call__", lambda self, *a: calls.append(a[2]) or answer(self, *a))
    assert same(whole, certify_radii(graph, x, y, effort="fast", batch_size=1, journal=Journal(tmp_path))) and calls == [512]
    assert same(whole, certify_radii(graph, x, y, effort="fast", batch_size=1, journal=Journal(tmp_path))) and calls == [512]


@pytest.mark.parametrize("change", [{"norm": "l1"}, {"seed": 1}, {"attack": False}, {"method": "global"}, {"effort": "tight"}, "labels", "inputs", "graph"])
def test_a_journal_answers_its_own_question_only(tmp_path, change):
    graph, x, y = problem(20)
    certify_radii(graph, x, y, effort="fast", journal=Journal(tmp_path))
    arguments = {"effort": "fast"} | (change if isinstance(change, dict) else {})
    if change == "labels":
        y = (y + 1) % 4
    elif change == "inputs":
        x = x + 1e-3
    elif change == "graph":
        graph = problem(20, seed=9)[0]
    fresh, asked = certify_radii(graph, x, y, **arguments), certify_radii(graph, x, y, journal=Journal(tmp_path), **arguments)
    assert same(fresh, asked) and len(list(tmp_path.rglob("*.npz"))) == 2


def test_a_bound_inside_an_attack_names_both(monkeypatch):
    graph, x, y = problem(5)
    monkeypatch.setattr(work, "radii_from_margins", lambda lower, constants, classes: np.full(len(lower), 1e9))
    with pytest.raises(SoundnessError, match=r"(?s)input 0.*(sdp|pairwise) radius 1000000000.0 \(l2\).*distance at most"):
        radius(graph, x, y)


def test_convolutions_and_pooling():
    rng = np.random.default_rng(0)
    graph = convnet(rng)
    x = rng.random((30, 1, 6, 6))
    y = graph(x).argmax(1)
    for norm in NORMS:
        result = radius(graph, x, y, norm)
        assert (result.radii > 0).all() and (result.radii <= result.upper).all() and np.isfinite(result.upper).all()
