"""The files of `certify lipschitz`: a certificate, the picture, and the folder of --out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .lipschitz_rungs import Ladder

CERTIFICATE, PICTURE, DOCUMENT = "certificate", "ladder.png", "lipschitz.json"


def written(ladder: Ladder, fields: Mapping[str, Any], title: str, out: Path | None, save: Path | None, plot: Path | None) -> tuple[dict[str, str], InputError | None]:
    """Write what was asked for: kind -> path, and the error if something could not be written (the ladder must be printed all the same).

    The folder gets `certificate`, `ladder.png` (if matplotlib is installed) and, last, `lipschitz.json` with everything that --json prints.
    """
    from . import results
    from .lipschitz_plot import save_ladder
    from .lipschitz_text import ordered
    from .plot import can_plot

    files: dict[str, str] = {}
    try:
        for path in [*([save] if save is not None else []), *([out / CERTIFICATE] if out is not None else [])]:
            assert ladder.certificate is not None
            files["certificate"] = str(ladder.certificate.save(path))
        pictures = [*([plot] if plot is not None else []), *([out / PICTURE] if out is not None and can_plot() else [])]
        for path in pictures:
            files["plot"] = str(save_ladder(path, ordered(ladder), ladder.lower, ladder.norm, title))
        if out is not None:
            files["out"] = str(out)
            results.write_json(out / DOCUMENT, {**fields, **files})
    except InputError as error:
        return files, error
    return files, None
