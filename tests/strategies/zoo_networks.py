"""Whole networks: MLP, CNN, VGG, ResNet, and every kind of convolution and padding."""

from __future__ import annotations

import torch
from strategies.zoo import ZOO, Case, model
from torch import nn


@model(6)
def mlp():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


@model(1, 12, 12)
def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, 10)
    )


@model(3, 16, 16)
def vgg():
    def block(i, o):
        return [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True), nn.MaxPool2d(2)]

    return nn.Sequential(
        nn.Sequential(*block(3, 6), *block(6, 8)), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(1), nn.Dropout(0.5), nn.Linear(32, 12), nn.ReLU(True), nn.Linear(12, 10)
    )


class BasicBlock(nn.Module):
    """The residual block of torchvision: in-place ReLU, `out += identity`, one ReLU used twice."""

    def __init__(self, channels: int, out: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if (channels, stride) != (out, 1) else None

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.layers = nn.ModuleList([BasicBlock(4, 4), BasicBlock(4, 6, 2)])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.fc(torch.flatten(self.pool(x), 1))


@model(3, 8, 8)
def resnet():
    return ResNet()


@model(2, 8, 8)
def autoencoder():
    return nn.Sequential(
        nn.Conv2d(2, 4, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1, bias=False),
        nn.ELU(),
        nn.ConvTranspose2d(3, 2, 2, dilation=2, groups=1),
    )


@model(6, 9)
def convolutions_1d():
    return nn.Sequential(
        nn.Conv1d(6, 4, 3, padding="same", groups=2),
        nn.Softplus(),
        nn.Conv1d(4, 4, 3, dilation=2),
        nn.GELU(),
        nn.ConvTranspose1d(4, 2, 3, 2),
        nn.BatchNorm1d(2),
        nn.MaxPool1d(2, 1),
    )


@model(2, 4, 5, 4)
def convolutions_3d():
    return nn.Sequential(
        nn.Conv3d(2, 3, (1, 2, 3), stride=(1, 2, 1), padding=(0, 1, 1)), nn.SiLU(), nn.AvgPool3d(2, 1), nn.ConvTranspose3d(3, 2, 2), nn.BatchNorm3d(2), nn.MaxPool3d(2)
    )


@model(4, 7, 7)
def depthwise():
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=4, padding=2, dilation=2),
        nn.ReLU6(),
        nn.Conv2d(8, 4, 1),
        nn.Hardswish(),
        nn.Conv2d(4, 4, 4, padding="same", groups=2),
        nn.ConvTranspose2d(4, 4, 3, groups=2),
    )


def _padded(mode: str):
    def make():
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode=mode),
            nn.ReLU(),
            nn.Conv2d(3, 2, 4, padding="same", padding_mode=mode, bias=False),
            nn.Conv2d(2, 2, 3, 2, padding=1, padding_mode=mode),
        )

    return make


for _mode in ("zeros", "circular", "reflect", "replicate"):
    ZOO[f"padding_{_mode}"] = Case(_padded(_mode), (2, 6, 5))
