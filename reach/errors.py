"""The errors of `reach`: members of certify's family, so that one `except` catches all of them."""

from __future__ import annotations

from typing import Any

from certify.core.errors import CertifyError


class ReachError(CertifyError):
    """Base of the errors that only reachability can meet: a set that cannot be propagated, an expression outside its domain."""


class RemainderError(ReachError):
    """The enclosure stopped growing honestly: an inclusion could not be proved, or the remainder outgrew its limit.

    Args:
        what, where, found, expected, hint: as in `CertifyError`; `where` says the time and the control step.
        time: end of the part that is proved, in the plant's unit of time.
        step: the control step (counted from 1) that could not be finished.
        flowpipe: what was proved until then; None when nothing was.
        diagnosis: shares of the remainder by cause, as text (which setting to raise).
    """

    def __init__(self, what: str, *, time: float = 0.0, step: int = 0, flowpipe: Any = None, diagnosis: str = "", **parts: Any):
        super().__init__(what, **parts)
        self.time, self.step, self.flowpipe, self.diagnosis = time, step, flowpipe, diagnosis

    def __reduce__(self):
        return _rebuild, (self.what, self.where, self.found, self.expected, self.hint, self.time, self.step, self.flowpipe, self.diagnosis)


def _rebuild(what, where, found, expected, hint, time, step, flowpipe, diagnosis):
    return RemainderError(what, where=where, found=found, expected=expected, hint=hint, time=time, step=step, flowpipe=flowpipe, diagnosis=diagnosis)
