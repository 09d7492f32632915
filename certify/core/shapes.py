"""The shape of every operator's output: the single source of shape rules for the vocabulary of `graph.py`.

One function per operator (windows in `shape_windows.py`). A size, attribute or array that does not fit is an InputError with its
parts; so is an output, or a padded intermediate, that is empty or larger than 2^31 elements. Attributes may be hostile: nothing
about their types or sizes is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

import numpy as np

from . import shape_windows  # noqa: F401  (registers its operators)
from .activation import activation
from .errors import InputError, UnsupportedLayerError
from .shape_fields import MAX_ELEMENTS, PAD_MODES, RULES, Fields, Shape, fits, operator, short


def infer_shape(op: str, in_shapes: Sequence[Shape], attrs: Mapping[str, Any], array_shapes: Mapping[str, Shape], where: str = "") -> Shape:
    """Output shape of an operator, all shapes without the batch axis.

    Args:
        op: an operator of the vocabulary.
        in_shapes: one shape per input, in order, with multiplicity.
        attrs, array_shapes: exactly the names that the vocabulary lists ("perturbation", "bias_perturbation" of folded layers too).
        where: named in errors.

    Raises:
        InputError: unknown operator, missing or unknown or ill-typed attribute or array, shapes that do not fit, an empty or absurd size.
        UnsupportedLayerError: an activation kind without a description, or without a finite slope.

    >>> infer_shape("conv", [(3, 32, 32)], dict(stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1, mode="zeros"), {"weight": (8, 3, 3, 3)})
    (8, 16, 16)
    """
    if not isinstance(op, str) or op not in RULES:
        raise InputError("not an operator of the graph vocabulary", where=where or None, found=short(op), expected=", ".join(sorted(RULES)))
    rule = RULES[op]
    fields = Fields(op, tuple(tuple(s) for s in in_shapes), attrs, {k: tuple(s) for k, s in array_shapes.items()}, where)
    if (len(fields.shapes) != rule.inputs) if rule.inputs is not None else not fields.shapes:
        fields.fail("wrong number of inputs", found=len(fields.shapes), expected="at least 1" if rule.inputs is None else rule.inputs)
    for kind, names, allowed in (("attribute", set(attrs), rule.attrs), ("array", set(array_shapes), rule.arrays)):
        if allowed is not None and not names <= allowed:
            fields.fail(f"unknown {kind}", found=", ".join(sorted(str(n)[:40] for n in names - allowed)), expected=", ".join(sorted(allowed)) or f"no {kind}")
    return fields.sized(rule.function(fields))


@operator("input", inputs=0, attrs="shape")
def _input(f: Fields) -> Shape:
    return f.integers("shape", None, 1)


@operator("constant", inputs=0, arrays="value")
def _constant(f: Fields) -> Shape:
    return f.array("value")


@operator("dense", attrs="perturbation bias_perturbation", arrays="weight bias")
def _dense(f: Fields) -> Shape:
    out, width = f.array("weight", ndim=(2,))
    if not f.x or f.x[-1] != width:
        f.fail("the last axis of the input does not match the weight", found=f"input {f.x}, weight {(out, width)}", expected=f"last axis {width}")
    f.optional("bias", (out,))
    f.folded()
    return (*f.x[:-1], out)


@operator("batch_norm", attrs="eps", arrays="mean var weight bias")
def _batch_norm(f: Fields) -> Shape:
    f.number("eps", 0.0)
    if not f.x:
        f.fail("the input has no channel axis", found=f.x, expected="(channels, ...)")
    f.array("mean", shape=f.x[:1])
    f.array("var", shape=f.x[:1])
    f.optional("weight", f.x[:1])
    f.optional("bias", f.x[:1])
    return f.x


@operator("scale", "divide", arrays="value")
def _scale(f: Fields) -> Shape:
    f.broadcastable("value")
    return f.x


@operator("add", "sub", "multiply", "maximum", "minimum", inputs=2)
def _elementwise(f: Fields) -> Shape:
    if f.shapes[0] != f.shapes[1]:
        f.fail("the inputs have different shapes", found=f"{f.shapes[0]} and {f.shapes[1]}", expected="one shape (expand the smaller one first)")
    return f.x


@operator("matmul", inputs=2)
def _matmul(f: Fields) -> Shape:
    a, b = f.shapes
    if len(a) != len(b) or len(a) < 2 or a[:-2] != b[:-2] or a[-1] != b[-2]:
        f.fail("the inputs cannot be multiplied as matrices", found=f"{a} and {b}", expected="(..., i, k) and (..., k, j)")
    return (*a[:-1], b[-1])


@operator("activation", attrs=None, arrays="slope")
def _activation(f: Fields) -> Shape:
    kind = f.value("kind")
    if not isinstance(kind, str):
        f.fail("an attribute has a wrong type", "kind", found=short(kind), expected="a string")
    if ("slope" in f.arrays) != (kind == "prelu"):
        f.fail("an activation has an array that is not its own, or prelu has none", found=f"{kind} with arrays {sorted(f.arrays)}", expected="'slope' for prelu, none else")
    if f.arrays:
        f.broadcastable("slope")
    for key, value in f.attrs.items():
        if not isinstance(value, int | float | str | np.number):
            f.fail("an activation's parameter is not a number or a string", str(key), found=type(value).__name__)
    try:  # the values of slope are not known here; its domain is checked where the node is used
        activation(kind, **{str(k): v for k, v in f.attrs.items() if k != "kind"}, **{k: np.zeros(1) for k in f.arrays})
    except (InputError, UnsupportedLayerError) as error:
        raise type(error)(error.what, where=f"{f.where or 'activation'}, {error.where}", found=error.found, expected=error.expected, hint=error.hint) from error
    except (TypeError, ValueError, ArithmeticError) as error:
        f.fail("an activation's parameter has a wrong type", found=str(error)[:200])
    return f.x


@operator("group_sort", attrs="axis size layout descending")
def _group_sort(f: Fields) -> Shape:
    axis, size = f.axis(), f.integer("size", 1)
    f.choice("layout", ("consecutive", "halves"))
    f.flag("descending")
    if f.x[axis] % size:
        f.fail("the axis is not a multiple of the group size", "size", found=f"{f.x[axis]} entries, groups of {size}", expected="a divisor")
    return f.x


@operator("concat", inputs=None, attrs="axis")
def _concat(f: Fields) -> Shape:
    axis = f.axis()
    if any(len(s) != len(f.x) or s[:axis] + s[axis + 1 :] != f.x[:axis] + f.x[axis + 1 :] for s in f.shapes):
        f.fail("the inputs differ outside the joined axis", found=f.shapes, expected=f"equal shapes but for axis {axis}")
    return (*f.x[:axis], sum(s[axis] for s in f.shapes), *f.x[axis + 1 :])


@operator("slice", attrs="axis start stop step")
def _slice(f: Fields) -> Shape:
    axis, start, stop, step = f.axis(), f.integer("start", 0), f.integer("stop", 0), f.integer("step", 1)
    if not start < stop <= f.x[axis]:
        f.fail("a slice is empty or leaves its axis", "start, stop", found=(start, stop), expected=f"0 <= start < stop <= {f.x[axis]}")
    return (*f.x[:axis], (stop - start + step - 1) // step, *f.x[axis + 1 :])


@operator("gather", attrs="axis", arrays="index")
def _gather(f: Fields) -> Shape:
    axis = f.axis()
    return (*f.x[:axis], f.array("index", ndim=(1,))[0], *f.x[axis + 1 :])


@operator("reshape", attrs="shape")
def _reshape(f: Fields) -> Shape:
    shape = f.integers("shape", None, 1)
    if math.prod(shape) != math.prod(f.x):
        f.fail("a reshape changes the number of entries", "shape", found=f"{f.x} -> {shape}", expected=f"{math.prod(f.x)} entries")
    return shape


@operator("transpose", attrs="perm")
def _transpose(f: Fields) -> Shape:
    perm = f.integers("perm", len(f.x), 0)
    if sorted(perm) != list(range(len(f.x))):
        f.fail("not a permutation of the axes", "perm", found=perm, expected=f"each of 0 to {len(f.x) - 1} once")
    return tuple(f.x[p] for p in perm)


@operator("expand", attrs="shape")
def _expand(f: Fields) -> Shape:
    shape = f.integers("shape", None, 1)
    if not fits(f.x, shape):
        f.fail("the input does not broadcast to the shape", "shape", found=f"{f.x} -> {shape}", expected="equal sizes, or 1, from the last axis on")
    return shape


@operator("pad", attrs="pads mode value")
def _pad(f: Fields) -> Shape:
    mode = f.choice("mode", ("constant", *PAD_MODES[1:]))
    f.number("value")
    pads = f.pairs("pads", len(f.x), -MAX_ELEMENTS if mode == "constant" else 0)
    for n, pair in zip(f.x, pads):
        f.require_padding("pads", n, pair, mode)
        if n + sum(min(p, 0) for p in pair) < 1:
            f.fail("negative padding removes the whole axis", "pads", found=f"{pair} on an axis of {n}", expected="at least one entry left")
    return tuple(n + low + high for n, (low, high) in zip(f.x, pads))


@operator("reduce", attrs="kind axes keepdims")
def _reduce(f: Fields) -> Shape:
    f.choice("kind", ("mean", "sum", "max", "min"))
    axes, keep = f.integers("axes", None, 0), f.flag("keepdims")
    if not axes or len(set(axes)) != len(axes) or max(axes) >= len(f.x):
        f.fail("not a set of axes of the input", "axes", found=axes, expected=f"some of 0 to {len(f.x) - 1}, each at most once")
    return tuple(1 if i in axes else n for i, n in enumerate(f.x) if keep or i not in axes)


@operator("softmax", "log_softmax", attrs="axis")
def _softmax(f: Fields) -> Shape:
    f.axis()
    return f.x


@operator("logsumexp", attrs="axis")
def _logsumexp(f: Fields) -> Shape:
    axis = f.axis()
    return f.x[:axis] + f.x[axis + 1 :]


@operator("layer_norm", attrs="dims eps center", arrays="weight bias")
def _layer_norm(f: Fields) -> Shape:
    dims = f.integer("dims", 1)
    f.flag("center")
    f.number("eps")  # its sign is `values.require_values`' business: zero and below are refused with the reason
    if dims > len(f.x):
        f.fail("more axes are normalised than the input has", "dims", found=dims, expected=f"1 to {len(f.x)} for shape {f.x}")
    f.optional("weight", f.x[-dims:])
    f.optional("bias", f.x[-dims:])
    return f.x


@operator("attention", inputs=3, attrs="scale causal")
def _attention(f: Fields) -> Shape:
    f.number("scale")
    f.flag("causal")
    q, k, v = f.shapes
    if not len(q) == len(k) == len(v) >= 2 or not q[:-2] == k[:-2] == v[:-2] or q[-1] != k[-1] or k[-2] != v[-2]:
        f.fail("queries, keys and values do not fit", found=f"{q}, {k} and {v}", expected="(..., N, d), (..., M, d) and (..., M, e)")
    return (*q[:-1], v[-1])


def require_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of one sample as a tuple of integers.

    Raises:
        InputError: something else than a sequence of integers.
    """
    try:
        return tuple(index(n) for n in input_shape)
    except TypeError:
        raise InputError("an input shape is a sequence of integers", where="argument input_shape", found=repr(input_shape), expected="for example (3, 32, 32)") from None
