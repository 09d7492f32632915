"""The checker on hand-written certificates: true ones pass, one changed number is refused or still true, hostile files give an error."""

from __future__ import annotations

import io
import math
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import certificates as hand
from strategies.classifiers import exact_margins, inside_exact_radius, linear, mlp

from certify.core.errors import CertificateError, CertifyError, InputError
from certify.core.graph import GraphBuilder
from certify.core.record import write_record
from certify.proof import certificate
from certify.proof.check import check

NORMS = ("l2", "linf", "l1")
norms = pytest.mark.parametrize("norm", NORMS)


def save(tmp_path, document, arrays):
    return write_record(tmp_path / "certificate", document, arrays)


def refuse(tmp_path, graph, document, arrays, match=None):
    with pytest.raises(CertificateError, match=match) as error:
        check(save(tmp_path, *hand.with_digests(document, arrays)), graph)
    return str(error.value)


def cnn_certificate(norm, method="pairwise", seed=0, count=5):
    rng = np.random.default_rng(seed)
    graph = hand.small_cnn(rng)
    return graph, *hand.radius_certificate(graph, norm, rng.normal(size=(count, *graph.input_shape)), method=method)


# --- true certificates pass -------------------------------------------------------------------------------------------------------


@norms
@pytest.mark.parametrize("method", ["pairwise", "global"])
def test_a_true_radius_certificate_passes_and_says_what_was_checked(tmp_path, norm, method):
    graph, document, arrays = cnn_certificate(norm, method)
    assert (arrays["radii"] > 0).all()
    report = check(certificate.write(tmp_path / "c", document, arrays), graph)
    assert report.ok and "strictly larger logit" in report.claim and any("float32" in text for text in report.not_proved)
    assert {"conv+bn", "branch", "fc", "upper", "forward", "radii"} <= {step.name for step in report.steps}
    assert all(step.seconds >= 0 and step.what for step in report.steps) and "radii" in str(report)


@norms
def test_a_true_lipschitz_certificate_passes_with_and_without_a_witness(tmp_path, norm):
    rng = np.random.default_rng(1)
    graph = mlp(rng, [4, 6, 3], kind="tanh")
    a, b = rng.normal(size=(2, 4))
    change, moved = (graph(a[None]) - graph(b[None])).ravel(), a - b
    lower = float(np.linalg.norm(change, hand.ORDER[norm]) / np.linalg.norm(moved, hand.ORDER[norm]))
    document, arrays = hand.lipschitz_certificate(graph, norm, (a, b), lower * (1 - 1e-9))
    report = check(save(tmp_path, document, arrays), graph)
    assert next(s for s in report.steps if s.name == "lower").recomputed >= lower * (1 - 1e-9)
    document, arrays = hand.lipschitz_certificate(graph, norm, (a, b), lower * (1 + 1e-9))
    assert "lower" in refuse(tmp_path, graph, document, arrays, "lower end")
    document, arrays = hand.lipschitz_certificate(graph, norm, None, lower)
    assert "not proved" in next(s for s in check(save(tmp_path, document, arrays), graph).steps if s.name == "lower").recomputed


def test_an_equal_pair_of_witnesses_proves_nothing(tmp_path):
    graph = linear(np.eye(2))
    document, arrays = hand.lipschitz_certificate(graph, "l2", (np.ones(2), np.ones(2)), 0.5)
    refuse(tmp_path, graph, document, arrays, "lower end")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_inputs_of_every_stored_dtype(tmp_path, dtype):
    rng = np.random.default_rng(0)
    graph = linear(rng.normal(size=(3, 4)))
    inputs = (rng.uniform(size=(6, 4)) * 200).astype(dtype)
    document, arrays = hand.radius_certificate(graph, "linf", inputs)
    assert arrays["inputs"].dtype == dtype and check(save(tmp_path, document, arrays), graph).ok


def test_no_inputs_and_a_constant_network(tmp_path):
    graph = linear(np.zeros((3, 4)), [1.0, 0.0, -1.0])
    for count in (0, 2):
        document, arrays = hand.radius_certificate(graph, "l2", np.zeros((count, 4)))
        assert check(save(tmp_path, document, arrays), graph).ok
    arrays["radii"][:] = np.inf  # no input can ever change it: an infinite radius is true
    assert check(save(tmp_path, *hand.with_digests(document, arrays)), graph).ok


