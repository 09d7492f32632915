"""Building blocks of 1-Lipschitz and nearly 1-Lipschitz networks: linear residuals, heads, pools, centering.

Every block has `lipschitz_estimate(sigma)`, its constant as training sees it, and `exported()`, the same function in layers of torch.
"""

from .centering import Centering
from .heads import OrthogonalLinear, UnitNormLinear
from .liresnet import LiResNetBlock
from .pooling import L2NormPool2d, ScaledAvgPool2d

__all__ = ["Centering", "L2NormPool2d", "LiResNetBlock", "OrthogonalLinear", "ScaledAvgPool2d", "UnitNormLinear"]
