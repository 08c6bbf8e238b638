"""A model on a completion server, such as vLLM: a row is a list of token ids kept here.

A step is one request with a prompt for each row and position, and the server reads again only what its prefix
cache does not hold. Whole rows of log-probs come back, so nothing is approximated; that suits small
vocabularies (MAX_WIDTH). Knows the completions interface; `completion_server` knows HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eft_demo.errors import RemoteError
from eft_demo.families.checkpoint import Checkpoint
from eft_demo.families.family import Family
from eft_demo.models.completion_server import FULL, CompletionServer
from eft_demo.models.protocol import SavedRow, Slot
from eft_demo.settings import Settings, show_value

MAX_WIDTH = 8_192  # log-probs per row: more take a server longer than the forward, and 300 kB each time
BYTES_PER_LOGPROB, SPARE_BYTES = 64, 100_000  # of an answer: "token_id:4095":-12.345678901234567
ALL = -1  # as `logprobs`: those of the whole vocabulary
KEY = "token_id:"
LOWEST = -9999.0  # what vLLM sends for -inf
SUM_TOLERANCE = 0.01  # nats by which the probabilities may miss a sum of 1, as in bfloat16
MIN_CONTEXT = 16  # as the least that a family file may have
ID_BYTES = 8  # of a token id that is kept
PROBE = "Zürich, 東京: def f(x):\n    return 2**10 - x  # don't"
SET_MODEL = "Please set EFT_BASE_MODEL, or `model` in the family file, to one of them."


class RemoteModel:
    """A `LanguageModel` that a server runs. The logits are log-probs in float32, on the CPU."""

    def __init__(
        self,
        name: str,
        server: CompletionServer,
        model: str,
        vocab: int,
        context: int,
        width: int,
        where: str,
    ) -> None:
        """`model` is its name on the server, `width` the number of its log-probs, `where` for people."""
        self.name, self.vocab, self.context, self.where = name, vocab, context, where
        self._server, self._model, self._width = server, model, width
        self._texts: dict[Slot, list[int]] = {}  # may be longer than the slot, after a rollback

    def join(self) -> Slot:
        """A new, empty row."""
        taken = {slot.index for slot in self._texts}
        slot = Slot(next(index for index in range(len(taken) + 1) if index not in taken))
        self._texts[slot] = []
        return slot

    def leave(self, slot: Slot) -> None:
        """Free the row. Freeing a free row does nothing."""
        self._texts.pop(slot, None)

    def reset(self) -> None:
        """Free every row."""
        self._texts.clear()

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Make `target` hold the same tokens."""
        self._texts[target] = self._texts[source][: source.length]
        target.length = source.length

    def save(self, slot: Slot, most_bytes: int) -> SavedRow | None:
        """The tokens of the row, so that they need not be sent before there is something new to read."""
        size = ID_BYTES * slot.length
        return (
            SavedRow(tuple(self._texts[slot][: slot.length]), size, slot.length)
            if size <= most_bytes
            else None
        )

    def restore(self, slot: Slot, saved: SavedRow, length: int) -> None:
        """Make the empty row hold the first `length` of the saved tokens."""
        self._texts[slot] = list(saved.content[:length])
        slot.length = length

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """Append a block to each row: (rows, block) -> log-probs (rows, keep, vocab), with one request.

        Raises RemoteError, and ValueError if a row would outgrow the context.
        """
        block = tokens.shape[1]
        longest = max(slot.length for slot in slots) + block
        if longest > self.context:
            raise ValueError(f"a row of {longest} tokens exceeds the context of {self.context}")
        texts = [
            [*self._texts[slot][: slot.length], *line]
            for slot, line in zip(slots, tokens.tolist(), strict=True)
        ]
        prompts = [tuple(text[: len(text) - ahead]) for text in texts for ahead in reversed(range(keep))]
        # Columns share prompts and texts: equal ones are asked once, and so get equal answers.
        place = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
        found = ask_logprobs(self._server, self._model, list(place))
        if found.shape[1] != self._width:
            raise changed_vocabulary(self._server, found.shape[1], self._width)
        logits = found[[place[prompt] for prompt in prompts], : self.vocab]
        for slot, text in zip(slots, texts, strict=True):
            self._texts[slot] = text
            slot.length = len(text)
        return logits.view(len(slots), keep, self.vocab)


def connect(family: Family, checkpoint: Checkpoint, settings: Settings) -> RemoteModel:
    """Connect to the checkpoint's server and check that its model fits the family. Raises RemoteError."""
    assert checkpoint.server is not None
    server = CompletionServer(checkpoint.role, checkpoint.server, settings)
    model, facts = _find_model(server)
    _check_tokenizer(server, model, family)
    rows = ask_logprobs(server, model, [tuple(family.codec.encode(PROBE))])
    _check_row(server, rows[0], family.vocab)
    context = family.context
    longest = facts.get("max_model_len")
    if isinstance(longest, int):
        context = min(context, longest - 1)  # it counts the token that is asked for
    if context < MIN_CONTEXT:
        raise server.fault(
            f"takes texts of up to {longest} tokens, too few for any prompt",
            f"Please start it with --max-model-len {family.context} or more.",
        )
    software = _software(server, facts)
    short = (
        f", texts of up to {context:,} of {family.context:,} tokens" if context < family.context - 1 else ""
    )
    where = f"remote, {software} at {checkpoint.server.address}{short}"
    return RemoteModel(checkpoint.role, server, model, family.vocab, context, rows.shape[1], where)


