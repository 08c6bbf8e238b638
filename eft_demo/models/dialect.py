"""The interface of a dialect, which is what a kind of server can say of a model, and a row of its answer.

A dialect knows paths and JSON of one kind of server; `remote` knows what the answers are for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from eft_demo.errors import RemoteError
from eft_demo.models.completion_server import CompletionServer

LOWEST = -9999.0  # what vLLM sends for -inf; llama.cpp sends less
# What reading an answer of another form raises.
NO_ROW = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
Texts = Sequence[Sequence[int]]  # token ids


@dataclass(frozen=True, slots=True)
class Row:
    """The log-probs that a server sent for one text: int64 (n,) and float32 (n,)."""

    ids: Tensor
    logprobs: Tensor


class Dialect(Protocol):
    """A model on a server. Every method asks it, and raises RemoteError."""

    software: str  # of the server, for people: vLLM 0.32.0
    context: int | None  # how many tokens it takes before the one that it is asked for; None: not known
    setup: str  # how to start it so that it sends whole rows
    longer: str  # its option for the length of texts

    def tokenize(self, text: str) -> object:
        """The ids into which it splits a text, or None if it does not say."""
        ...

    def whole(self, texts: Texts) -> list[Row]:
        """The log-probs of the whole vocabulary after each text."""
        ...

    def top(self, texts: Texts, count: int) -> list[Row]:
        """The `count` likeliest tokens after each text, perhaps with another one."""
        ...

    def by_id(self, texts: Texts, ids: Sequence[int]) -> list[Row]:
        """The log-probs of these tokens, or of more, after each text. Empty rows if it cannot say."""
        ...


def read_row(server: CompletionServer, ids: Iterable[int], logprobs: Sequence[Any]) -> Row:
    """One row of an answer. Raises RemoteError for what is no log-prob, NO_ROW for what makes no sense."""
    places = np.fromiter(ids, np.int64, len(logprobs))
    # A NaN comes as null where JSON has no NaN.
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        values = np.array([math.nan if value is None else value for value in logprobs], np.float32)
    if (len(places) and places.min() < 0) or len(np.unique(places)) < len(places):
        raise ValueError("an id is negative or occurs twice")
    if np.isnan(values).any() or np.isposinf(values).any():
        raise server.fault(
            "sent log-probs that are not numbers (NaN or infinity)",
            "Please check its weights, and start it with --dtype bfloat16 or float32: half precision may "
            "overflow.",
        )
    values[values <= LOWEST] = -np.inf
    return Row(torch.from_numpy(places), torch.from_numpy(values))


def ids_of_text(server: CompletionServer, body: Mapping[str, object]) -> object:
    """What /tokenize answers to `body` as the ids of a text; None if the server has no such page."""
    answer = server.ask_if_there("POST", f"{server.server.root}/tokenize", body)
    return answer.get("tokens") if isinstance(answer, dict) else None


def misread(server: CompletionServer, error: Exception) -> RemoteError:
    """The error for an answer of another form."""
    return server.fault(
        f"sent an answer without log-probs by token id ({type(error).__name__})",
        "Please check that it is vLLM, SGLang or llama.cpp's server, or speaks as they do "
        "(docs/deploying.md).",
    )
