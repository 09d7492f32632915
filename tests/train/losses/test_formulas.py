"""Each loss against its formula written out sample by sample, and what a small value implies about the radius."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from certify.core.errors import InputError
from certify.train.losses import EMMA, CertifiedMargin, GloRo, HingeKR, LogitAnnealing, OffsetCrossEntropy

seeds = st.integers(0, 2**20)


def sample(seed: int, n: int = 5, classes: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """(logits, labels, constants), right predictions and wrong ones."""
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    labels = torch.where(torch.rand(n, generator=generator) < 0.7, z.argmax(1), torch.randint(classes, (n,), generator=generator))
    k = 0.2 + 2 * torch.rand(classes, classes, generator=generator, dtype=torch.float64)
    return z, labels, (k + k.T).fill_diagonal_(0)


def others(y: int, classes: int = 4) -> list[int]:
    return [j for j in range(classes) if j != y]


def radius(z: Tensor, y: int, k: Tensor) -> float:
    return min(((z[y] - z[j]) / k[y, j]).item() for j in others(y, len(z)))


@given(seed=seeds, epsilon=st.floats(0, 3), kl=st.floats(0, 3))
def test_gloro(seed: int, epsilon: float, kl: float):
    """Cross entropy and the KL term with the bottom logit appended, as published."""
    z, labels, k = sample(seed)
    expected = 0.0
    for row, y in zip(z, labels.tolist()):
        p = int(row.argmax())
        bottom = max(row[i] + epsilon * k[p, i] for i in others(p))
        extended = torch.cat([row, bottom[None]])
        clean, robust = torch.cat([row.softmax(0), torch.zeros(1)]), extended.log_softmax(0)
        expected += -row.log_softmax(0)[y] + kl * F.kl_div(robust, clean, reduction="sum")
        if kl == 0:
            continue
        one = GloRo(epsilon, 1.0)(row[None], torch.tensor([y]), k)
        assert one.item() == pytest.approx(-robust[y].item(), rel=1e-9)
    assert GloRo(epsilon, kl)(z, labels, k).item() == pytest.approx(float(expected) / len(z), rel=1e-9)


@given(seed=seeds, epsilon=st.floats(0, 3), kl=st.floats(1, 3))
def test_gloro_is_small_only_if_certified(seed: int, epsilon: float, kl: float):
    z, labels, k = sample(seed)
    z = 3 * z
    for row, y in zip(z, labels.tolist()):
        if GloRo(epsilon, kl)(row[None], torch.tensor([y]), k) < math.log(2):
            assert radius(row, y, k) > epsilon


@given(seed=seeds, epsilon=st.floats(0, 3), floor=st.floats(0, 1))
def test_emma(seed: int, epsilon: float, floor: float):
    z, labels, k = sample(seed)
    expected = 0.0
    for row, y in zip(z, labels.tolist()):
        moved = row - row[y]
        for j in others(y):
            most = (epsilon * k[y, j]).item()
            share = min(max(-moved[j].item() / most, floor), 1.0) if most > 0 else 1.0
            moved[j] += share * most
            r = (row[y] - row[j]).item() / k[y, j].item()
            if abs(r - epsilon) > 1e-9 and abs(r - floor * epsilon) > 1e-9:
                assert (moved[j].item() < -1e-12) == (r > epsilon) and (moved[j].item() > 1e-12) == (r < floor * epsilon)
        expected += -moved.log_softmax(0)[y].item()
    assert EMMA(epsilon, floor)(z, labels, k).item() == pytest.approx(expected / len(z), rel=1e-9)


def test_the_shift_of_emma_is_fixed_in_the_gradient():
    """Within reach (share < 1) the gradient to the constants is softmax times share times epsilon, that to the logits is softmax - onehot."""
    z = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    k = (4.0 * (1 - torch.eye(3, dtype=torch.float64))).requires_grad_()
    value = EMMA(1.0)(z, torch.tensor([0]), k)
    q = torch.full((3,), 1 / 3, dtype=torch.float64)  # all classes shifted onto the label's logit
    assert value.item() == pytest.approx(math.log(3))
    to_z, to_k = torch.autograd.grad(value, (z, k))
    assert torch.allclose(to_z[0], q - torch.tensor([1.0, 0, 0])) and torch.allclose(to_k[0], q * torch.tensor([0, 0.25, 0.5]))


@given(seed=seeds, epsilon=st.floats(0, 3), temperature=st.floats(0.02, 3))
def test_offset_cross_entropy(seed: int, epsilon: float, temperature: float):
    """As published for one constant; between its hinge and hinge + T log C; small only if certified."""
    z, labels, k = sample(seed)
    loss = OffsetCrossEntropy(epsilon, temperature)
    lowered = z - math.sqrt(2) * epsilon * F.one_hot(labels, 4).double()
    assert loss(z, labels).item() == pytest.approx((F.cross_entropy(lowered / temperature, labels) * temperature).item(), rel=1e-9, abs=1e-12)
    for row, y in zip(z, labels.tolist()):
        value = loss(row[None], torch.tensor([y]), k).item()
        hinge = max(0.0, *((row[j] - row[y] + epsilon * k[y, j]).item() for j in others(y)))
        assert hinge - 1e-9 <= value <= hinge + temperature * math.log(4) + 1e-9
        if value < temperature * math.log(2):
            assert radius(row, y, k) > epsilon - 1e-12


def test_gradients_keep_their_size_at_every_temperature():
    z = torch.tensor([[0.0, 3.0]], dtype=torch.float64, requires_grad=True)
    for temperature in (0.01, 0.25, 1.0):
        (gradient,) = torch.autograd.grad(OffsetCrossEntropy(0.5, temperature)(z, torch.tensor([0])), z)
        assert gradient[0, 0].item() == pytest.approx(-1.0, abs=0.05)


@given(seed=seeds, margin=st.floats(0, 3), alpha=st.floats(0, 1))
def test_hinge_kr(seed: int, margin: float, alpha: float):
    z, _, k = sample(seed, 8)
    labels = torch.arange(4).repeat(2)  # as many of each class
    scale = math.sqrt(2)
    hinge = sum((F.relu(margin / 2 - z[n, y]) + sum(F.relu(margin / 2 + z[n, j]) for j in others(y)) / 3).item() for n, y in enumerate(labels.tolist())) / 8
    kr = sum(z[labels == c, c].mean() - z[labels != c, c].mean() for c in range(4)).item() / 4  # one against all, the dual of the Wasserstein distances
    assert HingeKR(margin, alpha)(z, labels).item() == pytest.approx(alpha * hinge - (1 - alpha) * kr, rel=1e-9, abs=1e-9)
    assert HingeKR(margin, alpha)(3 * z, labels, 3 * scale).item() == pytest.approx(alpha * hinge - (1 - alpha) * kr, rel=1e-9, abs=1e-9)
    for n, y in enumerate(labels.tolist()):
        certain = 10 * F.one_hot(torch.tensor([y]), 4).double() - 5 + 0.1 * z[n]
        if HingeKR(margin, 1.0)(certain, torch.tensor([y]), k).item() == 0:
            assert radius(certain[0], y, k) >= margin / scale - 1e-12


def test_hinge_kr_counts_classes_alike():
    """Repeating the samples of one class does not change the KR term."""
    z, _, _ = sample(3, 4)
    labels = torch.arange(4)
    again, twice = torch.cat([z, z[:1], z[:1]]), torch.tensor([0, 1, 2, 3, 0, 0])
    assert HingeKR(alpha=0.0)(again, twice).item() == pytest.approx(HingeKR(alpha=0.0)(z, labels).item())
    assert HingeKR(alpha=0.0)(z[:2], labels[:2]).item() == pytest.approx(sum(z[n, n] - z[n, others(n)].mean() for n in (0, 1)).item() / -2)


@given(seed=seeds, epsilon=st.sampled_from([0.0, 0.7]), offset=st.floats(0, 3), temperature=st.floats(0.1, 2), power=st.sampled_from([0.0, 1.0, 2.5, 5.0]))
def test_logit_annealing(seed: int, epsilon: float, offset: float, temperature: float, power: float):
    z, labels, k = sample(seed)
    expected = 0.0
    for row, y in zip(z, labels.tolist()):
        moved = row - row[y]
        for j in others(y):
            share = min(max(-moved[j].item() / (epsilon * k[y, j].item()), 0.01), 1.0) if epsilon else 0.0
            moved[j] += share * epsilon * k[y, j] + offset * k[y, j] / math.sqrt(2)
        q = (moved / temperature).softmax(0)[y].item()
        expected += -temperature * (1 - q) ** power * math.log(q)
    assert LogitAnnealing(epsilon, offset, temperature, power)(z, labels, k).item() == pytest.approx(expected / len(z), rel=1e-7)
    if power == 0 and epsilon == 0:
        plain = OffsetCrossEntropy(offset / math.sqrt(2), temperature)(z, labels, k)
        assert LogitAnnealing(0.0, offset, temperature, 0.0)(z, labels, k).item() == pytest.approx(plain.item(), rel=1e-9)


def test_annealing_lets_go_of_safe_samples():
    """The gradient of a sample that is far above vanishes faster than that of cross entropy."""
    z = torch.tensor([[9.0, 0.0]], requires_grad=True)
    pulls = [torch.autograd.grad(LogitAnnealing(power=power)(z, torch.tensor([0])), z)[0].abs().max().item() for power in (0.0, 5.0)]
    assert pulls[1] < 1e-10 < pulls[0]
    with pytest.raises(InputError, match="power"):
        LogitAnnealing(power=0.5)


@given(seed=seeds, epsilon=st.floats(0, 3), temperature=st.floats(0.05, 2))
def test_certified_margin(seed: int, epsilon: float, temperature: float):
    """The formulas, and the certified share that a value promises."""
    z, labels, k = sample(seed)
    radii = torch.tensor([radius(row, y, k) for row, y in zip(z, labels.tolist())], dtype=torch.float64)
    missing = (epsilon - radii) / temperature
    soft, step = (CertifiedMargin(epsilon, temperature, shape)(z, labels, k).item() for shape in ("softplus", "sigmoid"))
    assert soft == pytest.approx((F.softplus(missing) * temperature).mean().item(), rel=1e-9, abs=1e-12)
    assert step == pytest.approx(torch.sigmoid(missing).mean().item(), rel=1e-9, abs=1e-12)
    certified = (radii >= epsilon).double().mean().item()
    assert certified >= 1 - soft / (temperature * math.log(2)) - 1e-12 and certified >= 1 - 2 * step - 1e-12


def test_a_cold_sigmoid_is_the_share_that_is_not_certified():
    z, labels, k = sample(4, 200)
    radii = torch.tensor([radius(row, y, k) for row, y in zip(z, labels.tolist())])
    assert CertifiedMargin(0.5, 1e-7, "sigmoid")(z, labels, k).item() == pytest.approx((radii < 0.5).double().mean().item(), abs=1e-6)


def test_what_the_losses_believe_is_what_the_package_certifies():
    """A linear classifier: with the true |w_i - w_j|, the radius in the losses is the distance to the nearest decision boundary."""
    w, x = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-2.0, -2.0]], dtype=torch.float64), torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    k, y = torch.cdist(w, w), torch.tensor([0])
    r = radius((x @ w.T)[0], 0, k)
    for epsilon in (0.99 * r, 1.01 * r):
        step = CertifiedMargin(epsilon, 1e-6, "sigmoid")(x @ w.T, y, k).item()
        toward = (w[1] - w[0]) / torch.linalg.vector_norm(w[1] - w[0])
        flipped = ((x + epsilon * toward) @ w.T).argmax().item() != 0
        assert (step > 0.5) == flipped == (epsilon > r)
