"""The demo's plant and controller: an inverted pendulum in the wind, and a tanh network that our own code trains in seconds to hold it.

The network is trained through simulated motions: the loss is what the pendulum does, differentiated through time, with the library's spectral
penalty on the weights, since a controller that reacts less steeply has a narrower tube.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import certify

GRAVITY, FRICTION, WIND, TORQUE = 9.81, 0.5, 0.4, 15.0
PERIOD = 0.05

PROBLEM = """\
# An inverted pendulum, 1 m and 1 kg, in the wind. Angles in radians from upright, time in seconds, torques in newton metres.
name = "inverted pendulum in the wind"

[plant]
states = ["angle", "speed"]
inputs = ["torque"]
rates  = ["speed", "9.81*sin(angle) - 0.5*speed + torque + wind"]

[plant.disturbances]
wind = [-0.4, 0.4]              # any measurable signal between these ends, gusts and all

[controller]
file = "controller.npz"         # W0, b0, W1, ... ; an ONNX file works the same way
activations = ["tanh", "tanh", "linear"]
scale = 15                      # the network says which share of the motor's largest torque
clamp = [-15, 15]

[initial]
angle = [0.4, 0.5]
speed = [-0.1, 0.1]

[solve]
period  = 0.05                  # the controller is sampled every 50 ms, its torque held in between
horizon = 2

[[specification]]
name = "upright from 1 s on"
kind = "stay"
set  = { angle = [-0.05, 0.05], speed = [-0.25, 0.25] }
steps = [20, 40]

[[specification]]
name = "never falls further"
kind = "stay"
set  = "angle <= 0.52"

[[specification]]
name = "keeps clear of a region"
kind = "avoid"
set  = { angle = [0.2, 0.33], speed = [-0.9, -0.4] }

[[specification]]
name = "never too fast"
kind = "avoid"
set  = "speed + angle <= -1.75"
"""


@dataclass(frozen=True)
class Recipe:
    """How the controller is trained."""

    epochs: int = 100
    motions: int = 64
    steps: int = 30
    rate: float = 2e-2
    speed: float = 0.01
    effort: float = 5e-4
    penalty: float = 1e-3


def network() -> nn.Sequential:
    """Angle and speed in, torque as a share of the largest out; torch's random start."""
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside: the same seed then gives the same weights whatever the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def cost(model: nn.Module, x: torch.Tensor, wind: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Mean cost of the motions from x (n, 2) by the midpoint rule, one step per period: distance from rest, and a little for the torque.

    The distance is a root and not a square, so that the last few degrees still count.
    """
    total = x.new_zeros(())
    angle, speed = x[:, 0], x[:, 1]
    for _ in range(recipe.steps):
        share = model(torch.stack((angle, speed), 1))[:, 0]
        push = TORQUE * share.clamp(-1, 1) + wind
        half_angle = angle + PERIOD / 2 * speed
        half_speed = speed + PERIOD / 2 * (GRAVITY * torch.sin(angle) - FRICTION * speed + push)
        angle = angle + PERIOD * half_speed
        speed = speed + PERIOD * (GRAVITY * torch.sin(half_angle) - FRICTION * half_speed + push)
        distance = (angle.square() + recipe.speed * speed.square() + 1e-4).sqrt()
        total = total + (distance + recipe.effort * share.square()).mean()
    return total / recipe.steps


def train(recipe: Recipe, seed: int, progress: Callable[[int, int, str], None]) -> nn.Sequential:
    """A trained controller; the same seed gives the same network on the same machine. `progress` is called every epoch and may raise to cancel."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network()
        penalty = certify.train.penalties.SpectralNorm(recipe.penalty, steps=1)
        optimizer = torch.optim.Adam(model.parameters(), recipe.rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=recipe.epochs)
        for epoch in range(recipe.epochs):
            x = torch.rand(recipe.motions, 2) * torch.tensor([1.4, 3.0]) - torch.tensor([0.7, 1.5])
            wind = WIND * (2 * torch.rand(recipe.motions) - 1)
            loss = cost(model, x, wind, recipe) + penalty(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress(epoch + 1, recipe.epochs, f"loss {loss.item():.4f}")
    return model.eval()


def layers(model: nn.Sequential) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(weights, biases) of the linear layers, float32 as trained."""
    linear = [part for part in model if isinstance(part, nn.Linear)]
    return [part.weight.detach().numpy() for part in linear], [part.bias.detach().numpy() for part in linear]
