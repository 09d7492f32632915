"""Forged semidefinite evidence that claims less than the truth is refused, whatever its multipliers: 300 random nets of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from strategies.semidefinite import NETS, by_layers, folded, net, one_matrix, quotients

from certify.core.errors import CertificateError
from certify.proof.parts import read
from certify.proof.sdp_inequality import Inequality
from certify.proof.sdp_layers import carried, output_gram, whole_below


@pytest.mark.parametrize("seed", range(20))
def test_a_bound_below_a_witnessed_quotient_is_refused_whatever_the_multipliers(seed):
    """The honest evidence and scaled ones, claiming a little less than what sampled pairs reach."""
    rng = np.random.default_rng(seed)
    for name in rng.choice(list(NETS), 16, replace=False):
        graph = folded(net(name, seed))
        reading, found = read(graph, graph.output), quotients(graph, rng, 60)
        reached = float(np.linalg.norm(found, axis=1).max()) * (1 - 1e-9)
        if not reached:
            continue  # a dead network
        entry, arrays = one_matrix(graph, tight=False)
        tau, matrix = arrays["proof0.tau"] * (reached / entry["bound"]) ** 2, Inequality(reading)
        assert matrix.holds(entry["bound"], arrays["proof0.tau"])
        for factor in (1.0, 10.0 ** rng.uniform(-2, 2), rng.uniform(0.3, 3, tau.shape), 10.0 ** rng.uniform(-3, 3, tau.shape)):
            assert not matrix.holds(reached, tau * factor)
        gap = float(np.abs(found[:, 0] - found[:, 1]).max()) * (1 - 1e-9)
        assert not matrix.holds(gap, tau * (gap / reached) ** 2, (0, 1))
        entry, arrays = by_layers(graph, pairs=False)
        for factor in (1.0, rng.uniform(0.5, 2, arrays["proof0.u"].shape)):
            try:
                metric = carried(reading, arrays["proof0.u"] * factor, entry["exponents"], entry["deltas"], entry["states"])
            except CertificateError:
                continue
            assert not whole_below(metric, output_gram(metric), reached)
