"""Emulated fine-tuning inside anybody's `model.generate(...)`, as a logits processor of transformers.

    eft = EmulatedFineTuning(tuned=small_tuned, base=small_base, alpha=1.0)
    large.generate(**inputs, logits_processor=[eft])

The model that generates is the anchor of the recipe; each term adds `weight * (tuned - base)`, in nats, to
its log-probs. Knows models of transformers and token ids; does not know the engine, rows or families.
Importing this module imports transformers, which takes seconds.
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
from eft_demo.settings import check_number

HIDDEN = -1  # stands where a row is padded


class EmulatedFineTuning(LogitsProcessor):
    """Makes `generate` sample from `anchor + sum_k weight_k * (tuned_k - base_k)`, normalised.

    One object serves any number of calls, one after the other, and keeps the small models' caches between
    them as far as the texts begin alike. Batches, sampling and beam search work as ever.

    tuned, base, alpha  the one term of plain EFT: a model, the same model before tuning, and their weight
    terms               or several of them, `[(0.7, pirate, base), (0.5, brief, base)]`; the paper's beta is
                        `tuned.generate(...)` with `[(beta, large_base, base)]`
    weight_filter       "off", "top-p 0.95" or "mask 0.1"
    schedule            "constant", "warmup 8", "first 5" or "list 0 0.5 1": a factor for all weights, by the
                        number of tokens written since the prompt
    prompts             {model: token ids}, one prompt or one per row, for models that shall see another than
                        the large one, such as a chat template; what is written is appended to each
    tokenizers          those of the models: they must agree on every id they share, and only those are used
    vocab_size          how many ids mean something, where no tokenizers are given; default: the least width
    pad_token_id        what stands in front of shorter prompts, which `generate` does not tell; default: what
                        the models say. Padding that all rows have is taken for text: pad to the longest row.
    allow_negative      a negative weight undoes what tuning did, safety included: only on purpose

    A text that is the last one and one token more counts as going on, anything else as new: with a schedule
    or prompts, call `reset()` between two texts of which that may be true, and leave assisted generation out.
    Raises InputError or FamilyError at once; NumericalError, naming the model, if one gives NaN.
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
                f"There is a prompt for {type(strangers[0]).__name__}, which is in no term. Prompts are for "
                "the models of the terms; the one that generates gets its own from `generate`."
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
        """The log-probs of the recipe, float32 (rows, width); `scores` untouched if all weights are 0."""
        hidden = self._hide_padding(input_ids)
        factor = self.schedule.factor(input_ids.shape[1] - self._prompt_length)
        weights = [factor * weight for weight in self.weights]
        if not any(weights):
            return scores
        written = input_ids[:, self._prompt_length :]
        logits = {f: f.next_logits(hidden, written).to(scores.device) for f in self._followers.values()}
        widths = [part.shape[1] for part in (scores, *logits.values())]
        # Embeddings may be padded, each model's to another width, with rows that stand for nothing.
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
        """`input_ids` with HIDDEN where a row is padded. Notices when a new text begins."""
        if not _is_one_more(input_ids, self._text):
            self._prompt_length = input_ids.shape[1]
            self._padding = _padding(input_ids, self.pad_token_id)
        self._text = input_ids.clone()  # beam search writes into its own
        assert self._padding is not None
        columns = torch.arange(input_ids.shape[1], device=input_ids.device)
        return input_ids.masked_fill(columns < self._padding[:, None], HIDDEN)


