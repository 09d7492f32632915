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
# # 4. Where can it go?
#
# A pendulum stands on its head. A small network looks at angle and speed every 100 ms and chooses a torque, which the motor holds until the next look.
# Somebody lets go anywhere between 0.4 and 0.5 rad. Does it come up? Does it ever swing past 0.52 rad? *Every* motion, from *every* start, at *every*
# time, under *every* gust of wind? Simulations cannot say. A **flowpipe** can: sets that contain every motion, proved.

# %%
import copy
import os
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import certify
import reach
from certify.core.record import read_record, write_record
from reach.simulation import simulate_dense

SMOKE = os.environ.get("CERTIFY_SMOKE") == "1"

# %% [markdown]
# ## A plant and a controller
#
# The plant is two formulas. Decimals mean decimals: 9.81 is 981/100, not the nearest binary number. The wind may be any measurable signal between its ends.

# %%
plant = reach.ContinuousSystem(
    states=["angle", "speed"],
    inputs=["torque"],
    rates=["speed", "9.81*sin(angle) - 0.5*speed + torque + wind"],
    disturbances={"wind": (-0.2, 0.2)},
)
print(plant)

# %% [markdown]
# The controller learns to imitate a textbook law (cancel gravity, then pull back like a damped spring). What it learned is not quite that law,
# and that is the point: the proof is about the network that came out.

# %%
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(net.parameters(), 1e-2)
for _ in range(400 if SMOKE else 1500):
    x = (torch.rand(256, 2) - 0.5) * torch.tensor([1.6, 5.0])
    law = -9.81 * torch.sin(x[:, :1]) - 12 * x[:, :1] - 6.5 * x[:, 1:]
    loss = (net(x) - law / 10).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"mean squared error {loss.item():.1e}, in units of 10 N m")
loop = reach.ClosedLoop(plant, reach.Controller(net, scale=10), period=0.1)
start = reach.Box([0.4, -0.1], [0.5, 0.1])

# %% [markdown]
# ## The flowpipe
#
# One call. Between the samples the tube holds for every instant, not only for those that we draw. (The very first call on a machine compiles the
# numeric kernels and says so.)

# %%
reach.solve(loop, start, horizon=0.1)  # the kernels are ready after this
clock = time.process_time()
pipe = reach.solve(loop, start, horizon=2.0)
print(pipe, f"in {time.process_time() - clock:.2f} CPU seconds")
final = pipe.at(20).box()
print("after 2 s: angle in", [float(final.lower[0]), float(final.upper[0])], "speed in", [float(final.lower[1]), float(final.upper[1])])

# %% [markdown]
# Motions from random starts in random winds, as a check of the proof: not one may leave the tube, at any of the times we look.

# %%
count = 200 if SMOKE else 1000
rng = np.random.default_rng(0)
first = start.lower + rng.random((count, 2)) * (start.upper - start.lower)
motions = simulate_dense(loop, first, 2.0, 8)  # (motions, periods, 9 times, states)
for k in range(1, 21):
    tube = pipe.tube(k).box()
    assert (tube.lower <= motions[:, k - 1]).all() and (motions[:, k - 1] <= tube.upper).all()

fig, axes = plt.subplots(1, 2, figsize=(12, 4.4))
for ax, (x, y) in zip(axes, (("angle", "speed"), ("t", "angle")), strict=True):
    pipe.plot(x, y, ax=ax)
times = (np.arange(20)[:, None] + np.arange(9) / 8) * 0.1
for motion in motions[:60]:
    axes[0].plot(motion[..., 0].ravel(), motion[..., 1].ravel(), color="#303030", lw=0.4, alpha=0.5, zorder=3)
    axes[1].plot(times.ravel(), motion[..., 0].ravel(), color="#303030", lw=0.4, alpha=0.5, zorder=3)
axes[0].legend(fontsize=8)
fig.suptitle("The tube contains every motion; simulated ones are thin lines")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## Questions, and three kinds of answers
#
# VERIFIED: the sets prove it. FALSIFIED: a motion violates it, and a validated tube around that one motion proves even this. UNKNOWN: neither, with the
# reason. There is no fourth kind.

# %%
goal = reach.Arrive({"angle": (-0.1, 0.1), "speed": (-0.2, 0.2)})
limit = reach.Stay("angle <= 0.52")
region = reach.Avoid({"angle": (0.3, 0.35), "speed": (-0.2, 0.2)})
for question in (goal, limit, region):
    verdict = pipe.verify(question)
    print(f"{question}\n   {verdict.status}: {verdict.reason}")
