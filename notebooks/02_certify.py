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
# # 2. How far can this digit move before the answer may change?
#
# A classifier says "3". Somebody nudges the pixels. Up to which distance is the answer **proved** to stay "3"? That distance is the
# *certified radius* of the input. It is a lower end; an attack that finds a nearby image with another answer gives the upper end.
# The truth lies between the two, and the pair is what this toolkit reports.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import certify
from certify.train.penalties import SpectralNorm

SMOKE = os.environ.get("CERTIFY_SMOKE") == "1"
digits = load_digits()
images = (digits.images / 16.0).astype(np.float32)[:, None]  # pixels in [0, 1]; radii are in this unit
labels = digits.target
train_x, train_y = torch.tensor(images[:1400]), torch.tensor(labels[:1400])
test_x, test_y = images[1400:], labels[1400:]

# %% [markdown]
# ## A case where the answer is known
#
# For a linear classifier the distance to the decision boundary is elementary geometry: the margin divided by $\|w_i - w_j\|$, minimised over the
# other classes. The certificate must not exceed it, and here it should reach it.

# %%
torch.manual_seed(0)
linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(linear.parameters(), 1e-2)
for _ in range(200):
    loss = nn.functional.cross_entropy(linear(train_x), train_y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

result = certify.radius(linear.eval(), test_x, test_y, attack=False)
weight, bias = linear[1].weight.detach().double().numpy(), linear[1].bias.detach().double().numpy()
logits = test_x.reshape(-1, 64).astype(float) @ weight.T + bias
margins = np.take_along_axis(logits, test_y[:, None], 1) - logits
distance = np.linalg.norm(weight[test_y][:, None] - weight, axis=2)
with np.errstate(divide="ignore", invalid="ignore"):
    geometry = np.where(np.arange(10) == test_y[:, None], np.inf, margins / distance).min(1)
geometry = np.maximum(geometry, 0)
right = geometry > 0
print(f"{right.sum()} of {len(test_y)} correct; certified / exact distance: {np.min(result.radii[right] / geometry[right]):.12f} at worst")
assert (result.radii <= geometry * (1 + 1e-12)).all()
assert (result.radii[right] >= geometry[right] * (1 - 1e-9)).all()

# %% [markdown]
# ## A small CNN
#
# Trained with a spectral penalty, so that its proven constant is small.

# %%
torch.manual_seed(1)
cnn = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
)
penalty, optimizer = SpectralNorm(weight=0.02), torch.optim.Adam(cnn.parameters(), 3e-3)
for _ in range(4 if SMOKE else 40):
    for batch in torch.randperm(1400).split(100):
        loss = nn.functional.cross_entropy(10 * cnn(train_x[batch]), train_y[batch]) + penalty(cnn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
cnn.eval()
count = 60 if SMOKE else len(test_y)
result = certify.radius(cnn, test_x[:count], test_y[:count])
print(result)
assert (result.radii <= result.upper).all(), "an attack beat a certificate"

# %% [markdown]
# ## The bracket, input by input
#
# Each vertical bar is one digit: proved up to its lower end, broken from its upper end on.

# %%
correct = np.flatnonzero((result.predictions == result.labels) & np.isfinite(result.upper))
order = correct[np.argsort(result.radii[correct])]
fig, (left, right_ax) = plt.subplots(1, 2, figsize=(11, 3.6))
left.vlines(np.arange(len(order)), result.radii[order], result.upper[order], color="#b8c8d8", lw=1)
left.plot(result.radii[order], color="#2858a0", label="certified (proved)")
left.plot(result.upper[order], ".", ms=3, color="#c03028", label="attacked (a counterexample exists)")
left.set(xlabel="test digits, sorted by certified radius", ylabel="l2 distance, pixels in [0, 1]", title="The truth lies inside each bar")
left.legend()
result.plot(ax=right_ax)
plt.tight_layout()
plt.show()
ratio = result.radii[correct] / result.upper[correct]
print(f"certified / attacked: mean {ratio.mean():.3f}")
assert 0 < ratio.mean() <= 1

# %% [markdown]
# ## The most and the least robust digit

# %%
fig, axes = plt.subplots(2, 5, figsize=(9, 4.8))
for axis, index in zip(axes.ravel(), [*order[:5], *order[-5:]], strict=True):
    axis.imshow(test_x[index, 0], cmap="gray_r")
    axis.set_title(f"{test_y[index]}: {result.radii[index]:.3f} – {result.upper[index]:.3f}", fontsize=9)
    axis.axis("off")
fig.suptitle("Five least and five most robust test digits (certified – attacked)")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## Try to beat it
#
# Twenty thousand random directions, each scaled to just inside the certified radius of its digit. None may change the answer.

# %%
rng = np.random.default_rng(0)
beaten = 0
for index in order[:: max(1, len(order) // 20)]:
    noise = rng.standard_normal((200 if SMOKE else 1000, 64))
    noise *= result.radii[index] * (1 - 1e-6) / np.linalg.norm(noise, axis=1, keepdims=True)
    with torch.no_grad():
        answers = cnn(torch.tensor(test_x[index].reshape(1, 64) + noise, dtype=torch.float32).reshape(-1, 1, 8, 8)).argmax(1).numpy()
    beaten += int((answers != test_y[index]).sum())
print(f"answers changed inside a certified radius: {beaten}")
assert beaten == 0

# %% [markdown]
# ## What goes to a colleague
#
# `save` writes one file with the claim, the inputs, the labels, the radii and the evidence for each layer. Story 5 opens it.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = result.save(Path(folder) / "digits.certificate")
    report = certify.check(path, cnn)
    print(f"{Path(path).stat().st_size} bytes; re-checked by separate code: {report.ok}, {len(report.steps)} steps")
    assert report.ok

# %% [markdown]
# **What is proved:** for the network with its stored weights, evaluated in exact real arithmetic, no input closer than the radius gets another
# answer. **What is not:** that a float32 run of the network rounds the same way at the very edge, or that a larger radius is impossible.
