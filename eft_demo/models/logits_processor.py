"""Emulated fine-tuning in any `model.generate(...)`, as a logits processor for transformers.

    eft = EmulatedFineTuning(tuned=small_tuned, base=small_base, alpha=1.0)
    large.generate(**inputs, logits_processor=[eft])

The generating model is the anchor of the recipe; each term adds `weight * (tuned - base)`, in nats, to its
log-probs. Knows transformers models and token ids; does not know the engine, rows or families. Importing this
module imports transformers, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from eft_demo.errors import InputError
from eft_demo.families.vocabulary import compare_vocabularies
from eft_demo.method.mixing import mix, term_delta, to_logprobs
from eft_demo.method.recipe import MAX_TERMS, MAX_WEIGHT
from eft_demo.method.schedule import CONSTANT, Schedule, parse_schedule
from eft_demo.method.weight_filter import OFF, WeightFilter, parse_weight_filter
from eft_demo.settings import check_number, plain_number

HIDDEN = -1  # replaces the ids of padding


class EmulatedFineTuning(LogitsProcessor):
    """Makes `generate` sample from `anchor + sum_k weight_k * (tuned_k - base_k)`, normalised.

    One object serves any number of consecutive calls. Between calls it keeps the small models' caches as far
    as the texts begin alike. Batches, sampling and beam search work as usual.

    tuned, base, alpha  the single term of plain EFT: a model, the same model before tuning, and the weight
    terms               or several terms, `[(0.7, pirate, base), (0.5, brief, base)]`; the paper's beta is
                        `tuned.generate(...)` with `[(beta, large_base, base)]`
    weight_filter       "off", "top-p 0.95" or "mask 0.1"
    schedule            "constant", "warmup 8", "first 5" or "list 0 0.5 1": a factor for all weights that
                        depends on the number of tokens generated so far
    prompts             {model: token ids}, one prompt or one per row, for models whose prompt differs from
                        the large model's, such as one with a chat template; generated tokens are appended
    tokenizers          the models' tokenizers: they must agree on every id they share; other ids are unused
    vocab_size          the number of valid ids, if no tokenizers are given; default: the smallest width
    pad_token_id        the id that pads shorter prompts on the left (`generate` does not pass it on);
                        default: from the models' configs. Padding shared by all rows counts as text, so pad
                        only to the longest row.
    allow_negative      allow negative weights, which undo what tuning did, including safety

    A text that extends the previous one by exactly one token counts as its continuation, any other as new.
    With a schedule or prompts, call `reset()` between texts where this could be wrong, and do not use
    assisted generation. Raises InputError or FamilyError on construction, and NumericalError naming the model
    if one gives NaN.
    """

    def __init__(
        self,
        tuned: Any = None,
        base: Any = None,
        alpha: float = 1.0,
        *,
        terms: Sequence[tuple[float, Any, Any]] = (),
        weight_filter: WeightFilter | str = OFF,
        schedule: Schedule | str = CONSTANT,
        prompts: Mapping[Any, Any] | None = None,
        tokenizers: Sequence[Any] = (),
        vocab_size: int | None = None,
        pad_token_id: int | None = None,
        allow_negative: bool = False,
    ) -> None:
        given = _check_terms(tuned, base, alpha, terms, allow_negative)
        self.weights = tuple(weight for weight, _, _ in given)
        self.weight_filter = (
            parse_weight_filter(weight_filter) if isinstance(weight_filter, str) else weight_filter
        )
        self.schedule = parse_schedule(schedule) if isinstance(schedule, str) else schedule
        if tokenizers:
            known = {f"tokenizer {i}": tokenizer.get_vocab() for i, tokenizer in enumerate(tokenizers, 1)}
            vocab_size = compare_vocabularies(known)
        self.vocab_size = vocab_size
        names = _names_of(given)
        self.pad_token_id = _pad_of(names) if pad_token_id is None else pad_token_id
        self._followers = {
            model: _Follower(model, name, self._prompt_of(model, prompts or {}))
            for model, name in names.items()
        }
        if strangers := [model for model in prompts or {} if model not in names]:
            raise InputError(
                f"There is a prompt for {type(strangers[0]).__name__}, which is in no term. Please give "
                "prompts only for models in the terms; the generating model gets its prompt from `generate`."
            )
        self._pairs = [(self._followers[plus], self._followers[minus]) for _, plus, minus in given]
        self._text: Tensor | None = None  # (rows, length) as of the last call
        self._prompt_length = 0
        self._padding: Tensor | None = None  # (rows,)

    def reset(self) -> None:
        """Forget the text and free the caches."""
        self._text = None
        for follower in self._followers.values():
            follower.restart()

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # (rows, length), (rows, width)
        """The recipe's log-probs, float32 (rows, width); `scores` unchanged if all weights are 0."""
        hidden = self._hide_padding(input_ids)
        factor = self.schedule.factor(input_ids.shape[1] - self._prompt_length)
        weights = [factor * weight for weight in self.weights]
        if not any(weights):
            return scores
        written = input_ids[:, self._prompt_length :]
        logits = {f: f.next_logits(hidden, written).to(scores.device) for f in self._followers.values()}
        widths = [part.shape[1] for part in (scores, *logits.values())]
        # Each model's embeddings may be padded to a different width with unused rows.
        width = min(widths if self.vocab_size is None else [*widths, self.vocab_size])
        anchor = to_logprobs(scores[:, :width], "that generates")
        logprobs = {f: to_logprobs(part[:, :width], f.name) for f, part in logits.items()}
        deltas = [term_delta(logprobs[plus], logprobs[minus], anchor) for plus, minus in self._pairs]
        coefficients = anchor.new_tensor([weights]).expand(len(anchor), -1)  # (rows, terms)
        mixed = torch.full_like(scores, -torch.inf, dtype=torch.float32)
        filters = (self.weight_filter,) * len(anchor)
        mixed[:, :width] = mix(anchor, torch.stack(deltas, 1), coefficients, filters).logprobs
        return mixed

    def _prompt_of(self, model: Any, prompts: Mapping[Any, Any]) -> Tensor | None:
        return _prompt_rows(prompts[model], self.pad_token_id) if model in prompts else None

    def _hide_padding(self, input_ids: Tensor) -> Tensor:
        """`input_ids` with HIDDEN in the place of padding. Detects when a new text begins."""
        if not _is_one_more(input_ids, self._text):
            self._prompt_length = input_ids.shape[1]
            self._padding = _padding(input_ids, self.pad_token_id)
        self._text = input_ids.clone()  # because beam search overwrites its tensor
        assert self._padding is not None
        columns = torch.arange(input_ids.shape[1], device=input_ids.device)
        return input_ids.masked_fill(columns < self._padding[:, None], HIDDEN)


