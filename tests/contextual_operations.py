"""Operations with a rule of contextual decomposition, by what the rule must do with parts."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .draws import data

X = data(2, 4, 8, 8)
FLAT = X.flatten(2)
MATRIX, MASK = data(8, 8, seed=2), data(8, 8, seed=3) > 0
LABELS = torch.tensor([[1, 0], [2, 3]])


def convolution(axes, **options):
    def apply(x):
        x = x.reshape(2, 4, *{1: (64,), 2: (8, 8), 3: (4, 4, 4)}[axes])
        return getattr(F, f"conv{axes}d")(x, data(3, 4, *[3] * axes, seed=4), **options)

    return apply


def transposed(axes):
    def apply(x):
        x = x.reshape(2, 4, *{1: (64,), 2: (8, 8), 3: (4, 4, 4)}[axes])
        return getattr(F, f"conv_transpose{axes}d")(x, data(4, 3, *[3] * axes, seed=4), data(3, seed=5))

    return apply


def pooling(name, axes, size=2):
    return lambda x: getattr(F, name)(x.reshape(2, 4, *{1: (64,), 2: (8, 8), 3: (4, 4, 4)}[axes]), size)


class Recurrent(nn.Module):
    """A recurrent layer, or a cell for two steps, on the rows of a picture."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        x = x.flatten(2)
        if isinstance(self.layer, nn.RNNBase):
            return self.layer(x)[0]
        state = self.layer(x[:, 1], self.layer(x[:, 0]))
        return state[0] if isinstance(state, tuple) else state


class Block(nn.Module):
    def __init__(self, width=64, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True, **options)
        self.options = {}

    def masked(self, **options):
        self.options = options
        return self

    def forward(self, x):
        x = x.flatten(2)
        return self.attention(x, x, x, **self.options)[0]


def in_place(x):
    x += 2.0
    x *= 3.0
    return x.relu_()


def own_rms_norm(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) + x / x.std(-1, keepdim=True)


CAUSAL = torch.ones(8, 8, dtype=torch.bool).tril()