# --- numbers that are a little wrong ----------------------------------------------------------------------------------------------


@norms
def test_each_constant_of_each_step_is_refused_a_millionth_below_the_truth(tmp_path, norm):
    graph, document, arrays = cnn_certificate(norm)
    for i, step in enumerate(document["constants"]["steps"]):
        for j, c in enumerate(step["constants"]):
            path = ("constants", "steps", i, "constants", j)
            message = refuse(tmp_path, graph, hand.replaced(document, path, c * (1 - 1e-6) / (1 + hand.ROOM)), arrays)
            assert step["node"] in message and "stored" in message and "recomputed" in message
        message = refuse(tmp_path, graph, hand.replaced(document, ("constants", "steps", i, "running"), step["running"] * (1 - 1e-6)), arrays)
        assert step["node"] in message


def test_a_radius_is_refused_a_millionth_above_and_the_message_names_the_input(tmp_path):
    graph, document, arrays = cnn_certificate("l2")
    for i in range(len(arrays["radii"])):
        changed = {**arrays, "radii": arrays["radii"].copy()}
        changed["radii"][i] *= 1 + 1e-6
        assert f"input {i}" in refuse(tmp_path, graph, document, changed, "a radius is not proved")


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("labels", lambda a: (a + 1) % 3, "radius is not proved"),
        ("labels", lambda a: a + 3, "out of range"),
        ("labels", lambda a: a - 5, "out of range"),
        ("predictions", lambda a: (a + 1) % 3, "not proved|largest logit"),
        ("method", lambda a: 1 - a, "radius is not proved"),
        ("method", lambda a: a * 0 - 1, "radius is not proved"),
        ("method", lambda a: a + 2, "out of range"),
        ("radii", lambda a: a * np.nan, "negative or NaN"),
        ("radii", lambda a: -a, "negative or NaN"),
        ("radii", lambda a: a * np.inf, "radius is not proved"),
        ("upper", lambda a: np.full_like(a, 1e-9), "attack succeeded"),
        ("inputs", lambda a: a * np.nan, "not finite"),
        ("inputs", lambda a: a * 0, "radius is not proved|largest logit"),
        ("inputs", lambda a: a[:, :, :2], "wrong dtype or shape"),
        ("inputs", lambda a: a.astype(np.int64), "wrong dtype or shape"),
        ("radii", lambda a: a[:-1], "wrong dtype or shape"),
        ("radii", lambda a: a.astype(np.float32), "wrong dtype or shape"),
    ],
)
def test_changed_arrays_are_refused(tmp_path, name, value, match):
    graph, document, arrays = cnn_certificate("l2")
    refuse(tmp_path, graph, document, {**arrays, name: value(arrays[name])}, match)
    if name not in ("radii", "upper"):
        with pytest.raises(CertificateError):  # and with stale digests anyway
            check(save(tmp_path, document, {**arrays, name: value(arrays[name])}), graph)


def test_missing_and_additional_arrays_are_refused(tmp_path):
    graph, document, arrays = cnn_certificate("l2")
    for name in arrays:
        refuse(tmp_path, graph, document, {k: v for k, v in arrays.items() if k != name}, "lacks an array")
    refuse(tmp_path, graph, document, {**arrays, "more": np.zeros(3)}, "does not have")


def test_a_certificate_of_another_model_names_both_digests(tmp_path):
    graph, document, arrays = cnn_certificate("l2")
    other = hand.small_cnn(np.random.default_rng(9))
    with pytest.raises(CertificateError) as error:
        check(save(tmp_path, document, arrays), other)
    assert graph.digest in str(error.value) and other.digest in str(error.value)
    cheat = hand.replaced(document, ("graph", "digest"), other.digest)
    refuse(tmp_path, other, cheat, arrays)


