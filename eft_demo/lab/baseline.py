"""The usual way to do EFT with transformers: `generate` on the large base with a logits processor.

`bench` compares the engine with it and tests use it as a reference, so it shares no code with the engine, nor
with `models.logits_processor`. All three models use a KV cache. Knows checkpoints on disk; does not know
rows, columns or recipes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList
from transformers.utils import logging as transformers_logging

from eft_demo.errors import FamilyError
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


@torch.inference_mode()
def generate(
    model: Any, prompt: list[int], new_tokens: int, processor: EFTProcessor | None, **sampling: Any
) -> list[int]:
    """Generate exactly `new_tokens` ids after `prompt`; `sampling` goes to transformers' `generate`."""
    processors = LogitsProcessorList([processor] if processor else [])
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), logits_processor=processors, use_cache=True,
        eos_token_id=None, pad_token_id=0, max_new_tokens=new_tokens, min_new_tokens=new_tokens, **sampling,
    )  # fmt: skip
    return out[0, len(prompt) :].tolist()