LINEAR = {
    "reshape": lambda x: x.reshape(len(x), -1),
    "reshape_as": lambda x: x.reshape_as(FLAT),
    "view": lambda x: x.view(x.shape[0], -1),
    "view_as": lambda x: x.view_as(FLAT),
    "flatten": nn.Flatten(),
    "unflatten": nn.Unflatten(1, (2, 2)),
    "ravel": lambda x: x.ravel(),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "transpose": lambda x: x.transpose(1, 2),
    "swapaxes": lambda x: x.swapaxes(1, 2),
    "movedim": lambda x: torch.movedim(x, 1, -1),
    "t": lambda x: x.flatten(1).t(),
    ".T": lambda x: x.flatten(1).T,
    ".mT": lambda x: x.mT,
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "expand": lambda x: x[:, :1].expand(-1, 3, -1, -1),
    "expand_as": lambda x: x[:, :1].expand_as(x),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "tile": lambda x: x.tile(1, 2, 1, 1),
    "chunk": lambda x: x.chunk(2, 1)[1],
    "split": lambda x: torch.split(x, 3, 1)[0],
    "unbind": lambda x: x.unbind(1)[2],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(1, 2),
    "index_select": lambda x: x.index_select(1, torch.tensor([2, 0])),
    "gather": lambda x: x.flatten(1).gather(1, LABELS),
    "__getitem__": lambda x: x[:, None, 1:, ..., [0, 2]],
    "flip": lambda x: x.flip(-1),
    "roll": lambda x: x.roll(3, -1),
    "diff": lambda x: x.diff(),
    "mean": lambda x: x.mean((2, 3)),
    "sum": lambda x: x.sum(-1, keepdim=True),
    "cumsum": lambda x: x.cumsum(1),
    "diagonal": lambda x: x.diagonal(dim1=2, dim2=3),
    "tril": lambda x: x.tril(),
    "triu": lambda x: x.triu(),
    "clone": lambda x: x.clone(),
    "contiguous": lambda x: x.mT.contiguous(),
    "to": lambda x: x.to(torch.float64),
    "type_as": lambda x: x.type_as(FLAT),
    "float": lambda x: x.float().double(),
    "double": lambda x: x.double(),
    "detach": lambda x: x.detach(),
    "neg": lambda x: -x,
    "real": lambda x: torch.real(torch.fft.rfft2(x)),
    ".real": lambda x: torch.fft.rfft2(x).real,
    "imag": lambda x: torch.imag(torch.fft.rfft2(x)),
    ".imag": lambda x: torch.fft.rfft2(x).imag,
    "conj": lambda x: torch.fft.irfft2(torch.fft.rfft2(x).conj()),
    "view_as_real": lambda x: torch.view_as_real(torch.fft.rfft2(x)),
    "view_as_complex": lambda x: torch.view_as_complex(x.reshape(2, 4, 8, 4, 2)).abs(),
    "adaptive_avg_pool1d": pooling("adaptive_avg_pool1d", 1),
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d((1, 3)),
    "adaptive_avg_pool3d": pooling("adaptive_avg_pool3d", 3),
    "avg_pool1d": pooling("avg_pool1d", 1),
    "avg_pool2d": nn.AvgPool2d(3, 2, 1),
    "avg_pool3d": pooling("avg_pool3d", 3),
    "interpolate": nn.Upsample(scale_factor=2, mode="bilinear"),
    "pixel_shuffle": nn.PixelShuffle(2),
    "pixel_unshuffle": nn.PixelUnshuffle(2),
    "unfold": lambda x: F.unfold(x, 3),
    "fold": lambda x: F.fold(F.unfold(x, 2, stride=2), (8, 8), 2, stride=2),
    "fft_fft": lambda x: torch.fft.fft(x),
    "fft_ifft": lambda x: torch.fft.ifft(x),
    "fft_rfft": lambda x: torch.fft.rfft(x),
    "fft_irfft": lambda x: torch.fft.irfft(x),
    "fft_fft2": lambda x: torch.fft.fft2(x),
    "fft_ifft2": lambda x: torch.fft.ifft2(x),
    "fft_rfft2": lambda x: torch.fft.rfft2(x),
    "fft_irfft2": lambda x: torch.fft.irfft2(x),
    "fft_fftn": lambda x: torch.fft.fftn(x, dim=(-2, -1)),
    "fft_ifftn": lambda x: torch.fft.ifftn(x, dim=(-2, -1)),
    "fft_rfftn": lambda x: torch.fft.rfftn(x, dim=(-2, -1)),
    "fft_irfftn": lambda x: torch.fft.irfftn(x, dim=(-2, -1)),
    "mul": lambda x: 3 * x * MATRIX,
    "multiply": lambda x: torch.multiply(x, MATRIX),
    "matmul": lambda x: x @ MATRIX,
    "__rmatmul__": lambda x: MATRIX @ x,
    "mm": lambda x: torch.mm(x.reshape(-1, 8), MATRIX),
    "bmm": lambda x: torch.bmm(x.flatten(0, 1), MATRIX.expand(8, 8, 8)),
    "mv": lambda x: torch.mv(x.reshape(-1, 8), MATRIX[0]),
    "einsum": lambda x: torch.einsum("nchw,wk->nkch", x, MATRIX),
    "tensordot": lambda x: torch.tensordot(x, MATRIX, dims=([3], [0])),
    "div": lambda x: x / 3 / MATRIX,
    "divide": lambda x: torch.divide(x, 3),
    "true_divide": lambda x: torch.true_divide(x, 3),
    "conv2d": convolution(2, padding=1, stride=2),
    "cat": lambda x: torch.cat([x, 2 * x], 1),
    "concat": lambda x: torch.concat([x, x], 1),
    "stack": lambda x: torch.stack([x, x], 1),
    "hstack": lambda x: torch.hstack([x, x]),
    "vstack": lambda x: torch.vstack([x, x]),
    "where": lambda x: torch.where(MASK, x, -x),
    "masked_fill": lambda x: x.masked_fill(MASK, 0.0),
    "pad": nn.ReflectionPad2d(1),
    "sub": lambda x: x - x.flip(-1),
    "zeros_like": lambda x: torch.zeros_like(x).add_(x),
    "new_zeros": lambda x: x.new_zeros(2, 4, 8, 8).add_(x) + x.new_zeros(2, 1, 8, 8, dtype=torch.int64),
    "index_add": lambda x: x.index_add(2, torch.tensor([1, 1]), 2 * x[:, :, :2], alpha=3),
    "scatter_add": lambda x: torch.zeros(2, 5, dtype=x.dtype).scatter_add(1, LABELS, x[:, 0, 0, :2]),
    "dropout": nn.Dropout().eval(),
    "dropout1d": lambda x: F.dropout1d(x.flatten(2), training=False),
    "dropout2d": nn.Dropout2d(inplace=True).eval(),
    "dropout3d": nn.Dropout3d().eval(),
    "alpha_dropout": nn.AlphaDropout().eval(),
    "swapdims": lambda x: x.swapdims(1, 2),
    "broadcast_to": lambda x: x[:, :1].broadcast_to(2, 3, 8, 8),
    "tensor_split": lambda x: x.tensor_split(3, 1)[1],
    "take_along_dim": lambda x: torch.take_along_dim(x.flatten(1), LABELS, 1),
    "fliplr": torch.fliplr,
    "flipud": lambda x: torch.flipud(x[0])[None],
    "diag_embed": lambda x: x.diag_embed(),
    "positive": lambda x: +x,
    "concatenate": lambda x: torch.concatenate([x, x], 1),
    "index_fill": lambda x: x.index_fill(3, torch.tensor([1, 4]), 0.0),
    "addmm": lambda x: torch.addmm(torch.zeros(8, dtype=x.dtype), x.reshape(-1, 8), MATRIX, alpha=2),
    "addmv": lambda x: torch.addmv(torch.zeros(64, dtype=x.dtype), x.reshape(-1, 8), MATRIX[0]),
    "baddbmm": lambda x: torch.baddbmm(torch.zeros(8, 8, 8, dtype=x.dtype), x.flatten(0, 1), MATRIX.expand(8, 8, 8)),
    "addcmul": lambda x: torch.addcmul(x, x, MATRIX, value=2),
    "lerp": lambda x: torch.lerp(x, 2 * x, 0.3),
    ".shape": lambda x: x.reshape(x.shape[0] * x.size(1), x.stride(0) // 4) if x.is_floating_point() else x,
}
"""Linear operations: what they make of a part is known without any rule."""

CURVED = {
    "linear": nn.Linear(8, 5),
    "conv1d": convolution(1, bias=data(3, seed=5)),
    "conv2d": nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "conv3d": convolution(3, bias=data(3, seed=5)),
    "conv_transpose1d": transposed(1),
    "conv_transpose2d": transposed(2),
    "conv_transpose3d": transposed(3),
    "batch_norm": nn.BatchNorm2d(4).eval(),
    "layer_norm": nn.LayerNorm((8, 8)),
    "group_norm": nn.GroupNorm(2, 4),
    "add": lambda x: torch.add(1 + x, MATRIX, alpha=2),
    "sub": lambda x: torch.sub(x, MATRIX, alpha=2) - 1,
    "subtract": lambda x: torch.subtract(x, MATRIX),
    "rsub": lambda x: torch.rsub(x, MATRIX),
    "__rsub__": lambda x: 1 - x,
    **{
        name: getattr(F, name)
        for name in ("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish")
    },
    **{name: getattr(F, name) for name in ("hardswish", "tanhshrink", "softsign", "softshrink", "hardshrink")},
    **{name: getattr(torch, name) for name in ("tanh", "abs", "square", "sin", "sinh", "tan", "atan", "erf", "expm1")},
    "prelu": nn.PReLU(4),
    "pow": lambda x: x**2,
    "relu_": lambda x: torch.relu_(x.clone()),
    "add_": lambda x: in_place(x.clone()),
    "max_pool1d": pooling("max_pool1d", 1),
    "max_pool2d": nn.MaxPool2d(3, 2, 1),
    "max_pool3d": pooling("max_pool3d", 3),
    "adaptive_max_pool1d": pooling("adaptive_max_pool1d", 1),
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d(2),
    "adaptive_max_pool3d": pooling("adaptive_max_pool3d", 3),
    "max": lambda x: x.max(2).values + x.max(dim=2, keepdim=True).values[:, :, 0],
    "amax": lambda x: x.amax(-1),
    "rms_norm": nn.RMSNorm(8),
    "instance_norm": nn.InstanceNorm2d(4, affine=True),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "cosine_similarity": lambda x: F.cosine_similarity(x, MATRIX, dim=-1),
    "min": lambda x: x.min(2).values + x.min(dim=2, keepdim=True).values[:, :, 0] + torch.min(x, -x).sum(2),
    "amin": lambda x: x.amin((2, 3)),
    "maximum": lambda x: torch.maximum(x, x.flip(0)),
    "minimum": lambda x: torch.minimum(x, 2 * x),
    "var": lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1).sqrt() + x,
    "rsqrt": own_rms_norm,
    "std": own_rms_norm,
    "matmul of two": lambda x: x @ x.mT,
    "mul of two": lambda x: x * x.flip(0),
    "einsum of two": lambda x: torch.einsum("nchw,nkhw->nckw", x, x),
}
"""Operations under which all that is relevant stays all of it."""