def test_a_radius_that_only_float_margins_allow_is_refused(tmp_path):
    """0.1 + 0.2 - 0.3 is 5.6e-17 in floats and 2.8e-17 of the stored weights: a prover that forgets rounding doubles the radius."""
    graph = linear(np.array([[0.1, 0.2, 0.0], [0.0, 0.0, 0.3]]))
    document, arrays = hand.radius_certificate(graph, "l2", np.ones((1, 3)))
    assert arrays["radii"][0] > 0
    refuse(tmp_path, graph, document, arrays, "a radius is not proved")
    exact = exact_margins(graph["fc"].float64("weight"), np.zeros(2), np.ones(3), 0)
    assert not inside_exact_radius(float(arrays["radii"][0]), graph["fc"].float64("weight"), exact, 0, "l2")


def test_a_tie_has_no_radius(tmp_path):
    graph = linear(np.array([[1.0, 0.0], [0.0, 1.0]]))
    document, arrays = hand.radius_certificate(graph, "l2", np.ones((1, 2)))
    assert check(save(tmp_path, document, arrays), graph).ok and arrays["radii"][0] == 0
    for radius in (5e-324, 1e-300, 1e-17):
        refuse(tmp_path, graph, document, {**arrays, "radii": np.array([radius]), "method": np.array([1], np.int8)}, "a radius is not proved")


# --- steps and head that tell another story ---------------------------------------------------------------------------------------


def _without(document, i):
    steps = document["constants"]["steps"]
    return {**document, "constants": {**document["constants"], "steps": steps[:i] + steps[i + 1 :]}}


def test_steps_must_cover_the_graph_once_and_in_order(tmp_path):
    graph, document, arrays = cnn_certificate("l2")
    steps = document["constants"]["steps"]
    for i in range(len(steps) - 1):  # the softmax alone may lack a step
        refuse(tmp_path, graph, _without(document, i), arrays, "no earlier step|no step bounds")
    assert check(save(tmp_path, _without(document, len(steps) - 1), arrays), graph).ok
    refuse(tmp_path, graph, {**document, "constants": {**document["constants"], "steps": steps[::-1]}}, arrays, "no earlier step")
    refuse(tmp_path, graph, {**document, "constants": {**document["constants"], "steps": [*steps, steps[0]]}}, arrays, "two steps")
    for key, value, match in (("node", "bn", "does not have"), ("op", "dense", "describe its node"), ("inputs", ["relu"], "describe its node|one constant per input")):
        refuse(tmp_path, graph, hand.replaced(document, ("constants", "steps", 0, key), value), arrays, match)


def test_the_rule_of_a_sum_cannot_be_weakened(tmp_path):
    """x + g(x) claimed as a maximum or a root, and a concatenation as a maximum: the checker combines by its own rule."""
    for norm in NORMS:
        graph, document, arrays = cnn_certificate(norm)
        steps = document["constants"]["steps"]
        running = {"input": 1.0, **{s["node"]: s["running"] for s in steps}}
        for name, words in (("sum", ("max", "root")), ("both", ("max",) if norm != "linf" else ())):
            i = next(i for i, s in enumerate(steps) if s["node"] == name)
            parts = [running[x] for x in steps[i]["inputs"]]
            for word in words:
                lower = max(parts) if word == "max" else math.hypot(*parts)
                changed = hand.replaced(hand.replaced(document, ("constants", "steps", i, "combine"), word), ("constants", "steps", i, "running"), lower)
                refuse(tmp_path, graph, changed, arrays, "running constant")


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        (("head", "stripped"), [], "end of the graph"),
        (("head", "stripped"), ["soft", "fc"], "change the prediction"),
        (("head", "stripped"), ["fc"], "end of the graph"),
        (("head", "logits"), "soft", "end of the graph"),
        (("head", "node"), "branch", "last dense"),
        (("head", "backbone"), 0.1, "below the last layer"),
        (("head", "kind"), "global", "radius is not proved"),
        (("constants", "upper"), 0.1, "smaller than what its steps prove"),
        (("claim", "norm"), "linf", "claim"),
        (("claim", "text"), "it is robust", "claim"),
        (("claim", "arithmetic"), "float32", "claim"),
        (("format"), "certify-certificate/2", "format"),
        (("methods",), ["pairwise", "global"], "radius is not proved"),
        (("assumptions",), [], "assumption"),
        (("kind",), "lipschitz", "claim"),
    ],
)
def test_a_head_or_claim_that_does_not_fit_is_refused(tmp_path, path, value, match):
    graph, document, arrays = cnn_certificate("l2")
    path = path if isinstance(path, tuple) else (path,)
    refuse(tmp_path, graph, hand.replaced(document, path, value), arrays, match)