class _Follower:
    """A model that reads along: its cache, and the tokens whose keys and values the cache holds."""

    def __init__(self, model: Any, name: str, prompt: Tensor | None) -> None:
        self.model, self.name, self.prompt = model, name, prompt
        parameters = signature(model.forward).parameters
        open_ended = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
        self._takes_positions = "position_ids" in parameters or open_ended
        self.restart()

    def restart(self) -> None:
        """Forget everything read."""
        self._cache: Any = None
        self._tokens = torch.zeros(0, 0, dtype=torch.int64)  # (rows, length)

    def next_logits(self, text: Tensor, written: Tensor) -> Tensor:
        """(rows, length) and the part of it after the prompt -> logits (rows, width) of the next token."""
        if self.prompt is None:
            tokens = text.to(self.model.device)
        else:
            tokens = torch.cat([_spread(self.prompt, len(text)).to(text.device), written], 1)
            tokens = tokens.to(self.model.device)
        if not tokens.shape[1]:
            raise InputError(
                "`generate` does not pass a prompt given as inputs_embeds to the processor. Please give "
                "input_ids, or give the small models' prompts with prompts=."
            )
        done = self._keep_common(tokens)
        visible = tokens != HIDDEN
        options = {}
        if not visible.all():
            options["attention_mask"] = visible.long()
            if self._takes_positions:
                options["position_ids"] = (visible.cumsum(1) - 1).clamp(min=0)[:, done:]
        # A forward that fails leaves the cache partly written, so drop it until the forward succeeds.
        cache, self._cache = self._cache, None
        new = tokens[:, done:].clamp(min=0)
        out = self.model(input_ids=new, past_key_values=cache, use_cache=True, logits_to_keep=1, **options)
        # A model without a KV cache, such as Mamba, rereads the whole text for every token.
        self._cache, self._tokens = getattr(out, "past_key_values", None), tokens
        return out.logits[:, -1]

    def _keep_common(self, tokens: Tensor) -> int:
        """Cut and reorder the cache to what it shares with `tokens`; returns how many tokens that is.

        Beam search reorders and drops rows: each row continues from the one that shares most with it.
        """
        if self._cache is None or tokens.device != self._tokens.device:
            return 0
        end = min(self._tokens.shape[1], tokens.shape[1] - 1)
        new, old = tokens[:, :end], self._tokens[:, :end]
        parents: Tensor | None = None
        if not new.equal(old):
            shared = (new[:, None] == old[None]).long().cumprod(2).sum(2)  # (rows, old rows)
            longest, parents = shared.max(1)
            end = int(longest.min())
        surplus = self._tokens.shape[1] - end
        if end == 0 or (surplus and not _crop(self._cache, surplus)):
            self.restart()
            return 0
        if parents is not None:
            self._cache.reorder_cache(parents)
        return end


