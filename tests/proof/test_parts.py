"""The checker's reading of a network against what really happens between two runs, and against the names that the evidence uses."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from strategies.certificates import matrix_of as truth
from strategies.increments import blocks_hold, increments, linear_part_holds
from strategies.semidefinite import CONV, NETS, Net, folded, net

from certify.constants.sdp.chain import chain_of
from certify.core.errors import CertificateError
from certify.core.fold import fold_affine
from certify.core.graph import GraphBuilder
from certify.core.midrad import full
from certify.core.rounding import U
from certify.proof import parts, unroll
from certify.proof.parts import read

names = pytest.mark.parametrize("name", NETS)


@names
@pytest.mark.parametrize("seed", range(2))
def test_linear_parts_and_blocks_hold_for_true_increments(name, seed):
    graph = folded(net(name, seed))
    reading = read(graph, graph.output)
    d = increments(graph, reading, np.random.default_rng(seed))
    assert linear_part_holds(graph, reading, d) and blocks_hold(reading, d)


@names
def test_blocks_names_order_and_groups_are_those_of_the_evidence(name):
    graph = folded(net(name))
    reading, chain = read(graph, graph.output), chain_of(graph)
    assert [n for n, _ in reading.blocks] == list(chain.blocks)
    assert [b.groups for _, b in reading.blocks] == [layer.groups for layer in chain.layers]
    for (_, block), layer in zip(reading.blocks, chain.layers):
        np.testing.assert_allclose(block.lo, layer.lo, rtol=1e-14)
        np.testing.assert_allclose(block.hi, layer.hi, rtol=1e-14)


def whole(n: Net, *shape: int) -> np.ndarray:
    """Weights whose sums float64 adds exactly."""
    return n.rng.integers(-64, 64, shape) / 64


def convolved(n: Net, weight: np.ndarray, **attrs) -> str:
    return n.op("conv", n.x, arrays={"weight": weight, "bias": np.ones(len(weight))}, **{**CONV, **attrs})


def transposed(n: Net) -> str:
    arrays = {"weight": whole(n, 4, 3, 4), "bias": np.ones(6)}
    return n.op("conv_transpose", n.x, arrays=arrays, stride=(2,), padding=((1, 1),), output_padding=(1,), dilation=(1,), groups=2)


LINE = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,)}
AFFINE = {
    "dense on rows": ((3, 4), lambda n: n.op("dense", n.x, arrays={"weight": whole(n, 5, 4), "bias": np.ones(5)})),
    "grouped": ((4, 5), lambda n: convolved(n, whole(n, 6, 2, 3), stride=(2,), padding=((2, 1),), dilation=(1,), groups=2)),
    "dilated": ((2, 7, 5), lambda n: convolved(n, whole(n, 3, 2, 2, 3), stride=(2, 1), dilation=(3, 2), padding=((1, 0), (2, 2)))),
    **{mode: ((2, 4, 3), lambda n, mode=mode: convolved(n, whole(n, 3, 2, 3, 3), mode=mode)) for mode in ("circular", "reflect", "replicate")},
    "twice": ((2, 2, 2), lambda n: convolved(n, whole(n, 3, 2, 3, 3), mode="circular")),
    "transposed": ((4, 3), transposed),
    "pool": ((2, 5, 5), lambda n: n.op("avg_pool", n.x, arrays={"divisor": np.full((3, 3), 4.0)}, kernel=(2, 2), stride=(2, 2), padding=((1, 0), (0, 1)))),
    "pad": ((2, 4), lambda n: n.op("pad", n.x, pads=((0, 0), (2, 1)), mode="constant", value=3.0)),
    "reflected": ((2, 4), lambda n: n.op("pad", n.x, pads=((0, 0), (2, 1)), mode="reflect", value=0.0)),
    "cut": ((2, 6), lambda n: n.op("slice", n.x, axis=1, start=1, stop=6, step=2)),
    "gathered": ((2, 3), lambda n: n.op("gather", n.x, axis=1, arrays={"index": np.array([2, 0, 2, 1])})),
    "turned": ((2, 3, 4), lambda n: n.op("transpose", n.x, perm=(2, 0, 1))),
    "expanded": ((3, 1), lambda n: n.op("expand", n.x, shape=(2, 3, 4))),
    "larger": ((2, 3), lambda n: n.op("upsample", n.x, factors=(2,))),
    "scaled": ((2, 3), lambda n: n.op("scale", n.x, arrays={"value": np.array([[0.5], [-3.0]])})),
    "halved": ((2, 3), lambda n: n.op("divide", n.x, arrays={"value": np.array([2.0, -4.0, 0.5])})),
    "summed": ((2, 3, 4), lambda n: n.op("reduce", n.x, kind="sum", axes=(0, 2), keepdims=False)),
    "mean": ((2, 3, 4), lambda n: n.op("reduce", n.x, kind="mean", axes=(0, 2), keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", AFFINE)
def test_unrolled_matrices_are_exact_where_the_arithmetic_is(name, monkeypatch):
    for large in (False, True):
        if large:
            monkeypatch.setattr(unroll, "_DENSE", 0)  # the sparse way
            monkeypatch.setattr(unroll, "_CHUNK", 40)
        shape, make = AFFINE[name]
        n = Net(np.random.default_rng(0), *shape)
        graph = n.build(make(n))
        found = unroll.matrix_of(graph[graph.output], shape)
        np.testing.assert_array_equal(full(found.mid), truth(graph, graph.output))
        assert (found.rad is None) == (name != "twice" and name not in ("reflect", "replicate"))


def test_quotients_and_double_reads_have_radii_that_hold():
    """1/3, means of 6 and taps that meet in one pixel, against rationals."""
    n = Net(np.random.default_rng(0), 2, 3)
    graph = n.build(n.op("divide", n.x, arrays={"value": np.array([3.0, -7.0, 0.1])}))
    found = unroll.matrix_of(graph[graph.output], (2, 3))
    with mpmath.workdps(50):
        exact = [1 / mpmath.mpf(v) for v in (3.0, -7.0, 0.1)]
        for i in range(6):
            assert 0 < abs(exact[i % 3] - mpmath.mpf(found.mid[i, i])) <= mpmath.mpf(found.radius()[i, i])
    n = Net(np.random.default_rng(1), 1, 2)
    weight = n.rng.normal(size=(1, 1, 5))
    graph = n.build(convolved(n, weight, **{**LINE, "padding": ((2, 2),)}, mode="circular"))
    found = unroll.matrix_of(graph[graph.output], (1, 2))
    with mpmath.workdps(50):
        for o in range(2):
            for i in range(2):
                exact = mpmath.fsum(mpmath.mpf(weight[0, 0, t]) for t in range(5) if (o - 2 + t) % 2 == i)
                assert abs(exact - mpmath.mpf(found.mid[o, i])) <= mpmath.mpf(found.radius()[o, i])


@pytest.mark.parametrize("kind", ["dense", "conv", "alone"])
def test_folded_and_single_batch_norms_enclose_the_exact_factors(kind):
    """Against gamma / sqrt(var + eps) in 50 digits; and the radius is needed: the exact entries are not floats."""
    n = Net(np.random.default_rng(2), *((3,) if kind == "dense" else (2, 3)))
    before = {"dense": lambda: n.dense(n.x, 4), "conv": lambda: convolved(n, n.rng.normal(size=(4, 2, 2)), **LINE), "alone": lambda: n.x}[kind]()
    graph = n.build(n.norm(before))
    bn, plain = graph[graph.output], truth(graph, before) if kind != "alone" else np.eye(6)
    done = fold_affine(graph).pruned()
    found = unroll.matrix_of(done[done.output], done.input_shape)
    assert (kind == "alone") == (done[done.output].op == "batch_norm")
    missed = 0
    with mpmath.workdps(50):
        factors = [mpmath.mpf(g) / mpmath.sqrt(mpmath.mpf(v) + mpmath.mpf(bn.attrs["eps"])) for g, v in zip(bn.float64("weight"), bn.float64("var"))]
        for i, j in np.ndindex(*plain.shape):
            exact = mpmath.mpf(plain[i, j]) * factors[i * len(factors) // len(plain)]
            error = abs(exact - mpmath.mpf(found.mid[i, j]))
            missed += error > 0
            assert error <= mpmath.mpf(found.radius()[i, j]) <= 6 * U * abs(exact) * (1 + 1e-9)
    assert missed


def test_operators_without_multipliers_are_refused_by_name():
    n = Net(np.random.default_rng(0), 4)
    graph = n.build(n.op("multiply", n.x, n.x))
    with pytest.raises(CertificateError, match="no multipliers") as error:
        read(graph, graph.output)
    assert "multiply" in str(error.value)


def test_a_name_that_occurs_twice_is_refused():
    """A node called like a rewritten tensor would take its place."""
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": (3,)}, name="x")
    first = b.add("maximum", [x, x], name="m")
    graph = b.build(b.add("add", [first, b.add("activation", [x], {"kind": "relu"}, name="m/abs")], name="sum"))
    with pytest.raises(CertificateError, match="one name"):
        read(graph, graph.output)


def test_a_tensor_inside_is_read_without_what_follows():
    graph = folded(net("relu"))
    reading = read(graph, graph.nodes[2].name)
    assert len(reading.blocks) == 1 and reading.output == list(reading.parts)[-1] == graph.nodes[2].name


def test_sizes_beyond_the_limits_are_refused_before_memory_is_taken(monkeypatch):
    monkeypatch.setattr(unroll, "MOST_ENTRIES", 10)
    graph = folded(net("relu"))
    with pytest.raises(CertificateError, match="too large"):
        parts.read(graph, graph.output)
