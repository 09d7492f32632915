"""`load_data`: labelled images from .npz, .npy pairs, IDX (MNIST family), CIFAR batches and image folders, as one thing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from .cifar import read_cifar
from .files import GZIP_MAGIC, regular_file
from .idx import idx_pair, read_idx
from .images import class_folders, read_images
from .npz import MAX_BYTES, Archive, read_npy_file

SPLITS = ("test", "train")


@dataclass(frozen=True, eq=False)
class Data:
    """Images and their labels.

    Attributes:
        images: (n, *shape) float32, or float64 where the file has that; finite. Pixels of uint8 files lie in [0, 1].
        labels: (n,) int64, from 0.
        source: where they came from and how they were scaled, for reports.
    """

    images: np.ndarray
    labels: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> Data:
        """The first `count` samples (all of them for None)."""
        return self if count is None else Data(self.images[:count], self.labels[:count], self.source)


def load_data(
    path, *, labels=None, split: str = "test", input_shape: Sequence[int] | None = None, classes: int | None = None, scale: float | None = None, max_bytes: int = MAX_BYTES
) -> Data:
    """Labelled images of a file or folder; the format is told by content and names, not by the suffix alone.

    Args:
        path: an .npz with arrays `images` and `labels` (also x, y; x_test, y_test); an .npy of images with `labels` beside it; an IDX
            file or its folder (MNIST and its family, gzip or not); a CIFAR-10 or CIFAR-100 folder or batch, python or binary; a
            folder of class folders of images.
        labels: the .npy or IDX file with the labels, where `path` is one of images; default: found by name.
        split: "test" or "train", where a folder or file holds both.
        input_shape: shape of one sample that the model takes; sizes of 1 may differ, and one of both shapes may be flat.
        classes: labels must be below this number.
        scale: images are divided by it, in float32 (float64 for float64 files). Default: 255 for uint8, 1 for floats; other integers
            need it. The certified radius is in the units of the result.
        max_bytes: of the arrays as stored.

    Returns:
        Data; images of IDX files are (n, 1, height, width), of CIFAR (n, 3, 32, 32).

    Raises:
        InputError: with file and field: nothing readable there, damaged or truncated, sizes that do not fit, NaN or infinite pixels,
            labels that are not integers from 0, or out of range, no samples.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.savez(f"{folder.name}/two.npz", images=np.array([[0, 51], [255, 0]], dtype=np.uint8), labels=[1, 0])
    >>> data = load_data(f"{folder.name}/two.npz", classes=2)
    >>> data.images.tolist(), data.images.dtype.name, data.labels.tolist()
    ([[0.0, 0.20000000298023224], [1.0, 0.0]], 'float32', [1, 0])
    """
    if split not in SPLITS:
        raise InputError("unknown split", where="argument split", found=repr(split)[:80], expected=" or ".join(SPLITS))
    root = _existing(path)
    try:
        pixels, marks, names = _stored(root, labels, split, max_bytes)
    except OSError as error:
        raise InputError("the data cannot be read", where=error.filename or root, found=error.strerror or str(error), expected="readable files") from error
    images, how = _scaled(pixels, scale, names[0])
    marks = _checked_labels(marks, len(images), classes, names[1])
    return Data(_shaped(images, input_shape, names[0]), marks, f"{names[0]}{how}")


def _existing(path) -> Path:
    """`path`, which must be a file or folder."""
    try:
        return Path(path) if Path(path).is_dir() else regular_file(path, "data file")
    except (TypeError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("this is not the path of a data file", where=repr(path)[:200], found=str(error), expected="a path") from error


def _stored(path: Path, labels, split: str, max_bytes: int) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    """Pixels and labels as stored, and what to call each in errors."""
    if path.is_dir():
        return _folder(path, split, max_bytes)
    with open(path, "rb") as stream:
        magic = stream.read(6)
    if magic[:2] == b"PK":
        return _npz(path, split, max_bytes)
    if magic == b"\x93NUMPY":
        other = Path(labels) if labels is not None else _npy_partner(path)
        return read_npy_file(path, max_bytes), read_npy_file(other, max_bytes), (str(path), str(other))
    cifar = read_cifar(path, split)
    if cifar is not None:
        return cifar[0], cifar[1], (str(path), f"{path}, labels")
    if magic[:2] in (b"\0\0", GZIP_MAGIC):
        pair = (path, Path(labels)) if labels is not None else idx_pair(path, split)
        return _idx(pair or (path, path), max_bytes)
    raise InputError(
        "the data file is of a format that is not known",
        where=path,
        found=f"it starts with {magic!r}",
        expected=".npz, .npy, IDX (plain or gzip) or a CIFAR batch",
        hint="numpy.savez(path, images=..., labels=...) makes a file that can be read",
    )


def _folder(path: Path, split: str, max_bytes: int) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    cifar = read_cifar(path, split)
    if cifar is not None:
        return cifar[0], cifar[1], (f"{path} ({split})", f"{path}, labels")
    pair = idx_pair(path, split)
    if pair is not None:
        return _idx(pair, max_bytes)
    root = class_folders(path, split)
    if root is not None:
        images, labels, _ = read_images(root, max_bytes)
        return images, labels, (str(root), f"{root}, class folders")
    images_file = next((path / f"{stem}.npy" for stem in (f"{split}_images", f"x_{split}", "images") if (path / f"{stem}.npy").is_file()), None)
    if images_file is not None:
        return _stored(images_file, None, split, max_bytes)
    expected = "IDX files (images and labels), CIFAR batches, class folders with images, or images.npy and labels.npy"
    raise InputError(f"the folder holds no {split} data that is known", where=path, found=", ".join(sorted(p.name for p in path.iterdir())[:12]) or "nothing", expected=expected)


def _idx(pair: tuple[Path, Path], max_bytes: int) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    images = read_idx(pair[0], max_bytes)
    if images.ndim == 3:
        images = images[:, None]  # grey images: the channel axis that networks expect
    if images.ndim < 2:
        raise InputError("the IDX file holds no images", where=pair[0], found=f"shape {images.shape}", expected="(n, height, width)", hint="this may be the file of the labels")
    return images, read_idx(pair[1], max_bytes), (str(pair[0]), str(pair[1]))


def _npz(path: Path, split: str, max_bytes: int) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    archive = Archive(path, max_bytes)
    for a, b in (("images", "labels"), (f"{split}_images", f"{split}_labels"), (f"x_{split}", f"y_{split}"), ("x", "y")):
        if a in archive.names and b in archive.names:
            return archive.read(a), archive.read(b), (f"{path}, images '{a}'", f"{path}, labels '{b}'")
    raise InputError(
        "the npz file does not hold images and labels",
        where=path,
        found=", ".join(archive.names)[:300] or "no arrays",
        expected="arrays named images and labels",
        hint="numpy.savez(path, images=..., labels=...)",
    )


def _npy_partner(path: Path) -> Path:
    for a, b in (("images", "labels"), ("x_", "y_"), ("x", "y"), ("X", "y")):
        other = path.with_name(path.name.replace(a, b, 1))
        if other != path and other.is_file():
            return other
    raise InputError(
        "the labels that belong to these images are missing",
        where=path,
        expected=path.with_name(path.name.replace("images", "labels")),
        hint="name the pair images.npy and labels.npy, or pass labels=",
    )


def _scaled(pixels: np.ndarray, scale: float | None, where: str) -> tuple[np.ndarray, str]:
    if pixels.ndim < 2 or 0 in pixels.shape:
        raise InputError("the images are empty or not a batch", where=where, found=f"shape {pixels.shape}", expected="(n, ...) with n at least 1")
    if pixels.dtype.kind not in "fiu":
        raise InputError("the images are not numbers", where=where, found=pixels.dtype, expected="uint8 or floats")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        place = tuple(int(k) for k in np.unravel_index(int(np.argmin(np.isfinite(pixels))), pixels.shape))
        raise InputError("a pixel is not finite", where=f"{where}, entry {place}", found=pixels[place], expected="finite numbers")
    if scale is None:
        if pixels.dtype.kind != "f" and pixels.dtype != np.uint8:
            raise InputError(
                "it is not clear how these integers are to be scaled",
                where=where,
                found=f"{pixels.dtype}, {pixels.min()} to {pixels.max()}",
                expected="uint8 or floats",
                hint="say it: scale=1 keeps the numbers, scale=255 divides by 255",
            )
        scale = 255.0 if pixels.dtype == np.uint8 else 1.0
    if not (isinstance(scale, int | float) and math.isfinite(scale) and scale > 0):
        raise InputError("the scale is not a positive number", where="argument scale", found=repr(scale)[:80])
    dtype = np.float64 if pixels.dtype == np.float64 else np.float32
    images: np.ndarray = pixels.astype(dtype)
    if scale == 1:
        return images, ""
    np.divide(images, dtype(scale), out=images)
    return images, f", divided by {scale:g} in {np.dtype(dtype).name}"


def _checked_labels(labels: np.ndarray, count: int, classes: int | None, where: str) -> np.ndarray:
    if labels.ndim != 1 or len(labels) != count:
        raise InputError(
            "the labels do not fit the images",
            where=where,
            found=f"shape {labels.shape}",
            expected=f"({count},): one label per image",
            hint="labels.argmax(axis=1) turns one-hot rows into labels" if labels.ndim == 2 else None,
        )
    if labels.dtype.kind not in "iu":
        raise InputError("the labels are not integers", where=where, found=labels.dtype, expected="integers from 0", hint="labels.astype(numpy.int64), if they are whole numbers")
    bad = np.flatnonzero((labels < 0) | (labels >= (classes if classes is not None else 1 << 31)))
    if bad.size:
        expected = f"0 .. {classes - 1}" if classes is not None else "integers from 0"
        raise InputError(
            "a label is out of range", where=f"{where}, entry {int(bad[0])}", found=int(labels[bad[0]]), expected=expected, hint=f"{bad.size} of {count} labels are out of range"
        )
    return labels.astype(np.int64)


def _shaped(images: np.ndarray, wanted: Sequence[int] | None, where: str) -> np.ndarray:
    """Images in the shape that the model takes, where that only drops or adds axes of size 1, or flattens or unflattens."""
    have = images.shape[1:]
    if wanted is None or tuple(wanted) == have:
        return images
    want = tuple(wanted)
    same = [n for n in have if n != 1] == [n for n in want if n != 1]
    flat = math.prod(have) == math.prod(want) and min(sum(n != 1 for n in s) for s in (have, want)) <= 1
    if not same and not flat:
        last = len(have) == 3 and (have[2], have[0], have[1]) == want
        hint = "the channels are last here and first in the model: images.transpose(0, 3, 1, 2)" if last else None
        raise InputError("the images do not have the shape that the model takes", where=where, found=have, expected=want, hint=hint)
    return images.reshape(len(images), *want)
