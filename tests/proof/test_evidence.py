"""Certificates with semidefinite evidence as files: written, read, checked end to end; old files stay valid, hostile ones give an error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from strategies import certificates as hand
from strategies.classifiers import mlp
from strategies.semidefinite import by_layers, net, one_matrix

from certify.core.errors import CertificateError, CertifyError, InputError
from certify.core.record import write_record
from certify.proof import certificate
from certify.proof.check import check


def lipschitz(graph, proofs=None, upper=None):
    steps = hand.steps_of(graph, "l2")
    proofs = [one_matrix(graph), by_layers(graph, 1)] if proofs is None else proofs
    upper = min(entry["bound"] for entry, _ in proofs) if upper is None else upper
    return certificate.lipschitz_document(graph, "l2", steps, upper, method="sdp", proofs=proofs, created="2026-01-01T00:00:00")


def radius(graph, inputs, kind="both", proofs=None, factor=1 - 1e-9):
    """Radii of method "sdp" from float margins over the pair constants of the evidence, a billionth below."""
    document, arrays = hand.radius_certificate(graph, "l2", inputs)
    proofs = [one_matrix(graph), one_matrix(graph, 1, (0, 1)), by_layers(graph, 2)] if proofs is None else proofs
    pairs = np.minimum(by_layers(graph)[1]["proof0.pairs"], math.sqrt(2) * proofs[0][0]["bound"])
    pairs[0, 1] = pairs[1, 0] = min(pairs[0, 1], proofs[1][0]["bound"])
    z = graph(inputs)
    y = z.argmax(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = (z[np.arange(len(z)), y][:, None] - z) / pairs[y]
    quotient[np.arange(len(z)), y] = np.inf
    radii = quotient.min(axis=1) * factor
    end = {**document["head"], "kind": kind}
    return certificate.radius_document(
        graph, "l2", document["constants"]["steps"], end, inputs=inputs, labels=y, predictions=y, radii=radii, method=np.full(len(y), 2), methods=["global", "pairwise", "sdp"],
        proofs=proofs, created="2026-01-01T00:00:00",
    )  # fmt: skip


def refuse(tmp_path, graph, document, arrays, match=None):
    with pytest.raises(CertificateError, match=match) as error:
        check(write_record(tmp_path / "c", *hand.with_digests(document, arrays)), graph)
    return str(error.value)


def classifier(seed=0, kind="relu"):
    rng = np.random.default_rng(seed)
    graph = mlp(rng, [4, 6, 5, 3], kind)
    return graph, rng.normal(size=(12, 4))


def test_a_lipschitz_certificate_states_the_least_of_its_steps_and_proofs(tmp_path):
    graph = classifier()[0]
    document, arrays = lipschitz(graph)
    report = check(certificate.write(tmp_path / "c", document, arrays), graph)
    assert report.ok and {"proof 0", "proof 1"} <= {s.name for s in report.steps} and "for all inputs" in report.claim.lower()
    upper = document["constants"]["upper"]
    assert upper < document["constants"]["steps"][-1]["running"] and next(s for s in report.steps if s.name == "upper").recomputed == upper
    refuse(tmp_path, graph, hand.replaced(document, ("constants", "upper"), upper * (1 - 1e-6)), arrays, "smaller than what its steps")
    less = {k: v for k, v in document.items() if k != "proofs"}
    refuse(tmp_path, graph, less, {}, "smaller than what its steps")
    refuse(tmp_path, graph, less, arrays, "does not have")


def test_documents_without_proofs_are_as_before():
    graph = classifier()[0]
    document, arrays = certificate.lipschitz_document(graph, "l2", hand.steps_of(graph, "l2"), 1e6)
    assert "proofs" not in document and not arrays and certificate.METHODS[:2] == ("global", "pairwise")


@pytest.mark.parametrize("kind", ["both", "pairwise"])
def test_radii_by_the_method_sdp_pass_and_a_millionth_more_is_refused(tmp_path, kind):
    graph, inputs = classifier()
    document, arrays = radius(graph, inputs, kind)
    assert check(certificate.write(tmp_path / "c", document, arrays), graph).ok
    assert document["constants"]["upper"] == min(e["bound"] for e in document["proofs"] if e["bound"] is not None and e.get("rows", "all") == "all")
    for i in range(len(inputs)):
        changed = arrays["radii"].copy()
        changed[i] *= 1 + 1e-6
        assert f"input {i}" in refuse(tmp_path, graph, document, {**arrays, "radii": changed}, "a radius is not proved")
    hand_document, hand_arrays = hand.radius_certificate(graph, "l2", inputs)
    assert arrays["radii"].mean() > hand_arrays["radii"].mean()  # what the evidence is for


def test_the_method_sdp_needs_its_evidence(tmp_path):
    graph, inputs = classifier()
    document, arrays = radius(graph, inputs)
    bare = {k: a for k, a in arrays.items() if not k.startswith("proof")}
    refuse(tmp_path, graph, {k: v for k, v in document.items() if k != "proofs"}, bare, "smaller than|not proved")
    steps = document["constants"]["steps"]
    free = hand.replaced({k: v for k, v in document.items() if k != "proofs"}, ("constants", "upper"), steps[-1]["running"])
    assert "none that this head and its evidence allow" in refuse(tmp_path, graph, free, bare, "a radius is not proved")


@pytest.mark.parametrize("method", ["local", "curvature"])
def test_methods_per_input_are_refused_without_evidence(tmp_path, method):
    graph, inputs = classifier()
    document, arrays = radius(graph, inputs)
    refuse(tmp_path, graph, {**document, "methods": ["global", "pairwise", method]}, arrays)
    refuse(tmp_path, graph, document, {**arrays, f"{method}_more": np.zeros(3)}, "does not have")
    refuse(tmp_path, graph, {**document, "methods": ["global", "pairwise", method]}, {**arrays, f"{method}_more": np.full(3, np.nan)}, "not finite")


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ((0, "kind"), "magic", "unknown value"),
        ((0, "rows"), [0], "neither all nor"),
        ((0, "rows"), [1, 1], "neither all nor"),
        ((0, "rows"), [0, 99], "does not have"),
        ((0, "rows"), "every", "wrong type"),
        ((0, "rows"), [0, -1], "in range"),
        ((0, "bound"), -1.0, "negative or not finite"),
        ((0, "bound"), None, "not a number"),
        ((0, "bound"), 0.0, "not proved"),
        ((0, "tau"), "proof2.u", "share an array"),
        ((0, "tau"), "inputs", "wrong dtype or shape|another meaning"),
        ((0, "tau"), "nothing", "lacks an array"),
        ((1, "u"), "radii", "another meaning"),
        ((1, "pairs"), "proof0.tau", "wrong dtype or shape|share"),
        ((1, "exponents"), [1.5, 0], "integer in range"),
        ((1, "exponents"), [10**9, 0], "integer in range"),
        ((1, "deltas"), [math.pi, -1.0], "negative or not finite"),
        ((1, "states"), [["x"], "x"], "wrong type"),
        ((1, "states"), [[1], [2]], "wrong type"),
    ],
)
def test_entries_of_wrong_types_and_ranges_are_refused(tmp_path, path, value, match):
    graph, inputs = classifier()
    document, arrays = radius(graph, inputs, proofs=None)
    document["proofs"].insert(1, document["proofs"].pop(2))
    refuse(tmp_path, graph, hand.replaced(document, ("proofs", *path), value), arrays, match)


def test_arrays_of_wrong_shapes_and_values_are_refused(tmp_path):
    graph = classifier()[0]
    document, arrays = lipschitz(graph)
    for name, value, match in (
        ("proof0.tau", lambda a: a[:-1], "not proved"),
        ("proof0.tau", lambda a: a[None], "wrong dtype or shape"),
        ("proof0.tau", lambda a: a.astype(np.float32), "wrong dtype or shape"),
        ("proof0.tau", lambda a: a * np.nan, "negative or not finite"),
        ("proof0.tau", lambda a: -a, "negative or not finite"),
        ("proof1.u", lambda a: np.append(a, 1.0), "one finite number"),
        ("proof1.pairs", lambda a: a[:2, :2], "wrong shape"),
        ("proof1.pairs", lambda a: a + np.eye(3), "zero diagonal"),
        ("proof1.pairs", lambda a: np.triu(a), "symmetric"),
        ("proof1.pairs", lambda a: a * np.inf, "finite"),
    ):
        with np.errstate(all="ignore"):
            refuse(tmp_path, graph, document, {**arrays, name: value(arrays[name])}, match)
        refuse(tmp_path, graph, document, {k: a for k, a in arrays.items() if k != name}, "lacks an array")
    with pytest.raises(InputError, match="no certificate was written"):
        certificate.write(tmp_path / "d", document, {**arrays, "proof0.tau": -arrays["proof0.tau"]})


def test_evidence_about_the_logits_not_the_stripped_output(tmp_path):
    """A softmax follows the logits: the evidence is about the logits."""
    rng = np.random.default_rng(1)
    whole = mlp(rng, [4, 6, 5, 3], "relu", tail="softmax")
    inside = type(whole)(whole.nodes[:-1], whole.nodes[-2].name)
    proofs = [one_matrix(inside), one_matrix(inside, 1, (0, 1)), by_layers(inside, 2)]
    document, arrays = radius(inside, rng.normal(size=(4, 4)), proofs=proofs)
    document = {**document, "graph": {**document["graph"], "digest": whole.digest, "output": whole.output}, "head": {**document["head"], "stripped": ["tail"]}}
    document = {**document, "assumptions": certificate.assumptions(whole)}
    assert check(write_record(tmp_path / "c", *hand.with_digests(document, arrays)), whole).ok


def test_changed_documents_never_prove_a_smaller_constant(tmp_path):
    """Random damage to the proofs: refused, or the same claim still stands on what is left."""
    graph = net("relu")
    document, arrays = lipschitz(graph)
    rng, upper = np.random.default_rng(0), document["constants"]["upper"]
    passed = 0
    for _ in range(60):
        changed = {**document, "proofs": hand.mutated(rng, {"proofs": document["proofs"]}).get("proofs", [])}
        try:
            report = check(write_record(tmp_path / "c", *hand.with_digests(changed, arrays)), graph)
        except CertifyError:
            continue
        passed += 1
        assert next(s for s in report.steps if s.name == "upper").recomputed <= upper
    assert passed < 40
