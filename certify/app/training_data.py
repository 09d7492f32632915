"""The data that a recipe or a configuration names, as two halves: digits, MNIST, CIFAR-10, or any file or folder that holds both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError
from ..io.data import load_data

if TYPE_CHECKING:
    from ..train.recipes import Recipe

Half = tuple[np.ndarray, np.ndarray]
_CLASSES = {"mnist": 10, "cifar10": 10}
_SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
_NEEDED = {"mnist": "the four IDX files of MNIST", "cifar10": "CIFAR-10: its batches, or folders train and test with a folder of images per class"}


@dataclass(frozen=True)
class TrainingData:
    """What to call the data, and ((x_train, y_train), (x_test, y_test))."""

    name: str
    halves: tuple[Half, Half]


def load(recipe: Recipe, folder: Path | None) -> TrainingData:
    """The data of a recipe; `folder` takes the place of where it says they are.

    Raises:
        InputError: nothing readable there, no folder where one is needed, or one half for both.
    """
    if recipe.data == "digits":
        return _digits() if folder is None else _optdigits(folder)
    if recipe.data in _NEEDED and folder is None:
        raise InputError(f"the recipe {recipe.name!r} needs data that are not part of certify", where="--data", found="not given", expected=f"a folder with {_NEEDED[recipe.data]}")
    place = Path(recipe.data) if folder is None else folder
    shape, classes = _SHAPES.get(recipe.data), _CLASSES.get(recipe.data)
    train, test = (load_data(place, split=split, input_shape=shape, classes=classes, scale=recipe.scale) for split in ("train", "test"))
    if train.images.shape == test.images.shape and np.array_equal(train.images, test.images):
        raise InputError(
            "one half stands for both: the test inputs are the training inputs", where=place, expected="x_train, y_train, x_test, y_test, or a folder with both halves"
        )
    return TrainingData(f"{place.resolve().name} ({len(train)} + {len(test)} inputs)", ((train.images, train.labels), (test.images, test.labels)))


def _digits() -> TrainingData:
    """scikit-learn's 1797 handwritten digits: 1297 to train on, 500 to test, the same split whatever the seed."""
    from .demo import digits

    images = digits(0)
    return TrainingData("scikit-learn digits (1297 + 500 inputs, 8 x 8)", (images.train, images.test))


def _optdigits(folder: Path) -> TrainingData:
    """The UCI digits from optdigits.tra and optdigits.tes: 3823 to train on, 1797 to test; pixels 0 .. 16 divided by 16."""
    halves = [_rows(Path(folder) / f"optdigits.{suffix}") for suffix in ("tra", "tes")]
    return TrainingData(f"UCI digits ({len(halves[0][1])} + {len(halves[1][1])} inputs, 8 x 8)", (halves[0], halves[1]))


def _rows(path: Path) -> Half:
    try:
        lines = path.read_text().splitlines()
        rows = np.array([[int(n) for n in line.split(",")] for line in lines if line[:1].isdigit()])
    except (OSError, ValueError) as error:
        raise InputError("the digits cannot be read", where=path, found=str(error)[:200], expected="lines of 64 pixels and a label, separated by commas") from error
    if rows.ndim != 2 or rows.shape[1] != 65 or rows.min() < 0 or rows[:, :64].max() > 16 or rows[:, 64].max() > 9:
        raise InputError("these are not the UCI digits", where=path, found=f"shape {rows.shape}", expected="lines of 64 pixels from 0 to 16 and a label from 0 to 9")
    return (rows[:, :64].reshape(-1, 1, 8, 8) / 16).astype(np.float32), rows[:, 64].astype(np.int64)
