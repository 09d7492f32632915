"""The error family, and how a message is built: what, where, found, expected, what to try.

Every error that a user can meet is one of these. A message always says what happened; the other
four parts are printed when they are known, one per line, so that a stranger can act on it.
"""

from __future__ import annotations


class CertifyError(Exception):
    """Base of every error of `certify` and `reach`.

    Args:
        what: one sentence, what went wrong.
        where: the smallest guilty part (layer, file, field, line, step).
        found: what was there.
        expected: what would have been accepted.
        hint: what to try next.

    The parts stay readable as attributes of the same names.
    """

    def __init__(self, what: str, *, where: object = None, found: object = None, expected: object = None, hint: object = None):
        self.what, self.where, self.found, self.expected, self.hint = what, where, found, expected, hint
        parts = {"where": where, "found": found, "expected": expected, "try": hint}
        lines = [what, *(f"  {name + ':':<10}{text}" for name, text in parts.items() if text is not None)]
        super().__init__("\n".join(lines))

    def __reduce__(self):
        """Keep the parts when the error crosses a process boundary."""
        return _rebuild, (type(self), self.what, self.where, self.found, self.expected, self.hint)


def _rebuild(cls, what, where, found, expected, hint):
    return cls(what, where=where, found=found, expected=expected, hint=hint)


class UnsupportedLayerError(CertifyError):
    """A layer or operator without a rule, or one for which no finite constant exists."""


class HypothesisError(CertifyError):
    """A theorem was asked for where one of its conditions does not hold."""


class SoundnessError(CertifyError):
    """Two enclosures of the same number contradict each other, or the arithmetic is not IEEE 754: never to be ignored."""


class CertificateError(CertifyError):
    """A certificate that does not hold: names the step, the stored and the recomputed value."""


class InputError(CertifyError, ValueError):
    """Something handed in cannot be used: file, field, line, found, expected."""


class TrainingError(CertifyError):
    """Training cannot go on: a loss or a weight that is not finite; names epoch and step, and what is kept."""