def ask_logprobs(server: CompletionServer, model: str, prompts: Sequence[Sequence[int]]) -> Tensor:
    """The log-probs after each of these texts of token ids: float32 (prompts, width). Raises RemoteError."""
    body = {
        "model": model,
        "prompt": [list(prompt) for prompt in prompts],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": ALL,
        "return_tokens_as_token_ids": True,  # or tokens of the same text would be one entry
    }
    most_bytes = len(prompts) * (MAX_WIDTH * BYTES_PER_LOGPROB + SPARE_BYTES)
    answer = server.post(f"{server.server.url}/completions", body, most_bytes)
    try:
        choices = {choice["index"]: choice["logprobs"]["top_logprobs"][0] for choice in answer["choices"]}
        tables = [choices[index] for index in range(len(prompts))]
        rows = [_row(server, table) for table in tables]
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise server.fault(
            f"sent an answer without log-probs by token id ({type(error).__name__})",
            "Please check that it is vLLM, or speaks its completions interface (docs/deploying.md).",
        ) from None
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise server.fault(
            f"sent {min(widths):,} log-probs for one text and {max(widths):,} for another", FULL
        )
    return torch.from_numpy(np.stack(rows))


def _row(server: CompletionServer, table: Mapping[str, Any]) -> Any:
    """One row: the log-probs of all ids from 0 on, float32.

    Raises RemoteError, and ValueError, TypeError or OverflowError if they make no sense.
    """
    if not all(key.startswith(KEY) for key in table):
        raise ValueError("a key is not a token id")
    ids = np.fromiter((int(key.removeprefix(KEY)) for key in table), np.int64, len(table))
    # A NaN comes as null where JSON has no NaN.
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        values = np.array([math.nan if value is None else value for value in table.values()], np.float32)
    if not len(ids) or ids.min() < 0 or len(np.unique(ids)) < len(ids):
        raise ValueError("an id is missing or occurs twice")
    if ids.max() >= len(ids):
        raise server.fault(f"sent only {len(ids):,} log-probs per token", FULL)
    if np.isnan(values).any() or np.isposinf(values).any():
        raise server.fault(
            "sent log-probs that are not numbers (NaN or infinity)",
            "Please check its weights, and start it with --dtype bfloat16 or float32: half precision may "
            "overflow.",
        )
    row = np.empty(len(ids), np.float32)
    row[ids] = np.where(values <= LOWEST, -np.inf, values)
    return row


def changed_vocabulary(server: CompletionServer, found: int, known: int) -> RemoteError:
    """The error for a server that has another model than when it was connected."""
    return server.fault(
        f"now knows {found:,} tokens in place of {known:,}: its model has changed",
        "Please let it run the former model, or start the app again.",
    )


def _find_model(server: CompletionServer) -> tuple[str, Mapping[str, Any]]:
    """The name of the model on the server, and what the server says about it."""
    answer = server.get(f"{server.server.url}/models")
    try:
        models = {str(model["id"]): model for model in answer["data"]}
    except (KeyError, TypeError):
        raise server.fault(
            "does not list its models",
            "Please check that its address leads to a completion server; it usually ends in /v1.",
        ) from None
    wanted = server.server.model
    names = ", ".join(map(show_value, models)) or "none"
    if not wanted and len(models) != 1:
        raise server.fault(f"has these models: {names}", SET_MODEL)
    if wanted and wanted not in models:
        raise server.fault(f"has no model {show_value(wanted)}; it has {names}", SET_MODEL)
    name = wanted or next(iter(models))
    return name, models[name]


def _check_row(server: CompletionServer, row: Tensor, vocab: int) -> None:
    """Check the first row. Raises RemoteError."""
    width = len(row)
    if width < vocab:
        raise server.fault(
            f"sent {width:,} log-probs per token, but the tokenizer here has {vocab:,} tokens",
            f"Please let it run the large model of this family. {FULL}",
        )
    if width > MAX_WIDTH:
        raise server.fault(
            f"knows {width:,} tokens; this version takes up to {MAX_WIDTH:,}, as it takes whole rows of "
            "log-probs",
            "Please choose a family with a smaller vocabulary, or load this one here.",
        )
    total_nats = float(row.logsumexp(0))
    if not math.isclose(total_nats, 0.0, abs_tol=SUM_TOLERANCE):
        raise server.fault(
            f"sends log-probs whose probabilities do not sum to 1 (off by {total_nats:.3g} nats)",
            "Please start it with --logprobs-mode raw_logprobs (vLLM).",
        )


def _check_tokenizer(server: CompletionServer, model: str, family: Family) -> None:
    """Check that the server splits a text as this family does, if it can be asked. Raises RemoteError."""
    body = {"model": model, "prompt": PROBE, "add_special_tokens": False}
    # Not every server has this page, nor every model a tokenizer there.
    answer = server.ask_if_there("POST", f"{server.server.root}/tokenize", body)
    found = answer.get("tokens") if isinstance(answer, dict) else None
    if isinstance(found, list) and found != family.codec.encode(PROBE):
        raise server.fault(
            "has another tokenizer than this family: it splits a text into other tokens",
            "Please let it run the large model of this family.",
        )


def _software(server: CompletionServer, facts: Mapping[str, Any]) -> str:
    """The name of the server's program, with its version if it says so."""
    if facts.get("owned_by") != "vllm":
        return "a completion server"
    answer = server.ask_if_there("GET", f"{server.server.root}/version")
    version = answer.get("version") if isinstance(answer, dict) else None
    return (
        f"vLLM {version}" if isinstance(version, str) and version.isascii() and len(version) < 20 else "vLLM"
    )
