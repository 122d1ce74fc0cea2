"""Attention written out in elementary operations, for attributions that have a rule for each of these."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trimkit.errors import AttributionError

Additive = Tensor | None
"""A mask that is added to scores before softmax: 0 or −∞; None for none."""


def additive_mask(mask: Tensor | None, causal: bool, queries: int, keys: int, like: Tensor) -> Additive:
    """A mask in its additive form, broadcastable to (..., queries, keys).

    Args:
        mask: boolean, True where attention is allowed; or additive already.
        causal: query i sees keys 0 … i only.
        queries: their number.
        keys: their number.
        like: gives number type and device.
    """
    if causal:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=like.device).tril()
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(~mask, -math.inf)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(q kᵀ · scale + mask) v, arguments as torch's.

    Raises:
        AttributionError: dropout, which is random.
    """
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = (part.repeat_interleave(repeats, -3) for part in (key, value))
    mask = additive_mask(attn_mask, is_causal, query.shape[-2], key.shape[-2], query)
    return torch.matmul(attention_weights(query, key, mask, dropout_p, scale), value)


def attention_weights(query: Any, key: Any, mask: Additive, dropout: float, scale: float | None = None) -> Any:
    """softmax(q kᵀ · scale + mask), (..., queries, keys).

    Raises:
        AttributionError: dropout, which is random.
    """
    if dropout:
        raise AttributionError("attention has dropout in train mode; call model.eval() first")
    scores = torch.matmul(query, key.transpose(-2, -1)) * (scale or 1 / math.sqrt(query.shape[-1]))
    return F.softmax(scores if mask is None else scores + mask, dim=-1)


def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Any, Any]:
    """What `torch.nn.MultiheadAttention` computes, (T, N, width) in and out; arguments as torch's.

    Raises:
        AttributionError: added keys and values, or dropout in train mode.
    """
    if bias_k is not None or bias_v is not None or add_zero_attn or static_k is not None or static_v is not None:
        raise AttributionError("attention with added or fixed keys (bias_k, add_zero_attn, static_k) has no rule")
    projections: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
    if not use_separate_proj_weight:
        assert in_proj_weight is not None
        projections = in_proj_weight.chunk(3)
    biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)

    def heads(x: Any, weight: Tensor, bias: Tensor | None) -> Any:  # (T, N, width) → (N, heads, T, width / heads)
        projected = F.linear(x, weight, bias)
        length, batch, width = projected.shape
        return projected.reshape(length, batch, num_heads, width // num_heads).permute(1, 2, 0, 3)

    q, k, v = (heads(x, w, b) for x, w, b in zip((query, key, value), projections, biases, strict=True))
    mask = _joined_masks(attn_mask, key_padding_mask, q.shape[0], num_heads, q)
    weights = attention_weights(q, k, mask, dropout_p if training else 0.0)
    joined = torch.matmul(weights, v).permute(2, 0, 1, 3).reshape(query.shape[0], query.shape[1], -1)
    shown = None if not need_weights else weights.mean(dim=1) if average_attn_weights else weights
    return F.linear(joined, out_proj_weight, out_proj_bias), shown


def _joined_masks(attention: Tensor | None, padding: Tensor | None, batch: int, heads: int, like: Any) -> Tensor | None:
    """torch's two masks as one additive one, (N or 1, heads or 1, T, T); there a boolean True means not allowed."""
    parts = []
    for mask, shape in ((attention, None), (padding, (batch, 1, 1, -1))):
        if mask is None:
            continue
        if mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, -math.inf)
        if shape is None:
            shape = (1, 1, *mask.shape) if mask.ndim == 2 else (batch, heads, *mask.shape[1:])
        parts.append(mask.reshape(shape))
    return None if not parts else parts[0] if len(parts) == 1 else parts[0] + parts[1]
