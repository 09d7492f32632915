"""Every NormMethod, found by itself, encloses the dense truth wherever it says it applies; mutants of the classic mistakes do not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from soundness.layer_sweep import sweep
from strategies.layers import Layer, conv_layer, layers, seeded
from truth.norms import encloses, true_norm

from certify.core.errors import HypothesisError, SoundnessError
from certify.linear.base import LinearMap
from certify.linear.compose import Composition
from certify.linear.conv import ConvMap
from certify.linear.dense import DenseMap
from certify.norms.base import Ends, NormBound, NormMethod, methods
from certify.norms.fft import FFT, grid_ends
from certify.norms.polyphase import circular_plan, convolution_of
from certify.norms.search import top_vector

NORMS = ("l2", "linf", "l1")


@pytest.mark.parametrize("name", sorted(methods()))
@given(layer=layers(80))
def test_encloses_the_truth(name: str, layer: Layer):
    method = methods()[name]
    for norm in NORMS:
        reason = method.supports(layer.map, norm)
        if reason:
            with pytest.raises(HypothesisError):
                method.enclose(layer.map, norm)
            continue
        bound = method.enclose(layer.map, norm)
        truth = true_norm(layer, norm)
        assert encloses(bound.lower, bound.upper, truth), (name, norm, bound, truth)
        assert ("verify" in bound.evidence) == math.isfinite(bound.upper)
        assert bound.norm == norm and bound.seconds >= 0


def test_every_method_says_where_it_comes_from():
    assert len(methods()) >= 12
    for name, method in methods().items():
        assert method.name == name and repr(method).startswith(type(method).__name__)
        assert method.cite or name == "auto"
        assert type(method).__doc__ and "Cost" in type(method).__doc__ or name == "auto"
        assert method.supports(DenseMap(np.ones((1, 1))), "l2") == "" or name in ("any_size", "copied_padding", "fantastic_four", "fft", "hybrid", "product", "twisted")
        with pytest.raises(AttributeError):  # frozen
            method.name = "other"


def test_each_method_is_exercised():
    """The strategy reaches every method but `product` (compositions have their own test), in the first 80 seeds."""
    reached = {name for seed in range(80) for name, method in methods().items() if not method.supports(seeded(seed, 40).map, "l2")}
    assert reached == set(methods()) - {"product"}


@given(layer=layers(60))
def test_compositions(layer: Layer):
    rng = np.random.default_rng(layer.map.input_size)
    rows = layer.map.output_size
    second = DenseMap(rng.standard_normal((4, layer.map.output_shape[-1])), layer.map.output_shape[:-1])
    m = Composition.of([layer.map, second])
    scaled, e = layer.map.scaled()
    truth = math.ldexp(float(np.linalg.norm(second.dense() @ scaled.dense(), 2)), e) if rows else 0.0
    for method in methods().values():
        if not method.supports(m, "l2"):
            bound = method.enclose(m, "l2")
            assert encloses(bound.lower, bound.upper, truth), (method, bound, truth)


@given(layer=layers(50))
def test_perturbed_weights_are_covered(layer: Layer):
    """With a large stated perturbation, worst signs included: the enclosure holds for the extreme weights, both ways."""
    rho = 0.125
    m = _perturbed(layer.map, rho)
    rng = np.random.default_rng(0)
    for factor in (1 + rho, 1 - rho, 1 + rho * rng.choice([-1.0, 1.0], layer.weight.shape)):
        moved = Layer(layer.op, layer.weight * factor, layer.spatial, layer.stride, layer.dilation, layer.padding, layer.groups, layer.mode, layer.output_padding, layer.lead)
        truth = {norm: true_norm(moved, norm) for norm in NORMS}
        for method in methods().values():
            for norm in NORMS:
                if not method.supports(m, norm):
                    bound = method.enclose(m, norm)
                    assert encloses(bound.lower, bound.upper, truth[norm]), (method, norm, bound, truth)


def _perturbed(m: LinearMap, rho: float) -> LinearMap:
    from dataclasses import replace

    return replace(m, perturbation=rho)


# --- exact rational truth: rank one, where the square of the norm is a sum of squares of floats -------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_against_exact_rationals(seed: int):
    """Row vectors of awkward floats: lower^2 <= sum w_i^2 <= upper^2 in rationals, no tolerance at all."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(1 + seed) * 10.0 ** rng.integers(-8, 9)
    exact = sum(Fraction(float(x)) ** 2 for x in w)
    as_conv = conv_layer(w.reshape(1, -1, 1), n=1).map
    for m in (DenseMap(w[None]), DenseMap(w[:, None]), as_conv):
        for method in methods().values():
            if not method.supports(m, "l2"):
                bound = method.enclose(m, "l2")
                assert Fraction(bound.lower) ** 2 <= exact, (method, bound)
                assert bound.upper == math.inf or Fraction(bound.upper) ** 2 >= exact, (method, bound)
    total = sum(abs(Fraction(float(x))) for x in w)
    for m, norm in ((DenseMap(w[None]), "linf"), (DenseMap(w[:, None]), "l1")):
        bound = methods()["induced"].enclose(m, norm)
        assert Fraction(bound.lower) <= total <= Fraction(bound.upper)


# --- a bound is an enclosure or an error ---------------------------------------------------------------------------------------------


