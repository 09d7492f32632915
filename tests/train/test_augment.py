"""Augmented images are the images themselves, moved: every one is found again among all shifts of its original."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.core.errors import InputError
from certify.train.augment import augmented, require_images


def shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """The window of the image that starts at (down, right), zeros outside: pixel by pixel."""
    out = torch.zeros_like(image)
    _, height, width = image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i + down < height and 0 <= j + right < width:
                out[:, i, j] = image[:, i + down, j + right]
    return out


@given(st.sampled_from(["shift", "flip_crop"]), st.integers(0, 3), st.integers(1, 3), st.integers(2, 5), st.integers(2, 5), st.integers(0, 99))
def test_each_image_is_a_shift_of_its_original(kind, reach, channels, height, width, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images = torch.rand(4, channels, height, width) + 1
        found = augmented(images, f"{kind}:{reach}")
    moves = [(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)]
    for before, after in zip(images, found, strict=True):
        candidates = [shifted(before, i, j) for i, j in moves]
        candidates += [c.flip(2) for c in candidates] if kind == "flip_crop" else []
        assert any(torch.equal(after, c) for c in candidates)


def test_all_shifts_and_both_sides_occur():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = augmented(torch.arange(1.0, 10).reshape(1, 1, 3, 3).expand(500, 1, 3, 3), "flip_crop:1")
    assert len(found.unique(dim=0)) == 18 and augmented(found, None) is found


@pytest.mark.parametrize("shape", [(2,), (28, 28), (1, 2, 3, 4)])
def test_only_images_are_moved(shape):
    require_images(None, shape)
    with pytest.raises(InputError, match="images"):
        require_images("shift:2", shape)
