"""Handlers of dot-product attention: the function, nn.MultiheadAttention and the layers of nn.TransformerEncoder."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import nn

from .errors import InputError
from .trace_emit import Call, Traced, Unusable, translates
from .trace_norms import normalised

_WEIGHTS = Unusable("the weights of an attention are used; only its first result is supported")


def _no_dropout(call: Call, p: float, training: bool = True) -> None:
    if training and p > 0:
        raise InputError("an active dropout: its output is random", where=call.where, found=f"training mode, p = {p}", expected="evaluation mode", hint="call model.eval() first")


def _causal(call: Call, mask: Any, true_reads: bool, queries: int, keys: int) -> bool:
    """Is the mask the causal one (True), or does it let everything through (False)? Any other is refused."""
    if mask is None:
        return False
    if isinstance(mask, Traced):
        call.refuse(f"'{call.op}' with a mask that depends on the input")
    array = mask.detach().cpu().numpy() if hasattr(mask, "detach") else np.asarray(mask)
    if array.dtype == np.bool_:
        reads = array if true_reads else ~array
    else:
        reads = array == 0
        if not (reads | np.isneginf(array)).all():
            call.refuse(f"'{call.op}' with a mask of numbers that are added to the logits", expected="no mask, or the causal one (zeros and -inf)")
    if reads.size != queries * keys or reads.shape[-2:] != (queries, keys):
        call.refuse(f"'{call.op}' with a mask per sample or per head", found=f"shape {array.shape}", expected=f"{(queries, keys)}")
    if reads.all():
        return False
    if not (reads.reshape(queries, keys) == (np.arange(keys) <= np.arange(queries)[:, None])).all():
        call.refuse(f"'{call.op}' with a mask that is neither empty nor causal", expected="no mask, or j <= i for query i and key j")
    return True


@translates("scaled_dot_product_attention", several=True)
def dot_product(
    call: Call, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False, scale: Any = None, enable_gqa: bool = False
) -> str:
    """torch's scale is 1 / sqrt(d) unless given; its causal mask is aligned to the first query and the first key."""
    _no_dropout(call, dropout_p)
    if enable_gqa:
        call.refuse(f"'{call.op}' with groups of queries that share keys (enable_gqa)", hint="repeat keys and values along the head axis (repeat_interleave)")
    ndim = max(v.value.ndim if isinstance(v, Traced) else v.ndim for v in (query, key, value))
    names = []
    for v in (query, key, value):
        if isinstance(v, Traced) and (v.value.ndim != ndim or ndim < 3):
            call.refuse_batch("takes the batch axis for the sequence")
        names.append(v.name if isinstance(v, Traced) else call.constant(call.per_sample(v, ndim)))
    shapes = [call.shape(name) for name in names]
    try:
        lead = np.broadcast_shapes(*(s[:-2] for s in shapes))
    except ValueError:
        call.refuse(f"'{call.op}' of shapes that do not fit", found=shapes)
    names = [call.expand(name, (*lead, *s[-2:])) for name, s in zip(names, shapes)]
    causal = _causal(call, attn_mask, True, shapes[0][-2], shapes[1][-2]) or bool(is_causal)
    return call.add("attention", names, {"scale": 1.0 / math.sqrt(shapes[0][-1]) if scale is None else float(scale), "causal": causal})


