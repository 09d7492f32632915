"""pair_constants: never beaten by differences of logits, equal to the certified product, every way a layer can count, refusals by name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import certify
from certify.core.errors import InputError, UnsupportedLayerError
from certify.train.activations import MaxMin
from certify.train.blocks import Centering, LiResNetBlock, ScaledAvgPool2d, UnitNormLinear
from certify.train.pairs import pair_constants
from certify.train.parametrizations import cayley, orthogonal_convolution
from certify.train.penalties import SpectralNorm


def converged(model: nn.Module, shape: tuple[int, ...], calls: int = 40) -> Tensor:
    states: dict = {}
    for _ in range(calls):
        found = pair_constants(model, shape, states)
    return found


def steepest(model: nn.Module, shape: tuple[int, ...], classes: int) -> Tensor:
    """(C, C): the largest |d(z_i - z_j)| / |dx| over random segments, short and long, and along gradients."""
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(40, *shape, generator=generator, dtype=torch.float64)
    best = torch.zeros(classes, classes, dtype=torch.float64)
    moves = [torch.randn(x.shape, generator=generator, dtype=torch.float64) * size for size in (1e-3, 1.0)]
    for i in range(1, classes):
        point = x.clone().requires_grad_()
        z = model(point)
        moves.append(1e-3 * torch.autograd.grad((z[:, 0] - z[:, i]).sum(), point)[0])
    with torch.no_grad():
        for move in moves:
            change = (model(x + move) - model(x)) / move.flatten(1).norm(dim=1)[:, None]
            best = torch.maximum(best, (change[:, :, None] - change[:, None]).abs().amax(0))
    return best


MODELS = {
    "dense": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)), (3, 2, 2)),
    "one layer": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), (1, 2, 2)),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.GELU(), nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, groups=1), MaxMin()), nn.Flatten(), nn.Linear(64, 3)),
        (1, 8, 8),
    ),
    "pools": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(3, 2), nn.LeakyReLU(0.2), nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten(), nn.Linear(6, 3)),
        (2, 9, 13),
    ),
    "normalisation": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4, 1.7), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3)), (1, 4, 4)),
    "orthogonal": (
        lambda: nn.Sequential(orthogonal_convolution(nn.Conv2d(2, 4, 3)), MaxMin(), ScaledAvgPool2d(2), nn.Flatten(), cayley(nn.Linear(16, 6)), UnitNormLinear(6, 3)),
        (2, 6, 6),
    ),
    "blocks": (lambda: nn.Sequential(nn.Conv2d(1, 4, 2, 2), MaxMin(), LiResNetBlock(4, depth=2), Centering(4), nn.Flatten(), nn.Linear(36, 3)), (1, 6, 6)),
    "shuffled": (lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.ZeroPad2d(1), nn.Conv2d(4, 2, 2), nn.Tanh(), nn.PixelUnshuffle(3), nn.Flatten(), nn.Linear(18, 3)), (1, 4, 4)),
}


def build(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    make, shape = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = make().double().eval()
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, -2.0, 2.0)
                part.running_var.uniform_(0.5, 2.0)
    return model, shape


@pytest.mark.parametrize("name", MODELS)
def test_never_beaten_by_the_logits(name: str):
    model, shape = build(name)
    found = converged(model, shape).detach()
    assert found.dtype == torch.float64 and torch.allclose(found, found.T) and bool((found.diagonal() == 0).all())
    truth = steepest(model, shape, len(found))
    assert bool((truth <= found * (1 + 1e-6)).all()) and bool((found <= 30 * truth + 1e-12).all())


@pytest.mark.parametrize(("name", "slack"), [("dense", 1.001), ("convolutions", 1.02), ("orthogonal", 1.001), ("pools", 1.3), ("shuffled", 1.3)])
def test_the_certified_product(name: str, slack: float):
    """What certify proves for the trunk times the rows of the head; more where certify looks at borders (pools) or at padding and convolution as one map."""
    model, shape = build(name)
    rows = model[-1].weight.detach()
    expected = certify.lipschitz(model[:-1], shape, method="product").upper * torch.cdist(rows, rows)
    found = converged(model, shape).detach()
    assert bool((found >= expected * (1 - 5e-3)).all()) and bool((found <= expected * slack).all())


def test_gradients_reach_every_factor():
    model, shape = build("normalisation")
    found = converged(model, shape)
    found.sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for name, p in model.named_parameters() if "bias" not in name)
    rows = model[-1].weight
    (gradient,) = torch.autograd.grad(pair_constants(model, shape, {})[0, 1], rows)
    apart = (rows[0] - rows[1]) / (rows[0] - rows[1]).norm()
    assert torch.allclose(gradient[0] / gradient[0].norm(), apart) and torch.allclose(gradient[1], -gradient[0]) and not gradient[2].any()


def test_equal_rows_have_constant_zero_and_a_finite_gradient():
    model = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 30))
    with torch.no_grad():
        model[2].weight[1] = model[2].weight[0]
    found = pair_constants(model, (30,), {})
    assert found[0, 1].item() == 0.0 and found[0, 2].item() > 0
    found.sum().backward()
    assert torch.isfinite(model[2].weight.grad).all()


class _Half(nn.Module):
    lipschitz = 0.5

    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.inner(x)

    def lipschitz_estimate(self, sigma) -> Tensor:
        return 2 * sigma(self.inner)


def test_what_a_layer_promises_counts_before_any_estimate():
    """The attribute of a parametrization, the method of a block, the attribute of a module; parametrizations without a promise are estimated."""
    promised, unknown, block = nn.Linear(3, 3), nn.Linear(3, 3), _Block()
    parametrize.register_parametrization(promised, "weight", _Half())
    parametrize.register_parametrization(unknown, "weight", nn.Identity())
    head = nn.Linear(3, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 0, 0]]))
    norm = lambda layer: torch.linalg.matrix_norm(layer.weight, 2).item()  # noqa: E731
    for parts, expected in (([promised], 0.5), ([unknown], norm(unknown)), ([block], 2 * norm(block.inner)), ([promised, block, nn.ReLU()], norm(block.inner)), ([], 1.0)):
        assert converged(nn.Sequential(*parts, head), (3,))[0, 1].item() == pytest.approx(expected, rel=1e-4)


def test_states_are_kept_and_shared_with_a_penalty():
    model, shape = build("convolutions")
    states: dict = {}
    pair_constants(model, shape, states)
    assert isinstance(states["norms"], SpectralNorm) and model[0] in states["norms"]._shapes
    penalty = SpectralNorm()
    for _ in range(30):
        penalty(model, shape)
    assert torch.allclose(pair_constants(model, shape, penalty), converged(model, shape), rtol=1e-3)
    shared = nn.Linear(3, 3)
    twice = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(3, 2)).double()
    expected = torch.linalg.matrix_norm(shared.weight, 2) ** 2 * (twice[3].weight[0] - twice[3].weight[1]).norm()
    assert converged(twice, (3,))[0, 1].item() == pytest.approx(expected.item(), rel=1e-4)


def test_wrappers_are_looked_through():
    model, shape = build("dense")
    assert torch.equal(pair_constants(nn.DataParallel(model), shape, {}), pair_constants(model, shape, {}))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.LayerNorm(4), "1.0 .LayerNorm"),
        (nn.Softmax(1), "1.0 .Softmax"),
        (nn.BatchNorm1d(4, track_running_stats=False), "1.0 .BatchNorm1d"),
        (nn.Softplus(threshold=1.0), "1.0 .Softplus"),
        (nn.ModuleList([nn.ReLU()]), "1.0 .ModuleList"),
        (nn.TransformerEncoderLayer(4, 2), "1.0 .TransformerEncoderLayer"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "",
)
def test_a_layer_without_a_constant_is_named(layer: nn.Module, words: str):
    with pytest.raises(UnsupportedLayerError, match=words):
        pair_constants(nn.Sequential(nn.Flatten(), nn.Sequential(layer), nn.Linear(4, 2)), (4,), {})


def test_models_without_a_linear_end_and_wrong_shapes():
    for model in (nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Sequential(), nn.ReLU(), _Block()):
        with pytest.raises(InputError, match="linear layer at the end"):
            pair_constants(model, (3,), {})
    with pytest.raises(InputError, match="input of this shape"):
        pair_constants(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), (4,), {})
    assert pair_constants(nn.Linear(2, 2), (2,), {}).shape == (2, 2)
    assert math.isclose(converged(nn.Sequential(nn.AvgPool1d(4, 2), nn.Flatten(), nn.Linear(3, 2, bias=False).requires_grad_(False)), (1, 8), 1)[0, 0].item(), 0.0)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 3, 0), (3, 1, 1), (3, 2, 1), (5, 3, 2)])
def test_average_pools_whose_border_windows_hold_fewer_pixels(kernel, stride, padding, ceil_mode, count_include_pad):
    """They divide by fewer: AvgPool1d(2, ceil_mode=True) on three pixels keeps the last one as it is."""
    for kind, sizes in ((nn.AvgPool1d, [(n,) for n in range(max(1, kernel - padding), 12)]), (nn.AvgPool2d, [(6, 7)])):
        pool = kind(kernel, stride, padding, ceil_mode, count_include_pad)
        for size in sizes:
            basis = torch.eye(math.prod(size), dtype=torch.float64).reshape(-1, 1, *size)
            matrix = pool(basis).flatten(1)
            head = nn.Linear(matrix.shape[1], 2)
            promised = pair_constants(nn.Sequential(pool, nn.Flatten(), head), (1, *size), {})[0, 1] / (head.weight[0] - head.weight[1]).norm()
            truth = float(torch.linalg.matrix_norm(matrix, 2))
            assert truth * (1 - 1e-6) <= float(promised.detach()) <= 2 * truth


@pytest.mark.parametrize("affine", [False, True])
def test_batch_normalization_counts_with_its_running_variance(affine):
    norm = nn.BatchNorm1d(3, eps=0.5, affine=affine).double().eval()
    norm.running_var.copy_(torch.tensor([3.5, 0.0, 8.5]))
    if affine:
        norm.weight.data.copy_(torch.tensor([1.0, -0.25, 9.0]))
    head = nn.Linear(3, 2).double()
    promised = pair_constants(nn.Sequential(norm, head), (3,), {})[0, 1] / (head.weight[0] - head.weight[1]).norm()
    basis = torch.eye(3, dtype=torch.float64)
    assert float(promised.detach()) == pytest.approx(float((norm(basis) - norm(torch.zeros_like(basis))).diagonal().abs().max()))


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 2), (2, 2, 1), (4, 2, 1), (3, 4, 2), (2, 3, 2)])
def test_max_pools_count_the_windows_of_a_pixel(kernel, stride, dilation):
    """A peak at the right pixel comes out once for every window that reads it."""
    pool = nn.MaxPool1d(kernel, stride, dilation=dilation)
    sizes = pool(torch.eye(40)[:, None]).flatten(1).square().sum(dim=1)
    head = nn.Linear(len(pool(torch.zeros(1, 1, 40))[0, 0]), 2)
    promised = pair_constants(nn.Sequential(pool, nn.Flatten(), head), (1, 40), {})[0, 1] / (head.weight[0] - head.weight[1]).norm()
    assert float(promised.detach()) == pytest.approx(float(sizes.max()) ** 0.5)
