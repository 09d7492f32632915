"""From proved sets to verdicts: regions, patches of sets and tubes, proofs by cutting, refutation by a proved thin tube."""

from .decide import prove, verify

__all__ = ["prove", "verify"]