def test_only_what_keeps_the_order_may_be_stripped(tmp_path):
    rng = np.random.default_rng(0)
    for op, attrs, fine in (
        ("activation", {"kind": "tanh"}, True), ("activation", {"kind": "relu"}, False), ("activation", {"kind": "gelu"}, False), ("log_softmax", {"axis": 0}, True),
        ("activation", {"kind": "leaky_relu", "alpha": 0.1}, True), ("activation", {"kind": "leaky_relu", "alpha": -0.1}, False), ("reshape", {"shape": (1, 3)}, True),
        ("group_sort", {"axis": 0, "size": 3, "layout": "consecutive", "descending": False}, False),
    ):  # fmt: skip
        b = GraphBuilder()
        y = b.add("dense", [b.add("input", attrs={"shape": (4,)})], arrays={"weight": rng.normal(size=(3, 4))}, name="fc")
        graph = b.build(b.add(op, [y], attrs, name="end"))
        plain = linear(graph["fc"].arrays["weight"])
        document, arrays = hand.radius_certificate(plain, "l2", rng.normal(size=(3, 4)))
        document["graph"] = {**document["graph"], "digest": graph.digest, "output": graph.output}
        document["assumptions"] = certificate.assumptions(graph)
        for key, old in (("node", "fc"), ("inputs", [graph["fc"].inputs[0]])):
            document = hand.replaced(document, ("constants", "steps", 0, key), old)
        document["head"] = {**document["head"], "stripped": ["end"]}
        if fine:
            assert check(save(tmp_path, document, arrays), graph).ok
        else:
            refuse(tmp_path, graph, document, arrays, "change the prediction")


def test_witnesses_of_the_attack_are_checked_when_they_are_stored(tmp_path):
    graph = linear(np.array([[1.0, 0.0], [0.0, 1.0]]))
    document, arrays = hand.radius_certificate(graph, "l2", np.array([[1.0, 0.0]]))
    arrays["witnesses"], arrays["upper"] = np.array([[0.4, 0.6]]), np.array([0.9])
    assert check(save(tmp_path, *hand.with_digests(document, arrays)), graph).ok
    refuse(tmp_path, graph, document, {**arrays, "witnesses": np.array([[0.6, 0.4]])}, "witness")
    refuse(tmp_path, graph, document, {**arrays, "upper": np.array([0.8])}, "witness")


# --- truth decides: one number changed anywhere -----------------------------------------------------------------------------------


def _claims_hold(graph, document, arrays) -> bool:
    """In rationals, for a linear classifier: every radius is inside the exact one, every prediction right, the constant above the truth."""
    weight, norm = graph["fc"].float64("weight"), document["claim"]["norm"]
    bias = graph["fc"].float64("bias")
    if not document["constants"]["upper"] >= hand.operator_norm(weight, norm) * (1 - 1e-12):
        return False
    for x, label, predicted, radius in zip(*(arrays[k] for k in ("inputs", "labels", "predictions", "radii"))):
        margins = exact_margins(weight, bias, x, int(label))
        if not inside_exact_radius(float(radius), weight, margins, int(label), norm) or max(exact_margins(weight, bias, x, int(predicted))) < 0:
            return False
        if min(exact_margins(weight, bias, x, int(predicted))) < 0:
            return False
    return True


