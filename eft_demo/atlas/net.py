"""The two architectures of Atlas and their forward pass for training. Knows Qwen2's arithmetic, no data.

The library's forward is the reference (a test compares the two). With fused projections, attention in blocks
and a loss that never stores the logits, a training step on a CPU takes about 0.7 times as long as with it.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

VOCAB = 4096
CONTEXT = 512
ChunkLoss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
_BLOCK = 64  # queries whose scores are held at once
_CHUNK = 512  # rows of logits held at once: 512 x 4096 float32 = 8 MB, which stays in the cache


def config(size: str) -> Qwen2Config:
    """`large` (8.3 M parameters) or `small` (1.0 M).

    All sizes are multiples of 64 and heads have 32 or 64, as bitsandbytes, vLLM and llama.cpp require.
    """
    shape: dict[str, Any] = {
        "large": {
            "hidden_size": 384,
            "intermediate_size": 768,
            "num_attention_heads": 6,
            "tie_word_embeddings": False,
        },
        "small": {
            "hidden_size": 128,
            "intermediate_size": 192,
            "num_attention_heads": 4,
            "tie_word_embeddings": True,
        },
    }[size]
    return Qwen2Config(
        vocab_size=VOCAB,
        num_hidden_layers=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=None,
        **shape,
    )


def hidden_states(model: Qwen2ForCausalLM, ids: Tensor) -> Tensor:
    """ids (rows, length) -> hidden states (rows, length, width), bfloat16."""
    c = model.config
    heads, kv, size = c.num_attention_heads, c.num_key_value_heads, c.hidden_size // c.num_attention_heads
    rows, length = ids.shape
    angle = torch.arange(length)[:, None] / 10000.0 ** (torch.arange(0, size, 2) / size)  # (length, size / 2)
    cos, sin = angle.cos().bfloat16(), angle.sin().bfloat16()
    x = F.embedding(ids, model.model.embed_tokens.weight).bfloat16()
    for layer in model.model.layers:
        a, m = layer.self_attn, layer.mlp
        h = _norm(x, layer.input_layernorm.weight)
        weight = torch.cat([a.q_proj.weight, a.k_proj.weight, a.v_proj.weight]).bfloat16()
        bias = torch.cat([a.q_proj.bias, a.k_proj.bias, a.v_proj.bias]).bfloat16()
        q, k, v = (
            F.linear(h, weight, bias)
            .view(rows, length, heads + 2 * kv, size)
            .transpose(1, 2)
            .split([heads, kv, kv], dim=1)
        )
        k, v = (_rotate(k, cos, sin).repeat_interleave(heads // kv, 1), v.repeat_interleave(heads // kv, 1))
        mixed = _attend(_rotate(q, cos, sin), k, v)
        x = x + F.linear(
            mixed.transpose(1, 2).reshape(rows, length, heads * size), a.o_proj.weight.bfloat16()
        )
        h = _norm(x, layer.post_attention_layernorm.weight)
        gate, up = F.linear(h, torch.cat([m.gate_proj.weight, m.up_proj.weight]).bfloat16()).chunk(2, -1)
        x = x + F.linear(F.silu(gate) * up, m.down_proj.weight.bfloat16())
    return _norm(x, model.model.norm.weight)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention, block by block of the queries: (rows, heads, length, size) each.

    Compiled, it takes half the time of the library's kernel on a CPU, because a block's scores stay in the
    cache and no block looks at later keys.
    """
    mixed = []
    for start in range(0, q.shape[2], _BLOCK):
        block = q[:, :, start : start + _BLOCK]
        end = start + block.shape[2]
        scores = (block @ k[:, :, :end].transpose(-1, -2)).float() * q.shape[-1] ** -0.5
        later = torch.arange(end)[None, :] > torch.arange(start, end)[:, None]
        mixed.append(scores.masked_fill(later, -torch.inf).softmax(-1).to(v.dtype) @ v[:, :, :end])
    return torch.cat(mixed, 2)


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), 1e-6)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def loss_and_grad(logits: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """logits (n, vocab), target (n, 1), weight (n,) -> weighted loss, its gradient by the logits (bf16)."""
    logprobs = logits.float().log_softmax(1)
    loss = -(logprobs.gather(1, target)[:, 0] * weight).sum()
    hot = torch.arange(logits.shape[1])[None, :] == target
    return loss, ((logprobs.exp() - hot.float()) * weight[:, None]).bfloat16()


class HeadLoss(torch.autograd.Function):
    """Cross-entropy through the output head, chunk by chunk.

    Gradients are computed in the forward, so no logits are stored. `chunk_loss` is `loss_and_grad`, which may
    be compiled.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, chunk_loss: ChunkLoss) -> Tensor:
        """hidden (n, width) and head (vocab, width) bf16, targets (n,) (-100: none) -> mean loss in nats."""
        counted = targets >= 0
        share = 1.0 / counted.sum().clamp(min=1)
        loss, d_hidden, d_head = torch.zeros(()), torch.empty_like(hidden), torch.zeros(head.shape)
        for start in range(0, len(hidden), _CHUNK):
            part, target = (
                hidden[start : start + _CHUNK],
                targets[start : start + _CHUNK].clamp(min=0)[:, None],
            )
            part_loss, grad = chunk_loss(part @ head.t(), target, counted[start : start + _CHUNK] * share)
            loss += part_loss
            d_hidden[start : start + _CHUNK] = grad @ head
            d_head += grad.t() @ part
        ctx.save_for_backward(d_hidden, d_head)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_hidden, d_head = ctx.saved_tensors
        return d_hidden * grads[0], d_head * grads[0], None, None
