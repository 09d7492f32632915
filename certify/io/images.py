"""A folder of images, one sub-folder per class (needs Pillow)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm")
_MAX_PIXELS, _MAX_FILES = 1 << 24, 1 << 22


def class_folders(path: Path, split: str) -> Path | None:
    """The folder that holds the class folders (`path`, or its sub-folder `split`); None if there are none."""
    for root in (path / split, path):
        if root.is_dir() and any(p.is_dir() and any(f.suffix.lower() in SUFFIXES for f in p.iterdir()) for p in sorted(root.iterdir())):
            return root
    return None


def read_images(root: Path, max_bytes: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(images (n, channels, height, width) uint8, labels int64, class names): classes and files in the order of their names.

    Raises:
        InputError: no Pillow, files that are not images, images of different sizes or modes, too many bytes.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError("reading image folders needs Pillow", where=root, hint="pip install pillow, or store the images as .npz") from error
    names = [p.name for p in sorted(root.iterdir()) if p.is_dir()]
    files = [(f, label) for label, name in enumerate(names) for f in sorted((root / name).iterdir()) if f.suffix.lower() in SUFFIXES]
    if len(files) > _MAX_FILES:
        raise InputError("the folder holds too many images", where=root, found=len(files), expected=f"at most {_MAX_FILES}")
    images: list[np.ndarray] = []
    for file, _ in files:
        try:
            with Image.open(file) as image:  # reads the header only
                if image.width * image.height > _MAX_PIXELS:
                    raise InputError("an image is too large", where=file, found=f"{image.width} x {image.height}", expected=f"at most {_MAX_PIXELS} pixels")
                pixels = np.asarray(image.convert("L" if image.mode in ("1", "L", "I", "I;16", "F") else "RGB"))
        except InputError:
            raise
        except Exception as error:  # Pillow raises many kinds on damaged files
            raise InputError("an image cannot be read", where=file, found=f"{type(error).__name__}: {str(error)[:200]}", expected="an image file") from error
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        if images and pixels.shape != images[0].shape:
            raise InputError(
                "the images have different sizes or colours",
                where=file,
                found=pixels.shape,
                expected=f"{images[0].shape} (channels, height, width) as {files[0][0].name}",
                hint="resize them to one size first",
            )
        if (len(images) + 1) * pixels.nbytes > max_bytes:
            raise InputError("the images are too large together", where=root, expected=f"at most {max_bytes} bytes")
        images.append(np.ascontiguousarray(pixels))
    return np.stack(images), np.array([label for _, label in files], dtype=np.int64), names
