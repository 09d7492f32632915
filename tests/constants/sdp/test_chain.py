"""The chain of a network against two actual runs of it: states, pre-activations, blocks and output move as its matrices say."""

from __future__ import annotations

import numpy as np
import pytest
from constants.sdp.truth_of_chain import block_excess, block_name, chain_or_none, times, truth_of, walked
from hypothesis import given
from hypothesis import strategies as st
from strategies.networks import random_graph
from strategies.semidefinite import NETS, net

from certify.constants.sdp.chain import chain_of
from certify.constants.sdp.primitives import parts_of
from certify.core.errors import HypothesisError, UnsupportedLayerError
from certify.core.graph import Graph, GraphBuilder


def agree(graph: Graph, seed: int) -> bool:
    """Every layer of the chain, its states and its reduced version against the increments; False where there is no chain."""
    chain = chain_or_none(graph)
    if chain is None:
        return False
    t = truth_of(graph, seed)
    s, room = t.d[t.parts.input], t.room * (1 + sum(np.abs(layer.weight.dense().mid).sum() + np.abs(layer.inject.dense().mid).sum() for layer in chain.layers))
    blocks = []
    for layer, name, state in zip(chain.layers, chain.blocks, chain.states, strict=True):
        z, phi = t.d[block_name(t.parts, name).before], t.d[name]
        assert np.abs(times(layer.weight, s) - z).max(initial=0.0) <= room
        assert block_excess(layer, z, phi) <= room
        blocks.append(phi)
        after = times(layer.inject, phi) + (0.0 if layer.keep is None else times(layer.keep, s))
        s = t.stacked(state)
        assert np.abs(after - s).max(initial=0.0) <= room
    output = t.d[t.parts.output]
    assert np.abs(times(chain.last, s) - output).max(initial=0.0) <= room
    reduced_agrees(chain, t, blocks, output, room)
    return True


def reduced_agrees(chain, t, blocks, output, room) -> None:
    """Without known slopes and dead rows the same live increments give the same output."""
    small, alive = chain.reduced()
    assert len(alive) == len(chain.layers) and len(small.layers) == sum(bool(live.any()) for live in alive) == len(small.blocks)
    assert all((layer.half > 0).any() for layer in small.layers)
    phi = [b[:, layer.spread(live)[1]] for b, layer, live in zip(blocks, chain.layers, alive) if live.any()]
    assert np.abs(walked(small, t.d[t.parts.input], phi) - output).max(initial=0.0) <= room
    s = t.d[t.parts.input]
    kept = [(layer, live, name) for layer, live, name in zip(chain.layers, alive, chain.blocks) if live.any()]
    for layer, p, (whole, live, name) in zip(small.layers, phi, kept, strict=True):
        z = t.d[block_name(t.parts, name).before][:, whole.spread(live)[0]]
        assert np.abs(times(layer.weight, s) - z).max(initial=0.0) <= room
        assert block_excess(layer, z, p) <= room
        s = times(layer.inject, p) + (0.0 if layer.keep is None else times(layer.keep, s))


@given(st.integers(0, 2**32 - 1))
def test_random_networks_move_as_their_chain_says(seed):
    rng = np.random.default_rng(seed)
    for _ in range(3):
        agree(random_graph(rng, scale=1.0), seed)


@pytest.mark.parametrize("name", sorted(NETS))
def test_every_kind_of_block_moves_as_its_chain_says(name):
    assert agree(net(name), 1)


def test_most_random_networks_have_a_chain():
    rng = np.random.default_rng(0)
    assert sum(chain_or_none(random_graph(rng)) is not None for _ in range(40)) >= 25


class B:
    """A short hand for graphs."""

    def __init__(self, *shape: int, seed: int = 0):
        self.b, self.rng = GraphBuilder(), np.random.default_rng(seed)
        self.x = self.b.add("input", attrs={"shape": shape}, name="x")

    def dense(self, x, n, w=None):
        return self.b.add("dense", [x], arrays={"weight": self.rng.normal(size=(n, self.b[x].shape[-1])) if w is None else w})

    def relu(self, x, name=None):
        return self.b.add("activation", [x], {"kind": "relu"}, name=name)

    def __call__(self, op, *inputs, name=None, arrays=None, **attrs):
        return self.b.add(op, list(inputs), attrs, arrays, name=name)


def test_the_state_of_a_residual_net_is_one_tensor_wide():
    """After a block the sum is computable from the activation and the state before it, and the sum alone is enough."""
    g = B(6)
    x = g.x
    for _ in range(4):
        x = g("add", x, g.dense(g.relu(g.dense(x, 9)), 6))
    chain = chain_of(g.b.build(g.dense(x, 3)))
    assert [layer.inject.shape for layer in chain.layers[:-1]] == [(6, 9)] * 3 and all(len(state) == 1 for state in chain.states)
    assert chain.layers[-1].inject.shape[0] == 3  # the output itself is smaller than the last sum
    assert all(layer.keep is not None for layer in chain.layers)


def test_a_wide_branch_inside_a_residual_block_is_not_kept():
    g = B(4)
    narrow = g.dense(g.relu(g.dense(g.x, 30)), 4)
    chain = chain_of(g.b.build(g.dense(g.relu(g("add", g.x, narrow)), 4)))
    assert [layer.inject.shape[0] for layer in chain.layers] == [4, 4]


