# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. How big can one layer make its input?
#
# Every certificate in this toolkit is built from one number per layer: the largest factor by which the layer can
# stretch a difference of two inputs, its **operator norm**. Get that number too large and the certificate is weak;
# get it too small and the certificate is *false*. So every method here returns **both ends** of an enclosure, and
# methods that contradict each other raise an error instead of being averaged away.
#
# In this story: a layer whose norm we know exactly, every method on it, the two classic ways to get a false number,
# and what training does to the layers of a real classifier of handwritten digits.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import certify

SMOKE = os.environ.get("CERTIFY_SMOKE") == "1"  # the test suite runs this notebook with a shorter training
torch.manual_seed(0)

# %% [markdown]
# ## A layer with a known answer
#
# A 3x3 convolution with stride 2 on 12x12 images. It is a linear map, so we can push the unit images through it, write the
# matrix down and take its largest singular value. (That is what "ground truth" means in our tests, too.)

# %%
conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False).double()
size = (4, 12, 12)


def dense_norm(layer, shape):
    """Largest singular value of the layer's matrix, by LAPACK: an estimate, good to about 1e-13."""
    basis = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    with torch.no_grad():
        return float(torch.linalg.matrix_norm(layer(basis).flatten(1), 2))


truth = dense_norm(conv, size)
enclosure = certify.operator_norm(conv, size)
print(f"dense SVD   {truth:.12f}")
print(f"enclosure  [{enclosure.lower:.12f}, {enclosure.upper:.12f}]  by {enclosure.method}")
assert enclosure.lower <= truth * (1 + 1e-12) and truth * (1 - 1e-12) <= enclosure.upper
assert enclosure.upper <= 1.0001 * enclosure.lower

# %% [markdown]
# ## Every method, side by side
#
# Power iteration honestly returns only a lower end. The four unfoldings of Singla & Feizi (2021) and the Frobenius norm
# return an upper end. The FFT is exact for *circular* padding; for zero padding it states what the theorem states, an upper end
# on a slightly larger torus.

# %%
rows = []
for method in ["svd", "dense", "power_iteration", "fft", "gram", "fantastic_four", "frobenius", "induced"]:
    try:
        bound = certify.operator_norm(conv, size, method=method)
    except certify.HypothesisError as error:
        print(f"{method:16s} refused: {error.what}")
        continue
    rows.append((method, bound.lower, bound.upper))
    print(f"{method:16s} [{bound.lower:9.6f}, {bound.upper:9.6f}]   {1e3 * bound.seconds:7.1f} ms")
    assert bound.lower <= truth * (1 + 1e-12) and truth * (1 - 1e-12) <= bound.upper

fig, ax = plt.subplots(figsize=(8, 3.4))
for i, (_, lower, upper) in enumerate(rows):
    top = min(upper, 4 * truth)
    ax.plot([lower, top], [i, i], lw=7, solid_capstyle="butt", color="#4878a8", alpha=0.8)
    ends = [end for end in (lower, upper) if end <= top]  # an end outside the picture gets no mark
    ax.plot(ends, [i] * len(ends), "|", ms=12, mew=2, color="#203850")
    if not np.isfinite(upper):
        ax.annotate("no upper end", (top, i), ha="right", va="bottom", fontsize=8)
ax.axvline(truth, color="#c03028", lw=1.2, label=f"truth {truth:.4f}")
ax.set_yticks(range(len(rows)), [r[0] for r in rows])
ax.set_xlabel("operator norm (l2)")
ax.set_title("Each method encloses the norm; they differ in how tightly")
ax.legend(loc="lower right")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## Two ways to a false number
#
# **Stopping a power iteration.** It climbs towards the norm from below. Sold as a bound, it certifies too much. Here is the value
# after a few steps: below the truth, every time.

