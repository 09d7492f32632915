"""What trace refuses, it refuses by name and place, with the reason and what to try: never a crash, never a wrong graph."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from strategies.models import Functional
from torch import nn
from torch.nn.utils import parametrizations

from certify.core.errors import InputError, SoundnessError, UnsupportedLayerError
from certify.core.trace import trace


def refusal(model, shape, error, *words: str, evaluate: bool = True):
    """trace raises `error` with all its parts, and the words are in the message."""
    with pytest.raises(error) as caught:
        trace(model.eval() if evaluate else model, shape)
    assert caught.value.what and caught.value.where is not None
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return caught.value


class Inner(nn.Module):
    """Puts a layer at the path block.inner."""

    def __init__(self, layer):
        super().__init__()
        self.block = nn.Module()
        self.block.inner = layer
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.block.inner(self.fc(x))


class SelfAttention(nn.Module):
    def __init__(self, call=lambda m, x: m(x, x, x)[0], batch_first=True, **settings):
        super().__init__()
        self.attention, self.call = nn.MultiheadAttention(4, 2, batch_first=batch_first, **settings), call

    def forward(self, x):
        return self.call(self.attention, x)


class OtherNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x) + 1


def encoder_layer(**parts):
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    for name, part in parts.items():
        setattr(layer, name, part)
    return layer


MODULES = {
    "layer_norm_eps_zero": (Inner(nn.LayerNorm(4, eps=0.0)), (4,), ("layer_norm", "block.inner", "eps <= 0", "no finite constant")),
    "rms_norm_eps_zero": (Inner(nn.RMSNorm(4, eps=0.0)), (4,), ("rms_norm", "block.inner", "eps <= 0")),
    "rms_norm_eps_of_the_dtype": (Functional(lambda m, x: F.rms_norm(m.fc(x), (4,)), fc=nn.Linear(4, 4)), (4,), ("rms_norm", "eps", "dtype")),
    "layer_norm_over_the_batch": (Functional(lambda m, x: F.layer_norm(x, x.shape)), (4,), ("layer_norm", "batch axis")),
    "instance_norm_without_channels": (nn.Sequential(nn.InstanceNorm1d(3)), (5,), ("instance_norm", "batch axis")),
    "local_response_norm": (nn.Sequential(nn.LocalResponseNorm(2)), (4, 3), ()),
    "attention_sequence_first": (SelfAttention(batch_first=False), (3, 4), ("attention (MultiheadAttention)", "batch_first=False")),
    "attention_appended_keys": (SelfAttention(add_bias_kv=True), (3, 4), ("add_bias_kv", "attention (MultiheadAttention)")),
    "attention_weights": (SelfAttention(lambda m, x: 2 * m(x, x, x)[1]), (3, 4), ("weights of an attention",)),
    "attention_float_mask": (SelfAttention(lambda m, x: m(x, x, x, attn_mask=torch.full((3, 3), 0.5))[0]), (3, 4), ("added to the logits",)),
    "attention_odd_mask": (SelfAttention(lambda m, x: m(x, x, x, attn_mask=torch.eye(3).bool())[0]), (3, 4), ("neither empty nor causal",)),
    "transformer_decoder": (nn.TransformerDecoderLayer(4, 2, 8, batch_first=True), (3, 4), ("no finite global Lipschitz constant", "TransformerDecoderLayer")),
    "encoder_with_another_norm": (encoder_layer(norm1=OtherNorm(4)), (3, 4), ("parts of one's own",)),
    "encoder_with_another_activation": (encoder_layer(activation=torch.sigmoid), (3, 4), ("neither relu nor gelu", "sigmoid")),
    "lstm": (Functional(lambda m, x: m.cell(x)[0], cell=nn.LSTM(4, 3, batch_first=True)), (2, 4), ("recurrent", "cell (LSTM)")),
    "gru_cell": (Functional(lambda m, x: m.cell(x), cell=nn.GRUCell(4, 3)), (4,), ("recurrent", "cell (GRUCell)")),
    "embedding": (nn.Sequential(nn.Embedding(10, 3)), (4,), ("Embedding", "integers")),
    "bilinear_upsampling": (nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear")), (2, 3, 3), ("bilinear", "0 (Upsample)")),
    "upsampling_by_a_fraction": (nn.Sequential(nn.Upsample(scale_factor=1.5)), (2, 4, 4), ("integer factors",)),
    "glu": (Inner(nn.GLU()), (4,), ("glu", "no finite global")),
    "hardshrink": (Inner(nn.Hardshrink()), (4,), ("hardshrink", "not continuous")),
    "threshold": (Inner(nn.Threshold(0.1, 20.0)), (4,), ("threshold", "no Lipschitz constant")),
    "softplus_that_jumps": (Inner(nn.Softplus(threshold=1.0)), (4,), ("softplus", "jumps")),
    "celu_negative": (Inner(nn.CELU(-1.0)), (4,), ("celu",)),
    "lp_pool": (nn.Sequential(nn.LPPool2d(2, 2)), (1, 4, 4), ("lp_pool2d", "finite constant")),
    "adaptive_max_pool": (nn.Sequential(nn.AdaptiveMaxPool2d(3)), (1, 4, 4), ("adaptive max pool",)),
}


@pytest.mark.parametrize("name", MODULES)
def test_layers(name):
    model, shape, words = MODULES[name]
    assert refusal(model, shape, UnsupportedLayerError, *words).where


def _power_in_place(x):
    y = x.relu()
    z = y
    y **= 3
    return y + z


FUNCTIONS = {
    "attention_with_logits_of_its_own": (lambda m, x: F.scaled_dot_product_attention(x, x, x, attn_mask=x @ x.mT), "mask that depends on the input"),
    "attention_with_shared_keys": (lambda m, x: F.scaled_dot_product_attention(x[:, None].repeat(1, 2, 1, 1), x[:, None], x[:, None], enable_gqa=True), "enable_gqa"),
    "attention_mask_per_head": (
        lambda m, x: F.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(1, 4, 4).bool().expand(x.shape[0], 4, 4)),
        "per sample",
    ),
    "exp": (lambda m, x: x.exp(), "no finite global"),
    "division": (lambda m, x: 1 / (x.abs() + 1), "no finite global"),
    "division_by_activation": (lambda m, x: x / x.sigmoid(), "no finite global"),
    "square_root": (lambda m, x: torch.sqrt(x.abs()), "no finite global"),
    "power": (lambda m, x: x**3, "power"),
    "power_in_place": (lambda m, x: _power_in_place(x), "ipow"),
    "normalize": (lambda m, x: F.normalize(x, dim=-1), "statistic"),
    "round": (lambda m, x: x.round(), "not continuous"),
    "floor_division": (lambda m, x: x // 2, "not continuous"),
    "rounded_division": (lambda m, x: torch.div(x, 2, rounding_mode="floor"), "not continuous"),
    "where": (lambda m, x: torch.where(x > 0, x, 0.1 * x), "values of the input"),
    "argmax": (lambda m, x: x * x.argmax(1, keepdim=True), "values of the input"),
    "sort_indices": (lambda m, x: x.gather(1, x.sort(1)[1]), "indices"),
    "max_indices": (lambda m, x: x.max(1)[1] + x, "indices"),
    "einsum": (lambda m, x: torch.einsum("bij,bjk->bik", x, x), "einsum"),
    "unknown": (lambda m, x: torch.special.i0(x), "no handler"),
    "layer_with_traced_weight": (lambda m, x: F.linear(m.buffer, x[0]), "batch"),
    "matrix_product_of_ranks": (lambda m, x: x @ x[:, 0].unsqueeze(-1), ""),
    "std": (lambda m, x: x - x.std(1, keepdim=True), "std"),
    "unsorted_topk": (lambda m, x: x.topk(2, 1, sorted=False)[0], "sorted"),
    "half": (lambda m, x: x.half().float(), "rounds"),
    "tuple": (lambda m, x: (x, x + 1), "single tensor"),
    "constant_output": (lambda m, x: m.buffer, "single tensor"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    function, word = FUNCTIONS[name]
    model = Functional(function, buffer=torch.randn(4, 4))
    if name == "matrix_product_of_ranks":  # a product of activations is legal in a graph and refused by the rules
        assert any(node.op == "matmul" for node in trace(model, (4, 4)).nodes)
        return
    refusal(model, (4, 4), UnsupportedLayerError, word)


BATCH = {
    "mean_of_all": lambda m, x: x - x.mean(),
    "sum_over_batch": lambda m, x: x - x.sum(0),
    "batch_softmax": lambda m, x: F.softmax(x, 0),
    "first_sample": lambda m, x: x - x[0],
    "part_of_batch": lambda m, x: x[1:],
    "first_three": lambda m, x: x[:3] + 0 * x[:3],
    "flip_batch": lambda m, x: x.flip(0),
    "roll_batch": lambda m, x: torch.roll(x, 1, 0) + x,
    "transposed": lambda m, x: x.transpose(0, 1),
    "merged": lambda m, x: x.flatten(),
    "unsqueezed_in_front": lambda m, x: x.unsqueeze(0),
    "split_batch": lambda m, x: x.split(1, 0)[0] + x,
    "concat_batch": lambda m, x: torch.cat([x, x], 0),
    "batch_in_matrix_product": lambda m, x: m.square @ x[:, 0],
    "batch_size_as_number": lambda m, x: x * x.shape[0],
    "batch_size_as_bound": lambda m, x: x.clamp(max=x.size(0) - 2.5),
    "per_sample_constant": lambda m, x: x + torch.arange(x.shape[0]).view(-1, 1, 1),
    "broadcast_against_batch": lambda m, x: x + x[:, 0, 0],
    "padded_batch": lambda m, x: F.pad(x, (0, 0, 0, 0, 1, 1)),
    "max_of_all": lambda m, x: x - x.max(),
    "sorted_batch": lambda m, x: x.sort(0).values,
    "batch_as_channels": lambda m, x: F.conv2d(x, m.kernel),
    "cumulative": lambda m, x: x.repeat(2, 1, 1),
}


@pytest.mark.parametrize("name", BATCH)
def test_the_batch_axis_is_sacred(name):
    model = Functional(BATCH[name], square=torch.randn(3, 3), kernel=torch.randn(3, 3, 1, 1))
    refusal(model, (4, 4), (UnsupportedLayerError, InputError))


def test_batch_axis_misuse_is_named():
    error = refusal(Functional(lambda m, x: x - x.mean()), (4,), UnsupportedLayerError, "'mean'", "batch axis")
    assert "batch" in error.hint


class DataDependent(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class PythonNumber(nn.Module):
    def forward(self, x):
        return x * float(x.max())


@pytest.mark.parametrize("model", [DataDependent(), PythonNumber()], ids=["branch", "item"])
def test_data_dependent_control_flow_shows_both_reasons(model):
    error = refusal(model, (4,), UnsupportedLayerError, "torch.fx", "torch.export", "control flow")
    assert len(str(error)) < 2000


TRAINING = {
    "batch_norm": (lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "1 (BatchNorm1d)"),
    "dropout": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2)), "1 (Dropout)"),
    "rrelu": (lambda: nn.Sequential(nn.RReLU()), "0 (RReLU)"),
    "spectral_norm": (lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 4))), "spectral_norm in training"),
    "old_spectral_norm": (lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 4))), "spectral_norm in training"),
    "attention": (lambda: SelfAttention(lambda m, x: m(x[:, None], x[:, None], x[:, None])[0][:, 0], dropout=0.3), "dropout of attention weights"),
    "functional_dropout": (lambda: Functional(lambda m, x: F.dropout(x, 0.3, m.training)), "dropout"),
    "functional_batch_norm": (lambda: Functional(lambda m, x: F.batch_norm(x, m.mean, m.var, training=m.training), mean=torch.zeros(4), var=torch.ones(4)), "BatchNorm"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TRAINING)
def test_training_mode(name):
    make, word = TRAINING[name]
    error = refusal(make().train(), (4,), InputError, word, evaluate=False)
    assert "eval" in error.hint
    trace(make().eval(), (4,))


def test_layers_whose_function_does_not_depend_on_the_mode_may_be_in_training_mode():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.0), parametrizations.weight_norm(nn.Linear(4, 2))).train()
    trace(model, (4,))
    assert model.training and model[0].training


def test_batch_norm_without_statistics():
    refusal(nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)), (4,), InputError, "running statistics")


BROKEN = {
    "complex": lambda: nn.Linear(4, 4, dtype=torch.complex64),
    "meta": lambda: nn.Linear(4, 4, device="meta"),
    "lazy": lambda: nn.LazyLinear(4),
    "sparse": lambda: Functional(lambda m, x: x @ m.w, w=torch.eye(4).to_sparse()),
    "scripted": lambda: torch.jit.script(nn.Linear(4, 4)),
    "not_a_module": lambda: torch.relu,
    "nan": lambda: _filled(torch.nan),
    "infinite": lambda: _filled(torch.inf),
    "random": lambda: Functional(lambda m, x: x + torch.randn(4)),
    "wrong_shape": lambda: nn.Linear(5, 4),
    "uncopyable": lambda: Functional(lambda m, x: x, lock=__import__("threading").Lock()),
    "overflow": lambda: _filled(3e38),
}


def _filled(value):
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.fill_(value)
    return nn.Sequential(layer, nn.Linear(4, 4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BROKEN)
def test_models_that_cannot_be_asked_about(name):
    with pytest.raises(InputError) as caught:
        trace(BROKEN[name](), (4,))
    assert caught.value.where is not None


@pytest.mark.parametrize("shape", [(0,), (-1, 3), (2.0,), "ab", None, 4, (True,), (2**40,)])
def test_input_shapes(shape):
    with pytest.raises(InputError, match="input shape"):
        trace(nn.Linear(4, 4), shape)


def test_quantised_layers():
    try:
        model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear})
    except (RuntimeError, AttributeError, NotImplementedError):
        pytest.skip("this torch has no quantised kernels")
    with pytest.raises(InputError, match="quantised"):
        trace(model, (4,))


class Counting(nn.Module):
    """Another function at every call: no graph can be right."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


def test_a_model_that_changes_between_calls():
    with pytest.raises((SoundnessError, InputError, UnsupportedLayerError)):
        trace(Counting(), (3,))