assert pipe.verify(goal).status == "VERIFIED" and pipe.verify(limit).status == "VERIFIED"

# %% [markdown]
# ## Why sampling is not proof
#
# Look at the fastest fall that our simulations have seen, and claim that nothing falls faster than that plus one percent. The simulations agree with the
# claim, all of them. It is false.

# %%
seen = motions[..., 1].min()
claim = float(f"{1.01 * seen:.4f}")
slow = reach.Avoid(f"speed <= {claim}")
verdict = pipe.verify(slow)
print(f"fastest fall in {count} motions: {seen:.4f} rad/s; claim: never below {claim}")
print(verdict)
assert (motions[..., 1] > claim).all(), "the simulations agree with the claim"
assert verdict.status == "FALSIFIED"

# %% [markdown]
# The witness is a start and a wind that anybody can replay.

# %%
witness = verdict.witness
replayed = simulate_dense(loop, witness.initial, 2.0, 50, disturbance=witness.disturbance)[0]
assert start.contains(witness.initial) and replayed[..., 1].min() <= claim
fig, ax = plt.subplots(figsize=(8, 3.6))
fine = (np.arange(20)[:, None] + np.arange(51) / 50) * 0.1
for motion in motions[:200]:
    ax.plot(times.ravel(), motion[..., 1].ravel(), color="#b8c8d8", lw=0.5)
ax.plot(
    fine.ravel(),
    replayed[..., 1].ravel(),
    color="#c03028",
    lw=1.8,
    label=f"the witness: from {np.round(witness.initial, 6).tolist()}, wind {witness.disturbance.round(6).tolist()}",
)
ax.axhline(claim, color="#303030", ls="--", lw=1, label="the claim")
ax.set(xlim=(0, 1.0), xlabel="time", ylabel="speed", title="Hundreds of motions keep the claim; one breaks it, proved")
ax.legend(fontsize=8)
plt.tight_layout()
plt.show()

# %% [markdown]
# ## A wind that changes is another claim than a wind that does not
#
# A frictionless swing, at rest, pushed by $|w| \le 1$ for one full period $2\pi$. For every *constant* push the swing is back at rest exactly when the
# period ends. So is the answer "it ends near zero"? Push against the motion and then with it, $w(t) = \mathrm{sign}\,\sin(2\pi - t)$, and it ends at
# four. A tool that gives the disturbance one symbol per control step calls the small set proved, and is wrong.

# %%
period = 6.283185307179586
idle = nn.Linear(2, 1)
with torch.no_grad():
    idle.weight.zero_(), idle.bias.zero_()
swing = reach.ContinuousSystem(["x", "v"], ["u"], ["v", "-x + u + w"], {"w": (-1, 1)})
gusty = reach.ClosedLoop(swing, idle, period)
rest = reach.Box([0, 0], [0, 0])
constant = reach.simulate(gusty, np.zeros((41, 2)), period, disturbance=np.linspace(-1, 1, 41)[:, None])[:, -1, 0]
nasty = reach.simulate(gusty, np.zeros((1, 2)), period, disturbance=lambda t, n: np.full((n, 1), np.sign(np.sin(period - t))))[0, -1, 0]
proved = reach.solve(gusty, rest, period, integrator=reach.Picard(order=3, substeps=20 if SMOKE else 80)).at(1).box()
print(f"constant pushes end within {np.abs(constant).max():.1e}; the nasty one at {nasty:.4f}; proved: x in [{proved.lower[0]:.4f}, {proved.upper[0]:.4f}]")
assert np.abs(constant).max() < 1e-6 and nasty > 3.99
assert proved.lower[0] <= -4 and 4 <= proved.upper[0] < 6

# %% [markdown]
# An unknown but *constant* push is a different plant: a state that never changes. Then the small set is the truth, and it is what we get.

# %%
steady = reach.ContinuousSystem(["x", "v", "w"], ["u"], ["v", "-x + u + w", "0"])
still = nn.Linear(3, 1)
with torch.no_grad():
    still.weight.zero_(), still.bias.zero_()
