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
# In this story: one convolution whose norm we know, the published bounds on it, four ways in which they give a false or a weak
# number, the three methods that close the gap, the layers of a whole network in one picture, and what training does to them.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import certify
from certify.norms.base import methods

SMOKE = os.environ.get("CERTIFY_SMOKE") == "1"  # the test suite runs this notebook on smaller images and with a shorter training
torch.manual_seed(0)

# %% [markdown]
# ## One convolution with a known answer
#
# A 3x3 convolution with zero padding, 8 to 8 channels. It is a linear map, so we can push the unit images through it, write the
# matrix down and take its largest singular value. (That is what "ground truth" means in our tests, too. At 64 channels and 56 x 56 pixels the
# matrix would have 4 * 10^10 entries: bounds exist because this cannot be done.)

# %%
conv = nn.Conv2d(8, 8, 3, padding=1, bias=False).double()
size = (8, 9, 9) if SMOKE else (8, 12, 12)


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
assert enclosure.upper <= 1.01 * enclosure.lower

# %% [markdown]
# ## The published bounds
#
# Singla & Feizi (2021) reshape the kernel into four matrices R, S, T, U; each gives `sqrt(9)` times its norm as a bound for every image size.
# Gram iteration (Delattre et al., 2023) squares the matrix until its Frobenius norm is its spectral norm. Each number below is a *certified* upper end:
# the rounding of its own computation is inside.

# %%
from certify.core.fold import fold_affine
from certify.facade import as_graph
from certify.norms.fantastic_four import unfoldings
from certify.norms.public import layer_map


def map_of(layer, shape):
    """The layer as a linear map, its bias left out: what every norm method takes."""
    return layer_map(fold_affine(as_graph(layer, shape)))


def ratio_of(method, layer=conv, shape=size, exact=truth):
    """upper end / exact norm and seconds; both ends are checked against the truth."""
    bound = certify.operator_norm(layer, shape, method=method)
    assert bound.lower <= exact * (1 + 1e-12) and exact * (1 - 1e-12) <= bound.upper
    return bound.upper / exact, bound.seconds


published = {f"unfolding {name}": upper / truth for name, _, upper in unfoldings(map_of(conv, size))}
published |= {name: ratio_of(name)[0] for name in ("fantastic_four", "gram", "frobenius", "induced")}
for name, ratio in published.items():
    print(f"{name:16s} {ratio:9.4f} x the exact norm")
    assert ratio >= 1 - 1e-12
assert published["fantastic_four"] == min(published[f"unfolding {name}"] for name in "RSTU") > 1.3

# %% [markdown]
# ## Where a number goes wrong: 1. circular is not zero padding
#
# For *circular* padding the FFT of the kernel gives the exact norm (Sedghi, Gupta & Long 2019), and the same formula is often used for zero padding. It is
# then neither an upper nor a lower end. A sharpening filter on images with an odd number of pixels: its worst input flips sign from pixel to pixel, which
# does not close up around an odd circle.

# %%
sharpen = nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
sharpen.weight.data[0, 0] = torch.outer(torch.tensor([-1.0, 2.0, -1.0]), torch.tensor([-1.0, 2.0, -1.0]))
for n in (5, 7, 11):
    circular = float(np.abs(np.fft.fft2(sharpen.weight[0, 0].detach().numpy(), (n, n))).max())
    exact = dense_norm(sharpen, (1, n, n))
    safe = certify.operator_norm(sharpen, (1, n, n), method="fft").upper  # embeds the image in a larger circle first
    print(f"{n:2d} x {n:<2d}  exact {exact:.4f}   circular formula {circular:.4f} ({100 * (circular / exact - 1):+.1f} %)   certified {safe:.4f}")
    assert circular < exact <= safe

# %% [markdown]
# ## 2. Copied pixels
#
# With `replicate` or `reflect` padding a border pixel is read several times, and the theorem behind the unfoldings is false. The plain formula would have
# said less than the truth. Asking for a statement whose conditions do not hold is refused, by name; `auto` takes one that does hold.

