"""A LipschitzCertificate as a file, through the certificate format of `certify.proof`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..proof import certificate as proof

if TYPE_CHECKING:
    from .certificate import LipschitzCertificate


def write_certificate(certificate: LipschitzCertificate, path) -> Path:
    """Write kind "lipschitz" to exactly `path`.

    The file proves the product of its steps: where a closed form was tighter, the file states the product's (larger, still true) upper end,
    because that is what the checker re-derives.

    Raises:
        InputError: the upper end is infinite, or the path cannot be written.
    """
    lines = [proof.step(s.node, s.op, s.rule, s.method, s.inputs, s.constants, s.combine, s.running, s.evidence) for s in certificate.steps]
    upper = certificate.steps[-1].running if certificate.steps else 1.0
    witness = certificate.witness
    pair = None if witness.first is None or witness.second is None else (witness.first, witness.second)
    lower = min(witness.value, certificate.lower)
    document, arrays = proof.lipschitz_document(certificate.graph, certificate.norm, lines, upper, lower, method="product", witness=pair)
    return proof.write(path, document, arrays)
