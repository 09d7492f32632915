"""Losses: loss(logits, labels, pairs=None) -> scalar tensor; `pairs` are the Lipschitz constants of logit differences."""

from .annealing import LogitAnnealing
from .base import Loss
from .certified_margin import CertifiedMargin
from .emma import EMMA
from .gloro import GloRo
from .hinge_kr import HingeKR
from .offset import OffsetCrossEntropy

__all__ = ["EMMA", "CertifiedMargin", "GloRo", "HingeKR", "LogitAnnealing", "Loss", "OffsetCrossEntropy"]