# %%
blur = nn.Conv2d(1, 1, 5, padding=2, padding_mode="replicate", bias=False).double()
blur.weight.data[:] = 1 / 25
formula = 5 * float(torch.linalg.matrix_norm(blur.weight.detach()[0, 0], 2))  # R, S, T and U are alike here
exact = dense_norm(blur, (1, 4, 4))
print(f"exact {exact:.4f}, the formula of the unfoldings {formula:.4f}\n")
assert formula < exact
try:
    certify.operator_norm(blur, (1, 4, 4), method="fantastic_four")
    raise AssertionError("this must have been refused")
except certify.HypothesisError as error:
    print(error)
safe = certify.operator_norm(blur, (1, 4, 4))
print(f"\nauto: [{safe.lower:.6f}, {safe.upper:.6f}] by {safe.method}")
assert safe.lower <= exact * (1 + 1e-12) and exact * (1 - 1e-12) <= safe.upper

# %% [markdown]
# ## 3. Strides ignored
#
# Dropping the stride is sound - the strided layer's rows are some of the rows of the unstrided one - but it gives away what the stride saves. Splitting the
# image into its phases first (polyphase) keeps it.

# %%
strided = nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False).double()
unstrided = nn.Conv2d(8, 8, 3, padding=1, bias=False).double()
unstrided.weight = strided.weight
odd = (8, 13, 13)
exact = dense_norm(strided, odd)
ignored, used = (certify.operator_norm(layer, odd, method="fft").upper / exact for layer in (unstrided, strided))
print(f"stride ignored: {ignored:.4f} x the exact norm; stride used: {used:.4f} x")
assert 1 <= used < 1.05 < 1.15 < ignored

# %% [markdown]
# ## 4. A power iteration stopped
#
# The published unfolding code takes 50 power iterations for the norm of each matrix. Power iteration climbs towards the norm *from below*. On a 1x1
# convolution the unfolding's norm is the layer's norm, and what comes out is below it: a bound that is not one. Here for a layer that is
# nearly orthogonal, as robust training makes them: its singular values lie close together, and the climb is slow.

# %%
pointwise = nn.Conv2d(128, 128, 1, bias=False).double()
nn.init.orthogonal_(pointwise.weight)
pointwise.weight.data += 0.002 * torch.randn(128, 128, 1, 1, dtype=torch.float64)
matrix = pointwise.weight.detach()[:, :, 0, 0]
exact = float(torch.linalg.matrix_norm(matrix, 2))
values, v = [], torch.randn(128, dtype=torch.float64)
for _ in range(50):
    u = matrix @ (v / v.norm())
    values.append(float(u.norm()))
    v = matrix.T @ u
certified = certify.operator_norm(pointwise, (128, 7, 7), method="fantastic_four").upper
print(f"exact {exact:.6f}; after 5, 20 and 50 iterations: " + ", ".join(f"{values[k - 1]:.6f}" for k in (5, 20, 50)) + f"; certified {certified:.6f}")
assert max(values) < 0.999 * exact and exact <= certified * (1 + 1e-12) <= exact * (1 + 1e-6)
assert certify.operator_norm(pointwise, (128, 7, 7), method="power_iteration").upper == np.inf

# %% [markdown]
# ## Closing the gap
#
# * `fft` embeds the zero-padded image in a circle that is just large enough, where the Fourier transform is exact: an upper end for every image.
# * `twisted` closes that circle with a change of sign where it pays: the frequencies move by half a step, and a peak of the kernel that would have been hit
#   falls between two of them. Every twist gives a true upper end, so the best one does.
# * `hybrid` keeps one axis exactly as it is and puts only the other on the circle: no frequency at all on the first axis, hence nothing to overestimate there.
# * `dense` assembles the matrix and proves `u^2 I - A A' > 0` with one Cholesky factorisation: as good as exact, if the matrix fits.
#
# All are certified. `auto` decides by predicted cost.

# %%
closing = [name for name in ("any_size", "fft", "twisted", "hybrid", "dense", "auto") if name in methods()]
results = {name: ratio_of(name) for name in ["fantastic_four", "gram", *closing]}
for name, (ratio, seconds) in results.items():
    print(f"{name:16s} {ratio:.8f} x   {1e3 * seconds:8.1f} ms")
assert results["dense"][0] < 1.0001 and results["fft"][0] < results["fantastic_four"][0]
if "hybrid" in results:
    assert results["hybrid"][0] <= results["fft"][0] * 1.001 and results["twisted"][0] < results["fantastic_four"][0]

