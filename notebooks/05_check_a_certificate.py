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
# # 5. Do not believe us: check
#
# A colleague hands over a network and a certificate: "all these digits are robust". Why believe it? Because a separate program, which shares no code
# with the one that produced the numbers and does not even import torch, derives every step again from the weights. In this story we are the
# suspicious colleague: we look inside, we tamper, and we swap the network.

# %%
import json
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import certify
from certify.core.record import read_record, write_record

SMOKE = os.environ.get("CERTIFY_SMOKE") == "1"
digits = load_digits()
images, labels = (digits.images / 16.0).astype(np.float32).reshape(-1, 64), digits.target

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.Adam(model.parameters(), 1e-2, weight_decay=1e-3)
for _ in range(60 if SMOKE else 300):
    loss = nn.functional.cross_entropy(model(torch.tensor(images[:1400])), torch.tensor(labels[:1400]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.eval()

folder = Path(tempfile.mkdtemp())
result = certify.radius(model, images[1400:], labels[1400:], attack=False)
path = Path(result.save(folder / "digits.certificate"))
print(result)

# %% [markdown]
# ## What is inside
#
# One zip: a JSON document and plain arrays. Nothing in it is executed when it is read.

# %%
document, arrays = read_record(path)
print(json.dumps({key: document[key] for key in ("format", "kind", "claim", "graph", "assumptions")}, indent=1))
for step in document["constants"]["steps"]:
    print(f"{step['node']:8s} {step['rule']:24s} constants {step['constants']}  running {step['running']}")
print({name: (array.shape, str(array.dtype)) for name, array in arrays.items()})

# %% [markdown]
# ## The honest certificate passes

# %%
report = certify.check(path, model)
print(report)
assert report.ok

# %% [markdown]
# ## One number changed
#
# We enlarge a single radius by one part in a thousand, shrink one layer constant by one part in a thousand, claim another label, and move one
# input. Every one of these must be refused, and the refusal says which step fails.


# %%
def tampered(change):
    """The certificate with one change; its array digests are made to match, as a clever forger would."""
    from certify.core.record import digest_array

    doc, data = read_record(path)
    data = {name: array.copy() for name, array in data.items()}
    change(doc, data)
    if "digests" in doc:
        doc["digests"] = {name: digest_array(data[name]) for name in doc["digests"]}
    return write_record(folder / "tampered.certificate", doc, data)


certified = int(np.argmax(result.radii))
first = next(i for i, step in enumerate(document["constants"]["steps"]) if step["op"] == "dense")


def larger_radius(doc, data):
    data["radii"][certified] *= 1.001


def smaller_constant(doc, data):
    doc["constants"]["steps"][first]["constants"][0] *= 0.999


def another_label(doc, data):
    data["labels"][certified] = (data["labels"][certified] + 1) % 10


def another_input(doc, data):
    data["inputs"][certified] = data["inputs"][(certified + 1) % len(data["inputs"])] * 0.5


refused = {}
for change in (larger_radius, smaller_constant, another_label, another_input):
    try:
        certify.check(tampered(change), model)
        refused[change.__name__] = False
    except certify.CertificateError as error:
        refused[change.__name__] = True
        print(f"--- {change.__name__}\n{error}\n")
assert all(refused.values()), refused

# %% [markdown]
# ## Another network
#
# One weight of the model differs by one part in ten million. The certificate is not about that model.

# %%
other = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
other.load_state_dict(model.state_dict())
with torch.no_grad():
    other[0].weight[0, 20] *= 1 + 2e-7
try:
    certify.check(path, other)
    raise AssertionError("a certificate for another model was accepted")
except certify.CertificateError as error:
    print(error)

# %% [markdown]
# ## The sharpness of the checker
#
# How much can the largest radius be inflated before the checker refuses? A checker with a tolerance would let a little pass. This one
# leaves room only for the rounding that was proved.

# %%
inflation, accepted = np.logspace(-15, -2, 6 if SMOKE else 14), []
for factor in inflation:
    try:
        certify.check(tampered(lambda doc, data, f=factor: data["radii"].__setitem__(certified, data["radii"][certified] * (1 + f))), model)
        accepted.append(True)
    except certify.CertificateError:
        accepted.append(False)
accepted = np.array(accepted)
assert not accepted[inflation > 1e-9].any()
fig, ax = plt.subplots(figsize=(7, 1.9))
ax.scatter(inflation[accepted], np.ones(accepted.sum()), color="#2858a0", label="accepted (still within the proof's own slack)")
ax.scatter(inflation[~accepted], np.zeros((~accepted).sum()), color="#c03028", marker="x", label="refused")
ax.set(xscale="log", yticks=[0, 1], yticklabels=["refused", "accepted"], ylim=(-0.5, 1.5), xlabel="relative inflation of one radius")
ax.set_title("The checker has no tolerance to hide in")
plt.tight_layout()
plt.show()