# %%
x = torch.randn(1, *size, dtype=torch.float64)
with torch.no_grad():
    for step in range(1, 6):
        y = conv(x)
        value = float(y.norm() / x.norm())
        print(f"step {step}: {value:.6f}   ({100 * (value / truth - 1):+.2f} % against the truth)")
        assert value < truth
        x = nn.functional.conv_transpose2d(y, conv.weight, stride=2, padding=1, output_padding=1)
        x = x / x.norm()

# %% [markdown]
# **Using a formula outside its theorem.** The circular norm comes exactly out of an FFT, and is often used for zero padding. But a different
# padding is a different map. Asking for a statement whose conditions do not hold is refused, by name:

# %%
reflect = nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect", bias=False).double()
try:
    certify.operator_norm(reflect, size, method="fft")
    raise AssertionError("this must have been refused")
except certify.HypothesisError as error:
    print(error)
exact = dense_norm(reflect, size)
safe = certify.operator_norm(reflect, size)
print(f"\nreflect padding: truth {exact:.6f}, enclosure [{safe.lower:.6f}, {safe.upper:.6f}] by {safe.method}")
assert safe.lower <= exact * (1 + 1e-12) and exact * (1 - 1e-12) <= safe.upper

# %% [markdown]
# ## Any scale
#
# No epsilon hides in a normalisation: weights of 1e-25 or 1e+25 give the same leading digits.

# %%
for scale in [1e-25, 1.0, 1e25]:
    layer = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False).double()
    layer.weight.data = conv.weight.data * scale
    bound = certify.operator_norm(layer, size)
    print(f"weights x {scale:g}:  upper = {bound.upper:.9e}")
    assert truth * scale * (1 - 1e-12) <= bound.upper <= truth * scale * 1.0001

# %% [markdown]
# ## What training does to the layers of a digits classifier
#
# Two identical small CNNs on scikit-learn's handwritten digits: one trained plainly, one with the spectral penalty
# `weight / 2 * sum of squared norms` (Yoshida & Miyato 2017, on the true norm of the convolution rather than of its reshaped kernel).

# %%
from sklearn.datasets import load_digits

from certify.train.penalties import SpectralNorm

digits = load_digits()
images = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
labels = torch.tensor(digits.target)


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )


def train(penalty=None, epochs=3 if SMOKE else 25):
    model, generator = network(), torch.Generator().manual_seed(2)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(1400, generator=generator).split(100):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            if penalty is not None:
                loss = loss + penalty(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def accuracy(model):
    with torch.no_grad():
        return float((model(images[1400:]).argmax(1) == labels[1400:]).double().mean())


plain, regularized = train(), train(SpectralNorm(weight=0.01))
print(f"test accuracy: plain {accuracy(plain):.3f}, with penalty {accuracy(regularized):.3f}")

# %%
certificates = {"plain": certify.lipschitz(plain, (1, 8, 8)), "with penalty": certify.lipschitz(regularized, (1, 8, 8))}
for name, certificate in certificates.items():
    print(f"--- {name}: the network's constant lies in [{certificate.lower:.3f}, {certificate.upper:.3f}]")
    print(certificate.table())
assert certificates["with penalty"].upper < certificates["plain"].upper

fig, ax = plt.subplots(figsize=(7, 3.2))
shapes = {0: (1, 8, 8), 2: (8, 8, 8), 5: (256,)}
for k, (name, model) in enumerate({"plain": plain, "with penalty": regularized}.items()):
    norms = [certify.operator_norm(model[i], shape).upper for i, shape in shapes.items()]
    ax.bar(np.arange(3) + 0.4 * k - 0.2, norms, 0.38, label=name, color=["#4878a8", "#e0a030"][k])
ax.set_xticks(range(3), ["conv 1", "conv 2", "linear"])
ax.set_ylabel("operator norm (upper end)")
ax.set_title("The penalty shrinks every layer; the certificate multiplies them")
ax.legend()
plt.tight_layout()
plt.show()

# %% [markdown]
# The product of these numbers is what stands between a margin and a certified radius. That is the next story, `02_certify`.