parameter = reach.solve(reach.ClosedLoop(steady, still, period), reach.Box([0, 0, -1], [0, 0, 1]), period, integrator=reach.Picard(order=6, substeps=20)).at(1).box()
print(f"constant but unknown: x in [{parameter.lower[0]:.1e}, {parameter.upper[0]:.1e}]")
assert -0.01 < parameter.lower[0] <= 0 <= parameter.upper[0] < 0.01

# %% [markdown]
# ## Two ways to look at a network, and one that cannot look at all
#
# *Layer-wise*: polynomials and shared symbols go through the network, layer by layer; the cost hardly depends on the number of states. *Bernstein*
# (ReachNN): the controller is evaluated on a grid, and its slopes bound what happens in between; here, with two states, it is as tight, and slower. The
# second one does not need to know that there are layers. Hand it a function and a Lipschitz constant, and it goes on proving: the constant is printed
# with the result as a hypothesis, and ours comes from `certify`.

# %%
exact = copy.deepcopy(net).double()
constant = 10.001 * certify.lipschitz(net, (2,)).upper
policy = reach.BlackBox(lambda states: 10 * exact(torch.as_tensor(states)).detach().numpy(), lipschitz=constant, name="policy")
short = 0.3 if SMOKE else 1.0
cases = {"layer-wise": (loop, reach.Layerwise()), "Bernstein": (loop, reach.Bernstein()), "black box": (reach.ClosedLoop(plant, policy, period=0.1), reach.Bernstein())}
pipes, seconds = {}, {}
for name, (closed, method) in cases.items():
    reach.solve(closed, start, 0.1, controller=method)
    clock = time.process_time()
    pipes[name] = reach.solve(closed, start, short, controller=method)
    seconds[name] = time.process_time() - clock
corners = [[a, b] for a in (0.4, 0.5) for b in (-0.1, 0.1)]
starts = np.vstack([corners, first, corners])
reached = reach.simulate(loop, starts, short, disturbance=np.where(np.arange(len(starts)) < len(starts) // 2, -0.2, 0.2)[:, None])  # steady winds at either end
widths = {name: np.array([p.at(k).box().upper - p.at(k).box().lower for k in range(len(p) + 1)]) for name, p in pipes.items()}
fig, ax = plt.subplots(figsize=(8, 3.4))
for (name, width), style in zip(widths.items(), ("-", "--", ":"), strict=True):
    ax.plot(np.arange(len(width)) * 0.1, width[:, 0], style, color="#2858a0", label=f"{name}, {seconds[name]:.2f} s")
ax.plot(np.arange(reached.shape[1]) * 0.1, np.ptp(reached[..., 0], axis=0), color="#303030", lw=0.8, label="simulated, steady winds")
ax.set(xlabel="time", ylabel="width of the angle's interval", title="Three proofs about the same controller", ylim=(0, None))
ax.legend()
plt.tight_layout()
plt.show()
print(f"Lipschitz constant {constant:.3f};", pipes["black box"].settings["hypotheses"])
for name, width in widths.items():
    assert (np.ptp(reached, axis=0) <= width).all(), f"{name}: narrower than what was simulated"
assert pipes["black box"].settings["hypotheses"] and not pipes["Bernstein"].settings["hypotheses"]

# %% [markdown]
# ## What goes to a colleague
#
# One file, with what is needed to prove every step again: not the solver's word, but inclusions of stored sets, checked by separate code with exact
# and interval arithmetic. One number changed, and it is refused.

# %%
with tempfile.TemporaryDirectory() as folder:
    brief = pipe if not SMOKE else reach.solve(loop, start, 0.3)
    path = Path(folder) / "pendulum.certificate"
    brief.save(path, [limit])
    report = reach.check(path, loop)
    print(f"{path.stat().st_size / 1024:.0f} KiB; re-checked by separate code: {report.ok}, {len(report.steps)} steps")
    assert report.ok

    document, arrays = read_record(path)
    document["initial"]["upper"][0] += 0.001  # a slightly larger claim
    write_record(path, document, arrays)
    try:
        reach.check(path, loop)
        raise AssertionError("a larger claim was accepted")
    except certify.CertificateError as error:
        print(error)

# %% [markdown]
# **What is proved:** for the plant's formulas in real arithmetic and the network with its stored weights, every motion from the box, under every measurable
# wind between its ends. **What is not:** that the formulas describe your pendulum, that the motor holds exactly, or that a float32 program computes the
# same torque to the last bit; give such errors to the plant as a disturbance of the torque.
