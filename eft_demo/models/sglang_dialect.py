"""SGLang's own interface: prompts of token ids in, one token out, with its likeliest rivals and others by id.

Written after SGLang's documentation and answers recorded from 0.5; it has not run against a real server here.
Knows `/generate`, not the OpenAI-style interface, whose answers name tokens by their texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eft_demo.models.completion_server import CompletionServer, Refused
from eft_demo.models.dialect import NO_ROW, Row, Texts, ids_of_text, misread, read_row

OWNER = "sglang"  # as the server says of its model
BYTES_PER_LOGPROB, SPARE_BYTES = 64, 100_000  # of an answer: [-12.345678901234567,150000,null],


class SglangDialect:
    """The server's model; `facts` is what the server says about it."""

    setup = "Please leave EFT_BASE_TOP at 0, or set it to a number of log-probs."
    software = "SGLang"
    longer = "--context-length"

    def __init__(self, server: CompletionServer, name: str, facts: Mapping[str, Any]) -> None:
        """Asks nothing."""
        self._server, self._name = server, name
        longest = facts.get("max_model_len")
        self.context = longest - 1 if isinstance(longest, int) else None  # it needs room for the token

    def tokenize(self, text: str) -> object:
        """See `Dialect`. Older servers do not have this page."""
        body = {"model": self._name, "prompt": text, "add_special_tokens": False}
        return ids_of_text(self._server, body)

    def whole(self, texts: Texts) -> list[Row]:
        """See `Dialect`. Always refused: it does not say how many tokens its model knows."""
        raise Refused(str(self._server.fault("does not send all logprobs of a row", self.setup)))

    def top(self, texts: Texts, count: int) -> list[Row]:
        """See `Dialect`."""
        return self._ask(texts, "output_top_logprobs", count, top_logprobs_num=count)

    def by_id(self, texts: Texts, ids: Sequence[int]) -> list[Row]:
        """See `Dialect`."""
        return self._ask(texts, "output_token_ids_logprobs", len(ids), token_ids_logprob=list(ids))

    def _ask(self, texts: Texts, where: str, most: int, **wanted: object) -> list[Row]:
        body = {
            "input_ids": [list(text) for text in texts],
            # At temperature 0 it sends the log-probs of the model itself.
            "sampling_params": {"max_new_tokens": 1, "temperature": 0, "ignore_eos": True},
            "return_logprob": True,
            "logprob_start_len": -1,  # none of the prompt
            "return_text_in_logprobs": False,
            **wanted,
        }
        most_bytes = len(texts) * (most * BYTES_PER_LOGPROB + SPARE_BYTES)
        answers = self._server.post(f"{self._server.server.root}/generate", body, most_bytes)
        try:
            tables = [one["meta_info"][where][0] for one in answers]
            rows = [
                read_row(self._server, [int(entry[1]) for entry in table], [entry[0] for entry in table])
                for table in tables
            ]
            if len(rows) != len(texts):
                raise ValueError("another number of answers than of texts")
        except NO_ROW as error:
            raise misread(self._server, error) from None
        return rows