def test_concatenations_keep_what_is_still_needed():
    g = B(5)
    a = g.relu(g.dense(g.x, 3))
    both = g("concat", a, g.x, axis=0)
    b = g.relu(g.dense(both, 4))
    graph = g.b.build(g.dense(g("concat", b, both, axis=0), 9))
    chain = chain_of(graph)
    assert chain.layers[0].inject.shape[0] == 8  # a and x; not b, not more
    assert chain.layers[1].inject.shape[0] == 9  # the output, smaller than b, a and x
    assert agree(graph, 0)


def test_long_skips_and_shared_tensors():
    g = B(3)
    a = g.relu(g.dense(g.x, 4))
    b = g.relu(g.dense(a, 4))
    c = g.relu(g.dense(b, 4))
    last = g("add", g("sub", c, a), g("maximum", b, a))
    graph = g.b.build(g.dense(g("concat", last, g.x, axis=0), 12))
    assert agree(graph, 2)
    assert chain_of(graph).layers[1].inject.shape[0] <= 4 + 4 + 3


def test_sums_of_a_tensor_with_itself_slices_and_copies():
    g = B(4)
    a = g.relu(g.dense(g.x, 4))
    twice = g("add", a, a)
    gone = g("sub", a, a)
    part = g("slice", twice, axis=0, start=1, stop=4, step=2)
    wide = g("expand", g("reshape", part, shape=(1, 2)), shape=(3, 2))
    graph = g.b.build(g.dense(g("concat", g("reshape", wide, shape=(6,)), gone, axis=0), 3))
    assert agree(graph, 0)
    chain = chain_of(g.b.build(g.relu(gone)))  # the second activation never moves
    small, alive = chain.reduced()
    assert not alive[-1].any() and not small.last.mid.any()


def test_known_slopes_become_part_of_the_maps():
    """PReLU with slope 1 is the identity, leaky with slope 1 too: only the other entries stay, and what follows an all-linear layer is one matrix."""
    g = B(3)
    a = g("activation", g.dense(g.x, 4), kind="prelu", arrays={"slope": np.array([1.0, 0.5, 1.0, -1.0])})
    b = g("activation", g.dense(a, 3), kind="prelu", arrays={"slope": np.ones(3)})
    graph = g.b.build(g.relu(g.dense(b, 2)))
    chain = chain_of(graph)
    small, alive = chain.reduced()
    assert [a.tolist() for a in alive] == [[False, True, False, True], [False] * 3, [True, True]] and [len(layer.lo) for layer in small.layers] == [2, 2]
    assert agree(graph, 0)


def test_dead_rows_are_dropped_and_stay_dead_behind_them():
    g = B(3)
    w = g.rng.normal(size=(4, 3))
    w[1] = 0.0
    a = g.relu(g.dense(g.x, 4, w))
    only = np.zeros((2, 4))
    only[0, 1], only[1, 0] = 5.0, 1.0  # entry 0 reads the dead neuron alone
    graph = g.b.build(g.relu(g.dense(a, 2, only)))
    _, alive = chain_of(graph).reduced()
    assert [a.tolist() for a in alive] == [[True, False, True, True], [False, True]]
    assert agree(graph, 0)


def test_rows_of_the_output():
    graph = net("residual")
    chain = chain_of(graph)
    pair = chain.towards(np.array([[1.0, 0.0, -1.0]]))
    exact = chain.last.mid[0] - chain.last.mid[2]
    assert pair.last.shape[0] == 1 and (np.abs(pair.last.dense().mid[0] - exact) <= pair.last.radius()[0] + 1e-300).all()


def test_affine_networks_are_refused_by_name():
    g = B(3)
    with pytest.raises(HypothesisError, match="affine"):
        chain_of(g.b.build(g.dense(g.x, 2)))
    g = B(3)
    g.relu(g.x)
    with pytest.raises(HypothesisError, match="affine"):
        chain_of(g.b.build(g.dense(g.x, 2)))


def _rewritten(kind: str, g: B) -> str:
    if kind == "maximum":
        return g("maximum", g.x, g("scale", g.x, arrays={"value": np.array([-1.0, 2.0, 0.5, 3.0])}), name="m")
    if kind == "reduce":
        return g("reduce", g.x, kind="max", axes=(0,), keepdims=True, name="m")
    return g("group_sort", g.x, axis=0, size=4 if kind == "sort4" else 2, layout="consecutive", descending=False, name="m")


TAKEN = [(kind, s) for kind, suffixes in {"maximum": ["difference", "abs"], "sort2": ["difference", "abs"], "sort4": ["centred", "rest"],
         "reduce": ["difference", "abs", "0", "0/difference", "0/abs"]}.items() for s in suffixes]  # fmt: skip


@pytest.mark.parametrize(("kind", "suffix"), TAKEN)
@pytest.mark.parametrize("first", [True, False])
def test_names_of_rewritten_parts_are_refused(kind, suffix, first):
    """Found in review: a user's node of that name took the place of a part, and the bound was about another network."""
    g = B(4)
    other = g("activation", g.x, kind="tanh", name=f"m/{suffix}") if first else None
    m = _rewritten(kind, g)
    other = other or g("activation", g.x, kind="tanh", name=f"m/{suffix}")
    graph = g.b.build(g("concat", m, other, axis=0))
    with pytest.raises(UnsupportedLayerError, match="name"):
        parts_of(graph)


def test_operators_without_a_constant_are_refused():
    g = B(3)
    with pytest.raises(UnsupportedLayerError):
        chain_of(g.b.build(g("multiply", g.x, g.relu(g.x))))
