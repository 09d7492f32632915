"""`norm_bound`: the certified norm of a layer as a tensor with a gradient, for training; and what a change of the weights adds to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..core.errors import HypothesisError, InputError, UnsupportedLayerError
from ..core.rounding import U, add_up, mul_up, norms_up, sqrt_up, up
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from .active_peak import grid_direction
from .base import NormBound
from .copied_padding import without_padding
from .estimate import LINEAR_LAYERS, weight_of
from .frobenius import Frobenius
from .grid import grid_factor
from .induced import Induced
from .polyphase import circular_plan, convolution_of, embedding_plan, embedding_plans, require_convolution
from .public import operator_norm
from .subgradient import frobenius, row_and_column, row_or_column, singular_pair, unfolding
from .symbol_estimate import SymbolState
from .taps import Taps, map_of


@dataclass(frozen=True, eq=False)
class NormState:
    """A certified bound, the weights it belongs to, and where it was attained: what one step of training hands to the next.

    bound.upper >= ||A(weight)|| and `upper` >= the norm of the last step's weights are certified, for the layer that `layer` describes; `symbol` and
    `vector` (peaks of the symbol, a singular vector) only save searching.
    """

    upper: float
    weight: np.ndarray
    bound: NormBound
    layer: tuple[Any, ...]
    symbol: SymbolState | None = None
    vector: np.ndarray | None = None


def norm_bound(
    layer: nn.Module, input_shape: Sequence[int], effort: str = "balanced", state: NormState | None = None, drift: float = 0.0, method: str = "auto"
) -> tuple[Tensor, NormState]:
    """(value, state): value = the upper end of `certify.operator_norm` (l2) for the weights as they are now, with the gradient of its active piece.

    The value is rounded up into the weight's dtype. Its gradient D has <D, W> = value (Euler: a norm is homogeneous), and D is

        grid, lines    at the grid frequency w where ||F(w)|| sets the bound, x the top eigenvector of F F*, v = F* x / |F* x|: Re(conj(x) v' e^(i<w,j>)), carried back
                       to each live tap through the polyphase map (exact sections: the same with the section's singular pair)
        dense, any other map whose bound is the norm itself      u v' of the top singular pair
        unfolding, frobenius, diagonal, induced_product          their own (sub)gradient
        copies (reflect, replicate)                              that of the bound of the unpadded map

    each times the constant that makes <D, W> = value: slack, rounding terms and grid factors are constants. Groups: the active one only. Dead taps get 0.
    At ties D is one element of the generalised gradient. Zero weights: value 0, gradient 0. The value is not differentiable twice.

    Args:
        layer: nn.Linear, nn.Conv1d-3d, nn.ConvTranspose1d-3d, any padding mode; parametrized ones too, weights on any device, float32 or float64.
        input_shape: of one sample, without the batch axis.
        effort, method: as in `operator_norm`.
        state: of the last call for this layer and input shape. Unchanged weights keep the bound without a pass; else its vectors start the search.
        drift: with a state, accept `drift_bound` without a pass as long as it is at most (1 + drift) times the last certified bound.

    Guarantee: value >= ||A||_2 in real arithmetic, always; the gradient is a search result (float64) that nothing relies on.

    Raises:
        UnsupportedLayerError: another kind of layer. InputError: a state of another layer. HypothesisError: an upper end of inf. As `operator_norm`.

    Cost: one certified pass (numpy, on the CPU, whatever the device) and a search of its frequency; backward is one product with a stored
    array. torch.compile cannot trace a certificate (LAPACK calls and decisions on values): call it outside the compiled part.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> value, state = norm_bound(layer, (2,))
    >>> value.backward()
    >>> round(value.item(), 4), [round(x, 4) for x in layer.weight.grad[0].tolist()]
    (5.0, [0.6, 0.8])
    """
    _require_layer(layer)
    with parametrize.cached():  # one value of a parametrized weight for the bound and for the gradient
        weight = weight_of(layer)
        stored = weight.detach().cpu().double().numpy().copy()
        map = map_of(layer, input_shape, stored)
        key = (*_geometry(map), stored.shape)
        if state is not None and state.layer != key:
            raise InputError("the state belongs to another layer or input shape", where="argument state", found=state.layer, expected=key)
        fresh = _reused(state, map, stored, drift)
        if fresh is None:
            bound = operator_norm(layer, input_shape, method=method, effort=effort)
            fresh = NormState(bound.upper, stored, bound, key, *((state.symbol, state.vector) if state is not None else (None, bound.start)))
    if not math.isfinite(fresh.upper):
        raise HypothesisError("a bound that is not finite has no gradient", where=type(layer).__name__, found=fresh.bound.method, hint="use method='auto'")
    value = round_up(fresh.upper, weight)
    if not (weight.requires_grad and torch.is_grad_enabled()):
        return value, fresh
    direction, after = _gradient(map, fresh)
    return _Anchored.apply(weight, value, torch.from_numpy(direction).to(weight)), after  # type: ignore[no-untyped-call]


def _require_layer(layer: nn.Module) -> None:
    if torch.compiler.is_compiling():
        why = "a certificate calls LAPACK and branches on its numbers: no compiler can trace it"
        raise HypothesisError("norm_bound cannot run inside torch.compile", found=why, hint="call it outside the compiled function, or wrap the call in torch.compiler.disable")
    if not isinstance(layer, LINEAR_LAYERS):
        raise UnsupportedLayerError("there is no differentiable bound for this layer", where=type(layer).__name__, expected=", ".join(kind.__name__ for kind in LINEAR_LAYERS))


def _reused(state: NormState | None, map: LinearMap, stored: np.ndarray, drift: float) -> NormState | None:
    if state is None:
        return None
    if np.array_equal(state.weight, stored):
        return replace(state, upper=state.bound.upper)
    if drift > 0:
        upper = _drift(state.bound.upper, map, stored - state.weight)
        if upper <= state.bound.upper * (1 + drift):
            return replace(state, upper=upper)  # `weight` stays where the bound was certified: drifts are measured from there
    return None


def _geometry(map: LinearMap) -> tuple[Any, ...]:
    conv = convolution_of(map)
    return (type(map).__name__, conv.axes, conv.groups) if conv is not None else (type(map).__name__, map.input_shape, map.output_shape)


def drift_bound(bound: NormBound | float, layer: nn.Module, input_shape: Sequence[int], old_weight: Tensor, new_weight: Tensor | None = None) -> float:
    """Upper end of ||A(new_weight)||_2, given bound >= ||A(old_weight)||_2: no pass over frequencies.

    Claim: ||A(W + dW)|| <= ||A(W)|| + ||A(dW)||, and ||A(dW)|| <= min(sqrt(prod J) max over groups ||dR||_F, ||A(dW)||_F, sqrt(l1 linf)), J_i the shifts of the
    polyphase kernel R on live taps [Cauchy-Schwarz on F(w); layer_norms.md section 6]; padding that copies pixels multiplies the first by sqrt(prod copies) [Proposition 0].
    Each weight of dW is one float64 subtraction, off by at most u |dW|, which is added; everything is rounded up.

    Args:
        bound: a NormBound (its upper end counts) or a number, for this layer's geometry with the weights `old_weight`.
        new_weight: the layer's own weight when None.

    Raises:
        InputError: shapes differ. SoundnessError: NaN.

    Cost: a few passes over the weights.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> old = torch.tensor([[3.0, 4.0]])
    >>> 5.5 <= drift_bound(5.0, layer, (2,), old, torch.tensor([[3.0, 4.5]])) < 5.500001
    True
    """
    new = weight_of(layer) if new_weight is None else new_weight
    if old_weight.shape != new.shape:
        raise InputError("the two weights have different shapes", where="argument old_weight", found=tuple(old_weight.shape), expected=tuple(new.shape))
    old64, new64 = (w.detach().cpu().double().numpy() for w in (old_weight, new))
    return _drift(bound.upper if isinstance(bound, NormBound) else float(bound), map_of(layer, input_shape, new64), new64 - old64)


def _drift(upper: float, map: LinearMap, change: np.ndarray) -> float:
    moved = map.entrywise(lambda _: change)
    if not moved.stored.any():  # live taps only
        return upper
    exact = up(1.0 + 4.0 * U)  # |dW - fl(dW)| <= u |fl(dW)|
    ends = [mul_up(method.enclose(moved).upper, exact) for method in (Frobenius(), Induced()) if not method.supports(moved)]
    conv = convolution_of(moved)
    if conv is not None:
        plain = conv if conv.mode == "zeros" else without_padding(conv)
        plans = embedding_plans(plain)
        shifts = math.prod(len(p.shifts) for p in plans if p is not None) * math.prod(a.copies for a in conv.axes)
        largest = float(norms_up(plain.weight.reshape(conv.groups, -1), "l2").max())
        ends.append(mul_up(mul_up(sqrt_up(float(shifts)), largest), exact))
    return add_up(upper, min(ends))


def round_up(value: float, like: Tensor) -> Tensor:
    """The least number of the dtype of `like` that is at least `value` (inf where none is), 0-dim, on its device."""
    wide = torch.tensor(value, dtype=torch.float64)
    narrow = wide.to(like.dtype)
    if narrow.double() < wide:
        narrow = torch.nextafter(narrow, torch.full_like(narrow, math.inf))
    return narrow.to(like.device)


class _Anchored(torch.autograd.Function):
    """Forward: the certified value. Backward: the direction with <direction, W> = value."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, value: Tensor, direction: Tensor) -> Tensor:
        ctx.save_for_backward(direction)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad * ctx.saved_tensors[0], None, None


def _gradient(map: LinearMap, state: NormState) -> tuple[np.ndarray, NormState]:
    """(D with <D, W> = state.upper, the state with what the search found)."""
    scaled, e = map.scaled()
    verify = state.bound.evidence.get("verify", {"by": "dense"})
    if verify["by"] == "zero" or not map.stored.any():
        return np.zeros_like(map.stored), state
    certified = state.upper == state.bound.upper  # else the weights have moved on
    direction, symbol, vector = _direction(scaled, verify, state, math.ldexp(1.0, -e) if certified else 0.0)
    size = float(np.vdot(direction, scaled.stored))
    direction = direction * (math.ldexp(state.upper, -e) / size) if size > 0 else np.zeros_like(direction)
    return direction, replace(state, symbol=symbol, vector=vector)


def _direction(map: LinearMap, verify: dict[str, Any], state: NormState, unit: float) -> tuple[np.ndarray, SymbolState | None, np.ndarray | None]:
    """The active piece of a verify entry of `norms.base`, up to a positive factor; `unit` turns its "upper" into the units of the scaled map (0: it does not apply)."""
    by, claim = verify["by"], verify.get("claim")
    if by == "copies":
        return _direction(without_padding(require_convolution(map)), verify["of"], state, unit)
    if by in ("grid", "lines", "unfolding"):
        conv = require_convolution(map)
        taps = _taps(conv, claim)
        if by == "unfolding":
            return unfolding(conv, taps, verify), state.symbol, state.vector
        level = verify["upper"] * unit / _factor(conv, taps, verify) if unit > 0 else 0.0
        direction, symbol = grid_direction(conv, taps, verify, level, state.symbol)
        return direction, symbol, state.vector
    closed = {"frobenius": frobenius, "induced_product": row_and_column, "diagonal": lambda m: row_or_column(m, verify["kind"])}.get(by)
    if closed is not None:
        return closed(map), state.symbol, state.vector
    direction, vector = singular_pair(map, state.vector)
    return direction, state.symbol, vector


def _factor(conv: ConvMap, taps: Taps, verify: dict[str, Any]) -> float:
    """What the claim multiplies its grid maximum with."""
    if verify.get("claim") == "any_size":
        return grid_factor(taps.degrees, tuple(verify["period"]))
    if verify.get("claim") == "circular_rows":
        return math.sqrt(math.prod(-(-a.outputs // (a.inputs // math.gcd(a.inputs, a.stride))) for a in conv.axes))
    return 1.0


def _taps(conv: ConvMap, claim: str | None) -> Taps:
    if claim == "circular_rows":
        return Taps.of(conv.axes, [circular_plan(a, stride=1) for a in conv.axes])
    return Taps.of(conv.axes, [circular_plan(a) if conv.mode != "zeros" else embedding_plan(a) for a in conv.axes])