class _Follower:
    """One model that reads along: its cache, and the tokens whose keys and values stand in it."""

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
        """(rows, length) and its part after the prompt -> logits (rows, width) of the token that follows."""
        if self.prompt is None:
            tokens = text.to(self.model.device)
        else:
            tokens = torch.cat([_spread(self.prompt, len(text)).to(text.device), written], 1)
            tokens = tokens.to(self.model.device)
        if not tokens.shape[1]:
            raise InputError(
                "`generate` tells the processor no prompt if it is given as inputs_embeds. Please give "
                "input_ids, or say with prompts= what the small models shall see."
            )
        done = self._keep_common(tokens)
        visible = tokens != HIDDEN
        options = {}
        if not visible.all():
            options["attention_mask"] = visible.long()
            if self._takes_positions:
                options["position_ids"] = (visible.cumsum(1) - 1).clamp(min=0)[:, done:]
        # A forward that breaks off leaves a cache that is half written.
        cache, self._cache = self._cache, None
        new = tokens[:, done:].clamp(min=0)
        out = self.model(input_ids=new, past_key_values=cache, use_cache=True, logits_to_keep=1, **options)
        # A model with a state of its own kind, such as Mamba, reads the text anew for every token.
        self._cache, self._tokens = getattr(out, "past_key_values", None), tokens
        return out.logits[:, -1]

    def _keep_common(self, tokens: Tensor) -> int:
        """Bring the cache to where it agrees with `tokens`, row by row; how many tokens that are.

        Beam search reorders its rows and drops some: each row goes on from the one that shares most with it.
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
    if not allow_negative and any(isinstance(w, (int, float)) and w < 0 for w, _, _ in given):
        raise InputError(
            "A negative weight undoes what tuning did, safety included. "
            "Please choose a weight of 0 or more, or say allow_negative=True if that is what you study."
        )
    return [(check_number("A weight", w, -MAX_WEIGHT, MAX_WEIGHT), plus, minus) for w, plus, minus in given]


def _names_of(terms: Sequence[tuple[float, Any, Any]]) -> dict[Any, str]:
    """Every model once, with what to call it in an error."""
    names: dict[Any, str] = {}
    for k, (_, plus, minus) in enumerate(terms, 1):
        number = f" {k}" if len(terms) > 1 else ""
        names.setdefault(plus, f"tuned{number}")
        names.setdefault(minus, f"base{number}")
    return names


def _prompt_rows(prompt: Any, pad: int | None) -> Tensor:
    """A list of ids, one such list per row, a tensor or what a tokenizer returns -> (rows, length)."""
    ids = prompt["input_ids"] if isinstance(prompt, Mapping) else prompt
    if isinstance(ids, Tensor):
        table = torch.atleast_2d(ids)
        columns = torch.arange(table.shape[1], device=table.device)
        return table.masked_fill(columns < _padding(table, pad)[:, None], HIDDEN)
    rows = [list(row) for row in ids] if isinstance(ids[0], Sequence) else [list(ids)]
    longest = max(map(len, rows))
    return torch.tensor([[HIDDEN] * (longest - len(row)) + row for row in rows])


def _padding(ids: Tensor, pad: int | None) -> Tensor:
    """How many tokens in front of each row are padding (rows,).

    Many models have one token for padding and for the beginning or end of a text, so what all rows begin with
    belongs to the text.
    """
    if pad is None:
        return ids.new_zeros(len(ids))
    leading = (ids == pad).long().cumprod(1).sum(1)
    return leading - leading.min()


def _pad_of(models: Collection[Any]) -> int | None:
    """The padding token that `generate` would use: the models' own, or else their end token."""
    for name in ("pad_token_id", "eos_token_id"):
        for config in (c for m in models for c in (getattr(m, "generation_config", None), m.config)):
            found = getattr(config, name, None)
            if found is not None:
                return int(found[0] if isinstance(found, Sequence) else found)
    return None


def _spread(prompt: Tensor, rows: int) -> Tensor:
    """One prompt for all rows, or each for its beams and samples, which `generate` puts side by side."""
    if rows % len(prompt):
        raise InputError(
            f"There are prompts for {len(prompt)} rows, and `generate` works on {rows}. "
            "Please give one prompt, or one for each row of the batch."
        )
    return prompt.repeat_interleave(rows // len(prompt), 0)


def _is_one_more(ids: Tensor, last: Tensor | None) -> bool:
    """Whether every row is a row of the last call and one token more."""
    if last is None or ids.shape[1] != last.shape[1] + 1 or ids.device != last.device:
        return False
    if ids[:, :-1].equal(last):
        return True
    return bool((ids[:, None, :-1] == last[None]).all(2).any(1).all())


def _crop(cache: Any, surplus: int) -> bool:
    """Whether the last `surplus` tokens could be taken out of the cache."""
    if not cache.is_croppable:
        return False
    try:
        cache.crop(-surplus)
    except RuntimeError:  # a sliding window that has moved on
        return False
    return True