def test_contradiction_raises():
    a, b = NormBound(2.0, 3.0, "l2", "one"), NormBound(0.0, 1.0, "l2", "two")
    for first, second in ((a, b), (b, a)):
        with pytest.raises(SoundnessError, match="one and two"):
            first & second
    with pytest.raises(SoundnessError, match="two different norms"):
        a & NormBound(0.0, 9.0, "linf", "three")
    for lower, upper in ((math.nan, 1.0), (0.0, math.nan), (2.0, 1.0), (-1.0, 1.0), (math.inf, math.inf)):
        with pytest.raises(SoundnessError):
            NormBound(lower, upper, "l2", "broken")


def test_intersection_keeps_the_better_ends_and_their_evidence():
    low = NormBound(1.0, 9.0, "l2", "low", 1.0, {"verify": {"by": "frobenius"}}, ("h",), ("c",))
    high = NormBound(0.5, 2.0, "l2", "high", 2.0, {"verify": {"by": "dense"}})
    for both in (low & high, high & low):
        assert (both.lower, both.upper, both.method, both.seconds) == (1.0, 2.0, "low+high", 3.0)
        assert both.evidence["verify"] == {"by": "dense"} and both.hypotheses == ("h",) and both.cite == ("c",)


# --- mutants: the battery must catch the classic mistakes --------------------------------------------------------------------------------


@dataclass(frozen=True)
class GroupProduct(NormMethod):
    """Mutant: multiplies the norms of the groups."""

    name = "mutant: group product"
    cite = ()

    def _refuses(self, map, norm):
        return "" if len(map.blocks()) > 1 else "no groups"

    def _ends(self, map, norm):
        return Ends(0.0, math.prod(float(np.linalg.norm(b.dense(), 2)) for b in map.blocks()) * (1 + 1e-9))


@dataclass(frozen=True)
class CircularForZeros(NormMethod):
    """Mutant: the circular formula for zero padding."""

    name = "mutant: circular"
    cite = ()

    def _refuses(self, map, norm):
        conv = convolution_of(map)
        return "" if conv is not None and conv.mode == "zeros" and all(a.inputs % a.stride == 0 for a in conv.axes) else "not zero padded"

    def _ends(self, map, norm):
        conv = convolution_of(map)
        return Ends(0.0, grid_ends(conv, [circular_plan(a) for a in conv.axes], "circular", (0,) * len(conv.axes)).upper)


@dataclass(frozen=True)
class PowerAsBound(NormMethod):
    """Mutant: the value of a power iteration as an upper end."""

    name = "mutant: power iteration"
    cite = ()

    def _refuses(self, map, norm):
        return ""

    def _ends(self, map, norm):
        v, _, _ = top_vector(map, 3)
        size = float(np.linalg.norm(v))
        return Ends(0.0, float(np.linalg.norm(map.apply(v[None]))) / size if size else 0.0)


@dataclass(frozen=True)
class ZeroPaddingForCopies(NormMethod):
    """Mutant: a zero-padding bound of the same kernel for copying paddings."""

    name = "mutant: zero padding"
    cite = ()

    def _refuses(self, map, norm):
        conv = convolution_of(map)
        return "" if conv is not None and conv.mode != "zeros" else "copies nothing"

    def _ends(self, map, norm):
        from dataclasses import replace

        conv = convolution_of(map)
        return Ends(0.0, FFT().enclose(ConvMap(conv.weight, tuple(replace(a, mode="zeros") for a in conv.axes), conv.groups)).upper)


@dataclass(frozen=True)
class PeriodTooShort(NormMethod):
    """Mutant: the embedding with a period one below the minimum of Theorem 1."""

    name = "mutant: period"
    cite = ()

    def _refuses(self, map, norm):
        return FFT().supports(map) or ("" if convolution_of(map).mode == "zeros" else "circular")

    def _ends(self, map, norm):
        from dataclasses import replace

        from certify.norms.polyphase import embedding_plan

        plans = [embedding_plan(a) for a in convolution_of(map).axes]
        plans = [None if p is None else replace(p, period=max(1, p.period - 1)) for p in plans]
        return Ends(0.0, grid_ends(convolution_of(map), plans, "embedding", None).upper)


@pytest.mark.parametrize("mutant", [GroupProduct(), CircularForZeros(), PowerAsBound(), ZeroPaddingForCopies(), PeriodTooShort()], ids=lambda m: m.name)
def test_mutants_are_caught(mutant: NormMethod):
    bad, checked, _ = sweep(150, 0, {mutant.name: mutant}, 40, report=lambda line: None)
    assert bad > 0 and checked > 10


def test_the_methods_that_the_mutants_break_are_clean_on_the_same_layers():
    chosen = {name: methods()[name] for name in ("fft", "copied_padding", "power_iteration", "frobenius")}
    bad, checked, _ = sweep(150, 0, chosen, 40)
    assert bad == 0 and checked > 150


@pytest.mark.parametrize("dropped", [True, False])
def test_dropped_rounding_is_caught(dropped: bool):
    """A Frobenius norm rounded to nearest instead of up lies below the exact rational value for some vectors."""
    rng = np.random.default_rng(1)
    below = 0
    for _ in range(60):
        w = rng.standard_normal((1, 7))
        upper = math.sqrt(float((w * w).sum())) if dropped else methods()["frobenius"].enclose(DenseMap(w)).upper
        below += Fraction(upper) ** 2 < sum(Fraction(float(x)) ** 2 for x in w.ravel())
    assert (below > 0) == dropped