@translates("multi_head_attention", several=True)
def multi_head_attention(
    call: Call, m: nn.MultiheadAttention, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple:  # fmt: skip
    """nn.MultiheadAttention with the batch in front; (tokens, the weights, which must not be used)."""
    if not all(isinstance(v, Traced) for v in (query, key, value)):
        call.refuse("an attention layer with a query, key or value that does not depend on the input")
    if key_padding_mask is not None:
        call.refuse("an attention layer with a mask of padded keys", hint="cut the padding off: the graph is about sequences of one length")
    if not m.batch_first or any(v.value.ndim != 3 for v in (query, key, value)):
        call.refuse_batch("takes the first axis for the sequence (batch_first=False), or has no batch")
    causal = _causal(call, attn_mask, False, query.shape[0], key.shape[0])
    return heads(call, m, (query.name, key.name, value.name), causal), _WEIGHTS


def heads(call: Call, m: nn.MultiheadAttention, names: tuple[str, str, str], causal: bool, part: str = "") -> str:
    """Projections, tokens cut into heads, attention, heads joined, the last projection."""
    if m.bias_k is not None or m.bias_v is not None or m.add_zero_attn:
        call.refuse("an attention layer that appends keys (add_bias_kv, add_zero_attn)")
    _no_dropout(call, m.dropout, m.training)
    before = f"{part}." if part else ""
    width = m.embed_dim
    weights = [m.q_proj_weight, m.k_proj_weight, m.v_proj_weight] if m.in_proj_weight is None else list(m.in_proj_weight.split(width))
    biases = [None] * 3 if m.in_proj_bias is None else list(m.in_proj_bias.split(width))
    cut = []
    for what, name, weight, bias in zip(("query", "key", "value"), names, weights, biases):
        arrays = {"weight": call.array(weight), **({} if bias is None else {"bias": call.array(bias)})}
        tokens = call.add("dense", [name], {}, arrays, part=f"{before}{what}")
        split = call.reshape(tokens, (call.shape(tokens)[0], m.num_heads, m.head_dim), part=f"{before}{what}.heads")
        cut.append(call.add("transpose", [split], {"perm": (1, 0, 2)}, part=f"{before}{what}.turned"))
    mixed = call.add("attention", cut, {"scale": 1.0 / math.sqrt(m.head_dim), "causal": causal}, part=f"{before}attention")
    turned = call.add("transpose", [mixed], {"perm": (1, 0, 2)}, part=f"{before}turned")
    joined = call.reshape(turned, (call.shape(turned)[0], width), part=f"{before}joined")
    arrays = {"weight": call.array(m.out_proj.weight), **({} if m.out_proj.bias is None else {"bias": call.array(m.out_proj.bias)})}
    return call.add("dense", [joined], {}, arrays, part=f"{before}out")


@translates("transformer_encoder_layer", several=True)
def encoder_layer(call: Call, m: nn.TransformerEncoderLayer, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> str:
    return _encoded(call, m, _tokens(call, src, src_key_padding_mask), src_mask, "")


@translates("transformer_encoder", several=True)
def encoder(call: Call, m: nn.TransformerEncoder, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: Any = None) -> str:
    name = _tokens(call, src, src_key_padding_mask)
    for i, layer in enumerate(m.layers):
        if type(layer) is not nn.TransformerEncoderLayer:
            call.refuse("an encoder of layers of one's own", found=type(layer).__name__, expected="nn.TransformerEncoderLayer", hint="call the layers one after the other instead")
        name = _encoded(call, layer, name, mask, f"layers.{i}.")
    if m.norm is not None and not isinstance(m.norm, nn.LayerNorm):
        call.refuse("an encoder whose last norm is not a LayerNorm", found=type(m.norm).__name__)
    return name if m.norm is None else _norm(call, m.norm, name, "norm")


def _tokens(call: Call, src: Any, padded: Any) -> str:
    if padded is not None:
        call.refuse("an encoder with a mask of padded tokens", hint="cut the padding off: the graph is about sequences of one length")
    if not isinstance(src, Traced) or src.value.ndim != 3:
        call.refuse_batch("has no batch axis, or takes it for the sequence")
    return src.name


def _encoded(call: Call, m: nn.TransformerEncoderLayer, x: str, mask: Any, part: str) -> str:
    """x + attention, x + feed forward, with the norms before or behind; dropouts are off."""
    parts: dict[type, list[Any]] = {
        nn.MultiheadAttention: [m.self_attn],
        nn.LayerNorm: [m.norm1, m.norm2],
        nn.Linear: [m.linear1, m.linear2],
        nn.Dropout: [m.dropout, m.dropout1, m.dropout2],
    }
    if any(type(layer) is not cls for cls, layers in parts.items() for layer in layers):
        call.refuse("an encoder layer with parts of one's own", expected="MultiheadAttention, LayerNorm, Linear and Dropout", hint="write its forward out in a module of your own")
    if not m.self_attn.batch_first:
        call.refuse_batch("takes the first axis for the sequence (batch_first=False)")
    for dropout in (m.dropout, m.dropout1, m.dropout2):
        _no_dropout(call, dropout.p, dropout.training)
    length = call.shape(x)[0]
    causal = _causal(call, mask, False, length, length)
    attended = _norm(call, m.norm1, x, f"{part}norm1") if m.norm_first else x
    attended = call.add("add", [x, heads(call, m.self_attn, (attended,) * 3, causal, f"{part}self_attn")], part=f"{part}sum1")
    x = attended if m.norm_first else _norm(call, m.norm1, attended, f"{part}norm1")
    hidden = _norm(call, m.norm2, x, f"{part}norm2") if m.norm_first else x
    hidden = _activated(call, m, _linear(call, m.linear1, hidden, f"{part}linear1"), f"{part}activation")
    x = call.add("add", [x, _linear(call, m.linear2, hidden, f"{part}linear2")], part=f"{part}sum2")
    return x if m.norm_first else _norm(call, m.norm2, x, f"{part}norm2")


def _norm(call: Call, m: nn.LayerNorm, x: str, part: str) -> str:
    return normalised(call, x, len(m.normalized_shape), m.eps, True, m.weight, m.bias, part=part)


def _linear(call: Call, m: nn.Linear, x: str, part: str) -> str:
    return call.add("dense", [x], {}, {"weight": call.array(m.weight), **({} if m.bias is None else {"bias": call.array(m.bias)})}, part=part)


def _activated(call: Call, m: nn.TransformerEncoderLayer, x: str, part: str) -> str:
    f = m.activation
    if f is F.relu or isinstance(f, nn.ReLU):
        return call.add("activation", [x], {"kind": "relu"}, part=part)
    if f is F.gelu or isinstance(f, nn.GELU):
        return call.add("activation", [x], {"kind": "gelu", "approximate": getattr(f, "approximate", "none")}, part=part)
    call.refuse("an encoder layer whose activation is neither relu nor gelu", found=getattr(f, "__name__", type(f).__name__))
