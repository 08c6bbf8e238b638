"""The usual way to do EFT with transformers: `generate` on the large base with a logits processor.

`bench` compares the engine with it and tests use it as a reference, so it shares no code with the engine, nor
with `models.logits_processor`. All three models use a KV cache. Knows checkpoints on disk; does not know
rows, columns or recipes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList
from transformers.utils import logging as transformers_logging

from eft_demo.errors import FamilyError
from eft_demo.families.family import Family
from eft_demo.families.gguf import is_gguf


class EFTProcessor(LogitsProcessor):
    """Adds alpha * (tuned - base) of a small pair to the large base's logits, one cached forward each."""

    def __init__(self, tuned: Any, base: Any, alpha: float) -> None:
        self.models = (tuned, base)
        self.alpha = alpha
        self.caches: list[Any] = [None, None]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # (1, length), (1, vocab) -> (1, vocab)
        tuned, base = (self._next_logprobs(index, input_ids) for index in range(2))
        return torch.log_softmax(scores.float(), -1) + self.alpha * (tuned - base)

    def _next_logprobs(self, index: int, input_ids: Tensor) -> Tensor:
        new = input_ids if self.caches[index] is None else input_ids[:, -1:]
        out = self.models[index](new, past_key_values=self.caches[index], use_cache=True, logits_to_keep=1)
        self.caches[index] = out.past_key_values
        return torch.log_softmax(out.logits[:, -1].float(), -1)


def load(path: Path, dtype: torch.dtype) -> Any:
    """Load the checkpoint with transformers, in evaluation mode. Raises FamilyError for a GGUF file."""
    if is_gguf(path):
        raise FamilyError(
            f"{path} is a GGUF file, which this does not read. Please choose a family of folders."
        )
    transformers_logging.disable_progress_bar()
    options = {"dtype": dtype, "local_files_only": True, "use_safetensors": True}
    return AutoModelForCausalLM.from_pretrained(path.absolute(), **options).eval()


def load_roles(family: Family, roles: Sequence[str], dtype: torch.dtype) -> list[Any]:
    """The models of these roles; an adapter is merged into a copy of its base. Raises FamilyError."""
    models: dict[str, Any] = {}
    for role in roles:
        checkpoint = family.roles[role]
        if checkpoint.adapter_of is not None:
            models[role] = _merged(load(family.roles[checkpoint.adapter_of].path, dtype), checkpoint.path)
        elif checkpoint.loaded_with in models:
            models[role] = models[checkpoint.loaded_with]
        else:
            models[role] = load(checkpoint.path, dtype)
    return [models[role] for role in roles]


def _merged(base: Any, adapter: Path) -> Any:
    try:
        from peft import PeftModel  # noqa: PLC0415  # only tests and measurements need it
    except ImportError:
        raise FamilyError(
            "Plain transformers needs peft for this family's adapter. Please install it: pip install peft"
        ) from None
    return PeftModel.from_pretrained(base, adapter.absolute()).merge_and_unload().eval()


@torch.inference_mode()
def plain_loop(
    large: Any,
    tuned: Any,
    small: Any,
    prompt: Sequence[int],
    new_tokens: int,
    alpha: float,
    vocab: int,
    at_token: Callable[[], object],
) -> list[int]:
    """Greedy up-scaling as a loop over three models with caches; calls `at_token` at every token.

    Their first `vocab` logits count: embeddings may be wider than the tokenizer's vocabulary.
    """
    models, caches = (large, tuned, small), [None, None, None]
    new, found = torch.tensor([list(prompt)]), []
    for _ in range(new_tokens):
        logits = []
        for i, model in enumerate(models):
            out = model(new, past_key_values=caches[i], use_cache=True, logits_to_keep=1)
            caches[i] = out.past_key_values
            logits.append(out.logits[:, -1].float())
        anchor, plus, minus = (torch.log_softmax(part[:, :vocab], -1) for part in logits)
        new = (anchor + alpha * (plus - minus)).argmax(-1, keepdim=True)
        found.append(int(new))
        at_token()
    return found


@torch.inference_mode()
def generate(
    model: Any, prompt: list[int], new_tokens: int, processors: Sequence[Any], **options: Any
) -> list[int]:
    """Generate exactly `new_tokens` ids after `prompt`; `options` go to transformers' `generate`."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), logits_processor=LogitsProcessorList(processors),
        use_cache=True, eos_token_id=None, pad_token_id=0, max_new_tokens=new_tokens,
        min_new_tokens=new_tokens, **options,
    )  # fmt: skip
    return out[0, len(prompt) :].tolist()
