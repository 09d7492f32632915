"""The document: written atomically, read back equal, and every field checked before it is used."""

from __future__ import annotations

import json
import math
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import certificates as hand
from strategies.classifiers import linear, mlp

from certify.core.errors import CertificateError, InputError
from certify.proof import certificate
from certify.proof.validate import validate


def example():
    graph = linear(np.arange(12.0).reshape(3, 4) - 5)
    return graph, *hand.radius_certificate(graph, "l2", np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32))


def test_what_is_written_is_read_back_and_the_same_bytes_come_again(tmp_path):
    _, document, arrays = example()
    path = certificate.write(tmp_path / "certificate.any-name", document, arrays)
    assert path == tmp_path / "certificate.any-name" and [p.name for p in tmp_path.iterdir()] == [path.name]
    again, stored = certificate.read(path)
    assert again == json.loads(json.dumps(document))
    assert stored.keys() == arrays.keys() and all((stored[k] == arrays[k]).all() and stored[k].dtype == arrays[k].dtype for k in arrays)
    first = path.read_bytes()
    certificate.write(path, document, arrays)
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as archive:
        text = json.loads(archive.read("certificate.json"))
    assert text["claim"]["arithmetic"] == "real" and "float32" in " ".join(text["claim"]["not_proved"]) and {"certify", "numpy", "python"} <= text["versions"].keys()


@given(st.lists(st.floats(min_value=0, allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_numbers_survive_to_the_last_bit(tmp_path_factory, numbers):
    graph, document, arrays = example()
    step = {**document["constants"]["steps"][0], "constants": numbers, "inputs": ["x"] * len(numbers)}
    document["constants"] = {**document["constants"], "steps": [step]}
    path = certificate.write(tmp_path_factory.getbasetemp() / "bits", document, arrays)
    assert certificate.read(path)[0]["constants"]["steps"][0]["constants"] == numbers


def test_libm_is_assumed_only_where_it_is_used():
    rng = np.random.default_rng(0)
    assert certificate.LIBM not in certificate.assumptions(mlp(rng, [2, 3, 2], kind="relu"))
    assert certificate.LIBM in certificate.assumptions(mlp(rng, [2, 3, 2], kind="gelu"))
    assert certificate.LIBM in certificate.assumptions(mlp(rng, [2, 3, 2], tail="softmax"))


def test_evidence_with_infinite_numbers_can_be_written(tmp_path):
    """A method that proved nothing reports inf; JSON has no such number."""
    graph, document, arrays = example()
    step = certificate.step("fc", "dense", "linear", "svd", ["x"], [100.0], "sum", 100.0, {"tried": [{"upper": math.inf, "lower": np.float64(1.0)}], "verify": {"by": "dense"}})
    document["constants"] = {**document["constants"], "steps": [step]}
    assert certificate.read(certificate.write(tmp_path / "c", document, arrays))[0]["constants"]["steps"][0]["evidence"]["tried"] == [{"upper": "inf", "lower": 1.0}]


@pytest.mark.parametrize("bad", [math.inf, math.nan, -1.0])
def test_what_proves_nothing_is_not_written(tmp_path, bad):
    graph, document, arrays = example()
    for path in (("constants", "upper"), ("constants", "steps", 0, "running"), ("constants", "steps", 0, "constants", 0), ("head", "backbone")):
        with pytest.raises(InputError, match="no certificate was written"):
            certificate.write(tmp_path / "c", hand.replaced(document, path, bad), arrays)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    _, document, arrays = example()
    with pytest.raises(InputError, match="could not be written"):
        certificate.write(tmp_path / "absent" / "c", document, arrays)


def _paths(value, path=()):
    yield path
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(entry, (*path, key))


def test_every_field_of_another_type_and_every_missing_field_is_refused():
    _, document, arrays = example()
    document = json.loads(json.dumps(document))
    for path in list(_paths(document))[1:]:
        if "evidence" in path[:-1] or path[0] == "versions" and len(path) > 1:
            continue
        for value in (object, [object], {"a": object}, -1e-3, True):
            if path[-1] == "evidence" and isinstance(value, dict):
                continue  # its content is free
            with pytest.raises(CertificateError):
                validate(hand.replaced(document, path, value), arrays)
        if isinstance(path[-1], str):
            inside = broken = json.loads(json.dumps(document))
            for key in path[:-1]:
                inside = inside[key]
            del inside[path[-1]]
            with pytest.raises(CertificateError):
                validate(broken, arrays)


def test_lower_above_upper_and_a_lower_end_in_a_radius_certificate_are_refused():
    graph, document, arrays = example()
    with pytest.raises(CertificateError, match="no lower end"):
        validate(hand.replaced(document, ("constants", "lower"), 0.5), arrays)
    document, arrays = hand.lipschitz_certificate(graph, "l2")
    with pytest.raises(CertificateError, match="inverted"):
        validate(hand.replaced(document, ("constants", "lower"), 1e9), arrays)
    with pytest.raises(CertificateError, match="lacks an array"):
        validate(*hand.with_digests(document, {"witness_a": np.zeros(4)}))