def _check_terms(
    tuned: Any, base: Any, alpha: float, terms: Sequence[tuple[float, Any, Any]], allow_negative: bool
) -> list[tuple[float, Any, Any]]:
    single = tuned is not None and base is not None
    if single == bool(terms) or (tuned is None) != (base is None) or len(terms) > MAX_TERMS:
        raise InputError(
            f"Emulated fine-tuning needs either tuned and base, or 1 to {MAX_TERMS} terms such as "
            "terms=[(0.7, tuned, base)]."
        )
    given = [(alpha, tuned, base)] if single else list(terms)
    given = [(plain_number(weight), plus, minus) for weight, plus, minus in given]
    if not allow_negative and any(isinstance(w, (int, float)) and w < 0 for w, _, _ in given):
        raise InputError(
            "A negative weight undoes what tuning did, safety included. "
            "Please choose a weight of 0 or more, or pass allow_negative=True if that is what you study."
        )
    return [(check_number("A weight", w, -MAX_WEIGHT, MAX_WEIGHT), plus, minus) for w, plus, minus in given]


def _names_of(terms: Sequence[tuple[float, Any, Any]]) -> dict[Any, str]:
    """Each model once, with its name for error messages."""
    names: dict[Any, str] = {}
    for k, (_, plus, minus) in enumerate(terms, 1):
        number = f" {k}" if len(terms) > 1 else ""
        names.setdefault(plus, f"tuned{number}")
        names.setdefault(minus, f"base{number}")
    return names


def _prompt_rows(prompt: Any, pad: int | None) -> Tensor:
    """A list of ids, a list of such lists, a tensor or a tokenizer's output -> (rows, length)."""
    ids = prompt["input_ids"] if isinstance(prompt, Mapping) else prompt
    if isinstance(ids, Tensor):
        table = torch.atleast_2d(ids)
        columns = torch.arange(table.shape[1], device=table.device)
        return table.masked_fill(columns < _padding(table, pad)[:, None], HIDDEN)
    rows = [list(row) for row in ids] if isinstance(ids[0], Sequence) else [list(ids)]
    longest = max(map(len, rows))
    return torch.tensor([[HIDDEN] * (longest - len(row)) + row for row in rows])


def _padding(ids: Tensor, pad: int | None) -> Tensor:
    """The number of padding tokens on the left of each row (rows,).

    Many models use the same token for padding and for the beginning or end of a text, so leading pad tokens
    that all rows share count as text.
    """
    if pad is None:
        return ids.new_zeros(len(ids))
    leading = (ids == pad).long().cumprod(1).sum(1)
    return leading - leading.min()


def _pad_of(models: Collection[Any]) -> int | None:
    """The padding token that `generate` would use: the models' pad token, or else their end token."""
    for name in ("pad_token_id", "eos_token_id"):
        for config in (c for m in models for c in (getattr(m, "generation_config", None), m.config)):
            found = getattr(config, name, None)
            if found is not None:
                return int(found[0] if isinstance(found, Sequence) else found)
    return None


def _spread(prompt: Tensor, rows: int) -> Tensor:
    """Repeat the prompts to match `rows`: `generate` keeps a prompt's beams and samples together."""
    if rows % len(prompt):
        raise InputError(
            f"There are prompts for {len(prompt)} rows, but `generate` works on {rows}. "
            "Please give one prompt, or one for each row of the batch."
        )
    return prompt.repeat_interleave(rows // len(prompt), 0)


def _is_one_more(ids: Tensor, last: Tensor | None) -> bool:
    """Whether every row extends a row of the previous call by one token."""
    if last is None or ids.shape[1] != last.shape[1] + 1 or ids.device != last.device:
        return False
    if ids[:, :-1].equal(last):
        return True
    return bool((ids[:, None, :-1] == last[None]).all(2).any(1).all())


def _crop(cache: Any, surplus: int) -> bool:
    """Remove the last `surplus` tokens from the cache. False if that is not possible."""
    if not cache.is_croppable:
        return False
    try:
        cache.crop(-surplus)
    except RuntimeError:  # a sliding window that has moved on
        return False
    return True