@norms
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=settings.default.max_examples * 3)
def test_one_change_anywhere_is_refused_or_still_true(tmp_path_factory, norm, seed):
    rng = np.random.default_rng(seed)
    graph = linear(rng.normal(size=(3, 4)), rng.normal(size=3))
    document, arrays = hand.radius_certificate(graph, norm, rng.normal(size=(2, 4)), method=str(rng.choice(["pairwise", "global"])))
    if rng.random() < 0.5:
        document = hand.mutated(rng, document)
    else:
        name = str(rng.choice(sorted(arrays)))
        changed = arrays[name].copy()
        place = int(rng.integers(changed.size))
        nudge = rng.choice([0.5, 0.999999, 1 + 1e-12, 1 + 1e-6, 2.0, -1.0, np.nan, np.inf, 1e300])
        with np.errstate(all="ignore"):
            changed.reshape(-1)[place] = changed.reshape(-1)[place] * nudge if changed.dtype.kind == "f" else int(rng.integers(-3, 5))
        document, arrays = hand.with_digests(document, {**arrays, name: changed})
    path = tmp_path_factory.getbasetemp() / f"mutant-{norm}"
    path.write_bytes(hand.as_bytes(document, arrays))
    try:
        check(path, graph)
    except CertificateError:
        return
    assert _claims_hold(graph, document, arrays)


def fuzz(count: int, seed: int, folder) -> int:
    """Check `count` damaged files; how many were accepted (each of them with untouched content). Anything but a CertifyError escapes."""
    rng = np.random.default_rng(seed)
    graph = linear(rng.normal(size=(3, 4)), rng.normal(size=3))
    document, arrays = hand.radius_certificate(graph, "l2", rng.normal(size=(2, 4)))
    whole, accepted, path = hand.as_bytes(document, arrays), 0, folder / "fuzzed"
    for _ in range(count):
        structural = rng.random() < 0.5
        changed = hand.mutated(rng, document)
        for _ in range(int(rng.integers(3))):
            try:
                changed = hand.mutated(rng, changed)
            except (KeyError, IndexError, TypeError, ValueError):
                break
        path.write_bytes(hand.as_bytes(changed, arrays) if structural else hand.damaged(rng, whole))
        try:
            check(path, graph)
        except CertifyError:
            continue
        accepted += 1
        read, stored = certificate.read(path)
        assert _claims_hold(graph, read, stored)
    return accepted


def test_damaged_files_give_an_error_or_a_true_answer(tmp_path):
    assert fuzz(400, 0, tmp_path) < 200


@pytest.mark.slow
def test_a_hundred_thousand_damaged_files(tmp_path):
    fuzz(100_000, 1, tmp_path)


# --- hostile files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("graph", "input_shape"), [1 << 40]),
        (("graph", "input_shape"), [1 << 20] * 8),
        (("constants", "steps", 0, "evidence"), {"verify": {"by": "grid", "claim": "any_size", "period": [8192, 8192], "twist": [0, 0]}}),
        (("constants", "steps", 0, "evidence"), {"verify": {"by": "grid", "claim": "any_size", "period": [10**9, 1], "twist": [0, 0]}}),
        (("constants", "steps", 0, "evidence"), {"verify": {"by": "unfolding", "subset": [10**6]}}),
        (("constants", "steps", 0, "evidence"), {"verify": {"by": "unfolding"}}),
        (("constants", "steps", 0, "constants", 0), 10**400),
        (("constants", "steps", 0, "inputs"), ["x"] * 100_000),
    ],
)
def test_giant_sizes_are_refused_in_little_time_and_memory(tmp_path, path, value):
    graph, document, arrays = cnn_certificate("l2")
    document = hand.replaced(hand.replaced(document, ("constants", "steps", 0, "constants", 0), 1e-3), path, value)
    tracemalloc.start()
    try:
        refuse(tmp_path, graph, document, arrays)
        assert tracemalloc.get_traced_memory()[1] < 1 << 28
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "{}", "[]", "null", "3", '"x"', "NaN", "{", "", '{"format": "certify-certificate/1"}', "\ud800", '{"format": 1e999}', "9" * 5000]
)
def test_documents_that_are_no_certificate(tmp_path, text):
    graph = linear(np.eye(2))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("certificate.json", text.encode("utf-8", "surrogatepass"))
    (tmp_path / "c").write_bytes(buffer.getvalue())
    with pytest.raises(CertificateError):
        check(tmp_path / "c", graph)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="no such certificate"):
        check(tmp_path / "absent", linear(np.eye(2)))
