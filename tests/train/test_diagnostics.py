"""Diagnostics against dense matrices: the layer applied to the identity in float64, its singular values, exact constants of linear maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies.training import clusters, dense, noisy, plan, seeded
from torch import nn

from certify.core.errors import InputError
from certify.train.diagnostics import empirical_lipschitz, layer_estimates, plot, spectra, stable_rank
from certify.train.diagnostics_spectra import Spectrum
from certify.train.loop import fit


def matrix(layer: nn.Module, shape: tuple[int, ...]) -> np.ndarray:
    """The layer without its bias as a dense float64 matrix: applied to every unit vector."""
    with torch.no_grad():
        units = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
        twin = layer.double()
        out = twin(units) - twin(torch.zeros_like(units))
        layer.float()
    return out.flatten(1).T.numpy()


CASES = [
    (lambda: nn.Linear(5, 3), (5,)),
    (lambda: nn.Conv1d(2, 3, 3, padding=1), (2, 7)),
    (lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), (2, 6, 6)),
    (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 5, 4)),
    (lambda: nn.Conv2d(3, 2, 2, stride=2, padding=0, padding_mode="circular"), (3, 6, 4)),
    (lambda: nn.Conv2d(4, 4, 3, padding=2, dilation=2, padding_mode="circular", groups=2), (4, 6, 6)),
    (lambda: nn.Conv2d(2, 2, 5, padding=2, padding_mode="circular"), (2, 3, 3)),
    (lambda: nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1), (3, 4, 4)),
    (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 4, 4)),
    (lambda: nn.utils.parametrizations.orthogonal(nn.Linear(6, 4)), (6,)),
]


@pytest.mark.parametrize(("build", "shape"), CASES)
def test_spectra_are_the_singular_values_of_the_layer(build, shape):
    layer = seeded(build)
    found = next(iter(spectra(layer, shape).values()))
    truth = np.linalg.svd(matrix(layer, shape), compute_uv=False)
    assert found.values.shape == truth.shape and np.allclose(found.values, truth, atol=1e-6)
    assert (found.values[:-1] >= found.values[1:]).all()
    assert found.stable_rank == pytest.approx((truth**2).sum() / truth[0] ** 2, rel=1e-5)


def test_a_layer_too_large_to_assemble_is_shown_with_circular_padding(monkeypatch):
    """The values are those of the wrapped layer, exactly, and say so; where they cannot be, the layer is refused by name."""
    monkeypatch.setattr("certify.train.diagnostics_spectra._DENSE", 100)
    layer = seeded(lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False))
    found = spectra(nn.Sequential(layer), (2, 8, 8))["0"]
    wrapped = nn.Conv2d(2, 3, 3, stride=2, padding=1, padding_mode="circular", bias=False)
    wrapped.weight = layer.weight
    assert found.method == "circular" and np.allclose(found.values, np.linalg.svd(matrix(wrapped, (2, 8, 8)), compute_uv=False), atol=1e-6)
    for shape in ((2, 7, 8), (20,)):
        with pytest.raises(InputError, match="too large") as error:
            spectra(nn.Sequential(nn.Identity(), layer if len(shape) == 3 else nn.Linear(20, 20)), shape)
        assert error.value.where == "1"


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 50))
def test_stable_rank_lies_between_one_and_the_rank(rows, columns, seed):
    layer = seeded(lambda: nn.Linear(columns, rows), seed)
    found = stable_rank(layer)["Linear"]
    weight = layer.weight.detach().double()
    assert found == pytest.approx((weight.square().sum() / torch.linalg.matrix_norm(weight, 2) ** 2).item(), rel=1e-9)
    assert 1 - 1e-9 <= found <= min(rows, columns) + 1e-9


def test_stable_rank_of_operators_and_of_nothing():
    layer = seeded(lambda: nn.Conv2d(2, 3, 3, padding=1, bias=False))
    truth = np.linalg.svd(matrix(layer, (2, 5, 5)), compute_uv=False)
    assert stable_rank(layer, (2, 5, 5), of="operator")["Conv2d"] == pytest.approx((truth**2).sum() / truth[0] ** 2, rel=1e-5)
    reshaped = np.linalg.svd(layer.weight.detach().flatten(1).double().numpy(), compute_uv=False)
    assert stable_rank(layer)["Conv2d"] == pytest.approx((reshaped**2).sum() / reshaped[0] ** 2, rel=1e-6)
    with torch.no_grad():
        layer.weight.zero_()
    assert stable_rank(layer) == {"Conv2d": 0.0} and layer_estimates(layer, (2, 5, 5)) == {"Conv2d": {"norm": 0.0, "stable_rank": 0.0}}
    for wrong in ({"of": "operator"}, {"of": "kernel"}):
        with pytest.raises(InputError):
            stable_rank(layer, **wrong)


def test_estimates_of_layers_are_near_the_truth_and_touch_nothing():
    model = seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)))
    modes, state = [part.training for part in model.modules()], torch.get_rng_state()
    found = layer_estimates(model, (1, 4, 4))
    for name, shape in (("0", (1, 4, 4)), ("3", (64,))):
        truth = np.linalg.norm(matrix(model[int(name)], shape), 2)
        assert 0.9 * truth <= found[name]["norm"] <= truth * (1 + 1e-5)
    assert found["3"]["stable_rank"] == pytest.approx(stable_rank(model)["3"], rel=1e-5)
    assert modes == [part.training for part in model.modules()] and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("linf", np.inf), ("l1", 1)])
def test_a_linear_map_is_measured_exactly(norm, order):
    layer = seeded(lambda: nn.Linear(4, 3)).double()
    weight = layer.weight.detach().numpy()
    found = empirical_lipschitz(layer, np.random.default_rng(0).normal(size=(30, 4)), norm, pairs=200, interpolates=50, jacobians=5)
    truth = np.linalg.norm(weight, order)
    assert np.allclose(found.jacobians, truth) and len(found.jacobians) == 5 and found.lower == pytest.approx(truth)
    assert 0 < found.pairs.min() and found.pairs.max() <= truth * (1 + 1e-9) and found.interpolates.max() <= truth * (1 + 1e-6)
    assert set(found.quantiles([0.5])) == {"pairs", "interpolates", "jacobians"}


def test_no_observation_is_above_the_proved_constant():
    run = fit(dense(), clusters(), plan(epochs=2))
    found = empirical_lipschitz(run.model, clusters()[1][0], pairs=300, interpolates=300, jacobians=21)
    assert 0 < found.lower <= run.result.lipschitz.upper * (1 + 1e-4)


def test_it_does_not_depend_on_the_mode_or_the_process():
    model, points = noisy(), clusters()[1][0]
    modes, state = [part.training for part in model.modules()], torch.get_rng_state()
    first, second = (empirical_lipschitz(model, points, pairs=20, interpolates=20, jacobians=3, seed=4) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first.arrays().values(), second.arrays().values(), strict=True))
    assert modes == [part.training for part in model.modules()] and torch.equal(state, torch.get_rng_state())
    nothing = empirical_lipschitz(model, points, pairs=0, interpolates=0, jacobians=0)
    assert nothing.lower == 0.0 and nothing.quantiles() == {}
    same = empirical_lipschitz(model, np.ones((5, 2)), pairs=10, interpolates=10, jacobians=1)
    assert len(same.pairs) == 0 == len(same.interpolates) and len(same.jacobians) == 1


@pytest.mark.parametrize("wrong", [{"norm": "l3"}, {"pairs": -1}, {"jacobians": 1.5}, {"interpolates": True}, {"inputs": np.array([[np.nan, 0]])}])
def test_wrong_questions(wrong):
    with pytest.raises(InputError):
        empirical_lipschitz(dense(), **{"inputs": np.ones((3, 2)), **wrong})


def test_pictures():
    from matplotlib.figure import Figure

    model = noisy().eval()
    run = fit(noisy(), clusters(), plan(validation=6, epochs=2))
    axes = run.plot(Figure().subplots(1, 3))
    assert [len(a.lines) for a in axes] == [1, 3, 2] and "estimate" in axes[1].get_legend().texts[1].get_text()
    blank = fit(noisy(), clusters(), plan(epochs=2)).plot(Figure().subplots(1, 3))
    assert not blank[1].lines and "no validation" in blank[1].texts[0].get_text(), "an empty panel says why"
    for lines in (axes[2], blank[2]):
        assert lines.get_ylim()[1] > max(line.get_ydata().max() for line in lines.lines), "no line lies on the frame"
    for what in (spectra(model, (2,)), stable_rank(model), empirical_lipschitz(model, clusters()[1][0], pairs=20, interpolates=20, jacobians=3)):
        axis = Figure().subplots()
        assert plot(what, axis) is axis and axis.has_data()
    for nothing in ({}, [], "history", {"0": Spectrum(np.ones(1), "dense"), "1": 1.0}):
        with pytest.raises(InputError, match="picture"):
            plot(nothing)
