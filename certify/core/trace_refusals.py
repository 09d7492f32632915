"""What is known about the operators that are refused: the message a user gets instead of a wrong number."""

from __future__ import annotations

from .errors import CertifyError, UnsupportedLayerError
from .trace_emit import ADD_ONE

_ATTENTION = (
    "dot-product attention has no finite global Lipschitz constant (its slope grows with the square of the tokens), and this form of it is not read; "
    "nn.MultiheadAttention, nn.TransformerEncoderLayer and scaled_dot_product_attention are, for constants on a region"
)
_GROWS = "it has no finite global Lipschitz constant: its slope is unbounded"
_JUMPS = "it is not continuous, so it has no Lipschitz constant"
_STATISTICS = "it divides by a statistic of its own input; its global constant is of the order of 1 / sqrt(eps) or worse, and no rule for it is written yet"
_VALUES = "its result depends on the values of the input: data-dependent control flow or indexing cannot be written as one graph"
_MISSING = "it has a finite constant, but the graph vocabulary has no operator for it yet"
_RECURRENT = "recurrent layers multiply gates and states: no finite global constant is known"
_INTEGERS = "it maps integers; distances between integer inputs have no radius"
_RANDOM = "its output is random"

_TABLE = {
    _ATTENTION: """multi_head_attention_forward Transformer TransformerDecoder TransformerDecoderLayer _native_multi_head_attention
        _transformer_encoder_layer_fwd _scaled_dot_product_flash_attention_for_cpu""",
    _GROWS: """exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal pow cumprod prod sinh cosh tan special_erfinv erfinv lgamma digamma glu einsum bilinear
        tensordot outer ger kron dot vdot cross addcmul addcdiv baddbmm asin acos acosh atanh logit var var_mean""",
    _JUMPS: "hardshrink sign sgn round floor ceil trunc frac fmod remainder floor_divide floordiv mod heaviside",
    _STATISTICS: "local_response_norm normalize cosine_similarity",
    _VALUES: """gt lt ge le eq ne greater less greater_equal less_equal equal not_equal isnan isinf isfinite where item tolist __bool__ nonzero argmax argmin
        argsort masked_select unique index_put bincount histc searchsorted bucketize gather scatter scatter_add take_along_dim any all and_ or_ not_ invert""",
    _MISSING: """cumsum upsample_bilinear upsample_bilinear2d upsample_trilinear3d upsample_linear1d fold diff trace fft_fft fft_rfft fft_ifft fft_fft2 slice_scatter
        select_scatter masked_fill tril triu std std_mean norm linalg_norm linalg_vector_norm vector_norm lp_pool1d lp_pool2d lp_pool3d cdist atan arctan asinh hypot
        logaddexp logcumsumexp median kthvalue cummax cummin""",
    _RECURRENT: "LSTM GRU RNN LSTMCell GRUCell RNNCell lstm gru rnn_tanh rnn_relu",
    _INTEGERS: "embedding embedding_bag Embedding EmbeddingBag one_hot",
    _RANDOM: "gumbel_softmax rrelu_with_noise fractional_max_pool2d fractional_max_pool3d rand_like randn_like randint_like multinomial normal bernoulli native_dropout",
}
KNOWN = {name: reason for reason, names in _TABLE.items() for name in names.split()}


def refusal(name: str, where: str) -> CertifyError:
    """The error for an operator without a handler: where it stands, what is known about it, how to add it."""
    known = KNOWN.get(name)
    what = f"'{name}' is not supported" + (f": {known}" if known else ": no handler translates it into the graph vocabulary")
    hint = ADD_ONE if known in (None, _MISSING, _STATISTICS) else "replace the layer; methods on bounded regions may come later"
    if known == _VALUES:
        hint = "if the choice does not depend on the input's values, write it with Python numbers; otherwise the layer cannot be certified"
    return UnsupportedLayerError(what, where=where, found=f"operator or layer '{name}'", expected="an operator of the vocabulary in certify/core/graph.py", hint=hint)