sides = (6, 8) if SMOKE else (6, 8, 10, 12, 14, 16)
fig, ax = plt.subplots(figsize=(8, 3.8))
styles = {"fantastic_four": ("s", "#E69F00"), "any_size": ("v", "#7A7A7A"), "fft": ("o", "#56B4E9")}
styles |= {"twisted": ("^", "#0072B2"), "hybrid": ("D", "#009E73"), "dense": ("X", "#000000")}
excess = {name: [] for name in styles if name in methods()}
for n in sides:
    exact = certify.operator_norm(conv, (8, n, n), method="dense").lower
    for name, curve in excess.items():
        curve.append(certify.operator_norm(conv, (8, n, n), method=name).upper / exact - 1)
for name, curve in excess.items():
    marker, colour = styles[name]
    ax.plot(sides, [100 * max(x, 1e-7) for x in curve], marker=marker, color=colour, lw=1.4, label=name)
    assert min(curve) >= -1e-12  # nobody is below the truth
ax.set_yscale("log")
ax.yaxis.set_major_formatter(lambda x, _: f"{x:g} %")
ax.set_xticks(sides)
ax.set_xlabel("pixels on each side")
ax.set_ylabel("upper end above the truth")
ax.set_title("One 3x3 convolution, 8 to 8 channels, zero padding")
ax.grid(color="#DDDDDD", lw=0.6)
ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
plt.tight_layout()
plt.show()

# %% [markdown]
# ## Any scale
#
# No epsilon hides in a normalisation: weights of 1e-25 or 1e+25 give the same leading digits.

# %%
for scale in [1e-25, 1.0, 1e25]:
    layer = nn.Conv2d(8, 8, 3, padding=1, bias=False).double()
    layer.weight.data = conv.weight.data * scale
    bound = certify.operator_norm(layer, size)
    print(f"weights x {scale:g}:  upper = {bound.upper:.9e}")
    assert truth * scale * (1 - 1e-12) <= bound.upper <= truth * scale * 1.01

# %% [markdown]
# ## The layers of a whole network
#
# This is what `certify bound MODEL --plot FILE` draws (and prints as a table). Left each layer's enclosure, right by how much each upper end exceeds the best
# lower end: the four unfoldings as letters, every method that was tried as a mark, the final bound as a black line. Strided, grouped, dilated, pooled, wrapped
# and mirrored layers each get the statement that is true for them.

# %%
from IPython.display import display

from certify.app.bound_plot import draw_bounds
from certify.app.bound_rows import Question, linear_layers, measure

torch.manual_seed(3)
channels, side = (4, 16) if SMOKE else (16, 32)
layers = {
    "stem": nn.Conv2d(3, channels, 3, padding=1), "norm": nn.BatchNorm2d(channels),
    "down": nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
    "depthwise": nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels),
    "pointwise": nn.Conv2d(2 * channels, 2 * channels, 1),
    "dilated": nn.Conv2d(2 * channels, 2 * channels, 3, padding=2, dilation=2),
    "wrapped": nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, padding_mode="circular"),
    "mirrored": nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, padding_mode="reflect"),
    "pool": nn.AvgPool2d(4), "flat": nn.Flatten(), "head": nn.Linear(2 * channels * (side // 8) ** 2, 10),
}  # fmt: skip
net = nn.Sequential()
for name, layer in layers.items():
    net.add_module(name, layer)
    if isinstance(layer, nn.Conv2d) and name != "stem":
        net.add_module(f"relu {name}", nn.ReLU())
graph = fold_affine(as_graph(net.eval(), (3, side, side))).pruned()
question = Question(effort="fast", compare=True)
rows = {row.layer: row for row in measure(graph, linear_layers(graph), question, lambda done, total, name: None)}
for name, row in rows.items():
    least = min((u["upper"] for u in row.unfoldings or []), default=np.nan)
    uppers = {c["method"]: c["upper"] for c in row.compared if "reason" not in c}
    best = min(uppers, key=uppers.get)
    print(f"{name:10s} {row.operator:32s} smallest unfolding {least:7.4f}   auto [{row.lower:.6f}, {row.upper:.6f}]   tightest of all {uppers[best]:.6f} by {best}")
    assert row.lower <= uppers[best] <= row.upper < np.inf and not least < row.lower
display(draw_bounds(list(rows.values()), title="a small network with every kind of convolution"))

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
