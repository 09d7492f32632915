"""A LipschitzCertificate as a file, through the certificate format of `certify.proof`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import HypothesisError
from ..proof import certificate as proof
from .evidence import evidence_of

if TYPE_CHECKING:
    from .certificate import LipschitzCertificate


def write_certificate(certificate: LipschitzCertificate, path) -> Path:
    """Write kind "lipschitz" to exactly `path`.

    The file proves the product of its steps and, for method "sdp", the semidefinite bound by its multipliers. Where a closed form was tighter, the file
    states the product's (larger, still true) upper end, because that is what the checker re-derives.

    Raises:
        InputError: the upper end is infinite, or the path cannot be written.
    """
    if certificate.region is not None:
        raise HypothesisError(
            "a constant of a region is not written to a file yet",
            where="save",
            found=f"a {type(certificate.region).__name__}",
            expected="a global constant",
            hint="certify.radius(...).save keeps what holds near single inputs",
        )
    lines = [proof.step(s.node, s.op, s.rule, s.method, s.inputs, s.constants, s.combine, s.running, s.evidence) for s in certificate.steps]
    upper = certificate.steps[-1].running if certificate.steps else 1.0
    witness = certificate.witness
    pair = None if witness.first is None or witness.second is None else (witness.first, witness.second)
    lower = min(witness.value, certificate.lower)
    proofs = [] if certificate.proof is None else [evidence_of(certificate.proof, 0)]
    upper, method = min(upper, certificate.upper) if proofs else upper, "sdp" if proofs else "product"
    document, arrays = proof.lipschitz_document(certificate.graph, certificate.norm, lines, upper, lower, method=method, witness=pair, proofs=proofs)
    return proof.write(path, document, arrays)
