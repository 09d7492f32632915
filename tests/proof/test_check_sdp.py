"""Semidefinite evidence through the checker: what the prover made passes for every kind of block, what was changed is refused, truth lies below."""

from __future__ import annotations

import numpy as np
import pytest
from strategies.semidefinite import NETS, best_matrix, by_layers, folded, net, one_matrix, quotients

from certify.core.errors import CertificateError
from certify.proof.check_sdp import check_proofs

names = pytest.mark.parametrize("name", NETS)


def verdict(graph, proofs, norm="l2", tensor=None):
    graph = folded(graph)
    document = {"proofs": [entry for entry, _ in proofs]}
    return check_proofs(graph, tensor or graph.output, norm, document, {k: a for _, arrays in proofs for k, a in arrays.items()}, [])


def refused(graph, *proofs, match="not proved", **given):
    with pytest.raises(CertificateError, match=match):
        verdict(graph, proofs, **given)


@names
def test_evidence_of_every_kind_of_block_passes_and_covers_witnessed_quotients(name):
    graph = net(name)
    proofs = [one_matrix(graph), one_matrix(graph, 1, (0, 1)), by_layers(graph, 2)]
    proved = verdict(graph, proofs)
    found = quotients(graph, np.random.default_rng(1))
    assert proved.whole == min(proofs[0][0]["bound"], proofs[2][0]["bound"])
    assert np.linalg.norm(found, axis=1).max() <= proved.whole
    differences = np.abs(found[:, :, None] - found[:, None, :]).max(axis=0)
    assert (differences <= proved.pairs).all() and (proved.pairs == proved.pairs.T).all() and (np.diag(proved.pairs) == 0).all()
    assert proved.pairs[0, 1] <= min(proofs[1][0]["bound"], proofs[2][1]["proof2.pairs"][0, 1], np.sqrt(2) * proved.whole * (1 + 1e-12))


@names
def test_bounds_a_millionth_below_are_refused(name):
    graph = net(name)
    for entry, arrays in (one_matrix(graph), one_matrix(graph, 0, (0, 1)), by_layers(graph)):
        refused(graph, ({**entry, "bound": entry["bound"] * (1 - 1e-6)}, arrays))
    entry, arrays = by_layers(graph)
    pairs = arrays["proof0.pairs"].copy()
    pairs[0, 1] = pairs[1, 0] = pairs[0, 1] * (1 - 1e-6)
    refused(graph, (entry, {**arrays, "proof0.pairs": pairs}), match=r"pairs\[0, 1\]")


@pytest.mark.parametrize("name", ["relu", "gelu", "groupsort", "pool"])
def test_changed_multipliers_are_refused(name):
    graph = net(name)
    entry, arrays = best_matrix(graph)
    assert verdict(graph, [(entry, arrays)]).whole == entry["bound"]
    tau = arrays["proof0.tau"]
    for changed in (tau * 0, tau * 1.3, tau / 1.3, -tau, tau * np.nan, tau + np.inf, tau[:-1], np.append(tau, 1.0), np.roll(tau, 1)):
        refused(graph, (entry, {"proof0.tau": changed}))
    entry, arrays = by_layers(graph)
    u = arrays["proof0.u"]
    for changed in (u * 0, u / 3, -u, u * np.nan, u[:-1], np.append(u, 1.0)):
        refused(graph, (entry, {**arrays, "proof0.u": changed}), match="not proved|one finite number")


def test_changed_exponents_states_and_deltas_are_refused():
    for name in ("relu", "residual", "concat"):
        graph = net(name)
        entry, arrays = by_layers(graph)
        for i, k in enumerate(entry["exponents"][:-1]):
            for step in (-1, 1):
                refused(graph, ({**entry, "exponents": [*entry["exponents"][:i], k + step, *entry["exponents"][i + 1 :]]}, arrays))
        states = entry["states"]
        for i, state in enumerate(states):
            for j in range(len(state)):
                less = [*states[:i], state[:j] + state[j + 1 :], *states[i + 1 :]]
                refused(graph, ({**entry, "states": less}, arrays), match="does not follow|not proved|or none")
            refused(graph, ({**entry, "states": [*states[:i], [*state, "nothing"], *states[i + 1 :]]}, arrays), match="does not have")
            refused(graph, ({**entry, "states": [*states[:i], [*state, state[0]], *states[i + 1 :]]}, arrays), match="twice")
        for key in ("states", "exponents", "deltas"):
            refused(graph, ({**entry, key: entry[key][:-1]}, arrays), match="blocks of this network")
        refused(graph, ({**entry, "deltas": [0.5] * len(entry["deltas"])}, arrays))


def test_larger_states_are_as_good():
    """A state may keep more than it must: here the input all the way."""
    graph = net("relu")
    entry, arrays = by_layers(graph)
    found = verdict(graph, [({**entry, "states": [[*s, "x"] for s in entry["states"]], "bound": entry["bound"] * 1.001, "pairs": None}, arrays)])
    assert found.whole == entry["bound"] * 1.001


def test_evidence_for_another_model_tensor_or_norm_is_refused():
    graph, other = net("relu"), net("relu", 1)
    proofs = [one_matrix(graph), by_layers(graph)]
    for proof in proofs:
        refused(other, proof)
        refused(graph, proof, match="not proved|affine", tensor="fc_x")
        refused(graph, proof, match="l2", norm="linf")
    refused(graph, ({**proofs[0][0], "rows": [0, 3]}, proofs[0][1]), match="does not have")
    assert verdict(graph, [], norm="linf") is None