OFFSET = {
    **{name: getattr(F, name) for name in ("sigmoid", "hardsigmoid", "softplus", "hardtanh")},
    "log_sigmoid": F.logsigmoid,
    "exp": torch.exp,
    "cos": torch.cos,
    **{name: getattr(torch, name) for name in ("exp2", "cosh", "erfc")},
    "clip": lambda x: x.clip(0.5, 1),
    "maximum constant": lambda x: torch.maximum(x, MATRIX),
    "minimum constant": lambda x: torch.minimum(x, MATRIX),
    "glu": nn.GLU(1),
    "softmin": nn.Softmin(-1),
    "clamp": lambda x: x.clamp(0.5, 1),
    "clamp_min": lambda x: x.clamp_min(0.5),
    "clamp_max": lambda x: x.clamp_max(-0.5),
    "threshold": lambda x: torch.threshold(x, 0.1, 5.0),
    "_threshold": nn.Threshold(0.1, 5.0),
    "pad constant": nn.ConstantPad2d(1, 3.0),
    "masked_fill constant": lambda x: x.masked_fill(MASK, 2.0),
    "cat constant": lambda x: torch.cat([x, torch.ones(2, 1, 8, 8, dtype=torch.float64)], 1),
    "where constant": lambda x: torch.where(MASK, x, 2.0),
    "softmax": nn.Softmax(-1),
    "softmax masked": lambda x: (x + torch.zeros(8, 8).masked_fill(~CAUSAL, -torch.inf)).softmax(-1),
    "softmax filled": lambda x: x.masked_fill(~CAUSAL, -torch.inf).softmax(-1),
    "scaled_dot_product_attention": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "scaled_dot_product_attention masked": lambda x: F.scaled_dot_product_attention(x, x, x, CAUSAL, scale=0.5),
    "multi_head_attention_forward": Block().eval(),
    "multi_head_attention_forward padded": Block().eval().masked(key_padding_mask=torch.eye(2, 4, dtype=torch.bool)),
    "multi_head_attention_forward masked": Block().eval().masked(attn_mask=~CAUSAL[:4, :4], need_weights=False),
    "gate": lambda x: x * torch.sigmoid(x),
    "lstm": Recurrent(nn.LSTM(64, 3, batch_first=True)),
    "lstm both ways": Recurrent(nn.LSTM(64, 3, 2, bidirectional=True)),
    "gru": Recurrent(nn.GRU(64, 3, 2)),
    "rnn_tanh": Recurrent(nn.RNN(64, 3, bias=False)),
    "rnn_relu": Recurrent(nn.RNN(64, 3, nonlinearity="relu")),
    "lstm_cell": Recurrent(nn.LSTMCell(64, 3)),
    "gru_cell": Recurrent(nn.GRUCell(64, 3)),
    "rnn_tanh_cell": Recurrent(nn.RNNCell(64, 3)),
    "rnn_relu_cell": Recurrent(nn.RNNCell(64, 3, nonlinearity="relu")),
}
"""Operations that make something of nothing: a constant that is nobody's."""
