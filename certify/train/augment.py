"""Random shifts, mirror images and crops of a batch of images, all samples at once."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.errors import InputError


def require_images(augment: str | None, shape: tuple[int, ...]) -> None:
    """Raises InputError where inputs of `shape` are no images to be moved about."""
    if augment is not None and len(shape) != 3:
        raise InputError("only images can be shifted and cropped", where="Plan.augment", found=f"inputs of shape {shape}", expected="(channels, height, width), or augment=None")


def augmented(images: Tensor, augment: str | None) -> Tensor:
    """Every image (n, channels, height, width) moved by its own random number of pixels, at most N in each direction; zeros come in at the border.

    Args:
        augment: None (returned as it is), "shift:N", or "flip_crop:N": a crop after N pixels of zero padding, and mirrored left to right with probability 1/2.
    Random numbers: torch's, of the images' device. Cost: one copy of the padded batch.

    >>> images = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> augmented(images, "shift:0").flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    if augment is None:
        return images
    kind, _, pixels = augment.partition(":")
    n, _, height, width = images.shape
    reach, device = int(pixels), images.device
    padded = torch.nn.functional.pad(images, (reach, reach, reach, reach))
    down, right = torch.randint(2 * reach + 1, (2, n, 1), device=device)
    rows, columns = down + torch.arange(height, device=device), right + torch.arange(width, device=device)
    if kind == "flip_crop":
        columns = torch.where(torch.rand(n, 1, device=device) < 0.5, columns.flip(1), columns)
    sample = torch.arange(n, device=device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
