"""`certify.lipschitz`: both ends, the table, the file, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies.networks import graphs
from torch import nn

import certify
from certify.constants.certificate import LipschitzCertificate
from certify.constants.lower import Witness
from certify.constants.public import graph_constant
from certify.core.decimals import decimal_up
from certify.core.errors import HypothesisError, InputError, SoundnessError, UnsupportedLayerError
from certify.core.graph import GraphBuilder
from certify.core.record import read_record
from certify.core.regions import Ball

NORMS = ("l2", "linf", "l1")
norms = pytest.mark.parametrize("norm", NORMS)


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).eval()


@norms
def test_both_ends_table_and_file(norm, tmp_path):
    certificate = certify.lipschitz(small_model(), (4,), norm=norm, effort="fast")
    assert 0 < certificate.lower <= certificate.upper < 100 and certificate.norm == norm and certificate.method
    rows = certificate.table()
    assert [row.layer for row in rows] == [s.node for s in certificate.steps] and rows[-1].running >= certificate.upper
    text = str(rows)
    assert all(word in text for word in ("layer", "rule", "method", "constant", "running constant")) and len(text.splitlines()) == len(rows) + 2
    assert certificate.papers() and decimal_up(certificate.upper, 8) in str(certificate)
    path = certificate.save(tmp_path / "constant.cert")
    assert path == tmp_path / "constant.cert"
    document, arrays = read_record(path)
    assert document["kind"] == "lipschitz" and document["constants"]["upper"] >= certificate.upper and document["graph"]["digest"] == certificate.digest
    assert np.array_equal(arrays["witness_a"], certificate.witness.first)


def test_the_default_needs_only_model_and_shape():
    certificate = certify.lipschitz(small_model(), [4])
    assert certificate.norm == "l2" and 0.3 * certificate.upper < certificate.lower


def test_affine_networks_take_the_closed_form_and_it_is_tight():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 4))
    truth = np.linalg.norm((model[1].weight.double() @ model[0].weight.double()).detach().numpy(), 2)
    auto, product = (certify.lipschitz(model, (5,), method=m, effort="fast") for m in ("auto", "product"))
    assert truth <= auto.upper <= truth * (1 + 1e-6) < product.upper and auto.method == "closed_form" and product.method == "product"
    assert auto.lower >= truth * (1 - 1e-6)
    with pytest.raises(HypothesisError, match="affine"):
        certify.lipschitz(small_model(), (4,), method="closed_form")


@given(graph=graphs(length=4))
@settings(max_examples=settings.default.max_examples // 4 + 1)
def test_random_graphs_have_ordered_ends(graph):
    certificate = graph_constant(graph, "l2", effort="fast")
    assert 0 <= certificate.lower <= certificate.upper


def test_semidefinite_and_regional_constants():
    model, ball = small_model(), Ball(np.full(4, 0.3), 0.1)
    product, sdp = (certify.lipschitz(model, (4,), method=m) for m in ("product", "sdp"))
    assert product.lower <= sdp.upper <= product.upper and sdp.method == "sdp" and sdp.proof is not None
    for method in ("auto", "sdp", "interval"):
        near = certify.lipschitz(model, (4,), region=ball, method=method)
        assert 0 < near.lower <= near.upper <= product.upper and near.region is ball
    for norm in ("linf", "l1"):
        near = certify.lipschitz(model, (4,), norm=norm, region=certify.Box(np.zeros(4), np.ones(4)))
        assert 0 < near.lower <= near.upper <= certify.lipschitz(model, (4,), norm=norm).upper


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "interval"},
        {"method": "product", "region": Ball(np.zeros(4), 0.1)},
        {"method": "sdp", "norm": "linf"},
        {"method": "sdp", "norm": "linf", "region": Ball(np.zeros(4), 0.1)},
    ],
)
def test_methods_that_do_not_apply_say_why(arguments):
    with pytest.raises((HypothesisError, InputError)) as caught:
        certify.lipschitz(small_model(), (4,), **arguments)
    assert "try" in str(caught.value) or "expected" in str(caught.value)


def test_a_region_of_another_kind_is_refused():
    with pytest.raises(InputError, match="Ball or a Box"):
        certify.lipschitz(small_model(), (4,), region=(0, 1))


@pytest.mark.parametrize("arguments", [{"norm": "l3"}, {"method": "magic"}, {"effort": "huge"}])
def test_unknown_words_are_refused(arguments):
    with pytest.raises(InputError, match="unknown"):
        certify.lipschitz(small_model(), (4,), **arguments)


def test_attention_like_products_are_refused_by_name():
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x + 1)

    with pytest.raises(UnsupportedLayerError, match="no finite constant"):
        certify.lipschitz(Gate(), (3,))


def test_training_mode_is_refused():
    with pytest.raises(InputError):
        certify.lipschitz(small_model().train(), (4,))


def test_contradicting_ends_raise_and_name_both():
    b = GraphBuilder()
    graph = b.build(b.add("input", attrs={"shape": (2,)}))
    with pytest.raises(SoundnessError) as caught:
        LipschitzCertificate(2.0, 1.0, "l2", "product", (), graph, Witness(2.0))
    assert "2.0" in str(caught.value) and "1.0" in str(caught.value)
    for bad in ((float("nan"), 1.0), (0.0, float("nan"))):
        with pytest.raises(SoundnessError):
            LipschitzCertificate(*bad, "l2", "product", (), graph, Witness(0.0))


def test_a_shared_module_and_a_residual_are_counted():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3, bias=False)
            self.fc.weight.data = torch.diag(torch.tensor([2.0, 1.0, 1.0]))

        def forward(self, x):
            y = self.fc(torch.relu(self.fc(x)))
            return y + y

    certificate = certify.lipschitz(Twice(), (3,), effort="fast")
    assert 8.0 <= certificate.upper <= 8.0 * (1 + 1e-6) and certificate.lower >= 7.9


def test_progress_counts_to_its_total():
    seen = []
    certify.lipschitz(small_model(), (4,), effort="fast", progress=lambda done, total, message: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == len(seen) - 1
