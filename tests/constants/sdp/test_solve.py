"""From a chain to a proved bound: above witnesses, below the product, refused by name where there is nothing to prove; budgets choose the method."""

from __future__ import annotations

import numpy as np
import pytest
from constants.sdp.small_chains import chain, floor, random_chain, scalar
from constants.sdp.truth_of_chain import chain_or_none, truth_of
from hypothesis import given
from hypothesis import strategies as st
from strategies.networks import random_graph
from strategies.semidefinite import NETS, net

from certify.constants.public import graph_constant
from certify.constants.sdp import inequality, layers
from certify.constants.sdp import solve as solving
from certify.constants.sdp.chain import chain_of
from certify.constants.sdp.solve import Layered, layered, plan_of, solve
from certify.core.errors import HypothesisError

DEEP = chain([scalar(np.random.default_rng(0).normal(size=(8, 8)), np.eye(8)) for _ in range(3)], np.eye(8))


def compared(graph, seed: int) -> str | None:
    """The kind of the proof, after all comparisons; None where there is none."""
    c = chain_or_none(graph)
    if c is None:
        return None
    try:
        found = solve(c)
    except HypothesisError:
        return None
    t = truth_of(graph, seed, 40)
    assert (np.linalg.norm(t.d[t.parts.output], axis=1) - t.room <= found.bound * t.inputs).all()
    if found.kind == "inequality":
        product = graph_constant(graph, "l2", "product", lower=False).upper
        if not any(node.op in ("max_pool", "reduce") for node in graph.nodes):  # a tree of maxima can cost more than the constant of the pool
            assert found.bound <= product * (1 + 3e-6) + 1e-100
        assert [tau.shape for tau in found.taus] == [(layer.groups,) for layer in c.layers] and all((tau >= 0).all() for tau in found.taus)
        small, alive = c.reduced()
        live = [tau[a] for tau, a in zip(found.taus, alive) if a.any()]
        assert inequality.holds(small, found.bound, live)  # what is stored is what proves it
        assert all(np.isfinite(tau).all() for tau in found.taus)  # what `reduced` drops has a value too, that the checker may look at
    return found.kind


@given(st.integers(0, 2**32 - 1))
def test_bounds_lie_between_quotients_and_the_product(seed):
    compared(random_graph(np.random.default_rng(seed), scale=1.0), seed)


@pytest.mark.parametrize("name", sorted(NETS))
def test_every_kind_of_block(name):
    assert compared(net(name), 2) == "inequality"


def test_random_chains():
    rng = np.random.default_rng(8)
    for _ in range(15):
        c = random_chain(rng, 2)
        try:
            found = solve(c)
        except HypothesisError:
            assert not c.reduced()[0].layers or floor(c, rng) < 1e-9
            continue
        assert found.bound >= floor(c, rng) * (1 - 1e-9) and found.value <= found.bound * (1 + 1e-12)


def test_proofs_layer_by_layer():
    for effort, most in (("fast", 3.0), ("balanced", 1.02)):
        found, best = layered(DEEP, effort), solve(DEEP)
        assert isinstance(found, Layered) and best.bound * (1 - 1e-6) <= found.bound <= best.bound * most
        assert layers.whole_bound(found.metric, DEEP.last) <= found.bound
        state = np.eye(8)
        for layer in DEEP.layers:
            state = layer.weight.mid @ state
        assert found.bound >= np.linalg.norm(state, 2)


def test_the_same_call_gives_the_same_answer():
    a, b = solve(DEEP), solve(DEEP)
    assert a.bound == b.bound and all((x == y).all() for x, y in zip(a.taus, b.taus))
    a, b = layered(DEEP), layered(DEEP)
    assert a.bound == b.bound and (a.metric.matrix == b.metric.matrix).all()


def test_budgets_and_sizes_choose_the_method(monkeypatch):
    assert solve(DEEP).kind == "inequality"
    with monkeypatch.context() as m:
        m.setitem(solving.BUDGETS, "balanced", 1e-3)
        found = solve(DEEP)
        assert found.kind == "layers" and "gradient method" in found.notes[0] and found.steps <= 1
    with monkeypatch.context() as m:
        m.setattr(solving, "LARGEST_INEQUALITY", 10)
        found = solve(DEEP)
        assert found.kind == "layers" and "too many" in found.notes[0]
    with monkeypatch.context() as m:
        m.setattr(solving, "_interior", lambda *a: None)
        found = solve(DEEP)
        assert found.kind == "layers" and "no verified answer" in found.notes[0]


def test_what_the_search_claims_is_not_believed(monkeypatch):
    """Multipliers and values that are wrong end in a true bound or a refusal."""
    truth = floor(DEEP, np.random.default_rng(0))
    real = solving.InteriorPoint.solve

    def lying(factor, rho):
        def solve_(self, tau, start, *args, **kwargs):
            found = real(self, tau, start, *args, **kwargs)
            return type(found)(found.rho * rho, found.tau * factor, 0.0, 1)

        return solve_

    for factor, rho in ((1.0, 0.5), (0.0, 1.0), (0.1, 1.0), (10.0, 1e-3), (np.nan, 1.0), (1.0, np.nan), (-1.0, 1.0), (1.0, 0.0)):
        monkeypatch.setattr(solving.InteriorPoint, "solve", lying(factor, rho))
        with np.errstate(all="ignore"):
            assert solve(DEEP, "fast").bound >= truth * (1 - 1e-9), (factor, rho)


def test_nothing_to_search_is_refused():
    with pytest.raises(HypothesisError, match="linear"):
        solve(chain([scalar(np.eye(3), np.eye(3), 0.5, 0.5)], np.eye(3)))


def test_memory_is_estimated_first(monkeypatch):
    monkeypatch.setattr(solving, "MEMORY", 1 << 12)
    monkeypatch.setattr(solving, "best_closed_form", lambda *a, **k: pytest.fail("allocated"))
    for call in (solve, layered, plan_of):
        with pytest.raises(HypothesisError, match="memory"):
            call(DEEP)


def test_library_errors_become_refusals(monkeypatch):
    for error in (np.linalg.LinAlgError("x"), ValueError("x"), FloatingPointError("x"), OverflowError("x"), ZeroDivisionError("x")):

        def broken(*args, error=error, **kwargs):
            raise error

        monkeypatch.setattr(solving, "best_closed_form", broken)
        for call in (solve, layered):
            with pytest.raises(HypothesisError, match="floats"):
                call(DEEP, "fast")


def test_states_and_exponents_belong_to_the_chain():
    for name in ("residual", "concat", "prelu"):
        c = chain_of(net(name))
        found = layered(c, "fast")
        assert found.states == c.states and len(found.proved.exponents) == len(found.proved.us) == len(found.proved.deltas) == len(c.layers)
        assert [u.shape for u in found.proved.us] == [(layer.groups,) for layer in c.layers]
        assert sum(found.proved.exponents) == -found.metric.exponent
