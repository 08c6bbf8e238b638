"""vLLM's completions: prompts of token ids in, one token out, with its rivals' log-probs by id.

Checked against vLLM 0.32. Other servers that speak as it does can be used too. `logprob_token_ids`, with
which single tokens are asked for, is vLLM's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eft_demo.models.completion_server import MORE_LOGPROBS, CompletionServer
from eft_demo.models.dialect import NO_ROW, Row, Texts, ids_of_text, misread, read_row

KEY = "token_id:"
BYTES_PER_LOGPROB, SPARE_BYTES = 64, 100_000  # of an answer: "token_id:4095":-12.345678901234567
WIDEST = 8_192  # log-probs in a whole row: more take a server longer than the forward
ALL = -1  # as `logprobs`: those of the whole vocabulary
MOST_IDS = 128  # in one request


class VllmDialect:
    """The model of this name; `facts` is what the server says about it."""

    setup = MORE_LOGPROBS
    longer = "--max-model-len"

    def __init__(self, server: CompletionServer, name: str, facts: Mapping[str, Any]) -> None:
        """Asks for the server's version."""
        self._server, self._name = server, name
        self.software = _software(server, facts)
        longest = facts.get("max_model_len")
        self.context = (
            longest - 1 if isinstance(longest, int) else None
        )  # it counts the token that is asked for

    def tokenize(self, text: str) -> object:
        """See `Dialect`. Not every server has this page, nor every model a tokenizer there."""
        body = {"model": self._name, "prompt": text, "add_special_tokens": False}
        return ids_of_text(self._server, body)

    def whole(self, texts: Texts) -> list[Row]:
        """See `Dialect`."""
        return self._ask(texts, WIDEST, logprobs=ALL)

    def top(self, texts: Texts, count: int) -> list[Row]:
        """See `Dialect`."""
        return self._ask(texts, count + 1, logprobs=count)

    def by_id(self, texts: Texts, ids: Sequence[int]) -> list[Row]:
        """See `Dialect`. At most `MOST_IDS`."""
        return self._ask(texts, len(ids) + 2, logprobs=0, logprob_token_ids=list(ids))

    def _ask(self, texts: Texts, most: int, **wanted: object) -> list[Row]:
        body = {
            "model": self._name,
            "prompt": [list(text) for text in texts],
            "max_tokens": 1,
            "temperature": 0,  # so that the server's own token is among the likeliest
            "return_tokens_as_token_ids": True,  # or tokens of the same text would be one entry
            **wanted,
        }
        most_bytes = len(texts) * (most * BYTES_PER_LOGPROB + SPARE_BYTES)
        answer = self._server.post(f"{self._server.server.url}/completions", body, most_bytes)
        try:
            choices = {choice["index"]: choice["logprobs"]["top_logprobs"][0] for choice in answer["choices"]}
            return [_row(self._server, choices[index]) for index in range(len(texts))]
        except NO_ROW as error:
            raise misread(self._server, error) from None


def _row(server: CompletionServer, table: Mapping[str, Any]) -> Row:
    if not all(key.startswith(KEY) for key in table):
        raise ValueError("a key is not a token id")
    return read_row(server, (int(key.removeprefix(KEY)) for key in table), list(table.values()))


def _software(server: CompletionServer, facts: Mapping[str, Any]) -> str:
    """The name of the server's program, with its version if it says so."""
    if facts.get("owned_by") != "vllm":
        return "a completion server"
    answer = server.ask_if_there("GET", f"{server.server.root}/version")
    version = answer.get("version") if isinstance(answer, dict) else None
    return (
        f"vLLM {version}" if isinstance(version, str) and version.isascii() and len(version) < 20 else "vLLM"
    )
